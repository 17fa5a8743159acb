package health

import (
	"fmt"
	"sync"
	"time"
)

// A Clock notices when the wall clock does not run as time does: it was set
// back or forward, or the machine slept. Lifetimes, learning and the order of
// what is written all read the wall clock.
type Clock struct {
	mu         sync.Mutex // guards the rest
	wall, mono time.Time  // at the last look; mono has its monotonic reading
	offset     time.Duration
	at         time.Time // of the last jump
}

// tolerance is how far the wall clock may be corrected in one step, and until
// is how long a larger step is told.
const (
	tolerance = 2 * time.Second
	until     = time.Hour
)

// Look compares the two clocks since the last call. Call it every few seconds
// with time.Now.
func (c *Clock) Look(now time.Time) {
	c.step(now.Round(0), now)
}

// step is Look with the wall clock apart from the monotonic one.
func (c *Clock) step(wall, mono time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mono.IsZero() {
		// Sub of times with monotonic readings is the true time that went by.
		jump := wall.Sub(c.wall) - mono.Sub(c.mono)
		if jump > tolerance || jump < -tolerance {
			c.offset, c.at = jump, wall
		}
	}
	c.wall, c.mono = wall, mono
}

// Written tells the clock of a moment that this installation wrote down
// earlier. A moment in the future means that the clock was set back while the
// process was not running.
func (c *Clock) Written(moment, now time.Time) {
	if ahead := moment.Sub(now); ahead > tolerance {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.offset, c.at = -ahead, now.Round(0)
	}
}

// State tells of a jump within the last hour.
func (c *Clock) State(now time.Time) State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offset == 0 || now.Round(0).Sub(c.at).Abs() > until {
		return OK()
	}
	const cure = "let one time service keep the clock (chronyc tracking or timedatectl tells), and check what lasted until a time"
	if c.offset < 0 {
		return Degraded(fmt.Sprintf("the clock went back by %v at %s", -c.offset.Round(time.Second), c.at.UTC().Format(time.RFC3339)), cure)
	}
	return Degraded(fmt.Sprintf("the clock went forward by %v at %s", c.offset.Round(time.Second), c.at.UTC().Format(time.RFC3339)), cure)
}
