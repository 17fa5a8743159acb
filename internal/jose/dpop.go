package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	proofType = "dpop+jwt"

	// DefaultWindow is how far the iat of a proof may lie from now.
	DefaultWindow = 60 * time.Second
)

var (
	// ErrProof means that a DPoP proof is sound and not for this request:
	// another method, URL, token or time.
	ErrProof = errors.New("DPoP proof for another request")

	// ErrNonce means that a proof lacks the nonce that was demanded. The
	// server answers with error use_dpop_nonce and a DPoP-Nonce header
	// (RFC 9449, section 8).
	ErrNonce = errors.New("DPoP proof without the demanded nonce")
)

// ProofWant is the request that a proof must be for.
type ProofWant struct {
	Method string // htm, exactly: methods are case-sensitive
	URL    string // absolute; query and fragment do not count

	// AccessToken is the token sent along, empty at the token endpoint. The
	// proof must carry its hash in ath.
	AccessToken string

	// Nonce, if not empty, is what the server demanded.
	Nonce string

	// Now is the time of the check; zero stands for the present. Window is how
	// far iat may lie from it on either side; zero stands for DefaultWindow.
	Now    time.Time
	Window time.Duration
}

// A Proof is a valid one. It says that the sender holds the private key with
// thumbprint JKT; nothing says yet whose key that is, nor that the proof was not
// seen before: compare JKT with the token's, and ask a ReplayCache about JTI.
type Proof struct {
	JKT      string // RFC 7638 thumbprint of the key
	JTI      string // unique name of the proof, 1 to 512 bytes
	Nonce    string // as sent, checked only against ProofWant.Nonce
	IssuedAt time.Time
}

// ParseProof checks a DPoP proof (RFC 9449, section 4.3) against the request it
// came with. ES256 is the only algorithm. The error wraps ErrMalformed,
// ErrAlgorithm, ErrType, ErrKey, ErrSignature, ErrProof or ErrNonce.
func ParseProof(proof string, want ProofWant) (Proof, error) {
	p, err := split(proof)
	if err != nil {
		return Proof{}, err
	}
	header, members, err := parseHeader(p.header, "jwk")
	if err != nil {
		return Proof{}, err
	}
	if !strings.EqualFold(mediaType(header.Typ), proofType) {
		return Proof{}, fmt.Errorf("%w: typ %.32q, want %s", ErrType, header.Typ, proofType)
	}
	if header.Alg != ES256 {
		return Proof{}, fmt.Errorf("%w: %.16q", ErrAlgorithm, header.Alg)
	}
	key, err := proofKey(members)
	if err != nil {
		return Proof{}, err
	}
	signature, err := decode64(p.signature)
	if err != nil {
		return Proof{}, err
	}
	if err := verifySignature(key.Public, ES256, p.signed, signature); err != nil {
		return Proof{}, err
	}
	jkt, err := Thumbprint(key.Public)
	if err != nil {
		return Proof{}, err
	}
	got, err := proofClaims(p.payload, want)
	got.JKT = jkt
	if err != nil {
		return Proof{}, err
	}
	return got, nil
}

// proofKey reads the jwk of a proof's header, which must be a public key.
func proofKey(header object) (Key, error) {
	raw, ok := header.get("jwk")
	if !ok {
		return Key{}, fmt.Errorf("%w: proof without jwk", ErrMalformed)
	}
	jwk, err := parseObject(raw)
	if err != nil {
		return Key{}, fmt.Errorf("%w: jwk: %w", ErrMalformed, err)
	}
	// Asked before the type, so that a symmetric key in a proof is named too.
	for _, name := range private {
		if _, exists := jwk.get(name); exists {
			return Key{}, fmt.Errorf("%w: jwk contains its private half", ErrKey)
		}
	}
	key, usable, err := parseJWK(jwk)
	if err != nil {
		return Key{}, err
	}
	if !usable || key.Alg != ES256 {
		return Key{}, fmt.Errorf("%w: jwk is not a signing key on P-256", ErrKey)
	}
	return key, nil
}

// proofClaims checks what the proof is for, the cheap and telling checks first.
func proofClaims(segment string, want ProofWant) (Proof, error) {
	raw, err := decode64(segment)
	if err != nil {
		return Proof{}, err
	}
	members, err := parseObject(raw)
	if err != nil {
		return Proof{}, fmt.Errorf("%w: claims: %w", ErrMalformed, err)
	}
	var htm, htu, ath, nonce, jti string
	err = members.names(field{"htm", &htm}, field{"ath", &ath}, field{"nonce", &nonce}, field{"jti", &jti})
	if err == nil {
		htu, err = members.text("htu") // URLs may be longer than names
	}
	if err != nil {
		return Proof{}, fmt.Errorf("%w: claims: %w", ErrMalformed, err)
	}
	issued, err := numericDate(members, "iat")
	if err != nil || issued.IsZero() || jti == "" {
		return Proof{}, fmt.Errorf("%w: proof without a usable iat and jti", ErrMalformed)
	}
	if htm == "" || htm != want.Method {
		return Proof{}, fmt.Errorf("%w: htm is another method", ErrProof)
	}
	if !sameTarget(htu, want.URL) {
		return Proof{}, fmt.Errorf("%w: htu is another URL", ErrProof)
	}
	if err := checkProofTime(issued, want); err != nil {
		return Proof{}, err
	}
	if want.AccessToken != "" && !equal(ath, tokenHash(want.AccessToken)) {
		return Proof{}, fmt.Errorf("%w: ath is another token's", ErrProof)
	}
	if want.Nonce != "" && !equal(nonce, want.Nonce) {
		return Proof{}, ErrNonce
	}
	return Proof{JTI: jti, Nonce: nonce, IssuedAt: issued}, nil
}

