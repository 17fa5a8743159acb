package logbook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// written is a journal of n decisions, one each minute from noon, in segments of few.
func written(t *testing.T, n int) (dir string, j *journal.Journal) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "decisions")
	j, err := journal.Open(dir, journal.Settings{SegmentSize: 1024})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range n {
		d := nhi.Decision{ID: "d", At: noon.Add(time.Duration(i) * time.Minute), Outcome: nhi.Allow, Resource: "payments/api"}
		if _, err := j.Append(Append(nil, &d)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, j
}

func TestVerifySaysHowManyDecisionsAreWholeAndFromWhenToWhen(t *testing.T) {
	dir, j := written(t, 30)
	p, err := Verify(t.Context(), dir) // beside the server that writes
	if err != nil || p.Decisions != 30 || p.First != 1 || p.Last != 30 || p.From.Minute() != 0 || p.Until.Sub(p.From) != 29*time.Minute || p.Before != (journal.Hash{}) {
		t.Fatalf("%+v, %v", p, err)
	}
	gone, err := j.Outdated(time.Now().Add(time.Hour), 1<<40, 20)
	if err != nil || gone.Segments == 0 {
		t.Fatalf("nothing is outdated: %+v, %v", gone, err)
	}
	if err := j.Prune(gone.First); err != nil {
		t.Fatal(err)
	}
	if p, err = Verify(t.Context(), dir); err != nil || p.First != gone.First || p.Before != gone.Before || p.Decisions != 31-gone.First {
		t.Errorf("after forgetting %+v: %+v, %v", gone, p, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("an end of the context: %v", err)
	}
}

func TestVerifyNamesTheFirstDecisionThatIsNotWhatWasWritten(t *testing.T) {
	segment := func(t *testing.T, dir string, n int) string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		if err != nil || len(all) < 4 {
			t.Fatalf("%d segments, %v", len(all), err)
		}
		return all[n]
	}
	for _, tt := range []struct {
		name string
		kind journal.FaultKind
		harm func(t *testing.T, dir string, j *journal.Journal)
	}{
		{"a changed byte", journal.Changed, func(t *testing.T, dir string, _ *journal.Journal) {
			path := segment(t, dir, 1)
			b, err := os.ReadFile(path)
			if err == nil {
				b[len(b)/2] ^= 1
				err = os.WriteFile(path, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"a segment taken out", journal.Cut, func(t *testing.T, dir string, _ *journal.Journal) {
			if err := os.Remove(segment(t, dir, 2)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a record that is no decision", journal.Changed, func(t *testing.T, _ string, j *journal.Journal) {
			if _, err := j.Append([]byte(`{"outcome":"perhaps"}`)); err != nil {
				t.Fatal(err)
			}
		}},
		{"the whole journal taken away", journal.Cut, func(t *testing.T, dir string, j *journal.Journal) {
			if err := errors.Join(j.Close(), os.RemoveAll(dir)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, j := written(t, 30)
			tt.harm(t, dir, j)
			p, err := Verify(t.Context(), dir)
			var bad *journal.Fault
			if !errors.As(err, &bad) || bad.Kind != tt.kind || bad.Seq == 0 {
				t.Fatalf("%v, want it %s", err, tt.kind)
			}
			if p.Decisions > 0 && (p.Last >= bad.Seq || p.Until.Before(p.From)) {
				t.Errorf("said to be good up to %+v, broken at %d", p, bad.Seq)
			}
		})
	}
}
