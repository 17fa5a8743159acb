package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A Signer makes ES256 tokens of one type with one key. Its header is encoded
// once, so a token costs little more than its signature. It is safe for
// concurrent use and prints as its kid.
type Signer struct {
	key    *ecdsa.PrivateKey
	public Key
	prefix string // the encoded header and its dot
}

// NewES256Signer returns a Signer whose kid is the key's thumbprint (RFC 7638).
// typ goes into the header as it is, for example "at+jwt" (RFC 9068) or "JWT";
// it is left out when empty. It panics if key is not on P-256, which is a bug
// in the caller.
func NewES256Signer(key *ecdsa.PrivateKey, typ string) *Signer {
	if key == nil || key.Curve != elliptic.P256() {
		panic("jose: ES256 signer without a P-256 key")
	}
	public, err := NewKey(&key.PublicKey)
	if err != nil {
		panic("jose: " + err.Error())
	}
	header := struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
		Typ string `json:"typ,omitempty"`
	}{ES256, public.ID, typ}
	return &Signer{key: key, public: public, prefix: encodeSegment(mustJSON(header)) + "."}
}

// Key returns the public half for a KeySet.
func (s *Signer) Key() Key { return s.public }

// KID returns the key's thumbprint, the kid in every token.
func (s *Signer) KID() string { return s.public.ID }

// Public returns the public half.
func (s *Signer) Public() crypto.PublicKey { return s.public.Public }

// String returns the algorithm and kid, never the key.
func (s *Signer) String() string { return "ES256 signer " + s.public.ID }

// GoString is String.
func (s *Signer) GoString() string { return s.String() }

// Sign returns a token with claims, which encoding/json must render as an object.
func (s *Signer) Sign(claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return s.SignJSON(payload)
}

// SignJSON is Sign for claims that are JSON already. Anything that Verify would
// not read is refused: ErrMalformed if it is not a JSON object with unique
// names, or the token would exceed MaxToken.
func (s *Signer) SignJSON(payload []byte) (string, error) {
	if _, err := parseObject(payload); err != nil {
		return "", fmt.Errorf("sign token: %w: claims: %w", ErrMalformed, err)
	}
	return compact(s.key, s.prefix, payload)
}

// compact appends payload and signature to an encoded header.
func compact(key *ecdsa.PrivateKey, prefix string, payload []byte) (string, error) {
	size := len(prefix) + base64.RawURLEncoding.EncodedLen(len(payload)) + 1 + 86
	if size > MaxToken {
		return "", fmt.Errorf("sign token: %w: over %d bytes", ErrMalformed, MaxToken)
	}
	token := append(make([]byte, 0, size), prefix...)
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	digest := sha256.Sum256(token)
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	var signature [64]byte
	if err := decodeDER(&signature, der); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	token = append(token, '.')
	return string(base64.RawURLEncoding.AppendEncode(token, signature[:])), nil
}

// decodeDER turns the signature of crypto/ecdsa into the r || s of RFC 7518,
// section 3.4.
func decodeDER(dst *[64]byte, der []byte) error {
	input := cryptobyte.String(der)
	var sequence cryptobyte.String
	var r, s []byte // big-endian, without leading zeros
	if !input.ReadASN1(&sequence, asn1.SEQUENCE) || !input.Empty() ||
		!sequence.ReadASN1Integer(&r) || !sequence.ReadASN1Integer(&s) || !sequence.Empty() ||
		len(r) > 32 || len(s) > 32 {
		return errors.New("the signature is not one of P-256")
	}
	copy(dst[32-len(r):32], r)
	copy(dst[64-len(s):], s)
	return nil
}

func encodeSegment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
