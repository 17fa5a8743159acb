package signals

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A Reach says which addresses a client of this package may connect to. The
// zero Reach allows public addresses only: a receiver that chooses an endpoint
// must not make this host ask its own services, the metadata service of its
// cloud, or the inner network.
type Reach struct {
	// Loopback also allows this machine, by plain HTTP too: for a server that
	// itself can be reached from nowhere else.
	Loopback bool
	// Hosts are names that an administrator vouches for: they may lead to
	// private addresses.
	Hosts []string
}

const wireTimeout = 20 * time.Second

// Check returns an error that says what is wrong with a URL as a destination,
// as far as its text tells; where its name leads is looked at with each
// connection.
func (r Reach) Check(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || len(raw) > 2048 || !plain(raw, 2048):
		return errors.New("want an absolute URL of at most 2048 characters")
	case u.User != nil || u.Fragment != "" || strings.Contains(raw, "#"):
		return errors.New("want a URL without user and fragment")
	case u.Scheme == "http" && r.Loopback && loopback(u.Hostname()):
		return nil
	case u.Scheme != "https":
		return errors.New("want https")
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		return r.allow(u.Hostname(), a)
	}
	if loopback(u.Hostname()) && !r.Loopback {
		return errLocal
	}
	return nil
}

var errLocal = errors.New("the address is one of this host, or of its network only; an administrator can name the host in signals.push_hosts if it is private")

// allow says whether a connection to a host that resolved to an address may be
// made.
func (r Reach) allow(host string, a netip.Addr) error {
	a = embedded(a.Unmap())
	switch {
	case a.IsLoopback():
		if !r.Loopback {
			return errLocal
		}
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), !a.IsValid(), within(a, never):
		return errLocal // metadata services live here; nobody can vouch for them
	case a.IsPrivate(), within(a, inner):
		if !slices.Contains(r.Hosts, strings.ToLower(host)) {
			return errLocal
		}
	}
	return nil
}

// Networks that are no part of the internet (RFC 6890). In those of never there
// are metadata services of clouds, what a translator of somebody's own network makes
// of any address (RFC 8215), or nothing that could be meant.
var (
	inner = prefixes("100.64.0.0/10", "198.18.0.0/15", "fec0::/10")
	never = prefixes("0.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.0/24", "240.0.0.0/4", "fd00:ec2::/32", "fd20:ce::/32", "64:ff9b:1::/48")
	wraps = map[netip.Prefix]int{ // where an IPv6 address of this network has the IPv4 address that it leads to
		netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("::/96"): 12, netip.MustParsePrefix("2002::/16"): 2,
	}
)

func prefixes(of ...string) (out []netip.Prefix) {
	for _, s := range of {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// embedded is the IPv4 address that a translator (RFC 6052), a 6to4 relay (RFC
// 3056) or an old stack makes of an IPv6 address; any other stays as it is.
func embedded(a netip.Addr) netip.Addr {
	if !a.Is6() || a.IsLoopback() || a.IsUnspecified() {
		return a
	}
	for network, at := range wraps {
		if network.Contains(a) {
			b := a.As16()
			return netip.AddrFrom4([4]byte(b[at : at+4]))
		}
	}
	return a
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// Client returns a client that connects only where r allows, by each address
// that a name really leads to, uses no proxy and follows no redirect. wait is
// for answers that take long; 0: 20 seconds. base holds certificates; nil: the
// system's.
func (r Reach) Client(base *http.Transport, wait time.Duration) *http.Client {
	if wait == 0 {
		wait = wireTimeout
	}
	if base == nil {
		base = &http.Transport{ForceAttemptHTTP2: true}
	}
	t := base.Clone()
	t.Proxy = nil
	t.MaxResponseHeaderBytes = 64 << 10
	t.TLSHandshakeTimeout = 10 * time.Second
	t.IdleConnTimeout = time.Minute
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, to string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(to)
			if err != nil {
				return errLocal
			}
			return r.allow(host, at.Addr())
		}}
		return d.DialContext(ctx, network, address)
	}
	return &http.Client{Transport: t, Timeout: wait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Body reads a body of at most most bytes and of a media type; a Refusal says
// what is wrong with it.
func Body(r *http.Request, mediaType string, most int64) ([]byte, error) {
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != mediaType {
		return nil, refuse(CodeRequest, "the body must be %s", mediaType)
	}
	return Read(r.Body, most)
}

// Read reads at most most bytes; a Refusal says that there were more.
func Read(from io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, most+1))
	if err != nil {
		return nil, refuse(CodeRequest, "the body ended badly")
	}
	if int64(len(data)) > most {
		return nil, refuse(CodeRequest, "the body is over %d bytes", most)
	}
	return data, nil
}

// Plain takes what a client's error quotes of a URL, which may hold a secret,
// out of it.
func Plain(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}
