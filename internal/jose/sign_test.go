package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"
)

func TestSignedTokensVerify(t *testing.T) {
	s := NewES256Signer(GenerateES256(), "at+jwt")
	keys, err := NewKeySet(s.Key())
	if err != nil {
		t.Fatal(err)
	}
	opts := testOpts
	opts.Types = []string{"at+jwt"}
	// Many, for signatures whose numbers are short or have their top bit set.
	for range 200 {
		token, err := s.SignJSON([]byte(goodClaims))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Verify(token, keys, opts)
		if err != nil {
			t.Fatal(err)
		}
		if want := (Header{Alg: ES256, Kid: s.KID(), Typ: "at+jwt"}); got.Header != want {
			t.Fatalf("header = %+v, want %+v", got.Header, want)
		}
	}
}

func TestSignRefusesWhatVerifyWouldNotRead(t *testing.T) {
	s := NewES256Signer(GenerateES256(), "JWT")
	for _, claims := range []string{``, `null`, `"x"`, `[]`, `{"a":1,"a":2}`, `{"a":1} x`, `{"a":"` + strings.Repeat("a", MaxToken) + `"}`} {
		if token, err := s.SignJSON([]byte(claims)); !errors.Is(err, ErrMalformed) || token != "" {
			t.Errorf("SignJSON(%.20s) = %.20s, %v; want ErrMalformed", claims, token, err)
		}
	}
	for _, claims := range []any{nil, 1, "x", []string{"x"}, func() {}, math.Inf(1)} {
		if token, err := s.Sign(claims); err == nil {
			t.Errorf("Sign(%T) = %s", claims, token)
		}
	}
}

func TestSigningWithAnotherCurveIsABug(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, bug := range map[string]func(){
		"signer of P-384": func() { NewES256Signer(p384, "JWT") },
		"signer of nil":   func() { NewES256Signer(nil, "JWT") },
		"prover of P-384": func() { NewProver(p384) },
		"prover of nil":   func() { NewProver(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			bug()
		})
	}
}

// An independent implementation reads our tokens and sets, and we read its.
func TestWeAgreeWithAnotherImplementation(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey := GenerateES256()
	theirSet := gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{
		{Key: &ecKey.PublicKey, KeyID: "ec", Algorithm: "ES256", Use: "sig"},
		{Key: &rsaKey.PublicKey, KeyID: "rsa", Algorithm: "RS256", Use: "sig"},
	}}
	text, err := json.Marshal(theirSet)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := ParseJWKS(text)
	if err != nil || ours.Len() != 2 {
		t.Fatalf("their set: %v", err)
	}
	for _, key := range []gojose.SigningKey{
		{Algorithm: gojose.ES256, Key: gojose.JSONWebKey{Key: ecKey, KeyID: "ec"}},
		{Algorithm: gojose.RS256, Key: gojose.JSONWebKey{Key: rsaKey, KeyID: "rsa"}},
	} {
		theirs, err := gojose.NewSigner(key, (&gojose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := theirs.Sign([]byte(goodClaims))
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(token, ours, testOpts); err != nil {
			t.Errorf("their %s token: %v", key.Algorithm, err)
		}
	}

	s := NewES256Signer(ecKey, "JWT")
	token, err := s.SignJSON([]byte(goodClaims))
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewKeySet(s.Key())
	if err != nil {
		t.Fatal(err)
	}
	published, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var read gojose.JSONWebKeySet
	if err := json.Unmarshal(published, &read); err != nil {
		t.Fatal(err)
	}
	parsed, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := parsed.Verify(read.Key(s.KID())[0])
	if err != nil || string(payload) != goodClaims {
		t.Errorf("our token read by theirs: %s, %v", payload, err)
	}
}

// The yardsticks: what the signature itself costs.

func BenchmarkRawSign(b *testing.B) {
	key, digest := GenerateES256(), sha256.Sum256([]byte(goodClaims))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRawVerify(b *testing.B) {
	key, digest := GenerateES256(), sha256.Sum256([]byte(goodClaims))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkSignJSON(b *testing.B) {
	s := NewES256Signer(GenerateES256(), "at+jwt")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.SignJSON([]byte(goodClaims)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	i := newIssuer(b)
	token := sign(b, i.key, i.header(), goodClaims)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(token, i.keys, testOpts); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProof(b *testing.B) {
	p := NewProver(GenerateES256())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Proof("GET", testURL, "token"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseProof(b *testing.B) {
	proof := proofOf(b, GenerateES256(), proofHeader, proofBody)
	want := ProofWant{Method: "GET", URL: testURL, AccessToken: rfc9449Token, Now: testNow}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseProof(proof, want); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReplayCache(b *testing.B) {
	c := NewReplayCache(0, math.MaxInt)
	now := testNow
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		if !c.Fresh("nhi_a", now.String(), now) {
			b.Fatal("refused")
		}
	}
}

// The token paths must add little to the signature. Allocations are counted,
// since time on a shared machine says little.
func TestTokenPathsAllocateLittleBesideTheSignature(t *testing.T) {
	i := newIssuer(t)
	s := NewES256Signer(i.key, "JWT")
	token := sign(t, i.key, i.header(), goodClaims)
	claims := []byte(goodClaims)
	digest := sha256.Sum256(claims)
	signature, err := ecdsa.SignASN1(rand.Reader, i.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	allocs := func(f func()) int { return int(testing.AllocsPerRun(50, f)) }
	rawSign := allocs(func() { _, _ = ecdsa.SignASN1(rand.Reader, i.key, digest[:]) })
	rawVerify := allocs(func() { ecdsa.VerifyASN1(&i.key.PublicKey, digest[:], signature) })
	if got := allocs(func() { _, _ = s.SignJSON(claims) }) - rawSign; got > 8 {
		t.Errorf("SignJSON adds %d allocations to the signature, want at most 8", got)
	}
	if got := allocs(func() { _, _ = Verify(token, i.keys, testOpts) }) - rawVerify; got > 20 {
		t.Errorf("Verify adds %d allocations to the signature, want at most 20", got)
	}
}
