package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

func tool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), muster, args...).CombinedOutput()
	return string(out), err
}

// killed runs muster and kills it as soon as there says so, or when it has ended.
func killed(t *testing.T, there func() bool, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), muster, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
	}
	_ = cmd.Process.Kill()
	<-ended
}

// appears reports whether a file is there that fits a pattern, of at least so
// many bytes if it is one.
func appears(pattern string, bytes int64) func() bool {
	return func() bool {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && (info.IsDir() || info.Size() >= bytes) {
				return true
			}
		}
		return false
	}
}

func TestABackupOrRestoreThatIsKilledLeavesNothingThatIsTakenForWhole(t *testing.T) {
	t.Parallel()
	c := newChild(t)
	c.settings = siteSettings
	c.start(t)
	s := furnish(t, c)
	for _, other := range otherAccounts(t, nil, 5) {
		if _, err := s.api.ImportAWS(t.Context(), map[string]io.Reader{"authorization-details": bytes.NewReader(other.details)}); err != nil {
			t.Fatal(err)
		}
	}
	s.nothingLost(t)
	dir := t.TempDir()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identity := filepath.Join(dir, "identity.txt")
	if err := os.WriteFile(identity, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	recipient := id.Recipient().String()

	good := filepath.Join(dir, "good.backup")
	if out, err := tool(t, "backup", "-f", good, "--recipient", recipient, "--data", c.data); err != nil {
		t.Fatalf("backup: %v\n%s", err, out)
	}
	rows := func(file, target string) (string, error) {
		return tool(t, "restore", file, "--data", target, "--identity", identity, "--jq", ".rows")
	}
	whole, err := rows(good, filepath.Join(dir, "whole"))
	if err != nil {
		t.Fatalf("restore: %v\n%s", err, whole)
	}

	// A backup that is killed has no name. What it left is refused, unless all of
	// it was written and only the name was missing.
	for i, size := range []int64{0, 1, 4 << 10} {
		file := filepath.Join(dir, "killed.backup")
		killed(t, appears(filepath.Join(dir, ".muster-backup-*"), size), "backup", "-f", file, "--recipient", recipient, "--data", c.data)
		if err := os.Remove(file); err == nil { // it was faster
			continue
		}
		left, err := filepath.Glob(filepath.Join(dir, ".muster-backup-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range left {
			target := filepath.Join(dir, fmt.Sprint("left-", i))
			if out, err := rows(path, target); err == nil && strings.Fields(out)[0] != strings.Fields(whole)[0] {
				t.Errorf("a part of a backup is restored: %s", out)
			} else if entries, _ := os.ReadDir(target); err != nil && len(entries) > 0 {
				t.Errorf("a part of a backup leaves %s in the folder", entries[0].Name())
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{len(text) / 2, len(text) - 1} {
		half, target := filepath.Join(dir, "half.backup"), filepath.Join(dir, "half")
		if err := os.WriteFile(half, text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := rows(half, target); err == nil {
			t.Errorf("%d of %d bytes of a backup are restored: %s", n, len(text), out)
		}
		if entries, err := os.ReadDir(target); err == nil && len(entries) > 0 {
			t.Errorf("half a backup leaves %s in the folder", entries[0].Name())
		}
	}

	hit := 0
	for _, stage := range []string{".muster-restore-*", ".muster-restore-*/data/audit", ".muster-restore-*/data/muster.db"} {
		target := &child{data: filepath.Join(t.TempDir(), "back"), url: c.url, ops: c.ops, settings: siteSettings}
		killed(t, appears(filepath.Join(target.data, stage), 0), "restore", good, "--data", target.data, "--identity", identity)
		half := appears(filepath.Join(target.data, ".muster-restore-*"), 0)()
		if half {
			hit++
			refusesToStart(t, target, "a restore was not finished there: run muster restore again")
		}
		if out, err := tool(t, "restore", good, "--data", target.data, "--identity", identity, "--audit-key", filepath.Join(c.data, "audit", "audit.pub")); err != nil {
			var exit *exec.ExitError
			if half || !errors.As(err, &exit) || !strings.Contains(out, "not empty") { // else it was faster
				t.Fatalf("restore again: %v\n%s", err, out)
			}
		}
		target.start(t)
		target.stop(t)
	}
	if hit == 0 {
		t.Error("no restore was killed half-way; the test proves nothing")
	}
}
