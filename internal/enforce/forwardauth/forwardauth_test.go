package forwardauth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

var (
	table = enforcetest.Shop
	robot = enforcetest.Robot
)

// A bench is a handler with one point of each dialect and a known caller.
type bench struct {
	*Handler
	decider *enforcetest.Decider
	keys    map[nhi.Dialect]string
}

func newBench(edit func(*nhi.Point)) *bench {
	points := enforcetest.Points{}
	b := &bench{decider: &enforcetest.Decider{Answer: nhi.Decision{ID: "dec-1", Outcome: nhi.Allow}}, keys: map[nhi.Dialect]string{}}
	for _, d := range []nhi.Dialect{nhi.DialectNginx, nhi.DialectCaddy, nhi.DialectTraefik, nhi.DialectHAProxy, nhi.DialectEnvoy, nhi.DialectAuthZEN} {
		b.keys[d] = points.Enroll(d, edit)
	}
	b.Handler = New(Config{
		Points:   enforce.NewPoints(points),
		Routes:   enforce.NewRoutes(table),
		Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: robot, Method: "api-key"}}},
		Decider:  b.decider,
	})
	return b
}

// request is a good one in a dialect: GET https://shop.example/payments/17
// from 198.51.100.9 with a known key.
func (b *bench) request(d nhi.Dialect) *http.Request {
	r := httptest.NewRequest("GET", Path, nil)
	r.RemoteAddr = "127.0.0.1:5000"
	set := map[string]string{
		"Muster-Point-Authorization": "Bearer " + b.keys[d],
		"Authorization":              "Bearer good",
		"User-Agent":                 "robot/1.0",
		"X-Request-Id":               "req-1",
		"X-Forwarded-Proto":          "https",
		"X-Forwarded-For":            "198.51.100.9",
	}
	switch d {
	case nhi.DialectNginx:
		set["X-Original-Method"], set["X-Original-URI"], set["X-Forwarded-Host"] = "GET", "/payments/17?x=1", "shop.example"
	case nhi.DialectEnvoy:
		r.Host, r.RequestURI = "shop.example", Path+"/payments/17?x=1"
	default:
		set["X-Forwarded-Method"], set["X-Forwarded-Uri"], set["X-Forwarded-Host"] = "GET", "/payments/17?x=1", "shop.example"
	}
	for name, value := range set {
		r.Header.Set(name, value)
	}
	return r
}

func (b *bench) do(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w.Result()
}

func (b *bench) reasons(t *testing.T, res *http.Response) []string {
	t.Helper()
	var rep struct{ Reasons []string }
	if err := json.NewDecoder(res.Body).Decode(&rep); err != nil {
		t.Fatal(err)
	}
	return rep.Reasons
}

func TestEveryDialectAsksTheSameQuestion(t *testing.T) {
	b := newBench(nil)
	for _, d := range []nhi.Dialect{nhi.DialectNginx, nhi.DialectCaddy, nhi.DialectTraefik, nhi.DialectHAProxy, nhi.DialectEnvoy} {
		res := b.do(b.request(d))
		if res.StatusCode != 200 || res.Header.Get("Muster-Identity") != string(robot) || res.Header.Get("Muster-Decision") != "dec-1" {
			t.Fatalf("%s: %d %v", d, res.StatusCode, res.Header)
		}
		asked := b.decider.Asked()
		got := asked[len(asked)-1]
		want := nhi.Question{
			ID: "req-1", Point: got.Point, Subject: nhi.Attested{Identity: robot, Method: "api-key"}, Action: nhi.Read,
			Operation: "GET /payments/{id}", Host: "shop.example", Target: "/payments/17?x=1", Resource: "payments/api", Address: netip.MustParseAddr("198.51.100.9"), Agent: "robot/1.0", At: got.At,
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", d, diff)
		}
	}
}

