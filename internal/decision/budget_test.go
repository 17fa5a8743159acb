//go:build !race

package decision_test

import (
	"context"
	"slices"
	"testing"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/nhi"
)

// The race detector allocates, so this budget is checked without it.
func TestDecidingStaysWithinItsAllocations(t *testing.T) {
	w := newWorld(t, nil)
	q := ask()
	got := testing.AllocsPerRun(200, func() { sink = w.service.Decide(context.Background(), q) })
	if got > 20 {
		t.Errorf("Decide allocates %.0f times, at most 20 are meant", got)
	}
}

func TestDecidingTogetherStaysWithinItsAllocations(t *testing.T) {
	w := newWorld(t, func(c *decision.Config) { c.Log = logbook.New(nowhere{}, 0) })
	template := questions(slices.Repeat([]*nhi.Question{ask()}, 100)...)
	batch := make([]nhi.Question, len(template))
	got := testing.AllocsPerRun(20, func() {
		copy(batch, template)
		sink = w.service.DecideAll(context.Background(), batch, nil)[99]
	})
	if got > 800 {
		t.Errorf("100 questions asked together allocate %.0f times, at most 800 are meant", got)
	}
}
