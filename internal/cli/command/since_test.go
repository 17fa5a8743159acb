package command

import (
	"errors"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

func TestSinceIsATimeOrADate(t *testing.T) {
	now := time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)
	for since, want := range map[string]string{
		"": "", "36h": "2026-03-07T00:00:00Z", "7d": "2026-03-01T12:00:00Z", "2026-02-01": "2026-02-01T00:00:00Z", "2026-02-01T10:00:00+01:00": "2026-02-01T09:00:00Z",
	} {
		got, err := Since(since, now)
		text := ""
		if !got.IsZero() {
			text = got.Format(time.RFC3339)
		}
		if err != nil || text != want {
			t.Errorf("since %q is %q, %v; want %q", since, text, err, want)
		}
	}
	for _, since := range []string{"-1h", "yesterday", "0d", "d", "5", "9999999d"} {
		if _, err := Since(since, now); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("since %q: %v", since, err)
		}
	}
}
