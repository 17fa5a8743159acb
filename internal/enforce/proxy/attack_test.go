package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

func TestSpoofedHeadersDoNotReachTheApplication(t *testing.T) {
	app := &witness{}
	s := put(t, app, func(s *script) { s.settings.DropHeaders = []string{"x-tenant"} })
	s.decider.Answer.WouldRefuse = true // an observing point lets pass even what is refused for its headers
	spoofed := []string{
		"Muster-Identity", "Muster-Decision", "Muster-Attestation", "Muster-Anything", "X-Muster-Identity", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
		"X-Forwarded-User", "X-Forwarded-Client-Cert", "X-Forwarded-Prefix", "Forwarded", "X-Real-IP", "Remote-User", "X-Remote-User", "X-Auth-Request-Email",
		"Ssl-Client-Verify", "X-Client-Cert", "Proxy", "X-Original-URL", "X-Rewrite-Url", "X-HTTP-Method-Override", "X-Tenant",
		"Impersonate-User", "Impersonate-Group", "Impersonate-Extra-Scopes", "X-Consumer-Username", "Cf-Access-Authenticated-User-Email", "X-Pomerium-Claim-Email",
		"Tailscale-User-Login", "X-Amzn-Oidc-Data", "X-Userinfo", "X-Envoy-Internal", "X-Forwarded", "X-Client-Verify", "X-Authenticated-User",
		"X-Auth-User", "X-Authentik-Username", "X-Vouch-User", "OIDC-Claim-Sub", "X-MS-Token-AAD-Id-Token", "Shib-Session-ID", "iv-user", "SM-User", "OAM-Remote-User",
		"WL-Proxy-Client-Cert", "X-Middleware-Subrequest", "X-Sendfile-Type", "X-Accel-Mapping", "X-Apigateway-Api-Userinfo", "X-Original-Scheme",
		"Muster.Identity", "Muster~Identity", "X.Forwarded.For", "!Muster-Identity", // what makes variables of headers makes an underscore of a dot, too
		"muster_identity", "x_forwarded_for", "remote_user", "x_tenant", "any_thing",
	}
	var text strings.Builder
	text.WriteString("GET /payments/17 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\nX-Fine: 1\r\n")
	for _, name := range spoofed {
		fmt.Fprintf(&text, "%s: spoofed\r\n", name)
	}
	if got := s.raw(text.String() + "\r\n"); len(got) != 1 || got[0] != 200 {
		t.Fatal(got)
	}
	seen := app.last(t).Header
	for name, values := range seen {
		if strings.Contains(strings.Join(values, " "), "spoofed") {
			t.Errorf("%s came through: %q", name, values)
		}
	}
	if seen.Get("X-Fine") != "1" || seen.Get("X-Forwarded-For") != "127.0.0.1" || len(seen["X-Forwarded-For"]) != 1 || len(seen["Muster-Identity"]) != 1 {
		t.Errorf("the application got %v", seen)
	}
}

// A client names, in Connection, what a proxy writes: proxies that remove it
// last send none.
func TestConnectionDoesNotRemoveWhatTheProxyWrites(t *testing.T) {
	app := &witness{}
	s := put(t, app, nil)
	if got := s.raw("GET /payments/17 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\nConnection: Muster-Identity, Muster-Decision, X-Forwarded-For, X-Hop\r\nX-Hop: 1\r\n\r\n"); len(got) != 1 || got[0] != 200 {
		t.Fatal(got)
	}
	seen := app.last(t).Header
	if seen.Get("Muster-Identity") == "" || seen.Get("Muster-Decision") == "" || seen.Get("X-Forwarded-For") == "" || seen.Get("X-Hop") != "" {
		t.Errorf("the application got %v", seen)
	}
}

