package geo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The file: the magic, a version byte, the date of the data (Unix seconds,
// 8 bytes, big endian), then one zstd frame with a checksum. The frame holds,
// one after the other, each as a count and its columns: organisation names,
// systems, country codes, places, IPv4 segments, IPv6 segments. Every number
// is an unsigned varint. A column of like things packs far better than rows:
// first addresses are kept as gaps, and a gap as its trailing zeros and the
// rest.
const (
	magic      = "MGEO"
	version    = 1
	headerSize = len(magic) + 1 + 8

	maxSegments = 1 << 22 // per family; four times what the world has today
	maxPlaces   = 1 << 20
	maxUnpacked = 64 << 20
)

var errMalformed = errors.New("malformed address table")

// Decode reads a file written by Compile. It refuses, with an error, whatever
// Compile cannot have written; data that passes never makes a lookup fail.
func Decode(data []byte) (*Table, error) {
	if len(data) < headerSize || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: not an address table", errMalformed)
	}
	if v := data[len(magic)]; v != version {
		return nil, fmt.Errorf("address table has version %d, want %d", v, version)
	}
	built := binary.BigEndian.Uint64(data[len(magic)+1:])
	if built > 1<<40 {
		return nil, fmt.Errorf("%w: date out of range", errMalformed)
	}
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		return nil, fmt.Errorf("unpack address table: %w", err)
	}
	defer unzip.Close()
	body, err := unzip.DecodeAll(data[headerSize:], nil)
	if err != nil {
		return nil, fmt.Errorf("unpack address table: %w", err)
	}
	t := &Table{built: time.Unix(int64(built), 0).UTC()}
	r := &reader{rest: body}
	t.decodeNames(r)
	t.decodePlaces(r)
	t.decodeSegments(r)
	if r.err == nil && len(r.rest) != 0 {
		r.fail("bytes after the end")
	}
	if r.err != nil {
		return nil, r.err
	}
	t.index()
	return t, nil
}

func (t *Table) decodeNames(r *reader) {
	n := r.count(maxPlaces)
	t.orgs = make([]uint32, 1, n+1)
	for range n {
		t.orgs = append(t.orgs, t.orgs[len(t.orgs)-1]+uint32(r.count(1<<10)))
	}
	if r.err != nil {
		return
	}
	t.names = string(r.take(int(t.orgs[n])))
	n = r.count(maxPlaces)
	t.asns = make([]system, n)
	last := uint64(0)
	for i := range t.asns {
		last += r.uvarint()
		if last > 1<<32-1 {
			r.fail("autonomous system out of range")
		}
		t.asns[i].number = uint32(last)
	}
	for i := range t.asns {
		t.asns[i].org = uint32(r.below(len(t.orgs) - 1))
	}
	t.codes = string(r.take(2 * r.count(1<<10)))
}

func (t *Table) decodePlaces(r *reader) {
	t.places = make([]pair, r.count(maxPlaces))
	for i := range t.places {
		t.places[i].asn = uint32(r.below(len(t.asns)))
	}
	for i := range t.places {
		t.places[i].country = uint16(r.below(len(t.codes) / 2))
	}
	if r.err == nil && (len(t.places) == 0 || t.places[0] != pair{}) {
		r.fail("no unknown place")
	}
}

func (t *Table) decodeSegments(r *reader) {
	starts := r.starts(32)
	t.v4 = make([]uint32, len(starts))
	for i, s := range starts {
		t.v4[i] = uint32(s)
	}
	t.v4place = r.refs(len(starts), len(t.places))
	t.v6 = r.starts(64)
	t.v6place = r.refs(len(t.v6), len(t.places))
}

// index fills v4index and v6top.
func (t *Table) index() {
	for i := 0; i < len(t.v6); i += stride {
		t.v6top = append(t.v6top, t.v6[i])
	}
	next := 0
	for high := range t.v4index {
		for next < len(t.v4) && uint64(t.v4[next]) < uint64(high)<<16 {
			next++
		}
		t.v4index[high] = int32(next)
	}
}

