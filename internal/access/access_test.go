package access_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	tables "github.com/muster-id/muster/internal/store/access"
	"github.com/muster-id/muster/internal/store/enginetest"
	"github.com/muster-id/muster/internal/store/inventory"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// A bench is a Service over a real store, on a plain http loopback address
// unless told otherwise.
type bench struct {
	*access.Service
	db     *store.DB
	store  *shifted
	dir    string
	public string
	bearer access.Caller // of the first token, once there is a link
}

// shifted is the store, with sessions and links as old as a test wants.
type shifted struct {
	*tables.Store
	db *store.DB
	by time.Duration
}

func (s *shifted) TakeLink(ctx context.Context, h access.Hash, at time.Time) (access.Login, error) {
	return s.Store.TakeLink(ctx, h, at.Add(s.by))
}

func (s *shifted) Session(ctx context.Context, h access.Hash) (access.Login, error) {
	l, err := s.Store.Session(ctx, h)
	l.Created, l.Used = l.Created.Add(-s.by), l.Used.Add(-s.by)
	return l, err
}

func (s *shifted) Token(ctx context.Context, id string) (access.Token, error) {
	t, err := s.Store.Token(ctx, id)
	t.Expires = t.Expires.Add(-s.by)
	return t, err
}

// The following stand for Facts.
func (s *shifted) CredentialByKeyID(id string) (nhi.Credential, bool) {
	var c nhi.Credential
	err := s.db.Read(context.Background(), func(tx *store.Tx) (err error) {
		c, err = inventory.GetCredential(context.Background(), tx, nhi.NewCredentialID("muster", "access", id))
		return err
	})
	return c, err == nil
}

func (s *shifted) PointByKeyID(id string) (nhi.Point, bool) {
	points, _ := s.Points(context.Background())
	for _, p := range points {
		if p.KeyID == id {
			return p, true
		}
	}
	return nhi.Point{}, false
}

func (s *shifted) SourceByKeyID(id string) (nhi.Source, bool) {
	sources, _ := s.Sources(context.Background())
	for _, v := range sources {
		if v.KeyID == id {
			return v, true
		}
	}
	return nhi.Source{}, false
}

func newBench(t testing.TB, public string) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), public: public}
	var err error
	if b.db, err = enginetest.Open(t, b.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.db.Close() })
	b.store = &shifted{Store: tables.New(b.db), db: b.db}
	b.Service, err = access.New(access.Config{PublicURL: public, Directory: b.store, Enrollments: b.store, Tokens: b.store, Sessions: b.store})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const local = "http://127.0.0.1:8700"

func (b *bench) request(method string, header http.Header) *http.Request {
	r := httptest.NewRequest(method, b.public+"/v1/identities", nil)
	r.RemoteAddr = "127.0.0.1:5000"
	for name, values := range header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	return r
}

func bearer(secret string) http.Header { return http.Header{"Authorization": {"Bearer " + secret}} }

// admin returns the first administrator token.
func (b *bench) admin(t testing.TB) (access.First, string) {
	t.Helper()
	first, err := b.FirstToken(t.Context(), b.dir, false)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	return first, strings.TrimSpace(string(secret))
}