// What two programs could read in two ways reaches nobody, also at a point that
// lets everything pass.
func TestUnclearRequestsReachNobody(t *testing.T) {
	const head = "Host: shop.example\r\nAuthorization: Bearer good\r\n"
	for name, text := range map[string]string{
		"two hosts":                        "GET /payments/17 HTTP/1.1\r\nHost: shop.example\r\nHost: other.example\r\nAuthorization: Bearer good\r\n\r\n",
		"no host":                          "GET /payments/17 HTTP/1.0\r\nAuthorization: Bearer good\r\n\r\n",
		"an absolute target":               "GET http://other.example/payments/17 HTTP/1.1\r\n" + head + "\r\n",
		"the asterisk":                     "OPTIONS * HTTP/1.1\r\n" + head + "\r\n",
		"a tunnel":                         "CONNECT shop.example:443 HTTP/1.1\r\n" + head + "\r\n",
		"a trace, which echoes headers":    "TRACE /payments/17 HTTP/1.1\r\n" + head + "\r\n",
		"a path that would be rewritten":   "GET /payments/\"17\" HTTP/1.1\r\n" + head + "\r\n",
		"two lengths":                      "POST /payments/17 HTTP/1.1\r\n" + head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a length with a sign":             "POST /payments/17 HTTP/1.1\r\n" + head + "Content-Length: +1\r\n\r\na",
		"two encodings":                    "POST /payments/17 HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"an encoding that hides":           "POST /payments/17 HTTP/1.1\r\n" + head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"a space before the colon":         "POST /payments/17 HTTP/1.1\r\n" + head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"a trailer by a name of ours":      "POST /payments/17 HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\nTrailer: Muster-Identity\r\n\r\n0\r\nMuster-Identity: nhi_x\r\n\r\n",
		"a null byte in a header":          "GET /payments/17 HTTP/1.1\r\n" + head + "X-A: a\x00b\r\n\r\n",
		"a line break in a name":           "GET /payments/17 HTTP/1.1\r\n" + head + "X\rA: b\r\n\r\n",
		"more headers than it may have":    "GET /payments/17 HTTP/1.1\r\n" + head + strings.Repeat("X-A: b\r\n", 128) + "\r\n",
		"more bytes than headers may have": "GET /payments/17 HTTP/1.1\r\n" + head + "X-A: " + strings.Repeat("b", 80<<10) + "\r\n\r\n",
	} {
		app := &witness{}
		s := put(t, app, nil)
		s.decider.Answer.WouldRefuse = true
		got := s.raw(text)
		if len(app.requests()) != 0 || len(got) == 1 && got[0] < 400 || len(got) > 1 {
			t.Errorf("%s: %v, and %d requests reached the application", name, got, len(app.requests()))
		}
	}
}

func TestTwoHostsOverHTTP2ReachNobody(t *testing.T) {
	for name, tt := range map[string]struct {
		fields []hpack.HeaderField
		want   string
	}{
		"one":                 {[]hpack.HeaderField{{Name: ":authority", Value: "shop.example"}}, "200"},
		"the same twice":      {[]hpack.HeaderField{{Name: ":authority", Value: "shop.example"}, {Name: "host", Value: "shop.example"}}, "200"},
		"another as a header": {[]hpack.HeaderField{{Name: ":authority", Value: "shop.example"}, {Name: "host", Value: "admin.example"}}, "400"},
		"two headers":         {[]hpack.HeaderField{{Name: "host", Value: "shop.example"}, {Name: "host", Value: "admin.example"}}, "400"},
	} {
		app := &witness{}
		s := put(t, app, func(s *script) { s.settings.H2C = true })
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, f := range append([]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/payments/17"}}, append(tt.fields, hpack.HeaderField{Name: "authorization", Value: "Bearer good"})...) {
			_ = encoder.WriteField(f) // into memory
		}
		frames := http2.NewFramer(conn, conn)
		frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		_, _ = io.WriteString(conn, http2.ClientPreface)
		_ = frames.WriteSettings()
		_ = frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		for got := ""; got == ""; {
			frame, err := frames.ReadFrame()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if reply, ok := frame.(*http2.MetaHeadersFrame); ok {
				if got = reply.PseudoValue("status"); got != tt.want {
					t.Errorf("%s: %s, want %s", name, got, tt.want)
				}
			}
		}
		if n := len(app.requests()); (n == 0) != (tt.want == "400") {
			t.Errorf("%s: %d requests reached the application", name, n)
		}
	}
}

func TestAmbiguousPathsAreRefusedByTheDecision(t *testing.T) {
	app := &witness{}
	s := put(t, app, nil)
	for _, path := range []string{"//payments/17", "/payments//17", "/payments/../admin", "/payments/%2e%2e/admin", "/payments%2f17", "/payments/17%00", "/payments/17;x=1", "/%70ayments/..%2fadmin", "/payments/./17", "/payments\\17"} {
		got := s.raw("GET " + path + " HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\n\r\n")
		if len(got) != 1 || got[0] != 403 && got[0] != 400 {
			t.Errorf("%s: %v", path, got)
		}
	}
	if n := len(app.requests()); n != 0 {
		t.Errorf("%d requests reached the application", n)
	}
}

