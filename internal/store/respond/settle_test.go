package respond

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
)

// TestTheLastWordCountsHoweverLateItComes has a finding told, taken back by hand or by
// a word, and told again, all heard at once.
func TestTheLastWordCountsHoweverLateItComes(t *testing.T) {
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kept, noon := New(db), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	write := func(change func(ctx context.Context, tx *store.Tx) error) {
		t.Helper()
		if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return change(t.Context(), tx) }); err != nil {
			t.Fatal(err)
		}
	}
	for n, tt := range []struct {
		name   string
		status nhi.FindingStatus // before it is taken back
		again  time.Duration     // when it is told again, after it was taken back
		want   nhi.FindingStatus
		acts   int
	}{
		{"a later word opens it again", nhi.Open, time.Second, nhi.Open, 1},
		{"of two words in one instant the one that comes last counts", nhi.Open, 0, nhi.Open, 1},
		{"what was acknowledged is taken back, too", nhi.Acknowledged, -time.Minute, nhi.Resolved, 1},
		{"an older word does not", nhi.Open, -time.Minute, nhi.Resolved, 1},
		{"a word of after the first and before the second low does not", nhi.Resolved, -time.Minute, nhi.Resolved, 0},
		{"what a person dismissed stays so", nhi.Dismissed, time.Second, nhi.Dismissed, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := nhi.Finding{ID: fmt.Sprintf("fnd_%d", n), Rule: "SIG-03", Status: tt.status, FirstSeen: noon.Add(-time.Hour), LastSeen: noon.Add(-time.Hour), DetectedAt: noon, Count: 1}
			if tt.status == nhi.Resolved || tt.status == nhi.Dismissed {
				f.Settled = noon.Add(-30 * time.Minute)
			}
			write(func(ctx context.Context, tx *store.Tx) error { return SaveFindings(ctx, tx, []nhi.Finding{f}, nil) })
			write(func(ctx context.Context, tx *store.Tx) error {
				got, err := Settle(ctx, tx, f.ID, noon, nhi.Act{Key: f.ID, At: noon, Act: "finding.resolved", Target: f.ID})
				if !got.LastSeen.Equal(noon) {
					t.Errorf("it was last seen %v, want when it was taken back", got.LastSeen)
				}
				return err
			})
			write(func(ctx context.Context, tx *store.Tx) error { // a word from before, which comes after it
				got, err := Settle(ctx, tx, f.ID, noon.Add(-time.Minute), nhi.Act{Key: "late " + f.ID, At: noon, Target: f.ID})
				if !got.LastSeen.Equal(noon) {
					t.Errorf("an older word sets when it was last seen to %v", got.LastSeen)
				}
				return err
			})
			f.LastSeen, f.Count = noon.Add(tt.again), 2
			write(func(ctx context.Context, tx *store.Tx) error { return SaveFindings(ctx, tx, []nhi.Finding{f}, nil) })
			got, err := kept.Finding(t.Context(), f.ID)
			if err != nil || got.Status != tt.want {
				t.Errorf("%+v, %v, want it %s", got, err, tt.want)
			}
			acts, err := kept.DueActs(t.Context(), 100)
			count := 0
			for _, a := range acts {
				if a.Target == f.ID {
					count++
				}
			}
			if err != nil || count != tt.acts {
				t.Errorf("%d records of it, want %d: %v", count, tt.acts, err)
			}
		})
	}
}
