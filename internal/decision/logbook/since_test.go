package logbook

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

func TestDecisionsSinceATimeComeInTheirOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "decisions")
	j, err := journal.Open(dir, journal.Settings{SegmentSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	now := time.Now()
	for i := range 200 { // the first half says that it was made a day before
		at := now
		if i < 100 {
			at = now.Add(-24 * time.Hour)
		}
		if _, err := j.Append(Append(nil, &nhi.Decision{ID: "d", At: at, Outcome: nhi.Allow, Resource: fmt.Sprint(i)})); err != nil {
			t.Fatal(err)
		}
	}
	read := func(ctx context.Context, since time.Time) (seen []string, err error) {
		for d, err := range Since(ctx, dir, since) {
			if err != nil {
				return seen, err
			}
			seen = append(seen, d.Resource)
		}
		return seen, nil
	}
	for _, tt := range []struct {
		since time.Time
		first string
		n     int
	}{{time.Time{}, "0", 200}, {now.Add(-time.Minute), "100", 100}, {now.Add(time.Hour), "", 0}} {
		seen, err := read(t.Context(), tt.since)
		if err != nil || len(seen) != tt.n || tt.n > 0 && (seen[0] != tt.first || seen[tt.n-1] != "199") {
			t.Errorf("since %v: %d decisions, %v", tt.since, len(seen), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := read(ctx, time.Time{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an end of the context: %v", err)
	}
	if _, err := j.Append([]byte(`{"outcome":"perhaps"}`)); err != nil {
		t.Fatal(err)
	}
	if seen, err := read(t.Context(), time.Time{}); !errors.Is(err, nhi.ErrInvalid) || len(seen) != 200 {
		t.Errorf("a record that is no decision: %d decisions, %v", len(seen), err)
	}
}
