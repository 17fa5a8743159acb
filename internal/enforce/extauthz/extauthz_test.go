package extauthz

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

var (
	table = enforcetest.Shop
	robot = enforcetest.Robot
)

// A bench is a service with one point and a known caller.
type bench struct {
	*Service
	points  enforcetest.Points
	decider *enforcetest.Decider
	key     string
}

func newBench(edit func(*nhi.Point)) *bench {
	b := &bench{points: enforcetest.Points{}, decider: &enforcetest.Decider{Answer: nhi.Decision{ID: "dec-1", Outcome: nhi.Allow}}}
	b.key = b.points.Enroll(nhi.DialectEnvoy, edit)
	b.Service = New(Config{
		Points:   enforce.NewPoints(b.points),
		Routes:   enforce.NewRoutes(table),
		Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: robot, Method: "api-key"}}},
		Decider:  b.decider,
	})
	return b
}

// ctx is the context of a call from loopback with the keys of points.
func ctx(t testing.TB, keys ...string) context.Context {
	c := peer.NewContext(t.Context(), &peer.Peer{Addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:5000"))})
	md := metadata.MD{}
	for _, key := range keys {
		md.Append(Metadata, "Bearer "+key)
	}
	return metadata.NewIncomingContext(c, md)
}

// request is a good one, as Envoy sends it: GET
// https://shop.example/payments/17?x=1 from 198.51.100.9 with a known key.
func request() *auth.CheckRequest {
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address: "198.51.100.9", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 40100},
		}}}},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Id: "7", Method: "GET", Scheme: "https", Host: "shop.example", Path: "/payments/17?x=1", Protocol: "HTTP/1.1", Size: -1,
			Headers: map[string]string{
				":authority": "shop.example", ":method": "GET", ":path": "/payments/17?x=1", ":scheme": "https",
				"authorization": "Bearer good", "user-agent": "robot/1.0", "x-request-id": "req-1",
				"x-forwarded-for": "10.0.0.1", "x-forwarded-proto": "https", "accept": "*/*",
			},
		}},
	}}
}

// raw turns the headers into the form of encode_raw_headers.
func raw(r *auth.CheckRequest) {
	h := r.Attributes.Request.Http
	h.HeaderMap = &core.HeaderMap{}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		addRaw(r, name, h.Headers[name])
	}
	h.Headers = nil
}

func addRaw(r *auth.CheckRequest, name, value string) {
	h := r.Attributes.Request.Http.HeaderMap
	h.Headers = append(h.Headers, &core.HeaderValue{Key: name, RawValue: []byte(value)})
}

// An answered is a reply in the words of HTTP.
type answered struct {
	code    codes.Code
	status  int
	outcome nhi.Outcome
	reasons []string
	headers map[string]string
	meta    map[string]any
}

func tell(t *testing.T, response *auth.CheckResponse, err error) answered {
	t.Helper()
	if err != nil {
		t.Fatalf("the call failed, which a proxy may let pass: %v", err)
	}
	out := answered{code: codes.Code(response.Status.Code), headers: map[string]string{}, meta: response.DynamicMetadata.AsMap()}
	options := response.GetDeniedResponse().GetHeaders()
	if ok := response.GetOkResponse(); ok != nil {
		out.status, out.outcome, options = 200, nhi.Allow, ok.Headers
	} else {
		var body struct {
			Outcome nhi.Outcome
			Reasons []string
		}
		if err := json.Unmarshal([]byte(response.GetDeniedResponse().GetBody()), &body); err != nil {
			t.Fatal(err)
		}
		out.status, out.outcome, out.reasons = int(response.GetDeniedResponse().GetStatus().GetCode()), body.Outcome, body.Reasons
	}
	if (out.code == codes.OK) != (out.status == 200) {
		t.Errorf("code %v with HTTP status %d: a proxy might heed either", out.code, out.status)
	}
	for _, o := range options {
		if o.AppendAction != core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("%s does not replace what a client sent", o.Header.Key)
		}
		out.headers[o.Header.Key] = o.Header.Value
	}
	return out
}

