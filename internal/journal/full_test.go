//go:build linux

package journal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const fullVariable = "JOURNAL_TEST_FULL"

// A process in name spaces of its own may mount a small file system and fill
// it, which is the only honest way to see a full disk.
func TestOnAReallyFullDiskTheReserveTakesRecordsUntilItIsSpent(t *testing.T) {
	if dir := os.Getenv(fullVariable); dir != "" {
		fillAndAppend(t, dir)
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

func fillAndAppend(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatalf("mount refused: %v", err)
	}
	j := open(t, filepath.Join(dir, "journal"), Settings{Reserve: 2 << 20})
	payload := make([]byte, 100<<10)
	number := 0
	put := func() error {
		number++
		_, err := j.Append(append(payload, fmt.Sprint(number)...))
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	// Somebody else takes all there is.
	hog := filepath.Join(dir, "hog")
	if err := os.WriteFile(hog, make([]byte, 16<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	taken := 0
	var err error
	for ; err == nil; err = put() {
		taken++
	}
	if !errors.Is(err, ErrFull) || !j.Health().OnReserve {
		t.Fatalf("Append = %v, want ErrFull on a spent reserve", err)
	}
	if taken < 18 || taken > 25 {
		t.Errorf("%d records of 100 KB went into a full disk with a reserve of 2 MB", taken)
	}
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := put(); err != nil {
			t.Fatalf("Append once there is room: %v", err)
		}
	}
	if h := j.Health(); h.OnReserve || h.Reserve == 0 || h.Err != nil {
		t.Errorf("Health() = %+v, want it well and armed again", h)
	}
	if r, err := j.Verify(t.Context()); err != nil || r.Records != uint64(number-1) {
		t.Errorf("Verify() = %+v, %v, want %d records", r, err, number-1)
	}
}
