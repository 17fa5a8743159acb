package extauthz

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/muster-id/muster/internal/enforce"
)

// Bounds on what is read from a request; the message as a whole is bounded by
// the server.
const (
	maxSmall  = 256     // method, scheme, host
	maxTarget = 8 << 10 // path and query
)

// Why a proxy's account of a request is refused.
var (
	errDialect = errors.New("the point's dialect is not envoy")
	errHTTP    = errors.New("the attributes hold no HTTP request")
	errPlain   = errors.New("the method, scheme, host or path is missing, too long or not plain")
	errQuery   = errors.New("the query or the fragment stands apart from the path")
	errAgree   = errors.New("a pseudo-header tells something else than the attributes")
	errAddress = errors.New("the caller's address is missing or not an address")
)

// carried gives the canonical names of the headers that are read, by the lower
// case that HTTP/2 writes them in.
var carried = func() map[string]string {
	names := map[string]string{strings.ToLower(enforce.ForwardedHeader): enforce.ForwardedHeader}
	for _, name := range enforce.Carried {
		names[strings.ToLower(name)] = name
	}
	return names
}()

// single are those that no value with a comma belongs in: where repetitions are
// joined, a comma is one.
var single = map[string]bool{"Authorization": true, "Dpop": true, "Muster-Attestation": true}

// read returns the original request and the caller's headers. The headers are
// there whatever the error, so that who calls is found out all the same.
func read(attributes *auth.AttributeContext) (enforce.Original, http.Header, error) {
	request := attributes.GetRequest().GetHttp()
	if request == nil {
		return enforce.Original{}, nil, errHTTP
	}
	h := headers{request: request, values: make(http.Header, 4)}
	h.read()
	o := enforce.Original{Method: request.GetMethod(), Scheme: request.GetScheme(), Host: request.GetHost(), Target: request.GetPath()}
	address, ok := source(attributes)
	switch {
	case !filled(o.Method, maxSmall) || !filled(o.Scheme, maxSmall) || !filled(o.Host, maxSmall) || !filled(o.Target, maxTarget):
		h.err = errPlain
	case request.GetQuery() != "" || request.GetFragment() != "":
		h.err = errQuery
	case !ok:
		h.err = errAddress
	}
	if h.err != nil {
		return enforce.Original{}, h.values, h.err
	}
	o.Address = address
	return o, h.values, nil
}

func filled(s string, limit int) bool { return s != "" && enforce.Plain(s, limit) }

// source is the far end of the connection that the proxy got the request on.
func source(attributes *auth.AttributeContext) (netip.Addr, bool) {
	return enforce.CallerAddress(attributes.GetSource().GetAddress().GetSocketAddress().GetAddress())
}

// headers are the caller's headers, as far as anybody looks at them.
type headers struct {
	request *auth.AttributeContext_HttpRequest
	values  http.Header
	err     error
}

// read takes both forms, although a proxy sends one: a header in both is
// repeated.
func (h *headers) read() {
	for name, value := range h.request.GetHeaders() {
		name = strings.ToLower(name)
		canonical := carried[name]
		if before, after, repeated := strings.Cut(value, ","); repeated && single[canonical] {
			h.values[canonical] = append(h.values[canonical], before, after)
			continue
		}
		h.add(name, canonical, value)
	}
	for _, header := range h.request.GetHeaderMap().GetHeaders() {
		name := strings.ToLower(header.GetKey())
		value := string(header.GetRawValue())
		if text := header.GetValue(); text != "" {
			if value != "" {
				h.add(name, carried[name], value)
			}
			value = text
		}
		h.add(name, carried[name], value)
	}
}

func (h *headers) add(name, canonical, value string) {
	if canonical != "" {
		h.values[canonical] = append(h.values[canonical], value)
		return
	}
	var told string
	switch name {
	case ":method":
		told = h.request.GetMethod()
	case ":scheme":
		told = h.request.GetScheme()
	case ":authority", "host":
		told = h.request.GetHost()
	case ":path":
		told = h.request.GetPath()
	default:
		if enforce.Disguised(name) {
			h.err = errAgree
		}
		return
	}
	if value != told {
		h.err = errAgree
	}
}
