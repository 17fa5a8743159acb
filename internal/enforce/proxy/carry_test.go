package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

// An authority issues certificates into files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	a.file, _, a.cert, a.key = a.issue("ca", nil)
	a.pool.AddCert(a.cert)
	return a
}

// issue writes a certificate for name and 127.0.0.1, and its key.
func (a *authority) issue(name string, parent *authority) (certFile, keyFile string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, issuer := key, template
	if parent != nil {
		signer, issuer = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return certFile, keyFile, cert, key
}

// secure gives a proxy a certificate of a.
func (a *authority) secure(s *script) {
	s.settings.TLS.Cert, s.settings.TLS.Key, _, _ = a.issue("shop.example", a)
}

// client trusts a, and shows the certificate in files if there is one.
func (a *authority) client(files ...string) *http.Client {
	config := &tls.Config{RootCAs: a.pool, ServerName: "shop.example"}
	if len(files) == 2 {
		pair, err := tls.LoadX509KeyPair(files[0], files[1])
		if err != nil {
			a.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	a.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// h2c speaks HTTP/2 without TLS.
func h2c(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: &http.Protocols{}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// TestEveryProtocolIsCarriedOnBothSides streams in both directions, one piece
// at a time, over each protocol on each side: a proxy that buffers would wait
// for ever.
func TestEveryProtocolIsCarriedOnBothSides(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex() // HTTP/2 has it
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Proto", r.Proto)
		w.WriteHeader(http.StatusOK)
		_ = control.Flush()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			fmt.Fprint(w, "you said ", line)
			_ = control.Flush()
		}
		w.Header().Set("X-Sum", "sum of "+r.Trailer.Get("X-Count")+r.Trailer.Get("Muster-Identity"))
	})
	for _, in := range []string{"HTTP/1.1", "HTTP/2", "h2c"} {
		for _, out := range []string{"HTTP/1.1", "HTTP/2", "h2c"} {
			t.Run(in+" to "+out, func(t *testing.T) {
				a := newAuthority(t)
				origin := httptest.NewUnstartedServer(echo)
				origin.Config.Protocols = &http.Protocols{}
				origin.Config.Protocols.SetHTTP1(out == "HTTP/1.1")
				origin.Config.Protocols.SetUnencryptedHTTP2(out == "h2c")
				if out == "HTTP/2" {
					origin.EnableHTTP2 = true
					origin.Config.Protocols.SetHTTP2(true)
					origin.StartTLS()
				} else {
					origin.Start()
				}
				defer origin.Close()
				s := before(t, func(s *script) {
					s.settings.Upstream.URLs, s.settings.Upstream.H2C = []string{origin.URL}, out == "h2c"
					if out == "HTTP/2" {
						file := filepath.Join(a.dir, "origin.crt")
						if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: origin.Certificate().Raw}), 0o600); err != nil {
							t.Fatal(err)
						}
						s.settings.Upstream.TLS.CA = file
					}
					s.settings.H2C = in == "h2c"
					if in == "HTTP/2" {
						a.secure(s)
					}
				})
				client := plain
				body, writer := io.Pipe()
				r := s.request("POST", "/payments/17", body)
				switch in {
				case "HTTP/2":
					client, r.URL.Scheme = a.client(), "https"
				case "h2c":
					client = h2c(t)
				}
				r.Trailer = http.Header{"X-Count": nil}
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				back := bufio.NewReader(res.Body)
				for _, word := range []string{"one", "two", "three"} {
					fmt.Fprintln(writer, word)
					if line, err := back.ReadString('\n'); line != "you said "+word+"\n" {
						t.Fatalf("the reply goes on %q, %v", line, err)
					}
				}
				r.Trailer.Set("X-Count", "3")
				_ = writer.Close()
				if rest, err := io.ReadAll(back); len(rest) > 0 || err != nil {
					t.Errorf("the reply ends with %q, %v", rest, err)
				}
				if got := res.Trailer.Get("X-Sum"); got != "sum of 3" {
					t.Errorf("the trailer is %q", got)
				}
				if want := map[string]string{"HTTP/1.1": "HTTP/1.1"}[out]; want == "" && res.Header.Get("X-Proto") != "HTTP/2.0" || want != "" && res.Header.Get("X-Proto") != want {
					t.Errorf("the application was spoken to in %s", res.Header.Get("X-Proto"))
				}
			})
		}
	}
}

