package backup

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/seal/agefile"
)

func identity(t testing.TB) (agefile.Lock, agefile.Key) {
	t.Helper()
	i, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, []byte(i.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := agefile.ReadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	return agefile.Lock{Recipients: id.Recipients()}, agefile.Key{Identity: id}
}

// good is a backup of three parts that do not compress, so that it has several
// pieces of encryption.
func good(t testing.TB, lock agefile.Lock) ([]byte, map[string][]byte) {
	t.Helper()
	parts := map[string][]byte{"keys.json": []byte("keys"), "audit/00000000000000000001.log": make([]byte, 100_000), "store/00000000": make([]byte, 70_000)}
	rand.Read(parts["audit/00000000000000000001.log"])
	rand.Read(parts["store/00000000"])
	var file bytes.Buffer
	w, err := NewWriter(&file, lock, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"keys.json", "audit/00000000000000000001.log"} {
		if err := w.Add(name, int64(len(parts[name])), bytes.NewReader(parts[name])); err != nil {
			t.Fatal(err)
		}
	}
	s := w.Stream("store")
	if _, err := s.Write(parts["store/00000000"]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), parts
}

// read reads a whole backup.
func read(file io.Reader, key agefile.Key) (map[string][]byte, error) {
	r, err := NewReader(file, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	parts := map[string][]byte{}
	for {
		name, body, err := r.Next()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return nil, err
		}
		if parts[name], err = io.ReadAll(body); err != nil {
			return nil, err
		}
	}
}

func TestWhatGoesInComesOut(t *testing.T) {
	lock, key := identity(t)
	file, want := good(t, lock)
	got, err := read(bytes.NewReader(file), key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r, err := NewReader(bytes.NewReader(file), key)
	if err != nil || r.Manifest.Program != "1.2.3" || time.Since(r.Manifest.At).Abs() > time.Minute {
		t.Errorf("manifest %+v, %v", r.Manifest, err)
	}
	// Parts that nobody reads are checked all the same.
	for err == nil {
		_, _, err = r.Next()
	}
	if err != io.EOF {
		t.Errorf("skipped through: %v", err)
	}
}

func TestALongStreamIsManyParts(t *testing.T) {
	lock, key := identity(t)
	var file bytes.Buffer
	w, err := NewWriter(&file, lock, "x")
	if err != nil {
		t.Fatal(err)
	}
	s := w.Stream("store")
	line := strings.Repeat("x", 999) + "\n"
	for range 9000 {
		if _, err := io.WriteString(s, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := read(&file, key)
	if err != nil || len(got) != 3 || len(got["store/00000000"])+len(got["store/00000001"])+len(got["store/00000002"]) != 9_000_000 {
		t.Errorf("%d parts, %v", len(got), err)
	}
}

func TestATamperedBackupIsRefusedInEachRegion(t *testing.T) {
	lock, key := identity(t)
	file, _ := good(t, lock)
	// Header, recipients and nonce in full, then a grid with the borders of the
	// encryption's pieces, then the end in full.
	var places []int
	for i := range file {
		if border := i % (64 << 10); i < 260 || i > len(file)-40 || i%4001 == 0 || border < 2 {
			places = append(places, i)
		}
	}
	for _, i := range places {
		changed := bytes.Clone(file)
		changed[i] ^= 0x10
		if _, err := read(bytes.NewReader(changed), key); !errors.Is(err, ErrDamaged) && !errors.Is(err, agefile.ErrKey) {
			t.Fatalf("byte %d of %d changed: %v", i, len(file), err)
		}
	}
}

func TestATruncatedBackupIsRefused(t *testing.T) {
	lock, key := identity(t)
	file, _ := good(t, lock)
	for n := 0; n < len(file); n += 1 + n/40 {
		if _, err := read(bytes.NewReader(file[:n]), key); !errors.Is(err, ErrDamaged) && !errors.Is(err, agefile.ErrKey) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(file), err)
		}
	}
	if _, err := read(bytes.NewReader(file[:len(file)-1]), key); err == nil {
		t.Error("cut by one byte, and whole")
	}
	if _, err := read(bytes.NewReader(append(bytes.Clone(file), 0)), key); err == nil {
		t.Error("one byte too many, and whole")
	}
}

func TestAnotherKeyOpensNothing(t *testing.T) {
	lock, _ := identity(t)
	_, other := identity(t)
	file, _ := good(t, lock)
	if _, err := read(bytes.NewReader(file), other); !errors.Is(err, agefile.ErrKey) {
		t.Errorf("%v, want ErrKey", err)
	}
	if _, err := read(strings.NewReader("this is no backup at all"), other); !errors.Is(err, agefile.ErrKey) {
		t.Errorf("no backup: %v, want ErrKey", err)
	}
}

// forge makes a file that is well encrypted, as anybody can who knows the
// recipient, and holds what make wrote.
func forge(t *testing.T, lock agefile.Lock, make func(*tar.Writer) error) []byte {
	t.Helper()
	var file bytes.Buffer
	e, err := agefile.Encrypt(&file, lock)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(e)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	if err := make(w); err != nil {
		t.Fatal(err)
	}
	_ = w.Close() // some forgeries are cut
	if err := errors.Join(z.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func put(w *tar.Writer, h tar.Header, body string) error {
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Size == 0 && h.Typeflag == tar.TypeReg {
		h.Size = int64(len(body))
	}
	h.Mode = 0o600
	if err := w.WriteHeader(&h); err != nil {
		return err
	}
	_, err := io.WriteString(w, body)
	return err
}

const manifest = `{"muster_backup":1,"program":"x","at":"2026-01-01T00:00:00Z"}`

func TestAForgedBackupLeadsNowhere(t *testing.T) {
	lock, key := identity(t)
	hostile := map[string]tar.Header{
		"zip slip":          {Name: "../../etc/cron.d/x"},
		"zip slip inside":   {Name: "audit/../../x"},
		"absolute":          {Name: "/etc/passwd"},
		"backslashes":       {Name: `audit\..\..\x`},
		"dots":              {Name: "audit/.."},
		"hidden":            {Name: "audit/.bashrc"},
		"deep":              {Name: "audit/a/b"},
		"upper case":        {Name: "Audit/x"},
		"control":           {Name: "audit/x\x1b[2J"},
		"symbolic link":     {Name: "audit/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"hard link":         {Name: "audit/x", Typeflag: tar.TypeLink, Linkname: "keys.json"},
		"device":            {Name: "audit/x", Typeflag: tar.TypeBlock},
		"folder":            {Name: "audit/", Typeflag: tar.TypeDir},
		"long name by PAX":  {Name: "audit/" + strings.Repeat("x", 300), Format: tar.FormatPAX},
		"records by PAX":    {Name: "audit/x", Format: tar.FormatPAX, PAXRecords: map[string]string{"MUSTER.x": "y"}},
		"GNU":               {Name: "audit/x", Format: tar.FormatGNU},
		"name of nothing":   {Name: "."},
		"unbelievable size": {Name: "audit/x", Size: maxPart + 1, Format: tar.FormatUSTAR},
	}
	for name, h := range hostile {
		t.Run(name, func(t *testing.T) {
			file := forge(t, lock, func(w *tar.Writer) error {
				if err := put(w, tar.Header{Name: manifestName, Format: tar.FormatUSTAR}, manifest); err != nil {
					return err
				}
				return put(w, h, "")
			})
			if got, err := read(bytes.NewReader(file), key); !errors.Is(err, ErrDamaged) {
				t.Errorf("read %v, %v, want ErrDamaged", got, err)
			}
		})
	}
}

func TestABackupThatContradictsItselfIsRefused(t *testing.T) {
	lock, key := identity(t)
	type entry struct{ name, body string }
	list := func(parts ...Part) string {
		text, err := json.Marshal(contents{parts})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, entries := range map[string][]entry{
		"no manifest":              {{"keys.json", "x"}},
		"a manifest of nothing":    {{manifestName, "{}"}},
		"no list":                  {{manifestName, manifest}, {"keys.json", "x"}},
		"a list of other parts":    {{manifestName, manifest}, {contentsName, list(Part{"keys.json", 1, "00"})}},
		"a list of another sum":    {{manifestName, manifest}, {contentsName, list(Part{manifestName, int64(len(manifest)), "00"})}},
		"a list that is none":      {{manifestName, manifest}, {contentsName, "x"}},
		"something behind the end": {{manifestName, manifest}, {contentsName, "{}"}, {"keys.json", "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := forge(t, lock, func(w *tar.Writer) error {
				for _, e := range entries {
					if err := put(w, tar.Header{Name: e.name, Format: tar.FormatUSTAR}, e.body); err != nil {
						return err
					}
				}
				return nil
			})
			if _, err := read(bytes.NewReader(file), key); !errors.Is(err, ErrDamaged) {
				t.Errorf("%v, want ErrDamaged", err)
			}
		})
	}
	newer := forge(t, lock, func(w *tar.Writer) error {
		return put(w, tar.Header{Name: manifestName, Format: tar.FormatUSTAR}, `{"muster_backup":2}`)
	})
	if _, err := read(bytes.NewReader(newer), key); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer one: %v, want ErrNewer", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestADecompressionBombIsStopped(t *testing.T) {
	lock, key := identity(t)
	file := forge(t, lock, func(w *tar.Writer) error {
		if err := put(w, tar.Header{Name: manifestName, Format: tar.FormatUSTAR}, manifest); err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: "audit/x", Typeflag: tar.TypeReg, Format: tar.FormatUSTAR, Size: maxPart, Mode: 0o600}); err != nil {
			return err
		}
		_, err := io.CopyN(w, zeros{}, grace+grace/4)
		return err
	})
	if len(file) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(file))
	}
	r, err := NewReader(bytes.NewReader(file), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, body, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, body)
	if !errors.Is(err, ErrDamaged) || n > grace+ratio*int64(len(file)) {
		t.Errorf("after %d bytes: %v, want ErrDamaged", n, err)
	}
}

func TestPartsThatAreNoneAreNotWritten(t *testing.T) {
	lock, _ := identity(t)
	w, err := NewWriter(io.Discard, lock, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add("../x", 1, strings.NewReader("x")); err == nil {
		t.Error("a hostile name was written")
	}
	if err := w.Add("keys.json", 5, strings.NewReader("x")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that shrank: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	lock, key := identity(f)
	file, _ := good(f, lock)
	f.Add(file)
	f.Add(file[:300])
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := read(bytes.NewReader(data), key); err == nil && !bytes.Equal(data, file) {
			t.Errorf("a forgery of %d bytes was read as %d parts", len(data), len(got))
		}
	})
}
