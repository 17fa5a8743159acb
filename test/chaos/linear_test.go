package chaos

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/server/offline"
)

// An answer is what a request with the leaked key got.
type answer struct {
	started  time.Time
	status   int
	decision string
}

func TestNoAllowFollowsAnAcknowledgedContainment(t *testing.T) {
	c := newChild(t)
	c.start(t)
	co := newCompany(t, c)
	var worst time.Duration
	for n := range 2 * rounds {
		took := co.containUnderFire(t, n)
		worst = max(worst, took)
	}
	t.Logf("%d containments under fire; at worst %s from the report to the acknowledgement", 2*rounds, worst)
	c.stop(t)
}

// containUnderFire contains a key that eight callers use all the time. What
// starts after the acknowledgement must be refused, and no allow decided after
// it may carry an older generation.
func (co *company) containUnderFire(t *testing.T, n int) time.Duration {
	t.Helper()
	wl := co.Workloads[n%len(co.Workloads)]
	key, err := co.key(t.Context(), wl)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "settings.yaml"), []byte("key: "+key.Key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var after atomic.Int64 // requests started after the acknowledgement
	var acknowledged atomic.Pointer[time.Time]
	answers := make([][]answer, 8)
	var wg sync.WaitGroup
	for i := range answers {
		r := rand.New(rand.NewPCG(seed, uint64(n*len(answers)+i)))
		wg.Go(func() {
			for ctx.Err() == nil && after.Load() < 40 {
				a := answer{started: time.Now()}
				if acknowledged.Load() != nil {
					after.Add(1)
				}
				route, target := wl.Usual(r)
				var err error
				if a.status, a.decision, err = co.ask(ctx, wl.Home, wl.Agent, route, target, map[string]string{"Authorization": "Bearer " + key.Key}); err == nil {
					answers[i] = append(answers[i], a)
				}
			}
		})
	}
	started := time.Now()
	action := co.report(t, dir, key.ID)
	done := time.Now()
	acknowledged.Store(&done)
	wg.Wait()
	allowed := 0
	for _, list := range answers {
		for _, a := range list {
			if a.status/100 == 2 {
				allowed++
				co.notBelow(t, a, done, action.Generation)
			}
		}
	}
	if allowed == 0 && n == 0 {
		t.Error("nothing was allowed before the containment; the test proves nothing")
	}
	return done.Sub(started)
}

// notBelow checks one allow.
func (co *company) notBelow(t *testing.T, a answer, acknowledged time.Time, generation uint64) {
	t.Helper()
	if a.started.After(acknowledged) {
		t.Errorf("decision %s allowed a request that started %s after the acknowledgement", a.decision, a.started.Sub(acknowledged))
	}
	var d client.Decision
	if err := co.api.Get(t.Context(), "/v1/decisions/"+a.decision, nil, &d); err != nil {
		return // it has left the memory of recent decisions
	}
	if d.At.After(acknowledged) || d.Generation >= generation {
		t.Errorf("decision %s allowed a contained key at generation %d, contained at %d", a.decision, d.Generation, generation)
	}
}

// report proves the leak and returns the containment.
func (co *company) report(t *testing.T, dir, credential string) client.Action {
	t.Helper()
	var action client.Action
	_, err := offline.Scan(t.Context(), offline.ScanSettings{Path: dir, Reporter: &offline.Reporter{
		Client: co.scanner, Replied: func(_ leak.Record, r client.SightingReply) {
			if r.Credential == credential && r.Action != nil {
				action = *r.Action
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if action.Status != "done" {
		t.Fatalf("the leak of %s was not contained: %+v", credential, action)
	}
	return action
}
