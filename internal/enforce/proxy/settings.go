package proxy

import (
	"net"
	"net/url"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/muster-id/muster/internal/nhi"
)

// Settings are one proxy: where it listens, what it guards, what it bounds.
type Settings struct {
	// Point is the name of the enrolled point that the proxy is, of the dialect
	// proxy. Until it is enrolled, everything is refused.
	Point string `yaml:"point" example:"payments-proxy"`
	// Listen is where clients reach it. Without tls, this machine only.
	Listen string `yaml:"listen" unit:"host:port" example:"0.0.0.0:8443"`
	// Protocol says how requests are looked at: http decides about each as a
	// whole, mcp about each call of the Model Context Protocol in it. Empty: http.
	Protocol string `yaml:"protocol" enum:"http,mcp" example:"mcp"`
	// Upstream is the application.
	Upstream Upstream `yaml:"upstream"`
	// TLS is how clients connect.
	TLS TLS `yaml:"tls"`
	// H2C lets clients speak HTTP/2 without TLS.
	H2C bool `yaml:"h2c" example:"true"`
	// ForwardCredential passes Authorization and DPoP on to the application,
	// which then could use them elsewhere.
	ForwardCredential bool `yaml:"forward_credential" example:"true"`
	// DropHeaders are further headers that no client may send to the
	// application.
	DropHeaders []string `yaml:"drop_headers" example:"[X-Tenant]"`
	// AssertBody is the largest body that is read whole before it is passed on,
	// so that an assertion can state its digest. Larger ones, and those of
	// unknown length, are stated to be unchecked.
	AssertBody int64 `yaml:"assert_body" unit:"bytes" example:"65536"`
	// Limits bound what one proxy carries.
	Limits Limits `yaml:"limits"`
	// Timeouts bound how long it waits. There is none for a reply that has
	// begun.
	Timeouts Timeouts `yaml:"timeouts"`
}

// Upstream is the application behind a proxy.
type Upstream struct {
	// URLs are its addresses, without a path; they take turns.
	URLs []string `yaml:"urls" example:"[https://payments.internal:8443]"`
	// Host is the host that the application is asked by. Empty: the one that
	// the client asked by.
	Host string `yaml:"host" example:"payments.internal"`
	// H2C speaks HTTP/2 to it without TLS; its URLs begin with http.
	H2C bool `yaml:"h2c" example:"true"`
	// TLS is how the proxy connects to it where its URLs begin with https.
	TLS UpstreamTLS `yaml:"tls"`
}

// UpstreamTLS is the proxy as a client of the application.
type UpstreamTLS struct {
	// CA is a file of the authorities that the application's certificate may
	// come from, in PEM. Empty: those of the system.
	CA string `yaml:"ca" unit:"file" example:"/etc/muster/payments-ca.pem"`
	// Cert is a file of the certificate that the proxy shows, in PEM.
	Cert string `yaml:"cert" unit:"file" example:"/etc/muster/proxy.crt"`
	// Key is the file of its private key, in PEM.
	Key string `yaml:"key" unit:"file" example:"/etc/muster/proxy.key"`
	// ServerName is the name in the application's certificate. Empty: the host
	// of the URL.
	ServerName string `yaml:"server_name" example:"payments.internal"`
}

// TLS is the proxy as a server.
type TLS struct {
	// Cert is the file of the certificate chain, in PEM. It is read again when
	// it changes.
	Cert string `yaml:"cert" unit:"file" example:"/etc/muster/payments.crt"`
	// Key is the file of its private key, in PEM.
	Key string `yaml:"key" unit:"file" example:"/etc/muster/payments.key"`
	// ClientCA is a file of the authorities whose certificates clients may
	// show, in PEM. Empty: clients are not asked for one.
	ClientCA string `yaml:"client_ca" unit:"file" example:"/etc/muster/clients-ca.pem"`
	// ClientCert says whether a client must show one, or may.
	ClientCert string `yaml:"client_cert" enum:"require,optional" example:"require"`
	// ClientSVID lets clients show an X.509-SVID, which is verified against the
	// bundles of svid.trust_domains for every request. It takes the place of
	// client_ca. Whether one is needed is for policies to say.
	ClientSVID bool `yaml:"client_svid" example:"true"`
}

