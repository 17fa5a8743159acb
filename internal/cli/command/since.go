package command

import (
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Since returns what --since says: a span before now, such as 36h or 7d, or a
// time. The zero time for nothing. The error wraps nhi.ErrInvalid.
func Since(since string, now time.Time) (time.Time, error) {
	if since == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(since, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 100_000 {
			return now.AddDate(0, 0, -n).UTC(), nil
		}
	}
	if d, err := time.ParseDuration(since); err == nil && d > 0 {
		return now.Add(-d).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, since); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, nhi.Invalidf("--since is %.64q; want a time such as 36h or 7d, or a date such as 2026-11-01", since)
}
