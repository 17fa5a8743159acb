package request

import (
	"hash/maphash"
	"sync/atomic"
)

// A Memo remembers values by key: a fixed number of slots, each overwritten by
// the next key that falls on it. It needs no lock and cannot grow. It is safe
// for concurrent use.
type Memo[K comparable, V any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[remembered[K, V]]
}

type remembered[K comparable, V any] struct {
	key   K
	value V
}

// NewMemo returns a memo of size slots; size is a power of two.
func NewMemo[K comparable, V any](size int) Memo[K, V] {
	return Memo[K, V]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[remembered[K, V]], size)}
}

func (m *Memo[K, V]) slot(key *K) *atomic.Pointer[remembered[K, V]] {
	return &m.slots[maphash.Comparable(m.seed, *key)&uint64(len(m.slots)-1)]
}

// Look returns what is remembered of key.
func (m *Memo[K, V]) Look(key *K) (value V, ok bool) {
	if r := m.slot(key).Load(); r != nil && r.key == *key {
		return r.value, true
	}
	return value, false
}

// Keep remembers value.
func (m *Memo[K, V]) Keep(key *K, value V) {
	m.slot(key).Store(&remembered[K, V]{*key, value})
}

// get returns what is remembered of key, which it builds if need be.
func (m *Memo[K, V]) get(key *K, build func(*K) V) V {
	value, ok := m.Look(key)
	if !ok {
		value = build(key)
		m.Keep(key, value)
	}
	return value
}