// Limits bound what one proxy carries. What is 0 has the default.
type Limits struct {
	// HeaderBytes is how large all headers of a request may be together.
	HeaderBytes int `yaml:"header_bytes" unit:"bytes" example:"65536"`
	// Headers is how many there may be.
	Headers int `yaml:"headers" example:"128"`
	// BodyBytes is how large a body may be; 0: no limit.
	BodyBytes int64 `yaml:"body_bytes" unit:"bytes" example:"10485760"`
	// Connections is how many clients may be connected at once; more wait.
	Connections int `yaml:"connections" example:"10000"`
	// Streams is how many requests one connection of HTTP/2 may carry at once.
	Streams int `yaml:"streams" example:"250"`
	// Requests is how many requests are carried at once; more are told to come
	// back (503).
	Requests int `yaml:"requests" example:"10000"`
	// UpstreamConnections is how many connections one address of the
	// application gets; 0: no limit.
	UpstreamConnections int `yaml:"upstream_connections" example:"1000"`
	// Idle is how many of them are kept for the next request.
	Idle int `yaml:"idle" example:"256"`
}

// Timeouts bound how long a proxy waits. What is 0 has the default.
type Timeouts struct {
	// Header is how long a client may take to send the headers of a request.
	Header time.Duration `yaml:"header" example:"10s"`
	// Body is how long a client may pause while it sends the body of a request, and
	// how long the body may take in all beyond a second for each 512 bytes. A body
	// of unknown length has any time once the reply has begun.
	Body time.Duration `yaml:"body" example:"1m"`
	// Idle is how long a connection without a request is kept, on both sides.
	Idle time.Duration `yaml:"idle" example:"2m"`
	// Dial is how long a connection to the application may take to come about.
	Dial time.Duration `yaml:"dial" example:"5s"`
	// Response is how long the application may take to begin its reply.
	Response time.Duration `yaml:"response" example:"1m"`
	// Upgraded is how long a websocket may live before its client has to be
	// decided about again. It never outlives the credential.
	Upgraded time.Duration `yaml:"upgraded" example:"12h"`
	// Drain is how long running requests are waited for at the end.
	Drain time.Duration `yaml:"drain" example:"10s"`
}

// WithDefaults returns s with the defaults where nothing is set.
func (s Settings) WithDefaults() Settings {
	or := func(v *int, otherwise int) {
		if *v == 0 {
			*v = otherwise
		}
	}
	wait := func(v *time.Duration, otherwise time.Duration) {
		if *v == 0 {
			*v = otherwise
		}
	}
	l, t := &s.Limits, &s.Timeouts
	or(&l.HeaderBytes, 64<<10)
	or(&l.Headers, 128)
	or(&l.Connections, 10_000)
	or(&l.Streams, 250)
	or(&l.Requests, 10_000)
	or(&l.Idle, 256)
	wait(&t.Header, 10*time.Second)
	wait(&t.Body, time.Minute)
	wait(&t.Idle, 2*time.Minute)
	wait(&t.Dial, 5*time.Second)
	wait(&t.Response, time.Minute)
	wait(&t.Upgraded, 12*time.Hour)
	wait(&t.Drain, 10*time.Second)
	if s.AssertBody == 0 {
		s.AssertBody = 64 << 10
	}
	if s.TLS.ClientCA != "" && s.TLS.ClientCert == "" {
		s.TLS.ClientCert = Require
	}
	return s
}

// The protocols that are looked at.
const (
	HTTP = "http"
	MCP  = "mcp"
)

// Whether a client must show a certificate.
const (
	Require  = "require"
	Optional = "optional"
)

// Check returns an error wrapping nhi.ErrInvalid that names the setting. It
// reads no file.
func (s *Settings) Check() error {
	if s.Point == "" {
		return nhi.Invalidf("point: name the enrolled point that the proxy is")
	}
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		return nhi.Invalidf("listen: %q is not host:port", s.Listen)
	}
	if s.Protocol != "" && s.Protocol != HTTP && s.Protocol != MCP {
		return nhi.Invalidf("protocol: want http or mcp")
	}
	if err := s.Upstream.check(); err != nil {
		return err
	}
	if err := s.TLS.check(); err != nil {
		return err
	}
	if s.TLS.Cert == "" && !loopback(s.Listen) {
		return nhi.Invalidf("listen: %s is reachable from elsewhere; give tls.cert and tls.key, or listen on 127.0.0.1", s.Listen)
	}
	for _, name := range s.DropHeaders {
		if !httpguts.ValidHeaderFieldName(name) {
			return nhi.Invalidf("drop_headers: %q is no name of a header", name)
		}
	}
	if s.AssertBody < 0 || s.AssertBody > 16<<20 {
		return nhi.Invalidf("assert_body is %d bytes, want 0 to %d", s.AssertBody, 16<<20)
	}
	return s.bounds()
}