// An observing point must not change what it lets pass.
func TestThePathThatIsJudgedIsThePathThatIsForwarded(t *testing.T) {
	app := &witness{}
	s := put(t, app, nil)
	s.decider.Answer.WouldRefuse = true
	for _, target := range []string{"//payments//17", "/payments/../admin", "/payments/%2e%2e/x?", "/a%2Fb%2fc?x=%zz&y=a;b", "/?", "/a?b?c#d"} {
		r := "GET " + target + " HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\n\r\n"
		got := s.raw(r)
		if len(got) == 1 && got[0] == 400 {
			continue // unclear, and nobody got it
		}
		if seen := app.last(t).RequestURI; len(got) != 1 || seen != target {
			t.Errorf("%s: %v, and the application got %s", target, got, seen)
		}
	}
}

// Request smuggling: one program goes by Content-Length and the other by
// Transfer-Encoding, so what one takes for a body the other takes for a request.
// Here nothing after a body in chunks is ever read.
func TestARequestHiddenBehindABodyInChunksIsNotServed(t *testing.T) {
	const head = "Host: shop.example\r\nAuthorization: Bearer good\r\n"
	hidden := "GET /payments/hidden HTTP/1.1\r\n" + head + "\r\n"
	for name, text := range map[string]string{
		"a length and chunks":   "POST /payments/17 HTTP/1.1\r\n" + head + "Content-Length: 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks alone":          "POST /payments/17 HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks for HTTP/1.0":   "POST /payments/17 HTTP/1.0\r\n" + head + "Connection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"a refused one as well": "POST /nowhere HTTP/1.1\r\n" + head + "Content-Length: 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
	} {
		app := &witness{}
		s := put(t, app, nil)
		got := s.raw(text)
		for _, seen := range app.requests() {
			if strings.Contains(seen.URL.Path, "hidden") || seen.Header.Get("Content-Length") != "" && len(seen.TransferEncoding) > 0 {
				t.Errorf("%s: the application got %s", name, seen.URL)
			}
		}
		if len(got) != 1 {
			t.Errorf("%s: %d replies", name, len(got))
		}
	}
}

// An informational reply of the application must not undo that the connection
// ends behind a body in chunks.
func TestAnInformationalReplyDoesNotOpenTheDoorToAHiddenRequest(t *testing.T) {
	const head = "Host: shop.example\r\nAuthorization: Bearer good\r\n"
	var mu sync.Mutex
	var paths []string
	s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, r.URL.Path)
		mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.Header().Set("Muster-Identity", "nhi_somebody")
		w.Header().Set("Alt-Svc", `h2="direct.example:443"`)
		w.WriteHeader(http.StatusEarlyHints)
	}), nil)
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "POST /payments/17 HTTP/1.1\r\n"+head+"Content-Length: 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /payments/hidden HTTP/1.1\r\n"+head+"Connection: close\r\n\r\n")
	text, _ := io.ReadAll(conn)
	mu.Lock()
	defer mu.Unlock()
	if len(paths) != 1 || !strings.Contains(string(text), "103 Early Hints") || !strings.Contains(string(text), "200 OK") {
		t.Errorf("the application got %q, the client %s", paths, text)
	}
	if strings.Contains(string(text), "nhi_somebody") || strings.Contains(string(text), "direct.example") {
		t.Errorf("the client got %s", text)
	}
}

