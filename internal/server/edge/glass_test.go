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
	for name, change := range map[string]func(*breakglass.Opening){
		"without a serial":     func(o *breakglass.Opening) { o.Serial = "" },
		"a serial without end": func(o *breakglass.Opening) { o.Serial = strings.Repeat("s", 65) },
		"a hostile serial":     func(o *breakglass.Opening) { o.Serial = "a\x1b[2J" },
		"a hostile reason":     func(o *breakglass.Opening) { o.Reason = "a\r\nb" },
		"a reason without end": func(o *breakglass.Opening) { o.Reason = strings.Repeat("r", 2049) },
		"for over an hour":     func(o *breakglass.Opening) { o.For = breakglass.Longest + 1 },
		"for no time":          func(o *breakglass.Opening) { o.For = 0 },
		"never":                func(o *breakglass.Opening) { o.Opened = time.Time{} },
		"fewer than none":      func(o *breakglass.Opening) { o.Allowed = -1 },
	} {
		o := breakglass.Opening{Serial: "s", Reason: "r", Opened: now, For: time.Minute}
		if !sound(&o) {
			t.Fatal("a sound one is refused")
		}
		if change(&o); sound(&o) {
			t.Errorf("%s: taken", name)
		}
	}
}
