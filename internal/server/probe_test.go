package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/jose"
)

// What a probe is given is by the very key that applications trust, so it must be
// of no use to a thief: over, for nobody, and on record.
func TestAnAssertionForAProbeHoldsAtNoTime(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	r.furnish()
	before := time.Now()
	got, err := r.api.ProbePoint(t.Context(), "edge", client.ProbePoint{Host: "Shop.example:8443", Target: "/payments/1?a=b"})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(r.URL() + "/enforce/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := jose.ParseJWKS(text)
	if err != nil {
		t.Fatal(err)
	}
	trust := jose.Options{Algs: []string{jose.ES256}, Types: []string{"muster-decision+jwt"}, Issuer: r.URL(), Audience: "edge", Leeway: 24 * time.Hour}
	claims, err := jose.Verify(got.Assertion, keys, trust)
	if err != nil {
		t.Fatalf("it does not pass where nobody looks at the time: %v", err)
	}
	if !claims.Expires.Before(claims.IssuedAt) || !claims.Expires.Before(before) {
		t.Errorf("it holds from %v to %v", claims.IssuedAt, claims.Expires)
	}
	for at := before.Add(-4 * time.Hour); at.Before(before.Add(time.Hour)); at = at.Add(10 * time.Minute) {
		trust.Now, trust.Leeway = at, time.Minute
		if _, err := jose.Verify(got.Assertion, keys, trust); err == nil && !claims.IssuedAt.After(at) {
			t.Errorf("it holds at %v", at)
		}
	}
	for name, want := range map[string]string{"sub": "none", "method": "GET", "host": "shop.example:8443", "path": "/payments/1", "body": "none", "decision": "probe"} {
		if is, _ := claims.Text(name); is != want && claims.Subject != want {
			t.Errorf("%s is %q, want %q", name, is, want)
		}
	}
	_, told := r.raw(http.MethodGet, "/v1/audit?limit=50", "")
	if !strings.Contains(told, `"point.probe"`) || strings.Contains(told, got.Assertion) {
		t.Errorf("the audit log says %s", told)
	}
	if _, err := r.api.ProbePoint(t.Context(), "nobody", client.ProbePoint{Host: "a", Target: "/"}); err == nil {
		t.Error("a point that is not there signs")
	}
	for _, bad := range []client.ProbePoint{{Host: "", Target: "/"}, {Host: "a", Target: "b"}, {Host: "a\r\nb", Target: "/"}, {Host: "a", Target: "/" + strings.Repeat("a", 3000)}} {
		if _, err := r.api.ProbePoint(t.Context(), "edge", bad); err == nil {
			t.Errorf("%.40q is signed", bad)
		}
	}
}
