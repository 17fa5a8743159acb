package guard

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// A house publishes keys and signs with them, as the server does.
type house struct {
	*httptest.Server
	signer  *jose.Signer
	fetched atomic.Int64
	delay   atomic.Pointer[func()] // of an answer; nil: none
}

func build(t *testing.T) *house {
	t.Helper()
	h := &house{signer: jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType)}
	set, err := jose.NewKeySet(h.signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	public, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.fetched.Add(1)
		if delay := h.delay.Load(); delay != nil {
			(*delay)()
		}
		if r.URL.Path != enforce.JWKSPath {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(public)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *house) guard(t *testing.T, edit func(*Settings)) *Guard {
	t.Helper()
	s := Settings{Server: h.URL, Point: "edge"}
	if edit != nil {
		edit(&s)
	}
	g, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// asserted is POST https://shop.example/payments/1?a=b with the body "hello",
// let through by the code that every point has.
func (h *house) asserted(t *testing.T, body enforce.Body) *http.Request {
	t.Helper()
	a := &enforce.Asserter{Issuer: h.URL, Signer: func() *jose.Signer { return h.signer }}
	token, err := a.Tell(&nhi.Point{Name: "edge", Assert: true}, &enforce.Original{Method: "POST", Host: "Shop.example", Target: "/payments/1?a=b"},
		&enforce.Verdict{Decision: "dec-1", Outcome: nhi.Allow, Identity: "nhi_robot"}, body)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/payments/1?a=b", strings.NewReader("hello"))
	r.Host = "shop.example"
	r.Header.Set("Muster-Decision", token)
	return r
}

func digest(s string) enforce.Body {
	sum := sha256.Sum256([]byte(s))
	return enforce.Body{Digest: &sum}
}

func TestWhatAPointLetThroughPasses(t *testing.T) {
	h := build(t)
	for name, body := range map[string]enforce.Body{"with a digest": digest("hello"), "with a body that the point did not see": {}} {
		r := h.asserted(t, body)
		r.Header.Set("Muster-Identity", "nhi_spoofed")
		w := httptest.NewRecorder()
		h.guard(t, nil).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			p, ok := From(r.Context())
			if !ok || p != (Passed{Identity: "nhi_robot", Decision: "dec-1"}) || string(text) != "hello" || r.Header.Get("Muster-Identity") != "nhi_robot" {
				t.Errorf("%s: %+v, body %q, header %q", name, p, text, r.Header.Get("Muster-Identity"))
			}
		})).ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// claimed signs whatever claims, with the key of the house.
func (h *house) claimed(t *testing.T, signer *jose.Signer, edit func(map[string]any)) string {
	t.Helper()
	_, payload, _ := strings.Cut(h.asserted(t, digest("hello")).Header.Get("Muster-Decision"), ".")
	payload, _, _ = strings.Cut(payload, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	edit(claims)
	token, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAttacksAreRefused(t *testing.T) {
	h := build(t)
	stranger := jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType)
	access := jose.NewES256Signer(jose.GenerateES256(), "at+jwt")
	set := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Muster-Decision", token) }
	}
	same := func(map[string]any) {}
	encode := base64.RawURLEncoding.EncodeToString
	good := h.asserted(t, digest("hello")).Header.Get("Muster-Decision")
	payload := strings.Split(good, ".")[1]
	for _, tt := range []struct {
		name string
		edit func(*http.Request)
		want error
	}{
		{"another path", func(r *http.Request) { r.RequestURI = "/payments/2?a=b" }, ErrRequest},
		{"another query", func(r *http.Request) { r.RequestURI = "/payments/1?a=c" }, ErrRequest},
		{"no query", func(r *http.Request) { r.RequestURI = "/payments/1" }, ErrRequest},
		{"the path in another spelling", func(r *http.Request) { r.RequestURI = "/payments/%31?a=b" }, ErrRequest},
		{"another method", func(r *http.Request) { r.Method = "DELETE" }, ErrRequest},
		{"another host", func(r *http.Request) { r.Host = "admin.example" }, ErrRequest},
		{"another body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("hullo")) }, ErrBody},
		{"a longer body", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("hello!")), 6 }, ErrBody},
		{"no body", func(r *http.Request) { r.Body, r.ContentLength = nil, 0 }, ErrBody},
		{"no assertion", func(r *http.Request) { r.Header.Del("Muster-Decision") }, ErrMissing},
		{"two assertions", func(r *http.Request) { r.Header.Add("Muster-Decision", good) }, ErrMissing},
		{"the id of a decision", set("0198c0de-0000-7000-8000-000000000000"), ErrInvalid},
		{"expired", set(h.claimed(t, h.signer, func(c map[string]any) {
			c["iat"], c["exp"] = time.Now().Add(-time.Minute).Unix(), time.Now().Add(-31*time.Second).Unix()
		})), ErrTime},
		{"from the future", set(h.claimed(t, h.signer, func(c map[string]any) {
			c["iat"], c["exp"] = time.Now().Add(time.Minute).Unix(), time.Now().Add(80*time.Second).Unix()
		})), ErrTime},
		{"one that lives for ever", set(h.claimed(t, h.signer, func(c map[string]any) { c["exp"] = time.Now().Add(time.Hour).Unix() })), ErrTime},
		{"one that is over, as a probe sends it", set(h.claimed(t, h.signer, func(c map[string]any) {
			c["iat"], c["exp"] = time.Now().Add(-time.Hour).Unix(), time.Now().Add(-2*time.Hour).Unix()
		})), ErrTime},
		{"one without an end", set(h.claimed(t, h.signer, func(c map[string]any) { delete(c, "exp") })), ErrTime},
		{"another audience", set(h.claimed(t, h.signer, func(c map[string]any) { c["aud"] = "other" })), ErrAudience},
		{"another server", set(h.claimed(t, h.signer, func(c map[string]any) { c["iss"] = "https://other.example" })), ErrAudience},
		{"no word on the body", set(h.claimed(t, h.signer, func(c map[string]any) { delete(c, "body") })), ErrInvalid},
		{"nobody's", set(h.claimed(t, h.signer, func(c map[string]any) { delete(c, "sub") })), ErrInvalid},
		{"an unknown key", set(h.claimed(t, stranger, same)), ErrInvalid},
		{"an access token", set(h.claimed(t, access, same)), ErrInvalid},
		{"alg none", set(encode([]byte(`{"alg":"none","typ":"muster-decision+jwt"}`)) + "." + payload + "."), ErrInvalid},
		{"alg none in the name of our key", set(encode([]byte(`{"alg":"none","kid":"`+h.signer.KID()+`","typ":"muster-decision+jwt"}`)) + "." + payload + "."), ErrInvalid},
		{"a header that brings its key", set(encode([]byte(`{"alg":"ES256","kid":"`+h.signer.KID()+`","typ":"muster-decision+jwt","jwk":{}}`)) + "." + payload + "." + strings.Split(good, ".")[2]), ErrInvalid},
		{"unsigned", set(strings.Join(strings.Split(good, ".")[:2], ".") + "."), ErrInvalid},
		{"a signature of zeros", set(strings.Join(strings.Split(good, ".")[:2], ".") + "." + encode(make([]byte, 64))), ErrInvalid},
		{"a body exchanged under the signature", set(strings.Split(good, ".")[0] + "." + encode([]byte(`{"iss":"x"}`)) + "." + strings.Split(good, ".")[2]), ErrInvalid},
		{"more than may be looked at", set(strings.Repeat("x", 20<<10)), ErrInvalid},
	} {
		var told error
		g := h.guard(t, func(s *Settings) { s.Refused = func(_ *http.Request, err error) { told = err } })
		r := h.asserted(t, digest("hello"))
		tt.edit(r)
		w := httptest.NewRecorder()
		g.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: served", tt.name) })).ServeHTTP(w, r)
		if !errors.Is(told, tt.want) || w.Code != 403 {
			t.Errorf("%s: %d, %v, want %v", tt.name, w.Code, told, tt.want)
		}
	}
}

