package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
)

// Bounds on a shadow.
const (
	shadowQueue = 4096 // decisions that wait to be tried
	shadowKept  = 500  // differences that wait to be stored
)

// shadowBeat is how often what was counted is stored, and another process's
// start or stop noticed.
const shadowBeat = 2 * time.Second

// ShadowStore keeps the one shadow of an installation and its differences.
type ShadowStore interface {
	// Shadow returns the one that was started last, the zero Shadow when none
	// ever was.
	Shadow(ctx context.Context) (nhi.Shadow, error)
	// Begin puts s in the place of any other and forgets the differences of that.
	Begin(ctx context.Context, s *nhi.Shadow) error
	// End stops the shadow with this id.
	End(ctx context.Context, id string, at time.Time) error
	// Add adds to what the shadow with this id counted and keeps differences,
	// the newest ten thousand. It does nothing when another was started since.
	Add(ctx context.Context, id string, counts nhi.ShadowCounts, differences []nhi.ShadowDifference) error
}

// A Shadow tries a candidate on decisions as they are made. [Shadow.Offer] is
// given each decision that was put on record, after its answer, and never waits:
// what does not fit into the queue is counted as dropped. Run tries them, one
// after the other, on what the record says that policies read; so neither the
// answer nor the time that it takes can depend on a shadow.
type Shadow struct {
	store ShadowStore
	load  func(files map[string]string) (decision.Policies, error)
	base  func(digest string) decision.Policies // in force, if that is its digest
	tap   func(offer func(*nhi.Decision))       // nil: nobody wants decisions
	age   func() time.Duration

	queue   chan *nhi.Decision
	current atomic.Pointer[running]
	dropped atomic.Int64
	totals  totals

	mu sync.Mutex // serialises changes of current
}

// totals are what this process counted since it started.
type totals struct{ judged, denied, stepUp, allowed, dropped atomic.Int64 }

// A running is the shadow that is tried.
type running struct {
	id    string
	trial Trial
}

// ShadowDeps are what a Shadow is made of. All are required.
type ShadowDeps struct {
	Store ShadowStore
	// Load loads a candidate beside the guards.
	Load func(files map[string]string) (decision.Policies, error)
	// Base returns the policies in force if they have this digest, else nil.
	Base func(digest string) decision.Policies
	// Tap has offer called with every decision that is put on record; nil ends
	// that.
	Tap func(offer func(*nhi.Decision))
	// MaxFactsAge is the setting of decisions by that name, now.
	MaxFactsAge func() time.Duration
}

// NewShadow returns a Shadow that tries nothing until Run finds or is told what.
func NewShadow(d ShadowDeps) *Shadow {
	return &Shadow{store: d.Store, load: d.Load, base: d.Base, tap: d.Tap, age: d.MaxFactsAge, queue: make(chan *nhi.Decision, shadowQueue)}
}

// Offer takes a decision that nobody changes any more. It never waits.
func (s *Shadow) Offer(d *nhi.Decision) {
	select {
	case s.queue <- d:
	default:
		s.dropped.Add(1)
	}
}

// Start puts a candidate into the shadow, instead of what is there.
func (s *Shadow) Start(ctx context.Context, shadow *nhi.Shadow) error {
	set, err := s.load(shadow.Files)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.store.Begin(ctx, shadow); err != nil {
		return err
	}
	s.run(shadow.ID, set)
	return nil
}

// Stop ends the shadow. What it counted and kept stays.
func (s *Shadow) Stop(ctx context.Context, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.store.Shadow(ctx)
	if err == nil && now.Running() {
		err = s.store.End(ctx, now.ID, at)
	}
	if err == nil {
		s.rest()
	}
	return err
}

// run needs s.mu.
func (s *Shadow) run(id string, set decision.Policies) {
	s.current.Store(&running{id, Trial{Candidate: set}})
	s.tap(s.Offer)
}

// rest needs s.mu.
func (s *Shadow) rest() {
	s.tap(nil)
	s.current.Store(nil)
}

// follow does what the store says: another process may have started or stopped
// the shadow, and this one may just have begun.
func (s *Shadow) follow(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, err := s.store.Shadow(ctx)
	if err != nil {
		return err
	}
	r := s.current.Load()
	switch {
	case !kept.Running():
		if r != nil {
			s.rest()
		}
	case r == nil || r.id != kept.ID:
		set, err := s.load(kept.Files)
		if err != nil { // it was good when it was started, under other settings
			return errors.Join(fmt.Errorf("the shadow can no longer be loaded and is stopped: %w", err), s.store.End(ctx, kept.ID, time.Now()))
		}
		s.run(kept.ID, set)
	}
	return nil
}

