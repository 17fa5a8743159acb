package simulate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

func load(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, err := policy.Load(policy.DefaultSettings(), map[string]string{"x.cedar": text})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// decided is a decision on record: allowed, by a token, of an owned workload.
func decided(n int, change func(*nhi.Decision)) nhi.Decision {
	d := nhi.Decision{
		ID: fmt.Sprintf("d%d", n), At: time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC), Outcome: nhi.Allow, Identity: nhi.ID(fmt.Sprintf("nhi_%d", n%3)), Method: "token",
		Assurance: nhi.AssuranceShort, Action: nhi.Read, Resource: "ledger/api", Sensitivity: 1, Reasons: []nhi.Reason{{Policy: "base-permit", Effect: "permit"}},
		Inputs: &nhi.Inputs{Known: true, Kind: nhi.KindWorkload, State: nhi.Active, Owned: true, Labelled: true},
	}
	if change != nil {
		change(&d)
	}
	return d
}

func all(ds ...nhi.Decision) iter.Seq2[nhi.Decision, error] {
	return func(yield func(nhi.Decision, error) bool) {
		for _, d := range ds {
			if !yield(d, nil) {
				return
			}
		}
	}
}

const candidate = `@id("no-writes") @text("Nobody writes.") forbid (principal, action == Action::"write", resource);
@id("fresh") @stepup("reattest") forbid (principal, action, resource == Resource::"vault") unless { context has attestation };`

