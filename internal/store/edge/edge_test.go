package edge

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/store/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

func open(t *testing.T) *Store {
	t.Helper()
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(db)
}

func TestALeaseIsRememberedUntilItsTimeIsOver(t *testing.T) {
	s, now := open(t), time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, l := range []Lease{
		{"nhi_a", "one", now.Add(time.Minute)}, {"nhi_a", "two", now.Add(time.Hour)}, {"nhi_a", "one", now.Add(2 * time.Minute)}, {"nhi_b", "one", now.Add(time.Second)},
	} {
		if err := s.Keep(t.Context(), l, now); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Leases(t.Context(), now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	want := []Lease{{"nhi_a", "two", now.Add(time.Hour)}, {"nhi_a", "one", now.Add(2 * time.Minute)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAJournalGoesOnWhereItWas(t *testing.T) {
	s, now := open(t), time.Now()
	if j, err := s.Journal(t.Context(), "nhi_a", "x"); err != nil || j.Shipped != 0 {
		t.Fatalf("one that is not known: %+v, %v", j, err)
	}
	for n := range Journals + 5 {
		if err := s.Advance(t.Context(), Journal{"nhi_a", fmt.Sprint(n), uint64(n), 7}, now.Add(time.Duration(n)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	last := Journal{"nhi_a", fmt.Sprint(Journals + 4), 99, 8}
	if err := s.Advance(t.Context(), last, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Journal(t.Context(), last.Point, last.ID); err != nil || got != last {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := s.Journal(t.Context(), "nhi_a", "0"); err != nil || got.Shipped != 0 || got.Place != 0 {
		t.Errorf("the oldest is still there: %+v, %v", got, err)
	}
	if got, err := s.Journal(t.Context(), "nhi_b", last.ID); err != nil || got.Shipped != 0 {
		t.Errorf("another point's journal: %+v, %v", got, err)
	}
}