// An application that replies before it has read a body leaves bytes on the
// connection which must not become the next request.
func TestABodyThatNobodyReadIsNotTheNextRequest(t *testing.T) {
	const head = "Host: shop.example\r\nAuthorization: Bearer good\r\n"
	hidden := "GET /payments/hidden HTTP/1.1\r\n" + head + "Connection: close\r\n\r\n"
	app := &witness{}
	s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			app.ServeHTTP(w, r)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
		_ = conn.Close()
	}), func(s *script) { s.settings.Timeouts.Body = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "POST /payments/17 HTTP/1.1\r\n"+head+"Content-Length: 100000\r\n\r\nx")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	until(t, "the request to end", func() bool { return s.handler.Running() == 0 })
	for range 20 { // while the server still waits for the body, and when it has given up
		if _, err := io.WriteString(conn, hidden); err != nil {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	ended(t, conn)
	if n := len(app.requests()); n != 0 {
		t.Errorf("%d hidden requests reached the application", n)
	}
}

// Inside of h2c are requests that nobody would decide about.
func TestOtherProtocolsThanWebsocketsAreNotSwitchedTo(t *testing.T) {
	for _, protocol := range []string{"h2c", "websocket, h2c", "TLS/1.0", "x"} {
		s := put(t, http.HandlerFunc(socket), nil)
		_, _, res := s.upgrade(protocol)
		if res.StatusCode != 200 {
			t.Errorf("%s: %s", protocol, res.Status)
		}
	}
	// An application that switches unasked, or to something else, is not followed.
	s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "h2c")
		w.WriteHeader(http.StatusSwitchingProtocols)
	}), nil)
	if _, _, res := s.upgrade("websocket"); res.StatusCode != 502 {
		t.Errorf("an application that switches to h2c: %s", res.Status)
	}
}

func TestTheApplicationCannotSendClientsAroundThePoint(t *testing.T) {
	s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Alt-Svc", `h2="direct.example:443"`)
		w.Header().Set("Muster-Identity", "nhi_somebody")
		w.Header().Set("X-Fine", "1")
	}), nil)
	res, _ := s.do(s.request("GET", "/payments/17", nil))
	if res.Header.Get("Alt-Svc") != "" || res.Header.Get("Muster-Identity") != "" || res.Header.Get("X-Fine") != "1" {
		t.Errorf("the client got %v", res.Header)
	}
}

func TestTheRepeatedCredentialIsRefusedWhateverTheMode(t *testing.T) {
	app := &witness{}
	s := put(t, app, nil)
	s.decider.Answer.WouldRefuse = true
	got := s.raw("GET /payments/17 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\nAuthorization: Bearer other\r\n\r\n")
	if len(got) != 1 || got[0] < 400 || len(app.requests()) != 0 {
		t.Errorf("%v, %d requests", got, len(app.requests()))
	}
}

func TestLimits(t *testing.T) {
	hold := make(chan struct{})
	entered := make(chan struct{}, 1)
	s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/payments/hold" {
			entered <- struct{}{}
			<-hold
		}
	}), func(s *script) { s.settings.Limits.Requests, s.settings.Limits.BodyBytes = 1, 10 })
	first := make(chan int, 1)
	held := s.request("GET", "/payments/hold", nil)
	go func() {
		res, err := plain.Do(held)
		if err != nil {
			first <- 0
			return
		}
		_ = res.Body.Close()
		first <- res.StatusCode
	}()
	<-entered
	if res, _ := s.do(s.request("GET", "/payments/17", nil)); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("over the limit of requests: %s", res.Status)
	}
	close(hold)
	if got := <-first; got != 200 {
		t.Errorf("the one within the limit: %d", got)
	}
	until(t, "the request to end", func() bool { return s.handler.Running() == 0 })
	if res, _ := s.do(s.request("POST", "/payments/17", strings.NewReader("0123456789"))); res.StatusCode != 200 {
		t.Errorf("a body at the limit: %s", res.Status)
	}
	for name, body := range map[string]io.Reader{"known": strings.NewReader("0123456789x"), "unknown": io.MultiReader(strings.NewReader("0123456789x"))} {
		if res, text := s.do(s.request("POST", "/payments/17", body)); res.StatusCode != 413 {
			t.Errorf("a body over the limit, of %s length: %s %s", name, res.Status, text)
		}
	}
}

func TestAnApplicationThatIsAway(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	away := "http://" + gone.Addr().String()
	app := &witness{}
	origin := httptest.NewServer(app)
	defer origin.Close()
	s := before(t, func(s *script) { s.settings.Upstream.URLs = []string{away, origin.URL} })
	for i := range 4 {
		// No connection, so not one byte was sent: the other address is asked, for
		// a method that may not be repeated, too.
		if res, _ := s.do(s.request("POST", "/payments/17", strings.NewReader("once"))); res.StatusCode != 200 {
			t.Errorf("request %d: %s", i, res.Status)
		}
	}
	if n := len(app.requests()); n != 4 {
		t.Errorf("%d requests reached the application, want 4", n)
	}
	s = before(t, func(s *script) { s.settings.Upstream.URLs = []string{away} })
	if res, body := s.do(s.request("GET", "/payments/17", nil)); res.StatusCode != 502 || strings.Contains(body, gone.Addr().String()) {
		t.Errorf("with nobody there: %s %s", res.Status, body)
	}
}

