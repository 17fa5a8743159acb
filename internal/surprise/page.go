package surprise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// PageSize is the size of a Page in bytes.
const PageSize = words * 8

// words is the number of 64-bit words in a page. The first is the sequence
// word: odd while the learner writes.
const words = 256

// A Page is what was learned about one identity: a flat array of words, each
// read and written atomically, so that it can lie in any memory, mapped files
// included. Exactly one goroutine at a time may call the methods that write
// (Learn, Touch, Configure, CopyFrom, UnmarshalBinary); the others may be
// called by anyone at any time and never wait. The zero Page is an identity
// never seen, with default Settings. A Page must not be copied by value; use
// CopyFrom.
type Page struct {
	w [words]atomic.Uint64
}

// An image is a private copy of a page's words. All reckoning is done on it.
type image [words]uint64

// Where things are in a page, in words.
const (
	atSequence = iota
	atSettings // events<<32 | seconds; 0: defaults
	atEvents   // learned, ever
	atFirst    // time of the first learned event, microseconds
	atLast     // latest time of a learned event
	atOrigin   // counts are in units of 2^((t-origin)/halfLife)
	atRates    // time the three rates below are reckoned to
	atFast     // rate over 5 minutes | over 1 hour
	atSlow     // rate over 1 day | peak of the first
	atHour     // number of the hour being counted | largest fast rate in it
	atDay      // number of the day | how far the peak may rise in it
	atTouched  // all events, learned or not, ever
	_
	_
	_
	_
	atSeason // 168 hours of the week, 8 bits each
	atStats  = atSeason + 21
	atSlots  = atStats + 3*statFeatures
	atBloom  = atSlots + 2*allSlots

	statFeatures = 9 // all but Rate
	allSlots     = 76
)

// The room of each category: slots for its most frequent values, then words
// of a Bloom filter for whatever was ever seen.
var (
	slotStart  = [categories + 1]int{0, 16, 24, 32, 40, 64, 68, 76}
	bloomStart = [categories + 1]int{0, 14, 16, 18, 20, 38, 38, 40}
)

// read copies the page into m, all words from between two writes. A learner
// holds the page for less than a microsecond, so a reader hardly ever tries
// twice; if it is starved all the same it takes a mixed copy, which is
// harmless, because every word of a page means something on its own.
func (p *Page) read(m *image) {
	for try := range 100 {
		before := p.w[atSequence].Load()
		for i := 1; i < words; i++ {
			m[i] = p.w[i].Load()
		}
		if before&1 == 0 && p.w[atSequence].Load() == before {
			return
		}
		if try > 4 {
			runtime.Gosched()
		}
	}
}

// write publishes what differs between the words now and m. Only the writer
// calls it.
func (p *Page) write(m *image) {
	p.w[atSequence].Add(1)
	for i := 1; i < words; i++ {
		if p.w[i].Load() != m[i] { // a load is far cheaper than a store
			p.w[i].Store(m[i])
		}
	}
	p.w[atSequence].Add(1)
}

// own copies the words for the writer, whom nobody disturbs.
func (p *Page) own(m *image) {
	for i := 1; i < words; i++ {
		m[i] = p.w[i].Load()
	}
}

// Configure sets when the page counts as established. It is a write.
func (p *Page) Configure(s Settings) {
	var m image
	p.own(&m)
	m[atSettings] = s.word()
	p.write(&m)
}

// CopyFrom makes p a copy of other. It is a write to p and a read of other.
func (p *Page) CopyFrom(other *Page) {
	var m image
	other.read(&m)
	p.write(&m)
}

// Copy returns a new page with what p has learned so far.
func (p *Page) Copy() *Page {
	out := &Page{}
	out.CopyFrom(p)
	return out
}

// Count returns the number of events learned.
func (p *Page) Count() uint64 { return p.w[atEvents].Load() }

// FirstSeen returns the time of the first learned event, the zero Time if
// there was none.
func (p *Page) FirstSeen() time.Time { return p.time(atFirst) }

// LastSeen returns the latest time of a learned event, the zero Time if there
// was none.
func (p *Page) LastSeen() time.Time { return p.time(atLast) }