func TestEventsAndEarlyHintsArriveAsTheyAreSent(t *testing.T) {
	said, more := make(chan string), make(chan struct{})
	s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "text/event-stream")
		for text := range said {
			fmt.Fprintf(w, "data: %s\n\n", text)
			_ = http.NewResponseController(w).Flush()
			more <- struct{}{}
		}
	}), nil)
	hinted := atomic.Int64{}
	r := s.request("GET", "/payments/17", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints && h.Get("Link") != "" {
			hinted.Add(1)
		}
		return nil
	}}))
	go func() { said <- "first" }()
	res, err := plain.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	back := bufio.NewReader(res.Body)
	for i, want := range []string{"first", "second"} {
		if i > 0 {
			said <- want
		}
		<-more
		if line, err := back.ReadString('\n'); line != "data: "+want+"\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		_, _ = back.ReadString('\n')
	}
	close(said)
	if hinted.Load() != 1 {
		t.Errorf("%d early hints", hinted.Load())
	}
}

// socket is an application that switches to an echo.
func socket(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		fmt.Fprint(w, "no upgrade")
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.Copy(conn, rw)
}

// upgrade opens a websocket as a client does, and says something.
func (s *stage) upgrade(protocol string) (net.Conn, *bufio.Reader, *http.Response) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET /payments/17 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", protocol)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn, in, res
}

func echoes(t *testing.T, conn net.Conn, in *bufio.Reader) {
	t.Helper()
	fmt.Fprintln(conn, "hello")
	if line, err := in.ReadString('\n'); line != "hello\n" {
		t.Fatalf("the websocket says %q, %v", line, err)
	}
}

// ended waits until the other side has closed.
func ended(t *testing.T, in io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, in); err != nil && strings.Contains(err.Error(), "i/o timeout") {
		t.Fatal("the connection goes on")
	}
}

// TestAStreamDoesNotOutliveItsCredential: whoever opens one with a token that is
// stolen would read, or ask, for as long as the application likes.
func TestAStreamDoesNotOutliveItsCredential(t *testing.T) {
	over := func(s *script) { s.expires = time.Now().Add(-time.Second) } // since it was decided
	waits := make(chan struct{})
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		_ = http.NewResponseController(w).EnableFullDuplex()
		fmt.Fprint(w, "data: x\n\n")
		_ = http.NewResponseController(w).Flush()
		if r.Header.Get("Accept") == "text/plain" || r.Method == http.MethodPost && r.ContentLength >= 0 {
			return // it has an end
		}
		select {
		case <-r.Context().Done():
		case <-waits:
		}
	})
	t.Cleanup(func() { close(waits) })
	for _, tt := range []struct {
		name, method, accept string
		cut                  bool
	}{
		{"events", http.MethodGet, "text/event-stream", true},
		{"events of a charset", http.MethodGet, "Text/Event-Stream ;charset=utf-8", true},
		{"a download", http.MethodGet, "text/plain", false},
		{"events as the answer to a call", http.MethodPost, "text/event-stream", false},
	} {
		s := put(t, app, over)
		r := s.request(tt.method, "/payments/17", nil)
		r.Header.Set("Accept", tt.accept)
		res, err := plain.Do(r)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		if cut := err != nil; cut != tt.cut {
			t.Errorf("%s: it was cut: %v, want %v: %v", tt.name, cut, tt.cut, err)
		}
	}
}

