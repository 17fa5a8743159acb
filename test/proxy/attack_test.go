package proxy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// request is what a client sends: a line, and headers after Host.
func request(line string, headers ...string) string {
	return line + " HTTP/1.1\r\nHost: payments.example\r\n" + strings.Join(headers, "\r\n") + tail(headers)
}

func tail(headers []string) string {
	if len(headers) == 0 {
		return "Connection: close\r\n\r\n"
	}
	return "\r\nConnection: close\r\n\r\n"
}

// TestWhatPassesIsWhatWasJudged sends rightful requests through each proxy: the
// application sees them as they were sent, knows who calls, and sees no secret.
func TestWhatPassesIsWhatWasJudged(t *testing.T) {
	m, a := newMuster(t), newApp(t)
	good := "Authorization: Bearer " + m.key
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			s := p.put(t, site{muster: m.address, app: a.address, key: m.point(t, p.name)})
			for _, tt := range []struct{ name, request, uri, body string }{
				{"a read", request("GET /payments/17?x=%2F..//&y", good), "/payments/17?x=%2F..//&y", "app got 0 bytes"},
				{"a write with a body", request("POST /payments/17", good, "Content-Length: 5") + "hello", "/payments/17", "app got 5 bytes"},
				{"an escape that is unambiguous", request("GET /payments/a%20b", good), "/payments/a%20b", "app got 0 bytes"},
				{"its own Muster-Identity", request("GET /payments/17", good, "Muster-Identity: admin", "muster-identity: root", "Muster-Decision: mine"), "/payments/17", "app got 0 bytes"},
				{"a spoofed way here", request("GET /payments/17", good, "X-Forwarded-Uri: /admin", "X-Forwarded-Method: DELETE", "X-Original-URI: /admin",
					"X-Original-Method: DELETE", "X-Forwarded-Proto: gopher", "X-Forwarded-Host: evil.example", "Muster-Point-Authorization: Bearer x"), "/payments/17", "app got 0 bytes"},
			} {
				got := send(t, s.address, tt.request)
				seen := a.take()
				if got.status != http.StatusOK || got.body != tt.body || len(seen) != 1 {
					t.Fatalf("%s: %d %q, %d requests reached the application", tt.name, got.status, got.body, len(seen))
				}
				r := seen[0]
				if id := r.Header["Muster-Identity"]; !slices.Equal(id, []string{m.identity}) {
					t.Errorf("%s: the application is told that %q calls, want %s alone", tt.name, id, m.identity)
				}
				if d := r.Header["Muster-Decision"]; len(d) != 1 || len(d[0]) < 8 || d[0] == "mine" {
					t.Errorf("%s: the application is told of decision %q", tt.name, d)
				}
				if r.RequestURI != tt.uri || r.Host != "payments.example" {
					t.Errorf("%s: the application got %s at %s, want %s as it was judged", tt.name, r.RequestURI, r.Host, tt.uri)
				}
				for name, values := range r.Header {
					if strings.Contains(strings.Join(values, " "), m.key) || strings.Contains(strings.Join(values, " "), s.key) {
						t.Errorf("%s: the application is shown a secret in %s", tt.name, name)
					}
				}
			}
		})
	}
}

