package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options says what Verify demands beyond a good signature.
type Options struct {
	// Algs is the allow-list. Empty allows ES256 and RS256; nothing else can
	// be allowed.
	Algs []string

	// Types are the values allowed in typ (RFC 8725, section 3.11), without
	// regard to case or an "application/" prefix; "" stands for a header
	// without typ. Empty allows only a plain JWT: "JWT", "JOSE" or none, so
	// that an access token or a proof never passes for an ID token.
	Types []string

	// Issuer is what iss must be, byte for byte. It is required.
	Issuer string

	// Audience must be among aud. It is required, unless AnyAudience: for the
	// issuer's own introspection and revocation, which act on no audience's behalf.
	Audience    string
	AnyAudience bool

	// Now is the time of the check, and Leeway what clocks may differ by.
	// A zero Now stands for the present.
	Now    time.Time
	Leeway time.Duration

	// MaxLife, if positive, is the longest time from iat (or, without iat,
	// from now) to exp.
	MaxLife time.Duration

	// Statement demands a token that states what happened instead of granting
	// something, such as a security event token: it has an iat and no exp (RFC
	// 8417, section 2.2). MaxLife is then required, and bounds its age.
	Statement bool
}

// Verified is a token that passed every check of Verify.
type Verified struct {
	Header Header
	Claims
}

// Verify checks a token's form, algorithm, key, signature, type and registered
// claims, in this order, and stops at the first failure. Nothing of the claims
// is read before the signature is known to be good. It never blocks, unless
// keys does.
func Verify(token string, keys KeyFinder, opts Options) (Verified, error) {
	header, payload, err := authenticate(token, keys, opts.Algs)
	if err != nil {
		return Verified{}, err
	}
	if !typeAllowed(header.Typ, opts.Types) {
		return Verified{}, fmt.Errorf("%w: typ %.32q", ErrType, header.Typ)
	}
	claims, err := parseClaims(payload)
	if err != nil {
		return Verified{}, err
	}
	if err := claims.check(opts); err != nil {
		return Verified{}, err
	}
	return Verified{Header: header, Claims: claims}, nil
}

// authenticate checks everything up to the signature, and returns the payload
// still encoded.
func authenticate(token string, keys KeyFinder, algs []string) (Header, string, error) {
	p, err := split(token)
	if err != nil {
		return Header{}, "", err
	}
	header, _, err := parseHeader(p.header, "")
	if err != nil {
		return Header{}, "", err
	}
	if !allowed(header.Alg, algs) {
		return Header{}, "", fmt.Errorf("%w: %.16q", ErrAlgorithm, header.Alg)
	}
	signature, err := decode64(p.signature)
	if err != nil {
		return Header{}, "", err
	}
	if keys == nil {
		return Header{}, "", ErrUnknownKey
	}
	pub, ok := keys.Key(header.Kid, header.Alg)
	if !ok {
		return Header{}, "", ErrUnknownKey
	}
	if err := verifySignature(pub, header.Alg, p.signed, signature); err != nil {
		return Header{}, "", err
	}
	return header, p.payload, nil
}

// Unverified is what a token says about itself. Anybody can write it.
type Unverified struct {
	Header Header
	Claims
}

// Peek reads a token without checking signature, key or time: to choose the
// issuer to verify it with, or to name a leaked one. Nothing it returns may
// be believed. It accepts any alg. The error is ErrMalformed.
func Peek(token string) (Unverified, error) {
	p, err := split(token)
	if err != nil {
		return Unverified{}, err
	}
	header, _, err := parseHeader(p.header, "")
	if err != nil {
		return Unverified{}, err
	}
	claims, err := parseClaims(p.payload)
	if err != nil {
		return Unverified{}, err
	}
	return Unverified{Header: header, Claims: claims}, nil
}

func allowed(alg string, list []string) bool {
	if alg != ES256 && alg != RS256 {
		return false
	}
	return len(list) == 0 || slices.Contains(list, alg)
}

func typeAllowed(typ string, list []string) bool {
	if len(list) == 0 {
		list = []string{"", "JWT", "JOSE"}
	}
	typ = mediaType(typ)
	return slices.ContainsFunc(list, func(want string) bool { return strings.EqualFold(typ, mediaType(want)) })
}

// verifySignature verifies with the algorithm of the key and insists that it is
// the token's. A KeyFinder that returns a wrong or weak key is refused here.
func verifySignature(pub crypto.PublicKey, alg, signed string, signature []byte) error {
	pinned, err := algorithm(pub)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	if pinned != alg {
		return fmt.Errorf("%w: the key is for %s", ErrAlgorithm, pinned)
	}
	digest := sha256.Sum256([]byte(signed))
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		var der [maxDER]byte
		encoded, ok := encodeDER(der[:0], signature)
		if ok && ecdsa.VerifyASN1(pub, digest[:], encoded) {
			return nil
		}
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], signature) == nil {
			return nil
		}
	}
	return ErrSignature
}

// maxDER is the longest DER form of a P-256 signature: two integers of 33 bytes.
const maxDER = 2 + 2*(2+33)

// encodeDER turns the r || s of RFC 7518, section 3.4, into what crypto/ecdsa
// takes. Only exactly 64 bytes are a signature: the same bytes in DER are not.
// Zero and too large numbers are refused by the verification itself.
func encodeDER(dst, signature []byte) ([]byte, bool) {
	if len(signature) != 64 {
		return nil, false
	}
	dst = append(dst, 0x30, 0)
	for _, number := range [][]byte{signature[:32], signature[32:]} {
		for len(number) > 1 && number[0] == 0 {
			number = number[1:]
		}
		if number[0] >= 0x80 { // it would read as negative
			dst = append(dst, 0x02, byte(len(number)+1), 0)
		} else {
			dst = append(dst, 0x02, byte(len(number)))
		}
		dst = append(dst, number...)
	}
	dst[1] = byte(len(dst) - 2)
	return dst, true
}