func (p *Page) time(at int) time.Time {
	if p.Count() == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(p.w[at].Load())).UTC()
}

// Established reports whether the page has seen enough to be relied on.
func (p *Page) Established() bool {
	var m image
	for _, i := range []int{atSettings, atEvents, atFirst, atLast} {
		m[i] = p.w[i].Load()
	}
	return m.established()
}

func (m *image) established() bool {
	settings := m[atSettings]
	if settings == 0 {
		settings = Settings{}.word()
	}
	span := int64(m[atLast]) - int64(m[atFirst])
	return m[atEvents] >= settings>>32 && span >= int64(settings&math.MaxUint32)*second
}

// A ValueCount is one of the most frequent values of a category.
type ValueCount struct {
	Hash     uint64
	Share    float64   // of the identity's active windows, 0 to 1, decayed
	LastSeen time.Time // to five minutes
}

// Top returns the usual values of a category, the most frequent first. It is
// made for explanations and allocates.
func (p *Page) Top(f Feature) []ValueCount {
	if f >= Categories {
		return nil
	}
	var m image
	p.read(&m)
	n := m.stat(f).n
	var out []ValueCount
	for i := slotStart[f]; i < slotStart[f+1]; i++ {
		s := m.slot(i)
		if s.hash == 0 {
			continue
		}
		share := 1.0
		if n > 0 {
			share = min(1, float64(s.count)/float64(n))
		}
		out = append(out, ValueCount{s.hash, share, time.UnixMicro(int64(s.last) * window).UTC()})
	}
	slices.SortFunc(out, func(a, b ValueCount) int {
		switch {
		case a.Share != b.Share && a.Share > b.Share, a.Share == b.Share && a.Hash < b.Hash:
			return -1
		}
		return 1
	})
	return out
}

// Distinct returns how many different values of a category were ever learned,
// roughly.
func (p *Page) Distinct(f Feature) int {
	if f >= Categories {
		return 0
	}
	var m image
	p.read(&m)
	return int(m.stat(f).distinct)
}

// ActiveHours returns the hours of the week, 0 being Monday 00:00 UTC, in
// which the identity was active.
func (p *Page) ActiveHours() []int {
	var m image
	p.read(&m)
	var out []int
	for h := range 168 {
		if m.season(h) != 0 {
			out = append(out, h)
		}
	}
	return out
}

// UsualRate returns the largest number of calls in some minutes that the
// identity is used to, as calls a minute.
func (p *Page) UsualRate() float64 {
	var m image
	p.read(&m)
	_, peak := m.floats(atSlow)
	return float64(peak) * perMinute
}

// The encoding: a magic with a version digit, then every word but the
// sequence, little endian. A new layout takes the next digit and is filled by
// replay.
const pageMagic = "MPAGE001"

var errPage = errors.New("not a page of this version")

// MarshalBinary returns the page in PageSize bytes.
func (p *Page) MarshalBinary() ([]byte, error) { return p.AppendBinary(nil) }

