//go:build !race

package policy

import "testing"

// The race detector allocates, so this budget is checked without it.
func TestEvaluatingStaysWithinItsAllocations(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), benchmarkPolicies(1_000))
	q := benchmarkQuestions(1)[0]
	if got := testing.AllocsPerRun(200, func() { sink = set.Evaluate(q) }); got > 20 {
		t.Errorf("Evaluate allocates %.0f times, at most 20 are meant", got)
	}
}
