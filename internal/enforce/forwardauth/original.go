package forwardauth

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Bounds on what is read from a request. Go's server bounds all headers
// together; these bound each.
const (
	maxSmall  = 256     // method, scheme, host, address
	maxHeader = 8 << 10 // path, credential, proof
	maxChain  = 4 << 10 // X-Forwarded-For
)

// An original is the request that a proxy asks about, as the proxy tells it.
type original struct {
	method  string
	scheme  string // http or https
	host    string // with port, if the client wrote one
	target  string // path and query, still encoded
	address netip.Addr
}

// url is what a DPoP proof names as htu: no query (RFC 9449, section 4.2). It
// is empty for a request that could not be read, so that no proof is for it.
func (o *original) url() string {
	if o.host == "" {
		return ""
	}
	path, _, _ := strings.Cut(o.target, "?")
	return o.scheme + "://" + o.host + path
}

// Why a proxy's account of a request is refused.
var (
	errDialect = errors.New("the point has no forward-auth dialect")
	errHeader  = errors.New("a header is missing, repeated, too long or not plain")
	errScheme  = errors.New("the scheme is neither http nor https")
	errAddress = errors.New("the caller's address is missing or not an address")
	errMethod  = errors.New("the method is none that is known to HTTP")
	errAgree   = errors.New("two headers tell different things")
)

// read returns the original request in a dialect. It demands exactly one
// value of each header that the dialect names. What a client may have sent
// under another name is not read, or must agree: a proxy passes the client's
// own headers through beside those that it sets.
func read(r *http.Request, dialect nhi.Dialect) (original, error) {
	h := reader{header: r.Header}
	var o original
	switch dialect {
	case nhi.DialectNginx:
		o.method = h.one("X-Original-Method", maxSmall)
		o.scheme = h.one("X-Forwarded-Proto", maxSmall)
		h.nginxTarget(&o)
		o.address = h.nginxAddress()
	case nhi.DialectCaddy, nhi.DialectTraefik, nhi.DialectHAProxy:
		o.method = h.one("X-Forwarded-Method", maxSmall)
		o.scheme = h.one("X-Forwarded-Proto", maxSmall)
		o.host = h.one("X-Forwarded-Host", maxSmall)
		o.target = h.one("X-Forwarded-Uri", maxHeader)
		o.address = h.last("X-Forwarded-For")
	case nhi.DialectEnvoy:
		// Envoy's HTTP ext_authz repeats the request itself below a path prefix.
		o.method, o.host = r.Method, r.Host
		o.scheme = h.one("X-Forwarded-Proto", maxSmall)
		o.target = strings.TrimPrefix(r.RequestURI, Path)
		o.address = h.last("X-Forwarded-For")
	default:
		return original{}, errDialect
	}
	if h.err != nil {
		return original{}, h.err
	}
	if !plainMethod(o.method) {
		return original{}, errMethod
	}
	switch o.scheme {
	case "http", "https":
	case "ws":
		o.scheme = "http"
	case "wss":
		o.scheme = "https"
	default:
		return original{}, errScheme
	}
	return o, overrides(r.Header, &o)
}

// plainMethod reports whether a method looks like those that are registered
// (RFC 9110, section 16.1.1): capital letters, and a hyphen in some. A method
// is written down as the operation, so nothing else may stand there.
func plainMethod(method string) bool {
	for _, c := range []byte(method) {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return method != "" && len(method) <= 24
}

// overrides refuses headers by which a client asks the application, behind our
// back, for another method or path than the one we judge. Agreeing is harmless.
func overrides(header http.Header, o *original) error {
	for _, name := range [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		for _, value := range header[name] {
			if value != o.method {
				return errAgree
			}
		}
	}
	path, _, _ := strings.Cut(o.target, "?")
	for _, name := range [...]string{"X-Original-Url", "X-Rewrite-Url"} {
		for _, value := range header[name] {
			got, _, _ := strings.Cut(withoutOrigin(value), "?")
			if got != path {
				return errAgree
			}
		}
	}
	return nil
}

// A reader reads headers until the first error, which it keeps.
type reader struct {
	header http.Header
	err    error
}

func (h *reader) fail(err error) {
	if h.err == nil {
		h.err = err
	}
}

// one returns the single value of a header that must be there.
func (h *reader) one(name string, limit int) string {
	value := h.optional(name, limit)
	if value == "" || limit == maxSmall && strings.ContainsAny(value, ", ") {
		h.fail(errHeader)
	}
	return value
}

func (h *reader) optional(name string, limit int) string {
	value, ok := enforce.Single(h.header, name, limit)
	if !ok {
		h.fail(errHeader)
	}
	return value
}

// nginxTarget reads X-Original-URI ($request_uri) and X-Forwarded-Host
// ($http_host), or both from X-Original-URL ($scheme://$http_host$request_uri).
// The Host of the sub-request itself is never taken: nginx passes a client's
// X-Forwarded-Host through unless it sets its own, so a fallback would let the
// client choose.
func (h *reader) nginxTarget(o *original) {
	uri, full := h.optional("X-Original-Uri", maxHeader), h.optional("X-Original-Url", maxHeader)
	o.host, o.target = h.optional("X-Forwarded-Host", maxSmall), uri
	if full != "" {
		o.target = withoutOrigin(full)
		if origin := full[:len(full)-len(o.target)]; origin != "" {
			scheme, host, _ := strings.Cut(origin, "://")
			if scheme != o.scheme || o.host != "" && o.host != host {
				h.fail(errAgree)
			}
			o.host = host
		}
		if uri != "" && uri != o.target {
			h.fail(errAgree)
		}
	}
	if o.target == "" || o.host == "" || strings.ContainsAny(o.host, ", @/") {
		h.fail(errHeader)
	}
}

// nginxAddress reads X-Forwarded-For ($proxy_add_x_forwarded_for or
// $remote_addr) or X-Real-IP ($remote_addr). A client can send the one that
// the proxy does not set, so when both are there they must agree.
func (h *reader) nginxAddress() netip.Addr {
	real := h.optional("X-Real-Ip", maxSmall)
	if h.header["X-Forwarded-For"] == nil && real != "" {
		return h.address(real)
	}
	address := h.last("X-Forwarded-For")
	if real != "" && h.address(real) != address {
		h.fail(errAgree)
	}
	return address
}

// last returns the last address of a list. The trusted point appended it;
// everything to the left is hearsay from whoever is in front of it.
func (h *reader) last(name string) netip.Addr {
	value := h.optional(name, maxChain)
	if comma := strings.LastIndexByte(value, ','); comma >= 0 {
		value = strings.TrimLeft(value[comma+1:], " \t")
	}
	return h.address(value)
}

func (h *reader) address(s string) netip.Addr {
	address, err := netip.ParseAddr(s)
	if err != nil || address.Zone() != "" || address.IsUnspecified() {
		h.fail(errAddress)
		return netip.Addr{}
	}
	return address.Unmap()
}

// withoutOrigin removes "scheme://host" from a URL, if it has one.
func withoutOrigin(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || strings.ContainsAny(scheme, "/?#") {
		return url
	}
	if slash := strings.IndexAny(rest, "/?#"); slash >= 0 {
		return rest[slash:]
	}
	return ""
}
