// Package places gives each of millions of keys a place in a table, and forgets
// those that were not asked for in a long time.
//
// There are two generations. When the younger is full, what is in the older is
// forgotten, its places are free, and the younger becomes the older. Who is asked
// for belongs to the younger. So of size keys the latest half is remembered for
// certain, and never more than size.
//
// A key takes some 25 bytes, most of it without a pointer in it. Beside it there is
// room for one pointer, to what is in memory of who has the place, if anything is.
package places

import "hash/maphash"

// FirstRound is the number of the first generation. It leaves 0 to places that are
// free, and 1 to the generation before the first.
const FirstRound = 2

// Places are the places of keys. What is in memory about a key is a *T. Places are
// not for concurrent use.
type Places[T any] struct {
	size       int
	forgotten  func(*T)
	young, old int // keys in each generation
	round      uint32
	count      int
	free       []int32
	chunks     []*chunk[T]

	seed    maphash.Seed // nobody can choose keys that lie beside each other
	entries []uint32     // the index: open addressing, at most half full; one more than the place
}

// A chunk is places that lie beside each other.
type chunk[T any] struct {
	keys  [chunkSize]uint64
	in    [chunkSize]*T
	state [chunkSize]uint8
}

const chunkSize = 1024

// The state of a place: the generation of who has it, and a flag.
const (
	isFree = iota
	isOld
	isYoung
	isMoving // from the old to the young ones

	whose  = 3
	isNote = 4
)

// New returns Places of at most size keys, two at least. forgotten is told of what
// is in memory about a key that is forgotten; its place is free then.
func New[T any](size int, forgotten func(*T)) *Places[T] {
	return &Places[T]{size: max(size/2, 1), forgotten: forgotten, round: FirstRound, seed: maphash.MakeSeed(), entries: make([]uint32, 64)}
}

// Open makes empty Places those of a table with count rows, of which round was the
// younger generation. The caller goes on with Restore or Free for each place.
func (p *Places[T]) Open(count int, round uint32) {
	p.grow(count)
	p.round = max(round, FirstRound)
	size := len(p.entries)
	for size < 2*count {
		size *= 2
	}
	p.entries = make([]uint32, size)
}

// Count returns how many places there are, free ones included.
func (p *Places[T]) Count() int { return p.count }

// Len returns how many keys there are.
func (p *Places[T]) Len() int { return p.young + p.old }

// Round returns the number of the younger generation.
func (p *Places[T]) Round() uint32 { return p.round }

// Young returns how many keys are of the younger generation.
func (p *Places[T]) Young() int { return p.young }

func (p *Places[T]) at(place int32) (*chunk[T], int) {
	return p.chunks[place/chunkSize], int(place % chunkSize)
}

// Key returns the key of who has a place.
func (p *Places[T]) Key(place int32) uint64 {
	c, i := p.at(place)
	return c.keys[i]
}

// In returns what is in memory about who has a place, or nil.
func (p *Places[T]) In(place int32) *T {
	c, i := p.at(place)
	return c.in[i]
}

// Put says what is in memory about who has a place.
func (p *Places[T]) Put(place int32, v *T) {
	c, i := p.at(place)
	c.in[i] = v
}

// Note returns a flag that is kept with a place, for as long as somebody has it.
func (p *Places[T]) Note(place int32) bool {
	c, i := p.at(place)
	return c.state[i]&isNote != 0
}

// SetNote sets it.
func (p *Places[T]) SetNote(place int32, to bool) {
	c, i := p.at(place)
	if c.state[i] &^= isNote; to {
		c.state[i] |= isNote
	}
}

// Generation returns the round of the generation of who has a place, 0 when it is
// free.
func (p *Places[T]) Generation(place int32) uint32 {
	c, i := p.at(place)
	switch c.state[i] & whose {
	case isYoung:
		return p.round
	case isOld:
		return p.round - 1
	}
	return 0
}

