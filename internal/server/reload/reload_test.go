package reload

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/config"
)

func TestAFileThatIsBeingWrittenIsNotReadHalf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "muster.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("guards: {risk_deny: 50}\n")
	r := New(config.Default(), time.Now())
	r.File = path
	r.Watch()
	for range 2 {
		if r.changed() {
			t.Error("a file that nobody touched changed")
		}
	}
	write("") // truncated, as the beginning of a write
	if r.changed() {
		t.Error("the file was to be read in the middle of a write")
	}
	write("guards: {risk_deny: 60}\n")
	if r.changed() {
		t.Error("the file was to be read before it settled")
	}
	if !r.changed() {
		t.Error("the written file was not noticed")
	}
}
