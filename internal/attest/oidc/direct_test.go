package oidc

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/attest/attesttest"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

const service = "https://payments.example"

// direct is a rule for points.
func (p *platform) direct(edit func(*Rule)) Rule {
	r := p.rule(map[string]Values{"sub": {"job-1"}})
	r.Use = []string{UsePoints}
	if edit != nil {
		edit(&r)
	}
	return r
}

// ready returns a Trust that has its keys.
func ready(t testing.TB, rules ...Rule) *Trust {
	t.Helper()
	tr := trust(t, rules...)
	if err := tr.refresh(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	return tr
}

func at(tr attest.Foreign, token, origin string) (nhi.Attested, error) {
	return tr.VerifyToken(token, audience, origin, time.Now())
}

func TestForeignTokensPassTheKitOfMethods(t *testing.T) {
	p := newPlatform(t)
	tr := ready(t, p.direct(nil))
	token, other := p.token(t, nil), p.token(t, func(c claims) { c["aud"] = "https://other.example" })
	issued := time.Unix(time.Now().Unix(), 0).Add(-time.Minute)
	old := p.token(t, func(c claims) { c["iat"], c["exp"] = issued.Unix(), issued.Add(time.Hour).Unix() })
	evidence := func(authorization string) func() nhi.Evidence {
		return func() nhi.Evidence {
			return nhi.Evidence{Authorization: authorization, URL: service + "/pay", At: time.Now()}
		}
	}
	attesttest.Run(t, attesttest.Kit{
		Methods: []*attest.Method{Method}, Deps: attest.Deps{Issuer: audience, Credentials: attesttest.Credentials{}, Foreign: tr},
		Good: []attesttest.Case{{Name: "a bearer token", Evidence: evidence("Bearer " + old), Want: nhi.Attested{
			Identity: robot, KeyID: "j1", Method: "oidc", Assurance: nhi.AssuranceShort, IssuedAt: issued, Expires: issued.Add(time.Hour),
			Attestation: &nhi.Attestation{Method: "oidc", At: issued, Level: nhi.EvidencePlatform, Selectors: []string{"sub:job-1"}},
		}}},
		Bad: []attesttest.Case{
			{Name: "for another service", Evidence: evidence("Bearer " + other)},
			{Name: "as if it were bound to a key", Evidence: evidence("DPoP " + token)},
		},
	})
}

func TestForeignTokensAreAcceptedAtPointsOnlyWhereTheirRuleSaysSo(t *testing.T) {
	p := newPlatform(t)
	for name, rule := range map[string]Rule{
		"a rule that says nothing":  p.rule(map[string]Values{"sub": {"job-1"}}),
		"a rule for exchanges only": p.direct(func(r *Rule) { r.Use = []string{UseExchange} }),
	} {
		if _, err := at(ready(t, rule), p.token(t, nil), service); !errors.Is(err, attest.ErrOther) {
			t.Errorf("%s: %v", name, err)
		}
	}
	only := trust(t, p.direct(nil))
	if _, err := only.Verify(t.Context(), p.token(t, nil), time.Now()); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("a rule for points only lets its tokens be exchanged: %v", err)
	}
	if got := only.Identities(); len(got) > 0 {
		t.Errorf("%v could prove themselves beside their keys, and cannot exchange anything", got)
	}
	both := ready(t, p.direct(func(r *Rule) { r.Use = []string{UseExchange, UsePoints} }))
	if _, err := both.Verify(t.Context(), p.token(t, nil), time.Now()); err != nil {
		t.Error(err)
	}
	if got, err := at(both, p.token(t, nil), service); err != nil || got.Identity != robot {
		t.Error(got, err)
	}
}

