package rehearsal

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/decision/propose"
	"github.com/muster-id/muster/internal/nhi"
)

// step is after how many decisions progress is told.
const step = 10_000

// Learn implements frame.Rehearsal. Like Simulate it uses half a core at most.
func (s *Stage) Learn(ctx context.Context, request client.LearnRequest, progress func(client.Proposal) error) (client.Proposal, error) {
	if !s.busy.TryLock() {
		return client.Proposal{}, fmt.Errorf("somebody else looks through the record of decisions: wait for it: %w", nhi.ErrBusy)
	}
	defer s.busy.Unlock()
	ctx, cancel := context.WithTimeout(ctx, maxLonger)
	defer cancel()
	var permits []string
	if set := s.Policies.Set(); set != nil {
		for _, p := range set.Policies() {
			if p.Effect == "permit" && !p.Guard {
				permits = append(permits, p.ID)
			}
		}
	}
	counts := func(id nhi.ID) bool {
		return (request.Identity == "" || id == nhi.ID(request.Identity)) && (request.Owner == "" || s.owner(id) == request.Owner)
	}
	begun := time.Now()
	return Learn(ctx, s.Folder, request.Since, permits, counts, func(p client.Proposal) error {
		if err := rest(ctx, time.Since(begun)); err != nil {
			return err
		}
		begun = time.Now()
		return progress(p)
	})
}

// Learn proposes grants from the decisions in a folder since a time, of the
// identities that counts says. permits are those that may turn out to be needed by
// nobody. progress is told how far it is; its error ends the study.
func Learn(ctx context.Context, folder string, since time.Time, permits []string, counts func(nhi.ID) bool, progress func(client.Proposal) error) (client.Proposal, error) {
	study, n := propose.New(propose.Settings{}), uint64(0)
	for d, err := range logbook.Since(ctx, folder, since) {
		if err != nil {
			return client.Proposal{}, err
		}
		if n++; n%step == 0 {
			if err := progress(client.Proposal{Decisions: n}); err != nil {
				return client.Proposal{}, err
			}
		}
		if counts(d.Identity) {
			study.Add(&d)
		}
	}
	return proposal(study.Proposal(permits)), nil
}

func proposal(p *propose.Proposal) client.Proposal {
	out := client.Proposal{
		Decisions: p.Decisions, Taught: p.Taught, Tried: p.Tried, Unusual: p.Unusual, Asserted: p.Asserted, Seldom: p.Seldom, LeftOut: p.LeftOut,
		From: p.From, Until: p.Until, Grants: make([]client.ProposedGrant, 0, len(p.Grants)), Unused: p.Unused,
	}
	for i := range p.Grants {
		g := &p.Grants[i]
		one := client.ProposedGrant{
			Identity: string(g.Identity), Resource: g.Resource, Uses: g.Uses, Days: g.Days, First: g.First, Last: g.Last, Example: g.Example, Granted: g.Granted,
		}
		for _, a := range g.Actions {
			one.Actions = append(one.Actions, string(a))
		}
		out.Grants = append(out.Grants, one)
	}
	return out
}
