//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/seal"
)

// module is where Debian puts SoftHSM2.
const module = "/usr/lib/softhsm/libsofthsm2.so"

// tokens makes a SoftHSM2 with two tokens that hold an RSA key each. The
// programs are part of the stage: without them it fails.
func tokens(t *testing.T) Settings {
	t.Helper()
	dir := t.TempDir()
	store, conf, pin := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "pin")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{conf: "directories.tokendir = " + store + "\nobjectstore.backend = file\nlog.level = ERROR\n", pin: "1234\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	for _, label := range []string{"muster", "other"} {
		run(t, "softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "5678", "--pin", "1234")
		run(t, "pkcs11-tool", "--module", module, "--token-label", label, "--login", "--pin", "1234", "--keypairgen", "--key-type", "rsa:2048", "--label", "keys", "--id", "01")
	}
	run(t, "pkcs11-tool", "--module", module, "--token-label", "muster", "--login", "--pin", "1234", "--keypairgen", "--key-type", "EC:prime256v1", "--label", "elliptic", "--id", "02")
	return Settings{Module: module, Token: "muster", Key: "keys", PINFile: pin}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s(install softhsm2 and opensc: scripts/need says how)", name, strings.Join(args, " "), err, out)
	}
}

func TestAHardwareTokenSealsAndOpensAKeyFile(t *testing.T) {
	set := tokens(t)
	hsm, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := seal.Open(t.Context(), path, hsm)
	if err != nil {
		t.Fatal(err)
	}
	again, err := seal.Open(t.Context(), path, hsm)
	if err != nil || !bytes.Equal(k.Derive("x", 32), again.Derive("x", 32)) {
		t.Fatalf("opened again: %v", err)
	}
	if s, err := seal.Inspect(path); err != nil || seal.Label(s.Wrapping) != "pkcs11 (muster/keys)" {
		t.Errorf("Inspect = %+v, %v", s, err)
	}

	other := set
	other.Token = "other"
	wrong, err := New(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(t.Context(), path, wrong); !errors.Is(err, seal.ErrUnwrap) || !strings.Contains(err.Error(), "muster/keys") {
		t.Errorf("the same label in another token: %v, want ErrUnwrap naming the right one", err)
	}
	w, err := hsm.Wrap(t.Context(), make([]byte, 32), "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.Unwrap(t.Context(), w, "two"); !errors.Is(err, seal.ErrUnwrap) {
		t.Errorf("for another purpose: %v, want ErrUnwrap", err)
	}
}

func TestATokenThatCannotHelpIsAClearError(t *testing.T) {
	set := tokens(t)
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte("9999"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Settings){
		"wrong PIN":        func(s *Settings) { s.PINFile = pin },
		"no such token":    func(s *Settings) { s.Token = "missing" },
		"no such key":      func(s *Settings) { s.Key = "missing" },
		"no such module":   func(s *Settings) { s.Module = "/missing.so" },
		"an elliptic key":  func(s *Settings) { s.Key = "elliptic" },
		"a module of text": func(s *Settings) { s.Module = pin },
	} {
		t.Run(name, func(t *testing.T) {
			bad := set
			change(&bad)
			hsm, err := New(bad)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := hsm.Wrap(t.Context(), make([]byte, 32), "x"); err == nil || strings.Contains(err.Error(), "9999") {
				t.Errorf("Wrap = %v, want an error without the PIN", err)
			}
		})
	}
}