func TestABodyIsRefusedThatThePointDidNotSee(t *testing.T) {
	h := build(t)
	if _, err := h.guard(t, func(s *Settings) { s.RequireBody = true }).Check(h.asserted(t, enforce.Body{})); !errors.Is(err, ErrBody) {
		t.Errorf("unchecked: %v", err)
	}
	if _, err := h.guard(t, nil).Check(h.asserted(t, enforce.Body{None: true})); !errors.Is(err, ErrBody) {
		t.Errorf("a body where there was none: %v", err)
	}
	if _, err := h.guard(t, func(s *Settings) { s.MaxBody = 4 }).Check(h.asserted(t, digest("hello"))); !errors.Is(err, ErrBody) {
		t.Errorf("a body over the limit: %v", err)
	}
}

func TestAReplayIsRefusedWhereItIsAskedFor(t *testing.T) {
	h := build(t)
	once, again := h.guard(t, func(s *Settings) { s.Once = true }), h.guard(t, nil)
	token := h.asserted(t, digest("hello")).Header.Get("Muster-Decision")
	for i, want := range []error{nil, ErrReplay, ErrReplay} {
		r := h.asserted(t, digest("hello"))
		r.Header.Set("Muster-Decision", token)
		if _, err := once.Check(r); !errors.Is(err, want) {
			t.Errorf("time %d: %v, want %v", i, err, want)
		}
		r = h.asserted(t, digest("hello"))
		r.Header.Set("Muster-Decision", token)
		if _, err := again.Check(r); err != nil {
			t.Errorf("time %d, not asked to be once: %v", i, err)
		}
	}
}

