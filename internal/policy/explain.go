package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

// Bounds on an explanation: policies are written by others, and some are long.
const (
	maxExplained = 16    // policies
	maxNearest   = 3     // permits shown when none matched
	maxParts     = 64    // of one policy
	maxValues    = 8     // of one part
	maxPartText  = 400   // bytes
	maxWays      = 6     // to unlock one policy
	maxChanges   = 6     // in one way
	maxSteps     = 2_000 // to find the ways to unlock one policy
)

// An Explanation says how a set came to its ruling.
type Explanation struct {
	Ruling   nhi.Ruling
	Policies []Explained
	Unlock   []Unlock // empty when it is allowed
	Inputs   []Input  // everything that policies can read of the question
}

// An Explained is one policy, taken apart.
type Explained struct {
	ID       string
	Effect   string // permit, forbid, or error: a forbid that could not be evaluated
	StepUp   nhi.StepUpKind
	Position string
	Text     string
	Matched  bool // false for a permit that nearly would have
	Parts    []Part
	Cut      bool // there are more parts
}

// A Truth is what a part of a condition came to.
type Truth string

// What a part can come to.
const (
	IsTrue     Truth = "true"
	IsFalse    Truth = "false"
	NotReached Truth = "not reached" // what stands before it had decided already
	IsError    Truth = "error"
)

// A Part is one part of a policy: a line of its scope, a condition, or what a
// condition is made of. Parts follow one another as they are read; one that is
// deeper belongs to the last before it that is not.
type Part struct {
	Clause string // scope, when or unless
	Depth  int    // 0: the whole clause
	Join   string // and, or, not, if: how what is inside belongs together; empty for a leaf
	Text   string // in Cedar
	Truth  Truth
	Values []Input // what a leaf read
}

// An Input is one thing that policies read.
type Input struct {
	Name  string // context.attestation.age
	Value string // in Cedar; "absent" when there is none
	From  string // token, point, inventory, detector, geography, clock or people
}

// An Unlock says what would have to be different about one policy. Any one of
// the ways is enough for it; all changes of a way are needed together.
type Unlock struct {
	Policy string
	StepUp nhi.StepUpKind
	Words  string // for people
	Ways   [][]Change
}

// A Change is a part that would have to come to something else.
type Change struct {
	Text   string // in Cedar
	Want   bool
	Values []Input // as they were
}

// Explain says how the set in force comes to its ruling, see [Set.Explain].
func (h *Holder) Explain(q *nhi.Question) Explanation {
	if set := h.set.Load(); set != nil {
		return set.Explain(q)
	}
	return Explanation{Ruling: h.Evaluate(q)}
}

// Explain says how Evaluate comes to its ruling on q: which part of which
// policy was true and false and what it read. It evaluates each part by itself
// and is not for the hot path. Its output is bounded, whatever the policies.
func (s *Set) Explain(q *nhi.Question) Explanation {
	out := Explanation{Ruling: s.Evaluate(q)}
	action, ok := request.ActionIndex(q.Action)
	if !ok {
		return out
	}
	x := newExplainer(s, q, action)
	out.Inputs = x.inputs()
	for _, reason := range out.Ruling.Reasons {
		if r := s.byID[types.PolicyID(reason.Policy)]; r != nil && len(out.Policies) < maxExplained {
			p := x.policy(r)
			p.Effect = reason.Effect
			out.Policies = append(out.Policies, p)
			if out.Ruling.Outcome != nhi.Allow {
				out.Unlock = append(out.Unlock, x.unlock(r))
			}
		}
	}
	if out.Ruling.Outcome != nhi.Allow && !x.permitted() {
		for _, r := range x.nearest() {
			out.Policies = append(out.Policies, x.policy(r))
			out.Unlock = append(out.Unlock, x.unlock(r))
		}
		if len(out.Unlock) == 0 {
			out.Unlock = append(out.Unlock, Unlock{Words: "no policy that permits anything comes near; one that permits this has to be written"})
		}
	}
	return out
}

