package jose

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	replayShards = 64

	// DefaultReplayLimit is how many proofs of one identity a ReplayCache
	// remembers. It is enough for 1,000 a second with the default window, and
	// takes some 5 MB for an identity that really is that busy.
	DefaultReplayLimit = 250_000
)

// A ReplayCache remembers the proofs of the last minutes, so that each works
// once (RFC 9449, section 11.1). It is safe for concurrent use.
//
// It is bounded per identity: one that sends more than the limit is refused
// until its older proofs expire, and nobody else notices. There is no limit for
// all together, which a single flooder could exhaust for everybody; memory
// follows the number of identities that are active at a time. Use as identity
// what the caller has already proved (the token's subject, or its key), never
// something it merely says.
type ReplayCache struct {
	keep   time.Duration
	limit  int
	seed   maphash.Seed
	shards [replayShards]replayShard
}

// A replayShard keeps two generations. When the current one is as old as proofs
// can get, it becomes the previous one and the one before is dropped whole:
// expiry costs nothing per proof.
type replayShard struct {
	mu       sync.Mutex // guards the rest
	started  time.Time
	current  replayGeneration
	previous replayGeneration
}

type replayGeneration struct {
	seen  map[uint64]struct{} // hashes of identity and jti
	count map[uint64]int      // proofs by hash of identity
}

// NewReplayCache returns a cache for proofs accepted within window of their iat
// (zero: DefaultWindow), remembering up to limit of them per identity (zero:
// DefaultReplayLimit).
func NewReplayCache(window time.Duration, limit int) *ReplayCache {
	if window <= 0 {
		window = DefaultWindow
	}
	if limit <= 0 {
		limit = DefaultReplayLimit
	}
	// A proof may be dated one window ahead and is good one window after that.
	return &ReplayCache{keep: 2 * window, limit: limit, seed: maphash.MakeSeed()}
}

// Fresh reports whether identity shows the proof jti for the first time, and
// remembers it. It is false for a replay, and also when identity has reached its
// limit. Names are kept as 64-bit hashes under a secret seed: that a collision
// refuses an honest proof among 100,000 has a chance of one in a billion.
func (c *ReplayCache) Fresh(identity, jti string, now time.Time) bool {
	who := maphash.String(c.seed, identity)
	var h maphash.Hash
	h.SetSeed(c.seed)
	// The identity's hash has a fixed length: it cannot run into the jti.
	for i := range 8 {
		_ = h.WriteByte(byte(who >> (8 * i))) // never fails
	}
	_, _ = h.WriteString(jti)
	proof := h.Sum64()

	s := &c.shards[who%replayShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now, c.keep)
	if s.current.has(proof) || s.previous.has(proof) {
		return false
	}
	if s.current.count[who]+s.previous.count[who] >= c.limit {
		return false
	}
	s.current.seen[proof] = struct{}{}
	s.current.count[who]++
	return true
}

// turn starts a new generation when the current one has run its time. A clock
// that goes back only makes it keep longer. The caller holds s.mu.
func (s *replayShard) turn(now time.Time, keep time.Duration) {
	age := now.Sub(s.started)
	if s.current.seen != nil && age < keep {
		return
	}
	if age < 2*keep {
		s.previous = s.current
	} else {
		s.previous = replayGeneration{}
	}
	s.current = replayGeneration{seen: map[uint64]struct{}{}, count: map[uint64]int{}}
	s.started = now
}

func (g replayGeneration) has(proof uint64) bool {
	_, ok := g.seen[proof]
	return ok
}
