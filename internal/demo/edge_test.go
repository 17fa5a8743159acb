package demo

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/world"
)

// A gatekeeper is a forward-auth that answers as it is told and remembers what
// it was asked.
type gatekeeper struct {
	status int
	asked  []http.Header
}

func (g *gatekeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.asked = append(g.asked, r.Header.Clone())
	w.Header().Set("WWW-Authenticate", "DPoP")
	w.WriteHeader(g.status)
}

func newTestEdge(t *testing.T, g *gatekeeper) (*edge, string) {
	t.Helper()
	auth := httptest.NewServer(g)
	t.Cleanup(auth.Close)
	up, err := newUpstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.close)
	e, err := newEdge(auth.URL, "the point's key", up)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	door, err := e.door(world.Network{Address: netip.MustParseAddr("198.51.100.7")})
	if err != nil {
		t.Fatal(err)
	}
	return e, door
}

func TestTheEdgeLetsPassWhatForwardAuthAllowsAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		auth, caller, upstream int
	}{
		{200, 200, 1}, {204, 200, 1}, {401, 401, 0}, {403, 403, 0}, {302, 500, 0}, {404, 500, 0}, {500, 500, 0}, {503, 500, 0},
	} {
		g := &gatekeeper{status: tt.auth}
		e, door := newTestEdge(t, g)
		status, err := steal(t.Context(), http.DefaultClient, door, "a key", "somebody", "curl/8", world.Route{Method: "GET", Host: "a.example"}, "/x?y=z")
		if err != nil {
			t.Fatal(err)
		}
		if got := e.upstream.reached("somebody"); status != tt.caller || got != tt.upstream {
			t.Errorf("forward-auth says %d: the caller gets %d and the upstream %d requests, want %d and %d", tt.auth, status, got, tt.caller, tt.upstream)
		}
	}
}

func TestTheEdgeDoesNotListenWhenForwardAuthIsGone(t *testing.T) {
	g := &gatekeeper{status: 200}
	e, door := newTestEdge(t, g)
	e.auth = "http://127.0.0.1:1/enforce/forward-auth"
	status, err := steal(t.Context(), http.DefaultClient, door, "a key", "somebody", "curl/8", world.Route{Method: "GET", Host: "a.example"}, "/x")
	if err != nil || status != http.StatusInternalServerError || e.upstream.reached("somebody") != 0 {
		t.Errorf("status %d, %v", status, err)
	}
}

func TestACallerCannotTellTheEdgeWhereItComesFrom(t *testing.T) {
	g := &gatekeeper{status: 200}
	_, door := newTestEdge(t, g)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, door+"/payments?a=b", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "payments.example"
	for _, h := range []string{"X-Forwarded-For", "X-Original-Method", "X-Original-URI", "X-Forwarded-Host", "Muster-Point-Authorization"} {
		req.Header.Set(h, "203.0.113.66")
	}
	if _, err := send(http.DefaultClient, req); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, h := range []string{"X-Forwarded-For", "X-Original-Method", "X-Original-Uri", "X-Forwarded-Host", "Muster-Point-Authorization"} {
		got[h] = strings.Join(g.asked[0].Values(h), "; ")
	}
	want := map[string]string{
		"X-Forwarded-For": "198.51.100.7", "X-Original-Method": "POST", "X-Original-Uri": "/payments?a=b", "X-Forwarded-Host": "payments.example",
		"Muster-Point-Authorization": "Bearer the point's key",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("forward-auth was asked (-want +got):\n%s", diff)
	}
}

func TestTheUpstreamNeverSeesASecret(t *testing.T) {
	g := &gatekeeper{status: 200}
	e, door := newTestEdge(t, g)
	seen := http.Header{}
	e.upstream.server.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Clone() })
	if _, err := steal(t.Context(), http.DefaultClient, door, "a key", "somebody", "curl/8", world.Route{Method: "GET", Host: "a.example"}, "/x"); err != nil {
		t.Fatal(err)
	}
	if seen.Get("Authorization") != "" || seen.Get(actorHeader) != "somebody" {
		t.Errorf("the upstream was sent %v", seen)
	}
}

func TestAPortInUseIsLeftAlone(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	taken := strings.TrimPrefix(srv.URL, "http://")
	if got := freeOr(context.Background(), taken); got != "127.0.0.1:0" {
		t.Errorf("freeOr(%s) = %s, want any port", taken, got)
	}
}

func TestAHinderedWorkloadOrALuckyThiefIsAFailure(t *testing.T) {
	for _, r := range []Report{{ThiefSucceeded: 1}, {WorkloadDenied: 1}, {WorkloadDeniedAfter: 1}, {Problems: []string{"x"}}} {
		if !r.Hindered() {
			t.Errorf("%+v is a good story", r)
		}
	}
	if r := (Report{MimicSucceeded: 4, MimicRequests: 8}); r.Hindered() {
		t.Error("a mimic cannot be told apart by behaviour; it is reported apart")
	}
}
