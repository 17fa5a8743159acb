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

	records []func() time.Time
}

// tolerance is how far the wall clock may be corrected in one step, and until
// is how long a larger step is told.
const (
	tolerance = 2 * time.Second
	until     = time.Hour
)

// limit is how far the wall clock may lie before what is on record. Machines
// whose clocks are kept differ by less.
const limit = time.Minute

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

// Watch gives the clock a record of earlier moments: latest tells the newest of
// them, zero if there is none. A record of the future means that the clock was
// set back, perhaps while the process was not running. Call it before the clock
// is used concurrently.
func (c *Clock) Watch(latest func() time.Time) { c.records = append(c.records, latest) }

// Behind is how far now lies before the newest moment on record; 0 if it does
// not.
func (c *Clock) Behind(now time.Time) time.Duration {
	var behind time.Duration
	for _, latest := range c.records {
		behind = max(behind, latest().Sub(now.Round(0)))
	}
	return behind
}

// Trusted returns an error while now lies so far before what is on record that
// nothing that lasts until a time may be issued: its end would mean nothing,
// and what was expired would live again.
func (c *Clock) Trusted(now time.Time) error {
	if behind := c.Behind(now); behind > limit {
		return fmt.Errorf("the clock lies %v before what is on record already", behind.Round(time.Second))
	}
	return nil
}

const keepTime = "let one time service keep the clock (chronyc tracking or timedatectl tells), and check what lasted until a time"

// State tells of a jump within the last hour.
// It is failed while nothing is issued.
func (c *Clock) State(now time.Time) State {
	switch err, behind := c.Trusted(now), c.Behind(now); {
	case err != nil:
		return Failed(err.Error()+", so no tokens are issued", "set the clock right and let a time service keep it; if it was the record that was ahead, restart the server: it compares with the newest entry")
	case behind > tolerance:
		return Degraded(fmt.Sprintf("the clock lies %v before what is on record already", behind.Round(time.Second)), keepTime)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offset == 0 || now.Round(0).Sub(c.at).Abs() > until {
		return OK()
	}
	if c.offset < 0 {
		return Degraded(fmt.Sprintf("the clock went back by %v at %s", -c.offset.Round(time.Second), c.at.UTC().Format(time.RFC3339)), keepTime)
	}
	return Degraded(fmt.Sprintf("the clock went forward by %v at %s", c.offset.Round(time.Second), c.at.UTC().Format(time.RFC3339)), keepTime)
}
