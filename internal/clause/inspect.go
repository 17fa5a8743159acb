package clause

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// ScopeEntity returns the entity that a scope names by == or in, and the type
// that it names by is.
func ScopeEntity(node ast.IsScopeNode) (types.EntityUID, types.EntityType) {
	switch n := node.(type) {
	case ast.ScopeTypeEq:
		return n.Entity, ""
	case ast.ScopeTypeIn:
		return n.Entity, ""
	case ast.ScopeTypeIs:
		return types.EntityUID{}, n.Type
	case ast.ScopeTypeIsIn:
		return n.Entity, n.Type
	}
	return types.EntityUID{}, ""
}

// Inspect calls entity for every entity that p names outside its action
// scope, and node (when not nil) for every node of its conditions.
func Inspect(p *ast.Policy, entity func(types.EntityUID), node func(ast.IsNode)) {
	for _, sc := range []ast.IsScopeNode{p.Principal, p.Resource} {
		if uid, _ := ScopeEntity(sc); uid != (types.EntityUID{}) {
			entity(uid)
		}
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				values(v.Value, entity)
			}
			if node != nil {
				node(n)
			}
			return true
		})
	}
}

// values looks for entities inside a literal.
func values(v types.Value, entity func(types.EntityUID)) {
	switch v := v.(type) {
	case types.EntityUID:
		entity(v)
	case types.Set:
		for e := range v.All() {
			values(e, entity)
		}
	case types.Record:
		for e := range v.Values() {
			values(e, entity)
		}
	}
}

// IsContext reports whether n is the variable context.
func IsContext(n ast.IsNode) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == "context"
}

// IsLiteral reports whether n is an entity, or a set of them, written
// out in the policy.
func IsLiteral(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeValue:
		return true
	case ast.NodeTypeSet:
		for _, e := range n.Elements {
			if _, ok := e.(ast.NodeValue); !ok {
				return false
			}
		}
		return true
	}
	return false
}