// A reader takes numbers off a column store. After the first error it
// returns zeros, so that callers check once.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errMalformed, why)
		r.rest = nil
	}
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("cut short")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count reads a number of things, each of which takes at least one byte or is
// below limit.
func (r *reader) count(limit int) int {
	v := r.uvarint()
	if v > uint64(limit) {
		r.fail("count out of range")
		return 0
	}
	return int(v)
}

// below reads an index into n things.
func (r *reader) below(n int) int {
	v := r.uvarint()
	if v >= uint64(n) {
		r.fail("index out of range")
		return 0
	}
	return int(v)
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail("cut short")
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// starts reads rising first addresses of the given width.
func (r *reader) starts(width int) []uint64 {
	n := r.count(maxSegments)
	zeros := r.take(n)
	if r.err != nil {
		return nil
	}
	out := make([]uint64, n)
	last := uint64(0)
	for i := range out {
		odd := r.uvarint()
		gap := odd << (zeros[i] & 63)
		next := last + gap
		switch {
		case zeros[i] > 63, gap>>(zeros[i]&63) != odd, next < last, gap == 0 && i > 0, width == 32 && next > 1<<32-1:
			r.fail("segments out of order")
			return nil
		}
		out[i], last = next, next
	}
	return out
}

// refs reads n references to places. A segment often names the place that
// the one two before it named (0), else the place itself (plus one).
func (r *reader) refs(n, places int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		v := r.uvarint()
		switch {
		case v == 0 && i >= 2:
			out[i] = out[i-2]
		case v == 0 || v > uint64(places):
			r.fail("place out of range")
			return nil
		default:
			out[i] = uint32(v - 1)
		}
	}
	return out
}

// encode writes t in the form that Decode reads.
func (t *Table) encode() ([]byte, error) {
	var w []byte
	w = binary.AppendUvarint(w, uint64(len(t.orgs)-1))
	for i := range len(t.orgs) - 1 {
		w = binary.AppendUvarint(w, uint64(t.orgs[i+1]-t.orgs[i]))
	}
	w = append(w, t.names...)
	w = binary.AppendUvarint(w, uint64(len(t.asns)))
	last := uint32(0)
	for _, s := range t.asns {
		w = binary.AppendUvarint(w, uint64(s.number-last))
		last = s.number
	}
	for _, s := range t.asns {
		w = binary.AppendUvarint(w, uint64(s.org))
	}
	w = binary.AppendUvarint(w, uint64(len(t.codes)/2))
	w = append(w, t.codes...)
	w = binary.AppendUvarint(w, uint64(len(t.places)))
	for _, p := range t.places {
		w = binary.AppendUvarint(w, uint64(p.asn))
	}
	for _, p := range t.places {
		w = binary.AppendUvarint(w, uint64(p.country))
	}
	v4 := make([]uint64, len(t.v4))
	for i, s := range t.v4 {
		v4[i] = uint64(s)
	}
	w = appendRefs(appendStarts(w, v4), t.v4place)
	w = appendRefs(appendStarts(w, t.v6), t.v6place)

	var out bytes.Buffer
	out.WriteString(magic)
	out.WriteByte(version)
	out.Write(binary.BigEndian.AppendUint64(nil, uint64(t.built.Unix())))
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderCRC(true), zstd.WithWindowSize(8<<20))
	if err != nil {
		return nil, fmt.Errorf("pack address table: %w", err)
	}
	out.Write(zip.EncodeAll(w, nil))
	return out.Bytes(), nil
}

func appendStarts(w []byte, starts []uint64) []byte {
	w = binary.AppendUvarint(w, uint64(len(starts)))
	last := uint64(0)
	odds := make([]uint64, len(starts))
	for i, s := range starts {
		gap := s - last
		last = s
		zeros := bits.TrailingZeros64(gap)
		if gap == 0 {
			zeros = 0
		}
		odds[i] = gap >> zeros
		w = append(w, byte(zeros))
	}
	for _, odd := range odds {
		w = binary.AppendUvarint(w, odd)
	}
	return w
}

func appendRefs(w []byte, refs []uint32) []byte {
	for i, ref := range refs {
		if i >= 2 && refs[i-2] == ref {
			w = append(w, 0)
			continue
		}
		w = binary.AppendUvarint(w, uint64(ref)+1)
	}
	return w
}
