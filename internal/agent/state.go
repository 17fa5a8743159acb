package agent

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/health"
)

// operations serves /livez, /readyz, /metrics and GlassPath.
func (a *Agent) operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /readyz", &a.health)
	mux.HandleFunc("GET /metrics", a.glassMetrics)
	mux.Handle(GlassPath, a.glassHandler())
	return mux
}

// register hands in what the point says about itself. It is ready when it can
// decide at all: not being connected makes it poorer, not useless.
func (a *Agent) register(routes *enforce.Routes) {
	a.health.Add(
		health.Check{Name: "state", Vital: true, State: func(context.Context) health.State { return a.stateOf() }},
		health.Check{Name: "lease", State: func(context.Context) health.State { return a.leaseState(time.Now()) }},
		health.Check{Name: "journal", Vital: true, State: func(context.Context) health.State { return a.journalState() }},
		health.Check{Name: "reports", State: func(context.Context) health.State { return a.reportState(time.Now()) }},
		health.Check{Name: "break-glass", State: func(context.Context) health.State { return a.glassHealth(time.Now()) }},
		health.Check{Name: "routes", Vital: true, State: func(context.Context) health.State {
			if err := routes.Err(); err != nil {
				return health.Failed(err.Error(), "apply a routes.yaml that is right: muster resource apply routes.yaml")
			}
			return health.OK()
		}},
		health.Check{Name: "disk", State: func(context.Context) health.State {
			room, err := health.RoomOf(a.set.Data)
			if err != nil {
				return health.Failed(err.Error(), "look whether the data folder is still there and mounted")
			}
			return room.State(a.set.Data)
		}},
	)
}

// stateOf tells whether the point knows anything.
func (a *Agent) stateOf() health.State {
	a.status.mu.Lock()
	sequence, unusable, err := a.status.sequence, a.status.unusable, a.status.err
	a.status.mu.Unlock()
	if sequence > 0 && a.facts.Stale() == "" {
		return health.OK()
	}
	why := "the point has heard nothing from its server yet, so everything is denied"
	if unusable != "" {
		why = "the state on disk is not used (" + unusable + "), so everything is denied"
	}
	if stale := a.facts.Stale(); stale != "" {
		why = stale
	}
	if err != nil {
		why += ": " + err.Error()
	}
	return health.Failed(why, "bring the server back, or the network to it; the point goes on by itself")
}

// leaseState tells whether what is sensitive can be allowed, and how old what the
// point knows is.
func (a *Agent) leaseState(now time.Time) health.State {
	if a.lease.left(now) > 0 {
		return health.OK()
	}
	a.status.mu.Lock()
	err, since, generation := a.status.err, a.status.since, a.status.generation
	a.status.mu.Unlock()
	why := fmt.Sprintf("there is no lease, so what has sensitivity %d or more is denied; generation %d", leaseSensitivity, generation)
	if age := a.facts.Age(now); age < 1000*time.Hour {
		why += fmt.Sprintf(", %v old", age.Round(time.Second))
	}
	if err != nil {
		why += fmt.Sprintf("; for %v: %v", now.Sub(since).Round(time.Second), err)
	}
	return health.Degraded(why, "bring the server back, or the network to it; the point goes on by itself")
}

func (a *Agent) journalState() health.State {
	h := a.journal.Health()
	switch n := a.log.Unlogged(); {
	case h.Err != nil:
		return health.Failed("decisions cannot be recorded, so what must be recorded first is denied: "+h.Err.Error(), "make room on the disk, or let the point write there again")
	case h.OnReserve && h.Reserve == 0:
		return health.Degraded(fmt.Sprintf("the disk is full: decisions are recorded on the reserve, of which %d KB are left", h.Left>>10), "make room on the disk")
	case n > 0:
		return health.Degraded(fmt.Sprintf("%d decisions since the start could not be recorded", n), "see the log for when and why; the count starts again with the process")
	}
	return health.OK()
}

// reportState tells how many decisions the server does not have yet.
func (a *Agent) reportState(now time.Time) health.State {
	a.shipping.mu.Lock()
	err, since := a.shipping.err, a.shipping.since
	a.shipping.mu.Unlock()
	if err == nil || now.Sub(since) < feed.Lease {
		return health.OK()
	}
	return health.Degraded(fmt.Sprintf("%d decisions wait to be reported since %v: %v", a.shipping.left(a.journal), now.Sub(since).Round(time.Second), err),
		"bring the server back, or the network to it; nothing is lost meanwhile")
}

// Decisions returns how many decisions are on record at this point, and how many
// of them the server has.
func (a *Agent) Decisions() (made, reported uint64) {
	made = a.journal.Last().Seq
	return made, made - min(a.shipping.left(a.journal), made)
}
