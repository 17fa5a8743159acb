package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/postgres"
	"github.com/muster-id/muster/internal/store/postgres/pgtest"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
)

// TestNothingAcknowledgedIsLostByKillingAnyPart is the same day with the state
// in PostgreSQL and the stream in three NATS servers. In each round the server,
// a NATS server or the database is killed; the server survives the other two
// and must go on by itself once they are back.
func TestNothingAcknowledgedIsLostByKillingAnyPart(t *testing.T) {
	db := pgtest.New(t, true)
	db.Create(t, "muster")
	nodes := natstest.Cluster(t)
	c := newChild(t)
	c.env = []string{"MUSTER_STORE_URL=" + db.URL("muster"), "MUSTER_STREAM_URLS=" + strings.Join(natstest.URLs(nodes...), ",")}
	c.start(t)
	co := newCompany(t, c)
	began := time.Now()
	// As long as the other: in a short history much is still new, and is withheld.
	const records = 48_000
	parts, did := portions(co, records)
	k := &chaos{company: co, rnd: rand.New(rand.NewPCG(seed, uint64(began.UnixNano()))), portions: parts, imports: otherAccounts(t, co, 40*matrixRounds), records: records, open: func(t *testing.T) *store.DB {
		opened, err := postgres.Open(t.Context(), postgres.Settings{URL: db.URL("muster"), Settings: store.Settings{Program: "test"}})
		if err != nil {
			t.Fatal(err)
		}
		return opened
	}}
	kills := map[string]int{}
	for round := range matrixRounds {
		while := time.Duration(600+k.rnd.IntN(1500)) * time.Millisecond
		switch victim := nodes[k.rnd.IntN(len(nodes))]; round % 3 {
		case 0:
			kills["server"]++
			k.live(t, while, func() { c.kill(t) })
			c.start(t)
		case 1:
			kills["NATS"]++
			k.live(t, while, victim.Kill)
			victim.Start(t)
			c.await(t)
		case 2:
			kills["PostgreSQL"]++
			k.live(t, while, db.Kill)
			db.Start(t)
			c.await(t)
		}
		k.check(t, round)
		if t.Failed() {
			t.Fatalf("round %d; the server said:\n%.4000s", round, c.out)
		}
	}
	k.rest(t)
	k.learned(t, did)
	c.stop(t)
	k.audit(t)
	k.folder(t, did)
	a := &k.done
	figures := fmt.Sprintf("%d kills in %s (server %d, a NATS server %d, PostgreSQL %d): %d imports, %d portions of %d records (%d sent again), %d sensitive decisions and %d containments acknowledged, all there, none twice",
		matrixRounds, time.Since(began).Round(time.Second), kills["server"], kills["NATS"], kills["PostgreSQL"], len(a.imports), a.portions, portionSize, a.repeats, len(a.sensitive), len(a.contained))
	t.Log(figures)
	if len(a.imports) == 0 || a.portions == 0 || len(a.sensitive) == 0 || len(a.contained) == 0 {
		t.Error("somebody got nothing done; the test proves nothing")
	}
	record(t, "kill-matrix.md", "Killing any part", "The state is in PostgreSQL, the stream in a cluster of three NATS servers. In turn the server, one of the NATS servers and PostgreSQL is "+aDay, figures)
}

// learned waits until every record of the log was learned: the cluster hands
// the stream out in its own time.
func (k *chaos) learned(t *testing.T, did map[nhi.ID]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, wl := range k.Workloads {
		for {
			var l client.Learned
			if err := k.api.Get(ctx, "/v1/identities/"+string(wl.Identity)+"/normal", nil, &l); err != nil {
				t.Errorf("wait until the %d events of %s are learned: %v", did[wl.Identity], wl.Name, err)
				return
			}
			if int(l.Events) >= did[wl.Identity] {
				break
			}
			<-tick.C
		}
	}
}