// A service that was shown a token must not be able to use it elsewhere.
func TestAForeignTokenForAnotherAudienceIsRefused(t *testing.T) {
	p := newPlatform(t)
	for _, tt := range []struct {
		name   string
		rule   Rule
		aud    any
		origin string
		want   bool
	}{
		{"for Muster", p.direct(nil), audience, service, true},
		{"for Muster among others", p.direct(nil), []string{"https://x.example", audience}, service, true},
		{"for a cloud", p.direct(nil), "sts.amazonaws.com", service, false},
		{"for nobody", p.direct(nil), nil, service, false},
		{"for the service, where the rule says Muster", p.direct(nil), service, service, false},
		{"for the service", p.direct(func(r *Rule) { r.Audience = service }), service, service, true},
		{"for the service, at another one", p.direct(func(r *Rule) { r.Audience = service }), service, "https://ledger.example", false},
		{"for the service, at its other port", p.direct(func(r *Rule) { r.Audience = service }), service, service + ":8443", false},
		{"for the service, in clear", p.direct(func(r *Rule) { r.Audience = service }), service, "http://payments.example", false},
		{"for the service, nobody knows where", p.direct(func(r *Rule) { r.Audience = service }), service, "", false},
		{"for a name that stands for the service", p.direct(func(r *Rule) { r.Audience, r.Origins = "api://payments", []string{service} }), "api://payments", service, true},
		{"for a name that stands for another", p.direct(func(r *Rule) { r.Audience, r.Origins = "api://payments", []string{service} }), "api://payments", "https://ledger.example", false},
	} {
		token := p.token(t, func(c claims) {
			if c["aud"] = tt.aud; tt.aud == nil {
				delete(c, "aud")
			}
		})
		tr := ready(t, tt.rule)
		for range 2 { // once verified, once remembered
			got, err := at(tr, token, tt.origin)
			if (err == nil) != tt.want || (got.Identity == robot) != tt.want || err != nil && !errors.Is(err, nhi.ErrDenied) {
				t.Errorf("%s: %q, %v, want %v", tt.name, got.Identity, err, tt.want)
			}
		}
	}
}