func TestDecisionsKeepTheirMeaning(t *testing.T) {
	enforcetest.Drive(t, func(t *testing.T, answer nhi.Decision, caller enforcetest.Caller) nhi.Outcome {
		b := newBench(nil)
		b.decider.Answer = answer
		r := b.request(nhi.DialectNginx)
		wantDenied, identity := 403, string(robot)
		switch caller {
		case enforcetest.Unrouted:
			r.Header.Set("X-Original-Uri", "/nowhere")
		case enforcetest.Unproven:
			r.Header.Del("Authorization")
			wantDenied, identity = 401, "none"
		}
		res := b.do(r)
		if res.StatusCode == 200 {
			if got := res.Header.Get("Muster-Identity"); got != identity {
				t.Errorf("Muster-Identity is %q, want %q", got, identity)
			}
			return nhi.Allow
		}
		var told struct{ Outcome nhi.Outcome }
		if err := json.NewDecoder(res.Body).Decode(&told); err != nil {
			t.Fatal(err)
		}
		want := map[nhi.Outcome]int{nhi.Deny: wantDenied, nhi.StepUp: 401}[told.Outcome]
		if res.StatusCode != want {
			t.Errorf("%s with status %d, want %d", told.Outcome, res.StatusCode, want)
		}
		return told.Outcome
	}, enforcetest.Known, enforcetest.Unrouted, enforcetest.Unproven)
}

func TestARequestWithoutAPointIsNotAnswered(t *testing.T) {
	b := newBench(nil)
	for name, edit := range map[string]func(*http.Request){
		"no key": func(r *http.Request) { r.Header.Del("Muster-Point-Authorization") },
		"the key as a caller's": func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Muster-Point-Authorization"))
			r.Header.Del("Muster-Point-Authorization")
		},
		"two keys": func(r *http.Request) {
			r.Header.Add("Muster-Point-Authorization", r.Header.Get("Muster-Point-Authorization"))
		},
		"an overlong key":        func(r *http.Request) { r.Header.Set("Muster-Point-Authorization", "Bearer "+strings.Repeat("x", 4096)) },
		"from a foreign address": func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" },
		"from no address":        func(r *http.Request) { r.RemoteAddr = "@" },
		"the key in the query": func(r *http.Request) {
			r.URL.RawQuery = "muster_point_authorization=" + b.keys[nhi.DialectNginx]
			r.Header.Del("Muster-Point-Authorization")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.request(nhi.DialectNginx)
			edit(r)
			res := b.do(r)
			if res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") != `Bearer realm="muster point"` {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
		})
	}
	if asked := b.decider.Asked(); len(asked) != 0 {
		t.Errorf("the decider was asked %d times", len(asked))
	}
}

func TestASpoofedForwardedForIsHearsay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		dialect nhi.Dialect
		edit    func(http.Header)
		want    string // address decided on; empty: unreadable
	}{
		{"the last entry counts", nhi.DialectNginx, func(h http.Header) { h.Set("X-Forwarded-For", "10.0.0.1, 127.0.0.1,203.0.113.9") }, "203.0.113.9"},
		{"also behind caddy", nhi.DialectCaddy, func(h http.Header) { h.Set("X-Forwarded-For", "10.0.0.1, 203.0.113.9") }, "203.0.113.9"},
		{"garbage to the left is ignored", nhi.DialectNginx, func(h http.Header) { h.Set("X-Forwarded-For", "<script>,, 203.0.113.9") }, "203.0.113.9"},
		{"a second line", nhi.DialectNginx, func(h http.Header) { h.Add("X-Forwarded-For", "10.0.0.1") }, ""},
		{"a client's X-Real-IP against the proxy's list", nhi.DialectNginx, func(h http.Header) { h.Set("X-Real-Ip", "10.0.0.1") }, ""},
		{"X-Real-IP that agrees", nhi.DialectNginx, func(h http.Header) { h.Set("X-Real-Ip", "198.51.100.9") }, "198.51.100.9"},
		{"X-Real-IP alone", nhi.DialectNginx, func(h http.Header) { h.Del("X-Forwarded-For"); h.Set("X-Real-Ip", "203.0.113.9") }, "203.0.113.9"},
		{"X-Real-IP is nothing to caddy", nhi.DialectCaddy, func(h http.Header) { h.Del("X-Forwarded-For"); h.Set("X-Real-Ip", "203.0.113.9") }, ""},
		{"X-Real-IP twice", nhi.DialectNginx, func(h http.Header) { h["X-Real-Ip"] = []string{"198.51.100.9", "198.51.100.9"} }, ""},
		{"a name", nhi.DialectNginx, func(h http.Header) { h.Set("X-Forwarded-For", "localhost") }, ""},
		{"a port", nhi.DialectNginx, func(h http.Header) { h.Set("X-Forwarded-For", "203.0.113.9:80") }, ""},
		{"a zone", nhi.DialectNginx, func(h http.Header) { h.Set("X-Forwarded-For", "fe80::1%lo") }, ""},
		{"nothing", nhi.DialectNginx, func(h http.Header) { h.Del("X-Forwarded-For") }, ""},
		{"trailing comma", nhi.DialectNginx, func(h http.Header) { h.Set("X-Forwarded-For", "203.0.113.9,") }, ""},
		{"mapped", nhi.DialectNginx, func(h http.Header) { h.Set("X-Forwarded-For", "::ffff:203.0.113.9") }, "203.0.113.9"},
		{"endless", nhi.DialectNginx, func(h http.Header) { h.Set("X-Forwarded-For", strings.Repeat("10.0.0.1, ", 4000)+"203.0.113.9") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(nil)
			r := b.request(tt.dialect)
			tt.edit(r.Header)
			res := b.do(r)
			if tt.want == "" {
				if got := b.reasons(t, res); res.StatusCode != 403 || !cmp.Equal(got, []string{"request-unreadable"}) {
					t.Errorf("%d %v", res.StatusCode, got)
				}
				return
			}
			if got := b.decider.Asked()[0].Address.String(); res.StatusCode != 200 || got != tt.want {
				t.Errorf("%d, decided on %s, want %s", res.StatusCode, got, tt.want)
			}
		})
	}
}

func TestRequestsWithTwoReadingsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		dialect nhi.Dialect
		edit    func(*http.Request)
		reason  string
	}{
		{"method twice", nhi.DialectNginx, func(r *http.Request) { r.Header.Add("X-Original-Method", "GET") }, "request-unreadable"},
		{"method list", nhi.DialectCaddy, func(r *http.Request) { r.Header.Set("X-Forwarded-Method", "GET, POST") }, "request-unreadable"},
		{"no method", nhi.DialectTraefik, func(r *http.Request) { r.Header.Del("X-Forwarded-Method") }, "request-unreadable"},
		{"target twice", nhi.DialectNginx, func(r *http.Request) { r.Header.Add("X-Original-Uri", "/admin") }, "request-unreadable"},
		{"target in two headers", nhi.DialectNginx, func(r *http.Request) { r.Header.Set("X-Original-Url", "/admin") }, "request-unreadable"},
		{"no target", nhi.DialectNginx, func(r *http.Request) { r.Header.Del("X-Original-Uri") }, "request-unreadable"},
		{"no host but the sub-request's own", nhi.DialectNginx, func(r *http.Request) { r.Host = "shop.example"; r.Header.Del("X-Forwarded-Host") }, "request-unreadable"},
		{"host twice", nhi.DialectTraefik, func(r *http.Request) { r.Header.Add("X-Forwarded-Host", "b.example") }, "request-unreadable"},
		{"host list", nhi.DialectTraefik, func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "shop.example, b.example") }, "request-unreadable"},
		{"scheme of another world", nhi.DialectCaddy, func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "gopher") }, "request-unreadable"},
		{"smuggled line in the target", nhi.DialectCaddy, func(r *http.Request) { r.Header["X-Forwarded-Uri"] = []string{"/payments/17\r\nHost: x"} }, "request-unreadable"},
		{"method override", nhi.DialectNginx, func(r *http.Request) { r.Header.Set("X-HTTP-Method-Override", "DELETE") }, "request-unreadable"},
		{"method override with underscores", nhi.DialectCaddy, func(r *http.Request) { r.Header.Set("X_HTTP_Method_Override", "DELETE") }, "request-unreadable"},
		{"identity with an underscore", nhi.DialectTraefik, func(r *http.Request) { r.Header.Set("Muster_Identity", "nhi_admin") }, "request-unreadable"},
		{"another method override", nhi.DialectCaddy, func(r *http.Request) { r.Header["X-Method-Override"] = []string{"GET", "PUT"} }, "request-unreadable"},
		{"path override", nhi.DialectCaddy, func(r *http.Request) { r.Header.Set("X-Rewrite-Url", "/admin") }, "request-unreadable"},
		{"path override, original", nhi.DialectCaddy, func(r *http.Request) { r.Header.Set("X-Original-Url", "/admin") }, "request-unreadable"},
		{"origin that disagrees", nhi.DialectNginx, func(r *http.Request) {
			r.Header.Del("X-Original-Uri")
			r.Header.Set("X-Original-Url", "https://evil.example/payments/17")
		}, "request-unreadable"},
		{"a target of another server than the Host", nhi.DialectNginx, func(r *http.Request) { r.Header.Set("X-Original-Host", "admin.example") }, "request-unreadable"},
		{"two servers", nhi.DialectNginx, func(r *http.Request) { r.Header["X-Original-Host"] = []string{"shop.example", "admin.example"} }, "request-unreadable"},
		{"dot segments", nhi.DialectNginx, func(r *http.Request) { r.Header.Set("X-Original-Uri", "/payments/../admin") }, "route-ambiguous"},
		{"encoded slash", nhi.DialectCaddy, func(r *http.Request) { r.Header.Set("X-Forwarded-Uri", "/payments%2f17") }, "route-ambiguous"},
		{"unknown host", nhi.DialectCaddy, func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "b.example") }, "route-none"},
		{"unknown method", nhi.DialectEnvoy, func(r *http.Request) { r.Method = "PURGE" }, "route-none"},
		{"overlong target", nhi.DialectNginx, func(r *http.Request) { r.Header.Set("X-Original-Uri", "/"+strings.Repeat("a", 9000)) }, "request-unreadable"},
		{"a dialect that is not ours", nhi.DialectAuthZEN, func(*http.Request) {}, "request-unreadable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(nil)
			r := b.request(tt.dialect)
			tt.edit(r)
			res := b.do(r)
			if got := b.reasons(t, res); res.StatusCode != 403 || !cmp.Equal(got, []string{tt.reason}) {
				t.Errorf("%d %v, want 403 [%s]", res.StatusCode, got, tt.reason)
			}
			if asked := b.decider.Asked(); len(asked) != 1 || asked[0].Resource != "" || asked[0].Action != "" {
				t.Errorf("the log would say %+v", asked)
			}
		})
	}
}

