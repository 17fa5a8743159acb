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
	maxHeader = 8 << 10 // path
	maxChain  = 4 << 10 // X-Forwarded-For

	maxCertificate = enforce.MaxCertificates // what a point tells of certificates
)

// Why a proxy's account of a request is refused.
var (
	errDialect = errors.New("the point has no forward-auth dialect")
	errHeader  = errors.New("a header is missing, repeated, too long or not plain")
	errAddress = errors.New("the caller's address is missing or not an address")
	errAgree   = errors.New("two headers tell different things")
)

// read returns the original request in a dialect. It demands exactly one
// value of each header that the dialect names. What a client may have sent
// under another name is not read, or must agree: a proxy passes the client's
// own headers through beside those that it sets.
func read(r *http.Request, dialect nhi.Dialect) (enforce.Original, error) {
	h := reader{header: r.Header}
	var o enforce.Original
	switch dialect {
	case nhi.DialectNginx:
		o.Method = h.one("X-Original-Method", maxSmall)
		o.Scheme = h.one("X-Forwarded-Proto", maxSmall)
		h.nginxTarget(&o)
		o.Address = h.nginxAddress()
	case nhi.DialectCaddy, nhi.DialectTraefik, nhi.DialectHAProxy:
		o.Method = h.one("X-Forwarded-Method", maxSmall)
		o.Scheme = h.one("X-Forwarded-Proto", maxSmall)
		o.Host = h.one("X-Forwarded-Host", maxSmall)
		o.Target = h.one("X-Forwarded-Uri", maxHeader)
		o.Address = h.last("X-Forwarded-For")
	case nhi.DialectEnvoy:
		// Envoy's HTTP ext_authz repeats the request itself below a path prefix.
		o.Method, o.Host = r.Method, r.Host
		o.Scheme = h.one("X-Forwarded-Proto", maxSmall)
		o.Target = strings.TrimPrefix(r.RequestURI, Path)
		o.Address = h.last("X-Forwarded-For")
	default:
		return enforce.Original{}, errDialect
	}
	if h.err != nil {
		return enforce.Original{}, h.err
	}
	return o, nil
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
//
// X-Original-Host ($host) is which server nginx took the request to. Where the
// target names a host as well (RFC 9112, section 3.2.2), that is another one than
// $http_host, and the application of the one would be asked what only that of the
// other may.
func (h *reader) nginxTarget(o *enforce.Original) {
	uri, full := h.optional("X-Original-Uri", maxHeader), h.optional("X-Original-Url", maxHeader)
	o.Host, o.Target = h.optional("X-Forwarded-Host", maxSmall), uri
	if full != "" {
		o.Target = enforce.WithoutOrigin(full)
		if origin := full[:len(full)-len(o.Target)]; origin != "" {
			scheme, host, _ := strings.Cut(origin, "://")
			if scheme != o.Scheme || o.Host != "" && o.Host != host {
				h.fail(errAgree)
			}
			o.Host = host
		}
		if uri != "" && uri != o.Target {
			h.fail(errAgree)
		}
	}
	if o.Target == "" || o.Host == "" || strings.ContainsAny(o.Host, ", @/") {
		h.fail(errHeader)
	}
	if server := h.optional("X-Original-Host", maxSmall); server != "" && !enforce.SameHost(server, o.Host) {
		h.fail(errAgree)
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
	address, ok := enforce.CallerAddress(s)
	if !ok {
		h.fail(errAddress)
	}
	return address
}