// signedIn returns the cookie of a session.
func (b *bench) signedIn(t testing.TB) *http.Cookie {
	t.Helper()
	cookie, err := b.SignIn(t.Context(), b.request("GET", nil), b.link(t))
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

func (b *bench) link(t testing.TB) string {
	t.Helper()
	if b.bearer.Token == "" {
		_, secret := b.admin(t)
		r := b.request("GET", bearer(secret))
		r.Host = "127.0.0.1:8700"
		var err error
		if b.bearer, err = b.Authenticate(r); err != nil {
			t.Fatal(err)
		}
	}
	link, err := b.NewLink(t.Context(), b.bearer)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func with(r *http.Request, c *http.Cookie) *http.Request {
	r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	return r
}

func TestTheFirstAdministratorBeginsWithAFile(t *testing.T) {
	b := newBench(t, local)
	first, secret := b.admin(t)
	info, err := os.Stat(filepath.Join(b.dir, access.TokenFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v, want mode 0600", info.Mode(), err)
	}
	if !first.Created || first.Finding.Rule != "first-administrator-token" || first.Finding.Identity == "" || strings.Contains(fmt.Sprint(first), secret) {
		t.Errorf("first = %+v", first)
	}
	caller, err := b.Authenticate(b.request("POST", bearer(secret)))
	if err != nil || caller.Kind != access.Operator || !caller.May(access.Administer) || caller.Identity != first.Finding.Identity {
		t.Errorf("caller %+v, %v", caller, err)
	}
	again, err := b.FirstToken(t.Context(), b.dir, true)
	if err != nil || again.Created {
		t.Errorf("again: %+v, %v", again, err)
	}
	if err := os.Remove(first.Path); err != nil {
		t.Fatal(err)
	}
	if again, err := b.FirstToken(t.Context(), b.dir, false); err != nil || again.Created {
		t.Errorf("after its file was removed: %+v, %v", again, err)
	}
}

func TestTheFirstTokenDiesAndCanBeRenewedOnlyOnPurpose(t *testing.T) {
	b := newBench(t, local)
	_, secret := b.admin(t)
	b.store.by = 24*time.Hour - time.Minute
	if _, err := b.Authenticate(b.request("GET", bearer(secret))); err != nil {
		t.Errorf("just before: %v", err)
	}
	b.store.by = 24 * time.Hour
	if _, err := b.Authenticate(b.request("GET", bearer(secret))); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("after a day: %v", err)
	}
	b.store.by = 0
	tokens, err := b.store.Tokens(t.Context())
	if err != nil || len(tokens) != 1 {
		t.Fatal(tokens, err)
	}
	if err := b.DropToken(t.Context(), tokens[0].KeyID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(b.request("GET", bearer(secret))); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("dropped: %v", err)
	}
	if first, err := b.FirstToken(t.Context(), b.dir, false); err != nil || first.Created {
		t.Errorf("not asked to renew: %+v, %v", first, err)
	}
	if first, err := b.FirstToken(t.Context(), b.dir, true); err != nil || !first.Created {
		t.Errorf("renewed: %+v, %v", first, err)
	}
	_, fresh := b.admin(t)
	if _, err := b.Authenticate(b.request("GET", bearer(fresh))); err != nil || fresh == secret {
		t.Errorf("renewed token: %v", err)
	}
}

func TestATokenFilePlantedBeforehandOpensNothing(t *testing.T) {
	b := newBench(t, local)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	planted := key.Mint(key.Token).Reveal()
	if err := os.WriteFile(elsewhere, []byte(planted), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(b.dir, access.TokenFile)); err != nil {
		t.Fatal(err)
	}
	_, secret := b.admin(t)
	if content, _ := os.ReadFile(elsewhere); string(content) != planted || secret == planted {
		t.Error("the token was written through a link")
	}
	if _, err := b.Authenticate(b.request("GET", bearer(planted))); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("planted token: %v", err)
	}
}

func TestTheFirstTokenWorksFromThisHostOnly(t *testing.T) {
	b := newBench(t, local)
	_, secret := b.admin(t)
	for name, edit := range map[string]func(*http.Request){
		"from elsewhere":                    func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5000" },
		"from elsewhere, claiming loopback": func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5000"; r.Header.Set("X-Forwarded-For", "127.0.0.1") },
		"through a proxy on this host":      func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
		"through another proxy":             func(r *http.Request) { r.Header.Set("Via", "1.1 edge") },
		"through a standard proxy":          func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1") },
		"by a rebound name":                 func(r *http.Request) { r.Host = "evil.example:8700" },
		"from nowhere":                      func(r *http.Request) { r.RemoteAddr = "" },
	} {
		t.Run(name, func(t *testing.T) {
			r := b.request("GET", bearer(secret))
			edit(r)
			if caller, err := b.Authenticate(r); !errors.Is(err, nhi.ErrDenied) || caller.Kind != "" {
				t.Errorf("caller %+v, %v", caller, err)
			}
		})
	}
	r := b.request("GET", bearer(secret))
	r.RemoteAddr, r.Host = "[::1]:5000", "localhost:8700"
	if _, err := b.Authenticate(r); err != nil {
		t.Errorf("IPv6 loopback: %v", err)
	}
	by, err := b.Authenticate(r)
	if err != nil {
		t.Fatal(err)
	}
	_, minted, err := b.MintToken(t.Context(), by, access.NewToken{Name: "ci", Owner: "team:x"})
	if err != nil {
		t.Fatal(err)
	}
	r = b.request("GET", bearer(minted.Reveal()))
	r.RemoteAddr = "192.0.2.1:5000"
	if _, err := b.Authenticate(r); err != nil {
		t.Errorf("an operator token that is not bound to loopback: %v", err)
	}
}

func TestBadKeysAreNobody(t *testing.T) {
	b := newBench(t, local)
	_, secret := b.admin(t)
	other := "A"
	if secret[30:31] == other {
		other = "B"
	}
	for name, headers := range map[string][]string{
		"unknown":        {"Bearer " + key.Mint(key.Token).Reveal()},
		"unknown source": {"Bearer " + key.Mint(key.Source).Reveal()},
		"unknown point":  {"Bearer " + key.Mint(key.Point).Reveal()},
		"an API key":     {"Bearer " + key.Mint(key.API).Reveal()},
		"cut":            {"Bearer " + secret[:40]},
		"changed":        {"Bearer " + secret[:30] + other + secret[31:]},
		"Basic":          {"Basic " + secret},
		"empty":          {""},
		"two":            {"Bearer " + secret, "Bearer " + secret},
		"long":           {"Bearer " + strings.Repeat("x", 1<<16)},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := b.Authenticate(b.request("GET", http.Header{"Authorization": headers}))
			if !errors.Is(err, nhi.ErrDenied) || caller.May(access.Report) || strings.Contains(err.Error(), secret[:30]) {
				t.Errorf("caller %+v, %v", caller, err)
			}
		})
	}
	if _, err := b.Authenticate(b.request("GET", nil)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("nothing: %v", err)
	}
}

