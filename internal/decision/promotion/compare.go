package promotion

import (
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
)

// A Pair is the policies before a promotion and after it.
type Pair struct {
	Former, Next decision.Policies
	// Digest is that of Next, as its decisions record it.
	Digest string
	// MaxFactsAge is the setting of decisions by that name.
	MaxFactsAge time.Duration
}

// A Kind says what becomes of a decision.
type Kind int

// The kinds of difference.
const (
	Same Kind = iota
	NewlyAllowed
	NewlyDenied
	NewlyStepUp
)

// A Comparison is what both make of a decision on record.
type Comparison struct {
	Answered bool // else the record does not say what policies read
	Kind     Kind
	Errors   int // policies of Next that erred, above those of Former
	// Attested says that it is about an identity of ours whose platform vouched for
	// it. Who is not may be anybody, and make up what policies stumble over.
	Attested bool
	Decided  bool     // by Next
	Policies []string // that deny it
	Reason   string   // of the first
	// Counts says that it is evidence when it was Next that decided: it is about an
	// attested identity at no risk and its usual work.
	Counts bool
	// Prover tells the workload that proved itself beside a key; empty when the
	// identity proved itself.
	Prover string
}

// maxPolicies bounds the policies that are named for one decision.
const maxPolicies = 8

// Compare has both judge d again, as it was. d is not changed. A panic of the
// engine is an error of Next.
func (p *Pair) Compare(d *nhi.Decision) (out Comparison) {
	out.Decided, out.Attested, out.Counts, out.Prover = d.Policy == p.Digest, attested(d), proven(d), prover(d)
	defer func() {
		if recover() != nil {
			out.Answered, out.Kind, out.Errors = true, Same, 1
		}
	}()
	q, ok := d.Question()
	if !ok {
		return out
	}
	out.Answered = true
	former, next := decision.Judge(p.Former, &q, p.MaxFactsAge), decision.Judge(p.Next, &q, p.MaxFactsAge)
	out.Errors = max(0, next.Errors-former.Errors)
	switch {
	case next.Outcome == former.Outcome:
		return out
	case next.Outcome == nhi.Deny && former.Outcome == nhi.Allow:
		out.Kind = NewlyDenied
	case next.Outcome == nhi.Deny: // what asked for more is now refused
		out.Kind = NewlyDenied
		out.Counts = false // it was not allowed before
	case next.Outcome == nhi.StepUp:
		out.Kind = NewlyStepUp
	default:
		out.Kind = NewlyAllowed
	}
	for i := range next.Reasons {
		if i == 0 {
			out.Reason = next.Reasons[i].Text
		}
		if len(out.Policies) < maxPolicies {
			out.Policies = append(out.Policies, next.Reasons[i].Policy)
		}
	}
	return out
}

// usual is the surprise, in tenths of a bit, up to which work is usual.
const usual = 100

// attested reports whether d is about an identity of ours whose platform vouched for
// it, to us or to a point that decides by itself.
func attested(d *nhi.Decision) bool {
	return d.Inputs != nil && d.Inputs.Attestation != nil && d.Inputs.Known && d.Identity != "" && !d.Asserted
}

// proven reports whether d is about an identity of ours whose platform vouched for
// it, to us, that is at no risk and does its usual work. A thief has none of these
// at hand: what a point asserts or reports proves nothing, and neither does a key
// alone.
func proven(d *nhi.Decision) bool {
	in := d.Inputs
	return attested(d) && !d.Reported && d.Risk == 0 && d.Surprise <= usual &&
		!in.NewAction && !in.NewNetwork && !in.NewCountry && !in.NewAgent && !in.Interactive
}

// prover tells by its proof the workload that stood beside a key. It may hold many
// keys, of many identities, and whoever took it over has them all.
func prover(d *nhi.Decision) string {
	if d.Inputs == nil || d.Inputs.Attestation == nil || !d.Inputs.Stored {
		return ""
	}
	a := d.Inputs.Attestation
	return fmt.Sprintf("%s %q", a.Method, a.Selectors)
}
