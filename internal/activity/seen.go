package activity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/muster-id/muster/internal/nhi"
)

// A Seen remembers which events were taken in, so that an event that is
// delivered twice counts once. It holds hashes of event ids in two sets: when
// the younger is full it becomes the older, and what was older is forgotten.
// So it remembers at least the last size events and never needs more than 48
// bytes for each of size. It is not for concurrent use.
//
// Hashes are keyed, so that nobody can choose an event id that collides with,
// and so hides, another one. The account is part of what is remembered: a
// source cannot make the events of an account disappear that it does not speak
// for.
type Seen struct {
	key   [16]byte
	size  int
	young set
	old   set
	hash  hash.Hash
	buf   []byte
	sum   []byte
}

// NewSeen returns a Seen that remembers at least the last size events; with
// zero or less, a million.
func NewSeen(size int) *Seen {
	if size <= 0 {
		size = 1 << 20
	}
	s := &Seen{size: size, hash: sha256.New()}
	rand.Read(s.key[:]) // never fails, see crypto/rand
	return s
}

// Add remembers ev and reports whether it is new. An event without an id is
// always new.
func (s *Seen) Add(ev *nhi.Event) bool {
	if ev.ID == "" {
		return true
	}
	h := s.sumOf(ev)
	if s.young.has(h) || s.old.has(h) {
		return false
	}
	if s.young.n >= s.size {
		s.old, s.young = s.young, set{}
	}
	s.young.add(h)
	return true
}

// Len returns how many events are remembered.
func (s *Seen) Len() int { return s.young.n + s.old.n }

func (s *Seen) sumOf(ev *nhi.Event) uint64 {
	b := append(s.buf[:0], s.key[:]...)
	for _, part := range [...]string{ev.Format, ev.Account, ev.ID} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	s.hash.Reset()
	s.hash.Write(b)
	s.buf, s.sum = b, s.hash.Sum(s.sum[:0])
	return max(binary.BigEndian.Uint64(s.sum), 1) // 0 marks a free place
}

const seenVersion = 1

// MarshalBinary writes everything that is remembered.
func (s *Seen) MarshalBinary() ([]byte, error) {
	return s.AppendBinary(make([]byte, 0, 1+len(s.key)+3*8+8*s.Len()))
}

// AppendBinary appends what MarshalBinary returns to b.
func (s *Seen) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, seenVersion)
	b = append(b, s.key[:]...)
	for _, n := range [...]int{s.size, s.young.n, s.old.n} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, part := range [...]set{s.young, s.old} {
		for _, h := range part.slots {
			if h != 0 {
				b = binary.BigEndian.AppendUint64(b, h)
			}
		}
	}
	return b, nil
}

// UnmarshalBinary replaces everything that is remembered. On an error s is
// left as it was.
func (s *Seen) UnmarshalBinary(b []byte) error {
	const head = 1 + 16 + 3*8
	if len(b) < head || b[0] != seenVersion {
		return nhi.Invalidf("remembered events: not of version %d", seenVersion)
	}
	fresh := Seen{hash: sha256.New()}
	copy(fresh.key[:], b[1:])
	var n [3]uint64
	for i := range n {
		n[i] = binary.BigEndian.Uint64(b[17+8*i:])
	}
	b = b[head:]
	if n[0] == 0 || n[0] > 1<<40 || n[1] > n[0] || n[2] > n[0] || uint64(len(b)) != 8*(n[1]+n[2]) {
		return nhi.Invalidf("remembered events: lengths do not agree")
	}
	fresh.size = int(n[0])
	for i := range n[1] + n[2] {
		part := &fresh.young
		if i >= n[1] {
			part = &fresh.old
		}
		if h := binary.BigEndian.Uint64(b[8*i:]); h != 0 && !part.has(h) {
			part.add(h)
		}
	}
	*s = fresh
	return nil
}

// A set is a hash table of hashes: open addressing, at most two thirds full.
type set struct {
	slots []uint64 // a power of two of them; 0 is free
	n     int
}

func (t *set) has(h uint64) bool {
	if t.n == 0 {
		return false
	}
	mask := uint64(len(t.slots) - 1)
	for i := h & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if t.slots[i] == h {
			return true
		}
	}
	return false
}

// add puts in a hash that the set does not have.
func (t *set) add(h uint64) {
	if 3*(t.n+1) > 2*len(t.slots) {
		was := t.slots
		t.slots = make([]uint64, max(1024, 2*len(was)))
		for _, h := range was {
			if h != 0 {
				t.place(h)
			}
		}
	}
	t.place(h)
	t.n++
}

func (t *set) place(h uint64) {
	mask := uint64(len(t.slots) - 1)
	i := h & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = h
}