func TestASourceReportsAndNothingElse(t *testing.T) {
	b := newBench(t, local)
	source, minted, err := b.AddSource(t.Context(), access.NewSource{Format: "cloudtrail", Accounts: []string{"111122223333"}})
	if err != nil || source.Name != "cloudtrail-111122223333" {
		t.Fatal(source, err)
	}
	r := b.request("POST", bearer(minted.Reveal()))
	r.RemoteAddr = "192.0.2.1:1"
	caller, err := b.Authenticate(r)
	if err != nil || caller.Kind != access.Source || !caller.May(access.Report) || caller.May(access.Administer) || !caller.Source.MayTestify("111122223333") {
		t.Errorf("caller %+v, %v", caller, err)
	}
	yes := true
	if _, err := b.SetSource(t.Context(), source.Name, access.SourceChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(r); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("disabled: %v", err)
	}
}

func TestAPointMayNothingHere(t *testing.T) {
	b := newBench(t, local)
	point, minted, err := b.EnrollPoint(t.Context(), access.NewPoint{Name: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := b.Authenticate(b.request("GET", bearer(minted.Reveal())))
	if err != nil || caller.Kind != access.Point || caller.Identity != point.ID || caller.May(access.Report) || caller.May(access.Administer) {
		t.Errorf("caller %+v, %v", caller, err)
	}
	_, fresh, err := b.RekeyPoint(t.Context(), "edge")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(b.request("GET", bearer(minted.Reveal()))); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("old key: %v", err)
	}
	if _, err := b.Authenticate(b.request("GET", bearer(fresh.Reveal()))); err != nil {
		t.Errorf("new key: %v", err)
	}
}

func TestEnrolledPointsAreKeptWholeAndAnnounced(t *testing.T) {
	b := newBench(t, local)
	var changes []nhi.Change
	b.db.OnCommit(func(c []nhi.Change) { changes = append(changes, c...) })
	point, _, err := b.EnrollPoint(t.Context(), access.NewPoint{Name: "edge", Sources: []string{"10.0.0.0/8"}, Resources: []string{"payments/api"}, Owner: "team:edge"})
	if err != nil {
		t.Fatal(err)
	}
	if point.Mode != nhi.Observe || point.Percent != 100 || point.Dialect != nhi.DialectNginx {
		t.Errorf("a new point is %+v", point)
	}
	enforce, half := nhi.Enforce, 50
	if point, err = b.SetPoint(t.Context(), "edge", access.PointChange{Mode: &enforce, Percent: &half}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Points(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]nhi.Point{point}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var subjects []nhi.Subject
	for _, c := range changes {
		subjects = append(subjects, c.Subject)
	}
	if diff := cmp.Diff([]nhi.Subject{nhi.SubjectIdentity, nhi.SubjectPoint, nhi.SubjectPoint}, subjects); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if _, _, err := b.EnrollPoint(t.Context(), access.NewPoint{Name: "edge"}); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("the same name: %v", err)
	}
	if _, err := b.SetPoint(t.Context(), "other", access.PointChange{}); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("another name: %v", err)
	}
}