func TestForgedForeignTokensAreRefusedAtPoints(t *testing.T) {
	p, evil := newPlatform(t), newPlatform(t)
	good := p.token(t, nil)
	_, rest, _ := strings.Cut(good, ".")
	payload, _, _ := strings.Cut(rest, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	kid := p.signer.Load().KID()
	tr := ready(t, p.direct(nil), evil.direct(func(r *Rule) { r.Name, r.Claims = "evil", map[string]Values{"sub": {"intruder"}} }))
	tail := func(token string) string { return token[strings.LastIndexByte(token, '.'):] }
	for name, token := range map[string]string{
		"alg none": encode(`{"alg":"none"}`) + "." + payload + ".",
		"alg confusion: HMAC with the public key": encode(`{"alg":"HS256","kid":"`+kid+`"}`) + "." + payload + ".AAAA",
		"alg confusion: RSA for a curve's key":    encode(`{"alg":"RS256","kid":"`+kid+`"}`) + "." + payload + tail(good),
		"expired":                                 p.token(t, func(c claims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }),
		"no end":                                  p.token(t, func(c claims) { delete(c, "exp") }),
		"not yet":                                 p.token(t, func(c claims) { c["nbf"] = time.Now().Add(time.Hour).Unix() }),
		"a year long":                             p.token(t, func(c claims) { c["exp"] = time.Now().AddDate(1, 0, 0).Unix() }),
		"another subject":                         p.token(t, func(c claims) { c["sub"] = "job-11" }),
		"bound to a key":                          p.token(t, func(c claims) { c["cnf"] = claims{"jkt": "x"} }),
		"signature of another":                    good[:strings.LastIndexByte(good, '.')] + tail(evil.token(t, nil)),
		"key of another trusted issuer":           evil.token(t, func(c claims) { c["iss"] = p.URL }),
		"the same subject of another trusted issuer":    evil.token(t, nil),
		"key id of one issuer in a token of the other":  encode(`{"alg":"ES256","kid":"`+kid+`"}`) + evil.token(t, nil)[strings.IndexByte(evil.token(t, nil), '.'):],
		"an issuer that only looks like a trusted one":  p.token(t, func(c claims) { c["iss"] = p.URL + "/" }),
		"a token of Muster's own issuer by its subject": p.token(t, func(c claims) { c["iss"] = audience }),
	} {
		t.Run(name, func(t *testing.T) {
			v := attest.New(attest.Deps{Issuer: audience, Credentials: attesttest.Credentials{}, Foreign: tr}, Method)
			attesttest.Denied(t, v, nhi.Evidence{Authorization: "Bearer " + token, URL: service + "/", At: time.Now()})
		})
	}
	if got, err := at(tr, evil.token(t, func(c claims) { c["sub"] = "intruder" }), service); err != nil || got.Identity != robot {
		t.Errorf("the other issuer's own subject: %v, %v", got.Identity, err)
	}
}

func TestWhatAForeignTokenProvedIsForgottenAtOnce(t *testing.T) {
	p := newPlatform(t)
	rule := p.direct(nil)
	for name, undo := range map[string]func(tr *Trust) error{
		"its rule is gone":              func(tr *Trust) error { return tr.Set(nil) },
		"its rule is for exchanges now": func(tr *Trust) error { return tr.Set([]Rule{p.direct(func(r *Rule) { r.Use = nil })}) },
		"its rule names another": func(tr *Trust) error {
			return tr.Set([]Rule{p.direct(func(r *Rule) { r.Identity = "nhi_v6w2kopezgzwfpmsgulnrizwq4" })})
		},
		"its issuer changed its keys": func(tr *Trust) error {
			p.rotate()
			for _, k := range tr.rules.Load().keys { // as if ten minutes had passed
				k.fetched, k.tried = k.fetched.Add(-time.Hour), k.tried.Add(-time.Hour)
			}
			return tr.refresh(t.Context(), false)
		},
	} {
		token, tr := p.token(t, nil), ready(t, rule)
		before := tr.Direct()
		for range 2 {
			if got, err := at(tr, token, service); err != nil || got.Identity != robot {
				t.Fatalf("%s: before: %v", name, err)
			}
		}
		if err := tr.refresh(t.Context(), true); err != nil || tr.Direct() != before {
			t.Errorf("%s: nothing changed, and all is forgotten (%v)", name, err)
		}
		if err := undo(tr); err != nil {
			t.Fatal(err)
		}
		if got, err := at(tr, token, service); err == nil && got.Identity == robot {
			t.Errorf("%s: the token still proves %s", name, got.Identity)
		}
	}
}

func TestARememberedForeignTokenEndsWithItself(t *testing.T) {
	p := newPlatform(t)
	tr := ready(t, p.direct(nil))
	token, now := p.token(t, func(c claims) { c["exp"] = time.Now().Add(30 * time.Second).Unix() }), time.Now()
	for _, tt := range []struct {
		at   time.Time
		want bool
	}{{now, true}, {now.Add(10 * time.Second), true}, {now.Add(61 * time.Second), false}} {
		if _, err := tr.VerifyToken(token, audience, service, tt.at); (err == nil) != tt.want {
			t.Errorf("after %v: %v", tt.at.Sub(now), err)
		}
	}
	long := p.token(t, func(c claims) { c["iat"], c["exp"] = now.Unix(), now.Add(23*time.Hour).Unix() })
	if _, err := tr.VerifyToken(long, audience, service, now); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.VerifyToken(long, audience, service, now.Add(37*time.Hour)); err == nil {
		t.Error("keys of the day before yesterday are believed")
	}
}

func TestRulesForPointsThatContradictProveNobody(t *testing.T) {
	p := newPlatform(t)
	tr := ready(t, p.direct(nil), p.direct(func(r *Rule) { r.Name, r.Identity = "other", "nhi_v6w2kopezgzwfpmsgulnrizwq4" }))
	if got, err := at(tr, p.token(t, nil), service); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("the token is %s, %v", got.Identity, err)
	}
}

