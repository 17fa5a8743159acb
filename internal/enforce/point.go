package enforce

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// A PointStore knows the enrolled points. It reads memory only.
type PointStore interface {
	PointByKeyID(keyID string) (nhi.Point, bool)
}

// Points finds out which enforcement point is asking.
type Points struct{ store PointStore }

// NewPoints returns Points that look into store.
func NewPoints(store PointStore) *Points { return &Points{store: store} }

// nobody is compared with when the key id is unknown, so that an unknown id
// takes as long as a wrong secret. Nothing hashes to it that anyone can find.
var nobody = key.VerifierOf("no enforcement point has this key")

// Authenticate returns the point whose key headerValue carries ("Bearer
// muster_pnt_…") and which may speak from remote. Every error wraps
// nhi.ErrDenied. An unknown key id, a wrong secret and a disabled point give
// the same error in the same time; only who holds the key learns that the
// address is the problem.
func (p *Points) Authenticate(headerValue string, remote netip.AddrPort) (nhi.Point, error) {
	secret, ok := Bearer(headerValue)
	if !ok {
		return nhi.Point{}, fmt.Errorf("authenticate point: no key: %w", nhi.ErrDenied)
	}
	parsed, err := key.Parse(secret)
	if err != nil || parsed.Kind != key.Point {
		return nhi.Point{}, fmt.Errorf("authenticate point: not a point's key: %w", nhi.ErrDenied)
	}
	point, known := p.store.PointByKeyID(parsed.ID)
	verifier := nobody
	if known && len(point.Verifier) == len(verifier) {
		verifier = key.Verifier(point.Verifier)
	}
	if matches := verifier.Matches(secret); !matches || !known || point.Disabled {
		return nhi.Point{}, fmt.Errorf("authenticate point with key %s: unknown, wrong or disabled: %w", parsed.ID, nhi.ErrDenied)
	}
	if !trusts(point.Sources, remote.Addr()) {
		return nhi.Point{}, fmt.Errorf("authenticate point %s: %v is not one of its addresses: %w", point.ID, remote.Addr(), nhi.ErrDenied)
	}
	return point, nil
}

// Bearer returns the credential of an "Authorization: Bearer" value. The
// scheme's case does not matter (RFC 9110, section 11.1); exactly one space
// separates it from the credential.
func Bearer(value string) (credential string, ok bool) {
	const scheme = "bearer "
	if len(value) <= len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	credential = value[len(scheme):]
	return credential, !strings.ContainsAny(credential, " \t,")
}

// trusts reports whether address is in one of the sources, each an address or
// a prefix. No sources means loopback. What cannot be parsed trusts nobody.
func trusts(sources []string, address netip.Addr) bool {
	if !address.IsValid() {
		return false
	}
	address = address.Unmap().WithZone("")
	if len(sources) == 0 {
		return address.IsLoopback()
	}
	for _, source := range sources {
		if prefix, err := ParseSource(source); err == nil && prefix.Contains(address) {
			return true
		}
	}
	return false
}

// ParseSource reads a trusted source of a point: an address or a prefix, IPv4
// or IPv6, without a zone. The error wraps nhi.ErrInvalid.
func ParseSource(s string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(s); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, nhi.Invalidf("trusted source %q is neither an address nor a prefix", s)
	}
	return prefix.Masked(), nil
}
