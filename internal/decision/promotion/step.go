package promotion

import (
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Hold is something that ends only when a person does something, and what that is.
type Hold struct {
	Why  nhi.PromotionHold
	Text string
}

// A Step is what a promotion waits for.
type Step struct {
	Due   time.Time // when the time of its gate is over
	Waits []string  // sentences; empty: the next gate opens
	Holds []Hold    // those of them that end only when a person does something
	// Unexplained says that one of them is about what nobody explained; nobody may
	// go on before that.
	Unexplained bool
}

// Next says what the gate at which the promotion stands still waits for at now.
func (t *Tally) Next(now time.Time) Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next(now)
}

func (t *Tally) next(now time.Time) Step {
	var s Step
	p := &t.p
	if !p.Running() {
		return s
	}
	lasts := map[nhi.PromotionGate]time.Duration{nhi.PromotionShadow: p.Plan.Shadow, nhi.PromotionStaged: p.Plan.Stage, nhi.PromotionWatching: p.Plan.Watch}[p.Gate]
	s.Due = p.Since.Add(lasts)
	if p.Paused {
		s.hold(nhi.HoldPaused, "it is paused: muster policy promotion resume has it go on, abort ends it")
	}
	if now.Before(s.Due) {
		s.Waits = append(s.Waits, fmt.Sprintf("its time at this gate is over at %s", s.Due.UTC().Format("2006-01-02 15:04:05 UTC")))
	}
	if p.Gate == nhi.PromotionShadow && p.Judged < p.Plan.Decisions {
		s.Waits = append(s.Waits, fmt.Sprintf("%d of at least %d decisions were tried", p.Judged, p.Plan.Decisions))
	}
	if p.Gate == nhi.PromotionWatching {
		return s
	}
	if n := t.unexplained(); n > 0 {
		s.Unexplained = true
		s.hold(nhi.HoldUnexplained, fmt.Sprintf("%d times somebody is newly denied something, and nobody has explained it: muster policy promotion acknowledge, or abort", n))
	}
	if p.Errors > 0 {
		at := ""
		if p.Erred != "" {
			at = ", the last at decision " + p.Erred + " (see muster decide explain)"
		}
		s.hold(nhi.HoldErrors, fmt.Sprintf("its policies could not be evaluated %d times for attested identities%s: muster policy promotion abort and mend them, or advance to go on", p.Errors, at))
	}
	return s
}

func (s *Step) hold(why nhi.PromotionHold, text string) {
	s.Holds = append(s.Holds, Hold{why, text})
	s.Waits = append(s.Waits, text)
}

// Hold keeps in mind at now what holds the promotion up, and since when, and returns
// those of which it is time to tell people. They are returned until [Told].
func (t *Tally) Hold(now time.Time) (tell []nhi.PromotionHeld) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var held []nhi.PromotionHeld
	for _, h := range t.next(now).Holds {
		one := nhi.PromotionHeld{Why: h.Why, Since: now}
		if i := slices.IndexFunc(t.p.Held, func(b nhi.PromotionHeld) bool { return b.Why == h.Why }); i >= 0 {
			one = t.p.Held[i]
		}
		held = append(held, one)
		if !one.Told && now.Sub(one.Since) >= patience(one.Why) {
			tell = append(tell, one)
		}
	}
	if !slices.Equal(held, t.p.Held) {
		t.p.Held, t.changed = held, true
	}
	return tell
}

// patience is for how long something may hold a promotion up before people are told.
// Whoever paused it knows, and may have forgotten half a day later.
func patience(why nhi.PromotionHold) time.Duration {
	if why == nhi.HoldPaused {
		return 12 * time.Hour
	}
	return time.Hour
}

// Told says of a promotion that people were told what holds it up.
func Told(p *nhi.Promotion, told []nhi.PromotionHeld) {
	p.Held = slices.Clone(p.Held)
	for i := range p.Held {
		h := &p.Held[i]
		h.Told = h.Told || slices.Contains(told, *h)
	}
}
