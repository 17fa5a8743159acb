package oidc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

const audience = "https://muster.example"

var robot = nhi.IdentityID("muster", "test", "robot")

type claims = map[string]any

// A platform is an OpenID Connect issuer on loopback.
type platform struct {
	*httptest.Server
	signer  atomic.Pointer[jose.Signer]
	fetches atomic.Int64
	broken  atomic.Bool
	keys    func(w http.ResponseWriter, r *http.Request) // nil: the signer's
	names   string                                       // issuer in the discovery document; empty: the right one
}

func newPlatform(t testing.TB) *platform {
	p := &platform{}
	p.rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		name := p.URL
		if p.names != "" {
			name = p.names
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"other":[1]}`, name, p.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		p.fetches.Add(1)
		if p.broken.Load() {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		if p.keys != nil {
			p.keys(w, r)
			return
		}
		set, err := jose.NewKeySet(p.signer.Load().Key())
		if err != nil {
			panic(err)
		}
		body, err := set.Marshal()
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(body)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *platform) rotate() { p.signer.Store(jose.NewES256Signer(jose.GenerateES256(), "JWT")) }

func (p *platform) token(t testing.TB, edit func(claims)) string {
	t.Helper()
	now := time.Now()
	c := claims{"iss": p.URL, "aud": audience, "sub": "job-1", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": "j1"}
	if edit != nil {
		edit(c)
	}
	token, err := p.signer.Load().Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (p *platform) rule(claims map[string]Values) Rule {
	return Rule{Name: "r", Issuer: p.URL, Audience: audience, Claims: claims, Identity: robot}
}

func trust(t testing.TB, rules ...Rule) *Trust {
	t.Helper()
	tr, err := New(rules, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// The shapes that platforms really use.
func TestPlatformTokensAreMatchedByTheirClaims(t *testing.T) {
	p := newPlatform(t)
	gitHub := claims{"sub": "repo:acme/pay:ref:refs/heads/main", "repository": "acme/pay", "repository_id": "4711", "repository_owner_id": "99", "ref": "refs/heads/main", "environment": "production", "workflow_ref": "acme/pay/.github/workflows/deploy.yml@refs/heads/main", "run_attempt": "1"}
	newGitHub := claims{"sub": "repo:acme@99/pay@4711:ref:refs/heads/main", "repository_id": "4711", "repository_owner_id": "99", "ref": "refs/heads/main"}
	kubernetes := claims{"sub": "system:serviceaccount:pay:api", "aud": []string{"other", audience}, "kubernetes.io": claims{"namespace": "pay", "serviceaccount": claims{"name": "api", "uid": "u-1"}, "pod": claims{"name": "api-1", "uid": "p-1"}}}
	gitLab := claims{"sub": "project_path:acme/pay:ref_type:branch:ref:main", "project_id": 815, "ref_protected": "true", "groups_direct": []any{"acme", "ops"}}
	for _, tt := range []struct {
		name  string
		token claims
		rule  map[string]Values
		want  bool
	}{
		{"GitHub by id", gitHub, map[string]Values{"repository_id": {"4711"}, "ref": {"refs/heads/main"}}, true},
		{"GitHub by workflow", gitHub, map[string]Values{"repository_id": {"4711"}, "workflow_ref": {"acme/pay/.github/workflows/deploy.yml@refs/heads/main"}}, true},
		{"GitHub, one of several environments", gitHub, map[string]Values{"repository_id": {"4711"}, "environment": {"staging", "production"}}, true},
		{"GitHub, another repository of that name", gitHub, map[string]Values{"repository_id": {"4712"}, "repository_owner_id": {"99"}}, false},
		{"GitHub, another branch", gitHub, map[string]Values{"repository_id": {"4711"}, "ref": {"refs/heads/m"}}, false},
		{"GitHub, subject without ids", newGitHub, map[string]Values{"repository_id": {"4711"}, "sub": {"repo:acme/pay:ref:refs/heads/main"}}, true},
		{"GitHub, subject with ids", newGitHub, map[string]Values{"sub": {"repo:acme@99/pay@4711:ref:refs/heads/main"}}, true},
		{"GitHub, subject without ids and no id pinned", newGitHub, map[string]Values{"sub": {"repo:acme/pay:ref:refs/heads/main"}}, false},
		{"Kubernetes by name", kubernetes, map[string]Values{"kubernetes.io.namespace": {"pay"}, "kubernetes.io.serviceaccount.name": {"api"}}, true},
		{"Kubernetes by uid", kubernetes, map[string]Values{"kubernetes.io.serviceaccount.uid": {"u-1"}}, true},
		{"Kubernetes, the same account made again", kubernetes, map[string]Values{"kubernetes.io.serviceaccount.uid": {"u-2"}}, false},
		{"Kubernetes, a neighbour", kubernetes, map[string]Values{"kubernetes.io.namespace": {"pay"}, "kubernetes.io.serviceaccount.name": {"apii"}}, false},
		{"GitLab, a number", gitLab, map[string]Values{"project_id": {"815"}, "ref_protected": {"true"}}, true},
		{"GitLab, an element of a list", gitLab, map[string]Values{"project_id": {"815"}, "groups_direct": {"ops"}}, true},
		{"GitLab, a claim that is missing", gitLab, map[string]Values{"project_id": {"815"}, "environment": {"production"}}, false},
		{"an object is no text", kubernetes, map[string]Values{"sub": {"system:serviceaccount:pay:api"}, "kubernetes.io": {"map[]"}}, false},
		{"a claim with dots smuggled beside the real one", claims{"sub": "x", "kubernetes.io": claims{"namespace": "pay"}, "kubernetes.io.namespace": "kube-system"}, map[string]Values{"sub": {"x"}, "kubernetes.io.namespace": {"kube-system"}}, false},
		{"case matters", claims{"sub": "x", "Environment": "production"}, map[string]Values{"sub": {"x"}, "environment": {"production"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := p.token(t, func(c claims) {
				for name, value := range tt.token {
					c[name] = value
				}
			})
			got, err := trust(t, p.rule(tt.rule)).Verify(t.Context(), token, time.Now())
			if (err == nil) != tt.want {
				t.Fatalf("Verify: %v", err)
			}
			if err != nil && !errors.Is(err, nhi.ErrDenied) {
				t.Errorf("%v does not wrap ErrDenied", err)
			}
			if err == nil && (got.Attested.Identity != robot || got.Attested.Method != "oidc" || got.Rule.Name != "r" || got.Attested.Expires.IsZero()) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestForgedAndForeignTokensAreRefused(t *testing.T) {
	p, evil := newPlatform(t), newPlatform(t)
	good := p.token(t, nil)
	_, rest, _ := strings.Cut(good, ".")
	payload, _, _ := strings.Cut(rest, ".")
	for name, token := range map[string]string{
		"empty":                      "",
		"garbage":                    "a.b.c",
		"alg none":                   base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + payload + ".",
		"HMAC with the public key":   base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + payload + ".AAAA",
		"signature of another":       good[:strings.LastIndexByte(good, '.')] + evil.token(t, nil)[strings.LastIndexByte(evil.token(t, nil), '.'):],
		"issuer nobody trusts":       evil.token(t, nil),
		"claims a trusted issuer":    evil.token(t, func(c claims) { c["iss"] = p.URL }),
		"expired":                    p.token(t, func(c claims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }),
		"no end":                     p.token(t, func(c claims) { delete(c, "exp") }),
		"not yet":                    p.token(t, func(c claims) { c["nbf"] = time.Now().Add(time.Hour).Unix() }),
		"confused deputy: other aud": p.token(t, func(c claims) { c["aud"] = "sts.amazonaws.com" }),
		"no aud":                     p.token(t, func(c claims) { delete(c, "aud") }),
		"another subject":            p.token(t, func(c claims) { c["sub"] = "job-11" }),
		"bound to a key":             p.token(t, func(c claims) { c["cnf"] = claims{"jkt": "x"} }),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := trust(t, p.rule(map[string]Values{"sub": {"job-1"}})).Verify(t.Context(), token, time.Now())
			if !errors.Is(err, nhi.ErrDenied) || got.Attested.Identity != "" {
				t.Errorf("Verify = %s, %v", got.Attested.Identity, err)
			}
		})
	}
}

func TestRulesForTwoIdentitiesContradict(t *testing.T) {
	p := newPlatform(t)
	a, b := p.rule(map[string]Values{"sub": {"job-1"}}), p.rule(map[string]Values{"sub": {"job-1", "job-2"}})
	b.Name, b.Identity = "b", nhi.IdentityID("muster", "test", "other")
	if _, err := trust(t, a, b).Verify(t.Context(), p.token(t, nil), time.Now()); !errors.Is(err, nhi.ErrDenied) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("Verify: %v", err)
	}
	b.Identity = a.Identity
	if got, err := trust(t, a, b).Verify(t.Context(), p.token(t, nil), time.Now()); err != nil || got.Rule.Name != "r" {
		t.Errorf("Verify = %s, %v", got.Rule.Name, err)
	}
}

func TestKeysSurviveTheIssuerForADay(t *testing.T) {
	p := newPlatform(t)
	tr := trust(t, p.rule(map[string]Values{"sub": {"job-1"}}))
	now := time.Now()
	forever := func(c claims) { c["exp"] = now.Add(72 * time.Hour).Unix() }
	token := p.token(t, forever)
	at := func(after time.Duration) error {
		_, err := tr.Verify(t.Context(), token, now.Add(after))
		return err
	}
	if err := at(0); err != nil {
		t.Fatal(err)
	}
	if err := at(9 * time.Minute); err != nil || p.fetches.Load() != 1 {
		t.Errorf("after 9 minutes: %v, %d fetches, want 1", err, p.fetches.Load())
	}
	p.broken.Store(true)
	if err := at(time.Hour); err != nil || p.fetches.Load() != 2 || len(tr.Problems()) != 1 {
		t.Errorf("issuer down for an hour: %v, %d fetches, problems %v", err, p.fetches.Load(), tr.Problems())
	}
	if err := at(25 * time.Hour); !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("issuer down for a day: %v, want ErrBusy", err)
	}
	p.broken.Store(false)
	if err := at(26 * time.Hour); err != nil || len(tr.Problems()) != 0 {
		t.Errorf("issuer back: %v, problems %v", err, tr.Problems())
	}
}

func TestANewKeyIsFetchedAndMadeUpOnesDoNotHammer(t *testing.T) {
	p := newPlatform(t)
	tr := trust(t, p.rule(map[string]Values{"sub": {"job-1"}}))
	now := time.Now()
	if _, err := tr.Verify(t.Context(), p.token(t, nil), now); err != nil {
		t.Fatal(err)
	}
	p.rotate()
	token := p.token(t, nil)
	for range 50 {
		if _, err := tr.Verify(t.Context(), token, now.Add(time.Second)); !errors.Is(err, nhi.ErrDenied) {
			t.Fatalf("a second after a fetch: %v", err)
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches for made-up kids, want 1", n)
	}
	if _, err := tr.Verify(t.Context(), token, now.Add(retryAfter)); err != nil || p.fetches.Load() != 2 {
		t.Errorf("later: %v, %d fetches, want 2", err, p.fetches.Load())
	}
}

func TestOneFetchServesAllWhoWait(t *testing.T) {
	p := newPlatform(t)
	started, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	signer := p.signer.Load()
	p.keys = func(w http.ResponseWriter, _ *http.Request) {
		once.Do(func() { close(started) })
		<-release
		set, _ := jose.NewKeySet(signer.Key())
		body, _ := set.Marshal()
		_, _ = w.Write(body)
	}
	tr := trust(t, p.rule(map[string]Values{"sub": {"job-1"}}))
	token, now := p.token(t, nil), time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := tr.Verify(t.Context(), token, now); err != nil {
				t.Error(err)
			}
		})
	}
	<-started
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.Verify(gone, token, now); !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("a caller that left: %v", err)
	}
	close(release)
	wg.Wait()
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestHostileIssuersAreContained(t *testing.T) {
	private := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer private.Close()
	for name, edit := range map[string]func(*platform){
		"redirect": func(p *platform) {
			p.keys = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, private.URL, http.StatusFound) }
		},
		"endless keys": func(p *platform) {
			p.keys = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, jose.MaxJWKS+1)) }
		},
		"no keys": func(p *platform) {
			p.keys = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }
		},
		"not JSON": func(p *platform) {
			p.keys = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) }
		},
		"symmetric keys": func(p *platform) {
			p.keys = func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
			}
		},
		"another name": func(p *platform) { p.names = "https://accounts.example" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t)
			edit(p)
			if _, err := trust(t, p.rule(map[string]Values{"sub": {"job-1"}})).Verify(t.Context(), p.token(t, nil), time.Now()); !errors.Is(err, nhi.ErrBusy) {
				t.Errorf("Verify: %v", err)
			}
		})
	}
}

func TestAPublicIssuerCannotMakeUsConnectToThisHost(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("connected to loopback") }))
	defer server.Close()
	tr := trust(t, Rule{Name: "r", Issuer: "https://issuer.example", Audience: audience, Claims: map[string]Values{"sub": {"x"}}, Identity: robot})
	client := tr.rules.Load().keys[keySource{"https://issuer.example", ""}].client
	if _, err := client.Get(server.URL); err == nil {
		t.Error("the client of a public issuer connects to loopback")
	}
}

func TestNewRulesKeepKeysAndBadOnesAreRefused(t *testing.T) {
	p := newPlatform(t)
	rule := p.rule(map[string]Values{"sub": {"job-1"}})
	tr := trust(t, rule)
	if _, err := tr.Verify(t.Context(), p.token(t, nil), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := tr.Set([]Rule{{Name: "bad"}}); !errors.Is(err, nhi.ErrInvalid) || len(tr.Rules()) != 1 {
		t.Errorf("Set: %v, %d rules", err, len(tr.Rules()))
	}
	if err := tr.Set([]Rule{rule}); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Verify(t.Context(), p.token(t, nil), time.Now()); err != nil || p.fetches.Load() != 1 {
		t.Errorf("%v, %d fetches, want 1", err, p.fetches.Load())
	}
	if diff := cmp.Diff([]nhi.ID{robot}, tr.Identities()); diff != "" {
		t.Error(diff)
	}
}

func TestATokenIsRememberedOnlyUnderItsRulesAndForAMinute(t *testing.T) {
	p := newPlatform(t)
	rule := p.rule(map[string]Values{"sub": {"job-1"}})
	tr := trust(t, rule)
	token, now := p.token(t, func(c claims) { c["exp"] = time.Now().Add(30 * time.Second).Unix() }), time.Now()
	for range 2 {
		if _, err := tr.Verify(t.Context(), token, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tr.Verify(t.Context(), token, now.Add(61*time.Second)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("after it expired: %v", err)
	}
	rule.Claims = map[string]Values{"sub": {"job-2"}}
	if err := tr.Set([]Rule{rule}); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Verify(t.Context(), token, now); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("after its rule was gone: %v", err)
	}
}