// TestWhoSendsOnAndOnDoesNotOutliveItsCredential, and does not hold the connection by
// sending nothing either.
func TestWhoSendsOnAndOnDoesNotOutliveItsCredential(t *testing.T) {
	s := put(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}), func(s *script) { s.expires = time.Now().Add(-time.Second) })
	for _, framing := range []string{"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Transfer-Encoding: chunked\r\n\r\n"} {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		began := time.Now()
		fmt.Fprintf(conn, "POST /payments/17 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\n%s", framing)
		ended(t, conn)
		if took := time.Since(began); took >= time.Minute { // how long a client may pause
			t.Errorf("the connection was held for %v", took)
		}
		_ = conn.Close()
	}
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "POST /payments/17 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer good\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("what was announced does not pass: %v, %v", res, err)
	}
}

// TestWhatHasNotBegunIsNotCut: a credential that expires between the decision and the
// first byte ended another request's flight, or the process.
func TestWhatHasNotBegunIsNotCut(t *testing.T) {
	var all flights
	one, two := &flight{cancel: func() {}}, &flight{cancel: func() {}}
	if all.cut(one) {
		t.Error("one that has not begun was cut, with nothing under way")
	}
	all.begin(two)
	if all.cut(one) || len(all.live) != 1 || all.live[0] != two {
		t.Errorf("one that has not begun was cut: %v", all.live)
	}
	all.begin(one)
	if !all.cut(two) || !all.cut(one) || all.cut(one) || len(all.live) != 0 {
		t.Errorf("left: %v", all.live)
	}
}

func TestAWebsocketIsCutWhen(t *testing.T) {
	t.Run("the identity is withdrawn", func(t *testing.T) {
		s := put(t, http.HandlerFunc(socket), nil)
		conn, in, res := s.upgrade("websocket")
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(res.Status)
		}
		echoes(t, conn, in)
		s.standing.withdraw("somebody else")
		echoes(t, conn, in)
		s.standing.withdraw(enforcetest.Robot)
		ended(t, in)
	})
	t.Run("nobody believes what it began with", func(t *testing.T) {
		s := put(t, http.HandlerFunc(socket), nil)
		conn, in, _ := s.upgrade("websocket")
		echoes(t, conn, in)
		s.standing.withdraw("Bearer good") // the evidence, not who it proves
		ended(t, in)
	})
	t.Run("the credential expires", func(t *testing.T) {
		s := put(t, http.HandlerFunc(socket), func(s *script) { s.expires = time.Now().Add(time.Second) })
		_, in, res := s.upgrade("websocket")
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(res.Status)
		}
		ended(t, in)
	})
	t.Run("its time is over", func(t *testing.T) {
		s := put(t, http.HandlerFunc(socket), func(s *script) { s.settings.Timeouts.Upgraded = time.Second })
		_, in, _ := s.upgrade("websocket")
		ended(t, in)
	})
	t.Run("the proxy ends", func(t *testing.T) {
		s := put(t, http.HandlerFunc(socket), nil)
		conn, in, _ := s.upgrade("websocket")
		echoes(t, conn, in)
		s.handler.Cut()
		ended(t, in)
	})
	t.Run("nobody reads on either side", func(t *testing.T) {
		// The application floods a client that does not read: what is blocked on
		// the client has to end, too.
		left := make(chan struct{})
		s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(left)
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			for err == nil {
				_, err = conn.Write(make([]byte, 64<<10))
			}
		}), nil)
		s.upgrade("websocket")
		s.standing.withdraw(enforcetest.Robot)
		until(t, "the connection to be given up", func() bool { return s.handler.Running() == 0 })
		<-left
	})
}

