// Package pkcs11 seals the key file by an RSA key in a hardware security module
// or smart card, through the library that its maker ships (PKCS#11, also called
// Cryptoki). The private key never leaves the token: it opens the small key of
// the key file once at each start, and no request waits for it.
//
// Such libraries are C, so this needs a binary built with cgo and the tag
// pkcs11; the static binary that is shipped says so instead:
//
//	CGO_ENABLED=1 go build -tags 'console pkcs11' ./cmd/muster
//
// Wrapping is RSA-OAEP (RFC 8017, section 7.1) with SHA-256 where the token can
// do that, else with SHA-1, which OAEP does not rely on for its security; hashing
// and encryption are done here with the public key, so that the token does
// nothing but the one operation that every token can.
package pkcs11

import (
	"errors"

	"github.com/muster-id/muster/internal/seal"
)

// Settings say which key in which token. The token needs an RSA key pair of at
// least 2,048 bits that may decrypt, both halves with the same id.
type Settings struct {
	// Module is the library of the token's maker.
	Module string `yaml:"module" unit:"file" example:"/usr/lib/softhsm/libsofthsm2.so"`
	// Token is the token's label.
	Token string `yaml:"token" example:"muster"`
	// Key is the label of the key pair in it.
	Key string `yaml:"key" example:"keys"`
	// PINFile holds the user PIN, readable by its owner only.
	PINFile string `yaml:"pin_file" unit:"file" example:"/etc/muster/pin"`
}

// ErrBuild means that this binary was built without PKCS#11.
var ErrBuild = errors.New("this muster was built without PKCS#11: build one with CGO_ENABLED=1 go build -tags 'console pkcs11' ./cmd/muster")

// Kind is the word for this wrapper in key files.
const Kind = "pkcs11"

// New returns a wrapper over a key in a token. It does not open the token yet.
// The error is ErrBuild in a binary without PKCS#11.
func New(s Settings) (seal.Wrapper, error) {
	if s.Module == "" || s.Token == "" || s.Key == "" || s.PINFile == "" {
		return nil, errors.New("pkcs11: module, token, key and pin_file are all needed")
	}
	return open(s)
}