// An explainer evaluates parts of policies for one question.
type explainer struct {
	set   *Set
	q     *nhi.Question
	e     *evaluation
	env   eval.Env
	full  request.Request // with all there is
	parts *Explained      // being taken apart
	steps int             // so far, to find ways
}

func newExplainer(s *Set, q *nhi.Question, action int) *explainer {
	e := newEvaluation(s)
	e.Ask(s.request, q, action)
	e.find(action)
	x := &explainer{set: s, q: q, e: e}
	x.full.Ask(s.request.Whole(), q, action)
	x.env = eval.Env{Entities: &x.full, Principal: e.Principal, Action: e.Action, Resource: e.Resource, Context: x.full.Cedar().Context}
	return x
}

func (x *explainer) truth(n ast.IsNode) Truth {
	v, err := eval.Eval(n, x.env)
	b, ok := v.(types.Boolean)
	if err != nil || !ok {
		return IsError
	}
	return truthOf(bool(b))
}

// policy takes r apart.
func (x *explainer) policy(r *rule) Explained {
	out := Explained{ID: string(r.id), Effect: effectOf(r), StepUp: r.stepUp, Position: r.reason.Position, Text: r.reason.Text, Matched: true}
	x.parts = &out
	for _, c := range clause.Of((*ast.Policy)(r.policy.AST())) {
		switch t := x.part(c.Name, c.Node, 0, out.Matched); t {
		case NotReached:
		case IsTrue:
			out.Matched = out.Matched && c.Want
		case IsFalse:
			out.Matched = out.Matched && !c.Want
		default:
			out.Matched = false
		}
	}
	return out
}

// part adds n, and what it is made of, to the parts.
func (x *explainer) part(of string, n ast.IsNode, depth int, reached bool) Truth {
	p := Part{Clause: of, Depth: depth, Text: shorten(clause.Text(n), maxPartText), Truth: NotReached}
	if reached {
		p.Truth = x.truth(n)
	}
	join, inner := clause.Split(n)
	if p.Join = join; join == "" {
		p.Values = x.values(n)
	}
	if len(x.parts.Parts) >= maxParts {
		x.parts.Cut = true
		return p.Truth
	}
	x.parts.Parts = append(x.parts.Parts, p)
	first := NotReached
	for i, operand := range inner {
		if x.parts.Cut {
			break
		}
		here := reached
		if join == "if" && i > 0 {
			here = reached && (i == 1 && first == IsTrue || i == 2 && first == IsFalse)
		}
		t := x.part(of, operand, depth+1, here)
		if i == 0 {
			first = t
		}
		if t == IsError || join == "and" && t == IsFalse || join == "or" && t == IsTrue {
			reached = false
		}
	}
	return p.Truth
}

func shorten(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}

// permitted reports whether any permit matches.
func (x *explainer) permitted() bool {
	for _, list := range x.e.slice.lists {
		for _, r := range list {
			if r.permit && x.misses(r, 1) == 0 {
				return true
			}
		}
	}
	return false
}

// misses counts the clauses of r that are not as they must be, up to enough.
func (x *explainer) misses(r *rule, enough int) int {
	n := 0
	for _, c := range clause.Of((*ast.Policy)(r.policy.AST())) {
		if t := x.truth(c.Node); c.Want && t != IsTrue || !c.Want && t != IsFalse {
			if n++; n >= enough {
				break
			}
		}
	}
	return n
}

// nearest returns the permits that miss the fewest of their lines, those for
// this identity and resource first.
func (x *explainer) nearest() []*rule {
	type near struct {
		*rule
		misses int
	}
	var best []near
	for _, r := range x.set.rules {
		if !r.permit {
			continue
		}
		enough := 3
		if len(best) == maxNearest {
			enough = best[maxNearest-1].misses
		}
		if n := x.misses(r, enough); n < enough {
			at, _ := slices.BinarySearchFunc(best, n+1, func(b near, n int) int { return cmp.Compare(b.misses, n) })
			best = slices.Insert(best, at, near{r, n})
			best = best[:min(len(best), maxNearest)]
		}
	}
	out := make([]*rule, 0, len(best))
	for _, b := range best {
		out = append(out, b.rule)
	}
	return out
}
