package learning

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/nhi"
	storeusage "github.com/muster-id/muster/internal/store/usage"
	"github.com/muster-id/muster/internal/usage"
)

var testCounter = &usage.Counter{
	Identity: func(nhi.ID) (nhi.Identity, bool) { return nhi.Identity{}, false },
	Resource: func(string) (nhi.Resource, bool) { return nhi.Resource{}, false },
	Country:  func(netip.Addr) string { return "" },
}

// counts are all counts by outcome, and how many refusals are listed.
func (b *bench) counts() (map[string]uint64, int) {
	b.t.Helper()
	rows, _, err := storeusage.Rows(b.t.Context(), b.db, usage.Query{
		From: time.Now().Add(-48 * time.Hour), To: time.Now().Add(48 * time.Hour), Bucket: 24 * time.Hour, By: []usage.Dimension{usage.Outcome}, Limit: 1000,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, r := range rows {
		out[r.Outcome] += r.Count
	}
	refusals, err := storeusage.RefusalsBefore(b.t.Context(), b.db, 0, "", 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	return out, len(refusals)
}

func (b *bench) decide(i int, who nhi.ID, outcome nhi.Outcome) {
	b.t.Helper()
	d := nhi.Decision{ID: fmt.Sprint("dec_", i), At: time.Now().UTC(), Outcome: outcome, Point: "edge", Identity: who, Resource: "x", Address: netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})}
	if _, err := b.journal.Append(logbook.Append(nil, &d)); err != nil {
		b.t.Fatal(err)
	}
}

func TestAfterACrashEverythingIsCountedOnce(t *testing.T) {
	b := newBench(t)
	image, keep := filepath.Join(b.dir, Folder), filepath.Join(b.dir, "kept")
	l, stop := b.start()
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	if err := copyFolder(image, keep); err != nil {
		t.Fatal(err)
	}
	events, decisions := 0, 0
	for round := range 4 { // each begins with an image that knows nothing of the rounds before
		for range 3 {
			events++
			b.publish(used(fmt.Sprint(events), time.Now()))
			b.decide(decisions, user, nhi.Allow)
			b.decide(decisions+1, user, nhi.Deny)
			b.decide(decisions+2, "", nhi.Deny) // nobody
			decisions += 3
		}
		b.publish(used(fmt.Sprint("more ", round), time.Now()), used("1", time.Now()), used(fmt.Sprint(events), time.Now())) // overlapping logs
		b.until("counting", func() bool {
			got, refusals := b.counts()
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.decisions == uint64(decisions) && l.activity == uint64(events+round+1) && got["allow"] > 0 && refusals > 0
		})
		got, refusals := b.counts()
		if got["success"] != uint64(events+round+1) || got["allow"] != uint64(decisions/3) || got["deny"] != uint64(2*decisions/3) || refusals != 2*decisions/3 {
			t.Errorf("round %d: %d calls, %d decisions are counted as %v with %d refusals", round, events, decisions, got, refusals)
		}
		stop()
		if err := copyFolder(keep, image); err != nil {
			t.Fatal(err)
		}
		l, stop = b.start()
	}
	stop()
}
