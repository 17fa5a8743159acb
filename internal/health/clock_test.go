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
	var c Clock
	c.Written(now.Add(-time.Hour), now)
	if got := c.State(now); got.Level != LevelOK {
		t.Errorf("the past makes %v", got)
	}
	c.Written(now.Add(time.Hour), now)
	if got := c.State(now); !strings.Contains(got.Why, "went back by 1h0m0s") {
		t.Errorf("the future makes %v", got)
	}
}
