package health

import (
	"strings"
	"testing"
	"time"
)

func TestAJumpOfTheClockIsToldForAnHour(t *testing.T) {
	for _, tt := range []struct {
		name string
		jump time.Duration
		want string
	}{
		{"none", 0, "ok"},
		{"a small correction", -time.Second, "ok"},
		{"back", -10 * time.Minute, "degraded: the clock went back by 10m0s"},
		{"forward, or the machine slept", 3 * time.Hour, "degraded: the clock went forward by 3h0m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			var c Clock
			c.step(start.Round(0), start)
			c.step(start.Round(0).Add(5*time.Second+tt.jump), start.Add(5*time.Second))
			c.step(start.Round(0).Add(10*time.Second+tt.jump), start.Add(10*time.Second))
			now := start.Round(0).Add(10*time.Second + tt.jump)
			if got := c.State(now).String(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("state is %q, want %q", got, tt.want)
			}
			if got := c.State(now.Add(61 * time.Minute)); got.Level != LevelOK {
				t.Errorf("after an hour it is %v", got)
			}
		})
	}
}

func TestAClockSetBackWhileNobodyRanIsNoticed(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name    string
		latest  time.Time
		trusted bool
		want    string
	}{
		{"nothing on record", time.Time{}, true, "ok"},
		{"the past", now.Add(-time.Hour), true, "ok"},
		{"another machine's small difference", now.Add(time.Second), true, "ok"},
		{"a little in the future", now.Add(50 * time.Second), true, "degraded: the clock lies 50s before"},
		{"in the future", now.Add(time.Hour), false, "failed: the clock lies 1h0m0s before what is on record already, so no tokens are issued"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c Clock
			c.Watch(func() time.Time { return now.Add(-24 * time.Hour) })
			c.Watch(func() time.Time { return tt.latest })
			if err := c.Trusted(now); (err == nil) != tt.trusted {
				t.Errorf("Trusted = %v", err)
			}
			if got := c.State(now).String(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("state is %q, want %q", got, tt.want)
			}
		})
	}
}
