// Package simulate tries policies that are not in force on decisions that were
// made: of 2,134,201 decisions, 14 would have come out differently.
//
// A [Trial] holds the candidate. [Trial.Judge] asks it one decision on record
// and says what would change; [Run] asks it many and gathers a [Report]: how
// many would be newly denied, newly allowed and newly stepped up, and whose they
// were, of which resource, by which policy, each with the ids of examples.
//
//	decision on record -> its question, as policies saw it -> candidate -> difference
//
// What cannot be asked again is counted apart and never guessed: decisions of
// which an earlier release did not record what policies read, or whose deciding
// broke down. Nothing is changed, and nothing is asked of anybody.
//
// A [Shadow] does the same with decisions as they are made, after the answer.
package simulate

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
)

// A Kind says what becomes of a decision. The empty Kind is none: it stays as it
// was.
type Kind string

// The kinds of difference. A step-up that would ask for something else is newly
// stepped up.
const (
	NewlyAllowed Kind = "newly-allowed"
	NewlyDenied  Kind = "newly-denied"
	NewlyStepUp  Kind = "newly-step-up"
)

// Kinds are all kinds.
func Kinds() []Kind { return []Kind{NewlyDenied, NewlyStepUp, NewlyAllowed} }

// A Trial is a candidate and what it is compared with.
type Trial struct {
	Candidate decision.Policies
	// Base is what the candidate would take the place of. Nil: whatever was in
	// force when a decision was made.
	Base decision.Policies
	// MaxFactsAge is the setting of decisions by that name.
	MaxFactsAge time.Duration
}

// A Difference is a decision that would come out differently.
type Difference struct {
	Kind     Kind         `json:"kind"`
	Decision nhi.Decision `json:"decision"`
	Before   string       `json:"before"` // allow, deny, step-up(bind)
	After    string       `json:"after"`  // likewise
	// Policies determined the new answer, those that gave the old one if the new
	// one is by no policy.
	Policies []string `json:"policies"`
	// Reason is the text of the first of them.
	Reason string `json:"reason"`
}

// A Verdict says what judging a decision came to.
type Verdict int

// The verdicts.
const (
	Same       Verdict = iota
	Different          // see the Difference
	Unanswered         // the record does not say what policies read
)

// Judge asks the candidate what it makes of d. errs is how many policies of the
// candidate erred. d is not changed, and may be shared. A panic of the engine is
// one that erred, and the decision unanswered: what is only tried must harm
// nothing.
func (t *Trial) Judge(d *nhi.Decision) (out Difference, v Verdict, errs int) {
	defer func() {
		if recover() != nil {
			out, v, errs = Difference{}, Unanswered, 1
		}
	}()
	q, ok := d.Question()
	if !ok {
		return Difference{}, Unanswered, 0
	}
	after := decision.Judge(t.Candidate, &q, t.MaxFactsAge)
	before, kinds, exact := decision.Recorded(d)
	if t.Base != nil {
		r := decision.Judge(t.Base, &q, t.MaxFactsAge)
		before, kinds, exact = r.Outcome, r.StepUp, true
	}
	kind := differs(before, kinds, exact, &after)
	if kind == "" {
		return Difference{}, Same, after.Errors
	}
	out = Difference{Kind: kind, Decision: *d, Before: said(before, kinds), After: said(after.Outcome, after.StepUp), Policies: []string{}}
	if !exact {
		out.Before = "refused, and let pass by a point that only observes"
	}
	for i := range after.Reasons {
		if i == 0 {
			out.Reason = after.Reasons[i].Text
		}
		if len(out.Policies) < maxPolicies {
			out.Policies = append(out.Policies, after.Reasons[i].Policy)
		}
	}
	return out, Different, after.Errors
}

// maxPolicies bounds the policies named for one difference.
const maxPolicies = 8

// differs says what becomes of a decision, empty when nothing does.
func differs(before nhi.Outcome, kinds []nhi.StepUpKind, exact bool, after *nhi.Ruling) Kind {
	switch {
	case after.Outcome == nhi.Allow && before != nhi.Allow:
		return NewlyAllowed
	case !exact && after.Outcome != nhi.Allow: // refused is refused
		return ""
	case after.Outcome == nhi.Deny && before != nhi.Deny:
		return NewlyDenied
	case after.Outcome == nhi.StepUp && (before != nhi.StepUp || !slices.Equal(kinds, after.StepUp)):
		return NewlyStepUp
	}
	return ""
}

func said(o nhi.Outcome, kinds []nhi.StepUpKind) string {
	if o != nhi.StepUp || len(kinds) == 0 {
		return string(o)
	}
	text := ""
	for i, k := range kinds {
		if i > 0 {
			text += ", "
		}
		text += string(k)
	}
	return fmt.Sprintf("%s(%s)", o, text)
}

// Options say how a run goes on.
type Options struct {
	// Owner names who answers for an identity; empty: nobody is known to. Nil
	// leaves owners out.
	Owner func(nhi.ID) string
	// Progress is told now and then how far it is; nil: nobody is.
	Progress func(*Report) error
	// Pause is called after every batch of decisions with how long the batch
	// took; nil: no pauses. An error ends the run.
	Pause func(ctx context.Context, took time.Duration) error
}

// batch is how many decisions go by between two looks at the context.
const batch = 256

// reported is how long goes by between two reports of progress.
const reported = 500 * time.Millisecond

// Run tries the candidate on decisions. A decision that cannot be read is
// counted, an error that ends the sequence or ctx ends the run: the report then
// says how far it came.
func Run(ctx context.Context, t *Trial, decisions iter.Seq2[nhi.Decision, error], o Options) (*Report, error) {
	tally := NewTally(o.Owner)
	start := time.Now()
	began, told := start, start
	n := 0
	for d, err := range decisions {
		if err != nil {
			return tally.report(start), fmt.Errorf("read decisions: %w", err)
		}
		tally.Add(t, &d)
		if n++; n%batch > 0 {
			continue
		}
		now := time.Now()
		if err := ctx.Err(); err != nil {
			return tally.report(start), err
		}
		if o.Progress != nil && now.Sub(told) >= reported {
			told = now
			if err := o.Progress(tally.report(start)); err != nil {
				return tally.report(start), err
			}
		}
		if o.Pause != nil {
			if err := o.Pause(ctx, now.Sub(began)); err != nil {
				return tally.report(start), err
			}
			now = time.Now()
		}
		began = now
	}
	return tally.report(start), ctx.Err()
}