func TestNginxMaySayWhichServerItIs(t *testing.T) {
	for sent, server := range map[string]string{"shop.example": "shop.example", "SHOP.example:8443": "shop.example", "shop.example:443": "SHOP.EXAMPLE"} {
		b := newBench(nil)
		r := b.request(nhi.DialectNginx)
		r.Header.Set("X-Forwarded-Host", sent)
		r.Header.Set("X-Original-Host", server)
		if res := b.do(r); res.StatusCode != 200 {
			t.Errorf("%s: %d %v", sent, res.StatusCode, b.reasons(t, res))
		}
	}
}

func TestNginxMaySendTheWholeURL(t *testing.T) {
	b := newBench(nil)
	r := b.request(nhi.DialectNginx)
	r.Header.Del("X-Original-Uri")
	r.Header.Del("X-Forwarded-Host")
	r.Header.Set("X-Original-Url", "https://shop.example:8443/payments/17?a=b")
	if res := b.do(r); res.StatusCode != 200 {
		t.Errorf("%d %v", res.StatusCode, b.reasons(t, res))
	}
}

func TestACallerThatProvesNothingIsChallenged(t *testing.T) {
	for name, edit := range map[string]func(http.Header){
		"no credential":           func(h http.Header) { h.Del("Authorization") },
		"unknown credential":      func(h http.Header) { h.Set("Authorization", "Bearer bad") },
		"two credentials":         func(h http.Header) { h.Add("Authorization", "Bearer good") },
		"two proofs":              func(h http.Header) { h["Dpop"] = []string{"a", "b"} },
		"two attestations":        func(h http.Header) { h["Muster-Attestation"] = []string{"a", "b"} },
		"an overlong credential":  func(h http.Header) { h.Set("Authorization", "Bearer "+strings.Repeat("a", 9000)) },
		"a smuggled header line":  func(h http.Header) { h["Authorization"] = []string{"Bearer good\r\nX: y"} },
		"credential in the query": func(h http.Header) { h.Del("Authorization"); h.Set("X-Original-Uri", "/payments/17?access_token=good") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(nil)
			r := b.request(nhi.DialectNginx)
			edit(r.Header)
			res := b.do(r)
			if res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("Www-Authenticate"), `DPoP algs="ES256"`) {
				t.Errorf("%d %q", res.StatusCode, res.Header)
			}
			if got := b.decider.Asked()[0].Subject; got.Identity != "" {
				t.Errorf("decided for %s", got.Identity)
			}
		})
	}
}