// Judged, Dropped and Changed count since the process started, for metrics.
func (s *Shadow) Judged() int64 { return s.totals.judged.Load() }

// Dropped counts the decisions that did not fit into the queue.
func (s *Shadow) Dropped() int64 { return s.totals.dropped.Load() + s.dropped.Load() }

// Changed counts the differences of a kind.
func (s *Shadow) Changed(k Kind) int64 {
	switch k {
	case NewlyDenied:
		return s.totals.denied.Load()
	case NewlyStepUp:
		return s.totals.stepUp.Load()
	case NewlyAllowed:
		return s.totals.allowed.Load()
	}
	return 0
}

// Run tries decisions until ctx ends, then stores once more what it counted.
func (s *Shadow) Run(ctx context.Context) error {
	var p pending
	defer s.rests()
	if err := s.follow(ctx); err != nil {
		slog.Error("the shadow of the policies cannot be read; tried again in a moment", "error", err)
	}
	tick := time.NewTicker(shadowBeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer done()
			return s.save(last, &p)
		case d := <-s.queue:
			if err := s.try(ctx, &p, d); err != nil {
				slog.Warn("what a shadow counted could not be stored; tried again in a moment", "error", err)
			}
		case <-tick.C:
			if err := errors.Join(s.save(ctx, &p), s.follow(ctx)); err != nil {
				slog.Warn("the shadow of the policies could not be stored or read; tried again in a moment", "error", err)
			}
		}
	}
}

// rests ends the shadow in this process.
func (s *Shadow) rests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest()
}

// pending is what was counted and not stored yet.
type pending struct {
	id          string
	counts      nhi.ShadowCounts
	differences []nhi.ShadowDifference
}

// try asks the candidate about one decision.
func (s *Shadow) try(ctx context.Context, p *pending, d *nhi.Decision) error {
	r := s.current.Load()
	if r == nil {
		return nil
	}
	if p.id != r.id {
		if err := s.save(ctx, p); err != nil {
			return err
		}
		*p = pending{id: r.id}
	}
	trial := Trial{Candidate: r.trial.Candidate, MaxFactsAge: s.age()}
	if d.WouldRefuse || d.Glass != "" { // the record does not say whether by a denial or a step-up
		trial.Base = s.base(d.Policy)
	}
	diff, v, errs := trial.Judge(d)
	p.counts.Errors += int64(errs)
	if v == Unanswered {
		p.counts.Unanswered++
		return nil
	}
	p.counts.Judged++
	s.totals.judged.Add(1)
	if v == Same {
		return nil
	}
	s.count(&p.counts, diff.Kind)
	if len(p.differences) >= shadowKept {
		p.counts.Unkept++
		return nil
	}
	p.differences = append(p.differences, nhi.ShadowDifference{
		Decision: d.ID, At: d.At, Kind: string(diff.Kind), Identity: d.Identity, Action: d.Action, Resource: d.Resource,
		Before: diff.Before, After: diff.After, Policies: diff.Policies, Reason: diff.Reason,
	})
	return nil
}

func (s *Shadow) count(c *nhi.ShadowCounts, k Kind) {
	switch k {
	case NewlyDenied:
		c.Denied++
		s.totals.denied.Add(1)
	case NewlyStepUp:
		c.StepUp++
		s.totals.stepUp.Add(1)
	case NewlyAllowed:
		c.Allowed++
		s.totals.allowed.Add(1)
	}
}

// save stores what was counted.
func (s *Shadow) save(ctx context.Context, p *pending) error {
	if n := s.dropped.Swap(0); n > 0 {
		p.counts.Dropped += n
		s.totals.dropped.Add(n)
	}
	if p.id == "" {
		if r := s.current.Load(); r != nil {
			p.id = r.id
		}
	}
	if p.id == "" || p.counts == (nhi.ShadowCounts{}) {
		return nil
	}
	if err := s.store.Add(ctx, p.id, p.counts, p.differences); err != nil {
		return err
	}
	*p = pending{id: p.id}
	return nil
}
