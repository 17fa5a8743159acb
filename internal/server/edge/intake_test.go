package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/nhi"
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