func (s *Settings) bounds() error {
	l := s.Limits
	for _, b := range []struct {
		name     string
		is       int64
		from, to int64
	}{
		{"header_bytes", int64(l.HeaderBytes), 0, 1 << 20}, {"headers", int64(l.Headers), 0, 1000}, {"body_bytes", l.BodyBytes, 0, 1 << 50},
		{"connections", int64(l.Connections), 0, 1 << 20}, {"streams", int64(l.Streams), 0, 10_000}, {"requests", int64(l.Requests), 0, 1 << 20},
		{"upstream_connections", int64(l.UpstreamConnections), 0, 1 << 20}, {"idle", int64(l.Idle), 0, 1 << 20},
	} {
		if b.is < b.from || b.is > b.to {
			return nhi.Invalidf("limits.%s is %d, want %d to %d", b.name, b.is, b.from, b.to)
		}
	}
	t := s.Timeouts
	for _, b := range []struct {
		name string
		is   time.Duration
		to   time.Duration
	}{
		{"header", t.Header, 10 * time.Minute}, {"body", t.Body, 24 * time.Hour}, {"idle", t.Idle, 24 * time.Hour}, {"dial", t.Dial, 10 * time.Minute}, {"response", t.Response, 24 * time.Hour},
		{"upgraded", t.Upgraded, 30 * 24 * time.Hour}, {"drain", t.Drain, 10 * time.Minute},
	} {
		if b.is < 0 || b.is > b.to {
			return nhi.Invalidf("timeouts.%s is %v, want 0s to %v", b.name, b.is, b.to)
		}
	}
	return nil
}

func (u *Upstream) check() error {
	if len(u.URLs) == 0 || len(u.URLs) > 64 {
		return nhi.Invalidf("upstream.urls: name 1 to 64 addresses of the application")
	}
	for _, text := range u.URLs {
		parsed, err := url.Parse(text)
		if err != nil || parsed.Host == "" || parsed.User != nil || parsed.Scheme != "http" && parsed.Scheme != "https" ||
			parsed.Path != "" && parsed.Path != "/" || parsed.RawQuery != "" || parsed.Fragment != "" {
			return nhi.Invalidf("upstream.urls: want URLs like http://127.0.0.1:8080, without user, path, query or fragment: the path that is judged is the path that is forwarded")
		}
		if u.H2C && parsed.Scheme != "http" {
			return nhi.Invalidf("upstream.h2c: it is HTTP/2 without TLS, and a URL begins with https")
		}
	}
	if u.Host != "" && !httpguts.ValidHostHeader(u.Host) {
		return nhi.Invalidf("upstream.host: %q is no host", u.Host)
	}
	if (u.TLS.Cert == "") != (u.TLS.Key == "") {
		return nhi.Invalidf("upstream.tls: cert and key belong together")
	}
	return nil
}

func (t *TLS) check() error {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		return nhi.Invalidf("tls: cert and key belong together")
	case t.ClientCA != "" && t.Cert == "":
		return nhi.Invalidf("tls.client_ca: it needs tls.cert and tls.key")
	case t.ClientSVID && t.Cert == "":
		return nhi.Invalidf("tls.client_svid: it needs tls.cert and tls.key")
	case t.ClientSVID && t.ClientCA != "":
		return nhi.Invalidf("tls.client_svid: it takes the place of tls.client_ca; name one of them")
	case t.ClientCert != "" && t.ClientCA == "":
		return nhi.Invalidf("tls.client_cert: it needs tls.client_ca")
	case t.ClientCert != "" && t.ClientCert != Require && t.ClientCert != Optional:
		return nhi.Invalidf("tls.client_cert: want require or optional")
	}
	return nil
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
