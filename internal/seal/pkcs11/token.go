//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/ThalesGroup/crypto11"

	"github.com/muster-id/muster/internal/seal"
)

// smallest RSA key that is still worth its name, in bits.
const smallest = 2048

type token struct{ set Settings }

func open(s Settings) (seal.Wrapper, error) { return &token{s}, nil }

// Kind implements seal.Wrapper.
func (*token) Kind() string { return Kind }

var hashes = map[string]struct {
	id  crypto.Hash
	new func() hash.Hash
}{"oaep-sha256": {crypto.SHA256, sha256.New}, "oaep-sha1": {crypto.SHA1, sha1.New}}

// Wrap implements seal.Wrapper. The token is made to unwrap at once, which
// tells which hash it can do.
func (t *token) Wrap(ctx context.Context, key []byte, purpose string) (seal.Wrapping, error) {
	var errs []error
	for _, scheme := range []string{"oaep-sha256", "oaep-sha1"} {
		w, err := t.wrap(key, purpose, scheme)
		if err == nil {
			_, err = t.Unwrap(ctx, w, purpose)
		}
		if err == nil {
			return w, nil
		}
		errs = append(errs, err)
	}
	return seal.Wrapping{}, errors.Join(errs...)
}

func (t *token) wrap(key []byte, purpose, scheme string) (w seal.Wrapping, err error) {
	err = t.with(func(pair crypto11.SignerDecrypter) error {
		public, ok := pair.Public().(*rsa.PublicKey)
		if !ok || public.N.BitLen() < smallest {
			return fmt.Errorf("key %q in token %q is not an RSA key of at least %d bits", t.set.Key, t.set.Token, smallest)
		}
		// Few tokens take a label of OAEP, so the purpose goes inside, as a hash
		// of fixed size.
		sum := sha256.Sum256([]byte(purpose))
		wrapped, err := rsa.EncryptOAEP(hashes[scheme].new(), rand.Reader, public, append(sum[:], key...), nil)
		w = seal.Wrapping{By: Kind, KeyID: t.set.Token + "/" + t.set.Key, Details: map[string]string{"scheme": scheme}, Wrapped: wrapped}
		return err
	})
	return w, err
}

// Unwrap implements seal.Wrapper. The key of the settings is asked, whatever
// the file names.
func (t *token) Unwrap(_ context.Context, w seal.Wrapping, purpose string) (key []byte, err error) {
	h, ok := hashes[w.Details["scheme"]]
	if !ok {
		return nil, fmt.Errorf("%w: it is sealed in a way that this release does not know", seal.ErrFile)
	}
	err = t.with(func(pair crypto11.SignerDecrypter) error {
		plain, err := pair.Decrypt(rand.Reader, w.Wrapped, &rsa.OAEPOptions{Hash: h.id})
		if err != nil {
			return fmt.Errorf("%w with key %q in token %q (%w): it was sealed by %s", seal.ErrUnwrap, t.set.Key, t.set.Token, err, w.KeyID)
		}
		sum := sha256.Sum256([]byte(purpose))
		if key, ok = bytes.CutPrefix(plain, sum[:]); !ok {
			return fmt.Errorf("%w: it was wrapped for something else", seal.ErrUnwrap)
		}
		return nil
	})
	return key, err
}

// with opens the token, hands out the key pair and closes the token again:
// nothing stays signed in.
func (t *token) with(do func(crypto11.SignerDecrypter) error) (err error) {
	pin, err := seal.ReadSecret(t.set.PINFile, 1<<10)
	if err != nil {
		return fmt.Errorf("pkcs11: PIN: %w", err)
	}
	defer clear(pin)
	c, err := crypto11.Configure(&crypto11.Config{
		Path: t.set.Module, TokenLabel: t.set.Token, Pin: string(bytes.TrimRight(pin, "\r\n")), MaxSessions: 2, PoolWaitTimeout: 10 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("open PKCS#11 token %q through %s: %w", t.set.Token, t.set.Module, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	found, err := c.FindKeyPair(nil, []byte(t.set.Key))
	if err != nil {
		return fmt.Errorf("find key %q in PKCS#11 token %q: %w", t.set.Key, t.set.Token, err)
	}
	pair, ok := found.(crypto11.SignerDecrypter)
	if !ok {
		return fmt.Errorf("PKCS#11 token %q has no RSA key pair labelled %q with an id", t.set.Token, t.set.Key)
	}
	return do(pair)
}
