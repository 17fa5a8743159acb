package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"

	"github.com/muster-id/muster/internal/enforce"
)

// A trouble is why a request is refused before anybody decides about it.
type trouble struct {
	status       int
	reason, text string
}

// What no mode of a point lets pass: the next program could read something
// else than was judged.
var (
	badTarget   = &trouble{http.StatusBadRequest, "target-unclear", "the target must be a path, written as RFC 3986 has it"}
	badHost     = &trouble{http.StatusBadRequest, "host-unclear", "the request needs one host"}
	badMethod   = &trouble{http.StatusBadRequest, "method-unclear", "the proxy carries no CONNECT and no TRACE"}
	badTrailer  = &trouble{http.StatusBadRequest, "trailer-unclear", "a trailer has the name of a header that only the proxy writes"}
	manyHeaders = &trouble{http.StatusRequestHeaderFieldsTooLarge, "too-many-headers", "the request has more headers than the proxy carries"}
	longBody    = &trouble{http.StatusRequestEntityTooLarge, "body-too-long", "the request has a longer body than the proxy carries"}
	slowBody    = &trouble{http.StatusRequestTimeout, "body-slow", "the body comes too slowly"}
	lostBody    = &trouble{http.StatusBadRequest, "body-broken", "the body did not arrive as announced"}
)

// hygiene refuses what is unclear, brings the rest into one form, and bounds
// it. It says nothing about who may do what.
func (h *Handler) hygiene(w http.ResponseWriter, r *http.Request) *trouble {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return badMethod
	case r.Host == "" || otherHost(r):
		return badHost
	// What leaves is made of the parsed URL; it must be what came. That refuses
	// an absolute target, an asterisk, and bytes that would be rewritten.
	case r.RequestURI == "" || r.RequestURI[0] != '/' || r.URL.RequestURI() != r.RequestURI:
		return badTarget
	}
	count := 0
	for _, values := range r.Header {
		count += len(values)
	}
	if count > h.s.Limits.Headers {
		return manyHeaders
	}
	for name := range r.Trailer {
		if ours(name) || enforce.Odd(name) {
			return badTrailer
		}
	}
	if limit := h.s.Limits.BodyBytes; limit > 0 {
		if r.ContentLength > limit {
			return longBody
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
	}
	if r.ProtoMajor == 1 {
		settle(w, r)
	}
	return nil
}

// otherHost reports whether a request has a second host: over HTTP/2 a field may
// stand beside the authority, and must say the same (RFC 9113, section 8.3.1).
func otherHost(r *http.Request) bool {
	hosts := r.Header["Host"]
	return len(hosts) > 1 || len(hosts) == 1 && hosts[0] != r.Host
}

// settle removes what HTTP/1 has beyond HTTP/2. Another protocol than a
// websocket would lead around the decisions about the requests inside of it
// (h2c), so it is not switched to, and none at all for HTTP/1.0, which has no
// upgrades (RFC 9110, section 7.8). A body in chunks, as every request of
// HTTP/1.0, is the last on its connection: what follows may be what a program
// in front, which read a Content-Length, took for more of the body.
func settle(w http.ResponseWriter, r *http.Request) {
	if _, asked := r.Header["Upgrade"]; asked && (!upgrades(r.Header) || r.Method != http.MethodGet || r.ContentLength != 0 || r.ProtoMinor == 0) {
		delete(r.Header, "Upgrade")
		delete(r.Header, "Http2-Settings")
	}
	if len(r.TransferEncoding) > 0 || r.ProtoMinor == 0 {
		w.Header().Set("Connection", "close")
	}
}

