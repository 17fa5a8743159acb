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
	// PassphraseFile is the file that holds a passphrase, readable by its owner
	// only: a file of yours, or what the service manager hands over.
	PassphraseFile string `yaml:"passphrase_file" unit:"file" example:"/run/credentials/muster.service/passphrase"`
	// AgeIdentityFile is a file of age identities, as age-keygen writes it.
	AgeIdentityFile string `yaml:"age_identity_file" unit:"file" example:"/etc/muster/identity.txt"`
	// PKCS11 is a key in a hardware token. It needs a muster that was built
	// with PKCS#11.
	PKCS11 pkcs11.Settings `yaml:"pkcs11"`
	// AWSKMS is a key of AWS KMS.
	AWSKMS awskms.Settings `yaml:"aws_kms"`
}

// Set reports whether anything is set.
func (s Settings) Set() bool { return s.count() > 0 }

func (s Settings) count() int {
	n := 0
	for _, set := range []bool{s.PassphraseFile != "", s.AgeIdentityFile != "", s.PKCS11 != (pkcs11.Settings{}), s.AWSKMS != (awskms.Settings{})} {
		if set {
			n++
		}
	}
	return n
}

// Check finds mistakes that show without opening a file.
func (s Settings) Check() error {
	if s.count() > 1 {
		return errors.New("keys.unlock: want one of passphrase_file, age_identity_file, pkcs11 and aws_kms, not several")
	}
	var err error
	switch {
	case s.PKCS11 != (pkcs11.Settings{}):
		_, err = pkcs11.New(s.PKCS11)
	case s.AWSKMS != (awskms.Settings{}):
		_, err = awskms.New(s.AWSKMS)
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
	case s.PKCS11 != (pkcs11.Settings{}):
		w, err = pkcs11.New(s.PKCS11)
	case s.AWSKMS != (awskms.Settings{}):
		w, err = awskms.New(s.AWSKMS)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keys.unlock: %w", err)
	}
	return []seal.Wrapper{w}, nil
}
