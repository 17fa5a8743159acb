//go:build !race

package policy

import (
	"testing"
	"time"
)

// The race detector allocates, so these budgets are checked without it.
func TestEvaluatingStaysWithinItsAllocations(t *testing.T) {
	files, q := benchmarkPolicies(1_000), benchmarkQuestions(1)[0]
	set := mustLoad(t, DefaultSettings(), files)
	e := newEvaluation(set)
	if got := testing.AllocsPerRun(200, func() { e.Ask(set.request, q, 0); sink = e.evaluate(0) }); got > 20 {
		t.Errorf("asking Cedar allocates %.0f times, at most 20 are meant", got)
	}
	files["timed.cedar"] = timed
	for name, set := range map[string]*Set{"no policy about time": set, "policies about time": mustLoad(t, DefaultSettings(), files)} {
		again := func() { q.At = q.At.Add(time.Millisecond); sink = set.Evaluate(q) }
		if got := testing.AllocsPerRun(200, again); got > 0 {
			t.Errorf("%s: a ruling that is remembered allocates %.0f times", name, got)
		}
	}
}