// digest reads a body of known and small size, where the point asserts, and
// says what it is.
func (h *Handler) digest(r *http.Request) (enforce.Body, *trouble) {
	switch {
	case r.ContentLength == 0:
		return enforce.Body{None: true}, nil
	case r.ContentLength < 0 || r.ContentLength > h.s.AssertBody:
		return enforce.Body{}, nil
	}
	if p, ok := h.point(); !ok || !p.Assert {
		return enforce.Body{}, nil
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		var long *http.MaxBytesError
		switch {
		case errors.As(err, &long):
			return enforce.Body{}, longBody
		case errors.Is(err, errSlow):
			return enforce.Body{}, slowBody
		}
		return enforce.Body{}, lostBody
	}
	r.Body = read{bytes.NewReader(body), r.Body}
	sum := sha256.Sum256(body)
	return enforce.Body{Digest: &sum}, nil
}

// read is a body that was read already.
type read struct {
	io.Reader
	io.Closer
}

// identities are headers by which applications take somebody for
// authenticated, because a proxy of some make writes them. No client may.
var identities = map[string]bool{
	"Forwarded": true, "X-Real-Ip": true, "True-Client-Ip": true, "Cf-Connecting-Ip": true, "X-Client-Ip": true, "X-Cluster-Client-Ip": true,
	"Remote-User": true, "Remote-Groups": true, "Remote-Email": true, "Remote-Name": true, "X-Remote-User": true, "X-Remote-Group": true,
	"X-User": true, "X-User-Id": true, "X-Username": true, "X-Email": true, "X-Groups": true, "X-Client-Cert": true, "X-Client-Dn": true,
	"Client-Cert": true, "Client-Cert-Chain": true, "X-Amzn-Oidc-Identity": true, "X-Amzn-Oidc-Data": true, "X-Amzn-Oidc-Accesstoken": true,
	"X-Original-Url": true, "X-Original-Uri": true, "X-Original-Host": true, "X-Original-Method": true, "X-Rewrite-Url": true, "X-Host": true,
	"X-Http-Host-Override": true, "X-Http-Method": true, "X-Http-Method-Override": true, "X-Method-Override": true,
	"X-Authenticated-User": true, "X-Forwarded": true, "Forwarded-For": true, "X-Original-Forwarded-For": true, "X-Userinfo": true, "X-Jwt-Assertion": true,
	"X-Consumer-Id": true, "X-Consumer-Username": true, "X-Consumer-Custom-Id": true, "X-Credential-Identifier": true, "X-Arr-Clientcert": true,
	"X-Client-Certificate": true, "X-Client-Verify": true, "X-Tls-Client-Cert": true, "Fastly-Client-Ip": true, "X-Azure-Clientip": true, "X-Appengine-User-Email": true,
	"X-Auth-User": true, "X-Auth-Username": true, "X-Auth-Name": true, "X-Auth-Email": true, "X-Auth-Groups": true, "X-Auth-Roles": true, "Gap-Auth": true,
	"X-Apigateway-Api-Userinfo": true, "X-Endpoint-Api-Userinfo": true, "Proxy-Client-Ip": true, "X-Original-Scheme": true, "X-Original-Proto": true, "X-Scheme": true,
	"X-Override-Url": true, "X-Http-Path-Override": true, "X-Sendfile-Type": true, "X-Accel-Mapping": true, "X-Middleware-Subrequest": true,
	"X-Envoy-Original-Path": true, "X-Envoy-External-Address": true, "Proxy": true, "Http2-Settings": true,
}

// families are such headers by how they begin.
var families = [...]string{
	"Muster-", "X-Muster-", "X-Forwarded-", "X-Auth-Request-", "X-Authenticated-", "X-Ssl-", "Ssl-", "X-Goog-Iap-", "X-Goog-Authenticated-", "X-Ms-Client-Principal", "X-Remote-Extra-", "X-Webauth-",
	"Impersonate-", "Cf-Access-", "X-Pomerium-", "Tailscale-User-", "X-Amzn-Oidc-", "X-Envoy-", "X-Serverless-Authorization",
	"X-Authentik-", "X-Vouch-", "X-Oidc-", "Oidc-", "X-Ms-Token-", "Shib-", "Iv-", "Sm-", "Oam-", "Osso-", "Wl-Proxy-",
}

