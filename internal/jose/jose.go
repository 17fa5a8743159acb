// Package jose is the strict door through which every signed token enters and
// leaves. It knows one serialisation (JWS compact, RFC 7515), two algorithms
// (ES256 and RS256, RFC 7518) and refuses the rest of the standard, because the
// rest is where tokens have been forged:
//
//   - The algorithm comes from the key, not from the token. "none", HMAC with a
//     public key, and every other mix-up end at [ErrAlgorithm] or
//     [ErrUnknownKey], before anything is computed.
//   - The key comes from a [KeyFinder] that the caller trusts. A kid is only a
//     name in that set, never a path or a query. Headers that carry or point to a
//     key (jku, x5u, jwk) are refused; only a DPoP proof has a jwk, and it
//     proves possession, not identity.
//   - Headers that change the meaning of the rest (crit, b64, enc, zip, a nested
//     cty) are refused.
//   - Base64url has exactly one text for given bytes: no padding, no stray
//     bits, no line breaks. JSON has no duplicate names at any depth, no
//     invalid Unicode, a bounded depth.
//   - A published key is used only as its use, key_ops and alg allow.
//   - Nothing is read before it is measured: 16 KB for a token, 256 KB and 64
//     keys for a key set.
//
// [Verify] checks signature and registered claims (RFC 7519, RFC 8725) and gives
// a [Verified]. [Signer] makes tokens, at little more than the price of the
// signature. [ParseProof], [Prover] and [ReplayCache] are DPoP (RFC 9449).
// [Peek] reads a token without believing it.
//
// Options fail closed: an issuer is always demanded, an audience unless the
// caller says AnyAudience, an exp always. Errors say which check failed and
// contain nothing of the token but its alg and typ.
package jose

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// The signature algorithms of RFC 7518, section 3.1, that this package knows.
const (
	ES256 = "ES256" // ECDSA on P-256 with SHA-256
	RS256 = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits
)

const (
	// MaxToken is the largest token in bytes that is looked at.
	MaxToken = 16 << 10

	// MaxJWKS and MaxKeys bound a key set: its JSON in bytes and its keys.
	MaxJWKS = 256 << 10
	MaxKeys = 64

	maxName = 512 // of a kid, a typ, a jti in bytes
)

// What Verify and ParseProof tell apart. Their errors wrap one of these and add
// the reason.
var (
	ErrMalformed  = errors.New("malformed token")
	ErrAlgorithm  = errors.New("token algorithm not allowed")
	ErrUnknownKey = errors.New("token key unknown")
	ErrSignature  = errors.New("token signature wrong")
	ErrType       = errors.New("token of another type")
	ErrIssuer     = errors.New("token of another issuer")
	ErrAudience   = errors.New("token for another audience")
	ErrExpired    = errors.New("token expired")
	ErrNotYet     = errors.New("token not valid yet")
	ErrLifetime   = errors.New("token lives too long")

	// ErrKey means that a key or key set is not one that tokens may be
	// verified or signed with.
	ErrKey = errors.New("unusable key")
)

// A Header is the part of a JWS header that decisions may depend on.
type Header struct {
	Alg string
	Kid string // empty if there is none
	Typ string // empty if there is none
}

// parts are the three segments of a compact serialisation, still encoded.
type parts struct {
	header, payload, signature string
	signed                     string // header.payload, what the signature covers
}

// split cuts a token. A JWE has five segments, a JSON serialisation none.
func split(token string) (parts, error) {
	if len(token) > MaxToken {
		return parts{}, fmt.Errorf("%w: over %d bytes", ErrMalformed, MaxToken)
	}
	header, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || header == "" || payload == "" || strings.Contains(signature, ".") {
		return parts{}, fmt.Errorf("%w: not three segments", ErrMalformed)
	}
	return parts{header, payload, signature, token[:len(header)+1+len(payload)]}, nil
}

// strict64 refuses bits that decode to nothing.
var strict64 = base64.RawURLEncoding.Strict()

// decode64 decodes base64url and insists that s is the only text of its bytes.
// The standard decoder skips line breaks even when strict.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("%w: base64url with a line break", ErrMalformed)
	}
	out, err := strict64.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: not strict base64url", ErrMalformed)
	}
	return out, nil
}

// refused are header members that would let a token choose its own key or
// change how it is read. Members that only inform (x5t, x5c, private ones) are
// ignored, as RFC 7515, section 4, demands.
var refused = []string{"crit", "jku", "x5u", "jwk", "b64", "enc", "zip"}

// parseHeader decodes a header. The object is for callers that allow more;
// allow names one member of refused that this caller handles itself.
func parseHeader(segment, allow string) (Header, object, error) {
	raw, err := decode64(segment)
	if err != nil {
		return Header{}, nil, err
	}
	members, err := parseObject(raw)
	if err != nil {
		return Header{}, nil, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	for _, name := range refused {
		if _, ok := members.get(name); ok && name != allow {
			return Header{}, nil, fmt.Errorf("%w: header member %s is not allowed", ErrMalformed, name)
		}
	}
	var h Header
	if err := members.names(field{"alg", &h.Alg}, field{"kid", &h.Kid}, field{"typ", &h.Typ}); err != nil {
		return Header{}, nil, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	if h.Alg == "" {
		return Header{}, nil, fmt.Errorf("%w: header without alg", ErrMalformed)
	}
	cty, err := members.name("cty")
	if err != nil || strings.EqualFold(mediaType(cty), "jwt") {
		return Header{}, nil, fmt.Errorf("%w: nested token", ErrMalformed)
	}
	return h, members, nil
}

// mediaType drops the prefix that RFC 7515, section 4.1.9, says may be left out.
func mediaType(typ string) string {
	if len(typ) > 12 && strings.EqualFold(typ[:12], "application/") {
		return typ[12:]
	}
	return typ
}
