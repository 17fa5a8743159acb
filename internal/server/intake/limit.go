package intake

import (
	"sync"
	"time"
)

// A limiter gives each name a budget that refills evenly.
type limiter struct {
	perMinute float64
	burst     float64

	mu      sync.Mutex // guards buckets
	buckets map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimiter(perMinute, burst int) *limiter {
	return &limiter{perMinute: float64(perMinute), burst: float64(burst), buckets: map[string]*bucket{}}
}

// allow takes n from name's budget if it has as much.
func (l *limiter) allow(name string, n int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[name]
	if b == nil {
		if len(l.buckets) > 10_000 { // names are enrolled sources; this is a guard, not a plan
			clear(l.buckets)
		}
		b = &bucket{left: l.burst, at: now}
		l.buckets[name] = b
	}
	b.left = min(l.burst, b.left+now.Sub(b.at).Minutes()*l.perMinute)
	b.at = now
	if b.left < float64(n) {
		return false
	}
	b.left -= float64(n)
	return true
}