func TestAnObservingPointDoesNotHelpADeadCredentialToHide(t *testing.T) {
	observed := nhi.Decision{ID: "d", Outcome: nhi.Allow, WouldRefuse: true}
	for name, edit := range map[string]func(http.Header){
		"a request that cannot be read": func(h http.Header) { h.Set("X-HTTP-Method-Override", "DELETE") },
		"an ambiguous path":             func(h http.Header) { h.Set("X-Original-Uri", "/payments/17;x") },
		"a path without a route":        func(h http.Header) { h.Set("X-Original-Uri", "/nowhere") },
	} {
		b := newBench(nil)
		b.decider.Answer = observed
		r := b.request(nhi.DialectNginx)
		edit(r.Header)
		res := b.do(r)
		// The decider refuses what is dead, if only it is told who calls.
		if got := b.decider.Asked()[0].Subject.Identity; got != robot || res.StatusCode != 200 {
			t.Errorf("%s: %d, decided for %q", name, res.StatusCode, got)
		}
	}
	for name, edit := range map[string]func(http.Header){
		"two credentials":  func(h http.Header) { h.Add("Authorization", "Bearer good") },
		"two proofs":       func(h http.Header) { h["Dpop"] = []string{"a", "b"} },
		"two attestations": func(h http.Header) { h["Muster-Attestation"] = []string{"a", "b"} },
	} {
		b := newBench(nil)
		b.decider.Answer = observed
		r := b.request(nhi.DialectNginx)
		edit(r.Header)
		if res := b.do(r); res.StatusCode != 401 || b.decider.Asked()[0].Point != "" {
			t.Errorf("%s: status %d, asked for point %q", name, res.StatusCode, b.decider.Asked()[0].Point)
		}
	}
}

func TestStepUpSpeaksRFC9470(t *testing.T) {
	for _, tt := range []struct {
		kind      nhi.StepUpKind
		status    int
		challenge string
	}{
		{nhi.StepBind, 401, `DPoP error="insufficient_user_authentication", acr_values="urn:muster:acr:bound"`},
		{nhi.StepReattest, 401, `DPoP error="insufficient_user_authentication", acr_values="urn:muster:acr:attested"`},
		{nhi.StepApprove, 403, ""},
	} {
		b := newBench(nil)
		b.decider.Answer = nhi.Decision{ID: "d", Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: tt.kind}}, Reasons: []nhi.Reason{{Policy: "guard-new-network"}}}
		res := b.do(b.request(nhi.DialectNginx))
		if got := res.Header.Get("Www-Authenticate"); res.StatusCode != tt.status || got != tt.challenge {
			t.Errorf("%s: %d %q, want %d %q", tt.kind, res.StatusCode, got, tt.status, tt.challenge)
		}
		if got := b.reasons(t, res); !cmp.Equal(got, []string{"guard-new-network"}) {
			t.Errorf("%s: reasons %v", tt.kind, got)
		}
	}
}

func TestAPanicDeniesAndIsNever500(t *testing.T) {
	b := newBench(nil)
	b.decider.Panic = true
	if res := b.do(b.request(nhi.DialectNginx)); res.StatusCode != 403 {
		t.Errorf("status %d, want 403", res.StatusCode)
	}
}

