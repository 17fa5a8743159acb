package fingerprint

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/crypto/ssh"
)

// ErrEncrypted means that a private key is encrypted and shows nothing of its
// public half. An encrypted key that leaked is a smaller worry, and unmatchable.
var ErrEncrypted = errors.New("private key is encrypted")

// awsPair is a key id and its secret written together, as people paste them.
var awsPair = regexp.MustCompile(`^(?:AKIA|ASIA)[A-Z0-9]{16}[\s:;,|/="']+([A-Za-z0-9/+]{40})$`)

// Canonical returns the form of a secret that its fingerprint is computed over:
//
//   - AWS: the secret access key alone. White space around it is dropped, and so
//     is a key id before it.
//   - PEM: the SPKI DER of the public key (RFC 5280, section 4.1), from a
//     PKCS #1, PKCS #8, SEC 1 or OpenSSH private key. Indentation, CRLF, literal
//     "\n" as in JSON, and text around the block do not matter, so a key has one
//     fingerprint in a file, in YAML and in a service account's JSON. The two
//     halves are checked against each other: a file that merely shows
//     somebody's public key is refused.
//   - every other class: the exact bytes.
//
// The error is ErrInput or ErrEncrypted, and never contains the secret. The
// result may share memory with value.
func Canonical(class Class, value []byte) ([]byte, error) {
	if !class.valid() || len(value) == 0 || len(value) > MaxValue {
		return nil, fmt.Errorf("canonical form of %d bytes: %w", len(value), ErrInput)
	}
	switch class {
	case AWS:
		return canonicalAWS(value)
	case PEM:
		return canonicalPEM(value)
	}
	return value, nil
}

func canonicalAWS(value []byte) ([]byte, error) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return nil, fmt.Errorf("canonical AWS secret: %w: empty", ErrInput)
	}
	if pair := awsPair.FindSubmatch(value); pair != nil {
		return pair[1], nil
	}
	return value, nil
}

// canonicalPEM looks for the first private key among the blocks: an EC key
// often follows its parameters, a TLS bundle puts certificates in front.
func canonicalPEM(value []byte) ([]byte, error) {
	rest := straighten(value)
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return nil, fmt.Errorf("canonical private key: %w: no private key in PEM", ErrInput)
		}
		public, err := publicHalf(block)
		if err != nil {
			return nil, fmt.Errorf("canonical private key: %w", err)
		}
		if public == nil {
			continue
		}
		spki, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			// The reason names the type of key, nothing of its value.
			return nil, fmt.Errorf("canonical private key: %w: %T has no SPKI form", ErrInput, public)
		}
		return spki, nil
	}
}

// straighten undoes what pasting does to PEM, which wants each line at the
// margin.
func straighten(value []byte) []byte {
	if !bytes.ContainsRune(value, '\n') {
		value = bytes.ReplaceAll(value, []byte(`\r`), nil)
		value = bytes.ReplaceAll(value, []byte(`\n`), []byte("\n"))
	}
	out := make([]byte, 0, len(value)+1)
	for line := range bytes.Lines(value) {
		out = append(append(out, bytes.TrimSpace(line)...), '\n')
	}
	return out
}

// publicHalf returns the public key of a private key block, and nil for a
// block of another kind. Parser errors are replaced: they may quote content.
func publicHalf(block *pem.Block) (crypto.PublicKey, error) {
	if block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, ErrEncrypted
	}
	var private any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "OPENSSH PRIVATE KEY":
		return openSSHPublic(block)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: damaged %s", ErrInput, block.Type)
	}
	holder, ok := private.(interface{ Public() crypto.PublicKey })
	if !ok {
		return nil, fmt.Errorf("%w: %T has no public half", ErrInput, private)
	}
	return holder.Public(), nil
}

// openSSHPublic reads OpenSSH's own format. An encrypted key of that format
// shows a public key, but anybody can write a victim's public key around noise:
// it proves nothing, and what proves nothing gets no fingerprint.
func openSSHPublic(block *pem.Block) (crypto.PublicKey, error) {
	private, err := ssh.ParseRawPrivateKey(pem.EncodeToMemory(block))
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, ErrEncrypted
	}
	if err != nil {
		return nil, fmt.Errorf("%w: damaged OPENSSH PRIVATE KEY", ErrInput)
	}
	switch private := private.(type) {
	case *ed25519.PrivateKey:
		// The file holds seed and public key side by side, and the parser
		// does not compare them. RSA and ECDSA it does check.
		derived := ed25519.NewKeyFromSeed(private.Seed())
		if !derived.Equal(*private) {
			return nil, fmt.Errorf("%w: the halves of the OPENSSH PRIVATE KEY do not belong together", ErrInput)
		}
		return derived.Public(), nil
	case *rsa.PrivateKey:
		return private.Public(), nil
	case *ecdsa.PrivateKey:
		return private.Public(), nil
	}
	return nil, fmt.Errorf("%w: unsupported OPENSSH PRIVATE KEY", ErrInput)
}
