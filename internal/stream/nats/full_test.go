//go:build linux

package nats

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
)

const fullVariable = "STREAM_TEST_FULL"

// A process in name spaces of its own may mount a small file system and fill
// it, which is the only honest way to see a full disk.
func TestOnAReallyFullDiskPublishFailsAndNothingAcknowledgedIsLost(t *testing.T) {
	onASmallDisk(t, publishUntilFull)
}

func TestWhenTheDiskOfAServerOutsideIsFullNothingAcknowledgedIsLost(t *testing.T) {
	onASmallDisk(t, publishUntilFullOutside)
}

// onASmallDisk runs do with a folder on a file system of 40 MB.
func onASmallDisk(t *testing.T, do func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv(fullVariable); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=40m"); err != nil {
			t.Fatalf("mount refused: %v", err)
		}
		do(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), fullVariable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || strings.Contains(string(out), "mount refused") {
		if os.Getenv("CI") != "" {
			t.Fatalf("this system does not let a test mount a file system, so a full disk was not tested: %v", err)
		}
		t.Skipf("this system does not let a test mount a file system: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func publishUntilFull(t *testing.T, dir string) {
	folder := filepath.Join(dir, "stream")
	s := open(t, folder, Settings{MinFree: 16 << 20})
	publish := func() (uint64, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		seq, _, err := s.Publish(ctx, stream.ActivityBatch, "", make([]byte, 300<<10))
		return seq, err
	}
	last := uint64(0)
	var err error
	for seq := uint64(0); err == nil; seq, err = publish() {
		last = seq
	}
	if !errors.Is(err, stream.ErrFull) || !errors.Is(s.Health(), stream.ErrFull) || last < 20 {
		t.Fatalf("after %d messages Publish = %v, Health = %v, want ErrFull", last, err, s.Health())
	}

	// Somebody else takes what was to stay free, faster than we look.
	hog := filepath.Join(dir, "hog")
	if err := os.WriteFile(hog, make([]byte, 64<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	s.settings.MinFree = -64 << 20
	for range 20 { // a message or two may still fit
		var seq uint64
		if seq, err = publish(); err != nil {
			break
		}
		last = seq
	}
	if !errors.Is(err, stream.ErrBroken) || !errors.Is(s.Health(), stream.ErrBroken) {
		t.Errorf("on a full disk Publish = %v, Health = %v, want ErrBroken", err, s.Health())
	}
	start := time.Now()
	if _, err := publish(); !errors.Is(err, stream.ErrBroken) || time.Since(start) > time.Second {
		t.Errorf("the next Publish = %v after %v, want ErrBroken at once", err, time.Since(start))
	}
	s.Close()
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	s = open(t, folder, Settings{MinFree: 1 << 20})
	if got, err := s.LastSeq(t.Context(), ""); err != nil || got != last {
		t.Errorf("after opening anew the last message is %d, %v, acknowledged was %d", got, err, last)
	}
	if _, err := publish(); err != nil {
		t.Errorf("Publish with room again = %v", err)
	}
}

func publishUntilFullOutside(t *testing.T, dir string) {
	n := &natstest.Node{Name: "small", Dir: dir, Client: natstest.FreePorts(t, 1)[0]}
	n.Start(t)
	t.Cleanup(n.Kill)
	s := connect(t, Outside{URLs: natstest.URLs(n)}, Settings{})
	publish := func() (uint64, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		seq, _, err := s.Publish(ctx, stream.ActivityBatch, "", make([]byte, 300<<10))
		return seq, err
	}
	last := uint64(0)
	var err error
	for seq := uint64(0); err == nil; seq, err = publish() {
		last = seq
	}
	if (!errors.Is(err, stream.ErrUnavailable) && !errors.Is(err, stream.ErrFull)) || last < 20 {
		t.Fatalf("after %d messages Publish = %v, want ErrUnavailable or ErrFull", last, err)
	}
	if err := s.Health(); err == nil || !strings.Contains(err.Error(), "disk") && !strings.Contains(err.Error(), "room") {
		t.Errorf("with a full disk Health = %v, want a word about it", err)
	}
	n.Kill()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=200m"); err != nil {
		t.Fatal(err)
	}
	n.Start(t)
	eventually(t, "an answer", func() bool { _, err := s.LastSeq(t.Context(), ""); return err == nil })
	if got, err := s.LastSeq(t.Context(), ""); err != nil || got < last {
		t.Errorf("with room again the last message is %d, %v, acknowledged was %d", got, err, last)
	}
	if _, err := publish(); err != nil {
		t.Errorf("Publish with room again = %v", err)
	}
}
