// Package geo tells, offline, in which country an address is used and which
// autonomous system announces it.
//
// The answer comes from one file that is compiled into the binary
// (data/geo.bin, a few megabytes): the public ranges of two free databases,
// cut at every border of either, sorted, and packed. Nothing is asked over
// the network. A new file is made with
//
//	go generate ./internal/geo
//
// which fetches the two source packages, or reads CSV files given by flags
// (see the gen folder). The source is not renewed for ever, so a Table knows
// the date of its data and says when it has grown stale.
//
// Three limits to keep in mind. The country of an address is an estimate from
// registries and published feeds; the country of a cloud region (see
// RegionCountry) is a fact. Below a /64 an IPv6 address is not told apart.
// And addresses that are not routed publicly have no place at all: Lookup
// returns the zero Place for them and Private says so.
package geo

//go:generate go run ./gen -out data/geo.bin

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"sort"
	"sync"
	"time"
)

// MaxAge is the age past which a Table calls itself stale. Address space is
// sold and moved all the time: after half a year some two in a hundred
// answers are wrong.
const MaxAge = 180 * 24 * time.Hour

// A Place is what the table knows about an address. The zero Place means
// that nothing is known.
type Place struct {
	Country      string // ISO 3166-1 alpha-2, upper case; "" if unknown
	ASN          uint32 // autonomous system number; 0 if unknown
	Organization string // who runs the autonomous system, as registered; "" if unknown. Hostile text.
}

// A Range is a run of addresses of one family, both ends included.
type Range struct {
	From, To netip.Addr
}

// A Table answers lookups. It is immutable and safe for concurrent use. It
// holds no pointers besides its few slices, so the collector does not walk it.
type Table struct {
	built  time.Time
	names  string   // all organisation names, end to end
	orgs   []uint32 // where each name starts in names, plus the end
	asns   []system // by index
	codes  string   // country codes, two bytes each
	places []pair   // by index; 0 is the unknown place

	v4      []uint32         // first address of each segment; the segment ends where the next begins
	v4place []uint32         // the place of that segment
	v4index [1<<16 + 1]int32 // for each /16 the first segment that starts in or after it

	v6      []uint64 // first /64 of each segment
	v6place []uint32
	v6top   []uint64 // every 64th of v6
}

// A system is an autonomous system: its number and the index of its name.
type system struct{ number, org uint32 }

// A pair is a place in indexes: codes[2*country:] and asns[asn].
type pair struct {
	asn     uint32
	country uint16
}

//go:embed data/geo.bin
var embedded []byte

var loadDefault = sync.OnceValues(func() (*Table, error) { return Decode(embedded) })

// Default returns the table compiled into the binary. The first call unpacks
// it, which takes some 60 ms and keeps 14 MB; later calls are free. An error
// means that the file in the binary is damaged.
func Default() (*Table, error) {
	t, err := loadDefault()
	if err != nil {
		return nil, fmt.Errorf("embedded address table: %w", err)
	}
	return t, nil
}

// Lookup returns the place of addr, or the zero Place if nothing is known.
// An IPv4 address mapped into IPv6 counts as IPv4. It allocates nothing.
func (t *Table) Lookup(addr netip.Addr) Place {
	addr = addr.Unmap()
	if !addr.IsValid() || Private(addr) {
		return Place{}
	}
	if addr.Is4() {
		b := addr.As4()
		return t.place(t.find4(binary.BigEndian.Uint32(b[:])))
	}
	b := addr.As16()
	return t.place(t.find6(binary.BigEndian.Uint64(b[:8])))
}

