package baseline

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise/pages"
)

// oldFile is what the previous release would have written of a Learner.
func oldFile(t testing.TB, l *Learner, seq uint64) []byte {
	t.Helper()
	var lives []string
	l.book.All(func(slot pages.Slot) {
		note := l.book.Note(slot)
		about, err := json.Marshal(memory{l.groups.name(l.book.Group(slot)), int64(note.Day), int(note.Count), l.withheld.of[slot]})
		if err != nil {
			t.Fatal(err)
		}
		row := appendText(nil, []byte(l.book.Number(slot).Text("nhi_")))
		row = appendText(row, about)
		if row, err = l.book.Page(slot).AppendBinary(row); err != nil {
			t.Fatal(err)
		}
		lives = append(lives, string(row))
	})
	slices.Sort(lives)
	out := []byte(fileMagic)
	for _, n := range [...]uint64{seq, uint64(l.peers.last), uint64(l.peers.events), uint64(len(lives))} {
		out = binary.BigEndian.AppendUint64(out, n)
	}
	out = append(out, strings.Join(lives, "")...)
	hashes := l.names.hashes()
	out = binary.BigEndian.AppendUint64(out, uint64(len(hashes)))
	for _, hash := range hashes {
		out = appendText(binary.BigEndian.AppendUint64(out, hash), []byte(l.Name(hash)))
	}
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

func appendText(b, text []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

func TestWhatThePreviousReleaseLearnedIsTakenOver(t *testing.T) {
	was := New(Settings{Places: world})
	play(was, 0, 400)
	path := filepath.Join(t.TempDir(), "pages")
	if err := os.WriteFile(path, oldFile(t, was, 400), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l, folder := open(t, dir, Settings{Places: world})
	seq, err := l.Adopt(path, func() {})
	if err != nil || seq != 400 {
		t.Fatalf("Adopt = %d, %v; want 400", seq, err)
	}
	save(t, l, folder)
	back, _ := open(t, dir, Settings{Places: world})
	// Peers are compared when it is taken over, and groups are numbered anew.
	was.comparePeers()
	want, got := everything(t, was), everything(t, back)
	delete(want, "groups")
	delete(got, "groups")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("before and after (-was +is):\n%s", diff)
	}
}

func TestADamagedFileOfThePreviousReleaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline")
	if _, err := New(Settings{}).Adopt(path, func() {}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file = %v, want not exist", err)
	}
	l := taught(t, Settings{})
	l.Observe(thief(history), true)
	good := oldFile(t, l, 7)
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Adopt(path, func() {}); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("over a life = %v, want a conflict", err)
	}
	for i := 0; i < len(good); i += 97 {
		for name, bad := range map[string][]byte{"cut": good[:i], "flipped": flipped(good, i)} {
			l := New(Settings{})
			if _, err := l.adopt(bytes.NewReader(bad), func() {}); err == nil || l.Page(key) != nil {
				t.Errorf("a file %s at byte %d was accepted", name, i)
			}
		}
	}
	if _, err := New(Settings{}).adopt(bytes.NewReader(append(good, 0)), func() {}); err == nil {
		t.Error("a file with a byte too many was accepted")
	}
}

func FuzzReadOld(f *testing.F) {
	l := taught(f, Settings{})
	l.Observe(thief(history), true)
	good := oldFile(f, l, 7)
	f.Add(good[:len(good)-4])
	f.Add(good[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum is set right, so that what lies behind it is reached.
		data = binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
		if _, err := readOld(bytes.NewReader(data), func(*oldLife) error { return nil }); err == nil {
			if _, err := New(Settings{}).adopt(bytes.NewReader(data), func() {}); err != nil {
				t.Errorf("a file was read but not adopted: %v", fmt.Errorf("%w", err))
			}
		}
	})
}
