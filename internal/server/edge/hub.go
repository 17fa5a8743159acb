// Package edge serves enforcement points that decide away from the server: it
// feeds them facts (package feed), grants them leases, has every acknowledgement
// of a change wait for them, and takes in the decisions that they made.
//
// # Leases
//
// A point that holds a lease may allow what is sensitive. The promise behind it:
// when somebody is told that a credential is revoked, no point allows it any
// more. So [Hub.Settle] stands between a change and its acknowledgement. It
// returns once every point with a live lease has said that it applied the change,
// or the lease has run out; and a lease lasts five seconds.
//
// A question of a point is its acknowledgement and its request for a lease at
// once. The lease counts from when the question arrived, so what the point counts,
// from before it asked, ends first. A point that is behind something that is being
// waited for is told it and gets no lease until it has acknowledged that: so
// nobody waits longer than one lease, however often the connection is cut.
//
// Leases must outlive the server that granted them. The first one of a process is
// written to the database before it is granted, and with it that more may follow;
// a server that starts takes what is written there for live leases, for as long as
// its predecessor may have granted some. That holds for a server that takes over
// from another, too: while a server is not sure that the database is its own
// (its facts are over ten seconds old) it grants none.
package edge

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	storeedge "github.com/muster-id/muster/internal/store/edge"
)

const (
	sure    = 10 * time.Second // how old the facts may be for a lease to be granted
	horizon = 10 * time.Minute // for how long the database says that leases may be granted
	renew   = horizon / 2      // how long before its end that is prolonged

	instances = 64    // processes of one point
	kept      = 16384 // changes kept in memory for points that follow closely
	forget    = time.Minute
)

// Config is what a Hub needs. All fields are required.
type Config struct {
	DB           *store.DB
	Facts        *facts.Facts
	Points       *enforce.Points
	Key          ed25519.PrivateKey // signs the feed
	Installation string
	// Basis returns what decisions follow from besides facts, and a value that is
	// another whenever the basis is. The basis is made only then.
	Basis func() (basis func() (feed.Basis, error), mark any)
	// MaxAge is how long what a point has is good for what is sensitive.
	MaxAge func() time.Duration
	Dir    string // for the images of snapshots under way
	Intake Intake
	// Glass takes in that a point was opened by a break-glass code. It returns when
	// that is on record.
	Glass func(ctx context.Context, point *nhi.Point, o *breakglass.Opening) error
}

// A Hub knows the points that decide away from the server. It is safe for
// concurrent use.
type Hub struct {
	c      Config
	store  *storeedge.Store
	images chan struct{} // one place for each snapshot under way

	mu        sync.Mutex // guards what follows
	changes   []nhi.Change
	cut       nhi.Generation // last change that may take something away
	barrier   place          // what was acknowledged, or is waited for: no lease below it
	basis     feed.Basis
	basisMark any
	based     uint64               // number of the basis, from 1
	digests   map[feed.Hash]uint64 // numbers of the last bases
	points    map[nhi.ID]map[string]*instance
	news      chan struct{} // closed when there is something to tell
	heard     chan struct{} // closed when a point has said something

	taking streams
}

// A place is how far a point has come, in all that a decision follows from.
type place struct {
	generation nhi.Generation
	basis      uint64
}

func (p place) reaches(other place) bool {
	return p.generation >= other.generation && p.basis >= other.basis
}

// An instance is one process of a point.
type instance struct {
	at        place
	expires   time.Time // of its lease
	written   time.Time // until when the database says that it may hold one
	seen      time.Time // zero: not since this server started
	unshipped uint64
}

// lasts notes that a lease was granted until a time. One that was granted for longer
// is not taken back by that: questions of one process may be answered in another
// order than they came in, and what is waited for is the last of its leases.
func (i *instance) lasts(until time.Time) {
	if until.After(i.expires) {
		i.expires = until
	}
}

