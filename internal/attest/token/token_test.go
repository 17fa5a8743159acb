package token_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/attest/attesttest"
	"github.com/muster-id/muster/internal/attest/token"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

const (
	issuer = "https://muster.example"
	method = "GET"
	url    = "https://shop.example/payments/17"
)

var robot = nhi.IdentityID("muster", "test", "robot")

// A mint makes tokens like package issuer does, and every wrong kind of them.
type mint struct {
	signer *jose.Signer
	prover *jose.Prover
	keys   *jose.KeySet
}

func newMint(t testing.TB) mint {
	t.Helper()
	m := mint{signer: jose.NewES256Signer(jose.GenerateES256(), token.Type), prover: jose.NewProver(jose.GenerateES256())}
	var err error
	if m.keys, err = jose.NewKeySet(m.signer.Key()); err != nil {
		t.Fatal(err)
	}
	return m
}

type claims map[string]any

// token signs good claims changed by edit.
func (m mint) token(t testing.TB, edit func(claims)) string {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	c := claims{
		"iss": issuer, "sub": "spiffe://muster.example/nhi/" + string(robot), "aud": issuer, "exp": now.Add(5 * time.Minute).Unix(),
		"nbf": now.Add(-30 * time.Second).Unix(), "iat": now.Unix(), "jti": "jti-1", "cnf": claims{"jkt": m.prover.JKT()},
		"nhi": claims{"id": string(robot), "method": "oidc", "rule": "r"},
	}
	if edit != nil {
		edit(c)
	}
	signed, err := m.signer.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (m mint) bound(t testing.TB, tok string) func() nhi.Evidence {
	return func() nhi.Evidence {
		proof, err := m.prover.Proof(method, url, tok)
		if err != nil {
			t.Fatal(err)
		}
		return nhi.Evidence{Authorization: "DPoP " + tok, Proof: proof, Method: method, URL: url}
	}
}

func bearer(tok string) func() nhi.Evidence {
	return func() nhi.Evidence { return nhi.Evidence{Authorization: "Bearer " + tok, Method: method, URL: url} }
}

func unbound(c claims) {
	delete(c, "cnf")
	c["nhi"].(claims)["bearer"] = true
}

func (m mint) deps() attest.Deps { return attest.Deps{Issuer: issuer, Keys: m.keys} }

func (m mint) want(tok string, assurance nhi.Assurance) nhi.Attested {
	peek, err := jose.Peek(tok)
	if err != nil {
		panic(err)
	}
	return nhi.Attested{Identity: robot, KeyID: "jti-1", Method: "token", Assurance: assurance, SenderBound: peek.Bound, Thumbprint: peek.JKT, IssuedAt: peek.IssuedAt, Expires: peek.Expires}
}

func TestMethodPassesTheKit(t *testing.T) {
	m := newMint(t)
	plain, byKey := m.token(t, nil), m.token(t, func(c claims) { c["nhi"].(claims)["method"] = "api-key" })
	short, here := m.token(t, unbound), m.token(t, func(c claims) { c["aud"] = "https://shop.example" })
	other := mint{signer: m.signer, prover: jose.NewProver(jose.GenerateES256()), keys: m.keys}
	stranger := newMint(t)
	set := func(name string, value any) string { return m.token(t, func(c claims) { c[name] = value }) }
	now := time.Now()
	attesttest.Run(t, attesttest.Kit{
		Methods: []*attest.Method{token.Method},
		Deps:    m.deps(),
		Good: []attesttest.Case{
			{Name: "a bound token of an attested workload", Evidence: m.bound(t, plain), Want: m.want(plain, nhi.AssuranceAttested)},
			{Name: "a bound token got with a key", Evidence: m.bound(t, byKey), Want: m.want(byKey, nhi.AssuranceBound)},
			{Name: "a bearer token whose rule allows it", Evidence: bearer(short), Want: m.want(short, nhi.AssuranceShort)},
			{Name: "a token for this origin", Evidence: m.bound(t, here), Want: m.want(here, nhi.AssuranceAttested)},
		},
		Bad: []attesttest.Case{
			{Name: "a stolen token without the key", Evidence: other.bound(t, plain)},
			{Name: "a stolen token as bearer", Evidence: bearer(plain)},
			{Name: "a stolen token as DPoP without a proof", Evidence: edit(m.bound(t, plain), func(e *nhi.Evidence) { e.Proof = "" })},
			{Name: "a proof for another method", Evidence: edit(m.bound(t, plain), func(e *nhi.Evidence) { e.Method = "DELETE" })},
			{Name: "a proof for another URL", Evidence: edit(m.bound(t, plain), func(e *nhi.Evidence) { e.URL = "https://shop.example/admin" })},
			{Name: "a proof for another token", Evidence: edit(m.bound(t, byKey), func(e *nhi.Evidence) { e.Authorization = "DPoP " + plain })},
			{Name: "an old proof", Evidence: edit(m.bound(t, plain), func(e *nhi.Evidence) { e.At = now.Add(2 * time.Minute) })},
			{Name: "an expired token", Evidence: edit(m.bound(t, plain), func(e *nhi.Evidence) { e.At = now.Add(time.Hour) })},
			{Name: "a token of the future", Evidence: m.bound(t, set("nbf", now.Add(time.Hour).Unix()))},
			{Name: "a token that lives for days", Evidence: m.bound(t, set("exp", now.Add(48*time.Hour).Unix()))},
			{Name: "a token without an end", Evidence: m.bound(t, m.token(t, func(c claims) { delete(c, "exp") }))},
			{Name: "a confused deputy: a token for another service", Evidence: m.bound(t, set("aud", "https://bank.example"))},
			{Name: "a token for two audiences", Evidence: m.bound(t, set("aud", []string{issuer, "https://bank.example"}))},
			{Name: "a token of another issuer", Evidence: m.bound(t, set("iss", "https://evil.example"))},
			{Name: "a token by another key", Evidence: stranger.bound(t, stranger.token(t, nil))},
			{Name: "an unbound token whose rule forbids it", Evidence: bearer(m.token(t, func(c claims) { delete(c, "cnf") }))},
			{Name: "an unbound token dressed up as DPoP", Evidence: m.bound(t, short)},
			{Name: "a token bound to a certificate", Evidence: m.bound(t, set("cnf", claims{"x5t#S256": "abc"}))},
			{Name: "a token whose names disagree", Evidence: m.bound(t, set("sub", "spiffe://muster.example/nhi/"+string(nhi.IdentityID("x", "y", "z"))))},
			{Name: "a token without an identity", Evidence: m.bound(t, set("nhi", "robot"))},
			{Name: "a token without a name", Evidence: m.bound(t, m.token(t, func(c claims) { delete(c, "jti") }))},
			{Name: "alg none", Evidence: bearer(none(plain))},
			{Name: "an ID token", Evidence: m.bound(t, other.retyped(t, "JWT", m))},
		},
	})
}

func (m mint) retyped(t testing.TB, typ string, trusted mint) string {
	t.Helper()
	key := jose.GenerateES256()
	return mint{signer: jose.NewES256Signer(key, typ), prover: trusted.prover}.token(t, nil)
}

func edit(good func() nhi.Evidence, change func(*nhi.Evidence)) func() nhi.Evidence {
	return func() nhi.Evidence {
		e := good()
		change(&e)
		return e
	}
}

// none rewrites a token to claim that it needs no signature.
func none(tok string) string {
	_, rest, _ := strings.Cut(tok, ".")
	payload, _, _ := strings.Cut(rest, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + payload + "."
}

func TestAnIDTokenByOurOwnKeyIsNoAccessToken(t *testing.T) {
	key := jose.GenerateES256()
	m := mint{signer: jose.NewES256Signer(key, "JWT"), prover: jose.NewProver(jose.GenerateES256())}
	var err error
	if m.keys, err = jose.NewKeySet(m.signer.Key()); err != nil {
		t.Fatal(err)
	}
	attesttest.Denied(t, attest.New(m.deps(), token.Method), m.bound(t, m.token(t, nil))())
}

func TestAReplayedProofIsRefused(t *testing.T) {
	m := newMint(t)
	v := attest.New(m.deps(), token.Method)
	e := m.bound(t, m.token(t, nil))()
	if _, err := v.Verify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	attesttest.Denied(t, v, e)
}

func TestATokenDiesWithItsKey(t *testing.T) {
	m := newMint(t)
	keys := &switchable{set: m.keys}
	deps := m.deps()
	deps.Keys = keys
	v := attest.New(deps, token.Method)
	evidence := m.bound(t, m.token(t, nil))
	if _, err := v.Verify(t.Context(), evidence()); err != nil {
		t.Fatal(err)
	}
	keys.set = newMint(t).keys
	attesttest.Denied(t, v, evidence())
}

func TestTheConsumerProvesItselfBesideTheKey(t *testing.T) {
	m := newMint(t)
	static := &attest.Method{
		Name:       "static",
		Recognises: func(p attest.Presented) bool { return p.Value == "key" },
		Open: func(attest.Deps) attest.Check {
			return func(_ context.Context, _ attest.Presented, _ nhi.Evidence) (nhi.Attested, error) {
				return nhi.Attested{Identity: "somebody"}, nil
			}
		},
	}
	v := attest.New(m.deps(), token.Method, static)
	tok := m.token(t, nil)
	good := func() nhi.Evidence {
		e := m.bound(t, tok)()
		e.Authorization, e.Attestation = "Bearer key", tok
		return e
	}
	for _, tt := range []struct {
		name string
		edit func(*nhi.Evidence)
		want nhi.ID
	}{
		{"with its proof", func(*nhi.Evidence) {}, robot},
		{"stolen, without a proof", func(e *nhi.Evidence) { e.Proof = "" }, ""},
		{"stolen, with the thief's own proof", func(e *nhi.Evidence) {
			thief := mint{prover: jose.NewProver(jose.GenerateES256())}
			e.Proof = thief.bound(t, tok)().Proof
		}, ""},
		{"as a bearer that its rule allows", func(e *nhi.Evidence) { e.Attestation = m.token(t, unbound) }, robot},
		{"garbage", func(e *nhi.Evidence) { e.Attestation = "x" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := good()
			tt.edit(&e)
			got, err := v.Verify(t.Context(), e)
			if err != nil || got.Identity != "somebody" || got.Consumer != tt.want {
				t.Errorf("Verify = %s with consumer %q, %v, want consumer %q", got.Identity, got.Consumer, err, tt.want)
			}
			if by := got.ConsumerProof; (by.KeyID != "") != (tt.want != "") || by.IssuedAt.IsZero() != (tt.want == "") {
				t.Errorf("what proved consumer %q is told by %+v: revoked, it would not be noticed", tt.want, by)
			}
		})
	}
}

func TestSomebodyElsesJWTIsLeftToOtherMethods(t *testing.T) {
	m := newMint(t)
	v := attest.New(m.deps(), token.Method)
	_, err := v.Verify(t.Context(), bearer(m.token(t, func(c claims) { c["iss"] = "https://other.example" }))())
	if !errors.Is(err, nhi.ErrDenied) || !strings.Contains(err.Error(), "no method knows it") {
		t.Errorf("Verify: %v", err)
	}
}

func TestTheCacheForgetsAndStaysRight(t *testing.T) {
	m := newMint(t)
	v := attest.New(m.deps(), token.Method)
	first := m.token(t, unbound)
	for i := range 300 {
		tok := m.token(t, func(c claims) { unbound(c); c["jti"] = fmt.Sprint(i) })
		if _, err := v.Verify(t.Context(), bearer(tok)()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Verify(t.Context(), bearer(first)()); err != nil {
		t.Error(err)
	}
	late := bearer(first)()
	late.At = time.Now().Add(6 * time.Minute)
	attesttest.Denied(t, v, late)
}

func FuzzVerify(f *testing.F) {
	m := newMint(f)
	v := attest.New(m.deps(), token.Method)
	good := m.bound(f, m.token(f, nil))()
	f.Add(good.Authorization, good.Proof)
	f.Add("Bearer "+m.token(f, unbound), "")
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.", "..")
	f.Fuzz(func(t *testing.T, header, proof string) {
		got, err := v.Verify(t.Context(), nhi.Evidence{Authorization: header, Proof: proof, Attestation: proof, Method: method, URL: url})
		if (err == nil) != (got.Identity != "") {
			t.Errorf("Verify = %s, %v", got.Identity, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	m := newMint(b)
	v := attest.New(m.deps(), token.Method)
	b.Run("bearer, remembered", func(b *testing.B) {
		e := bearer(m.token(b, unbound))()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bound, remembered, proof made too", func(b *testing.B) {
		evidence := m.bound(b, m.token(b, nil))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), evidence()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type switchable struct{ set *jose.KeySet }

func (s *switchable) Key(kid, alg string) (crypto.PublicKey, bool) { return s.set.Key(kid, alg) }

// Whoever steals a token that is bound to a certificate has not got its key, and
// cannot make a connection with it (RFC 8705, section 3).
func TestATokenBoundToACertificateNeedsItsConnection(t *testing.T) {
	m := newMint(t)
	mine, other := &x509.Certificate{Raw: []byte("mine")}, &x509.Certificate{Raw: []byte("another's")}
	sum := sha256.Sum256(mine.Raw)
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	tok := m.token(t, func(c claims) { c["cnf"] = claims{"x5t#S256": thumbprint} })
	both := m.token(t, func(c claims) { c["cnf"] = claims{"x5t#S256": thumbprint, "jkt": m.prover.JKT()} })
	v := attest.New(attest.Deps{Keys: m.keys, Issuer: issuer}, token.Method)
	for _, tt := range []struct {
		name, authorization string
		certificate         *x509.Certificate
		good                bool
	}{
		{"its own connection", "Bearer " + tok, mine, true},
		{"another's connection", "Bearer " + tok, other, false},
		{"a connection without a certificate", "Bearer " + tok, nil, false},
		{"as if it were bound by DPoP", "DPoP " + tok, mine, false},
		{"one that is bound twice", "Bearer " + both, mine, false},
	} {
		got, err := v.Verify(t.Context(), nhi.Evidence{Authorization: tt.authorization, Certificate: tt.certificate, Method: method, URL: url})
		if (err == nil) != tt.good || tt.good && (got.Identity != robot || !got.SenderBound || got.Thumbprint != thumbprint || got.Assurance < nhi.AssuranceBound) || err != nil && !errors.Is(err, nhi.ErrDenied) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}
