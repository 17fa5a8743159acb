// Package unlock turns settings into what opens the key file: a passphrase, an
// age identity, a PKCS#11 token or a key of AWS KMS. A secret is never a setting
// itself, only the file it lies in, so that neither the configuration nor a list
// of processes shows it.
package unlock

import (
	"errors"
	"fmt"

	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/seal/agefile"
	"github.com/muster-id/muster/internal/seal/awskms"
	"github.com/muster-id/muster/internal/seal/pkcs11"
)

// Settings say what opens the key file. At most one is set; none means that the
// file lies in clear.
type Settings struct {
	PassphraseFile  string           `yaml:"passphrase_file"`
	AgeIdentityFile string           `yaml:"age_identity_file"`
	PKCS11          *pkcs11.Settings `yaml:"pkcs11"`
	AWSKMS          *awskms.Settings `yaml:"aws_kms"`
}

// Set reports whether anything is set.
func (s Settings) Set() bool { return s.count() > 0 }

func (s Settings) count() int {
	n := 0
	for _, set := range []bool{s.PassphraseFile != "", s.AgeIdentityFile != "", s.PKCS11 != nil, s.AWSKMS != nil} {
		if set {
			n++
		}
	}
	return n
}

// Files are the names of files in the settings, which may be relative to the
// file of settings.
func (s *Settings) Files() []*string {
	files := []*string{&s.PassphraseFile, &s.AgeIdentityFile}
	if s.PKCS11 != nil {
		files = append(files, &s.PKCS11.Module, &s.PKCS11.PINFile)
	}
	if s.AWSKMS != nil {
		files = append(files, &s.AWSKMS.CredentialsFile)
	}
	return files
}

// Check finds mistakes that show without opening a file.
func (s Settings) Check() error {
	if s.count() > 1 {
		return errors.New("keys.unlock: want one of passphrase_file, age_identity_file, pkcs11 and aws_kms, not several")
	}
	var err error
	switch {
	case s.PKCS11 != nil:
		_, err = pkcs11.New(*s.PKCS11)
	case s.AWSKMS != nil:
		_, err = awskms.New(*s.AWSKMS)
	}
	if err != nil {
		return fmt.Errorf("keys.unlock: %w", err)
	}
	return nil
}

// Wrappers returns what opens the key file, for seal.Open. It reads the files
// of passphrases and identities.
func (s Settings) Wrappers() ([]seal.Wrapper, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	var w seal.Wrapper
	var err error
	switch {
	case s.PassphraseFile != "":
		w, err = seal.ReadPassphrase(s.PassphraseFile)
	case s.AgeIdentityFile != "":
		w, err = agefile.ReadIdentity(s.AgeIdentityFile)
	case s.PKCS11 != nil:
		w, err = pkcs11.New(*s.PKCS11)
	case s.AWSKMS != nil:
		w, err = awskms.New(*s.AWSKMS)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keys.unlock: %w", err)
	}
	return []seal.Wrapper{w}, nil
}