func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !there(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestARunningStreamIsCutWhenItsCallerIsWithdrawn(t *testing.T) {
	a := newAuthority(t)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		gone := make(chan struct{})
		s := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(gone)
		}), func(s *script) {
			if protocol == "HTTP/2" {
				a.secure(s)
			}
		})
		client, r := plain, s.request("GET", "/payments/17", nil)
		if protocol == "HTTP/2" {
			client, r.URL.Scheme = a.client(), "https"
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(res.Body)
		if line, _ := in.ReadString('\n'); line != "first\n" {
			t.Fatal(line)
		}
		s.standing.withdraw(enforcetest.Robot)
		if rest, err := io.ReadAll(in); err == nil {
			t.Errorf("%s: the stream ends as if it were whole: %q", protocol, rest)
		}
		_ = res.Body.Close()
		<-gone
	}
}

func TestWhoeverIsWithdrawnMeanwhileIsNotForwarded(t *testing.T) {
	app := &witness{}
	s := put(t, app, nil)
	s.standing.withdraw(enforcetest.Robot)
	if res, body := s.do(s.request("GET", "/payments/17", nil)); res.StatusCode != 403 || !strings.Contains(body, "credential-withdrawn") || len(app.requests()) != 0 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestCertificatesOnBothSides(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	app := &witness{}
	origin := httptest.NewUnstartedServer(app)
	cert, key, _, _ := a.issue("app.internal", a)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	origin.Config.ErrorLog = log.New(io.Discard, "", 0)
	origin.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool}
	origin.StartTLS()
	defer origin.Close()
	var seen atomic.Pointer[x509.Certificate]
	edit := func(s *script) {
		a.secure(s)
		s.settings.TLS.ClientCA = a.file
		s.settings.Upstream.URLs = []string{origin.URL}
		s.settings.Upstream.TLS.CA, s.settings.Upstream.TLS.ServerName = a.file, "app.internal"
		s.settings.Upstream.TLS.Cert, s.settings.Upstream.TLS.Key, _, _ = a.issue("proxy.internal", a)
	}
	s := before(t, edit)
	s.handler.c.Judge.Verifier = watching{s.handler.c.Judge.Verifier, &seen}
	mine, mineKey, _, _ := a.issue("client", a)
	r := s.request("GET", "/payments/17", nil)
	r.URL.Scheme = "https"
	res, err := a.client(mine, mineKey).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 200 || seen.Load() == nil || seen.Load().Subject.CommonName != "client" {
		t.Errorf("%s; the verifier saw %v", res.Status, seen.Load())
	}
	if got := app.last(t); got.TLS.PeerCertificates[0].Subject.CommonName != "proxy.internal" {
		t.Errorf("the application sees %v", got.TLS.PeerCertificates[0].Subject)
	}
	stranger, strangerKey, _, _ := other.issue("stranger", other)
	for name, files := range map[string][]string{"no certificate": nil, "a stranger's certificate": {stranger, strangerKey}} {
		r := s.request("GET", "/payments/17", nil)
		r.URL.Scheme = "https"
		if res, err := a.client(files...).Do(r); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	if n := len(app.requests()); n != 1 {
		t.Errorf("%d requests reached the application", n)
	}
	// An application with another's certificate gets nothing.
	s = before(t, func(s *script) {
		edit(s)
		s.settings.Upstream.TLS.ServerName = "elsewhere.internal"
	})
	r = s.request("GET", "/payments/17", nil)
	r.URL.Scheme = "https"
	if res, err = a.client(mine, mineKey).Do(r); err != nil || res.StatusCode != 502 {
		t.Errorf("an application by another name: %v %v", res, err)
	}
	_ = res.Body.Close()
}

// watching keeps the certificate that was verified last.
type watching struct {
	inner interface {
		Verify(context.Context, nhi.Evidence) (nhi.Attested, error)
	}
	seen *atomic.Pointer[x509.Certificate]
}

func (v watching) Verify(ctx context.Context, e nhi.Evidence) (nhi.Attested, error) {
	v.seen.Store(e.Certificate)
	return v.inner.Verify(ctx, e)
}
