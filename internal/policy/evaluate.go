package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

// An evaluation is the scratch space of one call. It is the policy iterator and,
// by its request, the entity store that cedar-go asks for, so that neither a
// policy set nor an entity map is built for a request.
type evaluation struct {
	request.Request
	set   *Set
	slice slice
	seq   iter.Seq2[types.PolicyID, *cedar.Policy] // each, bound once

	permitsOnly bool
}

func newEvaluation(s *Set) *evaluation {
	e := &evaluation{set: s}
	e.seq = e.each
	return e
}

// A ruled is a ruling that was found before, and what the policies that were
// asked for it can see.
type ruled struct {
	ruling nhi.Ruling // whose lists are full: appending to one copies it
	sees   request.Attr
}

// rulings is how many rulings a set remembers.
const rulings = 1 << 12

// Evaluate says what the set makes of q. It reads q and Known and changes
// neither. An action or outcome that it does not know is denied. The lists of
// the ruling may be shared with other rulings: append to them, but do not change
// what they hold.
//
// Requests that no policy can tell apart get the ruling of the first of them. It
// is remembered unless a policy that was asked sees something of the request that
// no key holds, such as an approval.
func (s *Set) Evaluate(q *nhi.Question) nhi.Ruling {
	action, ok := request.ActionIndex(q.Action)
	if !ok {
		return denied(s.digest, "unknown-action", "The action is none that policies know.")
	}
	e := s.pool.Get().(*evaluation)
	e.Ask(s.request, q, action)
	fleeting := e.Fleeting()
	known, ok := s.rulings.Look(e.Key())
	if !ok || known.sees&fleeting != 0 {
		known = ruled{e.evaluate(action), e.slice.sees()}
		if known.sees&fleeting == 0 {
			s.rulings.Keep(e.Key(), known)
		}
	}
	// Not deferred: after a panic the scratch space is not to be trusted.
	e.Forget()
	s.pool.Put(e)
	return known.ruling
}

// evaluate asks Cedar.
func (e *evaluation) evaluate(action int) nhi.Ruling {
	e.find(action)
	_, diagnostic := cedar.Authorize(e, e, e.Cedar())
	ruling := e.rule(&diagnostic)
	ruling.Reasons, ruling.StepUp = slices.Clip(ruling.Reasons), slices.Clip(ruling.StepUp)
	return ruling
}

func denied(digest, id, text string) nhi.Ruling {
	return nhi.Ruling{
		Outcome: nhi.Deny, Digest: digest,
		Reasons: []nhi.Reason{{Policy: id, Text: text, Effect: effectForbid}},
	}
}

// find finds the policies that the request can match.
func (e *evaluation) find(action int) {
	e.permitsOnly = false
	e.set.index.find(&e.slice, action,
		[]types.EntityUID{e.Principal, e.Identity, e.IdentityEnvironment},
		[]types.EntityUID{e.Resource, e.ResourceEnvironment})
}

// All makes the slice a cedar.PolicyIterator.
func (e *evaluation) All() iter.Seq2[types.PolicyID, *cedar.Policy] { return e.seq }

func (e *evaluation) each(yield func(types.PolicyID, *cedar.Policy) bool) {
	for _, list := range e.slice.lists {
		for _, r := range list {
			if e.permitsOnly && !r.permit {
				continue
			}
			if t := r.scope.principalType; t != "" && t != e.Principal.Type {
				continue
			}
			if !yield(r.id, r.policy) {
				return
			}
		}
	}
}

// rule turns Cedar's diagnostic into a ruling: an erring forbid denies, an
// erring permit is counted, and a denial that only forbids with @stepup caused
// becomes a step-up when a permit stands beside them.
func (e *evaluation) rule(d *types.Diagnostic) nhi.Ruling {
	out := nhi.Ruling{Outcome: nhi.Deny, Digest: e.set.digest, Errors: len(d.Errors)}
	out.Reasons = make([]nhi.Reason, 0, len(d.Reasons)+len(d.Errors))
	permits := 0
	for i := range d.Reasons {
		r := e.set.byID[d.Reasons[i].PolicyID]
		if r.permit {
			permits++
		}
		out.Reasons = append(out.Reasons, r.reason)
	}
	erred := e.erredForbids(d, &out)
	switch {
	case erred > 0:
		if permits > 0 { // they decided nothing
			out.Reasons = slices.DeleteFunc(out.Reasons, func(r nhi.Reason) bool { return r.Effect == effectPermit })
		}
	case permits > 0: // Cedar reports permits only when no forbid matched
		out.Outcome = nhi.Allow
	case len(d.Reasons) == 0:
		return e.unpermitted(out)
	default:
		e.stepUp(d, &out)
	}
	slices.SortFunc(out.Reasons, func(a, b nhi.Reason) int { return strings.Compare(a.Policy, b.Policy) })
	return out
}

// erredForbids adds a reason for every forbid that erred and counts them.
func (e *evaluation) erredForbids(d *types.Diagnostic, out *nhi.Ruling) int {
	n := 0
	for i := range d.Errors {
		r := e.set.byID[d.Errors[i].PolicyID]
		if r.permit {
			continue
		}
		n++
		out.Reasons = append(out.Reasons, nhi.Reason{
			Policy: r.reason.Policy, Position: r.reason.Position, Effect: effectError,
			Text: fmt.Sprintf("Policy %s could not be evaluated, so it denies.", r.id),
		})
	}
	return n
}

func (e *evaluation) unpermitted(out nhi.Ruling) nhi.Ruling {
	r := denied(out.Digest, "no-permit", "No policy permits it.")
	r.Errors = out.Errors
	return r
}

// stepUp makes out a step-up if every forbid that matched carries @stepup and
// a permit matches as well. Cedar does not report permits on a denial, so the
// permits of the slice are asked once more.
func (e *evaluation) stepUp(d *types.Diagnostic, out *nhi.Ruling) {
	var kinds []nhi.StepUpKind
	for i := range d.Reasons {
		kind := e.set.byID[d.Reasons[i].PolicyID].stepUp
		if kind == "" {
			return
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	e.permitsOnly = true
	if decision, _ := cedar.Authorize(e, e, e.Cedar()); decision != cedar.Allow {
		return
	}
	slices.Sort(kinds)
	out.Outcome, out.StepUp = nhi.StepUp, kinds
}
