package agefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/muster-id/muster/internal/seal"
)

func TestMain(m *testing.M) {
	workFactor = 10
	os.Exit(m.Run())
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func identity(t *testing.T) *Identity {
	t.Helper()
	i, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	id, err := ReadIdentity(write(t, "# a comment\n"+i.String()+"\n", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAnIdentitySealsAndOpensAKeyFile(t *testing.T) {
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	later, err := ReadIdentity(write(t, hybrid.String(), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]*Identity{"X25519": identity(t), "hybrid": later} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			k, err := seal.Open(t.Context(), path, id)
			if err != nil {
				t.Fatal(err)
			}
			again, err := seal.Open(t.Context(), path, id)
			if err != nil || !bytes.Equal(k.Derive("x", 32), again.Derive("x", 32)) {
				t.Fatalf("opened again: %v", err)
			}
			other := identity(t)
			_, err = seal.Open(t.Context(), path, other)
			if !errors.Is(err, seal.ErrUnwrap) || !strings.Contains(err.Error(), other.path) || !strings.Contains(err.Error(), "age1") {
				t.Errorf("another identity: %v, want ErrUnwrap naming file and recipient", err)
			}
		})
	}
}

func TestAKeyWrappedForSomethingElseDoesNotUnwrap(t *testing.T) {
	id := identity(t)
	w, err := id.Wrap(t.Context(), make([]byte, 32), "one purpose")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Unwrap(t.Context(), w, "another"); !errors.Is(err, seal.ErrUnwrap) {
		t.Errorf("Unwrap = %v, want ErrUnwrap", err)
	}
}

func TestIdentityFilesThatAreNone(t *testing.T) {
	secret := strings.Repeat("Q", 20)
	for name, path := range map[string]string{
		"empty": write(t, "", 0o600), "not an identity": write(t, "AGE-SECRET-KEY-1"+secret, 0o600), "read by everybody": write(t, "x", 0o644),
		"missing": filepath.Join(t.TempDir(), "missing"), "too long": write(t, strings.Repeat("#\n", maxFile), 0o600),
	} {
		if _, err := ReadIdentity(path); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want an error without the secret", name, err)
		}
	}
	if got := fmt.Sprintf("%v %+v %#v", identity(t), identity(t), identity(t)); strings.Contains(got, "SECRET") {
		t.Errorf("an identity was printed: %s", got)
	}
}

func TestAFileIsReadByItsRecipientOnly(t *testing.T) {
	id := identity(t)
	for name, tt := range map[string]struct {
		lock Lock
		key  Key
		not  Key
	}{
		"recipient":  {Lock{Recipients: id.Recipients()}, Key{Identity: id}, Key{Identity: identity(t)}},
		"passphrase": {Lock{Passphrase: "six random words are enough here"}, Key{Passphrase: "six random words are enough here"}, Key{Passphrase: "another passphrase"}},
	} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			w, err := Encrypt(&file, tt.lock)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, "kept"); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			r, err := Decrypt(bytes.NewReader(file.Bytes()), tt.key)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != "kept" {
				t.Errorf("read %q, %v", got, err)
			}
			if _, err := Decrypt(bytes.NewReader(file.Bytes()), tt.not); !errors.Is(err, ErrKey) {
				t.Errorf("with another key: %v, want ErrKey", err)
			}
		})
	}
}

func TestLocksThatDoNotLock(t *testing.T) {
	for name, l := range map[string]Lock{
		"none": {}, "both": {Recipients: identity(t).Recipients(), Passphrase: "six random words are enough"}, "short passphrase": {Passphrase: "short"},
		"no recipient": {Recipients: []string{"age1notone"}}, "two in one": {Recipients: []string{strings.Join(append(identity(t).names, identity(t).names...), "\n")}},
	} {
		if _, err := Encrypt(io.Discard, l); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, k := range map[string]Key{"none": {}, "both": {Identity: identity(t), Passphrase: "x"}} {
		if _, err := Decrypt(strings.NewReader(""), k); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAPassphraseFileThatAsksForTooMuchWorkIsRefused(t *testing.T) {
	r, err := age.NewScryptRecipient("six random words are enough")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(1)
	var file bytes.Buffer
	w, err := age.Encrypt(&file, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	hostile := bytes.Replace(file.Bytes(), []byte(" 1\n"), []byte(" 30\n"), 1)
	if bytes.Equal(hostile, file.Bytes()) {
		t.Fatal("the work factor was not found in the file")
	}
	if _, err := Decrypt(bytes.NewReader(hostile), Key{Passphrase: "six random words are enough"}); !errors.Is(err, ErrKey) {
		t.Errorf("Decrypt = %v, want a refusal without the work", err)
	}
}
