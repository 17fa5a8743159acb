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

// decided writes n decisions into a journal of small segments, as they are made.
func decided(t *testing.T, j *journal.Journal, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		now := time.Now()
		ms := fmt.Sprintf("%012x", now.UnixMilli())
		d := nhi.Decision{ID: fmt.Sprintf("%s-%s-7000-8000-%012x", ms[:8], ms[8:], i), At: now, Outcome: nhi.Allow, Resource: fmt.Sprint(i)}
		record, err := Append(nil, &d), error(nil)
		if i%700 == 0 || i == from+n-1 { // it is on disk, and the next group may begin a segment
			_, err = j.Append(record)
		} else {
			err = j.AppendAsync(record)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// all pages back through the past, and returns the resources of what it saw.
func all(t *testing.T, p *Past, id string, at, since time.Time) (seen []string, last nhi.Decision) {
	t.Helper()
	for {
		ds, err := p.Before(t.Context(), id, at, since)
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) == 0 {
			return seen, last
		}
		for _, d := range ds {
			seen, last = append(seen, d.Resource), d
		}
		id = last.ID
	}
}

func TestOldDecisionsAreFoundInTheJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "decisions")
	j, err := journal.Open(dir, journal.Settings{SegmentSize: 200 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	decided(t, j, 0, 3000)
	if spans, err := journal.Spans(dir); err != nil || len(spans) < 3 {
		t.Fatalf("%d segments, %v", len(spans), err)
	}
	p := NewPast(dir)
	seen, oldest := all(t, p, "", time.Now().Add(time.Hour), time.Time{})
	if len(seen) != 3000 || seen[0] != "2999" || seen[2999] != "0" {
		t.Fatalf("%d decisions", len(seen))
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] != fmt.Sprint(2999-i) {
			t.Fatalf("decision %s stands at %d", seen[i], i)
		}
	}
	d, err := p.Get(t.Context(), oldest.ID)
	if err != nil || d.Resource != "0" {
		t.Fatalf("%+v, %v", d, err)
	}
	decided(t, j, 3000, 1500) // the index of the newest segment grows, and others begin
	if seen, _ := all(t, p, "", time.Now().Add(time.Hour), time.Time{}); len(seen) != 4500 || seen[0] != "4499" {
		t.Fatalf("%d decisions later", len(seen))
	}
	if seen, _ := all(t, p, "", time.Now().Add(time.Hour), time.Now().Add(time.Hour)); len(seen) != 0 {
		t.Errorf("%d decisions of the future", len(seen))
	}
	if seen, _ := all(t, p, "", oldest.At, time.Time{}); len(seen) != 0 {
		t.Errorf("%d decisions before the first", len(seen))
	}
	for _, id := range []string{"", "x", "nonsense", oldest.ID[:24] + "ffffffffffff", `01900000-0000-7000-8000-00000000"}'`, "01900000-0000-7000-8000-000000000001"} {
		if _, err := p.Get(t.Context(), id); !errors.Is(err, nhi.ErrNotFound) {
			t.Errorf("Get(%q): %v", id, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewPast(dir).Get(ctx, oldest.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("an end of the context: %v", err)
	}
}

func TestDecisionsThatWereForgottenAreNotFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "decisions")
	j, err := journal.Open(dir, journal.Settings{SegmentSize: 100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	decided(t, j, 0, 2500)
	p := NewPast(dir)
	seen, oldest := all(t, p, "", time.Now().Add(time.Hour), time.Time{})
	gone, err := j.Outdated(time.Now().Add(time.Hour), 1<<40, 2000)
	if err != nil || gone.Segments == 0 {
		t.Fatalf("%+v, %v", gone, err)
	}
	if err := j.Prune(gone.First); err != nil {
		t.Fatal(err)
	}
	left, _ := all(t, p, "", time.Now().Add(time.Hour), time.Time{})
	if len(left) == 0 || len(left) >= len(seen) {
		t.Errorf("%d of %d decisions left", len(left), len(seen))
	}
	if _, err := p.Get(t.Context(), oldest.ID); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("a decision that was forgotten: %v", err)
	}
}

func TestADecisionThatAPointReportsHoursLaterIsFoundByItsID(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "decisions")
	j, err := journal.Open(dir, journal.Settings{SegmentSize: 100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	decided(t, j, 0, 1500)
	made := time.Now().Add(-3 * time.Hour)
	ms := fmt.Sprintf("%012x", made.UnixMilli())
	late := nhi.Decision{ID: ms[:8] + "-" + ms[8:] + "-7000-8000-00000000abcd", At: made, Outcome: nhi.Deny, Resource: "late", Reported: true}
	if _, err := j.Append(Append(nil, &late)); err != nil {
		t.Fatal(err)
	}
	p := NewPast(dir)
	find := func(when string) {
		t.Helper()
		if d, err := p.Get(t.Context(), late.ID); err != nil || d.Resource != "late" {
			t.Errorf("%s: %+v, %v", when, d, err)
		}
		if ds, err := p.Before(t.Context(), "", time.Now().Add(-time.Hour), time.Time{}); err != nil || len(ds) != 1 || ds[0].Resource != "late" {
			t.Errorf("%s: %d were made over an hour ago, want the late one; %v", when, len(ds), err)
		}
		if ds, err := p.Before(t.Context(), "", time.Now().Add(-time.Hour), time.Now().Add(-2*time.Hour)); err != nil || len(ds) != 0 {
			t.Errorf("%s: %d were made between two hours and one ago, %v", when, len(ds), err)
		}
	}
	find("in the newest segment")
	decided(t, j, 1500, 1500)
	if spans, err := journal.Spans(dir); err != nil || len(spans) < 3 {
		t.Fatalf("%d segments, %v", len(spans), err)
	}
	find("when others have begun")
	p = NewPast(dir)
	find("after a restart")
	// An id of then that is not on record is looked for up to now, and not found.
	if _, err := p.Get(t.Context(), late.ID[:24]+"ffffffffffff"); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("one of the same moment: %v", err)
	}
}
