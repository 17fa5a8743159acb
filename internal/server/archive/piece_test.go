package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/backup"
	"github.com/muster-id/muster/internal/seal/agefile"
)

// brought writes parts and unpacks them.
func brought(t *testing.T, write func(*output) error) (dir string, err error) {
	t.Helper()
	id, err := agefile.Temporary()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w, err := backup.NewWriter(&file, agefile.Lock{Recipients: id.Recipients()}, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(&output{ctx: t.Context(), w: w, piece: 7}), w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := backup.NewReader(&file, agefile.Key{Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	work := t.TempDir()
	in := &input{ctx: t.Context(), r: r, dir: filepath.Join(work, "data"), rows: filepath.Join(work, "rows")}
	return in.dir, in.unpack()
}

func TestALargeFileTravelsInPieces(t *testing.T) {
	for _, text := range []string{"", "short", "7 bytes", "more than one piece", "exactly three pieces!"} {
		dir, err := brought(t, func(o *output) error {
			return errors.Join(o.pieces("normal/checkpoint", 4, strings.NewReader("head")), o.pieces("normal/pages", int64(len(text)), strings.NewReader(text)),
				o.pieces("normal/slots", 3, strings.NewReader("end")))
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"checkpoint": "head", "pages": text, "slots": "end"} {
			if got, err := os.ReadFile(filepath.Join(dir, "normal", name)); err != nil || string(got) != want {
				t.Errorf("%s came back as %q, want %q (%v)", name, got, want, err)
			}
		}
	}
}

func TestAPieceOutOfOrderDoesNotBecomeAFile(t *testing.T) {
	for name, parts := range map[string][]string{
		"without a beginning": {"normal/pages-0001"},
		"of another file":     {"normal/slots", "normal/pages-0001"},
		"one left out":        {"normal/pages", "normal/pages-0002"},
		"after another file":  {"normal/pages", "normal/slots", "normal/pages-0001"},
	} {
		dir, err := brought(t, func(o *output) error {
			for _, part := range parts {
				if err := o.w.Add(part, 1, strings.NewReader("x")); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v, want damaged", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(parts[len(parts)-1]))); err == nil {
			t.Errorf("%s: the piece became a file", name)
		}
	}
}
