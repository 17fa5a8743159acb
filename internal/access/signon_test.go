package access_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
)

// says is a provider that says what a test wants, to whom has the verifier and
// nonce that it was given.
type says struct {
	claims        access.Claims
	down          error
	state         string
	nonce, proof  string
	asked, agreed int
}

func (p *says) Begin(_ context.Context, state, nonce, verifier string) (string, error) {
	p.state, p.nonce, p.proof = state, nonce, verifier
	return "https://id.example.com/authorize?state=" + url.QueryEscape(state), p.down
}

func (p *says) Finish(_ context.Context, a access.Answer) (access.Claims, error) {
	p.asked++
	if a.Nonce != p.nonce || a.Verifier != p.proof || a.Code != "good" {
		return access.Claims{}, nhi.ErrDenied
	}
	p.agreed++
	return p.claims, p.down
}

func (p *says) SignOut() string { return "https://id.example.com/end" }

const issuer = "https://id.example.com"

// sso is a bench with a provider: members of muster-admins administer, those of
// payments triage what team payments owns, and boss@example.com reads.
func sso(t *testing.T, public string, domains ...string) (*bench, *says) {
	t.Helper()
	b := newBench(t, public)
	p := &says{claims: access.Claims{Issuer: issuer, Subject: "ada", Name: "Ada", Groups: []string{"muster-admins"}}}
	var err error
	b.Service, err = access.New(access.Config{
		PublicURL: public, Directory: b.store, Enrollments: b.store, Tokens: b.store, Sessions: b.store, People: b.store, Provider: p, Domains: domains,
		Key: []byte(strings.Repeat("k", 32)),
		Mappings: []access.Mapping{
			{Group: "muster-admins", Role: "admin"}, {Group: "payments", Role: "analyst", Team: "payments"}, {Email: "boss@example.com", Role: "viewer"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

// begin returns the cookie of a sign-in that has begun.
func (b *bench) begin(t *testing.T, next string) *http.Cookie {
	t.Helper()
	_, cookie, err := b.BeginSignOn(t.Context(), b.request("GET", nil), next)
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

// answer is the provider's answer in a browser with some cookies.
func (b *bench) answer(query url.Values, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest("GET", b.public+"/signin/callback?"+query.Encode(), nil)
	r.RemoteAddr = "127.0.0.1:5000"
	for _, c := range cookies {
		with(r, c)
	}
	return r
}

// enter signs in and returns the session's cookie.
func (b *bench) enter(t *testing.T, p *says) *http.Cookie {
	t.Helper()
	c := b.begin(t, "/")
	on, err := b.FinishSignOn(t.Context(), b.answer(url.Values{"state": {p.state}, "code": {"good"}}, c))
	if err != nil {
		t.Fatal(err)
	}
	return on.Cookies[1]
}

func TestAPersonSignsInAndMayWhatTheGroupsSay(t *testing.T) {
	b, p := sso(t, local)
	caller, err := b.Authenticate(with(b.request("GET", nil), b.enter(t, p)))
	if err != nil || !caller.Permits.MayEverywhere(access.Administer) || caller.Person != access.PersonID(issuer, "ada") {
		t.Fatalf("caller = %+v, %v", caller, err)
	}
	p.claims = access.Claims{Issuer: issuer, Subject: "bob", Name: "Bob", Groups: []string{"payments"}}
	caller, err = b.Authenticate(with(b.request("GET", nil), b.enter(t, p)))
	if err != nil || caller.Permits.MayEverywhere(access.Read) || !slices.Equal(caller.Permits.Within(access.Triage), nhi.Scopes{{Team: "payments"}}) {
		t.Errorf("caller = %+v, %v", caller, err)
	}
}

func TestAttacksOnTheAnswerOfTheProvider(t *testing.T) {
	for name, attack := range map[string]func(b *bench, p *says, own *http.Cookie) *http.Request{
		"login CSRF: the victim's browser began nothing": func(b *bench, p *says, _ *http.Cookie) *http.Request {
			return b.answer(url.Values{"state": {p.state}, "code": {"good"}})
		},
		"stolen state in another browser": func(b *bench, p *says, _ *http.Cookie) *http.Request {
			state := p.state
			other := b.begin(t, "/")
			return b.answer(url.Values{"state": {state}, "code": {"good"}}, other)
		},
		"no state": func(b *bench, p *says, own *http.Cookie) *http.Request {
			return b.answer(url.Values{"code": {"good"}}, own)
		},
		"a cookie that we did not seal": func(b *bench, p *says, own *http.Cookie) *http.Request {
			forged := *own
			forged.Value = "eyJzIjoieCIsInUiOjk5OTk5OTk5OTksIm4iOiIvIn0" + own.Value[strings.Index(own.Value, "."):]
			return b.answer(url.Values{"state": {p.state}, "code": {"good"}}, &forged)
		},
		"a planted second cookie": func(b *bench, p *says, own *http.Cookie) *http.Request {
			return b.answer(url.Values{"state": {p.state}, "code": {"good"}}, own, own)
		},
		"two codes": func(b *bench, p *says, own *http.Cookie) *http.Request {
			return b.answer(url.Values{"state": {p.state}, "code": {"good", "other"}}, own)
		},
		"another code": func(b *bench, p *says, own *http.Cookie) *http.Request {
			return b.answer(url.Values{"state": {p.state}, "code": {"bad"}}, own)
		},
		"the provider refused": func(b *bench, p *says, own *http.Cookie) *http.Request {
			return b.answer(url.Values{"state": {p.state}, "error": {"access_denied"}}, own)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := sso(t, local)
			own := b.begin(t, "/")
			on, err := b.FinishSignOn(t.Context(), attack(b, p, own))
			if !errors.Is(err, nhi.ErrDenied) || len(on.Cookies) != 1 || p.agreed != 0 {
				t.Errorf("cookies %v, %v", on.Cookies, err)
			}
		})
	}
}

func TestSigningOutLeadsAPersonToTheProvider(t *testing.T) {
	b, p := sso(t, local)
	r := with(b.request("DELETE", nil), b.enter(t, p))
	if cookie, next, err := b.SignOut(t.Context(), r); err != nil || cookie.MaxAge >= 0 || next != "https://id.example.com/end" {
		t.Errorf("a person: %v, %q, %v", cookie, next, err)
	}
	if _, err := b.Authenticate(r); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("the session is alive: %v", err)
	}
	b.admin(t)
	if _, next, err := b.SignOut(t.Context(), with(b.request("DELETE", nil), b.signedIn(t))); err != nil || next != "" {
		t.Errorf("a session of the first token is sent to %q, %v", next, err)
	}
}

func TestAReplayedAnswerIsRefused(t *testing.T) {
	b, p := sso(t, local)
	own := b.begin(t, "/")
	q := url.Values{"state": {p.state}, "code": {"good"}}
	if _, err := b.FinishSignOn(t.Context(), b.answer(q, own)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.FinishSignOn(t.Context(), b.answer(q, own)); !errors.Is(err, nhi.ErrDenied) || p.asked != 1 {
		t.Errorf("replayed: %v, the provider was asked %d times", err, p.asked)
	}
}

func TestSigningInEndsTheSessionBefore(t *testing.T) {
	b, p := sso(t, local)
	old := b.enter(t, p)
	_, cookie, err := b.BeginSignOn(t.Context(), with(b.request("GET", nil), old), "/")
	if err != nil {
		t.Fatal(err)
	}
	on, err := b.FinishSignOn(t.Context(), b.answer(url.Values{"state": {p.state}, "code": {"good"}}, cookie))
	if err != nil || on.Cookies[1].Value == old.Value {
		t.Fatalf("fixation: %v", err)
	}
	if _, err := b.Authenticate(with(b.request("GET", nil), old)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("the session before: %v", err)
	}
}

func TestCookiesOfASignInAreOnlyOurs(t *testing.T) {
	for public, secure := range map[string]bool{local: false, "https://muster.example.com": true} {
		b, p := sso(t, public)
		attempt := b.begin(t, "/")
		on, err := b.FinishSignOn(t.Context(), b.answer(url.Values{"state": {p.state}, "code": {"good"}}, attempt))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*http.Cookie{attempt, on.Cookies[1]} {
			if !c.HttpOnly || c.Secure != secure || strings.HasPrefix(c.Name, "__Host-") != secure || c.Path != "/" || c.Domain != "" {
				t.Errorf("%s: %+v", public, c)
			}
		}
		if attempt.SameSite != http.SameSiteLaxMode || on.Cookies[1].SameSite != http.SameSiteStrictMode || on.Cookies[0].MaxAge >= 0 {
			t.Errorf("%s: same-site %v, %v; attempt taken back %v", public, attempt.SameSite, on.Cookies[1].SameSite, on.Cookies[0])
		}
	}
}

func TestOpenRedirect(t *testing.T) {
	for next, want := range map[string]string{
		"/identities?q=a": "/identities?q=a", "": "/", "https://evil.example": "/", "//evil.example": "/", "/\\evil.example": "/", "/%2f/evil.example": "/", "javascript:alert(1)": "/",
		"/a\r\nSet-Cookie: x=y": "/", "/signin/sso": "/", "evil": "/", "/\"><script>": "/", "/" + strings.Repeat("a", 2000): "/",
	} {
		if got := access.SafePath(next); got != want {
			t.Errorf("SafePath(%q) = %q, want %q", next, got, want)
		}
	}
}

func FuzzSafePath(f *testing.F) {
	f.Add("//evil.example/a")
	f.Fuzz(func(t *testing.T, next string) {
		got := access.SafePath(next)
		base, _ := url.Parse("https://muster.example.com/signin/callback")
		to, err := base.Parse(got)
		if err != nil || to.Host != "muster.example.com" || to.Scheme != "https" || strings.ContainsAny(got, "\r\n;<>\\") && strings.ContainsAny(got, "\r\n<>\\") {
			t.Errorf("SafePath(%q) = %q leads to %v", next, got, to)
		}
	})
}

func TestAnUnverifiedAddressGivesNothing(t *testing.T) {
	b, p := sso(t, local)
	p.claims = access.Claims{Issuer: issuer, Subject: "eve", Name: "Eve", Email: "boss@example.com"}
	c := b.begin(t, "/")
	if _, err := b.FinishSignOn(t.Context(), b.answer(url.Values{"state": {p.state}, "code": {"good"}}, c)); !errors.Is(err, access.ErrNoRole) {
		t.Errorf("unverified: %v", err)
	}
	p.claims.Verified = true
	caller, err := b.Authenticate(with(b.request("GET", nil), b.enter(t, p)))
	if err != nil || !slices.Equal(caller.Permits.Rights(), []access.Right{access.Read}) {
		t.Errorf("verified: %+v, %v", caller, err)
	}
}

// What folds to a letter, or is not seen, makes another address that somebody else
// can have.
func TestAnAddressThatOnlyLooksLikeAnothersGivesNothing(t *testing.T) {
	for _, address := range []string{"bo\u017fs@example.com", "bo\u200bss@example.com", "boss@exa\u00admple.com", "\u202eboss@example.com", " boss@example.com", "boss@example.com\x00"} {
		b, p := sso(t, local)
		p.claims = access.Claims{Issuer: issuer, Subject: "eve", Name: "Eve", Email: address, Verified: true}
		c := b.begin(t, "/")
		if _, err := b.FinishSignOn(t.Context(), b.answer(url.Values{"state": {p.state}, "code": {"good"}}, c)); !errors.Is(err, access.ErrNoRole) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"Boss@Example.com", "boss@example.COM", true}, {"b\u00f6ss@example.com", "b\u00f6ss@example.com", true}, {"b\u00d6ss@example.com", "b\u00f6ss@example.com", false},
		{"boss@\u212aernel.org", "boss@kernel.org", false}, {"", "", false}, {"a[b", "a{b", false},
	} {
		if got := access.SameAddress(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q are one: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestAForeignDomainIsRefused(t *testing.T) {
	b, p := sso(t, local, "example.com")
	for _, claims := range []access.Claims{
		{Issuer: issuer, Subject: "a", Groups: []string{"muster-admins"}},
		{Issuer: issuer, Subject: "a", Groups: []string{"muster-admins"}, Email: "a@example.com"},
		{Issuer: issuer, Subject: "a", Groups: []string{"muster-admins"}, Email: "a@evil-example.com", Verified: true},
		{Issuer: issuer, Subject: "a", Groups: []string{"muster-admins"}, Email: "a@evil.com@example.com", Verified: true},
		{Issuer: issuer, Subject: "a", Groups: []string{"muster-admins"}, Email: "a@exa\u200bmple.com", Verified: true},
	} {
		p.claims = claims
		c := b.begin(t, "/")
		if _, err := b.FinishSignOn(t.Context(), b.answer(url.Values{"state": {p.state}, "code": {"good"}}, c)); !errors.Is(err, nhi.ErrDenied) {
			t.Errorf("%+v: %v", claims, err)
		}
	}
	p.claims = access.Claims{Issuer: issuer, Subject: "a", Groups: []string{"muster-admins"}, Email: "a@Example.com", Verified: true}
	b.enter(t, p)
}

func TestTheSameNameAtAnotherIssuerIsSomebodyElse(t *testing.T) {
	if access.PersonID(issuer, "ada") == access.PersonID(issuer+"/", "ada") || access.PersonID("a", "bc") == access.PersonID("ab", "c") {
		t.Error("two people have one id")
	}
}

func TestADisabledPersonsLiveSessionIsDead(t *testing.T) {
	b, p := sso(t, local)
	b.enter(t, p) // somebody else who administers
	p.claims = access.Claims{Issuer: issuer, Subject: "bob", Groups: []string{"muster-admins"}}
	cookie := b.enter(t, p)
	off := true
	if _, err := b.SetPerson(t.Context(), access.PersonID(issuer, "bob"), access.PersonChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(with(b.request("GET", nil), cookie)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("session: %v", err)
	}
	c := b.begin(t, "/")
	if _, err := b.FinishSignOn(t.Context(), b.answer(url.Values{"state": {p.state}, "code": {"good"}}, c)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("signing in again: %v", err)
	}
}

func TestARoleThatIsTakenIsGoneFromALiveSession(t *testing.T) {
	b, p := sso(t, local)
	b.enter(t, p)
	p.claims = access.Claims{Issuer: issuer, Subject: "bob", Groups: []string{"payments"}}
	cookie := b.enter(t, p)
	bob := access.PersonID(issuer, "bob")
	set := func(grants ...access.Grant) {
		t.Helper()
		if _, err := b.SetPerson(t.Context(), bob, access.PersonChange{Grants: &grants}); err != nil {
			t.Fatal(err)
		}
	}
	set(access.Grant{Role: access.Responder})
	if _, err := b.Authenticate(with(b.request("GET", nil), cookie)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("privilege rose in a session that was open before: %v", err)
	}
	cookie = b.enter(t, p)
	set()
	caller, err := b.Authenticate(with(b.request("GET", nil), cookie))
	if err != nil || caller.May(access.Respond) || caller.Permits.MayEverywhere(access.Read) {
		t.Errorf("caller = %+v, %v", caller, err)
	}
}

func TestTheLastAdministratorCannotGo(t *testing.T) {
	b, p := sso(t, local)
	p.claims.Groups = []string{"payments"}
	b.enter(t, p)
	ada := access.PersonID(issuer, "ada")
	grants := []access.Grant{{Role: access.Admin}}
	if _, err := b.SetPerson(t.Context(), ada, access.PersonChange{Grants: &grants}); err != nil {
		t.Fatal(err)
	}
	off, none := true, []access.Grant{}
	for _, change := range []access.PersonChange{{Disabled: &off}, {Grants: &none}} {
		if _, err := b.SetPerson(t.Context(), ada, change); !errors.Is(err, nhi.ErrConflict) {
			t.Errorf("%+v: %v", change, err)
		}
	}
}

func TestTheFirstTokenEndsWhenAnAdministratorSignsIn(t *testing.T) {
	b, p := sso(t, local)
	_, secret := b.admin(t)
	session := b.signedIn(t)
	p.claims.Groups = []string{"payments"}
	b.enter(t, p)
	if _, err := b.Authenticate(b.request("GET", bearer(secret))); err != nil {
		t.Fatalf("somebody who does not administer ended it: %v", err)
	}
	p.claims.Groups = []string{"muster-admins"}
	b.enter(t, p)
	if _, err := b.Authenticate(b.request("GET", bearer(secret))); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("the token: %v", err)
	}
	if _, err := b.Authenticate(with(b.request("GET", nil), session)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("its session: %v", err)
	}
	if alive, err := b.FirstAlive(t.Context()); err != nil || alive {
		t.Errorf("alive = %v, %v", alive, err)
	}
}

func TestBruteForceOfSignInIsSlowedDown(t *testing.T) {
	b, _ := sso(t, local)
	var err error
	for range 40 {
		if _, _, err = b.BeginSignOn(t.Context(), b.request("GET", nil), "/"); err != nil {
			break
		}
	}
	if !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("beginning: %v", err)
	}
	for range 25 {
		_, err = b.FinishSignOn(t.Context(), b.answer(url.Values{"state": {"guess"}, "code": {"guess"}}))
	}
	if !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("answering: %v", err)
	}
}

func TestPrivilegeEscalationByMakingATokenIsRefused(t *testing.T) {
	b, p := sso(t, local)
	p.claims.Groups = []string{"payments"}
	caller, err := b.Authenticate(with(b.request("GET", nil), b.enter(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]access.NewToken{
		"a higher role":     {Name: "x", Grants: []access.Grant{{Role: access.Admin}}},
		"the role at large": {Name: "x", Grants: []access.Grant{{Role: access.Analyst}}},
		"another team":      {Name: "x", Grants: []access.Grant{{Role: access.Analyst, Scope: nhi.Scope{Team: "people"}}}},
		"another right":     {Name: "x", Rights: []access.Right{access.Administer}},
	} {
		if _, minted, err := b.MintToken(t.Context(), caller, n); !errors.Is(err, nhi.ErrDenied) || minted.Reveal() != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	inside := []access.Grant{{Role: access.Viewer, Scope: nhi.Scope{Team: "payments", Environment: "production"}}}
	if _, _, err := b.MintToken(t.Context(), caller, access.NewToken{Name: "x", Grants: inside}); err != nil {
		t.Errorf("less than one's own: %v", err)
	}
}

func TestATokenLosesWhatItsMakerLoses(t *testing.T) {
	b, p := sso(t, local)
	admin, err := b.Authenticate(with(b.request("GET", nil), b.enter(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	made, minted, err := b.MintToken(t.Context(), admin, access.NewToken{Name: "ci"})
	if err != nil || made.Expires.Sub(made.Created) != 90*24*time.Hour {
		t.Fatal(made, err)
	}
	ask := func() (access.Caller, error) { return b.Authenticate(b.request("GET", bearer(minted.Reveal()))) }
	if c, err := ask(); err != nil || !c.May(access.Administer) {
		t.Fatalf("caller %+v, %v", c, err)
	}
	child, _, err := b.MintToken(t.Context(), must(t, ask), access.NewToken{Name: "child"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.MintToken(t.Context(), access.Caller{Grants: admin.Grants, Permits: admin.Permits, Token: child.KeyID}, access.NewToken{Name: "grandchild"}); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("a chain of tokens: %v", err)
	}
	p.claims.Groups = []string{"payments"}
	b.enter(t, p)
	if c, err := ask(); err != nil || c.May(access.Administer) || c.Permits.MayEverywhere(access.Read) {
		t.Errorf("after its maker lost the role: %+v, %v", c, err)
	}
	if err := b.DropToken(t.Context(), made.KeyID); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("revoked: %v", err)
	}
	if c, ok := b.store.CredentialByKeyID(child.KeyID); !ok || c.State != nhi.CredentialRevoked {
		t.Errorf("the token that it made: %+v, %v", c, ok)
	}
}

func must(t *testing.T, f func() (access.Caller, error)) access.Caller {
	t.Helper()
	c, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func FuzzTheCookieOfASignIn(f *testing.F) {
	b := newBench(f, local)
	p := &says{claims: access.Claims{Issuer: issuer, Subject: "ada", Groups: []string{"muster-admins"}}}
	var err error
	b.Service, err = access.New(access.Config{
		PublicURL: local, Directory: b.store, Enrollments: b.store, Tokens: b.store, Sessions: b.store, People: b.store, Provider: p, Key: []byte(strings.Repeat("k", 32)),
	})
	if err != nil {
		f.Fatal(err)
	}
	_, own, err := b.BeginSignOn(f.Context(), b.request("GET", nil), "/")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("")
	f.Add(".")
	f.Add(own.Value + ".")
	f.Add(own.Value[:len(own.Value)-1])
	f.Add(strings.ToUpper(own.Value))
	f.Fuzz(func(t *testing.T, value string) {
		c := *own
		c.Value = value
		r := httptest.NewRequest("GET", local+"/signin/callback?"+url.Values{"state": {p.state}, "code": {"good"}}.Encode(), nil)
		r.AddCookie(&c)
		if sent := r.CookiesNamed(c.Name); len(sent) == 1 && sent[0].Value == own.Value {
			return // the one that was sealed
		}
		_, err := b.FinishSignOn(t.Context(), r)
		if (!errors.Is(err, nhi.ErrDenied) && !errors.Is(err, nhi.ErrBusy)) || p.asked != 0 {
			t.Errorf("a cookie that nobody sealed: %v; the provider was asked %d times", err, p.asked)
		}
	})
}