func (b *bench) ask(t *testing.T, edit func(*auth.CheckRequest)) answered {
	t.Helper()
	r := request()
	if edit != nil {
		edit(r)
	}
	response, err := b.Check(ctx(t, b.key), r)
	return tell(t, response, err)
}

func TestBothFormsOfHeadersAskTheSameQuestion(t *testing.T) {
	for name, edit := range map[string]func(*auth.CheckRequest){"merged": nil, "raw": raw} {
		b := newBench(nil)
		got := b.ask(t, edit)
		want := answered{
			code: codes.OK, status: 200, outcome: nhi.Allow, headers: map[string]string{"muster-identity": string(robot), "muster-decision": "dec-1"},
			meta: map[string]any{"decision": "dec-1", "outcome": "allow", "identity": string(robot)},
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(answered{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		asked := b.decider.Asked()[0]
		question := nhi.Question{
			ID: "req-1", Point: asked.Point, Subject: nhi.Attested{Identity: robot, Method: "api-key"}, Action: nhi.Read,
			Operation: "GET /payments/{id}", Host: "shop.example", Target: "/payments/17?x=1", Resource: "payments/api", Address: netip.MustParseAddr("198.51.100.9"), Agent: "robot/1.0", At: asked.At,
		}
		if diff := cmp.Diff(question, asked, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || asked.Point == "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDecisionsKeepTheirMeaning(t *testing.T) {
	enforcetest.Drive(t, func(t *testing.T, answer nhi.Decision, caller enforcetest.Caller) nhi.Outcome {
		b := newBench(nil)
		b.decider.Answer = answer
		denied, identity := codes.PermissionDenied, string(robot)
		got := b.ask(t, func(r *auth.CheckRequest) {
			h := r.Attributes.Request.Http
			switch caller {
			case enforcetest.Unrouted:
				h.Path, h.Headers[":path"] = "/nowhere", "/nowhere"
			case enforcetest.Unproven:
				delete(h.Headers, "authorization")
				denied, identity = codes.Unauthenticated, "none"
			}
		})
		want := map[nhi.Outcome]codes.Code{nhi.Allow: codes.OK, nhi.Deny: denied, nhi.StepUp: codes.Unauthenticated}[got.outcome]
		if got.code != want || got.meta["outcome"] != string(got.outcome) {
			t.Errorf("%s with code %v, want %v; metadata %v", got.outcome, got.code, want, got.meta)
		}
		if got.outcome == nhi.Allow && got.headers["muster-identity"] != identity {
			t.Errorf("muster-identity is %q, want %q", got.headers["muster-identity"], identity)
		}
		return got.outcome
	}, enforcetest.Known, enforcetest.Unrouted, enforcetest.Unproven)
}

func TestWhatOnlyTheModeLetsPassIsOnTrialInTheMetadata(t *testing.T) {
	b := newBench(nil)
	b.decider.Answer = nhi.Decision{ID: "d", Outcome: nhi.Allow, WouldRefuse: true, Reasons: []nhi.Reason{{Policy: "guard-new-network"}}}
	got := b.ask(t, nil)
	if got.status != 200 || got.meta["shadow_engine_result"] != "denied" || got.meta["shadow_effective_policy_id"] != "guard-new-network" {
		t.Errorf("%d %v", got.status, got.meta)
	}
	b.decider.Answer = nhi.Decision{ID: "d", Outcome: nhi.Allow}
	if got := b.ask(t, nil); got.meta["shadow_engine_result"] != nil {
		t.Errorf("an allow on its merits says %v", got.meta)
	}
}

func TestACallWithoutAPointIsDeniedAndNotAnError(t *testing.T) {
	b := newBench(nil)
	other := b.points.Enroll(nhi.DialectEnvoy, func(p *nhi.Point) { p.Disabled = true })
	foreign := peer.NewContext(ctx(t, b.key), &peer.Peer{Addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:1"))})
	for name, c := range map[string]context.Context{
		"no key": ctx(t), "two keys": ctx(t, b.key, b.key), "a key that is none": ctx(t, "x"), "a disabled point": ctx(t, other),
		"from a foreign address": foreign,
		"from no address":        peer.NewContext(ctx(t, b.key), &peer.Peer{Addr: &net.UnixAddr{Name: "@x"}}),
		"without a peer":         metadata.NewIncomingContext(t.Context(), metadata.Pairs(Metadata, "Bearer "+b.key)),
		"without metadata":       t.Context(),
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			r.Attributes.Request.Http.Headers[Metadata] = "Bearer " + b.key // a client's header is nothing
			response, err := b.Check(c, r)
			if got := tell(t, response, err); got.status != 401 || got.headers["www-authenticate"] != `Bearer realm="muster point"` {
				t.Errorf("%+v", got)
			}
		})
	}
	if asked := b.decider.Asked(); len(asked) != 0 {
		t.Errorf("the decider was asked %d times", len(asked))
	}
}

func of(r *auth.CheckRequest) *auth.AttributeContext_HttpRequest { return r.Attributes.Request.Http }

func TestRequestsWithTwoReadingsAreRefused(t *testing.T) {
	path := func(target string) func(*auth.CheckRequest) {
		return func(r *auth.CheckRequest) { of(r).Path, of(r).Headers[":path"] = target, target }
	}
	set := func(name, value string) func(*auth.CheckRequest) {
		return func(r *auth.CheckRequest) { of(r).Headers[name] = value }
	}
	for _, tt := range []struct {
		name   string
		reason string
		edit   func(*auth.CheckRequest)
	}{
		{":authority that disagrees with the host", "request-unreadable", set(":authority", "b.example")},
		{"a host header beside :authority", "request-unreadable", set("host", "b.example")},
		{"two host headers, joined", "request-unreadable", set("host", "shop.example,shop.example")},
		{"host list", "route-none", func(r *auth.CheckRequest) {
			of(r).Host, of(r).Headers[":authority"] = "shop.example,b.example", "shop.example,b.example"
		}},
		{":path that disagrees", "request-unreadable", set(":path", "/admin")},
		{":method that disagrees", "request-unreadable", set(":method", "DELETE")},
		{":scheme that disagrees", "request-unreadable", set(":scheme", "http")},
		{"a query apart from the path", "request-unreadable", func(r *auth.CheckRequest) { of(r).Query = "x=1" }},
		{"a fragment", "request-unreadable", func(r *auth.CheckRequest) { of(r).Fragment = "x" }},
		{"method override", "request-unreadable", set("x-http-method-override", "DELETE")},
		{"method override in capitals", "request-unreadable", set("X-HTTP-Method-Override", "DELETE")},
		{"path override", "request-unreadable", set("x-rewrite-url", "/admin")},
		{"path override, original", "request-unreadable", set("x-original-url", "/admin")},
		{"method override with underscores", "request-unreadable", set("x_http_method_override", "DELETE")},
		{"method override with one underscore", "request-unreadable", set("X-HTTP_Method-Override", "DELETE")},
		{"path override with underscores", "request-unreadable", set("x_original_url", "/admin")},
		{"identity with an underscore, which ours does not replace", "request-unreadable", set("muster_identity", "nhi_admin")},
		{"decision with an underscore", "request-unreadable", set("Muster_Decision", "dec-0")},
		{"attestation with an underscore", "request-unreadable", set("muster_attestation", "x")},
		{"smuggled line in the path", "request-unreadable", path("/payments/17\r\nHost: x")},
		{"smuggled line in the query", "request-unreadable", path("/payments/17?\r\nHost: x")},
		{"overlong path", "request-unreadable", path("/payments/" + strings.Repeat("a", 9000))},
		{"a URL for a path", "route-ambiguous", path("http://shop.example/payments/17")},
		{"dot segments", "route-ambiguous", path("/payments/../admin")},
		{"encoded dot", "route-ambiguous", path("/payments/%2e%2e/admin")},
		{"encoded slash", "route-ambiguous", path("/payments%2f17")},
		{"empty segment", "route-ambiguous", path("//payments/17")},
		{"backslash", "route-ambiguous", path(`/payments\17`)},
		{"another case", "route-none", path("/Payments/17")},
		{"an asterisk", "route-ambiguous", path("*")},
		{"no path, as with CONNECT", "request-unreadable", path("")},
		{"no method", "request-unreadable", func(r *auth.CheckRequest) { of(r).Method = "" }},
		{"a method that is no word", "request-unreadable", func(r *auth.CheckRequest) { of(r).Method, of(r).Headers[":method"] = "GET /x", "GET /x" }},
		{"no host", "request-unreadable", func(r *auth.CheckRequest) { of(r).Host = "" }},
		{"no scheme", "request-unreadable", func(r *auth.CheckRequest) { of(r).Scheme = "" }},
		{"scheme of another world", "request-unreadable", func(r *auth.CheckRequest) { of(r).Scheme, of(r).Headers[":scheme"] = "gopher", "gopher" }},
		{"no source", "request-unreadable", func(r *auth.CheckRequest) { r.Attributes.Source = nil }},
		{"a pipe for a source", "request-unreadable", func(r *auth.CheckRequest) {
			r.Attributes.Source.Address = &core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: "/run/x"}}}
		}},
		{"a name for a source", "request-unreadable", func(r *auth.CheckRequest) {
			r.Attributes.Source.Address.GetSocketAddress().Address = "localhost"
		}},
		{"unknown host", "route-none", func(r *auth.CheckRequest) { of(r).Host, of(r).Headers[":authority"] = "b.example", "b.example" }},
		{"unknown method", "route-none", func(r *auth.CheckRequest) { of(r).Method, of(r).Headers[":method"] = "PURGE", "PURGE" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(nil)
			got := b.ask(t, tt.edit)
			if got.code != codes.PermissionDenied || got.status != 403 || !cmp.Equal(got.reasons, []string{tt.reason}) {
				t.Errorf("%v %d %v, want 403 [%s]", got.code, got.status, got.reasons, tt.reason)
			}
			if asked := b.decider.Asked(); len(asked) != 1 || asked[0].Resource != "" || asked[0].Action != "" || asked[0].Subject.Identity != robot {
				t.Errorf("the log would say %+v", asked)
			}
		})
	}
}

func TestHostAndPortAndCaseAndADotAreTheSameHost(t *testing.T) {
	for _, host := range []string{"shop.example:8443", "SHOP.example"} {
		b := newBench(nil)
		if got := b.ask(t, func(r *auth.CheckRequest) { of(r).Host, of(r).Headers[":authority"] = host, host }); got.status != 200 {
			t.Errorf("%s: %d %v", host, got.status, got.reasons)
		}
	}
}

func TestMissingPartsDeny(t *testing.T) {
	for name, r := range map[string]*auth.CheckRequest{
		"no request":    nil,
		"empty request": {},
		"no http":       {Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{}}},
		"empty http":    {Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{}}}},
		"nil in the header map": {Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			HeaderMap: &core.HeaderMap{Headers: []*core.HeaderValue{nil}}}}}},
	} {
		b := newBench(nil)
		response, err := b.Check(ctx(t, b.key), r)
		if got := tell(t, response, err); got.status != 403 || !cmp.Equal(got.reasons, []string{"request-unreadable"}) {
			t.Errorf("%s: %d %v", name, got.status, got.reasons)
		}
	}
}