// New returns a Hub. It reads which leases may be alive that another process
// granted.
func New(ctx context.Context, c Config) (*Hub, error) {
	h := &Hub{
		c: c, store: storeedge.New(c.DB), images: make(chan struct{}, 2), digests: map[feed.Hash]uint64{}, points: map[nhi.ID]map[string]*instance{},
		news: make(chan struct{}), heard: make(chan struct{}),
	}
	now := time.Now()
	alive, err := h.store.Leases(ctx, now)
	if err != nil {
		return nil, err
	}
	for _, l := range alive {
		h.instance(l.Point, l.Instance).expires = now.Add(sure + feed.Lease)
	}
	// Whatever was committed before may have been acknowledged by another process, or
	// may be now, when a request is repeated.
	if err := h.rebase(); err != nil {
		return nil, err
	}
	h.cut = c.Facts.Generation()
	h.barrier = place{h.cut, h.based}
	return h, nil
}

// instance needs h.mu, or a Hub that nobody else has.
func (h *Hub) instance(point nhi.ID, name string) *instance {
	all := h.points[point]
	if all == nil {
		all = map[string]*instance{}
		h.points[point] = all
	}
	i := all[name]
	if i == nil {
		i = &instance{}
		all[name] = i
	}
	return i
}

// Follow takes the changes of a commit, which the facts have applied. It does not
// block.
func (h *Hub) Follow(changes []nhi.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range changes {
		if cuts(changes[i].Subject) {
			h.cut = changes[i].Seq
		}
	}
	h.changes = append(h.changes, changes...)
	if n := len(h.changes); n > 2*kept {
		h.changes = slices.Clone(h.changes[n-kept:])
	}
	h.ring()
}

// cuts reports whether a change of this subject may take something away from
// somebody.
func cuts(s nhi.Subject) bool {
	switch s {
	case nhi.SubjectIdentity, nhi.SubjectCredential, nhi.SubjectRevocation, nhi.SubjectPoint, nhi.SubjectResource, nhi.SubjectRoutes:
		return true
	}
	return false
}

// ring tells everybody who waits for news. It needs h.mu.
func (h *Hub) ring() {
	close(h.news)
	h.news = make(chan struct{})
}

// rebase looks whether there is another basis. It needs h.mu.
func (h *Hub) rebase() error {
	read, mark := h.c.Basis()
	if h.based > 0 && mark == h.basisMark {
		return nil
	}
	basis, err := read()
	if err != nil {
		return err
	}
	h.basis, h.basisMark = basis, mark
	digest := basis.Digest()
	if h.based > 0 && h.digests[digest] == h.based {
		return nil
	}
	h.based++
	h.digests[digest] = h.based
	maps.DeleteFunc(h.digests, func(_ feed.Hash, n uint64) bool { return n+16 < h.based })
	h.ring()
	return nil
}

// Settle blocks until every point with a live lease has applied all changes that
// were committed before, or its lease has run out: for as long as a lease lasts at
// most. Who is told of a change is told after Settle. It returns early when ctx
// ends: then nobody is left to tell.
func (h *Hub) Settle(ctx context.Context) {
	h.mu.Lock()
	if err := h.rebase(); err != nil {
		slog.Error("what points decide by cannot be read; they keep what they have", "error", err)
	}
	want := place{h.cut, h.based}
	h.barrier = place{max(h.barrier.generation, want.generation), max(h.barrier.basis, want.basis)}
	for {
		until := h.slowest(want, time.Now())
		heard := h.heard
		h.mu.Unlock()
		if until <= 0 {
			return
		}
		timer := time.NewTimer(until)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-heard:
		case <-timer.C:
		}
		timer.Stop()
		h.mu.Lock()
	}
}

// slowest returns when the last lease of those ends who have not come as far as
// want; not positive when there is none. It needs h.mu.
func (h *Hub) slowest(want place, now time.Time) time.Duration {
	var longest time.Duration
	for _, all := range h.points {
		for _, i := range all {
			if !i.at.reaches(want) {
				longest = max(longest, i.expires.Sub(now))
			}
		}
	}
	return longest
}

