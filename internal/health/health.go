// Package health is the one register of what a process says about itself. Each
// part hands in a named [Check] that tells its state: ok, degraded (it works,
// and somebody should look) or failed (it does not), why, and what to do about
// it. The operations listener shows the register at /readyz, the metrics count
// it, and `muster doctor` reads it.
//
//	register.Add(health.Check{Name: "stream", State: func(ctx context.Context) health.State {
//		if err := stream.Ping(ctx); err != nil {
//			return health.Degraded(err.Error(), "start the cluster's other nodes; events wait at their senders")
//		}
//		return health.OK()
//	}})
//
// A process is ready when it has started, is not stopping and no vital check
// failed. Vital is what a decision needs: the facts, the journal. The store and
// the stream are not: without them decisions go on, and taking every replica
// out of service because one database is down would stop them.
//
// States are shown without sign-in to whoever reaches the operations listener
// (loopback): a reason never holds a secret.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Level is how well a part is. The zero Level is OK.
type Level int

// The levels, better first.
const (
	LevelOK Level = iota
	LevelDegraded
	LevelFailed
)

var levels = [...]string{"ok", "degraded", "failed"}

// String is the word for a level.
func (l Level) String() string { return levels[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	i := slices.Index(levels[:], string(text))
	if i < 0 {
		return fmt.Errorf("health level %.20q: want ok, degraded or failed", text)
	}
	*l = Level(i)
	return nil
}

// A State is how a part is at one moment. The zero State is ok.
type State struct {
	Level Level  `json:"state"`
	Why   string `json:"why,omitempty"`  // what is wrong
	Cure  string `json:"cure,omitempty"` // what to do about it
}

// OK is the state of a part that works.
func OK() State { return State{} }

// Degraded is the state of a part that works and needs somebody. cure says what
// to do.
func Degraded(why, cure string) State { return State{LevelDegraded, why, cure} }

// Failed is the state of a part that does not work. cure says what to do.
func Failed(why, cure string) State { return State{LevelFailed, why, cure} }

// String is "ok", "degraded: why; cure" or "failed: why; cure", on one line.
func (s State) String() string {
	line := s.Level.String()
	if s.Why != "" {
		line += ": " + s.Why
	}
	if s.Cure != "" {
		line += "; " + s.Cure
	}
	return strings.Join(strings.Fields(line), " ")
}

// A Check is one part's word about itself.
type Check struct {
	Name string
	// Vital checks decide whether the process is ready: what a decision needs.
	Vital bool
	// State may look at a disk or ask a peer, until ctx ends. It is called by
	// one caller at a time; one that does not return in time counts as failed
	// until it does.
	State func(ctx context.Context) State
}

// patience is how long a check may think.
const patience = 2 * time.Second

// A Register holds the checks of a process. The zero value is empty and not
// started. It is safe for concurrent use.
type Register struct {
	started, stopping atomic.Bool

	mu      sync.Mutex // guards entries
	entries []*entry
}

type entry struct {
	Check
	busy atomic.Bool // State is running
}

// Add registers checks. One with the name of an earlier one replaces it, so a
// part that knows more can speak for a part that says little.
func (r *Register) Add(checks ...Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range checks {
		fresh := &entry{Check: c}
		if i := slices.IndexFunc(r.entries, func(e *entry) bool { return e.Name == c.Name }); i >= 0 {
			r.entries[i] = fresh
		} else {
			r.entries = append(r.entries, fresh)
		}
	}
}

// Started says that the process has caught up with all that is stored.
func (r *Register) Started() { r.started.Store(true) }

// Stopping says that the process takes no more work.
func (r *Register) Stopping() { r.stopping.Store(true) }

// A Line is one check and its state.
type Line struct {
	Name  string `json:"name"`
	Vital bool   `json:"vital,omitempty"`
	State
}

// A Report is what all checks say at one moment.
type Report struct {
	Ready  bool   `json:"ready"`
	Checks []Line `json:"checks"`
}

// Report asks all checks, at the same time, and waits for the slowest, two
// seconds at most.
func (r *Register) Report(ctx context.Context) Report {
	r.mu.Lock()
	entries := slices.Clone(r.entries)
	r.mu.Unlock()
	out := Report{Ready: true, Checks: []Line{{Name: "started", Vital: true, State: r.phase()}}}
	lines := make([]Line, len(entries))
	var asking sync.WaitGroup
	for i, e := range entries {
		asking.Go(func() { lines[i] = Line{Name: e.Name, Vital: e.Vital, State: e.ask(ctx)} })
	}
	asking.Wait()
	out.Checks = append(out.Checks, lines...)
	for _, l := range out.Checks {
		if l.Vital && l.Level == LevelFailed {
			out.Ready = false
		}
	}
	return out
}

func (r *Register) phase() State {
	switch {
	case r.stopping.Load():
		return Failed("the process is stopping", "send requests to another one")
	case !r.started.Load():
		return Failed("the process is still starting", "wait; a large installation reads its facts first")
	}
	return OK()
}

// ask runs the check, for a while.
func (e *entry) ask(ctx context.Context) State {
	if !e.busy.CompareAndSwap(false, true) {
		return Failed("an earlier question has no answer yet", "look whether a disk or a peer hangs")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	answer := make(chan State, 1)
	go func() { // ends with the check, which was told to by ctx
		defer cancel()
		defer e.busy.Store(false)
		answer <- e.guarded(ctx)
	}()
	select {
	case s := <-answer:
		return s
	case <-ctx.Done():
	}
	select { // both may have come at once
	case s := <-answer:
		return s
	default:
		return Failed("no answer within "+patience.String(), "look whether a disk or a peer hangs")
	}
}

// guarded turns a panic into a failed state: asking how a process is must never
// end it.
func (e *entry) guarded(ctx context.Context) (s State) {
	defer func() {
		if p := recover(); p != nil {
			s = Failed("the check itself broke", "report this as a bug, with the log")
		}
	}()
	return e.State(ctx)
}

// ServeHTTP answers 200 when the process is ready, else 503. With the parameter
// verbose it lists every check as a line "name: state"; a caller that accepts
// application/json gets a [Report].
func (r *Register) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	rep := r.Report(req.Context())
	status := http.StatusOK
	if !rep.Ready {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(req.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(rep)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	word := "ready"
	if !rep.Ready {
		word = "not ready"
	}
	_, _ = io.WriteString(w, word+"\n")
	if req.URL.Query().Has("verbose") {
		for _, l := range rep.Checks {
			_, _ = fmt.Fprintf(w, "%s: %s\n", l.Name, l.State)
		}
	}
}
