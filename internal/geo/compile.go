package geo

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Source is the material a table is compiled from: lists of ranges as CSV,
// one range a line, "first,last,country" for Country and
// "first,last,number,organisation" for ASN, addresses written out, sorted, of
// one family.
type Source struct {
	Built              time.Time // the date of the data
	Country4, Country6 io.Reader
	ASN4, ASN6         io.Reader
}

// Compile makes the file that Decode reads. It takes a few seconds. Ranges
// that overlap an earlier one lose the overlap; an address that is only in
// one of the lists has a Place of half the facts.
func Compile(src Source) ([]byte, error) {
	b := &builder{places: map[rawPlace]uint32{{}: 0}, list: []rawPlace{{}}}
	countries4, err := readRanges("country IPv4", src.Country4, false)
	if err != nil {
		return nil, err
	}
	countries6, err := readRanges("country IPv6", src.Country6, false)
	if err != nil {
		return nil, err
	}
	systems4, err := readRanges("system IPv4", src.ASN4, true)
	if err != nil {
		return nil, err
	}
	systems6, err := readRanges("system IPv6", src.ASN6, true)
	if err != nil {
		return nil, err
	}
	starts4, places4 := b.merge(countries4, systems4, 1<<32-1)
	starts6, places6 := b.merge(countries6, systems6, ^uint64(0))
	t := b.table()
	t.built = src.Built
	t.v4 = make([]uint32, len(starts4))
	for i, s := range starts4 {
		t.v4[i] = uint32(s)
	}
	t.v4place, t.v6, t.v6place = b.renumber(places4), starts6, b.renumber(places6)
	return t.encode()
}

// A rawRange is one line of a source. IPv4 addresses are numbers below 2^32,
// IPv6 addresses are cut to their /64.
type rawRange struct {
	from, to uint64
	rawPlace
}

// A rawPlace is what a segment is about before it gets an index.
type rawPlace struct {
	country string
	asn     uint32
	org     string
}

func readRanges(what string, src io.Reader, systems bool) ([]rawRange, error) {
	r := csv.NewReader(bufio.NewReaderSize(src, 1<<16))
	r.ReuseRecord = true
	r.FieldsPerRecord = 3
	if systems {
		r.FieldsPerRecord = 4
	}
	var out []rawRange
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s ranges: %w", what, err)
		}
		rng, err := parseRange(row, systems)
		if err != nil {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("read %s ranges: line %d: %w", what, line, err)
		}
		if n := len(out); n > 0 && rng.from <= out[n-1].to {
			if rng.from < out[n-1].from {
				line, _ := r.FieldPos(0)
				return nil, fmt.Errorf("read %s ranges: line %d: not sorted", what, line)
			}
			if rng.to <= out[n-1].to {
				continue
			}
			rng.from = out[n-1].to + 1
		}
		out = append(out, rng)
	}
}

func parseRange(row []string, systems bool) (rawRange, error) {
	from, err := parseAddr(row[0])
	if err != nil {
		return rawRange{}, err
	}
	to, err := parseAddr(row[1])
	if err != nil {
		return rawRange{}, err
	}
	if to < from {
		return rawRange{}, errors.New("range ends before it starts")
	}
	if !systems {
		code := strings.ToUpper(strings.Clone(row[2]))
		if len(code) != 2 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return rawRange{}, fmt.Errorf("%q is not a country code", code)
		}
		if code == unknownCountry {
			code = ""
		}
		return rawRange{from, to, rawPlace{country: code}}, nil
	}
	asn, err := strconv.ParseUint(row[2], 10, 32)
	if err != nil {
		return rawRange{}, fmt.Errorf("autonomous system: %w", err)
	}
	name := strings.ToValidUTF8(strings.TrimSpace(row[3]), "")
	return rawRange{from, to, rawPlace{asn: uint32(asn), org: strings.Clone(name[:min(len(name), 200)])}}, nil
}

func parseAddr(s string) (uint64, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return 0, err
	}
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:])), nil
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), nil
}