func TestAPointDoesNotWaitForKeysAndHasThemFetched(t *testing.T) {
	p := newPlatform(t)
	tr := trust(t, p.direct(nil))
	if _, err := at(tr, p.token(t, nil), service); !errors.Is(err, nhi.ErrDenied) || p.fetches.Load() != 0 {
		t.Fatalf("without keys: %v, %d fetches", err, p.fetches.Load())
	}
	if len(tr.wanted) != 1 {
		t.Error("nobody is told to fetch them")
	}
	if err := tr.refresh(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := at(tr, p.token(t, nil), service); err != nil {
		t.Error(err)
	}
	for range 100 { // made-up keys do not hammer the issuer
		made := jose.NewES256Signer(jose.GenerateES256(), "JWT")
		token, err := made.Sign(claims{"iss": p.URL, "aud": audience, "sub": "job-1", "exp": time.Now().Add(time.Minute).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := at(tr, token, service); err == nil {
			t.Fatal("a made-up key is believed")
		}
		if err := tr.refresh(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestADirectIsCarriedAsText(t *testing.T) {
	p := newPlatform(t)
	tr := ready(t, p.direct(func(r *Rule) { r.Location.Cluster, r.Audiences, r.Scopes = "c1", []string{"x"}, []string{"y"} }))
	text := tr.Direct().Text()
	for _, private := range []string{`"audiences"`, `"scopes"`, `"d"`} {
		if strings.Contains(string(text), private) {
			t.Errorf("it tells %s: %s", private, text)
		}
	}
	there, err := ParseDirect(text)
	if err != nil {
		t.Fatal(err)
	}
	token := p.token(t, nil)
	want, _ := at(tr, token, service)
	got, err := at(there, token, service)
	if diff := cmp.Diff(want, got); err != nil || diff != "" || got.Attestation.Location.Cluster != "c1" {
		t.Errorf("%v\n%s", err, diff)
	}
	none, err := ParseDirect(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := at(none, token, service); !errors.Is(err, attest.ErrOther) {
		t.Errorf("the empty one: %v", err)
	}
	for _, bad := range []string{`{`, `{"sources":[{"issuer":"https://a.example","rules":[{}]}]}`, strings.Replace(string(text), `"keys":{`, `"keys":{"x":1,`, 1)[:len(text)-3],
		strings.Replace(string(text), `"use":["points"]`, `"use":["exchange"]`, 1), strings.Replace(string(text), `{"sources":[{"issuer":"http:`, `{"sources":[{"issuer":"https:`, 1)} {
		if _, err := ParseDirect([]byte(bad)); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("ParseDirect(%.80s) = %v", bad, err)
		}
	}
}

func FuzzParseDirect(f *testing.F) {
	f.Add([]byte(`{"sources":[{"issuer":"https://a.example","keys":{"keys":[]},"rules":[{"name":"r","issuer":"https://a.example","audience":"https://a.example","claims":{"sub":["x"]},"identity":"nhi_v6w2kopezgzwfpmsgulnrizwq4","use":["points"]}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ParseDirect(text)
		if err != nil {
			if !errors.Is(err, nhi.ErrInvalid) {
				t.Errorf("%v is not the reader's fault", err)
			}
			return
		}
		if _, err := at(d, "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSJ9.AAAA", service); err == nil {
			t.Error("it believes what nobody signed")
		}
	})
}

func TestUnsoundUsesAreRefused(t *testing.T) {
	for bad, why := range map[string]string{
		"  use: [point]\n":                                "exchange and points",
		"  use: points\n":                                 "list under origins",
		"  origins: [https://a.example]\n":                "use must name points",
		"  use: points\n  origins: ['*']\n":               "without a path",
		"  use: points\n  origins: https://a.example/x\n": "without a path",
	} {
		if _, err := Parse("trust.yaml", []byte(sample+bad)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	rules, err := Parse("trust.yaml", []byte(sample+"  use: [points, exchange]\n  origins: [https://a.example:8443]\n"))
	if err != nil || !rules[1].atPoints() || !rules[1].exchanged() || len(rules[1].Origins) != 1 {
		t.Errorf("%+v, %v", rules, err)
	}
}

func TestKeysAreCarriedUnderOneDateForHalfADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, err := jose.NewKeySet(jose.NewES256Signer(jose.GenerateES256(), "JWT").Key())
		if err != nil {
			t.Fatal(err)
		}
		k := &issuerKeys{set: set, fetched: time.Now()}
		_, first, err := k.at()
		if err != nil || first.Sub(k.fetched) < keysStale || first.Sub(k.fetched) > 2*keysStale {
			t.Fatalf("good for %v, %v", first.Sub(k.fetched), err)
		}
		k.fetched = k.fetched.Truncate(keysStale / 2).Add(keysStale/2 - time.Second)
		if _, again, _ := k.at(); !again.Equal(first) {
			t.Errorf("%v and %v", first, again)
		}
	})
}

func BenchmarkForeignToken(b *testing.B) {
	p := newPlatform(b)
	tr := ready(b, p.direct(nil))
	token, now := p.token(b, nil), time.Now()
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tr.VerifyToken(token, audience, service, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verified", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tr.Direct().prove(token, attest.Name{}, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}
