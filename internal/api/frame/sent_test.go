package frame

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestAKilledServerLeavesNoBodyBehind keeps a body that is too much for memory,
// as a log full of secrets may be: while it is worked on its file has no name
// under which somebody could find it later.
func TestAKilledServerLeavesNoBodyBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	names := func() int {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	var b body
	if err := b.spill([]byte("begin "), strings.NewReader("end")); err != nil {
		t.Fatal(err)
	}
	if n := names(); n != 0 && runtime.GOOS != "windows" {
		t.Errorf("%d files can be found while the body is worked on", n)
	}
	for range 2 {
		if got, err := io.ReadAll(&b); err != nil || !bytes.Equal(got, []byte("begin end")) {
			t.Errorf("the body reads %q, %v", got, err)
		}
		if err := b.rewind(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil || names() != 0 {
		t.Errorf("closing: %v, %d files are left", err, names())
	}
}