// Get returns the place of a key, which is of the younger generation from now on.
// Who is not known gets a place.
func (p *Places[T]) Get(key uint64) (place int32, known bool) {
	place, known = p.Find(key)
	if known {
		c, i := p.at(place)
		if c.state[i]&whose == isYoung {
			return place, true
		}
		c.state[i] = c.state[i]&^whose | isMoving
		p.old--
	}
	if p.young >= p.size {
		p.rotate()
	}
	if known {
		c, i := p.at(place)
		c.state[i] = c.state[i]&^whose | isYoung
		p.young++
		return place, true
	}
	place = p.next()
	p.take(place, key, isYoung)
	return place, false
}

// Restore gives a key a place as it was in a table. It reports false, and the place
// is free, if the key is of a generation that is not remembered, or has one already.
func (p *Places[T]) Restore(place int32, key uint64, round uint32) bool {
	state, n := uint8(isYoung), p.young
	if round == p.round-1 {
		state, n = isOld, p.old
	}
	_, twice := p.Find(key)
	if twice || n >= p.size || round != p.round && round != p.round-1 {
		p.Free(place)
		return false
	}
	p.take(place, key, state)
	return true
}

// Add gives a key a place in a generation, if it has none.
func (p *Places[T]) Add(key uint64, round uint32) (place int32, ok bool) {
	place = p.next()
	return place, p.Restore(place, key, round)
}

// Free says that nobody has a place.
func (p *Places[T]) Free(place int32) { p.free = append(p.free, place) }

// next returns a place that nobody has.
func (p *Places[T]) next() (place int32) {
	if n := len(p.free); n > 0 {
		place, p.free = p.free[n-1], p.free[:n-1]
		return place
	}
	return p.grow(p.count + 1)
}

// grow sees to it that there are so many places, and returns the last.
func (p *Places[T]) grow(count int) int32 {
	for p.count = count; len(p.chunks)*chunkSize < count; {
		p.chunks = append(p.chunks, &chunk[T]{})
	}
	return int32(count - 1)
}

// take says whose a place is.
func (p *Places[T]) take(place int32, key uint64, state uint8) {
	c, i := p.at(place)
	c.keys[i], c.state[i] = key, state
	if state == isYoung {
		p.young++
	} else {
		p.old++
	}
	if 2*(p.young+p.old) > len(p.entries) {
		p.reindex(2 * len(p.entries)) // this one as well
		return
	}
	p.insert(place, key)
}

// rotate forgets the old generation; the young one is old from now on.
func (p *Places[T]) rotate() {
	for place := range int32(p.count) {
		c, i := p.at(place)
		switch c.state[i] & whose {
		case isOld:
			if c.in[i] != nil {
				p.forgotten(c.in[i])
			}
			c.in[i], c.state[i], c.keys[i] = nil, isFree, 0
			p.free = append(p.free, place)
		case isYoung:
			c.state[i] = c.state[i]&^whose | isOld
		}
	}
	p.young, p.old = 0, p.young
	p.round++
	p.reindex(len(p.entries))
}

func (p *Places[T]) hash(key uint64) uint64 { return maphash.Comparable(p.seed, key) }

// Find returns the place of a key, which stays of its generation.
func (p *Places[T]) Find(key uint64) (place int32, ok bool) {
	mask := uint64(len(p.entries) - 1)
	for h := p.hash(key); ; h++ {
		e := p.entries[h&mask]
		if e == 0 {
			return 0, false
		}
		if c, i := p.at(int32(e - 1)); c.keys[i] == key {
			return int32(e - 1), true
		}
	}
}

func (p *Places[T]) insert(place int32, key uint64) {
	mask := uint64(len(p.entries) - 1)
	h := p.hash(key)
	for p.entries[h&mask] != 0 {
		h++
	}
	p.entries[h&mask] = uint32(place) + 1
}

func (p *Places[T]) reindex(size int) {
	p.entries = make([]uint32, size)
	for place := range int32(p.count) {
		if c, i := p.at(place); c.state[i]&whose != isFree {
			p.insert(place, c.keys[i])
		}
	}
}