// find4 returns the place index of an IPv4 address. Address space is dense,
// so the first 16 bits narrow the search to a handful of segments.
func (t *Table) find4(a uint32) uint32 {
	lo, hi := t.v4index[a>>16], t.v4index[a>>16+1]
	for lo < hi { // the first segment that starts after a
		mid := int32(uint32(lo+hi) >> 1)
		if t.v4[mid] <= a {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return 0
	}
	return t.v4place[lo-1]
}

// find6 searches every 64th segment first: that list stays in the cache,
// where the whole of it would not.
func (t *Table) find6(a uint64) uint32 {
	block := upper(t.v6top, a)
	if block == 0 {
		return 0
	}
	lo := (block - 1) * stride
	hi := min(lo+stride, len(t.v6))
	return t.v6place[lo+upper(t.v6[lo:hi], a)-1]
}

const stride = 64

// upper returns the index of the first element above a.
func upper(list []uint64, a uint64) int {
	lo, hi := 0, len(list)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if list[mid] <= a {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// place spells out a place index.
func (t *Table) place(i uint32) Place {
	if i == 0 {
		return Place{}
	}
	p := t.places[i]
	sys := t.asns[p.asn]
	out := Place{ASN: sys.number, Organization: t.names[t.orgs[sys.org]:t.orgs[sys.org+1]]}
	if p.country != 0 {
		out.Country = t.codes[2*p.country : 2*p.country+2]
	}
	return out
}

// Built returns the date of the source data, UTC.
func (t *Table) Built() time.Time { return t.built }

// Stale reports whether the data is older than MaxAge at now. A stale table
// still answers; tell the operator.
func (t *Table) Stale(now time.Time) bool { return now.Sub(t.built) > MaxAge }

// Attribution returns the sentence that the licence of the data wants shown
// wherever a result of the table is shown.
func (t *Table) Attribution() string {
	return "IP geolocation by DB-IP (https://db-ip.com), RouteViews (https://www.routeviews.org) and the NRO (https://www.nro.net), CC BY 4.0, through ip-location-db; data of " +
		t.built.Format(time.DateOnly) + "."
}

// Networks walks all known ranges, IPv4 first, in rising order. Each IPv6
// range covers whole /64 networks.
func (t *Table) Networks() iter.Seq2[Range, Place] {
	return func(yield func(Range, Place) bool) {
		for i, from := range t.v4 {
			if t.v4place[i] == 0 {
				continue
			}
			if !yield(Range{addr4(from), addr4(t.end4(i))}, t.place(t.v4place[i])) {
				return
			}
		}
		for i, from := range t.v6 {
			if t.v6place[i] == 0 {
				continue
			}
			to := ^uint64(0)
			if i+1 < len(t.v6) {
				to = t.v6[i+1] - 1
			}
			if !yield(Range{addr6(from, 0), addr6(to, ^uint64(0))}, t.place(t.v6place[i])) {
				return
			}
		}
	}
}

// Sample draws a public IPv4 address of the given country (any if "") and
// autonomous system (any if 0), every matching address equally likely. It
// returns false if there is none. It walks the whole table, some
// milliseconds: who draws often keeps the Space.
func (t *Table) Sample(rnd *rand.Rand, country string, asn uint32) (netip.Addr, bool) {
	s := t.Space(country, asn)
	return s.Sample(rnd)
}

// A Space is the public IPv4 addresses of a country and system, to draw from.
// It is immutable and safe for concurrent use; the zero Space is empty.
type Space struct {
	ends   []uint64 // running total of addresses
	starts []uint32
}

// Space gathers the addresses of the given country (any if "") and autonomous
// system (any if 0). It walks the whole table, some milliseconds.
func (t *Table) Space(country string, asn uint32) Space {
	fits := make([]bool, len(t.places))
	for i := 1; i < len(t.places); i++ {
		p := t.place(uint32(i))
		fits[i] = (country == "" || p.Country == country) && (asn == 0 || p.ASN == asn)
	}
	var s Space
	total := uint64(0)
	for i, from := range t.v4 {
		if !fits[t.v4place[i]] || Private(addr4(from)) {
			continue
		}
		total += uint64(t.end4(i)-from) + 1
		s.ends, s.starts = append(s.ends, total), append(s.starts, from)
	}
	return s
}

// Sample draws an address, every one equally likely; false if there is none.
func (s *Space) Sample(rnd *rand.Rand) (netip.Addr, bool) {
	if len(s.ends) == 0 {
		return netip.Addr{}, false
	}
	n := rnd.Uint64N(s.ends[len(s.ends)-1])
	i := sort.Search(len(s.ends), func(i int) bool { return s.ends[i] > n })
	if i > 0 {
		n -= s.ends[i-1]
	}
	return addr4(s.starts[i] + uint32(n)), true
}

func (t *Table) end4(i int) uint32 {
	if i+1 < len(t.v4) {
		return t.v4[i+1] - 1
	}
	return ^uint32(0)
}

func addr4(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

func addr6(hi, lo uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

// Family returns the network that addr is counted under: its /24 for IPv4,
// its /48 for IPv6. One caller keeps to one family far longer than to one
// address. The zero Prefix stands for an invalid address.
func Family(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil { // addr is invalid
		return netip.Prefix{}
	}
	return p
}

// Private reports whether addr is not publicly routed: private, loopback,
// link-local, multicast, reserved, for documentation, or invalid. The ranges
// are those of RFC 6890 and the registries it set up.
func Private(addr netip.Addr) bool {
	addr = addr.Unmap()
	if !addr.IsValid() {
		return true
	}
	if addr.Is4() {
		b := addr.As4()
		return private4(binary.BigEndian.Uint32(b[:]))
	}
	b := addr.As16()
	hi := binary.BigEndian.Uint64(b[:8])
	switch {
	case hi>>61 != 1: // outside 2000::/3 nothing is global unicast today
		return true
	case hi>>32 == 0x2001_0db8, hi>>44 == 0x3fff0: // documentation, RFC 3849 and RFC 9637
		return true
	}
	return false
}

func private4(a uint32) bool {
	switch a >> 24 {
	case 0, 10, 127:
		return true
	case 100:
		return a>>22 == 100<<2|1 // 100.64.0.0/10, carrier-grade NAT, RFC 6598
	case 169:
		return a>>16 == 169<<8|254
	case 172:
		return a>>20 == 172<<4|1
	case 192:
		switch a >> 8 {
		case 192 << 16, 192<<16 | 2: // protocol assignments; documentation, RFC 5737
			return true
		}
		return a>>16 == 192<<8|168
	case 198:
		return a>>17 == (198<<8|18)>>1 || a>>8 == 198<<16|51<<8|100 // benchmarking, RFC 2544; documentation
	case 203:
		return a>>8 == 203<<16|113 // documentation
	}
	return a >= 224<<24 // multicast, reserved, broadcast
}
