package access

import (
	"sync"
	"time"
)

// A tally bounds how often a key may do something in a span of time. It
// remembers a bounded number of keys.
type tally struct {
	most int
	span time.Duration

	mu   sync.Mutex // guards seen
	seen map[string]attempts
}

func newTally(most int, span time.Duration) *tally {
	return &tally{most: most, span: span, seen: map[string]attempts{}}
}

// take reports whether key may do it once more, and counts that.
func (t *tally) take(key string, at time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.seen) >= maxAddresses {
		for k, v := range t.seen {
			if at.Sub(v.since) >= t.span {
				delete(t.seen, k)
			}
		}
		if len(t.seen) >= maxAddresses {
			clear(t.seen) // a flood from everywhere: counting helps nobody
		}
	}
	v := t.seen[key]
	if at.Sub(v.since) >= t.span {
		v = attempts{since: at}
	}
	if v.n >= t.most {
		return false
	}
	v.n++
	t.seen[key] = v
	return true
}
