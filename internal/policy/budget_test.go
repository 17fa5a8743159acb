//go:build !race

package policy

import "testing"

// The race detector allocates, so these budgets are checked without it.
func TestEvaluatingStaysWithinItsAllocations(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), benchmarkPolicies(1_000))
	q := benchmarkQuestions(1)[0]
	e := newEvaluation(set)
	if got := testing.AllocsPerRun(200, func() { e.Ask(set.request, q, 0); sink = e.evaluate(0) }); got > 20 {
		t.Errorf("asking Cedar allocates %.0f times, at most 20 are meant", got)
	}
	if got := testing.AllocsPerRun(200, func() { sink = set.Evaluate(q) }); got > 0 {
		t.Errorf("a ruling that is remembered allocates %.0f times", got)
	}
}