// acknowledge notes what a point says that it has, and grants it a lease if it
// may have one. known says that what it has is a state of ours.
func (h *Hub) acknowledge(ctx context.Context, point *nhi.Point, req *feed.Request, arrived time.Time, known bool) (lease bool, err error) {
	h.mu.Lock()
	if all := h.points[point.ID]; all[req.Instance] == nil && len(all) >= instances {
		h.prune(point.ID, arrived)
		if len(h.points[point.ID]) >= instances {
			h.mu.Unlock()
			return false, nhi.ErrBusy
		}
	}
	i := h.instance(point.ID, req.Instance)
	i.seen, i.unshipped = arrived, req.Unshipped
	i.at = place{}
	if known {
		i.at = place{req.Mark.Generation, h.digests[req.Mark.Basis]}
	}
	close(h.heard)
	h.heard = make(chan struct{})
	if !h.grants(i, req, known, arrived) {
		h.mu.Unlock()
		return false, nil
	}
	if i.written.Sub(arrived) > horizon-renew {
		i.lasts(arrived.Add(feed.Lease))
		h.mu.Unlock()
		return true, nil
	}
	h.mu.Unlock()
	until := arrived.Add(horizon)
	if err := h.store.Keep(ctx, storeedge.Lease{Point: point.ID, Instance: req.Instance, Until: until}, arrived); err != nil {
		slog.Warn("a point gets no lease, because that could not be written", "point", point.ID, "error", err)
		return false, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i.written = until
	if !h.grants(i, req, known, arrived) { // somebody began to wait meanwhile
		return false, nil
	}
	i.lasts(arrived.Add(feed.Lease))
	return true, nil
}

// grants needs h.mu.
func (h *Hub) grants(i *instance, req *feed.Request, known bool, now time.Time) bool {
	return known && req.Mark.Sequence > 0 && i.at.reaches(h.barrier) && h.c.Facts.Age(now) <= sure
}

// prune forgets the processes of a point that are gone. It needs h.mu.
func (h *Hub) prune(point nhi.ID, now time.Time) {
	maps.DeleteFunc(h.points[point], func(_ string, i *instance) bool {
		return now.Sub(i.seen) > forget && now.After(i.expires)
	})
	if len(h.points[point]) == 0 {
		delete(h.points, point)
	}
}

// A Standing is how a point that decides away from the server is doing: the best
// of its processes.
type Standing struct {
	Connected bool          // a process asked within the time of a lease
	Processes int           // that did
	Lag       uint64        // generations that the slowest of these is behind
	Lease     time.Duration // that the one has left whose lease ends first; 0: one has none
	Seen      time.Time     // when one asked last
	Unshipped uint64        // decisions that are not reported yet
}

// Away fills in how a point is doing that decides away from here.
func (h *Hub) Away(p *client.Point) {
	s, ok := h.Standing(nhi.ID(p.ID))
	if !ok {
		return
	}
	if p.Connection = "away"; s.Connected {
		p.Connection = "connected"
	}
	heard := s.Seen.UTC()
	p.Lag, p.Lease, p.Heard, p.Unreported = s.Lag, s.Lease.Seconds(), &heard, s.Unshipped
}

// Standing returns how a point is doing; nothing of one that never asked since
// this server started.
func (h *Hub) Standing(point nhi.ID) (Standing, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, generation := time.Now(), h.c.Facts.Generation()
	out := Standing{Lease: feed.Lease}
	known := false
	for _, i := range h.points[point] {
		if i.seen.IsZero() {
			continue
		}
		known = true
		if i.seen.After(out.Seen) {
			out.Seen = i.seen
		}
		if now.Sub(i.seen) > feed.Lease {
			continue
		}
		out.Connected = true
		out.Processes++
		out.Unshipped += i.unshipped
		out.Lag = max(out.Lag, uint64(generation-min(i.at.generation, generation)))
		out.Lease = min(out.Lease, max(0, i.expires.Sub(now)))
	}
	if !out.Connected {
		out.Lease = 0
	}
	return out, known
}
