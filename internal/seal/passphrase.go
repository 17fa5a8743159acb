package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/crypto/argon2"
)

const (
	// MinPassphrase is the shortest passphrase that seals, in bytes.
	MinPassphrase = 12
	maxPassphrase = 4 << 10

	// Argon2id as RFC 9106, section 4 recommends it second: 64 MiB, three
	// passes, four lanes. It is paid once a start.
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
	saltSize     = 16

	// What a file may ask of us: an attacker who can write it must not be able
	// to take all memory.
	mostTime    = 16
	mostMemory  = 1 << 20 // KiB
	mostThreads = 16
)

// Passphrase wraps by a passphrase. From says where it came from, for errors: a
// wrong passphrase is answered with the name of the file to look into.
type Passphrase struct {
	from   string
	phrase []byte
}

// NewPassphrase wraps by phrase, without the line ends at its end. It refuses
// one that is empty or over 4,096 bytes; only sealing asks for more of it.
func NewPassphrase(from string, phrase []byte) (*Passphrase, error) {
	phrase = bytes.TrimRight(phrase, "\r\n")
	if len(phrase) == 0 || len(phrase) > maxPassphrase {
		return nil, fmt.Errorf("passphrase from %s: want 1 to %d bytes", from, maxPassphrase)
	}
	return &Passphrase{from: from, phrase: bytes.Clone(phrase)}, nil
}

// ReadPassphrase takes the passphrase from a file that only its owner, or its
// owner and group, may read; what a service manager hands over is such a file.
func ReadPassphrase(path string) (*Passphrase, error) {
	phrase, err := ReadSecret(path, maxPassphrase+2)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	defer clear(phrase)
	return NewPassphrase(path, phrase)
}

// PassphraseFrom takes the passphrase from standard input, up to its end.
func PassphraseFrom(in io.Reader) (*Passphrase, error) {
	phrase, err := io.ReadAll(io.LimitReader(in, maxPassphrase+3))
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	defer clear(phrase)
	return NewPassphrase("standard input", phrase)
}

// ReadSecret reads a small file that holds a secret, of at most limit bytes.
// It refuses one that everybody may read (ErrPermissions) and one that is no
// regular file.
func ReadSecret(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: %w: want 0400 or 0600 (chmod 600, and think about who read it)", path, mode, ErrPermissions)
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > limit {
		return nil, fmt.Errorf("%s has over %d bytes", path, limit)
	}
	return text, nil
}

// Text is the passphrase itself, for a format of its own such as a backup's.
func (p *Passphrase) Text() string { return string(p.phrase) }

// Kind implements Wrapper.
func (p *Passphrase) Kind() string { return "passphrase" }

// Format hides the passphrase under every verb.
func (p *Passphrase) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "seal.Passphrase("+p.from+")")
}

// Wrap implements Wrapper. It refuses a passphrase shorter than MinPassphrase.
func (p *Passphrase) Wrap(_ context.Context, key []byte, purpose string) (Wrapping, error) {
	if len(p.phrase) < MinPassphrase {
		return Wrapping{}, fmt.Errorf("the passphrase of %s has fewer than %d characters: take a longer one, such as six random words", p.from, MinPassphrase)
	}
	salt := random(saltSize)
	derived := argon2.IDKey(p.phrase, salt, argonTime, argonMemory, argonThreads, keySize)
	nonce := random(nonceSize)
	wrapped := xaes(derived, nonce[:12]).Seal(nonce, nonce[12:], key, []byte(purpose))
	return Wrapping{Wrapped: wrapped, Details: map[string]string{
		"kdf": "argon2id", "salt": base64.StdEncoding.EncodeToString(salt),
		"time": strconv.Itoa(argonTime), "memory": strconv.Itoa(argonMemory), "threads": strconv.Itoa(argonThreads),
	}}, nil
}

// Unwrap implements Wrapper. A wrong passphrase takes as long as a right one.
func (p *Passphrase) Unwrap(_ context.Context, w Wrapping, purpose string) ([]byte, error) {
	salt, err := detail(w, "salt")
	if err != nil {
		return nil, err
	}
	if w.Details["kdf"] != "argon2id" || len(salt) != saltSize || len(w.Wrapped) < nonceSize+tagSize {
		return nil, fmt.Errorf("%w: it is sealed in a way that this release does not know", ErrFile)
	}
	passes, err1 := strconv.ParseUint(w.Details["time"], 10, 32)
	memory, err2 := strconv.ParseUint(w.Details["memory"], 10, 32)
	threads, err3 := strconv.ParseUint(w.Details["threads"], 10, 8)
	if errors.Join(err1, err2, err3) != nil || passes < 1 || passes > mostTime || memory < 8 || memory > mostMemory || threads < 1 || threads > mostThreads {
		return nil, fmt.Errorf("%w: it asks for more work than any passphrase is worth, or for none", ErrFile)
	}
	derived := argon2.IDKey(p.phrase, salt, uint32(passes), uint32(memory), uint8(threads), keySize)
	nonce := w.Wrapped[:nonceSize]
	key, err := xaes(derived, nonce[:12]).Open(nil, nonce[12:], w.Wrapped[nonceSize:], []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("%w with the passphrase of %s: give the one that the file was sealed with", ErrUnwrap, p.from)
	}
	return key, nil
}