// TestNoAttackReachesTheApplication sends what thieves send. The status may
// differ between proxies, some refuse a request themselves; nothing may get
// through.
func TestNoAttackReachesTheApplication(t *testing.T) {
	m, a := newMuster(t), newApp(t)
	good := "Authorization: Bearer " + m.key
	attacks := []struct {
		name, request string
		status        int // 0: the proxy may refuse it in its own way
	}{
		{"no credential", request("GET /payments/17"), 401},
		{"an unknown key", request("GET /payments/17", "Authorization: Bearer muster_key_aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb_cccccc"), 401},
		{"the key in the query", request("GET /payments/17?access_token=" + m.key), 401},
		{"a spoofed identity without a credential", request("GET /payments/17", "Muster-Identity: "+m.identity, "Muster-Decision: 1"), 401},
		{"the caller's key as the point's", request("GET /payments/17", "Muster-Point-Authorization: Bearer "+m.key), 401},
		{"two credentials", request("GET /payments/17", good, "Authorization: Bearer x"), 0},
		{"two credentials, the good one last", request("GET /payments/17", "Authorization: Bearer x", good), 0},
		{"two proofs", request("GET /payments/17", good, "DPoP: a", "DPoP: b"), 0},
		{"a method without a route", request("DELETE /payments/17", good), 403},
		{"a path without a route", request("GET /admin", good), 403},
		{"a path without a route, the right one in the headers", request("GET /admin", good, "X-Forwarded-Uri: /payments/17", "X-Original-URI: /payments/17", "X-Original-URL: /payments/17", "X-Rewrite-URL: /payments/17"), 403},
		{"a method without a route, the right one in the headers", request("DELETE /payments/17", good, "X-Forwarded-Method: GET", "X-Original-Method: GET"), 403},
		{"another method asked for behind our back", request("GET /payments/17", good, "X-HTTP-Method-Override: DELETE"), 403},
		{"another path asked for behind our back", request("GET /payments/17", good, "X-Rewrite-URL: /admin"), 403},
		{"an empty segment", request("GET //payments/17", good), 403},
		{"an empty segment inside", request("GET /payments//17", good), 403},
		{"an encoded dot segment", request("GET /payments/%2e%2e/admin", good), 0},
		{"a dot segment", request("GET /payments/../admin", good), 0},
		{"a dot segment that comes back", request("GET /payments/x/../17", good), 0},
		{"an encoded slash", request("GET /payments%2f17", good), 403},
		{"an encoded slash in the id", request("GET /payments/17%2f..%2fadmin", good), 0},
		{"double encoding", request("GET /payments/%252e%252e", good), 403},
		{"a backslash", request(`GET /payments\17`, good), 0},
		{"a parameter", request("GET /payments/17;x=1", good), 403},
		{"another case", request("GET /Payments/17", good), 403},
		{"a NUL", request("GET /payments/17%00", good), 0},
		{"a broken escape", request("GET /payments/%zz", good), 0},
		{"another host", strings.Replace(request("GET /payments/17", good), "payments.example", "other.example", 1), 0},
		{"two hosts", request("GET /payments/17", "Host: other.example", good), 0},
		{"a host list", strings.Replace(request("GET /payments/17", good), "payments.example", "payments.example, other.example", 1), 0},
		{"no host", "GET /payments/17 HTTP/1.1\r\n" + good + "\r\nConnection: close\r\n\r\n", 0},
		{"a URL of another host", request("GET http://other.example/payments/17", good), 0},
		{"a length and chunks", request("POST /payments/17", "Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\nGET /payments/17 HTTP/1.1\r\nHost: payments.example\r\n\r\n", 0},
		{"a folded credential", request("GET /payments/17", "Authorization: Bearer x,", " Bearer "+m.key), 0},
		{"a space before the colon", request("GET /payments/17", strings.Replace(good, ":", " :", 1)), 0},
		{"the door of Muster through the proxy", request("GET /enforce/forward-auth", good), 403},
		{"nginx's own way to Muster", request("GET /_muster", good), 0},
		{"an overlong path", request("GET /payments/"+strings.Repeat("a", 9000), good), 0},
	}
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			s := p.put(t, site{muster: m.address, app: a.address, key: m.point(t, p.name)})
			for _, tt := range attacks {
				got := send(t, s.address, tt.request)
				seen := a.take()
				if len(seen) != 0 {
					t.Errorf("%s: %s %s reached the application (answer %d)", tt.name, seen[0].Method, seen[0].RequestURI, got.status)
				}
				if tt.status != 0 && got.status != tt.status {
					t.Errorf("%s: %d %.200q, want %d", tt.name, got.status, got.body, tt.status)
				}
				if got.status == 401 && tt.status == 401 && !strings.HasPrefix(got.header.Get("Www-Authenticate"), `DPoP algs="ES256"`) {
					t.Errorf("%s: the client is told %q", tt.name, got.header.Get("Www-Authenticate"))
				}
				if tt.status != 0 && got.header.Get("Muster-Decision") == "" {
					t.Errorf("%s: the client cannot name the decision", tt.name)
				}
			}
			// To what runs as CGI does, an underscore is a hyphen. The proxy may refuse these or
			// drop them.
			for _, header := range []string{"Muster_Identity: root", "Muster_Decision: mine", "Muster.Identity: root", "X_HTTP_Method_Override: DELETE", "X_Rewrite_URL: /admin"} {
				send(t, s.address, request("GET /payments/17", good, header))
				for _, r := range a.take() {
					for name := range r.Header {
						if strings.ContainsAny(name, "_.") {
							t.Errorf("%s reached the application", header)
						}
					}
				}
			}
			// Inside of another protocol the application would take requests that nobody judges.
			for _, upgrade := range []string{"Upgrade: h2c", "Upgrade: h2c, websocket", "Upgrade: websocket, h2c", "Upgrade: h2c\r\nUpgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c"} {
				send(t, s.address, "GET /payments/17 HTTP/1.1\r\nHost: payments.example\r\n"+good+"\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"+upgrade+"\r\n\r\n")
				for _, r := range a.take() {
					if got := r.Header["Upgrade"]; len(got) > 0 && !slices.Equal(got, []string{"websocket"}) {
						t.Errorf("%q: the application is asked to change to %q", upgrade, got)
					}
				}
			}
			if p.name != "nginx" { // which passes no upgrade on, unless it is told to
				send(t, s.address, "GET /payments/17 HTTP/1.1\r\nHost: payments.example\r\n"+good+"\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
				if seen := a.take(); len(seen) != 1 || !strings.EqualFold(seen[0].Header.Get("Upgrade"), "websocket") {
					t.Errorf("a websocket does not reach the application: %d requests", len(seen))
				}
			}
			send(t, s.address, "GET /payments/17 HTTP/1.1\r\nHost: payments.example\r\n"+good+"\r\nMuster-Identity: root\r\nConnection: close, Muster-Identity, Muster-Decision\r\n\r\n")
			for _, r := range a.take() {
				if !slices.Equal(r.Header["Muster-Identity"], []string{m.identity}) || len(r.Header["Muster-Decision"]) != 1 {
					t.Errorf("a client has what the application is told taken off: %q %q", r.Header["Muster-Identity"], r.Header["Muster-Decision"])
				}
			}
			if got := send(t, s.address, request("GET /payments/17", good)); got.status != 200 || len(a.take()) != 1 || got.header.Get("Muster-Decision") != "" {
				t.Errorf("after all that the rightful request gets %d", got.status)
			}
		})
	}
}
