package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// operations serves /livez, /readyz and /metrics, and profiles where the
// configuration asks for them; without a registry there are no metrics yet (503).
func (s *Server) operations(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /readyz", s.health)
	if s.settings.Config.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	if registry == nil {
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the server is starting: there is nothing to measure yet", http.StatusServiceUnavailable)
		})
		return mux
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelError)}))
	return mux
}

// answer serves the operations listener while the server is still being built:
// reading the facts can take minutes, and a probe should hear that the process
// lives and is not ready. It is the one thing that New starts, and Close ends.
func (s *Server) answer() {
	early := s.operations(nil)
	s.probed.Store(&early)
	s.operating = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.probed.Load()).ServeHTTP(w, r) }),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
	}
	s.operated = make(chan error, 1)
	go func() { s.operated <- s.operating.Serve(s.ops) }()
	s.onClose(s.operating.Close)
}

// register hands in the checks of the parts that every server has. A part that
// is not always there, or that knows more about itself, adds its own line with
// s.health.Add, where it is made.
func (s *Server) register() {
	s.health.Add(
		health.Check{Name: "store", State: s.databaseState},
		health.Check{Name: "stream", State: s.streamState},
		health.Check{Name: "facts", Vital: true, State: func(context.Context) health.State { return s.factsState(time.Now()) }},
		health.Check{Name: "journal", Vital: true, State: func(context.Context) health.State { return s.journalState() }},
		health.Check{Name: "audit", Vital: true, State: func(context.Context) health.State { return s.auditState() }},
		health.Check{Name: "routes", Vital: true, State: func(context.Context) health.State {
			return failing(s.routes.Err(), "apply a routes.yaml that is right: muster resource apply routes.yaml")
		}},
		health.Check{Name: "learning", State: func(context.Context) health.State {
			return s.learnerState()
		}},
		health.Check{Name: "clock", State: func(context.Context) health.State { return s.clock.State(time.Now()) }},
		health.Check{Name: "disk", State: func(context.Context) health.State {
			room, err := health.RoomOf(s.settings.Data)
			if err != nil {
				return failing(err, "look whether the data folder is still there and mounted")
			}
			return room.State(s.settings.Data)
		}},
		health.Check{Name: "network data", State: func(context.Context) health.State { return s.networkState(time.Now()) }},
	)
}

// failing is the failed state that an error means.
func failing(err error, cure string) health.State {
	if err == nil {
		return health.OK()
	}
	return health.Failed(err.Error(), cure)
}

// factsState tells how old what decisions know is. Beyond the limit decisions
// deny what is sensitive, see [decision.Settings].
func (s *Server) factsState(now time.Time) health.State {
	if why := s.facts.Stale(); why != "" {
		return health.Failed(why, "restart the server: it reads all facts again")
	}
	age, limit := s.facts.Age(now), s.reloader.Current().Decisions.WithDefaults().MaxFactsAge
	const cure = "bring the store back: see its line, and the log"
	switch {
	case age > limit:
		return health.Failed(fmt.Sprintf("the facts are %v old, which is over %v: what is sensitive is denied", age.Round(time.Second), limit), cure)
	case age > 6*beat:
		return health.Degraded(fmt.Sprintf("the facts are %v old; after %v what is sensitive is denied", age.Round(time.Second), limit), cure)
	}
	return health.OK()
}

func (s *Server) learnerState() health.State {
	if err := s.learner.Err(); err != nil {
		return health.Failed(err.Error(), "decisions use what was learned before; events are kept and learned once the cause is gone")
	}
	if n := s.learner.Mind.Damaged(); n > 0 {
		return health.Degraded(fmt.Sprintf("what is normal was damaged on disk for %d identities, which begin anew", n),
			"see the log for which, and look at the disk; the count starts again with the process")
	}
	return health.OK()
}

const fullDisk = "make room on the disk; the server takes its reserve back by itself"

// cureOf says what to do about a journal that takes no records.
func cureOf(err error) string {
	switch {
	case errors.Is(err, journal.ErrReadOnly):
		return "let the server write there again, see the line of the disk; it goes on by itself"
	case errors.Is(err, journal.ErrBroken):
		return "see the kernel's log for what is wrong with the disk, repair it, and restart the server: it looks what really is on the disk"
	}
	return fullDisk
}

func (s *Server) journalState() health.State {
	h := s.journal.Health()
	switch n := s.log.Unlogged(); {
	case h.Err != nil:
		return health.Failed("decisions cannot be recorded, so what must be recorded first is denied: "+h.Err.Error(), cureOf(h.Err))
	case h.OnReserve && h.Reserve == 0: // with another one in reserve, there is room again
		return health.Degraded(fmt.Sprintf("the disk is full: decisions are recorded on the reserve, of which %d KB are left", h.Left>>10), fullDisk)
	case n > 0:
		return health.Degraded(fmt.Sprintf("%d decisions since the start could not be recorded", n), "see the log for when and why; the count starts again with the process")
	}
	return health.OK()
}

func (s *Server) auditState() health.State {
	h := s.audit.Health()
	switch {
	case h.Err != nil:
		return health.Failed("acts cannot be recorded, so none is done: "+h.Err.Error(), cureOf(h.Err))
	case h.Sign != nil:
		return health.Degraded("the last checkpoint could not be signed: "+h.Sign.Error(), "see the line of the keys; the next act tries again")
	case h.OnReserve && h.Reserve == 0:
		return health.Degraded("the disk is full: acts are recorded on the reserve", fullDisk)
	}
	return health.OK()
}

func (s *Server) networkState(now time.Time) health.State {
	if s.table.Stale(now) {
		return health.Degraded(fmt.Sprintf("the table of networks is from %s, over %d days ago: countries and networks may have moved",
			s.table.Built().Format(time.DateOnly), int(geo.MaxAge.Hours()/24)), "update to a newer release")
	}
	return health.OK()
}

// confirm tells the facts that they are current, if they are: the store answers
// and knows no change that they lack. Without the store they grow old, and past
// the limit what is sensitive is denied.
func (s *Server) confirm(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	var newest nhi.Generation
	began := time.Now()
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		newest = tx.Generation()
		return nil
	})
	s.answered.Store(int64(time.Since(began)))
	if err == nil && s.db.Health().Err == nil && s.facts.Generation() >= newest {
		s.facts.Heartbeat(now)
	}
}
