package decision_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
)

func questions(of ...*nhi.Question) []nhi.Question {
	out := make([]nhi.Question, 0, len(of))
	for _, q := range of {
		out = append(out, *q)
	}
	return out
}

func outcomes(decisions []nhi.Decision) (out []nhi.Outcome) {
	for i := range decisions {
		out = append(out, decisions[i].Outcome)
	}
	return out
}

func on(resource string) func(*nhi.Question) {
	return func(q *nhi.Question) { q.Resource = resource }
}

func TestQuestionsAskedTogetherAreAnsweredLikeQuestionsAskedAlone(t *testing.T) {
	w := newWorld(t, nil)
	all := []*nhi.Question{
		ask(), ask(on("high")), ask(on("test")), ask(observed, on("test")), ask(func(q *nhi.Question) { q.Subject = nhi.Attested{} }),
		ask(func(q *nhi.Question) { q.Subject.Credential = credentialN(50) }), ask(func(q *nhi.Question) { q.Agent = "Mozilla/5.0" }), ask(on("")),
	}
	var want []nhi.Decision
	for _, q := range all {
		copied := *q
		want = append(want, w.service.Decide(context.Background(), &copied))
	}
	got := w.service.DecideAll(context.Background(), questions(all...), nil)
	ids := map[string]bool{}
	for i := range got {
		ids[got[i].ID] = true
		got[i].ID, got[i].At, got[i].Latency = want[i].ID, want[i].At, want[i].Latency
		// The clock ran between the questions that were asked alone.
		got[i].Inputs.Lag, got[i].Inputs.FactsAge = want[i].Inputs.Lag, want[i].Inputs.FactsAge
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-alone +together):\n%s", diff)
	}
	if len(ids) != len(all) || len(w.journal.records) != 2*len(all) {
		t.Errorf("%d ids and %d records for %d questions asked twice", len(ids), len(w.journal.records), len(all))
	}
}

// meddling policies put a change into the facts and other policies in force
// while questions are being answered.
type meddling struct {
	decision.Policies
	meddle func()
}

func (m meddling) Evaluate(q *nhi.Question) nhi.Ruling {
	m.meddle()
	return m.Policies.Evaluate(q)
}

type denyAll struct{}

func (denyAll) Evaluate(*nhi.Question) nhi.Ruling { return nhi.Ruling{Outcome: nhi.Deny} }

func TestQuestionsAskedTogetherSeeOneGenerationAndOneSetOfPolicies(t *testing.T) {
	var inForce atomic.Value // of func() decision.Policies
	var w *world
	seq := nhi.Generation(1)
	w = newWorld(t, func(c *decision.Config) {
		old := meddling{c.Policies, func() {
			seq++
			dead := someCredential(1, 1)
			dead.State = nhi.CredentialRevoked
			apply(t, w.facts, change(t, seq, nhi.SubjectCredential, string(dead.ID), dead))
			inForce.Store(func() decision.Policies { return denyAll{} })
		}}
		inForce.Store(func() decision.Policies { return old })
		c.InForce = func() decision.Policies { return inForce.Load().(func() decision.Policies)() }
	})
	got := w.service.DecideAll(context.Background(), questions(ask(), ask(), ask()), nil)
	for i, d := range got {
		if d.Outcome != nhi.Allow || d.Generation != 1 {
			t.Errorf("answer %d: %s at generation %d, want allow at 1: the batch had begun before", i, d.Outcome, d.Generation)
		}
	}
	after := w.service.DecideAll(context.Background(), questions(ask()), nil)
	if after[0].Outcome != nhi.Deny || after[0].Generation != seq {
		t.Errorf("the next batch: %s at generation %d, want deny at %d", after[0].Outcome, after[0].Generation, seq)
	}
}

func TestEnoughEndsABatchAndNothingBehindItIsDecided(t *testing.T) {
	w := newWorld(t, nil)
	got := w.service.DecideAll(context.Background(), questions(ask(), ask(on("test")), ask()), func(d *nhi.Decision) bool { return d.Outcome != nhi.Allow })
	if diff := cmp.Diff([]nhi.Outcome{nhi.Allow, nhi.Deny}, outcomes(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(w.journal.records) != 2 {
		t.Errorf("%d records, want 2", len(w.journal.records))
	}
}

func TestSensitiveAllowsOfABatchAreOnRecordFirst(t *testing.T) {
	bound := func(q *nhi.Question) {
		q.Resource, q.Subject.SenderBound, q.Subject.Assurance = "high", true, nhi.AssuranceAttested
	}
	var many []*nhi.Question
	for range 200 {
		many = append(many, ask(bound), ask())
	}
	w := newWorld(t, nil)
	for i, d := range w.service.DecideAll(context.Background(), questions(many...), nil) {
		if d.Outcome != nhi.Allow {
			t.Fatalf("answer %d: %s", i, d.Outcome)
		}
	}
	if w.journal.waited != 200 || len(w.journal.records) != 400 {
		t.Errorf("%d of %d records were waited for, want 200 of 400", w.journal.waited, len(w.journal.records))
	}
	w.journal.fail = errors.New("the disk is full")
	for i, d := range w.service.DecideAll(context.Background(), questions(many...), nil) {
		if want := map[bool]nhi.Outcome{true: nhi.Deny, false: nhi.Allow}[i%2 == 0]; d.Outcome != want {
			t.Fatalf("with a full disk, answer %d: %s, want %s", i, d.Outcome, want)
		}
	}
}

func TestAPanicInABatchDeniesItsQuestionOnly(t *testing.T) {
	n := 0
	w := newWorld(t, func(c *decision.Config) {
		c.Policies = meddling{c.Policies, func() {
			if n++; n == 2 {
				panic("policy panics as told")
			}
		}}
	})
	got := w.service.DecideAll(context.Background(), questions(ask(), ask(observed), ask()), nil)
	if diff := cmp.Diff([]nhi.Outcome{nhi.Allow, nhi.Deny, nhi.Allow}, outcomes(got)); diff != "" || w.service.Panics() != 1 {
		t.Errorf("%d panics, (-want +got):\n%s", w.service.Panics(), diff)
	}
}

func TestTryingIsNeitherRecordedNorLenient(t *testing.T) {
	w := newWorld(t, nil)
	got := w.service.Try(questions(ask(), ask(on("high")), ask(observed, on("test"))))
	if diff := cmp.Diff([]nhi.Outcome{nhi.Allow, nhi.StepUp, nhi.Deny}, outcomes(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(w.journal.records) != 0 || len(w.log.Recent(logbook.Filter{}, 10)) != 0 {
		t.Error("trying left a trace")
	}
}

func BenchmarkDecideAll(b *testing.B) {
	table, err := geo.Default()
	if err != nil {
		b.Fatal(err)
	}
	w := newWorld(b, func(c *decision.Config) {
		c.Places, c.Behaviour, c.Log = table, &decision.Scorer{}, logbook.New(nowhere{}, 0)
	})
	const items = 100
	var of []*nhi.Question
	for i := range items {
		of = append(of, ask(on(fmt.Sprint("r", i))))
	}
	template := questions(of...)
	batch := make([]nhi.Question, items)
	b.ReportAllocs()
	start := cpuTime()
	defer func() { reportCPU(b, start) }()
	for b.Loop() {
		copy(batch, template)
		sink = w.service.DecideAll(context.Background(), batch, nil)[items-1]
	}
}
