package promotion

import (
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Settings are the gates of an installation. They stand in its configuration and
// not beside the policies: whoever sends policies must not choose what they have to
// pass. The zero value takes the defaults. A promotion goes by those that were in
// force when it began.
type Settings struct {
	// Required has every change of the policies go through the gates, except going
	// back to a snapshot that was in force.
	Required bool `yaml:"required" json:"required"`
	// Shadow is how long policies are tried on live decisions before they decide
	// anything.
	Shadow time.Duration `yaml:"shadow" json:"shadow"`
	// Decisions is how many decisions must have been tried by then.
	Decisions int `yaml:"decisions" json:"decisions" unit:"decisions"`
	// Stages are the shares of the principals that they decide for, one after the
	// other, before they decide for all.
	Stages []int `yaml:"stages" json:"stages" unit:"percent"`
	// Stage is how long each of these lasts.
	Stage time.Duration `yaml:"stage" json:"stage"`
	// Watch is for how long the former policies are at hand after that.
	Watch time.Duration `yaml:"watch" json:"watch"`
	// Threshold is how many attested identities must be denied what they were
	// allowed for the promotion to be rolled back by itself.
	Threshold int `yaml:"threshold" json:"threshold" unit:"identities"`
}

// WithDefaults returns s with what is zero at its default.
//
// The threshold is 3. One identity may be in a thief's hands, platform and all, and
// a host that was taken over often runs two; a fault of policies that matters
// denies more. What stays below it holds the promotion up, for a person to look at.
func (s Settings) WithDefaults() Settings {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&s.Shadow, 24*time.Hour)
	def(&s.Stage, time.Hour)
	def(&s.Watch, time.Hour)
	if s.Decisions == 0 {
		s.Decisions = 100
	}
	if s.Stages == nil {
		s.Stages = []int{1, 10, 50}
	}
	if s.Threshold == 0 {
		s.Threshold = 3
	}
	return s
}

// maxTime bounds each gate.
const maxTime = 90 * 24 * time.Hour

// Validate returns an error wrapping nhi.ErrInvalid that names the field out of
// range.
func (s Settings) Validate() error {
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"shadow", s.Shadow}, {"stage", s.Stage}, {"watch", s.Watch}} {
		if f.d < 0 || f.d > maxTime {
			return nhi.Invalidf("promotion: %s is %v, want 0s to %v", f.name, f.d, maxTime)
		}
	}
	if s.Decisions < 0 || s.Decisions > 1_000_000_000 {
		return nhi.Invalidf("promotion: decisions is %d, want 0 to 1000000000", s.Decisions)
	}
	if s.Threshold < 0 || s.Threshold > maxWitnesses { // more are not counted
		return nhi.Invalidf("promotion: threshold is %d, want 0 to %d", s.Threshold, maxWitnesses)
	}
	last := 0
	for _, n := range s.Stages {
		if n <= last || n > 99 {
			return nhi.Invalidf("promotion: stages are %v, want rising numbers from 1 to 99", s.Stages)
		}
		last = n
	}
	return nil
}

// Plan is what a promotion that begins now goes by.
func (s Settings) Plan() nhi.PromotionPlan {
	s = s.WithDefaults()
	return nhi.PromotionPlan{
		Shadow: s.Shadow, Decisions: int64(s.Decisions), Stages: slices.Clone(s.Stages), Stage: s.Stage, Watch: s.Watch, Threshold: s.Threshold,
	}
}
