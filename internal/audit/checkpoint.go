package audit

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// File names beside the log's segments.
const (
	KeyFile        = "audit.pub"
	CheckpointFile = "checkpoint.json"
)

// Hash is a record's hash; in JSON it is lower-case hexadecimal.
type Hash [sha256.Size]byte

// MarshalText returns the hash in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads exactly one hash in hexadecimal.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return nhi.Invalidf("a hash of %d characters", len(text))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return nhi.Invalidf("a hash that is not hexadecimal")
	}
	return nil
}

// Checkpoint is a signed statement that the log's record Seq had Hash, and so
// that everything up to it was as it then was. Seq 0 begins a log.
type Checkpoint struct {
	Seq  uint64    `json:"seq"`
	Hash Hash      `json:"hash"`
	At   time.Time `json:"at"` // of signing, UTC, to the microsecond
	// Every is after how many more entries the next one is due.
	Every int    `json:"every"`
	KeyID string `json:"key_id"`
	// Signature is Ed25519 (RFC 8032) or ECDSA P-256 with SHA-256 in ASN.1.
	Signature []byte `json:"signature"`
}

// statement is what is signed. Its first line keeps the signature from being
// mistaken for one of another kind under the same key.
func (c Checkpoint) statement() []byte {
	return fmt.Appendf(nil, "muster audit checkpoint 1\n%d\n%x\n%d\n%d\n%s\n", c.Seq, c.Hash, c.At.UnixMicro(), c.Every, c.KeyID)
}

func sign(signer crypto.Signer, c Checkpoint) (Checkpoint, error) {
	message, hash := c.statement(), crypto.Hash(0) // Ed25519 takes the message itself
	if _, ok := signer.Public().(*ecdsa.PublicKey); ok {
		sum := sha256.Sum256(message)
		message, hash = sum[:], crypto.SHA256
	}
	signature, err := signer.Sign(rand.Reader, message, hash)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign audit checkpoint: %w", err)
	}
	c.Signature = signature
	return c, nil
}

// Verify checks the signature. It must be by one of keys; the error wraps
// nhi.ErrDenied otherwise.
func (c Checkpoint) Verify(keys ...crypto.PublicKey) error {
	for _, key := range keys {
		if id, err := KeyID(key); err != nil || id != c.KeyID {
			continue
		}
		ok := false
		switch key := key.(type) {
		case ed25519.PublicKey:
			ok = ed25519.Verify(key, c.statement(), c.Signature)
		case *ecdsa.PublicKey:
			sum := sha256.Sum256(c.statement())
			ok = ecdsa.VerifyASN1(key, sum[:], c.Signature)
		}
		if ok {
			return nil
		}
		return fmt.Errorf("checkpoint of record %d: the signature does not match: %w", c.Seq, nhi.ErrDenied)
	}
	return fmt.Errorf("checkpoint of record %d is signed by a key that is not ours: %w", c.Seq, nhi.ErrDenied)
}

// KeyID names a public key: unpadded base64url of the SHA-256 of its
// SubjectPublicKeyInfo (RFC 5280, section 4.1). Only Ed25519 and P-256 keys
// have one.
func KeyID(key crypto.PublicKey) (string, error) {
	switch key := key.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return "", nhi.Invalidf("audit key on curve %s, not P-256", key.Params().Name)
		}
	default:
		return "", nhi.Invalidf("audit key of type %T, neither Ed25519 nor P-256", key)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("name audit key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// maxFile bounds the small files that are read beside a log, in bytes.
const maxFile = 1 << 20

// ParseKeys reads public keys in PEM, as in audit.pub, one or several.
func ParseKeys(text []byte) ([]crypto.PublicKey, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("audit keys of %d bytes: %w", len(text), nhi.ErrTooLarge)
	}
	var keys []crypto.PublicKey
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "PUBLIC KEY" {
			return nil, nhi.Invalidf("audit keys hold a PEM block that is no public key")
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, nhi.Invalidf("audit key %d: not readable", len(keys)+1)
		}
		if _, err := KeyID(key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(bytes.TrimSpace(text)) > 0 {
		return nil, nhi.Invalidf("audit keys: want PEM public keys and nothing else")
	}
	return keys, nil
}

// ReadKeys reads the public keys in a file, such as a copy of audit.pub.
func ReadKeys(path string) ([]crypto.PublicKey, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("read audit keys: %w", err)
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return keys, nil
}

// addKey adds key to the folder's key file unless it is there.
func addKey(dir string, key crypto.PublicKey) error {
	path := filepath.Join(dir, KeyFile)
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return fmt.Errorf("write audit key: %w", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	old, err := readSmall(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read audit keys: %w", err)
	}
	if bytes.Contains(old, block) {
		return nil
	}
	return replace(path, append(old, block...))
}

// ParseCheckpoint reads one checkpoint in JSON. It does not verify it.
func ParseCheckpoint(text []byte) (Checkpoint, error) {
	var c Checkpoint
	if len(text) > maxFile {
		return c, fmt.Errorf("checkpoint of %d bytes: %w", len(text), nhi.ErrTooLarge)
	}
	if err := json.Unmarshal(text, &c); err != nil || len(c.Signature) == 0 || c.KeyID == "" {
		return Checkpoint{}, nhi.Invalidf("not an audit checkpoint")
	}
	return c, nil
}

// ReadCheckpoint reads the checkpoint in a file, such as a copy of
// checkpoint.json. It does not verify it.
func ReadCheckpoint(path string) (Checkpoint, error) {
	text, err := readSmall(path)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read audit checkpoint: %w", err)
	}
	c, err := ParseCheckpoint(text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read %s: %w", path, err)
	}
	return c, nil
}

func writeCheckpoint(dir string, c Checkpoint) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("write audit checkpoint: %w", err)
	}
	return replace(filepath.Join(dir, CheckpointFile), append(text, '\n'))
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes: %w", path, info.Size(), nhi.ErrTooLarge)
	}
	return os.ReadFile(path)
}

// replace writes a file so that a reader sees the old or the new text, never
// half of one.
func replace(path string, text []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