func TestWhatACandidateWouldChangeIsCountedAndNamed(t *testing.T) {
	refusedThen := func(d *nhi.Decision) {
		d.Outcome, d.Reasons = nhi.Deny, []nhi.Reason{{Policy: "gone", Effect: "forbid"}}
	}
	decisions := []nhi.Decision{
		decided(0, nil),
		decided(1, func(d *nhi.Decision) { d.Action = nhi.Write }),
		decided(2, func(d *nhi.Decision) { d.Resource = "vault" }),
		decided(3, refusedThen),
		decided(4, func(d *nhi.Decision) { d.Inputs = nil }),
		decided(5, func(d *nhi.Decision) { // it only observed, and would refuse again
			d.Action, d.WouldRefuse, d.Reasons = nhi.Write, true, []nhi.Reason{{Policy: "gone", Effect: "forbid"}}
		}),
		decided(6, func(d *nhi.Decision) { // it only observed, and would not refuse any more
			d.WouldRefuse, d.Reasons = true, []nhi.Reason{{Policy: "gone", Effect: "forbid"}}
		}),
		decided(7, func(d *nhi.Decision) { // asked to bind then, to attest now
			d.Outcome, d.Resource, d.Obligations = nhi.StepUp, "vault", []nhi.Obligation{{Kind: nhi.StepBind}}
		}),
		decided(8, func(d *nhi.Decision) { // asked then as now
			d.Outcome, d.Resource, d.Obligations = nhi.StepUp, "vault", []nhi.Obligation{{Kind: nhi.StepReattest}}
		}),
		decided(9, func(d *nhi.Decision) { // a revoked credential stays refused, whatever is permitted
			d.Outcome, d.Inputs.Revoked, d.Reasons = nhi.Deny, true, []nhi.Reason{{Policy: "credential-revoked", Effect: "forbid"}}
		}),
	}
	owner := func(id nhi.ID) string {
		if id == "nhi_0" {
			return ""
		}
		return "team:" + string(id)
	}
	r, err := Run(t.Context(), &Trial{Candidate: load(t, candidate), MaxFactsAge: time.Minute}, all(decisions...), Options{Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	if r.Decisions != 10 || r.Judged != 9 || r.Unanswered != 1 || r.Changed != 5 || r.Denied != 1 || r.StepUp != 2 || r.Allowed != 2 || r.Cut {
		t.Errorf("%+v", r)
	}
	if !r.From.Equal(decisions[0].At) || !r.Until.Equal(decisions[9].At) {
		t.Errorf("from %v until %v", r.From, r.Until)
	}
	wantOwners := []Group{
		{Name: "nobody", Allowed: 2, Examples: []string{"d3", "d6"}}, {Name: "team:nhi_1", Denied: 1, StepUp: 1, Examples: []string{"d1", "d7"}},
		{Name: "team:nhi_2", StepUp: 1, Examples: []string{"d2"}},
	}
	if diff := cmp.Diff(wantOwners, r.Owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	wantResources := []Group{{Name: "ledger/api", Denied: 1, Allowed: 2, Examples: []string{"d1", "d3", "d6"}}, {Name: "vault", StepUp: 2, Examples: []string{"d2", "d7"}}}
	if diff := cmp.Diff(wantResources, r.Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if len(r.Policies) != 3 || r.Policies[0].Name != "base-permit" || r.Policies[1].Name != "fresh" || r.Policies[2].Name != "no-writes" {
		t.Errorf("policies %+v", r.Policies)
	}
	if e := r.Examples[0]; e.ID != "d1" || e.Kind != NewlyDenied || e.Before != "allow" || e.After != "deny" || e.Reason != "Nobody writes." || e.Identity != "nhi_1" {
		t.Errorf("%+v", e)
	}
	if e := r.Examples[4]; e.ID != "d7" || e.Before != "step-up(bind)" || e.After != "step-up(reattest)" {
		t.Errorf("%+v", e)
	}
}

func TestWithABaseTheTwoSetsAreComparedAndNotThenWithNow(t *testing.T) {
	then := decided(1, func(d *nhi.Decision) { // by policies that are long gone
		d.Outcome, d.Action, d.Reasons = nhi.Deny, nhi.Write, []nhi.Reason{{Policy: "gone", Effect: "forbid"}}
	})
	trial := &Trial{Candidate: load(t, candidate), Base: load(t, ""), MaxFactsAge: time.Minute}
	d, v, _ := trial.Judge(&then)
	if v != Different || d.Kind != NewlyDenied || d.Before != "allow" {
		t.Errorf("%+v, %v", d, v)
	}
	trial.Base = trial.Candidate
	if d, v, _ = trial.Judge(&then); v != Same {
		t.Errorf("a set beside itself: %+v", d)
	}
}

func TestWhatWasDeniedForWantOfARecordIsNotNewlyAllowed(t *testing.T) {
	trial := &Trial{Candidate: load(t, ""), MaxFactsAge: time.Minute}
	for _, id := range []string{"log-unavailable", "approval-unavailable"} {
		d := decided(1, func(d *nhi.Decision) {
			d.Outcome = nhi.Deny
			d.Reasons = append(d.Reasons, nhi.Reason{Policy: id, Effect: "forbid"})
		})
		if diff, v, _ := trial.Judge(&d); v != Same {
			t.Errorf("%s: %+v", id, diff)
		}
	}
	asked := decided(1, func(d *nhi.Decision) {
		d.Outcome, d.Reasons = nhi.Deny, []nhi.Reason{{Policy: "p", Effect: "forbid"}, {Policy: "approval-unasked", Effect: "forbid"}}
	})
	trial.Candidate = load(t, `@id("p") @stepup("approve") forbid (principal, action, resource) unless { context has approval };`)
	if diff, v, _ := trial.Judge(&asked); v != Same {
		t.Errorf("a step-up that nobody could be asked about: %+v", diff)
	}
}

func TestFactsThatWereTooOldDenyUnderTheCandidateToo(t *testing.T) {
	d := decided(1, func(d *nhi.Decision) {
		d.Outcome, d.Sensitivity, d.Inputs.FactsAge = nhi.Deny, 3, time.Hour
		d.Reasons = append(d.Reasons, nhi.Reason{Policy: "facts-stale", Effect: "forbid"})
	})
	trial := &Trial{Candidate: load(t, ""), MaxFactsAge: time.Minute}
	if diff, v, _ := trial.Judge(&d); v != Same {
		t.Errorf("%+v", diff)
	}
	trial.MaxFactsAge = 2 * time.Hour
	if diff, v, _ := trial.Judge(&d); v != Different || diff.Kind != NewlyAllowed {
		t.Errorf("when they were not: %+v", diff)
	}
}

func TestAReportIsBoundedWhateverChanges(t *testing.T) {
	deny := &Trial{Candidate: load(t, `@id("all") forbid (principal, action, resource);`), MaxFactsAge: time.Minute}
	n := maxGroups + 500
	many := func(yield func(nhi.Decision, error) bool) {
		for i := range n {
			d := decided(i, func(d *nhi.Decision) { d.Identity, d.At = nhi.ID(fmt.Sprint(i)), time.Unix(int64(i), 0) })
			if !yield(d, nil) {
				return
			}
		}
	}
	r, err := Run(t.Context(), deny, many, Options{})
	if err != nil || r.Changed != uint64(n) || r.Denied != uint64(n) {
		t.Fatalf("%+v, %v", r, err)
	}
	if !r.Cut || len(r.Identities) != maxShown || len(r.Resources) != 1 || r.Resources[0].Denied != uint64(n) || len(r.Examples) != maxExamples || len(r.Resources[0].Examples) != maxIDs || len(r.Owners) != 0 {
		t.Errorf("%d identities, %d resources, %d examples", len(r.Identities), len(r.Resources), len(r.Examples))
	}
}

func TestARunEndsWithItsContextAndWithABrokenRecord(t *testing.T) {
	trial := &Trial{Candidate: load(t, ""), MaxFactsAge: time.Minute}
	ctx, cancel := context.WithCancel(t.Context())
	endless := func(yield func(nhi.Decision, error) bool) {
		for i := 0; yield(decided(i%60, nil), nil); i++ {
			if i == 5000 {
				cancel()
			}
		}
	}
	pauses := 0
	r, err := Run(ctx, trial, endless, Options{Pause: func(context.Context, time.Duration) error { pauses++; return nil }})
	if !errors.Is(err, context.Canceled) || r.Decisions < 5000 || pauses != int(r.Decisions)/batch-1 {
		t.Errorf("%d decisions, %d pauses, %v", r.Decisions, pauses, err)
	}
	broken := errors.New("broken")
	r, err = Run(t.Context(), trial, func(yield func(nhi.Decision, error) bool) {
		_ = yield(decided(0, nil), nil) && yield(nhi.Decision{}, broken)
	}, Options{})
	if !errors.Is(err, broken) || r.Decisions != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

var _ decision.Policies = (*policy.Set)(nil)

func BenchmarkJudge(b *testing.B) {
	trial := &Trial{Candidate: load(b, candidate), MaxFactsAge: time.Minute}
	d := decided(1, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, v, _ := trial.Judge(&d); v != Same {
			b.Fatal(v)
		}
	}
}
