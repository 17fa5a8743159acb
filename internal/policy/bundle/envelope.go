package bundle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/muster-id/muster/internal/nhi"
)

// PayloadType is what the signature says that it is about: what was signed for
// another purpose is no manifest.
const PayloadType = "application/vnd.muster.policies.manifest.v1+json"

// maxSignatures bounds how many signatures are looked at.
const maxSignatures = 8

// An envelope is DSSE 1.0 in JSON.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"` // base64
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"` // base64
}

// encoding is DSSE's pre-authentication encoding: what is really signed.
func encoding(kind string, payload []byte) []byte {
	var out bytes.Buffer
	for _, part := range [][]byte{[]byte("DSSEv1"), []byte(strconv.Itoa(len(kind))), []byte(kind), []byte(strconv.Itoa(len(payload)))} {
		out.Write(part)
		out.WriteByte(' ')
	}
	out.Write(payload)
	return out.Bytes()
}

func seal(payload []byte, key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("the signing key is no Ed25519 key")
	}
	return json.Marshal(envelope{
		PayloadType: PayloadType, Payload: payload,
		Signatures: []signature{{KeyID: KeyID(key.Public().(ed25519.PublicKey)), Sig: ed25519.Sign(key, encoding(PayloadType, payload))}},
	})
}

// unseal returns what one of keys signed, and the id of that key.
func unseal(body []byte, keys []ed25519.PublicKey) ([]byte, string, error) {
	var e envelope
	if err := strict(body, &e); err != nil {
		return nil, "", fmt.Errorf("%w: %s: %v", ErrFormat, signatureFile, err)
	}
	switch {
	case e.PayloadType != PayloadType:
		return nil, "", fmt.Errorf("%w: it signs %.80q", ErrSignature, e.PayloadType)
	case len(e.Signatures) == 0 || len(e.Signatures) > maxSignatures:
		return nil, "", fmt.Errorf("%w: %d signatures, 1 to %d are looked at", ErrSignature, len(e.Signatures), maxSignatures)
	}
	signed := encoding(e.PayloadType, e.Payload)
	for _, key := range keys {
		for _, s := range e.Signatures {
			// The id is a hint, and not looked at: what counts is the key.
			if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signed, s.Sig) {
				return e.Payload, KeyID(key), nil
			}
		}
	}
	return nil, "", fmt.Errorf("%w: none of the %d keys that are trusted made it", ErrSignature, len(keys))
}

// strict reads one JSON value with no field that nobody knows and nothing behind
// it.
func strict(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind it")
	}
	return nil
}

// KeyID names a public key: the SHA-256 of its 32 bytes, in hex.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// MarshalKey returns a public key as PEM ("PUBLIC KEY", RFC 8410), as openssl
// reads it.
func MarshalKey(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// MaxKeys bounds how many keys ParseKeys reads.
const MaxKeys = 16

// ParseKeys reads public keys in PEM, at least one. The error wraps
// nhi.ErrInvalid.
func ParseKeys(text []byte) ([]ed25519.PublicKey, error) {
	var out []ed25519.PublicKey
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "PUBLIC KEY" {
			return nil, nhi.Invalidf("want a public key in PEM, which begins with -----BEGIN PUBLIC KEY-----")
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, nhi.Invalidf("the public key is no Ed25519 key")
		}
		if out = append(out, key); len(out) > MaxKeys {
			return nil, nhi.Invalidf("more than %d public keys", MaxKeys)
		}
		text = rest
	}
	if len(out) == 0 {
		return nil, nhi.Invalidf("there is no public key")
	}
	return out, nil
}
