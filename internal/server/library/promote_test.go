package library

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision/promotion"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/force"
)

// TestACancelledStartTakesNothingBack ends a server while it reads what the policies
// of a promotion decided. Only a record that cannot be read takes them back.
func TestACancelledStartTakesNothingBack(t *testing.T) {
	for name, cancelled := range map[string]bool{"cancelled": true, "unreadable": false} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l := &Library{tripped: make(chan struct{}, 1), c: Config{
				MaxFactsAge: func() time.Duration { return time.Hour },
				Tap:         func(func(*nhi.Decision)) {},
				Recorded: func(ctx context.Context, _ time.Time) iter.Seq2[nhi.Decision, error] {
					return func(yield func(nhi.Decision, error) bool) {
						err := errors.New("a damaged segment")
						if cancelled {
							cancel()
							err = fmt.Errorf("record 7: %w", ctx.Err())
						}
						yield(nhi.Decision{}, err)
					}
				},
			}}
			var err error
			if l.holder, err = force.New(policy.DefaultSettings(), nil); err != nil {
				t.Fatal(err)
			}
			set, err := policy.Load(policy.DefaultSettings(), nil)
			if err != nil {
				t.Fatal(err)
			}
			p := nhi.Promotion{ID: "prm_1", Gate: nhi.PromotionStaged, Percent: 10, Key: make([]byte, force.KeySize), Plan: promotion.Settings{}.WithDefaults().Plan()}
			if err := l.start(p, nhi.PromotionFound{}, &checked{digest: "d", set: set}, false); err != nil {
				t.Fatal(err)
			}
			err = l.recall(ctx, time.Time{})
			if back := l.holder.Pair().Rival.Set == nil; back == cancelled || errors.Is(err, context.Canceled) != cancelled || (l.rolledBack.Load() == 1) == cancelled {
				t.Errorf("taken back: %v, %d times, %v", back, l.rolledBack.Load(), err)
			}
		})
	}
}

func TestNoMoreIsReadAfterACrashThanTheClockWasSetBack(t *testing.T) {
	started := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	stored := started.Add(100 * time.Hour)
	for name, c := range map[string]struct{ stored, now, want time.Time }{
		"as always":                       {stored, stored.Add(time.Second), stored.Add(-recalled)},
		"just begun":                      {started.Add(time.Second), started.Add(time.Minute), started},
		"the clock was set back a second": {stored, stored.Add(-time.Second), stored.Add(-time.Second - recalled)},
		"the clock was set back a day":    {stored, stored.Add(-24 * time.Hour), stored.Add(-24*time.Hour - recalled)},
		"the clock was set back to before the promotion": {stored, started.Add(-time.Hour), started.Add(-time.Hour - recalled)},
	} {
		if got := recallFrom(started, c.stored, c.now); !got.Equal(c.want) {
			t.Errorf("%s: from %v, want %v", name, got, c.want)
		}
	}
}
