package surprise

import "sync/atomic"

// A Prior is what is common among the peers of an identity: for each value,
// the share of peers that have it. It is immutable and safe for concurrent
// use; a nil Prior knows nothing. Where a group is too small to speak for
// itself it leans on its parent, the group it is part of.
type Prior struct {
	members float64
	parent  *Prior
	keys    []uint64 // open addressing, 0 is free
	counts  []uint32 // of the members that have the value
}

// leaning is how many members the parent's word is worth.
const leaning = 8

// Share returns the share of peers, 0 to 1, that have a value among their
// usual ones.
func (p *Prior) Share(f Feature, v uint64) float64 {
	if p == nil {
		return 0
	}
	up := p.parent.Share(f, v)
	return (float64(p.count(priorKey(f, v))) + leaning*up) / (p.members + leaning)
}

// Members returns the number of identities in the group.
func (p *Prior) Members() int {
	if p == nil {
		return 0
	}
	return int(p.members)
}

func (p *Prior) count(key uint64) uint32 {
	if len(p.keys) == 0 {
		return 0
	}
	mask := uint64(len(p.keys) - 1)
	for i := key & mask; p.keys[i] != 0; i = (i + 1) & mask {
		if p.keys[i] == key {
			return p.counts[i]
		}
	}
	return 0
}

func priorKey(f Feature, v uint64) uint64 { return finish(v + uint64(f)*0x9e3779b97f4a7c15) }

// A PriorBuilder gathers the pages of a group. It is not safe for concurrent
// use. The zero PriorBuilder is ready.
type PriorBuilder struct {
	members int
	counts  map[uint64]uint32
}

// maxPriorValues bounds the size of a prior; values past it are not counted.
const maxPriorValues = 1 << 16

// Add counts a page among the group. Only established pages speak for it:
// an intruder with many new identities must not shape what is common.
func (b *PriorBuilder) Add(p *Page) {
	var m image
	p.read(&m)
	if !m.established() {
		return
	}
	if b.counts == nil {
		b.counts = make(map[uint64]uint32)
	}
	b.members++
	for f := range Categories {
		for i := slotStart[f]; i < slotStart[f+1]; i++ {
			if m[atSlots+2*i] == 0 {
				continue
			}
			key := priorKey(f, m[atSlots+2*i])
			if _, known := b.counts[key]; known || len(b.counts) < maxPriorValues {
				b.counts[key]++
			}
		}
	}
}

// Build returns the prior of what was added, under parent, which may be nil.
func (b *PriorBuilder) Build(parent *Prior) *Prior {
	p := emptyPrior(len(b.counts), uint64(b.members), parent)
	for key, count := range b.counts {
		p.put(key, count)
	}
	return p
}

// emptyPrior has room for a number of values.
func emptyPrior(values int, members uint64, parent *Prior) *Prior {
	size := 2
	for size < 2*values {
		size *= 2
	}
	return &Prior{members: float64(members), parent: parent, keys: make([]uint64, size), counts: make([]uint32, size)}
}

// put adds a value that is not there yet, and reports whether it was so.
func (p *Prior) put(key uint64, count uint32) bool {
	mask := uint64(len(p.keys) - 1)
	i := key & mask
	for ; p.keys[i] != 0; i = (i + 1) & mask {
		if p.keys[i] == key {
			return false
		}
	}
	p.keys[i], p.counts[i] = key, count
	return true
}

// Priors holds the prior of every group. Reading never waits; Swap replaces
// all of them at once. The zero Priors knows nothing.
type Priors struct {
	groups atomic.Pointer[map[string]*Prior]
}

// For returns the prior of a group, nil if there is none.
func (p *Priors) For(group string) *Prior {
	if p == nil {
		return nil
	}
	groups := p.groups.Load()
	if groups == nil {
		return nil
	}
	return (*groups)[group]
}

// Swap replaces all priors. The caller must not change the map afterwards.
func (p *Priors) Swap(groups map[string]*Prior) { p.groups.Store(&groups) }

// Copy returns the priors as they are now.
func (p *Priors) Copy() *Priors {
	out := &Priors{}
	out.groups.Store(p.groups.Load())
	return out
}
