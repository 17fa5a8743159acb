package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

const patience = 90 * time.Second

// A stage is a proxy on the wire, before an application.
type stage struct {
	t        *testing.T
	handler  *Handler
	decider  *enforcetest.Decider
	standing *standing
	address  string
}

// standing is what a test withdraws.
type standing struct {
	mu        sync.Mutex // guards the rest
	withdrawn map[nhi.ID]bool
	changed   chan struct{}
}

func (s *standing) Withdrawn(_ context.Context, subject *nhi.Attested, evidence *nhi.Evidence) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.withdrawn[subject.Identity] || s.withdrawn[nhi.ID(evidence.Authorization)]
}

func (s *standing) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *standing) withdraw(id nhi.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withdrawn[id] = true
	close(s.changed)
	s.changed = make(chan struct{})
}

// A script changes a stage before it is put up.
type script struct {
	settings Settings
	config   Config
	point    nhi.Point
	expires  time.Time // of the credential
}

func put(t *testing.T, app http.Handler, edit func(*script)) *stage {
	t.Helper()
	origin := httptest.NewServer(app)
	t.Cleanup(origin.Close)
	return before(t, func(s *script) {
		s.settings.Upstream.URLs = []string{origin.URL}
		if edit != nil {
			edit(s)
		}
	})
}

// before puts up a proxy; edit names the application.
func before(t *testing.T, edit func(*script)) *stage {
	t.Helper()
	st := &stage{t: t, decider: &enforcetest.Decider{Answer: nhi.Decision{ID: "dec-1", Outcome: nhi.Allow}}}
	st.standing = &standing{withdrawn: map[nhi.ID]bool{}, changed: make(chan struct{})}
	s := &script{settings: Settings{Point: "edge", Listen: "127.0.0.1:0"}, point: nhi.Point{ID: "nhi_point", Name: "edge", Dialect: nhi.DialectProxy, Mode: nhi.Enforce, Percent: 100}}
	s.config.Standing = st.standing
	s.config.Point = func() (nhi.Point, bool) { return s.point, true }
	edit(s)
	s.config.Judge = enforce.Judge{
		Routes: enforce.NewRoutes(enforcetest.Shop), Decider: st.decider,
		Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: enforcetest.Robot, Method: "api-key", Expires: s.expires}}},
	}
	var err error
	if st.handler, err = New(s.settings, s.config); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	st.address = l.Addr().String()
	server := Server(s.settings, st.handler, nil)
	l = Limit(l, s.settings)
	var running sync.WaitGroup
	if s.settings.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.settings.TLS.Cert, s.settings.TLS.Key)
		if err != nil {
			t.Fatal(err)
		}
		if server.TLSConfig, err = ServerTLS(s.settings, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }); err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = server.ServeTLS(l, "", "") })
	} else {
		running.Go(func() { _ = server.Serve(l) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() { st.handler.Watch(ctx) })
	t.Cleanup(func() {
		cancel()
		st.handler.Cut()
		_ = server.Close()
		running.Wait()
		st.handler.Close()
	})
	return st
}

// request is a good one: a known caller asks for something that has a route.
func (s *stage) request(method, path string, body io.Reader) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = "shop.example"
	r.Header.Set("Authorization", "Bearer good")
	return r
}

var plain = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (s *stage) do(r *http.Request) (*http.Response, string) {
	s.t.Helper()
	res, err := plain.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(body)
}

// raw sends bytes and returns the statuses of the replies until the connection
// ends.
func (s *stage) raw(text string) (statuses []int) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return statuses
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		statuses = append(statuses, res.StatusCode)
		if !res.Close {
			// A proxy that waits for the next request is told that there is none.
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}
}

// A witness is an application that remembers what reached it.
type witness struct {
	mu   sync.Mutex // guards seen
	seen []*http.Request
}

func (a *witness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, r)
	a.mu.Unlock()
	fmt.Fprint(w, "served")
}

func (a *witness) requests() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*http.Request(nil), a.seen...)
}

func (a *witness) last(t *testing.T) *http.Request {
	t.Helper()
	seen := a.requests()
	if len(seen) == 0 {
		t.Fatal("nothing reached the application")
	}
	return seen[len(seen)-1]
}

