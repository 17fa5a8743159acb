// Package rehearsal is the room where policies are tried before they are in
// force: on decisions that are on record, of a server or of a data folder, and
// on live ones, in the shadow of the policies in force. It joins the journal of
// decisions, the policies and the store to package decision/simulate, and
// changes nobody's access.
package rehearsal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/decision/simulate"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/force"
	"github.com/muster-id/muster/internal/store/shadow"
)

// maxLonger bounds how long one simulation may take.
const maxLonger = time.Hour

// maxFiles and maxBytes bound a candidate that is sent.
const (
	maxFiles = 10_000
	maxBytes = 8 << 20
)

// Deps are what a Stage is made of. All are required.
type Deps struct {
	Policies *force.Holder
	Folder   string       // of the journal of decisions
	Log      *logbook.Log // feeds the shadow
	Store    *shadow.Store
	Settings func() decision.Settings // in force
	// Known looks an identity up in memory; it has no name there.
	Known func(nhi.ID) (nhi.Identity, bool)
}

// A Stage implements frame.Rehearsal.
type Stage struct {
	Deps
	Shadows *simulate.Shadow // must Run

	busy sync.Mutex // one look through the record at a time
}

// NewStage returns a Stage.
func NewStage(s Deps) *Stage {
	out := &Stage{Deps: s}
	out.Shadows = simulate.NewShadow(simulate.ShadowDeps{
		Store: s.Store, Tap: s.Log.NewTap(),
		Load: func(files map[string]string) (decision.Policies, error) { return out.load(files) },
		Base: func(digest string) decision.Policies {
			for _, set := range []*policy.Set{s.Policies.Pair().Set, s.Policies.Pair().Rival.Set} { // both decide during a promotion
				if set != nil && set.Digest() == digest {
					return set
				}
			}
			return nil
		},
		MaxFactsAge: func() time.Duration { return s.Settings().WithDefaults().MaxFactsAge },
	})
	return out
}

// load loads a candidate beside the guards as they are now.
func (s *Stage) load(files map[string]string) (*policy.Set, error) {
	if err := bounded(files); err != nil {
		return nil, err
	}
	settings := policy.DefaultSettings()
	if set := s.Policies.Set(); set != nil {
		settings = set.Settings()
	}
	return policy.Load(settings, files)
}

// Simulate implements frame.Rehearsal. It uses half a core at most, so that
// live requests have the rest.
func (s *Stage) Simulate(ctx context.Context, request client.SimulateRequest, progress func(client.Simulation) error) (client.Simulation, error) {
	files, err := candidate(request.Files)
	if err != nil {
		return client.Simulation{}, err
	}
	set, err := s.load(files)
	if err != nil {
		return client.Simulation{}, err
	}
	if !s.busy.TryLock() {
		return client.Simulation{}, fmt.Errorf("somebody else looks through the record of decisions: wait for it: %w", nhi.ErrBusy)
	}
	defer s.busy.Unlock()
	ctx, cancel := context.WithTimeout(ctx, maxLonger)
	defer cancel()
	trial := &simulate.Trial{Candidate: set, Base: s.Policies.Set(), MaxFactsAge: s.Settings().WithDefaults().MaxFactsAge}
	r, err := simulate.Run(ctx, trial, logbook.Since(ctx, s.Folder, request.Since), simulate.Options{
		Owner: s.owner, Pause: rest,
		Progress: func(r *simulate.Report) error {
			if progress == nil {
				return nil
			}
			return progress(Simulation(r))
		},
	})
	if err != nil {
		return client.Simulation{}, err
	}
	return Simulation(r), nil
}

// rest waits for as long as was worked.
func rest(ctx context.Context, worked time.Duration) error {
	wait := time.NewTimer(min(worked, time.Second))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}

func (s *Stage) owner(id nhi.ID) string {
	if i, ok := s.Known(id); ok {
		return i.Owner.Ref
	}
	return ""
}

// Shadow implements frame.Rehearsal.
func (s *Stage) Shadow(ctx context.Context, f nhi.ShadowFilter) (client.Shadow, error) {
	kept, err := s.Store.Shadow(ctx)
	if err != nil {
		return client.Shadow{}, err
	}
	differences, err := s.Store.Differences(ctx, f)
	if err != nil {
		return client.Shadow{}, err
	}
	return shown(&kept, differences), nil
}

