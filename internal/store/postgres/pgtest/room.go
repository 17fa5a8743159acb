package pgtest

import (
	"fmt"
	"os/exec"
	"testing"
)

// Room bounds each file of the server, for sessions that begin from now on: a
// write beyond it fails as on a full disk. 0 lifts the bound.
func (c *Cluster) Room(t testing.TB, bytes int64) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := "--fsize=unlimited:"
	if bytes > 0 {
		limit = fmt.Sprintf("--fsize=%d:", bytes)
	}
	cmd := ordinary(exec.Command("prlimit", "--pid", fmt.Sprint(c.cmd.Process.Pid), limit))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bound the server's files: %v: %s", err, out)
	}
}
