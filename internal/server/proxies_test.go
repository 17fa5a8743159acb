package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/enforce/proxy"
	"github.com/muster-id/muster/internal/jose"
)

// through asks an application through a proxy of the server.
func (r *running) through(point, authorization, method, path, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.Proxies()[point]+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host, req.Close = "api.example.com", true
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// application tells what it was told, and switches to an echo when asked to.
func application(t *testing.T) (url string, served *atomic.Int64) {
	t.Helper()
	served = &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		if r.Header.Get("Upgrade") != "" {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			if conn, rw, err := http.NewResponseController(w).Hijack(); err == nil {
				_, _ = io.Copy(conn, rw)
				_ = conn.Close()
			}
			return
		}
		fmt.Fprint(w, r.Header.Get("Muster-Decision"))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, served
}

func TestAProxyOfTheServerDecidesAndIsCutWithItsCallers(t *testing.T) {
	url, served := application(t)
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.Proxies = []proxy.Settings{{Point: "gate", Listen: "127.0.0.1:0", Upstream: proxy.Upstream{URLs: []string{url}}}}
	})
	_, key := r.furnish()
	if status, _ := r.through("gate", "Bearer "+key.Key, "GET", "/payments/1", ""); status != 403 || !strings.Contains(r.line("proxies").Cure, "muster point enroll gate") {
		t.Errorf("before the point is enrolled: %d, %+v", status, r.line("proxies"))
	}
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "gate", Dialect: "proxy"}, nil)
	if status, _ := r.through("gate", "", "GET", "/elsewhere", ""); status != 200 {
		t.Errorf("a new point observes: %d", status)
	}
	enforce, assert := "enforce", true
	r.send(http.MethodPatch, "/v1/points/gate", client.SetPoint{Mode: &enforce}, nil)
	before := served.Load()
	for _, tt := range []struct {
		name, authorization, method, path string
		want                              int
	}{
		{"the rightful key", "Bearer " + key.Key, "GET", "/payments/1", 200},
		{"no route", "Bearer " + key.Key, "GET", "/elsewhere", 403},
		{"no credential", "", "GET", "/payments/1", 401},
	} {
		if got, body := r.through("gate", tt.authorization, tt.method, tt.path, ""); got != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.name, got, body, tt.want)
		}
	}
	if got := served.Load() - before; got != 1 {
		t.Errorf("%d requests reached the application, want 1", got)
	}
	r.send(http.MethodPatch, "/v1/points/gate", client.SetPoint{Assert: &assert}, nil)
	r.asserted(key.Key)
	r.cut(key.Key)
}

// asserted checks the assertion that the application gets, with the published
// keys and nothing else.
func (r *running) asserted(key string) {
	r.t.Helper()
	_, token := r.through("gate", "Bearer "+key, "POST", "/payments/1?a=b", "hello")
	res, err := http.Get(r.URL() + "/enforce/jwks")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	keys, err := jose.ParseJWKS(text)
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := jose.Verify(token, keys, jose.Options{Algs: []string{jose.ES256}, Types: []string{"muster-decision+jwt"}, Issuer: r.URL(), Audience: "gate", MaxLife: 30 * time.Second})
	if err != nil {
		r.t.Fatalf("the assertion %s: %v", token, err)
	}
	for name, want := range map[string]string{
		"method": "POST", "host": "api.example.com", "path": "/payments/1", "body": "digest", "digest": "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:",
	} {
		if is, _ := got.Text(name); is != want {
			r.t.Errorf("%s is %q, want %q", name, is, want)
		}
	}
	if _, err := jose.Verify(token, r.issuing, jose.Options{Algs: []string{jose.ES256}, Types: []string{"muster-decision+jwt"}, Issuer: r.URL(), Audience: "gate"}); err == nil {
		r.t.Error("the keys of access tokens sign assertions")
	}
}

// A websocket is one through the proxy gate.
type websocket struct {
	r    *running
	conn net.Conn
	in   *bufio.Reader
}

// upgraded opens a websocket on a connection.
func (r *running) upgraded(conn net.Conn, authorization string) *websocket {
	r.t.Helper()
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(90 * time.Second))
	if authorization != "" {
		authorization = "Authorization: " + authorization + "\r\n"
	}
	fmt.Fprintf(conn, "GET /payments/1 HTTP/1.1\r\nHost: api.example.com\r\n%sConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", authorization)
	s := &websocket{r, conn, bufio.NewReader(conn)}
	if res, err := http.ReadResponse(s.in, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatal(res, err)
	}
	s.echoes()
	return s
}

func (s *websocket) echoes() {
	s.r.t.Helper()
	fmt.Fprintln(s.conn, "hello")
	if line, err := s.in.ReadString('\n'); line != "hello\n" {
		s.r.t.Fatal(line, err)
	}
}

// ends waits until the proxy has ended it.
func (s *websocket) ends(after string) {
	s.r.t.Helper()
	if _, err := io.Copy(io.Discard, s.in); err != nil && strings.Contains(err.Error(), "i/o timeout") {
		s.r.t.Errorf("a websocket goes on after %s", after)
	}
}

// cut opens a websocket with a key, lets the key leak, and waits for the end.
func (r *running) cut(key string) {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Proxies()["gate"])
	if err != nil {
		r.t.Fatal(err)
	}
	s := r.upgraded(conn, "Bearer "+key)
	r.post(r.source("chat", "text"), "found this: "+key)
	s.ends("its key was contained")
	if got, _ := r.through("gate", "Bearer "+key, "GET", "/payments/1", ""); got == 200 {
		r.t.Error("a key that leaked passes after its containment was acknowledged")
	}
}

func TestAReloadChangesProxiesWithoutGivingUpTheirAddress(t *testing.T) {
	one, first := application(t)
	two, second := application(t)
	text := "proxies: [{point: gate, listen: '127.0.0.1:0', upstream: {urls: [%q]}}]\n"
	r, change := configurable(t, fmt.Sprintf(text, one))
	r.furnish()
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "gate", Dialect: "proxy"}, nil)
	address := r.Proxies()["gate"]
	r.through("gate", "", "GET", "/payments/1", "")
	change(fmt.Sprintf(text, two))
	r.through("gate", "", "GET", "/payments/1", "")
	if first.Load() != 1 || second.Load() != 1 || r.Proxies()["gate"] != address {
		t.Errorf("%d and %d requests; the proxy listens on %s, before on %s", first.Load(), second.Load(), r.Proxies()["gate"], address)
	}
	change("proxies: [{point: gate, listen: '127.0.0.1:0', upstream: {urls: ['ftp://x']}}]\n")
	if r.reloader.Status().OK {
		t.Error("a mistake is in force")
	}
	if status, _ := r.through("gate", "", "GET", "/payments/1", ""); status != 200 {
		t.Errorf("after a mistake: %d", status)
	}
	change("guards: {risk_deny: 70}\n")
	if conn, err := net.DialTimeout("tcp", address, time.Minute); err == nil {
		_ = conn.Close()
		t.Error("a proxy that is gone from the configuration still listens")
	}
	change(fmt.Sprintf(text, one))
	if status, _ := r.through("gate", "", "GET", "/payments/1", ""); status != 200 || first.Load() != 2 {
		t.Errorf("a new proxy: %d", status)
	}
}
