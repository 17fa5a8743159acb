package seal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestTheKeyFileOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	first, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	box, seed := first.Seal("test", []byte("kept")), first.Derive("seed", 32)
	second, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := second.Unseal("test", box); err != nil || string(got) != "kept" {
		t.Errorf("Unseal after reopening = %q, %v", got, err)
	}
	if !bytes.Equal(second.Derive("seed", 32), seed) {
		t.Error("derived bytes changed with the process")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode = %04o, want 0600", got)
	}
	onlyFile(t, path)
}

func TestARotatedKeyFileOpensOldAndNewBoxes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	old := k.Seal("test", []byte("old"))
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh := k.Seal("test", []byte("new"))
	k, err = Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range [][]byte{old, fresh} {
		if _, err := k.Unseal("test", box); err != nil {
			t.Error(err)
		}
	}
	onlyFile(t, path)
}

func TestAFailedRotationChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := Open(t.Context(), filepath.Join(dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate(); err == nil {
		t.Fatal("Rotate succeeded without a folder")
	}
	// A box under a key that is on no disk would be lost with the process.
	if box := k.Seal("test", nil); box[4] != 1 {
		t.Errorf("sealed with key version %d after a failed rotation, want 1", box[4])
	}
}

func TestSimultaneousFirstStartsShareOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	const starts = 16
	seeds := make([][]byte, starts)
	var wg sync.WaitGroup
	for i := range starts {
		wg.Go(func() {
			k, err := Open(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			seeds[i] = k.Derive("seed", 32)
		})
	}
	wg.Wait()
	for _, seed := range seeds {
		if !bytes.Equal(seed, seeds[0]) {
			t.Fatal("two processes opened different keys from one path")
		}
	}
	onlyFile(t, path)
}

func TestOpenRefusesAKeyFileThatOthersMayRead(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o620, 0o666, 0o601} {
		path := filepath.Join(t.TempDir(), "keys.json")
		if _, err := Open(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), path)
		if !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), path) {
			t.Errorf("mode %04o: %v, want ErrPermissions naming the file", mode, err)
		}
	}
}

func TestOpenRefusesWhatIsNoKeyFileOfThisRelease(t *testing.T) {
	key := `"` + strings.Repeat("A", 43) + `="`
	for _, tt := range []struct {
		name, content string
		want          error
	}{
		{"empty, as after a crash of a careless writer", "", ErrFile},
		{"not JSON", "muster", ErrFile},
		{"no format", `{}`, ErrFile},
		{"format zero", `{"format":0}`, ErrFile},
		{"cut in half", firstFile[:len(firstFile)/2], ErrFile},
		{"a newer release", `{"format":3,"everything":"else"}`, ErrNewer},
		{"sealed without a wrapping", `{"format":2,"body":` + key + `}`, ErrFile},
		{"sealed and in clear at once", `{"format":2,"root":` + key + `,"wrapping":{"by":"x","wrapped":"AAAA"},"body":` + key + `}`, ErrFile},
		{"in clear with a wrapping", `{"format":1,"root":` + key + `,"sealing":[{"version":1,"key":` + key + `}],"wrapping":{"by":"x","wrapped":"AAAA"}}`, ErrFile},
		{"sealed by what nobody here knows", `{"format":2,"wrapping":{"by":"x","wrapped":"AAAA"},"body":` + key + `}`, ErrSealed},
		{"no root", `{"format":1,"sealing":[{"version":1,"key":` + key + `}]}`, ErrFile},
		{"no sealing key", `{"format":1,"root":` + key + `}`, ErrFile},
		{"short sealing key", `{"format":1,"root":` + key + `,"sealing":[{"version":1,"key":"AAAA"}]}`, ErrFile},
		{"version zero", `{"format":1,"root":` + key + `,"sealing":[{"version":0,"key":` + key + `}]}`, ErrFile},
		{"version twice", `{"format":1,"root":` + key + `,"sealing":[{"version":1,"key":` + key + `},{"version":1,"key":` + key + `}]}`, ErrFile},
		{"versions descending", `{"format":1,"root":` + key + `,"sealing":[{"version":2,"key":` + key + `},{"version":1,"key":` + key + `}]}`, ErrFile},
		{"unknown field", `{"format":1,"rooot":` + key + `}`, ErrFile},
		{"too large", `{"format":1,"warning":"` + strings.Repeat("a", maxFile) + `"}`, ErrFile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), path)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("Open = %v, want %v naming the file", err, tt.want)
			}
			if strings.Contains(err.Error(), "AAAA") {
				t.Errorf("the error quotes the file: %v", err)
			}
			// What we cannot read may be somebody's only copy.
			if after, err := os.ReadFile(path); err != nil || string(after) != tt.content {
				t.Errorf("Open touched a file it refused (%v)", err)
			}
		})
	}
}

func TestOpenRefusesAFolderAndAMissingFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(t.Context(), dir); !errors.Is(err, ErrFile) {
		t.Errorf("Open of a folder: %v, want ErrFile", err)
	}
	if _, err := Open(t.Context(), filepath.Join(dir, "missing", "keys.json")); err == nil {
		t.Error("Open in a missing folder succeeded")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(firstFile))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := decode(t.Context(), data, nil)
		if err != nil {
			return
		}
		again, err := decode(t.Context(), k.encode(), nil)
		if err != nil {
			t.Fatalf("what we write we cannot read: %v", err)
		}
		if _, err := again.Unseal("fuzz", k.Seal("fuzz", nil)); err != nil {
			t.Fatal(err)
		}
	})
}

func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("the folder holds %v, want the key file alone", entries)
	}
}

// Made by the first release, with keys of repeated bytes: 0x11 is the root,
// 0x22 and 0x33 seal.
const (
	firstFile = `{
  "format": 1,
  "warning": "test",
  "root": "ERERERERERERERERERERERERERERERERERERERERERE=",
  "sealing": [
    {"version": 1, "key": "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI="},
    {"version": 2, "key": "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM="}
  ]
}
`
	firstBox     = "01000000025eafb6772a6e9d9acd98f5954df4e3d1b30e4cad87663dbc49765dbfabcac2ba7c43daa3a52ba7b403dd36cefbb8bae0ff0b02a9"
	firstDerived = "7805d1668c668653cb12c7931e75b3e7"
)
