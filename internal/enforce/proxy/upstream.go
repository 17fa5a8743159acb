package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// rest is how long an address of the application that could not be reached is
// asked last.
const rest = 5 * time.Second

// An upstream carries requests to the application, which may have several
// addresses. They take turns.
type upstream struct {
	transport *http.Transport
	targets   []*target
	turn      atomic.Uint32
}

type target struct {
	url  *url.URL
	down atomic.Int64 // Unix nanoseconds until which it is asked last
}

func newUpstream(s *Settings) (*upstream, error) {
	u := &upstream{}
	for _, text := range s.Upstream.URLs {
		parsed, err := url.Parse(text)
		if err != nil {
			return nil, nhi.Invalidf("upstream.urls: not a URL")
		}
		u.targets = append(u.targets, &target{url: parsed})
	}
	config, err := s.Upstream.TLS.client()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: s.Timeouts.Dial, KeepAlive: 30 * time.Second}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!s.Upstream.H2C)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(s.Upstream.H2C)
	u.transport = &http.Transport{
		DialContext:     dialed(dialer),
		TLSClientConfig: config, TLSHandshakeTimeout: s.Timeouts.Dial, Protocols: protocols,
		MaxIdleConns: 1024, MaxIdleConnsPerHost: s.Limits.Idle, IdleConnTimeout: s.Timeouts.Idle, MaxConnsPerHost: s.Limits.UpstreamConnections,
		ResponseHeaderTimeout: s.Timeouts.Response, ExpectContinueTimeout: time.Second, MaxResponseHeaderBytes: 256 << 10,
		DisableCompression: true, // what the client asked for is what it gets
	}
	return u, nil
}

// errDial marks that no connection came about, so that not one byte was sent.
type errDial struct{ error }

func (e errDial) Unwrap() error { return e.error }

func dialed(d *net.Dialer) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, errDial{err}
		}
		return conn, nil
	}
}

// RoundTrip sends a request to one address of the application. When there is no
// connection to be had, and nothing of a body was read, the next one is asked.
// The transport itself repeats a request without a body on a connection that
// the application had closed meanwhile, before a byte of the reply, and only
// methods that may be repeated (RFC 9110, section 9.2.2).
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	var body *unread
	if r.Body != nil && r.Body != http.NoBody {
		body = &unread{ReadCloser: r.Body}
		r.Body = body
	}
	var last error
	for _, t := range u.order() {
		r.URL.Scheme, r.URL.Host = t.url.Scheme, t.url.Host
		res, err := u.transport.RoundTrip(r)
		var dial errDial
		if err == nil || !errors.As(err, &dial) || r.Context().Err() != nil || body != nil && body.begun.Load() {
			return res, err
		}
		t.down.Store(time.Now().Add(rest).UnixNano())
		last = err
	}
	return nil, last
}

// order is in which order the addresses are asked: in turns, and those that
// failed just now last.
func (u *upstream) order() []*target {
	if len(u.targets) == 1 {
		return u.targets
	}
	start, now := int(u.turn.Add(1)%uint32(len(u.targets))), time.Now().UnixNano()
	out := make([]*target, 0, len(u.targets))
	for _, resting := range [...]bool{false, true} {
		for i := range u.targets {
			if t := u.targets[(start+i)%len(u.targets)]; (t.down.Load() > now) == resting {
				out = append(out, t)
			}
		}
	}
	return out
}

// unread is a body that knows whether anybody began to read it. It is not
// closed between attempts; its owner closes it in the end.
type unread struct {
	io.ReadCloser
	begun atomic.Bool
}

func (b *unread) Read(p []byte) (int, error) {
	b.begun.Store(true)
	return b.ReadCloser.Read(p)
}

func (b *unread) Close() error { return nil }

// client is how the proxy speaks TLS to the application.
func (t *UpstreamTLS) client() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pool, err := authorities(t.CA)
		if err != nil {
			return nil, fmt.Errorf("upstream.tls.ca: %w", err)
		}
		c.RootCAs = pool
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, nhi.Invalidf("upstream.tls: %s and %s are not a certificate and its private key: %v", t.Cert, t.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// authorities reads certificates in PEM.
func authorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nhi.Invalidf("%v", err)
	}
	pool := x509.NewCertPool()
	if len(text) > 1<<20 || !pool.AppendCertsFromPEM(text) {
		return nil, nhi.Invalidf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}
