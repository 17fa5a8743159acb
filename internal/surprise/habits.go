package surprise

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// The encoding of Priors, little endian: a version; the number of priors, then
// each: the number of its parent (0 none, else one more than its place), its
// members, its number of values, the values with their counts; then the number
// of groups, each with its name and the place of its prior. Parents come before
// their children.
const priorsVersion = 1

var errPriors = errors.New("not the habits of peers, or of another version")

// MarshalBinary returns all priors. It may be called while they are swapped.
func (p *Priors) MarshalBinary() ([]byte, error) {
	var groups map[string]*Prior
	if g := p.groups.Load(); g != nil {
		groups = *g
	}
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	place := map[*Prior]uint32{nil: 0}
	var order []*Prior
	var list func(*Prior)
	list = func(one *Prior) {
		if _, known := place[one]; known {
			return
		}
		list(one.parent)
		order = append(order, one)
		place[one] = uint32(len(order))
	}
	for _, name := range names {
		list(groups[name])
	}
	b := binary.LittleEndian.AppendUint32([]byte{priorsVersion}, uint32(len(order)))
	for _, one := range order {
		b = one.append(binary.LittleEndian.AppendUint32(b, place[one.parent]))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(names)))
	for _, name := range names {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
		b = binary.LittleEndian.AppendUint32(append(b, name...), place[groups[name]])
	}
	return b, nil
}

func (p *Prior) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(p.members))
	at, n := len(b), uint32(0)
	b = binary.LittleEndian.AppendUint32(b, 0)
	for i, key := range p.keys {
		if key != 0 {
			b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(b, key), p.counts[i])
			n++
		}
	}
	binary.LittleEndian.PutUint32(b[at:], n)
	return b
}

// UnmarshalBinary replaces all priors by those that MarshalBinary wrote. On an
// error nothing is changed.
func (p *Priors) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != priorsVersion {
		return errPriors
	}
	d := &priorDecoder{rest: b[1:]}
	order := []*Prior{nil}
	for n := d.uint32(); n > 0 && !d.bad; n-- {
		order = append(order, d.prior(order))
	}
	groups := map[string]*Prior{}
	for n := d.uint32(); n > 0 && !d.bad; n-- {
		name := string(d.bytes(int(d.uint32())))
		if at := d.uint32(); int(at) < len(order) {
			groups[name] = order[at]
		} else {
			d.bad = true
		}
	}
	if d.bad || len(d.rest) > 0 {
		return errPriors
	}
	p.Swap(groups)
	return nil
}

type priorDecoder struct {
	rest []byte
	bad  bool
}

func (d *priorDecoder) bytes(n int) []byte {
	if d.bad = d.bad || n < 0 || n > len(d.rest); d.bad {
		return nil
	}
	out := d.rest[:n]
	d.rest = d.rest[n:]
	return out
}

func (d *priorDecoder) uint32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// prior reads one, whose parent is among those before it.
func (d *priorDecoder) prior(before []*Prior) *Prior {
	parent, members := d.uint32(), d.bytes(8)
	n := int(d.uint32())
	values := d.bytes(12 * n)
	if d.bad = d.bad || int(parent) >= len(before) || n > maxPriorValues || before[parent].parented(); d.bad {
		return nil
	}
	out := emptyPrior(n, min(binary.LittleEndian.Uint64(members), math.MaxUint32), before[parent])
	for ; len(values) > 0; values = values[12:] {
		if key := binary.LittleEndian.Uint64(values); key == 0 || !out.put(key, binary.LittleEndian.Uint32(values[8:])) {
			d.bad = true
			return nil
		}
	}
	return out
}

// parented reports whether a prior has a parent: then it may not be one, so
// that asking never goes deep.
func (p *Prior) parented() bool { return p != nil && p.parent != nil }
