package policy

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

// A scope is what the head of a policy asks for, as far as the index uses it.
type scope struct {
	principal     types.EntityUID  // zero: any
	principalType types.EntityType // from "is"; empty: any
	resource      types.EntityUID  // zero: any
	actions       uint16           // bit i: applies to request.Actions[i]
}

func (s scope) unscoped() bool {
	return s.principal == (types.EntityUID{}) && s.resource == (types.EntityUID{})
}

func scopeOf(p *ast.Policy) scope {
	var s scope
	s.principal, s.principalType = clause.ScopeEntity(p.Principal)
	s.resource, _ = clause.ScopeEntity(p.Resource)
	s.actions = scopeActions(p.Action)
	return s
}

// scopeActions returns the mask of actions a scope can match. An action's
// only ancestor is "any".
func scopeActions(node ast.IsActionScopeNode) uint16 {
	switch n := node.(type) {
	case ast.ScopeTypeEq:
		return actionMask(n.Entity, false)
	case ast.ScopeTypeIn:
		return actionMask(n.Entity, true)
	case ast.ScopeTypeInSet:
		var mask uint16
		for _, e := range n.Entities {
			mask |= actionMask(e, true)
		}
		return mask
	}
	return 1<<len(request.Actions) - 1
}

func actionMask(uid types.EntityUID, in bool) uint16 {
	if in && uid == request.AnyAction {
		return 1<<len(request.Actions) - 1
	}
	if i, ok := request.ActionIndex(nhi.ActionClass(uid.ID)); ok && uid.Type == request.TypeAction {
		return 1 << i
	}
	return 0
}

// A scopeKey says which principal and which resource the policies of a bucket
// name; a zero part means that they name none.
type scopeKey struct{ principal, resource types.EntityUID }

// A bucket holds the policies of one key, by action.
type bucket [len(request.Actions)][]*rule

// An index finds the policies whose scope a request can match. A scope that
// does not match is false without an error, so the policies left out could
// have changed neither the answer nor its diagnostics.
type index struct {
	global  bucket // names neither principal nor resource
	buckets map[scopeKey]*bucket
	// named are the entities that some scope names: most ancestors of most
	// requests are not among them and cost one look-up.
	named map[types.EntityUID]struct{}
	left  int // rules that left since it was built anew; their names are still in named
}

func newIndex(rules []*rule) index {
	x := index{buckets: map[scopeKey]*bucket{}, named: map[types.EntityUID]struct{}{}}
	for _, r := range rules {
		x.put(r)
	}
	return x
}

func (x *index) put(r *rule) {
	b := &x.global
	if !r.scope.unscoped() {
		b = x.bucket(scopeKey{r.scope.principal, r.scope.resource})
	}
	for i := range request.Actions {
		if r.scope.actions&(1<<i) != 0 {
			b[i] = append(b[i], r)
		}
	}
}

// index is the index of what was loaded. That of the set before is taken over
// but for the buckets in which something changed, unless much of it did.
func (l *loader) index() index {
	if l.before == nil {
		return newIndex(l.rules)
	}
	gone, come := without(l.before.rules, l.byID), without(l.rules, l.before.byID)
	old := &l.before.index
	if old.left+len(gone)+len(come) > len(l.rules)/2 {
		return newIndex(l.rules)
	}
	x := index{global: old.global, buckets: maps.Clone(old.buckets), named: maps.Clone(old.named), left: old.left + len(gone)}
	own := map[scopeKey]bool{} // buckets that are not the old index's any more
	for _, r := range slices.Concat(gone, come) {
		key := scopeKey{r.scope.principal, r.scope.resource}
		if own[key] {
			continue
		}
		own[key] = true
		b := &x.global
		if !r.scope.unscoped() {
			b = &bucket{}
			if was := x.buckets[key]; was != nil {
				*b = *was
			}
			x.buckets[key] = b
		}
		for i := range b {
			b[i] = slices.DeleteFunc(slices.Clone(b[i]), func(r *rule) bool { return l.byID[r.id] != r })
		}
	}
	for _, r := range come {
		x.put(r)
	}
	return x
}

// without returns those of rules that are not in byID.
func without(rules []*rule, byID map[cedar.PolicyID]*rule) (out []*rule) {
	for _, r := range rules {
		if byID[r.id] != r {
			out = append(out, r)
		}
	}
	return out
}

func (x *index) bucket(key scopeKey) *bucket {
	for _, uid := range []types.EntityUID{key.principal, key.resource} {
		if uid != (types.EntityUID{}) {
			x.named[uid] = struct{}{}
		}
	}
	b := x.buckets[key]
	if b == nil {
		b = &bucket{}
		x.buckets[key] = b
	}
	return b
}

// A slice is the part of a set that one request can match: lists of rules, one
// for each pair of a principal and a resource that some scope names, of any and
// of those. A request's own two have at most two ancestors, so there are at most
// 4 x 3 lists.
type slice struct {
	lists              [][]*rule
	principals, places []types.EntityUID // of the pairs; the first is any
}

// find fills s with the lists for action that principal (itself or an
// ancestor) and resource (itself or an ancestor) can match.
func (x *index) find(s *slice, action int, principals, resources []types.EntityUID) {
	s.lists = s.lists[:0]
	s.add(x.global[action])
	if len(x.buckets) == 0 {
		return
	}
	s.principals, s.places = x.names(s.principals, principals), x.names(s.places, resources)
	for i, p := range s.principals {
		for j, r := range s.places {
			if i == 0 && j == 0 {
				continue // the global bucket
			}
			if b := x.buckets[scopeKey{p, r}]; b != nil {
				s.add(b[action])
			}
		}
	}
}

// names makes list any and those of uids that some scope names.
func (x *index) names(list, uids []types.EntityUID) []types.EntityUID {
	list = append(list[:0], types.EntityUID{})
	for _, uid := range uids {
		if _, ok := x.named[uid]; ok {
			list = append(list, uid)
		}
	}
	return list
}

// sees is what the rules of the slice can see of a request.
func (s *slice) sees() (out request.Attr) {
	for _, list := range s.lists {
		for _, r := range list {
			out |= r.sees.Uses
		}
	}
	return out
}

func (s *slice) add(list []*rule) {
	if len(list) > 0 {
		s.lists = append(s.lists, list)
	}
}

var _ cedar.PolicyIterator = (*evaluation)(nil)
