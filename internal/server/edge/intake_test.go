package edge

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/nhi"
	storeedge "github.com/muster-id/muster/internal/store/edge"
)

// TestAPointCannotReportWhatNobodyCanReadBack has a stolen key of a point report a
// decision at a time that RFC 3339 has in its own zone and not in UTC: on record it
// would break each list that it is in.
func TestAPointCannotReportWhatNobodyCanReadBack(t *testing.T) {
	now, point := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), nhi.Point{ID: "pnt_1"}
	for at, want := range map[string]string{
		"0000-01-01T00:00:00+14:00": "2026-03-02T09:00:00Z",
		"9999-12-31T23:59:59-14:00": "2026-03-02T09:00:00Z",
		"0001-01-01T00:00:00Z":      "2026-03-02T09:00:00Z",
		"2026-03-02T09:30:00Z":      "2026-03-02T09:00:00Z",
		"2026-03-02T10:59:00+02:00": "2026-03-02T08:59:00Z",
	} {
		d := nhi.Decision{ID: "x", At: now, Outcome: nhi.Deny, Point: "pnt_2"}
		d, err := logbook.Decode([]byte(strings.Replace(string(logbook.Append(nil, &d)), "2026-03-02T09:00:00Z", at, 1)))
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		reported(&d, &point, now)
		back, err := logbook.Decode(logbook.Append(nil, &d))
		if err != nil || back.At.UTC().Format(time.RFC3339) != want || back.Point != point.ID || !back.Reported {
			t.Errorf("%s: %v at %v of %s, want %s", at, err, back.At, back.Point, want)
		}
	}
}

// TestAPointThatNamesJournalsWithoutEndFillsNoMemory has a stolen key of a point name a
// new journal with each report, while the point goes on with its own.
func TestAPointThatNamesJournalsWithoutEndFillsNoMemory(t *testing.T) {
	var all streams
	own := all.take("pnt_1", "own") // a batch of it is being taken
	for n := range 10 * storeedge.Journals {
		all.take("pnt_1", fmt.Sprint(n)).mu.Unlock()
	}
	if n := len(all.of["pnt_1"]); n > storeedge.Journals {
		t.Errorf("%d journals are kept in memory, want at most %d", n, storeedge.Journals)
	}
	if all.get("pnt_1", "own") != own {
		t.Error("a journal that is being read was forgotten: its decisions could be taken twice")
	}
	own.mu.Unlock()
}

// TestNobodyTakesAJournalBesideAnother has many reports of few journals at once: those
// that wait for one when it is forgotten must not go on with it beside a new one.
func TestNobodyTakesAJournalBesideAnother(t *testing.T) {
	var all streams
	var inside [8]sync.Mutex
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for n := range 500 {
				journal := (n + w) % len(inside)
				one := all.take("pnt_1", fmt.Sprint("j", journal))
				if !inside[journal].TryLock() {
					t.Errorf("two reports of journal %d are taken at once", journal)
				} else {
					inside[journal].Unlock()
				}
				one.mu.Unlock()
				all.take("pnt_1", fmt.Sprint(w, "-", n)).mu.Unlock()
			}
		})
	}
	work.Wait()
}