func TestDecisionsKeepTheirMeaning(t *testing.T) {
	enforcetest.Drive(t, func(t *testing.T, answer nhi.Decision, caller enforcetest.Caller) nhi.Outcome {
		app := &witness{}
		s := put(t, app, nil)
		s.decider.Answer = answer
		r := s.request("GET", "/payments/17", nil)
		identity := string(enforcetest.Robot)
		switch caller {
		case enforcetest.Unrouted:
			r = s.request("GET", "/nowhere", nil)
		case enforcetest.Unproven:
			r.Header.Del("Authorization")
			identity = "none"
		}
		res, body := s.do(r)
		if body == "served" {
			if got := app.last(t).Header.Get("Muster-Identity"); got != identity {
				t.Errorf("the application is told %q, want %q", got, identity)
			}
			return nhi.Allow
		}
		if len(app.requests()) != 0 {
			t.Error("what was refused reached the application")
		}
		var told struct{ Outcome nhi.Outcome }
		if err := json.Unmarshal([]byte(body), &told); err != nil || res.StatusCode != 401 && res.StatusCode != 403 {
			t.Fatalf("%d %s: %v", res.StatusCode, body, err)
		}
		if told.Outcome == nhi.StepUp && !strings.Contains(res.Header.Get("WWW-Authenticate"), "insufficient_user_authentication") {
			t.Errorf("a step-up without a challenge: %v", res.Header)
		}
		return told.Outcome
	}, enforcetest.Known, enforcetest.Unrouted, enforcetest.Unproven)
}

func TestTheQuestionIsTheRequestItself(t *testing.T) {
	app := &witness{}
	s := put(t, app, nil)
	r := s.request("GET", "/payments/17?x=1;y=%2F", nil)
	r.Header.Set("User-Agent", "robot/1.0")
	r.Header.Set("X-Request-Id", "req-1")
	r.Header.Set("X-Forwarded-For", "198.51.100.9") // hearsay
	r.Header.Set("X-Forwarded-Proto", "https")
	if res, body := s.do(r); res.StatusCode != 200 {
		t.Fatal(res.Status, body)
	}
	got := s.decider.Asked()[0]
	want := nhi.Question{
		ID: "req-1", Point: "nhi_point", Subject: nhi.Attested{Identity: enforcetest.Robot, Method: "api-key"}, Action: nhi.Read,
		Operation: "GET /payments/{id}", Host: "shop.example", Target: "/payments/17?x=1;y=%2F", Resource: "payments/api",
		Address: netip.MustParseAddr("127.0.0.1"), Agent: "robot/1.0", At: got.At,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if seen := app.last(t); seen.RequestURI != "/payments/17?x=1;y=%2F" || seen.Host != "shop.example" {
		t.Errorf("the application got %s of %s", seen.RequestURI, seen.Host)
	}
}

func TestTheApplicationIsToldWhoAndTheCredentialStays(t *testing.T) {
	for _, forward := range []bool{false, true} {
		app := &witness{}
		s := put(t, app, func(s *script) { s.settings.ForwardCredential = forward })
		r := s.request("GET", "/payments/17", nil)
		r.Header.Set("DPoP", "a proof")
		r.Header.Set("Muster-Attestation", "a token")
		res, _ := s.do(r)
		got := app.last(t).Header
		if got.Get("Muster-Identity") != string(enforcetest.Robot) || got.Get("Muster-Decision") != "dec-1" || got.Get("X-Forwarded-For") != "127.0.0.1" ||
			got.Get("X-Forwarded-Host") != "shop.example" || got.Get("X-Forwarded-Proto") != "http" {
			t.Errorf("the application was told %v", got)
		}
		if (got.Get("Authorization") != "") != forward || (got.Get("Dpop") != "") != forward || got.Get("Muster-Attestation") != "" {
			t.Errorf("forward_credential %v: the application got %v", forward, got)
		}
		if res.Header.Get("Muster-Decision") != "" {
			t.Error("the client was told what is the application's to know")
		}
	}
}

func TestNoPointNoPassage(t *testing.T) {
	for name, edit := range map[string]func(*script){
		"not enrolled":                   func(s *script) { s.config.Point = func() (nhi.Point, bool) { return nhi.Point{}, false } },
		"disabled":                       func(s *script) { s.point.Disabled = true },
		"of another dialect":             func(s *script) { s.point.Dialect = nhi.DialectNginx },
		"one that asserts without a key": func(s *script) { s.point.Assert = true },
	} {
		app := &witness{}
		s := put(t, app, edit)
		if res, body := s.do(s.request("GET", "/payments/17", nil)); res.StatusCode != 403 || len(app.requests()) != 0 {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
}

func TestAPanicWhileDecidingDenies(t *testing.T) {
	app := &witness{}
	s := put(t, app, nil)
	s.decider.Panic = true
	res, body := s.do(s.request("GET", "/payments/17", nil))
	if res.StatusCode != 403 || !strings.Contains(body, "internal-error") || len(app.requests()) != 0 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}