func shown(k *nhi.Shadow, differences []nhi.ShadowDifference) client.Shadow {
	out := client.Shadow{
		Running: k.Running(), Digest: k.Digest, Author: k.Author, Started: k.Started, Files: []string{},
		Judged: uint64(k.Judged), Unanswered: uint64(k.Unanswered), Changed: uint64(k.Denied + k.StepUp + k.Allowed),
		Denied: uint64(k.Denied), StepUp: uint64(k.StepUp), Allowed: uint64(k.Allowed), Dropped: uint64(k.Dropped), Unkept: uint64(k.Unkept), Errors: uint64(k.Errors),
	}
	for name := range k.Files {
		out.Files = append(out.Files, name)
	}
	slices.Sort(out.Files)
	out.Differences = frame.Each(differences, func(d nhi.ShadowDifference) client.ShadowDifference {
		return client.ShadowDifference{SimulationExample: client.SimulationExample{
			Kind: d.Kind, ID: d.Decision, At: d.At.UTC(), Identity: string(d.Identity), Action: string(d.Action), Resource: d.Resource,
			Before: d.Before, After: d.After, Policies: d.Policies, Reason: d.Reason,
		}}
	})
	return out
}

// StartShadow implements frame.Rehearsal.
func (s *Stage) StartShadow(ctx context.Context, by string, files map[string]string) (client.Shadow, error) {
	files, err := candidate(files) // what a grant is now, whatever a later release makes of its template
	if err != nil {
		return client.Shadow{}, err
	}
	set, err := s.load(files)
	if err != nil {
		return client.Shadow{}, err
	}
	now := time.Now()
	k := nhi.Shadow{ID: nhi.DerivedID("shd_", set.Digest(), by, now.UTC().Format(time.RFC3339Nano)), Digest: set.Digest(), Files: files, Author: by, Started: now.UTC()}
	if err := s.Shadows.Start(ctx, &k); err != nil {
		return client.Shadow{}, err
	}
	return shown(&k, nil), nil
}

// StopShadow implements frame.Rehearsal.
func (s *Stage) StopShadow(ctx context.Context) (client.Shadow, error) {
	if err := s.Shadows.Stop(ctx, time.Now()); err != nil {
		return client.Shadow{}, err
	}
	return s.Shadow(ctx, nhi.ShadowFilter{Limit: 1})
}

// Offline tries a candidate on the journal of decisions in a data folder, also
// beside the server that writes it. base may be nil: then the candidate is
// compared with what was decided.
func Offline(ctx context.Context, folder string, candidate, base *policy.Set, since time.Time, progress func(client.Simulation)) (client.Simulation, error) {
	trial := &simulate.Trial{Candidate: candidate, MaxFactsAge: decision.Settings{}.WithDefaults().MaxFactsAge}
	if base != nil {
		trial.Base = base
	}
	r, err := simulate.Run(ctx, trial, logbook.Since(ctx, strings.TrimSuffix(folder, "/")+"/decisions", since), simulate.Options{
		Progress: func(r *simulate.Report) error {
			progress(Simulation(r))
			return nil
		},
	})
	return Simulation(r), err
}

// Simulation is a report as clients read it.
func Simulation(r *simulate.Report) client.Simulation {
	groups := func(list []simulate.Group) []client.SimulationGroup {
		return frame.Each(list, func(g simulate.Group) client.SimulationGroup {
			return client.SimulationGroup{Name: g.Name, Denied: g.Denied, StepUp: g.StepUp, Allowed: g.Allowed, Examples: g.Examples}
		})
	}
	return client.Simulation{
		Decisions: r.Decisions, Judged: r.Judged, Unanswered: r.Unanswered, Changed: r.Changed, Denied: r.Denied, StepUp: r.StepUp, Allowed: r.Allowed,
		Errors: r.Errors, From: r.From.UTC(), Until: r.Until.UTC(), Seconds: r.Seconds, Cut: r.Cut,
		Identities: groups(r.Identities), Resources: groups(r.Resources), Owners: groups(r.Owners), Policies: groups(r.Policies),
		Examples: frame.Each(r.Examples, func(e simulate.Example) client.SimulationExample {
			return client.SimulationExample{
				Kind: string(e.Kind), ID: e.ID, At: e.At, Identity: string(e.Identity), Action: e.Action, Resource: e.Resource,
				Before: e.Before, After: e.After, Policies: e.Policies, Reason: e.Reason,
			}
		}),
	}
}
