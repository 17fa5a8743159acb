package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
)

func TestWhatHappensIsCountedAndWhoWasRefusedIsListed(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	point, key := r.furnish()
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Fatalf("the rightful key gets %d", got)
	}
	r.ask(point, "Bearer nonsense", "GET", "/payments/1", "203.0.113.8")
	r.ask(point, "", "GET", "/nowhere", "203.0.113.8")
	thief := "nobody-knows-this-secret"
	if err := r.as(thief).Get(t.Context(), "/v1/overview", nil, nil); err == nil {
		t.Fatal("a made-up token was let in")
	}
	count := func() map[string]uint64 {
		var u client.Usage
		r.get("/v1/usage?by=outcome,service,jurisdiction&bucket=day", &u)
		out := map[string]uint64{}
		for _, row := range u.Rows {
			out[row.Outcome] += row.Count
			if row.Outcome == "allow" && (row.Service != "payments/api" || row.Jurisdiction != "GDPR" || row.Basis != "region") {
				t.Errorf("counted as %+v", row)
			}
		}
		return out
	}
	list := func(filter string) []client.Refusal {
		var page client.Page[client.Refusal]
		r.get("/v1/refusals?filter="+filter, &page)
		for _, f := range page.Items {
			if strings.Contains(f.Claimed+f.Operation+f.Reason, thief) || strings.Contains(f.Claimed, "nonsense") {
				t.Errorf("a secret is listed: %+v", f)
			}
		}
		return page.Items
	}
	r.until("the counts", func() bool { c := count(); return c["allow"] == 1 && c["deny"] == 2 })
	r.until("the refusals", func() bool { return len(list("kind:failed_authentication")) == 3 })
	if got := list("kind:failed_authentication%20address:203.0.113.8"); len(got) != 2 {
		t.Errorf("from the address %d are listed, want 2", len(got))
	}
	r.halt()
	r = start(t, data)
	r.until("learning", func() bool { return r.learner.Err() == nil })
	if c := count(); c["allow"] != 1 || c["deny"] != 2 || len(list("")) != 3 {
		t.Errorf("after a restart %v", c)
	}
}

// TestEveryFailedProofIsListed knocks at each door with what proves nothing: a
// made-up operator's token, a link, an answer of single sign-on that nobody
// asked for, a token of nobody's at the issuer, and a point's key that is none.
// Nothing that was presented is kept.
func TestEveryFailedProofIsListed(t *testing.T) {
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.Access.SSO.Issuer, c.Access.SSO.ClientID = "https://login.example.com", "muster"
	})
	const secret = "planted-secret-that-nobody-may-keep"
	send := func(method, path, authorization string, form url.Values) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	exchange := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"subject_token": {"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiIifQ." + secret},
	}
	for _, door := range []struct {
		operation, reason string
		knock             func() int
		want              int
	}{
		{"GET /v1/overview", "not authenticated", func() int { return send("GET", "/v1/overview", "Bearer "+secret, nil) }, 401},
		{"GET /signin", "no such sign-in link, or one that was used", func() int { return send("GET", "/signin?link="+secret, "", nil) }, 403},
		{"GET /signin/callback", "the single sign-on's answer does not hold", func() int { return send("GET", "/signin/callback?state=x&code="+secret, "", nil) }, 403},
		{"POST /oauth2/token", "the issuer refused: invalid_request", func() int { return send("POST", "/oauth2/token", "", exchange) }, 400},
		{"POST /oauth2/introspect", "the issuer refused: invalid_client", func() int {
			return send("POST", "/oauth2/introspect", "Bearer "+secret, url.Values{"token": {secret}})
		}, 401},
	} {
		if got := door.knock(); got != door.want {
			t.Errorf("%s answers %d, want %d", door.operation, got, door.want)
		}
		r.until(door.operation, func() bool {
			var page client.Page[client.Refusal]
			r.get("/v1/refusals?filter="+url.QueryEscape(`kind:failed_authentication operation:"`+door.operation+`"`), &page)
			for _, f := range page.Items {
				if text := fmt.Sprint(f); strings.Contains(text, secret) {
					t.Fatalf("what was presented is kept: %s", text)
				}
				if f.Reason != door.reason || f.Address != "127.0.0.1" || f.Count != 1 {
					t.Errorf("listed as %+v, want the reason %q", f, door.reason)
				}
			}
			return len(page.Items) == 1
		})
	}
}
