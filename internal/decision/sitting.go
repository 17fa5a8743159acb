package decision

import (
	"context"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/useragent"
)

// A sitting is what one question, or several that were asked together, are
// decided from. Several share one generation of facts, one set of policies,
// one time, and the place and the program of whoever asks.
type sitting struct {
	service  *Service
	facts    Facts
	policies Policies
	settings *Settings
	now      time.Time

	place  geo.Place // of address
	family string    // of agent
	// What place and family were looked up for. An agent is remembered only in a
	// sitting of several questions.
	address netip.Addr
	agent   string
}

// convene returns a sitting for several questions.
func (s *Service) convene(now time.Time) sitting {
	t := sitting{service: s, facts: s.c.Facts.Pin(), policies: s.c.Policies, settings: s.settings.Load(), now: now}
	if s.c.InForce != nil {
		t.policies = s.c.InForce()
	}
	return t
}

// DecideAll answers questions that were asked together, in their order: all of
// them at one generation of facts and by one set of policies, each as Decide
// would and each on record. What is changed meanwhile is seen by none of them.
// If enough is not nil it is told each answer, and none is given after the one
// for which it returns true; else the allows that must be on record first wait
// for the journal together. The questions belong to the caller again when
// DecideAll has returned.
func (s *Service) DecideAll(ctx context.Context, questions []nhi.Question, enough func(*nhi.Decision) bool) []nhi.Decision {
	start := time.Now()
	t := s.convene(start)
	out := make([]nhi.Decision, 0, len(questions))
	began := start
	for i := range questions {
		out = out[:i+1]
		d := &out[i]
		t.decide(&questions[i], d)
		ended := time.Now()
		d.Latency, began = ended.Sub(began), ended
		if enough == nil {
			continue
		}
		if s.record(ctx, d); enough(d) {
			return out
		}
	}
	if enough == nil {
		s.recordAll(ctx, out)
	}
	return out
}

// Try answers questions as DecideAll would and tells nobody: nothing is
// recorded, so nothing is learned from it, and no mode of a point is applied.
// The outcome is what policy says. A decision of Try has no id.
func (s *Service) Try(questions []nhi.Question) []nhi.Decision {
	t := s.convene(time.Now())
	out := make([]nhi.Decision, len(questions))
	for i := range questions {
		t.judge(&questions[i], &out[i])
	}
	return out
}

// decide answers q in d and applies the mode of the point.
func (t *sitting) decide(q *nhi.Question, d *nhi.Decision) {
	stands, ok := t.judge(q, d)
	d.ID, d.At = newDecisionID(t.now), t.now
	if ok {
		applyMode(&stands, q, d)
		t.breakGlass(&stands, q, d)
		t.ask(q, d)
	}
}

// ask has people asked when nothing but their approval is missing.
func (t *sitting) ask(q *nhi.Question, d *nhi.Decision) {
	if t.service.c.Approvals == nil || q.Trial || d.Outcome != nhi.StepUp || !onlyApproval(d.Obligations) {
		return
	}
	id, ok := t.service.c.Approvals.Ask(q, d)
	if !ok {
		d.Outcome, d.Obligations = nhi.Deny, nil
		d.Reasons = append(d.Reasons, reason(approvalUnasked, "People would have to approve it, but too much waits for them already, so it is denied."))
		return
	}
	d.Obligations[0].Value = id
}

func onlyApproval(obligations []nhi.Obligation) bool {
	return len(obligations) == 1 && obligations[0].Kind == nhi.StepApprove
}

// judge finds what policy says to q. It turns a panic into a denial, which
// stands on nothing and is not ok, and a fault as well: pages lie in a mapped
// file, and the disk may fail just when one is read.
func (t *sitting) judge(q *nhi.Question, d *nhi.Decision) (stands Standing, ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			// What was thrown may hold anything, so it is not shown.
			t.service.panics.Add(1)
			*d = nhi.Decision{Outcome: nhi.Deny, Point: q.Point, Identity: q.Subject.Identity, Generation: t.facts.Generation()}
			d.Reasons = []nhi.Reason{reason("internal-error", "Something went wrong while deciding, so it is denied.")}
			ok = false
		}
	}()
	sanitise(q, t.now)
	stands = t.know(q)
	ruling := t.rule(q)
	if slices.Contains(ruling.StepUp, nhi.StepApprove) && ruling.Outcome == nhi.StepUp && t.service.c.Approvals != nil && !q.Trial {
		if a := t.service.c.Approvals.Approved(q, t.now); a != nil {
			q.Known.Approval = a
			ruling = t.rule(q)
		}
	}
	*d = describe(q, &stands, &ruling)
	d.Inputs = nhi.NewInputs(q, t.now)
	return stands, true
}

// know fills in q.Known from the facts, the identity's page, and geography.
func (t *sitting) know(q *nhi.Question) Standing {
	c := &t.service.c
	stands := t.facts.Know(q, t.now)
	k := &q.Known
	k.Purpose = purpose(q)
	var place geo.Place
	if c.Places != nil && q.Address.IsValid() {
		if t.address != q.Address {
			t.address, t.place = q.Address, c.Places.Lookup(q.Address)
		}
		place = t.place
		k.Country, k.ASN, k.Network = place.Country, place.ASN, place.Organization
	}
	if t.family == "" || t.agent != q.Agent {
		t.agent, t.family = q.Agent, useragent.Family(q.Agent)
	}
	k.AgentFamily = t.family
	k.Interactive = useragent.Human(k.AgentFamily)
	if c.Behaviour != nil && k.Identity {
		var page *surprise.Page
		if c.Pages != nil {
			page = c.Pages.Page(q.Subject.Identity)
		}
		c.Behaviour.Assess(q, page, place)
	}
	return stands
}

// rule asks policy and adds what policy cannot judge.
func (t *sitting) rule(q *nhi.Question) nhi.Ruling {
	ruling := Judge(t.policies, q, t.settings.MaxFactsAge)
	if ruling.Errors > 0 {
		t.service.errors.Add(int64(ruling.Errors))
	}
	return ruling
}

// together is how many allows of one sitting wait for the journal at a time.
// The journal syncs those that wait together once.
const together = 64

// recordAll puts decisions on record. The allows that must be durable first
// wait together; each that fails becomes a denial.
func (s *Service) recordAll(ctx context.Context, decisions []nhi.Decision) {
	var first []*nhi.Decision
	for i := range decisions {
		if d := &decisions[i]; d.Outcome == nhi.Allow && s.logFirst(d) {
			first = append(first, d)
		} else {
			s.c.Log.Add(d)
		}
	}
	var next atomic.Int64
	var waiting sync.WaitGroup
	for range min(len(first), together) {
		waiting.Go(func() {
			for i := next.Add(1); i <= int64(len(first)); i = next.Add(1) {
				s.record(ctx, first[i-1])
			}
		})
	}
	waiting.Wait()
}
