package server

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/enforce/proxy"
	"github.com/muster-id/muster/internal/nhi"
	storeissuer "github.com/muster-id/muster/internal/store/issuer"
)

// direct lets the platform's tokens be used at points, with this audience.
func (p *platform) direct(identity, audience, more string) string {
	return fmt.Sprintf("- {name: settler, issuer: %q, jwks_uri: %q, audience: %q, use: [points], claims: {sub: \"system:serviceaccount:pay:settler\"}, identity: %s%s}\n",
		p.issuer, p.issuer+"/keys", audience, identity, more)
}

// badge is a token of the platform that was made for somebody.
func (p *platform) badge(t *testing.T, audience string) string {
	t.Helper()
	token, err := p.signer.Sign(map[string]any{
		"iss": p.issuer, "sub": "system:serviceaccount:pay:settler", "aud": audience, "jti": "badge-1", "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokensOfTrustedIssuersAreAcceptedAtEveryPointUntilTheirRuleIsGone(t *testing.T) {
	upstream, _ := application(t)
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.ExtAuthzListen = "127.0.0.1:0"
		c.Proxies = []proxy.Settings{{Point: "gate", Listen: "127.0.0.1:0", Upstream: proxy.Upstream{URLs: []string{upstream}}}}
	})
	point, key := r.outfit()
	enforce := "enforce"
	var mesh, gate client.Enrolled
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "mesh", Dialect: "envoy"}, &mesh)
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "gate", Dialect: "proxy"}, &gate)
	for _, name := range []string{"mesh", "gate"} {
		r.send(http.MethodPatch, "/v1/points/"+name, client.SetPoint{Mode: &enforce}, nil)
	}
	p := newPlatform(t)
	token, elsewhere := "Bearer "+p.badge(t, r.URL()), "Bearer "+p.badge(t, "https://other.example")
	e := pointAt(t, r.URL(), "edge", point, t.TempDir())
	e.leased(point, key.Key)
	asks := map[string]func(token string) int{
		"forward-auth": func(token string) int { return r.ask(point, token, "GET", "/payments/1", "203.0.113.7") },
		"ext_authz":    func(token string) int { return r.check(mesh.Key, token, "GET", "/payments/1") },
		"proxy": func(token string) int {
			status, _ := r.through("gate", token, "GET", "/payments/1", "")
			return status
		},
		"away": func(token string) int {
			status, _ := e.ask(point, token[len("Bearer "):], "/payments/1")
			return status
		},
	}
	everywhere := func(what, token string, want int) {
		t.Helper()
		for name, ask := range asks {
			if got := ask(token); got != want {
				t.Errorf("%s: %s at %s: %d, want %d", what, token[:12], name, got, want)
			}
		}
	}
	everywhere("before anybody trusts the issuer", token, http.StatusUnauthorized)
	r.put("trust.yaml", p.trust(key.Identity))
	everywhere("where the issuer is for exchanges", token, http.StatusUnauthorized)
	r.put("trust.yaml", p.direct(key.Identity, r.URL(), ""))
	for name, ask := range asks {
		eventually(t, "the issuer's keys at "+name, func() bool { return ask(token) == http.StatusOK })
	}
	everywhere("a token for another service", elsewhere, http.StatusUnauthorized)
	if status, body := p.exchange(t, r, token[len("Bearer "):]); status == http.StatusOK {
		t.Errorf("a rule for points lets a token be exchanged: %s", body)
	}
	r.recorded("oidc", nhi.AssuranceShort, false)

	streams := func() *websocket {
		conn, err := net.Dial("tcp", r.Proxies()["gate"])
		if err != nil {
			t.Fatal(err)
		}
		return r.upgraded(conn, token)
	}
	t.Run("a rule that is gone bites at once", func(t *testing.T) {
		running := streams()
		r.put("trust.yaml", p.direct(key.Identity, r.URL(), "")+"# and a word\n")
		r.put("trust.yaml", p.direct(key.Identity, r.URL(), "")+"# and another\n") // what the first did, it has done when this is in force
		running.echoes()
		r.put("trust.yaml", "")
		running.ends("its rule was acknowledged to be gone")
		everywhere("after its rule was acknowledged to be gone", token, http.StatusUnauthorized)
		r.put("trust.yaml", p.direct(key.Identity, r.URL(), ""))
		for name, ask := range asks {
			eventually(t, "the rule again at "+name, func() bool { return ask(token) == http.StatusOK })
		}
	})
	t.Run("what was issued before a revocation", func(t *testing.T) {
		running := streams()
		r.cutOffNow(nhi.ID(key.Identity))
		running.ends("what was issued before was revoked")
		everywhere("after the revocation was acknowledged", token, http.StatusForbidden)
	})
}

// cutOffNow revokes everything that was issued for an identity until now, and
// returns when that is acknowledged.
func (r *running) cutOffNow(who nhi.ID) {
	r.t.Helper()
	now := time.Now()
	if err := storeissuer.New(r.db).Revoke(r.t.Context(), nhi.Revocation{Identity: who, At: now, Expires: now.Add(nhi.LongestLife), Reason: "test"}); err != nil {
		r.t.Fatal(err)
	}
	r.edge.Settle(r.t.Context())
}

// recorded checks what the record says of callers that proved themselves by a
// method.
func (r *running) recorded(method string, assurance nhi.Assurance, bound bool) {
	r.t.Helper()
	n := 0
	for _, d := range r.log.Recent(logbook.Filter{}, 1<<20) {
		if d.Method != method {
			continue
		}
		if n++; d.Assurance != assurance || d.SenderBound != bound || d.KeyID == "" {
			r.t.Errorf("on record: %+v", d)
		}
	}
	if n == 0 {
		r.t.Errorf("no decision is on record whose caller proved itself by %s", method)
	}
}