func TestARepeatedCredentialIsFinalAlsoAtAPointThatObserves(t *testing.T) {
	for name, edit := range map[string]func(*auth.CheckRequest){
		"joined with a comma":          func(r *auth.CheckRequest) { of(r).Headers["authorization"] = "Bearer good,Bearer dead" },
		"joined with a comma and more": func(r *auth.CheckRequest) { of(r).Headers["authorization"] = "Bearer good, Bearer dead" },
		"in another case":              func(r *auth.CheckRequest) { of(r).Headers["Authorization"] = "Bearer dead" },
		"raw, twice":                   func(r *auth.CheckRequest) { raw(r); addRaw(r, "authorization", "Bearer dead") },
		"raw, twice in another case":   func(r *auth.CheckRequest) { raw(r); addRaw(r, "AUTHORIZATION", "Bearer good") },
		"in both forms": func(r *auth.CheckRequest) {
			of(r).HeaderMap = &core.HeaderMap{}
			addRaw(r, "authorization", "Bearer dead")
		},
		"as text and as bytes": func(r *auth.CheckRequest) {
			delete(of(r).Headers, "authorization")
			of(r).HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "authorization", Value: "Bearer good", RawValue: []byte("Bearer dead")}}}
		},
		"proofs":             func(r *auth.CheckRequest) { of(r).Headers["dpop"] = "a,b" },
		"proofs, raw":        func(r *auth.CheckRequest) { raw(r); addRaw(r, "dpop", "a"); addRaw(r, "dpop", "b") },
		"attestations":       func(r *auth.CheckRequest) { of(r).Headers["muster-attestation"] = "a,b" },
		"overlong":           func(r *auth.CheckRequest) { of(r).Headers["authorization"] = "Bearer " + strings.Repeat("a", 9000) },
		"a smuggled line":    func(r *auth.CheckRequest) { of(r).Headers["authorization"] = "Bearer good\r\nX: y" },
		"a smuggled NUL":     func(r *auth.CheckRequest) { raw(r); addRaw(r, "dpop", "a\x00b") },
		"and an unread path": func(r *auth.CheckRequest) { of(r).Path = "//"; of(r).Headers["authorization"] = "Bearer good,x" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(nil)
			b.decider.Answer = nhi.Decision{ID: "d", Outcome: nhi.Allow, WouldRefuse: true}
			got := b.ask(t, edit)
			if asked := b.decider.Asked()[0]; got.outcome != nhi.Deny || asked.Point != "" || asked.Subject.Identity != "" {
				t.Errorf("%d %v, asked for point %q and %q", got.status, got.reasons, asked.Point, asked.Subject.Identity)
			}
		})
	}
}

