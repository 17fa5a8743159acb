package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/muster-id/muster/internal/nhi"
)

// actionEntities are the action hierarchy: every action is in "any".
var actionEntities = func() (out [len(actions)]types.Entity) {
	for i, a := range actions {
		out[i] = types.Entity{UID: types.NewEntityUID(typeAction, types.String(a)), Parents: types.NewEntityUIDSet(anyAction)}
	}
	return out
}()

// presented stands for a credential that no policy names: all such look alike
// to every policy.
var presented = types.NewEntityUID(typeCredential, "")

// An evaluation is the scratch space of one call. It is the policy iterator
// and the entity store that cedar-go asks for, so that neither a policy set
// nor an entity map is built for a request.
type evaluation struct {
	set   *Set
	known *nhi.Known
	req   types.Request
	slice slice
	seq   iter.Seq2[types.PolicyID, *cedar.Policy] // each, bound once

	permitsOnly bool

	// Entities are made when a policy first asks for them.
	principal, resource, credential          types.Entity
	hasPrincipal, hasResource, hasCredential bool
	identity, identityEnv, resourceEnv       types.EntityUID
	presented                                types.EntityUID // the credential in the context
	action                                   int
}

func newEvaluation(s *Set) *evaluation {
	e := &evaluation{set: s}
	e.seq = e.each
	return e
}

// Evaluate says what the set makes of q. It reads q and Known and changes
// neither. An action or outcome that it does not know is denied.
func (s *Set) Evaluate(q *nhi.Question) nhi.Ruling {
	action, ok := actionIndex(q.Action)
	if !ok {
		return denied(s.digest, "unknown-action", "The action is none that policies know.")
	}
	e := s.pool.Get().(*evaluation)
	e.prepare(q, action)
	_, diagnostic := cedar.Authorize(e, e, e.req)
	ruling := e.rule(&diagnostic)
	// Not deferred: after a panic the scratch space is not to be trusted.
	e.known = nil
	s.pool.Put(e)
	return ruling
}

func denied(digest, id, text string) nhi.Ruling {
	return nhi.Ruling{
		Outcome: nhi.Deny, Digest: digest,
		Reasons: []nhi.Reason{{Policy: id, Text: text, Effect: effectForbid}},
	}
}

// prepare turns q into a Cedar request and finds the policies it can match.
func (e *evaluation) prepare(q *nhi.Question, action int) {
	k, shape := &q.Known, &e.set.request
	e.known, e.action, e.permitsOnly = k, action, false
	e.hasPrincipal, e.hasResource, e.hasCredential = false, false, false
	e.identity = types.NewEntityUID(typeIdentity, types.String(q.Subject.Identity))
	e.identityEnv = types.NewEntityUID(typeEnvironment, types.String(k.IdentityEnvironment.Name))
	e.resourceEnv = types.NewEntityUID(typeEnvironment, types.String(k.ResourceEnvironment.Name))
	e.req.Principal = types.NewEntityUID(entityType(k.Kind), types.String(q.Subject.Identity))
	e.req.Action = actionEntities[action].UID
	e.req.Resource = types.NewEntityUID(typeResource, types.String(q.Resource))
	e.presented = presented
	if len(shape.credentials) > 0 {
		uid := types.NewEntityUID(typeCredential, types.String(q.Subject.Credential))
		if _, ok := shape.credentials[uid]; ok {
			e.presented = uid
		}
	}
	e.req.Context = shape.context(q, e.presented)
	e.set.index.find(&e.slice, action,
		[]types.EntityUID{e.req.Principal, e.identity, e.identityEnv},
		[]types.EntityUID{e.req.Resource, e.resourceEnv})
}

// All makes the slice a cedar.PolicyIterator.
func (e *evaluation) All() iter.Seq2[types.PolicyID, *cedar.Policy] { return e.seq }

func (e *evaluation) each(yield func(types.PolicyID, *cedar.Policy) bool) {
	for _, list := range e.slice.lists {
		for _, r := range list {
			if e.permitsOnly && !r.permit {
				continue
			}
			if t := r.scope.principalType; t != "" && t != e.req.Principal.Type {
				continue
			}
			if !yield(r.id, r.policy) {
				return
			}
		}
	}
}

// Get makes the request a types.EntityGetter.
func (e *evaluation) Get(uid types.EntityUID) (types.Entity, bool) {
	shape := &e.set.request
	switch uid.Type {
	case typeResource:
		if uid != e.req.Resource {
			return types.Entity{}, false
		}
		if !e.hasResource {
			e.resource = types.Entity{UID: uid, Attributes: shape.resource(e.known), Parents: shape.namedParents(e.resourceEnv)}
			e.hasResource = true
		}
		return e.resource, true
	case typeCredential:
		if uid != e.presented {
			return types.Entity{}, false
		}
		if !e.hasCredential {
			e.credential = types.Entity{UID: uid, Attributes: shape.credential(e.known)}
			e.hasCredential = true
		}
		return e.credential, true
	case typeAction:
		if uid != e.req.Action {
			return types.Entity{}, false
		}
		return actionEntities[e.action], true
	}
	if uid != e.req.Principal {
		return types.Entity{}, false
	}
	if !e.hasPrincipal {
		e.principal = types.Entity{UID: uid, Attributes: shape.principal(e.known), Parents: shape.namedParents(e.identity, e.identityEnv)}
		e.hasPrincipal = true
	}
	return e.principal, true
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
	if decision, _ := cedar.Authorize(e, e, e.req); decision != cedar.Allow {
		return
	}
	slices.Sort(kinds)
	out.Outcome, out.StepUp = nhi.StepUp, kinds
}