// AppendBinary appends what MarshalBinary returns to b.
func (p *Page) AppendBinary(b []byte) ([]byte, error) {
	var m image
	p.read(&m)
	b = append(b, pageMagic...)
	for _, w := range m[1:] {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b, nil
}

// UnmarshalBinary fills the page with what MarshalBinary returned. Any words
// of the right length are safe to use; whether they are true is for the
// checksum of the file around them.
func (p *Page) UnmarshalBinary(data []byte) error {
	if len(data) != PageSize || string(data[:len(pageMagic)]) != pageMagic {
		return fmt.Errorf("%w (%d bytes)", errPage, len(data))
	}
	var m image
	for i := 1; i < words; i++ {
		m[i] = binary.LittleEndian.Uint64(data[8*i:])
	}
	p.write(&m)
	return nil
}

// AppendRaw appends the PageSize bytes that a page has in the memory of a
// machine with little-endian words, with no write going on. In such bytes a
// mapped file holds its pages.
func (p *Page) AppendRaw(b []byte) []byte {
	var m image
	p.read(&m)
	b = binary.LittleEndian.AppendUint64(b, p.w[atSequence].Load()&^1)
	for _, w := range m[1:] {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// SetRaw fills the page with the bytes of AppendRaw, of which there must be
// PageSize; any are safe to use. It is a write.
func (p *Page) SetRaw(b []byte) {
	var m image
	for i := 1; i < words; i++ {
		m[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	p.w[atSequence].Store(binary.LittleEndian.Uint64(b) &^ 1)
	p.write(&m)
}

// A stat is what is counted of one feature.
type stat struct {
	n, novel  float32 // windows with the feature, and those among them with a new value; in units of the origin
	mean      float32 // running mean of the surprise, bits
	lastSeen  uint32  // number of the last window counted in n
	lastNovel uint32  // and in novel
	distinct  uint32  // new values ever
}

func (m *image) stat(f Feature) stat {
	at := atStats + 3*int(f)
	n, novel := m.floats(at)
	mean, last := split(m[at+1])
	return stat{n: n, novel: novel, mean: number(mean), lastSeen: last, lastNovel: uint32(m[at+2] >> 32), distinct: uint32(m[at+2])}
}

func (m *image) setStat(f Feature, s stat) {
	at := atStats + 3*int(f)
	m.setFloats(at, s.n, s.novel)
	m[at+1] = join(math.Float32bits(s.mean), s.lastSeen)
	m[at+2] = join(s.lastNovel, s.distinct)
}

// A slot is one value of a category.
type slot struct {
	hash  uint64  // 0: free
	count float32 // windows, in units of the origin
	last  uint32  // number of the last window counted
}

func (m *image) slot(i int) slot {
	count, last := split(m[atSlots+2*i+1])
	return slot{m[atSlots+2*i], number(count), last}
}

func (m *image) setSlot(i int, s slot) {
	m[atSlots+2*i] = s.hash
	m[atSlots+2*i+1] = join(math.Float32bits(s.count), s.last)
}

// find returns the slot of a value, or -1.
func (m *image) find(f Feature, v uint64) int {
	for i := slotStart[f]; i < slotStart[f+1]; i++ {
		if m[atSlots+2*i] == v {
			return i
		}
	}
	return -1
}

// bits returns the two places of a value in its category's Bloom filter, as
// word and mask; ok is false if the category has none.
func bloomBits(f Feature, v uint64) (w1, w2 int, b1, b2 uint64, ok bool) {
	size := uint64(bloomStart[f+1]-bloomStart[f]) * 64
	if size == 0 {
		return 0, 0, 0, 0, false
	}
	h := mix(v)
	i, j := (h>>32)*size>>32, (h&math.MaxUint32)*size>>32
	base := atBloom + bloomStart[f]
	return base + int(i/64), base + int(j/64), 1 << (i & 63), 1 << (j & 63), true
}

// seen reports whether a value of a category was ever learned. It errs
// towards yes for less than one value in twenty.
func (m *image) seen(f Feature, v uint64) bool {
	if m.find(f, v) >= 0 {
		return true
	}
	w1, w2, b1, b2, ok := bloomBits(f, v)
	return ok && m[w1]&b1 != 0 && m[w2]&b2 != 0
}

func (m *image) season(hour int) uint8 { return uint8(m[atSeason+hour/8] >> (hour % 8 * 8)) }

func (m *image) setSeason(hour int, v uint8) {
	shift := hour % 8 * 8
	w := &m[atSeason+hour/8]
	*w = *w&^(0xff<<shift) | uint64(v)<<shift
}

func (m *image) floats(at int) (a, b float32) {
	x, y := split(m[at])
	return number(x), number(y)
}

func (m *image) setFloats(at int, a, b float32) {
	m[at] = join(math.Float32bits(a), math.Float32bits(b))
}

func split(w uint64) (high, low uint32) { return uint32(w >> 32), uint32(w) }

func join(high, low uint32) uint64 { return uint64(high)<<32 | uint64(low) }

// number reads a count; what cannot be one is 0.
func number(b uint32) float32 {
	f := math.Float32frombits(b)
	if !(f >= 0) || f > 1e30 {
		return 0
	}
	return f
}
