package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
)

const (
	minRSABits = 2048
	maxRSABits = 8192

	useSignature = "sig"      // RFC 7517, section 4.2
	useJWTSVID   = "jwt-svid" // SPIFFE JWT-SVID, section 6
)

// A Key is one public key of a set, with what it may be used for.
type Key struct {
	ID     string // kid; may be empty in the sets of others
	Alg    string // ES256 or RS256: the only algorithm it verifies
	Use    string // "sig", or "jwt-svid" in a SPIFFE bundle
	Public crypto.PublicKey
}

// NewKey describes a public key of ours for publishing: its kid is its
// thumbprint, its use is "sig". The error is ErrKey.
func NewKey(pub crypto.PublicKey) (Key, error) {
	id, err := Thumbprint(pub)
	if err != nil {
		return Key{}, err
	}
	alg, err := algorithm(pub)
	if err != nil {
		return Key{}, err
	}
	return Key{ID: id, Alg: alg, Use: useSignature, Public: pub}, nil
}

// algorithm pins the one algorithm of a key, and refuses weak keys.
func algorithm(pub crypto.PublicKey) (string, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if pub == nil || pub.Curve != elliptic.P256() {
			return "", fmt.Errorf("%w: not on P-256", ErrKey)
		}
		return ES256, nil
	case *rsa.PublicKey:
		if pub == nil || pub.N == nil {
			return "", fmt.Errorf("%w: empty RSA key", ErrKey)
		}
		if bits := pub.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return "", fmt.Errorf("%w: RSA of %d bits, want %d to %d", ErrKey, bits, minRSABits, maxRSABits)
		}
		// Exponent 1 makes every signature valid; small or even ones are a
		// sign of a broken or hostile generator.
		if pub.E < 1<<16+1 || pub.E%2 == 0 || pub.N.Bit(0) == 0 {
			return "", fmt.Errorf("%w: RSA exponent or modulus out of bounds", ErrKey)
		}
		return RS256, nil
	}
	return "", fmt.Errorf("%w: %T", ErrKey, pub)
}

// jwkText is a public JWK as we write it. Reading is parseJWK's, which is strict.
type jwkText struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`

	Kid string `json:"kid,omitempty"`
	Alg string `json:"alg,omitempty"`
	Use string `json:"use,omitempty"`
}

func newJWKText(pub crypto.PublicKey) (jwkText, error) {
	if _, err := algorithm(pub); err != nil {
		return jwkText{}, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 0x04, x, y
		if err != nil {
			return jwkText{}, fmt.Errorf("%w: not a point of P-256", ErrKey)
		}
		return jwkText{Kty: "EC", Crv: "P-256", X: encode(point[1:33]), Y: encode(point[33:])}, nil
	case *rsa.PublicKey:
		return jwkText{Kty: "RSA", N: encode(pub.N.Bytes()), E: encode(big.NewInt(int64(pub.E)).Bytes())}, nil
	}
	return jwkText{}, fmt.Errorf("%w: %T", ErrKey, pub)
}

// Thumbprint returns the SHA-256 thumbprint of a public key (RFC 7638) in
// base64url: our kid, and the jkt of DPoP. The error is ErrKey.
func Thumbprint(pub crypto.PublicKey) (string, error) {
	jwk, err := newJWKText(pub)
	if err != nil {
		return "", err
	}
	// The members that RFC 7638, section 3.2, requires, in its order. Written
	// by hand, since every DPoP proof needs one and every value is base64url.
	text := make([]byte, 0, 512)
	if jwk.Kty == "EC" {
		text = append(append(text, `{"crv":"P-256","kty":"EC","x":"`...), jwk.X...)
		text = append(append(text, `","y":"`...), jwk.Y...)
	} else {
		text = append(append(text, `{"e":"`...), jwk.E...)
		text = append(append(text, `","kty":"RSA","n":"`...), jwk.N...)
	}
	sum := sha256.Sum256(append(text, `"}`...))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// private are the members of RFC 7518, sections 6.2.2, 6.3.2 and 6.4, that only
