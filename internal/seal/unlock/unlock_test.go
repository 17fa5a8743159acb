package unlock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/seal/awskms"
	"github.com/muster-id/muster/internal/seal/pkcs11"
)

func TestEachSettingIsAWrapperOfItsKind(t *testing.T) {
	dir := t.TempDir()
	phrase := filepath.Join(dir, "passphrase")
	if err := os.WriteFile(phrase, []byte("six random words are enough here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:kms:eu-central-1:111122223333:alias/muster"
	for kind, s := range map[string]Settings{
		"passphrase": {PassphraseFile: phrase},
		"aws-kms":    {AWSKMS: awskms.Settings{Key: arn, CredentialsFile: "c"}},
	} {
		w, err := s.Wrappers()
		if err != nil || len(w) != 1 || w[0].Kind() != kind || !s.Set() {
			t.Errorf("%s: %v, %v", kind, w, err)
		}
	}
	if w, err := (Settings{}).Wrappers(); err != nil || len(w) != 0 {
		t.Errorf("nothing set: %v, %v", w, err)
	}
}

func TestSettingsThatCannotWorkAreNamed(t *testing.T) {
	for want, s := range map[string]Settings{
		"not several":      {PassphraseFile: "a", AgeIdentityFile: "b"},
		"pin_file":         {PKCS11: pkcs11.Settings{Module: "m"}},
		"ARN":              {AWSKMS: awskms.Settings{Key: "alias/x"}},
		"no such file":     {PassphraseFile: filepath.Join(t.TempDir(), "missing")},
		"age identity: op": {AgeIdentityFile: filepath.Join(t.TempDir(), "missing")},
	} {
		_, err := s.Wrappers()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "keys.unlock") {
			t.Errorf("Wrappers(%+v) = %v, want %q", s, err, want)
		}
	}
}