func TestWhatCannotBeEnrolledIsRefused(t *testing.T) {
	b := newBench(t, local)
	for name, n := range map[string]access.NewPoint{
		"no name":            {},
		"hostile name":       {Name: "edge\x1b[31m"},
		"unknown mode":       {Name: "a", Mode: "log"},
		"unknown dialect":    {Name: "a", Dialect: "apache"},
		"percent":            {Name: "a", Percent: 101},
		"source that is not": {Name: "a", Sources: []string{"everywhere"}},
		"hostile resource":   {Name: "a", Resources: []string{"x\n"}},
	} {
		if _, minted, err := b.EnrollPoint(t.Context(), n); !errors.Is(err, nhi.ErrInvalid) || minted.Reveal() != "" {
			t.Errorf("point with %s: %v", name, err)
		}
	}
	for name, n := range map[string]access.NewSource{
		"no format":   {Name: "a"},
		"no accounts": {Name: "a", Format: "cloudtrail"},
		"bad account": {Name: "a", Format: "cloudtrail", Accounts: []string{""}},
		"bad name":    {Name: "a b", Format: "scanner"},
	} {
		if _, _, err := b.AddSource(t.Context(), n); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("source with %s: %v", name, err)
		}
	}
	if _, err := b.SetPoint(t.Context(), "a", access.PointChange{}); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("half a point was stored: %v", err)
	}
	if _, _, err := b.MintToken(t.Context(), access.Caller{}, access.NewToken{Name: "x", Life: 366 * 24 * time.Hour}); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("a token for more than a year: %v", err)
	}
	for _, public := range []string{"", "muster.example", "http://muster.example", "ftp://127.0.0.1"} {
		if _, err := access.New(access.Config{PublicURL: public}); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("New(%q): %v", public, err)
		}
	}
}

func TestALinkBeginsASession(t *testing.T) {
	b := newBench(t, local)
	cookie := b.signedIn(t)
	caller, err := b.Authenticate(with(b.request("GET", nil), cookie))
	if err != nil || caller.Kind != access.Session || caller.Name != "first administrator token" || !caller.May(access.Administer) {
		t.Errorf("caller %+v, %v", caller, err)
	}
	out, _, err := b.SignOut(t.Context(), with(b.request("POST", nil), cookie))
	if err != nil || out.MaxAge >= 0 || out.Value != "" {
		t.Errorf("sign out: %v, %v", out, err)
	}
	if _, err := b.Authenticate(with(b.request("GET", nil), cookie)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("after signing out: %v", err)
	}
}

func TestALinkWorksOnce(t *testing.T) {
	b := newBench(t, local)
	link := b.link(t)
	var mu sync.Mutex
	worked := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := b.SignIn(t.Context(), b.request("GET", nil), link); err == nil {
				mu.Lock()
				worked++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if worked != 1 {
		t.Errorf("the link worked %d times", worked)
	}
}

func TestALinkReplayedAfterItExpiredIsRefused(t *testing.T) {
	b := newBench(t, local)
	link := b.link(t)
	b.store.by = 10*time.Minute + time.Second
	if _, err := b.SignIn(t.Context(), b.request("GET", nil), link); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("SignIn: %v", err)
	}
}

func TestAPrefetchDoesNotUseUpALink(t *testing.T) {
	b := newBench(t, local)
	link := b.link(t)
	if _, err := b.SignIn(t.Context(), b.request("GET", http.Header{"Sec-Purpose": {"prefetch"}}), link); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("prefetch: %v", err)
	}
	if _, err := b.SignIn(t.Context(), b.request("GET", nil), link); err != nil {
		t.Errorf("the person: %v", err)
	}
}