// the owner of a key should know.
var private = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// parseJWK reads the public key of a JWK (RFC 7517) of type EC or RSA. ok is
// false, without an error, for a sound key that is simply not for us: of
// another type, curve, algorithm, use or operation.
func parseJWK(jwk object) (key Key, ok bool, err error) {
	var kty, crv string
	var ops []string
	err = jwk.names(field{"kty", &kty}, field{"crv", &crv}, field{"alg", &key.Alg}, field{"use", &key.Use}, field{"kid", &key.ID})
	if err != nil {
		return Key{}, false, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if ops, err = jwk.texts("key_ops"); err != nil {
		return Key{}, false, fmt.Errorf("%w: %w", ErrKey, err)
	}
	var want string
	switch {
	case kty == "EC" && crv == "P-256":
		want = ES256
	case kty == "RSA":
		want = RS256
	default:
		return Key{}, false, nil
	}
	for _, name := range private {
		if _, exists := jwk.get(name); exists {
			return Key{}, false, fmt.Errorf("%w: it contains its private half", ErrKey)
		}
	}
	if key.Alg != "" && key.Alg != want || !mayVerify(key.Use, ops, jwk) {
		return Key{}, false, nil
	}
	key.Alg = want
	if key.Public, err = publicKey(kty, jwk); err != nil {
		return Key{}, false, err
	}
	return key, true, nil
}

// mayVerify enforces use and key_ops (RFC 7517, sections 4.2 and 4.3). Both may
// be absent; an empty key_ops allows nothing.
func mayVerify(use string, ops []string, jwk object) bool {
	if use != "" && use != useSignature && use != useJWTSVID {
		return false
	}
	if _, restricted := jwk.get("key_ops"); !restricted {
		return true
	}
	for _, op := range ops {
		if op == "verify" {
			return true
		}
	}
	return false
}

func publicKey(kty string, jwk object) (crypto.PublicKey, error) {
	var pub crypto.PublicKey
	var err error
	if kty == "EC" {
		pub, err = publicEC(jwk)
	} else {
		pub, err = publicRSA(jwk)
	}
	if err != nil {
		return nil, err
	}
	if _, err := algorithm(pub); err != nil {
		return nil, err
	}
	return pub, nil
}

// publicEC reads x and y, each exactly 32 bytes (RFC 7518, section 6.2.1.2).
func publicEC(jwk object) (*ecdsa.PublicKey, error) {
	point := append(make([]byte, 0, 65), 4)
	for _, name := range []string{"x", "y"} {
		coordinate, err := octets(jwk, name)
		if err != nil {
			return nil, err
		}
		if len(coordinate) != 32 {
			return nil, fmt.Errorf("%w: %s of %d bytes, want 32", ErrKey, name, len(coordinate))
		}
		point = append(point, coordinate...)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("%w: not a point of P-256", ErrKey)
	}
	return pub, nil
}

// publicRSA reads n and e, both without leading zeros (RFC 7518, section 2,
// Base64urlUInt).
func publicRSA(jwk object) (*rsa.PublicKey, error) {
	n, err := octets(jwk, "n")
	if err != nil {
		return nil, err
	}
	e, err := octets(jwk, "e")
	if err != nil {
		return nil, err
	}
	if len(n) == 0 || len(n) > maxRSABits/8 || n[0] == 0 || len(e) == 0 || len(e) > 4 || e[0] == 0 {
		return nil, fmt.Errorf("%w: RSA members out of bounds", ErrKey)
	}
	exponent := new(big.Int).SetBytes(e).Int64()
	if exponent > 1<<31-1 {
		return nil, fmt.Errorf("%w: RSA exponent out of bounds", ErrKey)
	}
	modulus := new(big.Int).SetBytes(n)
	if isROCA(modulus) {
		return nil, fmt.Errorf("%w: RSA modulus of the ROCA generator", ErrKey)
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent)}, nil
}

// rocaPrimes are the odd primes to 167. The broken generator of CVE-2017-15361
// made primes that are powers of 65537 modulo each of them.
var rocaPrimes = []uint64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
	101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
}

// isROCA reports whether a modulus has the mark of that generator, and so can
// be factored. A sound key has it by chance in fewer than one of 10^7.
func isROCA(n *big.Int) bool {
	var prime, rest big.Int
	for _, p := range rocaPrimes {
		want := rest.Mod(n, prime.SetUint64(p)).Uint64()
		power := 65537 % p
		for power != want && power != 1 {
			power = power * 65537 % p
		}
		if power != want {
			return false
		}
	}
	return true
}

func octets(jwk object, name string) ([]byte, error) {
	s, err := jwk.text(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	b, err := decode64(s)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("%w: %s is not strict base64url", ErrKey, name)
	}
	return b, nil
}

// GenerateES256 makes a new P-256 private key from crypto/rand.
func GenerateES256() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("jose: " + err.Error()) // crypto/rand does not fail
	}
	return key
}

// MarshalES256Private returns key as PKCS #8 DER. It is not encrypted: seal it.
func MarshalES256Private(key *ecdsa.PrivateKey) ([]byte, error) {
	if key == nil || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: not a P-256 private key", ErrKey)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: no PKCS #8 form", ErrKey)
	}
	return der, nil
}

// ParseES256Private reads what MarshalES256Private writes. The error is ErrKey
// and contains nothing of the key.
func ParseES256Private(der []byte) (*ecdsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: not PKCS #8", ErrKey)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: not a P-256 private key", ErrKey)
	}
	return key, nil
}

// mustJSON marshals plain structs of strings, which cannot fail, without
// escaping <, > and &, which no reader of these needs.
func mustJSON(v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("jose: " + err.Error())
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