func TestAClientsForwardedForIsHearsay(t *testing.T) {
	b := newBench(nil)
	b.ask(t, func(r *auth.CheckRequest) {
		of(r).Headers["x-forwarded-for"], of(r).Headers["x-envoy-external-address"], of(r).Headers["x-real-ip"] = "203.0.113.9", "203.0.113.9", "203.0.113.9"
	})
	if got := b.decider.Asked()[0].Address.String(); got != "198.51.100.9" {
		t.Errorf("decided on %s", got)
	}
}

func TestACallerThatProvesNothingIsChallenged(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*auth.CheckRequest)
		want string
	}{
		"no credential":      {func(r *auth.CheckRequest) { delete(of(r).Headers, "authorization") }, `DPoP algs="ES256", Bearer realm="muster"`},
		"unknown credential": {func(r *auth.CheckRequest) { of(r).Headers["authorization"] = "Bearer bad" }, `DPoP algs="ES256", error="invalid_token"`},
		"credential in the query": {func(r *auth.CheckRequest) {
			delete(of(r).Headers, "authorization")
			of(r).Path, of(r).Headers[":path"] = "/payments/17?access_token=good", "/payments/17?access_token=good"
		}, `DPoP algs="ES256", Bearer realm="muster"`},
		"a spoofed Muster-Identity": {func(r *auth.CheckRequest) {
			delete(of(r).Headers, "authorization")
			of(r).Headers["muster-identity"] = string(robot)
		}, `DPoP algs="ES256", Bearer realm="muster"`},
	} {
		b := newBench(nil)
		if got := b.ask(t, tt.edit); got.code != codes.Unauthenticated || got.status != 401 || got.headers["www-authenticate"] != tt.want {
			t.Errorf("%s: %v %d %q", name, got.code, got.status, got.headers)
		}
	}
}