func checkProofTime(issued time.Time, want ProofWant) error {
	now, window := want.Now, want.Window
	if now.IsZero() {
		now = time.Now()
	}
	if window == 0 {
		window = DefaultWindow
	}
	if age := now.Sub(issued); age > window || age < -window {
		return fmt.Errorf("%w: iat is more than %v away", ErrProof, window)
	}
	return nil
}

// tokenHash is the ath of a token (RFC 9449, section 4.2).
func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// sameTarget compares htu with the URL of the request: scheme and host without
// regard to case and default ports, the path exactly as written. A proof must
// not carry a query or fragment; those of the request do not count.
func sameTarget(htu, requested string) bool {
	if strings.ContainsAny(htu, "?#") {
		return false
	}
	proven, ok := target(htu)
	if !ok {
		return false
	}
	wanted, ok := target(requested)
	return ok && proven == wanted
}

// target is a URL reduced to what htu speaks of. Paths are compared in the
// escaped form they were sent in: %2e or a double slash is not ours to resolve.
func target(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Opaque != "" || u.Hostname() == "" {
		return "", false
	}
	port := u.Port()
	switch {
	case u.Scheme == "https" && port == "443", u.Scheme == "http" && port == "80":
		port = ""
	case u.Scheme != "https" && u.Scheme != "http":
		return "", false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	// A newline cannot appear in any part, so the parts cannot run together.
	return u.Scheme + "\n" + strings.ToLower(u.Hostname()) + "\n" + port + "\n" + path, true
}

// A Prover makes DPoP proofs with one key: the client's side. It is safe for
// concurrent use and prints as its thumbprint.
type Prover struct {
	key    *ecdsa.PrivateKey
	jkt    string
	prefix string // the encoded header and its dot
}

// NewProver returns a Prover. It panics if key is not on P-256, which is a bug
// in the caller; GenerateES256 makes a suitable one.
func NewProver(key *ecdsa.PrivateKey) *Prover {
	if key == nil || key.Curve != elliptic.P256() {
		panic("jose: DPoP prover without a P-256 key")
	}
	jwk, err := newJWKText(&key.PublicKey)
	if err != nil {
		panic("jose: " + err.Error())
	}
	header := struct {
		Typ string  `json:"typ"`
		Alg string  `json:"alg"`
		JWK jwkText `json:"jwk"`
	}{proofType, ES256, jwk}
	jkt, err := Thumbprint(&key.PublicKey)
	if err != nil {
		panic("jose: " + err.Error())
	}
	return &Prover{key: key, jkt: jkt, prefix: encodeSegment(mustJSON(header)) + "."}
}

// JKT returns the thumbprint that tokens bound to this key carry in cnf.jkt.
func (p *Prover) JKT() string { return p.jkt }

// String returns the thumbprint, never the key.
func (p *Prover) String() string { return "DPoP prover " + p.jkt }

// GoString is String.
func (p *Prover) GoString() string { return p.String() }

// Proof returns the DPoP header for one request, made now. accessToken is the
// token sent along, empty at the token endpoint. Each request, a repeated one
// too, needs its own proof.
func (p *Prover) Proof(method, target, accessToken string) (string, error) {
	return p.ProofWithNonce(method, target, accessToken, "")
}

// ProofWithNonce is Proof with the nonce that the server demanded.
func (p *Prover) ProofWithNonce(method, target, accessToken, nonce string) (string, error) {
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" || u.User != nil || method == "" {
		// Not the URL itself: a query may hold secrets.
		return "", errors.New("make DPoP proof: want a method and an absolute URL without user information")
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	claims := struct {
		JTI   string `json:"jti"`
		HTM   string `json:"htm"`
		HTU   string `json:"htu"`
		IAT   int64  `json:"iat"`
		ATH   string `json:"ath,omitempty"`
		Nonce string `json:"nonce,omitempty"`
	}{JTI: rand.Text(), HTM: method, HTU: u.String(), IAT: time.Now().Unix(), Nonce: nonce}
	if accessToken != "" {
		claims.ATH = tokenHash(accessToken)
	}
	return compact(p.key, p.prefix, mustJSON(claims))
}
