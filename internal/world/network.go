package world

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/muster-id/muster/internal/geo"
)

// A Network is a place that calls come from: one address of one provider in
// one country.
type Network struct {
	Name    string
	Address netip.Addr
	Place   geo.Place
}

// providers are networks that companies and thieves rent or live in; the
// numbers are public registrations.
var providers = []struct {
	asn      uint32
	hosting  bool
	country  []string
	relative float64 // how much of the company is there
}{
	{16509, true, []string{"US", "IE", "DE"}, 8}, // Amazon
	{14618, true, []string{"US"}, 4},             // Amazon
	{8075, true, []string{"US", "NL"}, 2},        // Microsoft
	{396982, true, []string{"US"}, 1},            // Google Cloud
	{24940, true, []string{"DE", "FI"}, 0},       // Hetzner
	{16276, true, []string{"FR", "CA"}, 0},       // OVH
	{14061, true, []string{"US", "NL"}, 0},       // DigitalOcean
	{3320, false, []string{"DE"}, 0},             // a household provider
	{7922, false, []string{"US"}, 0},             // a household provider
	{4134, false, []string{"CN"}, 0},             // a household provider
	{12389, false, []string{"RU"}, 0},            // a household provider
	{9829, false, []string{"IN"}, 0},             // a household provider
	{28573, false, []string{"BR"}, 0},            // a household provider
	{36903, false, []string{"MA"}, 0},            // a household provider
}

// An origin is a country and a system, of which addresses are drawn.
type origin struct {
	country string
	asn     uint32
}

// space returns the addresses of a place; they are gathered the first time.
func (w *World) space(country string, asn uint32) *geo.Space {
	at := origin{country, asn}
	if s, ok := w.spaces.Load(at); ok {
		return s.(*geo.Space)
	}
	gathered := w.table.Space(country, asn)
	s, _ := w.spaces.LoadOrStore(at, &gathered)
	return s.(*geo.Space)
}

// draw finds an address of the first provider in the list that the table
// knows in that country; the table ages, so one that has vanished is no error.
func (w *World) draw(r *rand.Rand, name, country string, asn uint32) (Network, bool) {
	space := w.space(country, asn)
	for range 64 {
		addr, ok := space.Sample(r)
		if !ok {
			return Network{}, false
		}
		if !addr.Is4() || geo.Private(addr) {
			continue
		}
		return Network{Name: name, Address: addr, Place: w.table.Lookup(addr)}, true
	}
	return Network{}, false
}

func (w *World) drawNetworks(r *rand.Rand) error {
	for _, p := range providers {
		for _, country := range p.country {
			for i := range int(p.relative * 4) {
				if n, ok := w.draw(r, fmt.Sprintf("AS%d %s %d", p.asn, country, i+1), country, p.asn); ok {
					w.networks = append(w.networks, n)
				}
			}
		}
	}
	if len(w.networks) < 8 {
		return fmt.Errorf("draw the networks of the company: the table of %s knows only %d of them", w.table.Built().Format("2006-01-02"), len(w.networks))
	}
	return nil
}

// neighbour returns another address in the same /24.
func neighbour(r *rand.Rand, addr netip.Addr) netip.Addr {
	b := addr.As4()
	for {
		b[3] = byte(1 + r.IntN(254))
		if next := netip.AddrFrom4(b); next != addr {
			return next
		}
	}
}

// elsewhere draws an address that is not in the /24 of home: in the same
// network and country, or in another network, or in another country.
func (w *World) elsewhere(r *rand.Rand, home Network, where Whence) (Network, bool) {
	for range 200 {
		p := pick(r, providers)
		country := pick(r, p.country)
		asn := p.asn
		switch where {
		case SameProvider:
			asn, country = home.Place.ASN, home.Place.Country
		case OtherProvider:
			if p.asn == home.Place.ASN || country != home.Place.Country {
				continue
			}
		case Abroad:
			if country == home.Place.Country || !p.hosting {
				continue
			}
		case Household:
			if p.hosting {
				continue
			}
		}
		n, ok := w.draw(r, string(where), country, asn)
		if ok && geo.Family(n.Address) != geo.Family(home.Address) {
			return n, true
		}
	}
	return Network{}, false
}
