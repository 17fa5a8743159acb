// Package request makes a Cedar request of a question: its entities, their
// records and the context, as far as a set of policies can see them.
//
// A [Sight] is what one policy can observe. A [Shape] is what all policies of a
// set can: what none of them names is left out, because none could notice, and
// the small records that result are remembered, because many requests share
// them. A [Request] is one question in that shape. Its [Key] is everything that
// the policies can tell it from others by, but for what no key can hold
// ([Request.Fleeting]): two requests with one key get one ruling.
package request

import (
	"github.com/cedar-policy/cedar-go/types"

	"github.com/muster-id/muster/internal/nhi"
)

// The types of entities that policies name. Who asks is of the type that
// [Kind] gives, and in an Identity.
const (
	TypeAction      types.EntityType = "Action"
	TypeIdentity    types.EntityType = "Identity"
	TypeEnvironment types.EntityType = "Environment"
	TypeCredential  types.EntityType = "Credential"
	TypeResource    types.EntityType = "Resource"
)

// Actions are the classes of action in the order in which they are counted.
var Actions = [...]nhi.ActionClass{
	nhi.Read, nhi.List, nhi.Write, nhi.Delete, nhi.Admin, nhi.Issue, nhi.Exchange, nhi.Assume,
}

// AnyAction is what every action is in.
var AnyAction = types.NewEntityUID(TypeAction, "any")

// ActionEntities are the action hierarchy, in the order of Actions.
var ActionEntities = func() (out [len(Actions)]types.Entity) {
	for i, a := range Actions {
		out[i] = types.Entity{UID: types.NewEntityUID(TypeAction, types.String(a)), Parents: types.NewEntityUIDSet(AnyAction)}
	}
	return out
}()

// ActionIndex is the place of class in Actions.
func ActionIndex(class nhi.ActionClass) (int, bool) {
	for i, a := range Actions {
		if a == class {
			return i, true
		}
	}
	return 0, false
}

// Kind is the type of principal that an identity of kind k is.
func Kind(k nhi.Kind) types.EntityType {
	switch k {
	case nhi.KindUser:
		return "User"
	case nhi.KindRole:
		return "Role"
	case nhi.KindServiceAccount:
		return "ServiceAccount"
	case nhi.KindWorkload:
		return "Workload"
	case nhi.KindCIJob:
		return "CIJob"
	case nhi.KindAgent:
		return "Agent"
	case nhi.KindService:
		return "Service"
	case nhi.KindPoint:
		return "Point"
	case nhi.KindSource:
		return "Source"
	case nhi.KindOperator:
		return "Operator"
	}
	return "Unknown"
}

// IsKind reports whether t is a type of principal.
func IsKind(t types.EntityType) bool {
	switch t {
	case "User", "Role", "ServiceAccount", "Workload", "CIJob", "Agent", "Service", "Point", "Source", "Operator", "Unknown":
		return true
	}
	return false
}

// presented stands for a credential that no policy names: all such look alike
// to every policy.
var presented = types.NewEntityUID(TypeCredential, "")

// A Request is one question as the policies of a shape see it. Its zero value
// is ready for Ask and may be asked again and again, by one caller at a time.
type Request struct {
	shape *Shape
	q     *nhi.Question
	key   Key

	risk, surprise, rate int // as they are; the key holds where they lie

	Principal, Action, Resource                        types.EntityUID
	Identity, IdentityEnvironment, ResourceEnvironment types.EntityUID // what principal and resource are in
	Credential                                         types.EntityUID // the one in the context
	action                                             int

	// Entities and context are made when they are first asked for.
	principal, resource, credential                      types.Entity
	context                                              types.Record
	hasPrincipal, hasResource, hasCredential, hasContext bool
}

// Ask turns q, whose action is Actions[action], into a request. The request
// keeps q until Forget.
func (r *Request) Ask(shape *Shape, q *nhi.Question, action int) {
	k := &q.Known
	r.shape, r.q, r.action = shape, q, action
	r.hasPrincipal, r.hasResource, r.hasCredential, r.hasContext = false, false, false, false
	who := types.String(q.Subject.Identity)
	r.Principal, r.Identity = types.NewEntityUID(Kind(k.Kind), who), types.NewEntityUID(TypeIdentity, who)
	r.IdentityEnvironment = types.NewEntityUID(TypeEnvironment, types.String(k.IdentityEnvironment.Name))
	r.Action = ActionEntities[action].UID
	r.Resource = types.NewEntityUID(TypeResource, types.String(q.Resource))
	r.ResourceEnvironment = types.NewEntityUID(TypeEnvironment, types.String(k.ResourceEnvironment.Name))
	r.Credential = presented
	if own := types.NewEntityUID(TypeCredential, types.String(q.Subject.Credential)); shape.sees(own) || shape.sees(presented) {
		r.Credential = own
	}
	shape.key(r)
}

// Forget lets go of the question.
func (r *Request) Forget() { r.q = nil }

// Key is what the policies can tell the request from others by. It is valid
// until the next Ask.
func (r *Request) Key() *Key { return &r.key }

// Fleeting is what the request has and its key does not hold, such as the exact
// time. A policy that sees some of it may rule otherwise on a request with the
// same key.
func (r *Request) Fleeting() Attr {
	return attrMoment | when(len(r.shape.zones) > clocks, attrZones) | when(r.q.Known.Attestation != nil, attrEvidence) |
		when(r.q.Known.Approval != nil, attrApproval) | when(len(r.q.Subject.Actors) > 0, attrActors)
}

// Cedar is the request in Cedar's own form.
func (r *Request) Cedar() types.Request {
	if !r.hasContext {
		r.context, r.hasContext = r.shape.context(r), true
	}
	return types.Request{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.context}
}

// Get makes the request a types.EntityGetter. Of credentials only the one that
// was presented is known.
func (r *Request) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid {
	case r.Principal:
		if !r.hasPrincipal {
			exact := r.key.principal
			exact.risk = r.risk
			r.principal = types.Entity{UID: uid, Attributes: r.shape.principal(&exact), Parents: r.shape.parents(r.Identity, r.IdentityEnvironment)}
			r.hasPrincipal = true
		}
		return r.principal, true
	case r.Resource:
		if !r.hasResource {
			r.resource = types.Entity{UID: uid, Attributes: r.shape.resource(&r.key.resource), Parents: r.shape.parents(r.ResourceEnvironment)}
			r.hasResource = true
		}
		return r.resource, true
	case r.Credential:
		if !r.hasCredential {
			r.credential = types.Entity{UID: uid, Attributes: r.shape.credential(&r.key.credential)}
			r.hasCredential = true
		}
		return r.credential, true
	case r.Action:
		return ActionEntities[r.action], true
	}
	if uid.Type == TypeAction { // a policy may name another
		if i, ok := ActionIndex(nhi.ActionClass(uid.ID)); ok {
			return ActionEntities[i], true
		}
	}
	return types.Entity{}, false
}
