//go:build !race

package decision_test

import (
	"context"
	"testing"
)

// The race detector allocates, so this budget is checked without it.
func TestDecidingStaysWithinItsAllocations(t *testing.T) {
	w := newWorld(t, nil)
	q := ask()
	got := testing.AllocsPerRun(200, func() { sink = w.service.Decide(context.Background(), q) })
	if got > 45 {
		t.Errorf("Decide allocates %.0f times, at most 45 are meant", got)
	}
}