// What was sent may have been done: it is not sent again.
func TestARequestThatWasSentIsNotRepeated(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var got atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				got.Add(1)
			}
			_ = conn.Close() // and says nothing
		}
	}()
	s := before(t, func(s *script) {
		s.settings.Upstream.URLs = []string{"http://" + l.Addr().String(), "http://" + l.Addr().String()}
	})
	if res, _ := s.do(s.request("POST", "/payments/17", strings.NewReader("once"))); res.StatusCode != 502 || got.Load() != 1 {
		t.Errorf("%s, and the application got it %d times", res.Status, got.Load())
	}
}

func TestAnApplicationThatNeverAnswers(t *testing.T) {
	left := make(chan struct{})
	s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(left)
	}), func(s *script) { s.settings.Timeouts.Response = 50 * time.Millisecond })
	if res, _ := s.do(s.request("GET", "/payments/17", nil)); res.StatusCode != 504 {
		t.Error(res.Status)
	}
	<-left
}

func TestWhoSendsHeadersSlowlyIsCutOff(t *testing.T) {
	s := put(t, &witness{}, func(s *script) { s.settings.Timeouts.Header = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "GET /payments/17 HTTP/1.1\r\nHost: shop.example\r\nX-Slow: ")
	ended(t, conn)
}

// carried remembers what a fuzzed request became.
type carried struct{ got *http.Request }

func (c *carried) RoundTrip(r *http.Request) (*http.Response, error) {
	c.got = r
	return &http.Response{StatusCode: 204, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// FuzzRequest reads bytes as the server does and carries them at a point that
// lets everything pass. What leaves has the target that came, and no header
// that only the proxy may write but the proxy's own.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("GET /payments/17?a=b HTTP/1.1\r\nHost: shop.example\r\nMuster-Identity: x\r\nx_forwarded_for: y\r\nConnection: muster-identity\r\n\r\n"))
	f.Add([]byte("POST //a/%2e%2e/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n1\r\na\r\n0\r\nX-A: 1\r\nMuster-Decision: 2\r\n\r\n"))
	f.Add([]byte("GET http://b/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"))
	f.Add([]byte("OPTIONS * HTTP/1.0\r\n\r\n"))
	h, err := New(Settings{Point: "edge", Listen: "127.0.0.1:0", Upstream: Upstream{URLs: []string{"http://127.0.0.1:1"}}}, Config{
		Judge: enforce.Judge{Routes: enforce.NewRoutes(enforcetest.Shop), Verifier: &enforcetest.Verifier{}, Decider: &enforcetest.Decider{Answer: nhi.Decision{ID: "dec-1", Outcome: nhi.Allow, WouldRefuse: true}}},
		Point: func() (nhi.Point, bool) { return nhi.Point{Name: "edge", Dialect: nhi.DialectProxy}, true },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.7:1000"
		out := &carried{}
		h.reverse.Transport = out
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if out.got == nil {
			if w.Code < 400 {
				t.Fatalf("status %d, and nothing left", w.Code)
			}
			return
		}
		if got := out.got.URL.RequestURI(); got != r.RequestURI {
			t.Errorf("%q left as %q", r.RequestURI, got)
		}
		own := map[string]string{"Muster-Identity": "none", "Muster-Decision": "dec-1", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": r.Host, "X-Forwarded-Proto": "http"}
		for name, values := range out.got.Header {
			want, ok := own[name]
			if ok && (len(values) != 1 || values[0] != want) || !ok && ours(name) || enforce.Odd(name) {
				t.Errorf("%s: %q left", name, values)
			}
		}
	})
}

// A body that never comes would hold the connection of somebody who proved
// nothing for as long as it likes: a server reads what is left of a body before
// it replies.
func TestWhoSendsABodySlowlyIsCutOff(t *testing.T) {
	const head = "Host: shop.example\r\nContent-Type: application/json\r\n"
	for name, tt := range map[string]struct {
		text    string
		trickle bool
		edit    func(*script)
		want    int
	}{
		"refused, and never sent":      {"POST /payments/17 HTTP/1.1\r\n" + head + "Content-Length: 100\r\n\r\n", false, nil, 401},
		"refused, in chunks":           {"POST /payments/17 HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n", false, nil, 401},
		"unclear, and never sent":      {"TRACE /payments/17 HTTP/1.1\r\n" + head + "Content-Length: 100\r\n\r\n", false, nil, 400},
		"allowed, and never sent":      {"POST /payments/17 HTTP/1.1\r\n" + head + "Authorization: Bearer good\r\nContent-Length: 100\r\n\r\nx", false, nil, 408},
		"allowed, in chunks":           {"POST /payments/17 HTTP/1.1\r\n" + head + "Authorization: Bearer good\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", false, nil, 408},
		"byte by byte":                 {"POST /payments/17 HTTP/1.1\r\n" + head + "Authorization: Bearer good\r\nContent-Length: 100000\r\n\r\n", true, nil, 408},
		"read before anybody is asked": {"POST /payments/17 HTTP/1.1\r\n" + head + "Content-Length: 100\r\n\r\n", false, func(s *script) { s.point.Assert = true }, 408},
	} {
		t.Run(name, func(t *testing.T) {
			s := put(t, &witness{}, func(s *script) {
				s.settings.Timeouts.Body = 200 * time.Millisecond
				if tt.edit != nil {
					tt.edit(s)
				}
			})
			conn, err := net.Dial("tcp", s.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(conn, tt.text); err != nil {
				t.Fatal(err)
			}
			var sending sync.WaitGroup
			if tt.trickle {
				sending.Go(func() {
					tick := time.NewTicker(20 * time.Millisecond) // often enough for no pause to be too long
					defer tick.Stop()
					for range tick.C {
						if _, err := conn.Write([]byte("x")); err != nil {
							return
						}
					}
				})
			}
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode != tt.want {
				t.Fatalf("%v, %v; want %d", res, err, tt.want)
			}
			ended(t, conn)
			_ = conn.Close()
			sending.Wait()
			until(t, "the request to end", func() bool { return s.handler.Running() == 0 })
		})
	}
}

// Over HTTP/2 the connection is everybody's; the stream alone ends.
func TestWhoSendsABodySlowlyOverHTTP2IsCutOff(t *testing.T) {
	s := put(t, &witness{}, func(s *script) { s.settings.Timeouts.Body, s.settings.H2C = 200*time.Millisecond, true })
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: patience}
	defer client.CloseIdleConnections()
	body, hold := io.Pipe()
	defer hold.Close()
	res, err := client.Do(s.request("POST", "/payments/17", body))
	if err == nil {
		_ = res.Body.Close()
	}
	if err != nil || res.StatusCode != 408 {
		t.Errorf("%v, %v", res, err)
	}
	again, err := client.Do(s.request("GET", "/payments/17", nil))
	if err != nil || again.StatusCode != 200 {
		t.Fatalf("the next on the connection: %v, %v", again, err)
	}
	_ = again.Body.Close()
}

// served is an application that answers in this process.
type served func(r *http.Request) *http.Response

func (s served) RoundTrip(r *http.Request) (*http.Response, error) { return s(r), nil }

// A stream in both directions is quiet for as long as it likes once the
// application has answered, and a slow application is not the client's fault. The
// hours are those of a bubble.
func TestAQuietStreamIsNotASlowBody(t *testing.T) {
	for name, pauses := range map[string]struct{ application, client time.Duration }{
		"the client is quiet":          {0, time.Hour},
		"the application is slow":      {time.Hour, 0},
		"both take their time":         {time.Minute, time.Hour},
		"everything comes immediately": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, err := New(Settings{Point: "edge", Listen: "127.0.0.1:0", Upstream: Upstream{URLs: []string{"http://127.0.0.1:1"}}, Timeouts: Timeouts{Body: time.Second}}, Config{
					Point: func() (nhi.Point, bool) { return nhi.Point{ID: "nhi_point", Dialect: nhi.DialectProxy}, true },
					Judge: enforce.Judge{
						Routes: enforce.NewRoutes(enforcetest.Shop), Decider: &enforcetest.Decider{Answer: nhi.Decision{ID: "dec-1", Outcome: nhi.Allow}},
						Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: enforcetest.Robot, Method: "api-key"}}},
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				var broken error // what the application met at the end of the body
				h.reverse.Transport = served(func(r *http.Request) *http.Response {
					time.Sleep(pauses.application)
					reply, echo := io.Pipe()
					go func() {
						_, broken = io.Copy(echo, r.Body)
						_ = echo.CloseWithError(broken)
					}()
					return &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: reply, ContentLength: -1, Request: r}
				})
				body, send := io.Pipe()
				r := httptest.NewRequestWithContext(t.Context(), "POST", "/payments/17", body)
				r.Host = "shop.example"
				r.Header.Set("Authorization", "Bearer good")
				w := httptest.NewRecorder()
				done := make(chan struct{})
				go func() {
					defer close(done)
					h.ServeHTTP(w, r)
				}()
				time.Sleep(pauses.application + pauses.client)
				if _, err := io.WriteString(send, "late"); err != nil {
					t.Fatal(err)
				}
				_ = send.Close()
				<-done
				if w.Code != 200 || w.Body.String() != "late" || broken != nil {
					t.Errorf("%d %q, %v", w.Code, w.Body, broken)
				}
			})
		})
	}
}