// ours reports whether only a proxy may write a header. The name is canonical.
func ours(name string) bool {
	if identities[name] {
		return true
	}
	for _, family := range families {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	return false
}

// rewrite makes of the client's request the one that the application gets. The
// headers between two connections are gone already, with those that Connection
// names.
func (h *Handler) rewrite(p *httputil.ProxyRequest) {
	passed, out := p.In.Context().Value(passageKey{}).(*passage), p.Out.Header
	for name := range out {
		if ours(name) || enforce.Odd(name) {
			delete(out, name)
		}
	}
	for _, name := range h.s.DropHeaders {
		out.Del(name)
	}
	if !h.s.ForwardCredential {
		delete(out, "Authorization")
		delete(out, "Dpop")
	}
	p.Out.URL.RawQuery = p.In.URL.RawQuery // as it was judged
	if p.In.Trailer != nil {
		// The same map: the server fills it in when the body has ended.
		p.Out.Trailer = p.In.Trailer
		p.Out.Body = &trailed{p.Out.Body, p.In, h.s.DropHeaders}
	}
	if h.s.Upstream.Host != "" {
		p.Out.Host = h.s.Upstream.Host
	}
	o := original(p.In)
	out["X-Forwarded-For"] = []string{o.Address.String()}
	out["X-Forwarded-Host"] = []string{p.In.Host}
	out["X-Forwarded-Proto"] = []string{o.Scheme}
	out["Muster-Identity"] = []string{passed.identity}
	out["Muster-Decision"] = []string{passed.decision}
}

// trailed drops trailers that could be mistaken for headers, announced or not,
// when the body ends.
type trailed struct {
	io.ReadCloser
	in   *http.Request
	drop []string // headers that the settings drop
}

func (t *trailed) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err == io.EOF {
		for name := range t.in.Trailer {
			if ours(name) || enforce.Odd(name) || name == "Authorization" || name == "Dpop" || name == "Cookie" {
				delete(t.in.Trailer, name)
			}
		}
		for _, name := range t.drop {
			t.in.Trailer.Del(name)
		}
	}
	return n, err
}

// answered looks at a reply of the application before it goes on.
func (h *Handler) answered(res *http.Response) error {
	clean(res)
	h.boundEvents(res)
	return nil
}

// clean takes from a reply what is not the application's to say: words of ours,
// and another address for the next request, which would lead around the point.
// What comes behind the body is no exception.
func clean(res *http.Response) {
	strip(res.Header)
	strip(res.Trailer)
	if res.StatusCode != http.StatusSwitchingProtocols && (res.ProtoMajor != 1 || res.ContentLength < 0) {
		res.Body = &cleaned{res.Body, res}
	}
}

// A cleaned body takes from the trailers of its reply, which are there when it
// ends, what clean takes from the headers.
type cleaned struct {
	io.ReadCloser
	res *http.Response
}

func (c *cleaned) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil {
		strip(c.res.Trailer)
	}
	return n, err
}

// Close drops what is left of the body, behind which trailers may be.
func (c *cleaned) Close() error {
	err := c.ReadCloser.Close()
	strip(c.res.Trailer)
	return err
}

func strip(header http.Header) {
	for name := range header {
		if strings.HasPrefix(name, "Muster-") || name == "Alt-Svc" {
			delete(header, name)
		}
	}
}

// A reply is how a carried request is answered. Informational replies (RFC 9110,
// section 15.2) come before it and must neither say what is not the application's
// to say, nor take away that the connection ends: whoever writes them clears the
// headers.
type reply struct {
	http.ResponseWriter
	last bool // the reply is the last on its connection
	body *paced
}

// Unwrap is for http.ResponseController.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader writes the headers of an informational reply, or of the real one.
func (w *reply) WriteHeader(status int) {
	header := w.Header()
	switch begun := status >= 200; {
	case !begun && status != http.StatusSwitchingProtocols:
		strip(header)
	case begun && (w.body.begins() || w.last):
		header["Connection"] = []string{"close"}
	}
	w.ResponseWriter.WriteHeader(status)
}
