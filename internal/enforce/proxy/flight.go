package proxy

import (
	"context"
	"sync"

	"github.com/muster-id/muster/internal/nhi"
)

// A flight is one request that was let through, until its reply has ended.
type flight struct {
	subject *nhi.Attested // nil: the caller proved nothing, and only the mode of the point let it pass
	cancel  context.CancelFunc
	release func() // frees what blocks on the client; may be nil
	place   int    // in flights.live; -1 when it ended
}

// flights are all that are under way. The zero value is ready.
type flights struct {
	mu   sync.Mutex // guards live and the places
	live []*flight
}

func (f *flights) begin(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.place = len(f.live)
	f.live = append(f.live, one)
}

func (f *flights) end(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(one)
}

// remove fills the place with the last one. The caller holds f.mu.
func (f *flights) remove(one *flight) {
	if one.place < 0 {
		return
	}
	last := len(f.live) - 1
	f.live[one.place] = f.live[last]
	f.live[one.place].place = one.place
	f.live[last] = nil
	f.live = f.live[:last]
	one.place = -1
}

// cut ends one, unless it has ended: its connection may carry another by then.
func (f *flights) cut(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ground(one)
}

// ground ends one and takes it off the list. The caller holds f.mu: as long as
// it is on the list, the connection is its own.
func (f *flights) ground(one *flight) {
	if one.place < 0 {
		return
	}
	one.cancel()
	if one.release != nil {
		one.release()
	}
	f.remove(one)
}

// cutIf ends those whose subject condemned names, and returns how many. The
// judgement reads memory only.
func (f *flights) cutIf(condemned func(*nhi.Attested) bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for i := len(f.live) - 1; i >= 0; i-- {
		if one := f.live[i]; condemned(one.subject) {
			f.ground(one)
			n++
		}
	}
	return n
}