func TestNobodyElseMakesLinks(t *testing.T) {
	b := newBench(t, local)
	for _, caller := range []access.Caller{{}, {Kind: access.Source}, {Kind: access.Point}, {Kind: "later"}} {
		if _, err := b.NewLink(t.Context(), caller); !errors.Is(err, nhi.ErrDenied) {
			t.Errorf("%+v: %v", caller, err)
		}
	}
}

func TestSessionFixationIsWorthNothing(t *testing.T) {
	b := newBench(t, local)
	planted := &http.Cookie{Name: "muster", Value: strings.Repeat("A", 43)}
	cookie, err := b.SignIn(t.Context(), with(b.request("GET", nil), planted), b.link(t))
	if err != nil || cookie.Value == planted.Value {
		t.Fatalf("SignIn kept the planted value: %v", err)
	}
	if _, err := b.Authenticate(with(b.request("GET", nil), planted)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("planted: %v", err)
	}
	second, err := b.SignIn(t.Context(), with(b.request("GET", nil), cookie), b.link(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(with(b.request("GET", nil), cookie)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("the session before: %v", err)
	}
	if _, err := b.Authenticate(with(with(b.request("GET", nil), second), planted)); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("two cookies: %v", err)
	}
}

func TestCookieFlags(t *testing.T) {
	for public, want := range map[string]http.Cookie{
		local:                    {Name: "muster", Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: 12 * 3600},
		"https://muster.example": {Name: "__Host-muster", Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode, MaxAge: 12 * 3600},
	} {
		got := *newBench(t, public).signedIn(t)
		if len(got.Value) != 43 {
			t.Errorf("%s: value of %d characters", public, len(got.Value))
		}
		got.Value = ""
		if got.String() != want.String() || got.Domain != "" {
			t.Errorf("%s: %s, want %s", public, got.String(), want.String())
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	for name, by := range map[string]time.Duration{"after an hour unused": time.Hour, "after twelve hours": 12 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, local)
			cookie, other := b.signedIn(t), b.signedIn(t)
			b.store.by = by - time.Minute
			if by == time.Hour {
				// Looked up a first time here, so that it is not merely remembered.
				if _, err := b.Authenticate(with(b.request("GET", nil), cookie)); err != nil {
					t.Errorf("a minute before: %v", err)
				}
			}
			b.store.by = by
			if _, err := b.Authenticate(with(b.request("GET", nil), other)); !errors.Is(err, nhi.ErrDenied) {
				t.Errorf("then: %v", err)
			}
		})
	}
}

func TestCrossSiteRequestForgeryIsRefused(t *testing.T) {
	const public = "https://muster.example"
	b := newBench(t, public)
	cookie := b.signedIn(t)
	own := http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {public}, access.CSRFHeader: {"1"}}
	for _, tt := range []struct {
		name   string
		method string
		edit   func(http.Header)
		want   bool
	}{
		{"our own page", "POST", func(http.Header) {}, true},
		{"our own page, no fetch metadata", "DELETE", func(h http.Header) { h.Del("Sec-Fetch-Site") }, true},
		{"our own page, no origin", "PUT", func(h http.Header) { h.Del("Origin") }, true},
		{"a form elsewhere", "POST", func(h http.Header) {
			h.Set("Sec-Fetch-Site", "cross-site")
			h.Set("Origin", "https://evil.example")
			h.Del(access.CSRFHeader)
		}, false},
		{"a script elsewhere", "POST", func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site"); h.Set("Origin", "https://evil.example") }, false},
		{"a sibling site", "POST", func(h http.Header) { h.Set("Sec-Fetch-Site", "same-site"); h.Set("Origin", "https://x.muster.example") }, false},
		{"an opaque origin", "POST", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "null") }, false},
		{"the same host in plain http", "POST", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "http://muster.example") }, false},
		{"without the header", "POST", func(h http.Header) { h.Del(access.CSRFHeader) }, false},
		{"without any word of the browser", "POST", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Del("Origin") }, false},
		{"a method nobody knows", "FROB", func(h http.Header) { h.Del(access.CSRFHeader) }, false},
		{"a link elsewhere that only reads", "GET", func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site"); h.Del(access.CSRFHeader) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := own.Clone()
			tt.edit(header)
			_, err := b.Authenticate(with(b.request(tt.method, header), cookie))
			if (err == nil) != tt.want || err != nil && !errors.Is(err, nhi.ErrDenied) {
				t.Errorf("Authenticate: %v", err)
			}
		})
	}
	// On plain loopback the console answers to several names.
	l := newBench(t, local)
	cookie = l.signedIn(t)
	r := with(l.request("POST", http.Header{"Origin": {"http://localhost:8700"}, access.CSRFHeader: {"1"}}), cookie)
	r.Host = "localhost:8700"
	if _, err := l.Authenticate(r); err != nil {
		t.Errorf("localhost for 127.0.0.1: %v", err)
	}
}

