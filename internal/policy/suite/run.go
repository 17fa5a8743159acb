package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// Bounds on a report: a set may fail every case of a large file.
const (
	maxFailures = 200
	maxWhy      = 24 // lines of one failure
)

// A Report says how a set of policies did.
type Report struct {
	Cases  int `json:"cases"`
	Passed int `json:"passed"`
	Failed int `json:"failed"`
	// Failures are the first 200 of those that failed, in the order of files
	// and lines.
	Failures []Failure `json:"failures"`
	Coverage Coverage  `json:"coverage"`
}

// A Failure is a case that was answered otherwise than it says.
type Failure struct {
	File   string   `json:"file"`
	Line   int      `json:"line"`
	Name   string   `json:"name"`
	Want   string   `json:"want"`   // allow, deny, step-up(bind)
	Got    string   `json:"got"`    // likewise
	Reason string   `json:"reason"` // one sentence: what is not as it says
	Why    []string `json:"why"`    // how the policies came to it, a line each
}

// String is "file:line: name: reason".
func (f Failure) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Name, f.Reason)
}

// Coverage says which policies determined the answer to at least one case.
// The built-in guards are not counted: they have tests of their own.
type Coverage struct {
	Policies   int      `json:"policies"`
	Determined int      `json:"determined"`
	Missed     []Missed `json:"missed"`
}

// A Missed is a policy that determined the answer to no case.
type Missed struct {
	ID       string `json:"id"`
	Position string `json:"position"` // file:line
}

// Run asks set every case of suites. The report is the same whenever set and
// suites are. The error is that of ctx.
func Run(ctx context.Context, set *policy.Set, suites ...*Suite) (Report, error) {
	out := Report{Failures: []Failure{}}
	determined := map[string]bool{}
	for _, s := range suites {
		for i := range s.Cases {
			if i%64 == 0 && ctx.Err() != nil {
				return Report{}, ctx.Err()
			}
			c := &s.Cases[i]
			ruling := set.Evaluate(&c.question)
			for _, r := range ruling.Reasons {
				determined[r.Policy] = true
			}
			out.Cases++
			reason := c.differs(&ruling)
			if reason == "" {
				out.Passed++
				continue
			}
			if out.Failed++; len(out.Failures) < maxFailures {
				out.Failures = append(out.Failures, Failure{
					File: s.File, Line: c.Line, Name: c.Name, Want: c.Expect.String(), Got: answered(&ruling), Reason: reason, Why: why(set, c),
				})
			}
		}
	}
	out.Coverage = coverage(set, determined)
	return out, nil
}

// answered is a ruling in the words of an expectation.
func answered(r *nhi.Ruling) string { return Expectation{r.Outcome, r.StepUp}.String() }

// differs says in what a ruling is not what the case wants, empty when it is.
func (c *Case) differs(r *nhi.Ruling) string {
	if !c.Expect.met(r) {
		return fmt.Sprintf("want %s, got %s", c.Expect, answered(r))
	}
	var missing []string
	for _, id := range c.Policies {
		if !slices.ContainsFunc(r.Reasons, func(reason nhi.Reason) bool { return reason.Policy == id }) {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("%s as expected, but %s did not determine it", answered(r), strings.Join(missing, ", "))
}

// why says how the set came to its answer: each policy that determined it, or
// that comes nearest to permitting it, and what its conditions read.
func why(set *policy.Set, c *Case) []string {
	x := set.Explain(&c.question)
	var out []string
	for _, r := range x.Ruling.Reasons {
		if !slices.ContainsFunc(x.Policies, func(p policy.Explained) bool { return p.ID == r.Policy }) {
			out = append(out, r.Text)
		}
	}
	for i := range x.Policies {
		p := &x.Policies[i]
		did := p.Effect + " matches"
		if !p.Matched {
			did = p.Effect + " does not match"
		}
		out = append(out, fmt.Sprintf("%s (%s): %s: %s", p.ID, p.Position, did, p.Text))
		for j := range p.Parts {
			if part := &p.Parts[j]; part.Join == "" {
				out = append(out, "  "+line(part))
			}
		}
	}
	if len(out) > maxWhy {
		out = append(out[:maxWhy-1], "...")
	}
	return out
}

// line writes what a leaf of a condition came to.
func line(p *policy.Part) string {
	text := fmt.Sprintf("%s %s: %s", p.Clause, p.Text, p.Truth)
	for i, v := range p.Values {
		join := ", "
		if i == 0 {
			join = "; "
		}
		text += fmt.Sprintf("%s%s is %s", join, v.Name, v.Value)
	}
	return text
}

func coverage(set *policy.Set, determined map[string]bool) Coverage {
	out := Coverage{Missed: []Missed{}}
	for _, p := range set.Policies() {
		switch {
		case p.Guard:
			continue
		case determined[p.ID]:
			out.Determined++
		default:
			out.Missed = append(out.Missed, Missed{p.ID, p.Position})
		}
		out.Policies++
	}
	return out
}
