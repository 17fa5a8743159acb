package enforce

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// An Original is the request that a point asks about, as the point tells it.
type Original struct {
	Method  string
	Scheme  string // http or https
	Host    string // with port, if the client wrote one
	Target  string // path and query, still encoded
	Address netip.Addr
}

// URL is what a DPoP proof names as htu: no query (RFC 9449, section 4.2). It
// is empty for a request that could not be read, so that no proof is for it.
func (o *Original) URL() string {
	if o.Host == "" {
		return ""
	}
	path, _, _ := strings.Cut(o.Target, "?")
	return o.Scheme + "://" + o.Host + path
}

// Carried are the headers of a request that [Judge] looks at, in canonical
// form: what the caller proves itself with, what is written down, and those by
// which a client asks the application for something else than what is judged.
var Carried = [...]string{
	"Authorization", "Dpop", "Muster-Attestation",
	"X-Request-Id", "User-Agent",
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url",
}

// guarded are headers that an application believes because somebody has looked
// at them, or has written them himself.
var guarded = map[string]bool{
	"muster-identity": true, "muster-decision": true, "muster-attestation": true,
	"x-http-method-override": true, "x-http-method": true, "x-method-override": true, "x-original-url": true, "x-rewrite-url": true,
}

// Odd reports whether the name of a header has other signs than letters, digits and
// hyphens, such as an underscore or a dot (RFC 9110, section 5.1, advises against
// them).
func Odd(name string) bool { return strings.ContainsFunc(name, oddSign) }

func oddSign(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
}

// Disguised reports whether a header is one of those that matter, spelled with an
// underscore or another odd sign. Where headers become variables, as in CGI (RFC
// 3875, section 4.1.18) and all that descends from it, several spellings are one to
// the application, and only one was looked at or replaced: of a hyphen all make an
// underscore, of a dot some do.
func Disguised(name string) bool {
	return Odd(name) && guarded[strings.Map(func(r rune) rune {
		switch {
		case oddSign(r):
			return '-'
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)]
}

// Why a point's account of a request is refused.
var (
	errScheme = errors.New("the scheme is neither http nor https")
	errMethod = errors.New("the method is none that is known to HTTP")
	errAgree  = errors.New("two headers tell different things")
)

// Check refuses a request that cannot be judged: a method that is no word, a
// scheme that is not HTTP's, and a header by which a client asks the
// application, behind our back, for another method or path than the one that
// is judged. Agreeing is harmless. It brings the scheme into its plain form,
// and leaves nothing of a request whose method or scheme it refuses: those may
// be anything, even a secret.
func (o *Original) Check(header http.Header) error {
	if !plainMethod(o.Method) {
		*o = Original{}
		return errMethod
	}
	switch o.Scheme {
	case "http", "https":
	case "ws":
		o.Scheme = "http"
	case "wss":
		o.Scheme = "https"
	default:
		*o = Original{}
		return errScheme
	}
	for _, name := range [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		for _, value := range header[name] {
			if value != o.Method {
				return errAgree
			}
		}
	}
	for name := range header {
		if Disguised(name) {
			return errAgree
		}
	}
	path, _, _ := strings.Cut(o.Target, "?")
	for _, name := range [...]string{"X-Original-Url", "X-Rewrite-Url"} {
		for _, value := range header[name] {
			got, _, _ := strings.Cut(WithoutOrigin(value), "?")
			if got != path {
				return errAgree
			}
		}
	}
	return nil
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

// WithoutOrigin removes "scheme://host" from a URL, if it has one.
func WithoutOrigin(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || strings.ContainsAny(scheme, "/?#") {
		return url
	}
	if slash := strings.IndexAny(rest, "/?#"); slash >= 0 {
		return rest[slash:]
	}
	return ""
}

// CallerAddress reads the address that a point saw its caller at: an address
// alone, without port or zone. It is not ok for what names nobody.
func CallerAddress(s string) (_ netip.Addr, ok bool) {
	address, err := netip.ParseAddr(s)
	if err != nil || address.Zone() != "" || address.IsUnspecified() {
		return netip.Addr{}, false
	}
	return address.Unmap(), true
}

// An Asking is one request that an enrolled point asks about.
type Asking struct {
	Point    *nhi.Point
	Original Original
	// Err says why the request could not be read; nil when it could. It is
	// judged all the same: who calls is found out, and the log says so.
	Err error
	// Header holds the caller's own headers in canonical form, repeated ones as
	// often as they came: at least those that [Carried] names.
	Header http.Header
	// Certificates are what the caller's connection showed, its own first. The point
	// saw that the caller holds the key. Empty when it showed none.
	Certificates []*x509.Certificate
}

// Evidence is what the caller proves itself with at a time. It is not plain, and
// proves nothing, when a header of it is repeated or malformed.
func (a *Asking) Evidence(at time.Time) (e nhi.Evidence, plain bool) {
	o := &a.Original
	e = nhi.Evidence{Method: o.Method, URL: o.URL(), Address: o.Address, At: at}
	if len(a.Certificates) > 0 {
		e.Certificate, e.Between = a.Certificates[0], a.Certificates[1:]
	}
	plain = true
	for _, field := range [...]struct {
		name string
		to   *string
	}{{"Authorization", &e.Authorization}, {"Dpop", &e.Proof}, {"Muster-Attestation", &e.Attestation}} {
		value, ok := Single(a.Header, field.name, maxHeader)
		*field.to, plain = value, plain && ok
	}
	return e, plain
}