func TestGuessingIsSlowedAndLocksNobodyOut(t *testing.T) {
	b := newBench(t, local)
	_, secret := b.admin(t)
	cookie := b.signedIn(t)
	var last error
	for range 30 {
		_, last = b.Authenticate(b.request("GET", bearer(key.Mint(key.Token).Reveal())))
	}
	if !errors.Is(last, nhi.ErrBusy) {
		t.Errorf("the thirtieth guess: %v, want ErrBusy", last)
	}
	if _, err := b.SignIn(t.Context(), b.request("GET", nil), "guess"); !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("guessing a link then: %v, want ErrBusy", err)
	}
	if _, err := b.Authenticate(b.request("GET", bearer(secret))); err != nil {
		t.Errorf("the administrator at the same address: %v", err)
	}
	if _, err := b.Authenticate(with(b.request("GET", nil), cookie)); err != nil {
		t.Errorf("a session at the same address: %v", err)
	}
	r := b.request("GET", bearer(key.Mint(key.Token).Reveal()))
	r.RemoteAddr = "192.0.2.1:1"
	if _, err := b.Authenticate(r); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("somebody else: %v, want ErrDenied", err)
	}
}

func TestNoSecretLiesInTheStore(t *testing.T) {
	b := newBench(t, local)
	_, token := b.admin(t)
	cookie, link := b.signedIn(t), b.link(t)
	_, point, err := b.EnrollPoint(t.Context(), access.NewPoint{Name: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	_, source, err := b.AddSource(t.Context(), access.NewSource{Name: "s", Format: "scanner"})
	if err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(b.dir, "muster.db.export") // what the store holds, on any engine
	var dump bytes.Buffer
	if _, err := b.db.Export(t.Context(), &dump); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(whole, dump.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(b.dir, "muster.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, secret := range map[string]string{"token": token, "cookie": cookie.Value, "link": link, "point": point.Reveal(), "source": source.Reveal()} {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s holds the %s", filepath.Base(file), name)
			}
		}
	}
}

func TestRunForgetsWhatHasExpired(t *testing.T) {
	b := newBench(t, local)
	cookie := b.signedIn(t)
	ctx := t.Context()
	now := time.Now()
	if err := b.store.Prune(ctx, now, now.Add(-time.Hour), now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(with(b.request("GET", nil), cookie)); err != nil {
		t.Errorf("a live session was forgotten: %v", err)
	}
	if err := b.store.Prune(ctx, now.Add(time.Hour), now.Add(time.Hour), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Run(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

func FuzzAuthenticate(f *testing.F) {
	b := newBench(f, local)
	f.Add("Bearer x", "muster=y", "POST", "http://a")
	f.Add("", "muster="+strings.Repeat("A", 43), "GET", "")
	f.Fuzz(func(t *testing.T, authorization, cookie, method, origin string) {
		r := b.request("GET", http.Header{"Authorization": {authorization}, "Cookie": {cookie}, "Origin": {origin}, access.CSRFHeader: {"1"}})
		if authorization == "" {
			r.Header.Del("Authorization")
		}
		r.Method = method
		if caller, err := b.Authenticate(r); err == nil {
			t.Errorf("somebody unknown is %+v", caller)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	bench := newBench(b, local)
	r := with(bench.request("GET", nil), bench.signedIn(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bench.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}