func TestAPointAsksOnlyAboutWhatItGuards(t *testing.T) {
	b := newBench(func(p *nhi.Point) { p.Resources = []string{"shop/admin"} })
	res := b.do(b.request(nhi.DialectNginx))
	if got := b.reasons(t, res); res.StatusCode != 403 || !cmp.Equal(got, []string{"resource-not-guarded"}) {
		t.Errorf("%d %v", res.StatusCode, got)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("nginx", "GET", "/payments/17", "https://shop.example/x", "shop.example", "1.2.3.4, 5.6.7.8", "5.6.7.8", "https")
	f.Add("envoy", "", "://", "a://b", "", ",", "", "wss")
	b := newBench(nil)
	b.judge.Decider = allow{}
	f.Fuzz(func(t *testing.T, dialect, method, uri, full, host, chain, real, scheme string) {
		r := b.request(nhi.DialectNginx)
		r.Header.Set("Muster-Point-Authorization", "Bearer "+b.keys[nhi.Dialect(dialect)])
		for name, value := range map[string]string{"X-Original-Method": method, "X-Forwarded-Method": method, "X-Original-Uri": uri, "X-Forwarded-Uri": uri,
			"X-Original-Url": full, "X-Forwarded-Host": host, "X-Forwarded-For": chain, "X-Real-Ip": real, "X-Forwarded-Proto": scheme} {
			r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
		if res := b.do(r); res.StatusCode != 200 && res.StatusCode != 401 && res.StatusCode != 403 {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}

type allow struct{}

func (allow) Decide(context.Context, *nhi.Question) nhi.Decision {
	return nhi.Decision{ID: "d", Outcome: nhi.Allow}
}

func BenchmarkServeHTTP(b *testing.B) {
	bench := newBench(nil)
	bench.judge.Decider = allow{}
	r := bench.request(nhi.DialectNginx)
	b.ReportAllocs()
	for b.Loop() {
		w := sink{header: http.Header{}}
		if bench.ServeHTTP(&w, r); w.code != http.StatusOK {
			b.Fatal(w.code)
		}
	}
}

// sink is the least that can be answered into.
type sink struct {
	header http.Header
	code   int
}

func (w *sink) Header() http.Header { return w.header }

func (w *sink) WriteHeader(code int) { w.code = code }

func (w *sink) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return len(b), nil
}

func TestAPointThatAssertsGivesASignedDecisionOrNone(t *testing.T) {
	b := newBench(func(p *nhi.Point) { p.Assert = true })
	if res := b.do(b.request(nhi.DialectNginx)); res.StatusCode != 403 || b.reasons(t, res)[0] != "assertion-unsigned" {
		t.Errorf("without a key: %d", res.StatusCode)
	}
	signer := jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType)
	keys, err := jose.NewKeySet(signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	b.c.Asserter = &enforce.Asserter{Issuer: "https://muster.example", Signer: func() *jose.Signer { return signer }}
	res := b.do(b.request(nhi.DialectNginx))
	got, err := jose.Verify(res.Header.Get("Muster-Decision"), keys, jose.Options{
		Algs: []string{jose.ES256}, Types: []string{enforce.AssertionType}, Issuer: "https://muster.example", Audience: "nginx", MaxLife: enforce.AssertionLife,
	})
	if err != nil || got.Subject != string(robot) {
		t.Fatalf("%d, %v: %v", res.StatusCode, res.Header, err)
	}
	for name, want := range map[string]string{"decision": "dec-1", "method": "GET", "host": "shop.example", "path": "/payments/17", "body": "unchecked"} {
		if is, _ := got.Text(name); is != want {
			t.Errorf("%s is %q, want %q", name, is, want)
		}
	}
	b.decider.Answer = nhi.Decision{ID: "dec-2", Outcome: nhi.Deny}
	if res := b.do(b.request(nhi.DialectNginx)); res.Header.Get("Muster-Decision") != "dec-2" {
		t.Errorf("a refusal is asserted: %q", res.Header.Get("Muster-Decision"))
	}
	b.decider.Answer = nhi.Decision{ID: "dec-3", Outcome: nhi.Allow}
	r := b.request(nhi.DialectNginx)
	r.Header.Set("X-Original-URI", "/payments/"+strings.Repeat("x", 3000))
	if res := b.do(r); res.StatusCode != 403 {
		t.Errorf("a path that fits into no assertion: %d", res.StatusCode)
	}
}
