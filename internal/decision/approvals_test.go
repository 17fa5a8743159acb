package decision_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// people are decision.Approvals that say what they are told to.
type people struct {
	approved *nhi.Approval
	busy     bool
	fail     error
	once     bool // an approval can be used up one time
	asked    int

	mu    sync.Mutex // guards spent: questions asked together spend concurrently
	spent []string
}

func (p *people) Approved(*nhi.Question, time.Time) *nhi.Approval { return p.approved }

func (p *people) Ask(*nhi.Question, *nhi.Decision) (string, bool) {
	p.asked++
	return "apr_asked", !p.busy
}

func (p *people) Spend(_ context.Context, id, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.once && slices.Contains(p.spent, id) {
		return nhi.ErrConflict
	}
	p.spent = append(p.spent, id)
	return p.fail
}

const wantsApproval = `
@id("ask") @stepup("approve")
forbid (principal, action, resource)
unless { context has approval };`

// approving is a world in which a person has to approve everything.
func approving(t *testing.T, p *people, more string) *world {
	t.Helper()
	holder, err := policy.NewHolder(policy.DefaultSettings(), map[string]string{"x.cedar": wantsApproval + more})
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, func(c *decision.Config) { c.Policies, c.Approvals = holder, p })
}

func TestPeopleAreAskedWhenOnlyTheirApprovalIsMissing(t *testing.T) {
	p := &people{}
	w := approving(t, p, "")
	d := w.service.Decide(context.Background(), ask())
	if d.Outcome != nhi.StepUp || len(d.Obligations) != 1 || d.Obligations[0] != (nhi.Obligation{Kind: nhi.StepApprove, Value: "apr_asked"}) || p.asked != 1 {
		t.Errorf("%s %v, asked %d times", d.Outcome, d.Obligations, p.asked)
	}
	if d := w.service.Decide(context.Background(), ask(observed)); !d.WouldRefuse || p.asked != 1 {
		t.Errorf("a point that observes asked people: %+v", d)
	}
	if d := w.service.Try([]nhi.Question{*ask()}); d[0].Outcome != nhi.StepUp || p.asked != 1 {
		t.Errorf("a what-if asked people: %+v", d)
	}
	trial := func(q *nhi.Question) { q.Trial = true }
	if d := w.service.Decide(context.Background(), ask(trial)); d.Outcome != nhi.StepUp || d.Obligations[0].Value != "" || p.asked != 1 {
		t.Errorf("a trial asked people: %+v", d)
	}
	p.approved = &nhi.Approval{ID: "apr_1"}
	if d := w.service.Decide(context.Background(), ask(trial)); d.Outcome != nhi.StepUp || len(p.spent) != 0 {
		t.Errorf("a trial used an approval: %+v, spent %v", d, p.spent)
	}
	p.approved, p.busy = nil, true
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny || len(d.Obligations) != 0 {
		t.Errorf("when too much is asked: %s %v", d.Outcome, because(d))
	}
	other := approving(t, p, `@id("more") @stepup("bind") forbid (principal, action, resource) unless { context.senderBound };`)
	p.asked = 0
	if d := other.service.Decide(context.Background(), ask()); d.Outcome != nhi.StepUp || p.asked != 0 {
		t.Errorf("people are asked before the caller did what it can do itself: %s, %d", d.Outcome, p.asked)
	}
}

func TestAnApprovedRequestPassesAndUsesItsApprovalUp(t *testing.T) {
	p := &people{approved: &nhi.Approval{ID: "apr_1", Votes: []nhi.Vote{{Person: "p", Yes: true}}}}
	w := approving(t, p, "")
	d := w.service.Decide(context.Background(), ask())
	if d.Outcome != nhi.Allow || d.Approval != "apr_1" || len(p.spent) != 1 {
		t.Fatalf("%s, approval %q, spent %v: %v", d.Outcome, d.Approval, p.spent, because(d))
	}
	w.service.Try([]nhi.Question{*ask()})
	if len(p.spent) != 1 {
		t.Error("a what-if used it up")
	}
	both := w.service.DecideAll(context.Background(), []nhi.Question{*ask(), *ask()}, nil)
	if both[0].Outcome != nhi.Allow || len(p.spent) != 3 {
		t.Errorf("asked together: %s, spent %v", both[0].Outcome, p.spent)
	}
	p.fail = errors.New("the disk is full")
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny || d.Approval != "" {
		t.Errorf("an approval that cannot be used up lets pass: %+v", d)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	p.fail = nil
	if d := w.service.Decide(done, ask()); d.Outcome != nhi.Deny {
		t.Errorf("after the caller has gone: %s", d.Outcome)
	}
}

func TestAnApprovalDoesNotOverruleAForbid(t *testing.T) {
	p := &people{approved: &nhi.Approval{ID: "apr_1"}}
	w := approving(t, p, `@id("never") forbid (principal, action, resource);`)
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny || d.Approval != "" || len(p.spent) != 0 {
		t.Errorf("%s, approval %q, spent %v", d.Outcome, d.Approval, p.spent)
	}
}

func TestOneApprovalLetsOneItemOfABatchPass(t *testing.T) {
	p := &people{approved: &nhi.Approval{ID: "apr_1", Votes: []nhi.Vote{{Person: "p", Yes: true}}}, once: true}
	w := approving(t, p, "")
	same := make([]nhi.Question, 100)
	for i := range same {
		same[i] = *ask()
	}
	passed := 0
	for _, d := range w.service.DecideAll(context.Background(), same, nil) {
		if d.Outcome == nhi.Allow {
			passed++
		}
	}
	if passed != 1 || len(p.spent) != 1 {
		t.Errorf("%d of 100 equal items passed on one approval, spent %v", passed, p.spent)
	}
}