// Tokens with invented names of keys must not make every application a flood of
// requests for keys.
func TestUnknownKeysDoNotFloodTheServer(t *testing.T) {
	h := build(t)
	g := h.guard(t, nil)
	for range 50 {
		r := h.asserted(t, digest("hello"))
		r.Header.Set("Muster-Decision", h.claimed(t, jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType), func(map[string]any) {}))
		if _, err := g.Check(r); err == nil {
			t.Fatal("passed")
		}
	}
	if n := h.fetched.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// Whoever sends a made-up name of a key makes the guard look at its server. When
// that hangs, only who needs the answer waits.
func TestAMadeUpKeyHoldsNobodyElseUp(t *testing.T) {
	h := build(t)
	entered, release := make(chan struct{}), make(chan struct{})
	g := h.guard(t, nil)
	g.keys.http.Timeout = 0 // the look hangs for as long as this test says
	if _, err := g.Check(h.asserted(t, digest("hello"))); err != nil {
		t.Fatal(err)
	}
	g.keys.tried = time.Time{}
	hangs := func() { entered <- struct{}{}; <-release }
	h.delay.Store(&hangs)
	made := h.asserted(t, digest("hello"))
	made.Header.Set("Muster-Decision", h.claimed(t, jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType), func(map[string]any) {}))
	attack, good := make(chan error, 1), make(chan error, 1)
	go func() { _, err := g.Check(made); attack <- err }()
	<-entered
	request := h.asserted(t, digest("hello"))
	go func() { _, err := g.Check(request); good <- err }()
	select {
	case err := <-good:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Error("a good request waits for somebody else's key")
	}
	close(release)
	if err := <-attack; !errors.Is(err, ErrInvalid) {
		t.Errorf("the made-up key: %v", err)
	}
}