func TestStepUpSpeaksRFC9470(t *testing.T) {
	b := newBench(nil)
	b.decider.Answer = nhi.Decision{ID: "d", Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: nhi.StepBind}}, Reasons: []nhi.Reason{{Policy: "guard-new-network"}}}
	got := b.ask(t, nil)
	if got.status != 401 || got.headers["www-authenticate"] != `DPoP error="insufficient_user_authentication", acr_values="urn:muster:acr:bound"` {
		t.Errorf("%d %q", got.status, got.headers)
	}
	b.decider.Answer.Obligations = []nhi.Obligation{{Kind: nhi.StepApprove}}
	if got := b.ask(t, nil); got.status != 403 || got.headers["www-authenticate"] != "" {
		t.Errorf("%d %q", got.status, got.headers)
	}
}

func TestAPanicDeniesAndIsNoError(t *testing.T) {
	b := newBench(nil)
	b.decider.Panic = true
	if got := b.ask(t, nil); got.status != 403 || !cmp.Equal(got.reasons, []string{"internal-error"}) {
		t.Errorf("%d %v", got.status, got.reasons)
	}
}

func TestAPointOfAnotherDialectIsNotHeardHere(t *testing.T) {
	b := newBench(func(p *nhi.Point) { p.Dialect = nhi.DialectNginx })
	if got := b.ask(t, nil); got.status != 403 || !cmp.Equal(got.reasons, []string{"request-unreadable"}) {
		t.Errorf("%d %v", got.status, got.reasons)
	}
}