// unknownCountry is the user-assigned ISO code that lists use for "unknown".
const unknownCountry = "ZZ"

// A builder gives places their index.
type builder struct {
	places map[rawPlace]uint32
	list   []rawPlace
	final  []uint32 // from the index in list to the index in the table
}

func (b *builder) place(p rawPlace) uint32 {
	i, ok := b.places[p]
	if !ok {
		i = uint32(len(b.list))
		b.places[p] = i
		b.list = append(b.list, p)
	}
	return i
}

// merge walks two sorted lists and cuts a new segment wherever the place
// changes, gaps included.
func (b *builder) merge(countries, systems []rawRange, last uint64) (starts []uint64, places []uint32) {
	cuts := make([]uint64, 0, 2*(len(countries)+len(systems)))
	for _, list := range [][]rawRange{countries, systems} {
		for _, r := range list {
			cuts = append(cuts, r.from)
			if r.to < last {
				cuts = append(cuts, r.to+1)
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var c, s int
	for _, at := range cuts {
		var p rawPlace
		for c < len(countries) && countries[c].to < at {
			c++
		}
		for s < len(systems) && systems[s].to < at {
			s++
		}
		if c < len(countries) && countries[c].from <= at {
			p.country = countries[c].country
		}
		if s < len(systems) && systems[s].from <= at {
			p.asn, p.org = systems[s].asn, systems[s].org
		}
		i := b.place(p)
		if n := len(places); n > 0 && places[n-1] == i || n == 0 && i == 0 {
			continue
		}
		starts, places = append(starts, at), append(places, i)
	}
	return starts, places
}

// table lays out names, systems, codes and places, all sorted, so that like
// stands by like and packs well.
func (b *builder) table() *Table {
	orgs, codes := []string{""}, []string(nil)
	systems := []rawPlace{{}}
	for _, p := range b.list {
		orgs, codes = append(orgs, p.org), append(codes, p.country)
		systems = append(systems, rawPlace{asn: p.asn, org: p.org})
	}
	codes = slices.DeleteFunc(codes, func(s string) bool { return s == "" })
	orgs, codes, systems = sorted(orgs, cmp.Compare[string]), sorted(codes, cmp.Compare[string]), sorted(systems, comparePlaces)
	codes = append([]string{unknownCountry}, codes...) // index 0

	t := &Table{names: strings.Join(orgs, ""), codes: strings.Join(codes, ""), orgs: make([]uint32, 1, len(orgs)+1)}
	for _, name := range orgs {
		t.orgs = append(t.orgs, t.orgs[len(t.orgs)-1]+uint32(len(name)))
	}
	for _, s := range systems {
		org, _ := slices.BinarySearch(orgs, s.org)
		t.asns = append(t.asns, system{number: s.asn, org: uint32(org)})
	}
	order := slices.Clone(b.list)
	slices.SortFunc(order, comparePlaces) // the unknown place sorts first
	b.final = make([]uint32, len(b.list))
	for i, p := range order {
		b.final[b.places[p]] = uint32(i)
		asn, _ := slices.BinarySearchFunc(systems, rawPlace{asn: p.asn, org: p.org}, comparePlaces)
		country := 0
		if p.country != "" {
			found, _ := slices.BinarySearch(codes[1:], p.country)
			country = found + 1
		}
		t.places = append(t.places, pair{asn: uint32(asn), country: uint16(country)})
	}
	return t
}

func (b *builder) renumber(places []uint32) []uint32 {
	out := make([]uint32, len(places))
	for i, p := range places {
		out[i] = b.final[p]
	}
	return out
}

func comparePlaces(a, b rawPlace) int {
	return cmp.Or(cmp.Compare(a.asn, b.asn), cmp.Compare(a.org, b.org), cmp.Compare(a.country, b.country))
}

func sorted[T comparable](s []T, compare func(a, b T) int) []T {
	slices.SortFunc(s, compare)
	return slices.Compact(s)
}
