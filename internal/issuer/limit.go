package issuer

import (
	"sync"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// limits bound how often each identity is issued something: a token bucket
// for each. Only identities that proved themselves get one, so memory follows
// the inventory and not the callers.
type limits struct {
	rate  float64
	burst float64

	mu      sync.Mutex // guards the rest
	buckets map[nhi.ID]bucket
	swept   time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimits(rate float64, burst int) *limits {
	return &limits{rate: rate, burst: float64(burst), buckets: make(map[nhi.ID]bucket)}
}

// take reports whether id may have one more, and counts it.
func (l *limits) take(id nhi.ID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	b, known := l.buckets[id]
	if !known {
		b = bucket{tokens: l.burst, at: now}
	}
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens, b.at = min(l.burst, b.tokens+passed*l.rate), now
	}
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	l.buckets[id] = b
	return ok
}

// sweep forgets full buckets, once a minute. The caller holds mu.
func (l *limits) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for id, b := range l.buckets {
		if b.tokens+now.Sub(b.at).Seconds()*l.rate >= l.burst {
			delete(l.buckets, id)
		}
	}
}
