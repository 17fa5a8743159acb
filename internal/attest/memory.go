package attest

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	shards     = 16
	shardLimit = 4096 // entries in each
)

// A Name is the SHA-256 of a credential: what a [Memory] knows it by.
type Name [sha256.Size]byte

// A Memory remembers what credentials proved, by their hash, each until a time.
// It holds 65,536 at most. It never says that a credential is still good: what
// may change meanwhile (keys, rules, the request) is the business of who asks.
// The zero Memory is empty; it is safe for concurrent use.
type Memory[T any] struct {
	shards [shards]shard[T]
}

type shard[T any] struct {
	mu    sync.Mutex // guards known
	known map[Name]remembered[T]
}

type remembered[T any] struct {
	what  T
	until time.Time
}

// Get returns what is remembered of a credential at the time now.
func (m *Memory[T]) Get(name Name, now time.Time) (T, bool) {
	s := &m.shards[name[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.known[name]
	if !ok || !now.Before(r.until) {
		var none T
		return none, false
	}
	return r.what, true
}

// Put remembers a credential until a time. A full shard first forgets what is
// over at the time now, then a quarter of the rest: they are verified again, which
// costs time and no safety.
func (m *Memory[T]) Put(name Name, what T, until, now time.Time) {
	s := &m.shards[name[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[Name]remembered[T])
	}
	if len(s.known) >= shardLimit {
		for n, old := range s.known {
			if !now.Before(old.until) {
				delete(s.known, n)
			}
		}
		for n := range s.known {
			if len(s.known) < shardLimit*3/4 {
				break
			}
			delete(s.known, n)
		}
	}
	s.known[name] = remembered[T]{what, until}
}