// What stands behind a body is read as headers are by whoever goes by it: the
// caller's library, or a proxy in front that believes Muster-Identity.
func TestTheApplicationCannotForgeOurWordsInTrailers(t *testing.T) {
	for _, on := range []string{"HTTP/1.1", "h2c"} {
		for _, length := range []string{"", "4"} { // over HTTP/2 a reply of known length has trailers, too
			origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "Muster-Identity, X-Sum")
				if length != "" && r.ProtoMajor == 2 {
					w.Header().Set("Content-Length", length)
				}
				fmt.Fprint(w, "body")
				w.Header().Set("Muster-Identity", "nhi_somebody")
				w.Header().Set("X-Sum", "4")
				w.Header().Set(http.TrailerPrefix+"Muster-Decision", "dec-forged")
				w.Header().Set(http.TrailerPrefix+"X-More", "5")
			}))
			origin.Config.Protocols = &http.Protocols{}
			origin.Config.Protocols.SetHTTP1(on == "HTTP/1.1")
			origin.Config.Protocols.SetUnencryptedHTTP2(on == "h2c")
			origin.Start()
			defer origin.Close()
			s := before(t, func(s *script) {
				s.settings.Upstream.URLs, s.settings.Upstream.H2C, s.settings.H2C = []string{origin.URL}, on == "h2c", on == "h2c"
			})
			client := plain
			if on == "h2c" {
				client = h2c(t)
			}
			res, err := client.Do(s.request("GET", "/payments/17", nil))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != 200 || string(text) != "body" || res.Trailer.Get("X-Sum") != "4" || res.Trailer.Get("X-More") != "5" {
				t.Errorf("%s: %s %q with the trailers %v", on, res.Status, text, res.Trailer)
			}
			for name := range res.Trailer {
				if strings.HasPrefix(name, "Muster-") {
					t.Errorf("%s: the application's %s came through: %v", on, name, res.Trailer)
				}
			}
		}
	}
}

