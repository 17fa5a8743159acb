package edge

import (
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// hub is that of a server over a database, as one server after another makes it.
func hub(t *testing.T, db *store.DB) *Hub {
	t.Helper()
	f := facts.New()
	f.Heartbeat(time.Now())
	h, err := New(t.Context(), Config{DB: db, Facts: f, Points: enforce.NewPoints(f), Installation: "i", Dir: t.TempDir(),
		Basis: func() (func() (feed.Basis, error), any) {
			return func() (feed.Basis, error) { return feed.Basis{Issuer: "i"}, nil }, 1
		},
		MaxAge: func() time.Duration { return time.Minute },
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func opened(t *testing.T) *store.DB {
	t.Helper()
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// A server that takes over acknowledges nothing before the leases of its
// predecessor have run out, or their holders have said that they know.
func TestALeaseOutlivesTheServerThatGrantedIt(t *testing.T) {
	db := opened(t)
	point := nhi.Point{ID: "nhi_point", Name: "edge"}
	old := hub(t, db)
	basis := old.basis.Digest()
	ask := func(h *Hub) bool {
		lease, err := h.acknowledge(t.Context(), &point, &feed.Request{Instance: "A", Mark: feed.Mark{Sequence: 1, Basis: basis}}, time.Now(), true)
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
	if !ask(old) {
		t.Fatal("the first server grants no lease")
	}
	next := hub(t, db)
	waits := func() time.Duration {
		next.mu.Lock()
		defer next.mu.Unlock()
		return next.slowest(next.barrier, time.Now())
	}
	if left := waits(); left <= feed.Lease {
		t.Errorf("a server that took over waits for %v, and the other may have granted a lease just now", left)
	}
	if !ask(next) || waits() > 0 {
		t.Errorf("once the point has said that it knows, %v are waited for", waits())
	}
}

// Somebody delays a question of a point, and the point asks anew. Whoever is told of a
// revocation must wait for the lease that came of the later question, even when the
// earlier one is answered last.
func TestADelayedQuestionDoesNotShortenALease(t *testing.T) {
	db := opened(t)
	point, h := nhi.Point{ID: "nhi_point", Name: "edge"}, hub(t, db)
	now := time.Now()
	for _, arrived := range []time.Time{now, now.Add(-4 * time.Second)} {
		if lease, err := h.acknowledge(t.Context(), &point, &feed.Request{Instance: "A", Mark: feed.Mark{Sequence: 1, Basis: h.basis.Digest()}}, arrived, true); err != nil || !lease {
			t.Fatalf("no lease: %v", err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	want := place{h.barrier.generation + 1, h.based} // something is revoked
	if got := h.slowest(want, now); got != feed.Lease {
		t.Errorf("a revocation waits for %v, and the point holds a lease for %v", got, feed.Lease)
	}
}