func TestAPointAsksOnlyAboutWhatItGuards(t *testing.T) {
	b := newBench(func(p *nhi.Point) { p.Resources = []string{"shop/admin"} })
	if got := b.ask(t, nil); got.status != 403 || !cmp.Equal(got.reasons, []string{"resource-not-guarded"}) {
		t.Errorf("%d %v", got.status, got.reasons)
	}
}

func FuzzCheck(f *testing.F) {
	for _, edit := range []func(*auth.CheckRequest){func(*auth.CheckRequest) {}, raw} {
		r := request()
		edit(r)
		data, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{})
	b := newBench(nil)
	b.judge.Decider = allow{}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r auth.CheckRequest
		if proto.Unmarshal(data, &r) != nil {
			return // no message: the server refuses it before Check
		}
		response, err := b.Check(ctx(t, b.key), &r)
		got := tell(t, response, err)
		if got.status != 200 && got.status != 401 && got.status != 403 {
			t.Errorf("status %d", got.status)
		}
		if got.status == 200 && of(&r).GetPath() == "" {
			t.Error("a request without a path passed")
		}
	})
}

type allow struct{}

func (allow) Decide(context.Context, *nhi.Question) nhi.Decision {
	return nhi.Decision{ID: "d", Outcome: nhi.Allow}
}

func BenchmarkCheck(b *testing.B) {
	bench := newBench(nil)
	bench.judge.Decider = allow{}
	c, r := ctx(b, bench.key), request()
	b.ReportAllocs()
	for b.Loop() {
		if response, err := bench.Check(c, r); err != nil || response.Status.Code != 0 {
			b.Fatal(response, err)
		}
	}
}

func TestAPointThatAssertsGivesASignedDecisionOrNone(t *testing.T) {
	b := newBench(func(p *nhi.Point) { p.Assert = true })
	response, err := b.Check(ctx(t, b.key), request())
	if err != nil || response.GetOkResponse() != nil || !strings.Contains(response.GetDeniedResponse().GetBody(), "assertion-unsigned") {
		t.Errorf("without a key: %v, %v", response, err)
	}
	signer := jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType)
	keys, err := jose.NewKeySet(signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	b.asserter = &enforce.Asserter{Issuer: "https://muster.example", Signer: func() *jose.Signer { return signer }}
	response, err = b.Check(ctx(t, b.key), request())
	if err != nil {
		t.Fatal(err)
	}
	var token string
	for _, h := range response.GetOkResponse().GetHeaders() {
		if h.GetHeader().GetKey() == "muster-decision" {
			token = h.GetHeader().GetValue()
		}
	}
	got, err := jose.Verify(token, keys, jose.Options{
		Algs: []string{jose.ES256}, Types: []string{enforce.AssertionType}, Issuer: "https://muster.example", Audience: "envoy", MaxLife: enforce.AssertionLife,
	})
	if body, _ := got.Text("body"); err != nil || body != "unchecked" || got.Subject != string(enforcetest.Robot) {
		t.Errorf("%v: %v", response, err)
	}
}