// A header that the settings drop is dropped as a trailer, too, announced or not.
func TestADroppedHeaderDoesNotComeAsATrailer(t *testing.T) {
	app := &witness{}
	s := put(t, app, func(s *script) { s.settings.DropHeaders = []string{"x-tenant"} })
	got := s.raw("POST /payments/17 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\nTransfer-Encoding: chunked\r\nTrailer: X-Tenant, X-Sum\r\n\r\n0\r\nX-Tenant: spoofed\r\nX-Sum: 1\r\n\r\n")
	if len(got) != 1 || got[0] != 200 {
		t.Fatal(got)
	}
	if seen := app.last(t).Trailer; seen.Get("X-Tenant") != "" || seen.Get("X-Sum") != "1" {
		t.Errorf("the application got the trailers %v", seen)
	}
}

// HTTP/1.0 has no upgrades: a program in front that speaks it would take what
// follows for the next request, and we for a tunnel that was decided about once.
func TestHTTP10IsNotUpgraded(t *testing.T) {
	app := &witness{}
	s := put(t, app, nil)
	got := s.raw("GET /payments/17 HTTP/1.0\r\nHost: shop.example\r\nAuthorization: Bearer good\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if len(got) != 1 || got[0] != 200 {
		t.Fatal(got)
	}
	if seen := app.last(t).Header; seen.Get("Upgrade") != "" {
		t.Errorf("the application got %v", seen)
	}
}
