package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const phrase = "correct horse battery staple"

func passphrase(t *testing.T, text string) *Passphrase {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPassphrase(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// toy is a wrapper without cryptography, for what does not depend on it.
type toy struct {
	kind   string
	refuse error
	twist  bool // unwraps something else
	calls  int
}

func (w *toy) Kind() string { return w.kind }

func (w *toy) Wrap(_ context.Context, key []byte, purpose string) (Wrapping, error) {
	return Wrapping{KeyID: "k1", Details: map[string]string{"for": purpose}, Wrapped: bytes.Clone(key)}, w.refuse
}

func (w *toy) Unwrap(_ context.Context, got Wrapping, purpose string) ([]byte, error) {
	w.calls++
	if w.refuse != nil || got.Details["for"] != purpose {
		return nil, fmt.Errorf("%w: %v", ErrUnwrap, w.refuse)
	}
	key := bytes.Clone(got.Wrapped)
	if w.twist {
		key[0] ^= 1
	}
	return key, nil
}

func TestASealedKeyFileKeepsItsKeysThroughEveryChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	plain, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	box, seed := plain.Seal("test", []byte("kept")), plain.Derive("seed", 32)
	root := bytes.Clone(plain.root[:])

	opens := func(step string, wrappers ...Wrapper) *Keys {
		t.Helper()
		k, err := Open(t.Context(), path, wrappers...)
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if got, err := k.Unseal("test", box); err != nil || string(got) != "kept" || !bytes.Equal(k.Derive("seed", 32), seed) {
			t.Fatalf("%s: the keys are not the same: %q, %v", step, got, err)
		}
		onlyFile(t, path)
		return k
	}
	first, second := passphrase(t, phrase), &toy{kind: "toy"}
	if err := plain.Rewrap(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	k := opens("sealed by a passphrase", second, first)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if encoded, _ := json.Marshal(root); bytes.Contains(text, encoded) || bytes.Contains(text, root) {
		t.Error("the sealed file shows the root key")
	}
	if err := k.Rotate(); err != nil { // without the passphrase again
		t.Fatal(err)
	}
	rotated := k.Seal("test", []byte("rotated"))
	k = opens("rotated", first)
	if got, err := k.Unseal("test", rotated); err != nil || string(got) != "rotated" {
		t.Errorf("box of the new key: %q, %v", got, err)
	}
	if err := k.Rewrap(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	k = opens("sealed by another wrapper", second)
	if err := k.Rewrap(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if k = opens("in clear again"); k.Sealed() {
		t.Error("a file in clear counts as sealed")
	}
	if s, err := Inspect(path); err != nil || s.Sealed || s.Versions != 2 || s.Current != 2 {
		t.Errorf("Inspect = %+v, %v", s, err)
	}
}

func TestANewKeyFileIsSealedFromItsFirstByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	w := &toy{kind: "toy"}
	k, err := Open(t.Context(), path, w)
	if err != nil || !k.Sealed() {
		t.Fatalf("Open = sealed %v, %v", k != nil && k.Sealed(), err)
	}
	s, err := Inspect(path)
	if err != nil || !s.Sealed || Label(s.Wrapping) != "toy (k1)" || s.Versions != 0 {
		t.Errorf("Inspect = %+v, %v", s, err)
	}
}

func TestAWrongPassphraseSaysWhichFileToLookInto(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Open(t.Context(), path, passphrase(t, phrase)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wrong := passphrase(t, "incorrect horse battery staple")
	_, err = Open(t.Context(), path, wrong)
	if !errors.Is(err, ErrUnwrap) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), wrong.from) {
		t.Errorf("Open = %v, want ErrUnwrap naming %s and %s", err, path, wrong.from)
	}
	if strings.Contains(err.Error(), "horse") {
		t.Errorf("the error tells the passphrase: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a wrong passphrase changed the file (%v)", err)
	}
}

func TestASealedFileWithoutItsWrapperSaysWhatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Open(t.Context(), path, &toy{kind: "toy"}); err != nil {
		t.Fatal(err)
	}
	other := &toy{kind: "other"}
	_, err := Open(t.Context(), path, other)
	if !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), "toy (k1)") || !strings.Contains(err.Error(), "keys.unlock") {
		t.Errorf("Open = %v, want ErrSealed naming the wrapping", err)
	}
	if other.calls != 0 {
		t.Error("a wrapper of another kind was asked")
	}
}

func TestAnyChangedByteOfASealedFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	w := &toy{kind: "toy"}
	if _, err := Open(t.Context(), path, w); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file keyFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	changes := map[string]func(*keyFile){
		"another key id":        func(f *keyFile) { f.Wrapping.KeyID = "k2" },
		"another detail":        func(f *keyFile) { f.Wrapping.Details["more"] = "x" },
		"another wrapped key":   func(f *keyFile) { f.Wrapping.Wrapped[3] ^= 1 },
		"a key of another size": func(f *keyFile) { f.Wrapping.Wrapped = f.Wrapping.Wrapped[1:] },
		"the nonce":             func(f *keyFile) { f.Body[0] ^= 1 },
		"the body":              func(f *keyFile) { f.Body[nonceSize+5] ^= 1 },
		"the tag":               func(f *keyFile) { f.Body[len(f.Body)-1] ^= 1 },
		"a body cut short":      func(f *keyFile) { f.Body = f.Body[:len(f.Body)-1] },
		"a body of nothing":     func(f *keyFile) { f.Body = nil },
		"too much to wrap":      func(f *keyFile) { f.Wrapping.Wrapped = make([]byte, maxWrapped+1) },
		"too many details": func(f *keyFile) {
			for i := range maxDetails + 1 {
				f.Wrapping.Details[fmt.Sprint(i)] = "x"
			}
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			var f keyFile
			if err := json.Unmarshal(data, &f); err != nil {
				t.Fatal(err)
			}
			change(&f)
			_, err := decode(t.Context(), marshal(f), []Wrapper{w})
			if !errors.Is(err, ErrUnwrap) && !errors.Is(err, ErrFile) {
				t.Errorf("decode = %v, want a refusal", err)
			}
		})
	}
	// The body of one file under the wrapping of another, by the same wrapper.
	other := New()
	if other.cover, err = newCover(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	var second keyFile
	if err := json.Unmarshal(other.encode(), &second); err != nil {
		t.Fatal(err)
	}
	second.Body = file.Body
	if _, err := decode(t.Context(), marshal(second), []Wrapper{w}); !errors.Is(err, ErrUnwrap) {
		t.Errorf("a swapped body: %v, want ErrUnwrap", err)
	}
}

func TestAWrapperThatDoesNotUnwrapIsFoundOutBeforeTheFileIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]Wrapper{
		"refuses": &toy{kind: "toy", refuse: errors.New("no such key")}, "returns another key": &toy{kind: "toy", twist: true}, "too short": passphrase(t, "short"),
	} {
		if err := k.Rewrap(t.Context(), w); err == nil {
			t.Errorf("%s: Rewrap succeeded", name)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a failed Rewrap changed the file (%v)", err)
	}
	if k.Sealed() {
		t.Error("a failed Rewrap counts as sealed")
	}
}

func TestAFileThatAsksForTooMuchWorkIsRefusedUntried(t *testing.T) {
	p := passphrase(t, phrase)
	good, err := p.Wrap(t.Context(), make([]byte, keySize), WrapContext)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ field, value string }{
		{"memory", "4294967295"}, {"memory", "1048577"}, {"memory", "0"}, {"memory", "-1"}, {"memory", ""}, {"time", "17"}, {"time", "0"},
		{"threads", "0"}, {"threads", "255"}, {"threads", "256"}, {"kdf", "none"}, {"salt", ""}, {"salt", "AAAA"}, {"salt", "%"},
	} {
		w := good
		w.Details = map[string]string{}
		for k, v := range good.Details {
			w.Details[k] = v
		}
		w.Details[tt.field] = tt.value
		if _, err := p.Unwrap(t.Context(), w, WrapContext); !errors.Is(err, ErrFile) {
			t.Errorf("%s=%q: %v, want ErrFile", tt.field, tt.value, err)
		}
	}
	if _, err := p.Unwrap(t.Context(), good, "another purpose"); !errors.Is(err, ErrUnwrap) {
		t.Errorf("for another purpose: %v, want ErrUnwrap", err)
	}
}

func TestAPassphraseFileThatEverybodyReadsIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(path, []byte(phrase), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, bad := range map[os.FileMode]bool{0o400: false, 0o600: false, 0o440: false, 0o644: true, 0o604: true, 0o602: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPassphrase(path); errors.Is(err, ErrPermissions) != bad {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for name, content := range map[string]string{"empty": "", "an empty line": "\n", "too long": strings.Repeat("x", maxPassphrase+3)} {
		file := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPassphrase(file); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := ReadPassphrase(t.TempDir()); err == nil {
		t.Error("a folder is no passphrase")
	}
	if got := fmt.Sprintf("%v %+v %#v %s", passphrase(t, phrase), passphrase(t, phrase), passphrase(t, phrase), passphrase(t, phrase)); strings.Contains(got, "horse") {
		t.Errorf("the passphrase was printed: %s", got)
	}
}

func FuzzOpenSealed(f *testing.F) {
	w := &toy{kind: "toy"}
	k := New()
	var err error
	if k.cover, err = newCover(f.Context(), w); err != nil {
		f.Fatal(err)
	}
	f.Add(k.encode())
	f.Add([]byte(firstFile))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decode(t.Context(), data, []Wrapper{w})
		if err != nil {
			return
		}
		if _, err := decode(t.Context(), got.encode(), []Wrapper{w}); err != nil {
			t.Fatalf("what we write we cannot read: %v", err)
		}
	})
}