// A key that is new is waited for, by all who have it, and fetched once.
func TestANewKeyIsFetchedOnceForAll(t *testing.T) {
	h := build(t)
	g := h.guard(t, nil)
	var all sync.WaitGroup
	for range 8 {
		r := h.asserted(t, digest("hello"))
		all.Go(func() {
			if _, err := g.Check(r); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := h.fetched.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// Where headers become variables, as in CGI, both spellings are one.
func TestTheIdentityCannotBeSpelledWithAnUnderscore(t *testing.T) {
	h := build(t)
	r := h.asserted(t, digest("hello"))
	r.Header["Muster_identity"], r.Header["Muster_decision"], r.Header["Muster.identity"] = []string{"nhi_spoofed"}, []string{"dec-spoofed"}, []string{"nhi_spoofed"}
	token, served := r.Header.Get("Muster-Decision"), false
	h.guard(t, nil).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		served = true
		for name, values := range r.Header {
			if strings.Contains(values[0], "spoofed") {
				t.Errorf("%s: %q came through", name, values)
			}
		}
		if r.Header.Get("Muster-Decision") != token || r.Header.Get("Muster-Identity") != "nhi_robot" {
			t.Errorf("the application got %v", r.Header)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	if !served {
		t.Error("a good request does not pass")
	}
}

func TestWithoutKeysNobodyPasses(t *testing.T) {
	h := build(t)
	g := h.guard(t, nil)
	r := h.asserted(t, digest("hello"))
	h.Close()
	if _, err := g.Check(r); !errors.Is(err, ErrKeys) {
		t.Errorf("%v", err)
	}
}

func TestServersThatAreNotServers(t *testing.T) {
	for _, url := range []string{"", "muster", "http://muster.example.com", "https://u:p@muster.example.com", "ftp://127.0.0.1", "https://muster.example.com?x=1"} {
		if _, err := New(Settings{Server: url, Point: "edge"}); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
	if _, err := New(Settings{Server: "https://muster.example.com"}); err == nil {
		t.Error("no point is taken for one")
	}
}

func TestTheAskerAsksAndFailsClosed(t *testing.T) {
	var reply atomic.Pointer[string]
	asked := make(chan question, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q question
		_ = json.NewDecoder(r.Body).Decode(&q)
		if r.URL.Path != "/access/v1/evaluation" || r.Header.Get("Authorization") != "Bearer the key" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		asked <- q
		_, _ = io.WriteString(w, *reply.Load())
	}))
	defer srv.Close()
	who := func(r *http.Request) (string, error) { return r.Header.Get("X-Test-Caller"), nil }
	a, err := NewAsker(AskSettings{Server: srv.URL, Key: "the key", Subject: who, Resource: func(*http.Request) string { return "payments/api" }})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/payments/1", nil)
	r.RemoteAddr = "192.0.2.7:1000"
	r.Header.Set("X-Test-Caller", "nhi_robot")
	r.Header.Set("User-Agent", "robot/1.0")
	for text, want := range map[string]bool{`{"decision":true,"context":{"evaluation_id":"dec-1","would_refuse":true}}`: true, `{"decision":false}`: false, `{"decision":true,"context":{"obligations":[{"id":"1","type":"notification"}]}}`: false, `{}`: false, ``: false, `true`: false, `{"decision":"true"}`: false} {
		reply.Store(&text)
		passed, err := a.Check(r)
		if got := <-asked; got.Subject.ID != "nhi_robot" || got.Action.Name != "GET" || got.Resource.ID != "payments/api" || got.Context["ip"] != "192.0.2.7" || got.Context["user_agent"] != "robot/1.0" {
			t.Errorf("asked %+v", got)
		}
		if (err == nil) != want || want && passed != (Passed{Identity: "nhi_robot", Decision: "dec-1", WouldRefuse: true}) || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("%q: %+v, %v", text, passed, err)
		}
	}
	text := `{"decision":true,"context":{"evaluation_id":"dec-1"}}`
	reply.Store(&text)
	r.Header.Set("Muster-Decision", "dec-spoofed")
	a.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := r.Header["Muster-Decision"]; len(got) != 1 || got[0] != "dec-1" {
			t.Errorf("the application is told of the decision %q", got)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	<-asked
	r.Header.Del("X-Test-Caller")
	if _, err := a.Check(r); !errors.Is(err, ErrDenied) {
		t.Errorf("a caller whom nobody knows: %v", err)
	}
	r.Header.Set("X-Test-Caller", "nhi_robot")
	wrong, _ := NewAsker(AskSettings{Server: srv.URL, Key: "another", Subject: who, Resource: a.s.Resource})
	if _, err := wrong.Check(r); !errors.Is(err, ErrDenied) {
		t.Errorf("a point that nobody knows: %v", err)
	}
	srv.Close()
	if _, err := a.Check(r); !errors.Is(err, ErrDenied) {
		t.Errorf("a server that is away: %v", err)
	}
}

// TestTheAskerAsksAboutTheMethodThatIsServed has an application that reads by GET and
// writes by whatever else there is, and a thief who may only read.
func TestTheAskerAsksAboutTheMethodThatIsServed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"decision":true,"context":{"evaluation_id":"dec-1"}}`)
	}))
	defer srv.Close()
	a, err := NewAsker(AskSettings{Server: srv.URL, Key: "k", Subject: func(*http.Request) (string, error) { return "nhi_robot", nil }, Resource: func(*http.Request) string { return "payments/api" }})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, method, header, value string
		want                        bool
	}{
		{"a plain method", "GET", "X-Other", "DELETE", true},
		{"an override that agrees", "POST", "X-Http-Method-Override", "POST", true},
		{"the class read as a method", "read", "", "", false},
		{"the class list as a method", "list", "", "", false},
		{"a method in small letters", "get", "", "", false},
		{"another sign", "GET|POST", "", "", false},
		{"an override", "GET", "X-Http-Method-Override", "DELETE", false},
		{"another override", "POST", "X-Method-Override", "DELETE", false},
		{"an override in disguise", "POST", "X_http_method_override", "DELETE", false},
	} {
		r := httptest.NewRequest("GET", "/payments/1", nil)
		r.Method = tt.method
		if tt.header != "" {
			r.Header[tt.header] = []string{tt.value}
		}
		if _, err := a.Check(r); (err == nil) != tt.want || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// FuzzAssertion feeds the parser; nothing but what the house signed passes.
func FuzzAssertion(f *testing.F) {
	key := jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType)
	token, err := key.Sign(map[string]any{"iss": "x"})
	if err != nil {
		f.Fatal(err)
	}
	set, err := jose.NewKeySet(key.Key())
	if err != nil {
		f.Fatal(err)
	}
	public, err := set.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token, public)
	f.Add("eyJhbGciOiJub25lIn0..", []byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"","y":""}]}`))
	known, err := parseKeys(public)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, jwks []byte) {
		if more, err := parseKeys(jwks); err == nil && len(more) == 0 {
			t.Error("a set without keys is taken")
		}
		k := &keys{known: known, fetched: time.Now(), tried: time.Now()}
		if payload, err := k.verify(t.Context(), text); err == nil && text != token {
			t.Errorf("%q passes with %q", text, payload)
		}
	})
}
