package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/breakglass"
)

// A point may be broken into: what it tells of itself has bounds.
func TestWhatNoOpeningCanBeIsNotTaken(t *testing.T) {
	now := time.Now()
	parsed := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for name, change := range map[string]func(*breakglass.Opening){
		"without a serial":       func(o *breakglass.Opening) { o.Serial = "" },
		"a serial without end":   func(o *breakglass.Opening) { o.Serial = strings.Repeat("s", 65) },
		"a hostile serial":       func(o *breakglass.Opening) { o.Serial = "a\x1b[2J" },
		"a hostile reason":       func(o *breakglass.Opening) { o.Reason = "a\r\nb" },
		"a reason without end":   func(o *breakglass.Opening) { o.Reason = strings.Repeat("r", 2049) },
		"for over an hour":       func(o *breakglass.Opening) { o.For = breakglass.Longest + 1 },
		"for no time":            func(o *breakglass.Opening) { o.For = 0 },
		"never":                  func(o *breakglass.Opening) { o.Opened = time.Time{} },
		"before there are years": func(o *breakglass.Opening) { o.Opened = parsed("0000-01-01T00:00:00+14:00") },
		"behind all years":       func(o *breakglass.Opening) { o.Opened = parsed("9999-12-31T23:59:59-14:00") },
		"over before it was":     func(o *breakglass.Opening) { o.Closed = parsed("0000-01-01T00:00:00+14:00") },
		"over behind all years":  func(o *breakglass.Opening) { o.Closed = parsed("9999-12-31T23:59:59-14:00") },
		"before computers":       func(o *breakglass.Opening) { o.Opened = parsed("1969-12-31T23:59:59Z") },
		"fewer than none":        func(o *breakglass.Opening) { o.Allowed = -1 },
	} {
		o := breakglass.Opening{Serial: "s", Reason: "r", Opened: now, For: time.Minute}
		unset := o
		unset.Opened = parsed("1970-01-01T00:00:42Z") // a clock that was never set
		if !sound(&o) || !sound(&unset) {
			t.Fatal("a sound one is refused")
		}
		if change(&o); sound(&o) {
			t.Errorf("%s: taken", name)
		}
	}
}
