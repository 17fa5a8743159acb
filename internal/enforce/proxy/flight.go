package proxy

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A flight is one request that was let through, until its reply has ended.
type flight struct {
	subject  *nhi.Attested // nil: the caller proved nothing, and only the mode of the point let it pass
	evidence *nhi.Evidence // that it was proven with
	cancel   context.CancelFunc
	release  func() // frees what blocks on the client; may be nil
	place    int    // in flights.live, from 1; 0: it is not there, yet or any more
}

// expires is when what it was let through for ends; zero: it does not.
func (f *flight) expires() (at time.Time) {
	if f.subject != nil {
		at = f.subject.Expires
	}
	return at
}

// flights are all that are under way. The zero value is ready.
type flights struct {
	mu   sync.Mutex // guards live and the places
	live []*flight
}

func (f *flights) begin(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = append(f.live, one)
	one.place = len(f.live)
}

func (f *flights) end(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(one)
}

// remove fills the place with the last one. The caller holds f.mu.
func (f *flights) remove(one *flight) {
	if one.place == 0 {
		return
	}
	last := len(f.live) - 1
	f.live[one.place-1] = f.live[last]
	f.live[one.place-1].place = one.place
	f.live[last] = nil
	f.live = f.live[:last]
	one.place = 0
}

// cut ends one and takes it off the list, unless it has not begun, or has ended: its
// connection may carry another by then. As long as it is on the list, the connection is its own.
func (f *flights) cut(one *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.place == 0 {
		return false
	}
	one.cancel()
	if one.release != nil {
		one.release()
	}
	f.remove(one)
	return true
}

// cutIf ends those that condemned names, and returns how many. A judgement may
// verify a signature, so requests come and go meanwhile; those that come are looked
// at by who brings them.
func (f *flights) cutIf(condemned func(*flight) bool) int {
	f.mu.Lock()
	live := slices.Clone(f.live)
	f.mu.Unlock()
	n := 0
	for _, one := range live {
		if condemned(one) && f.cut(one) {
			n++
		}
	}
	return n
}
