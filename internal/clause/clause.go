// Package clause takes Cedar policies apart: into the lines that must hold for a
// policy to match, those into the operands of their operators, and those into
// the attributes that they read.
package clause

import (
	"slices"
	"strings"

	public "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A Clause is a line of a policy that must hold for it to match: the node must
// come to want.
type Clause struct {
	Name string // scope, when or unless
	Node ast.IsNode
	Want bool
}

// Of returns what p asks for, in the order in which it is evaluated.
func Of(p *ast.Policy) []Clause {
	var out []Clause
	for _, sc := range []struct {
		variable ast.Node
		scope    ast.IsScopeNode
	}{{ast.Principal(), p.Principal}, {ast.Action(), p.Action}, {ast.Resource(), p.Resource}} {
		if n, ok := scopeNode(sc.variable, sc.scope); ok {
			out = append(out, Clause{"scope", n.AsIsNode(), true})
		}
	}
	for _, c := range p.Conditions {
		name := "unless"
		if c.Condition == ast.ConditionWhen {
			name = "when"
		}
		out = append(out, Clause{name, c.Body, c.Condition == ast.ConditionWhen})
	}
	return out
}

// scopeNode is what a line of a scope asks for; not ok when it asks for nothing.
func scopeNode(variable ast.Node, scope ast.IsScopeNode) (ast.Node, bool) {
	switch t := scope.(type) {
	case ast.ScopeTypeEq:
		return variable.Equal(ast.Value(t.Entity)), true
	case ast.ScopeTypeIn:
		return variable.In(ast.Value(t.Entity)), true
	case ast.ScopeTypeInSet:
		set := make([]ast.Node, 0, len(t.Entities))
		for _, e := range t.Entities {
			set = append(set, ast.Value(e))
		}
		return variable.In(ast.Set(set...)), true
	case ast.ScopeTypeIs:
		return variable.Is(t.Type), true
	case ast.ScopeTypeIsIn:
		return variable.IsIn(t.Type, ast.Value(t.Entity)), true
	}
	return ast.Node{}, false
}

// Split returns what n is made of, and how that belongs together. A chain of
// one operator is one level. A leaf has no join.
func Split(n ast.IsNode) (join string, inner []ast.IsNode) {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return "and", chainOf[ast.NodeTypeAnd](n)
	case ast.NodeTypeOr:
		return "or", chainOf[ast.NodeTypeOr](n)
	case ast.NodeTypeNot:
		return "not", []ast.IsNode{n.Arg}
	case ast.NodeTypeIfThenElse:
		return "if", []ast.IsNode{n.If, n.Then, n.Else}
	}
	return "", nil
}

// chainOf returns the operands of a chain, from the left to the right. Chains
// lean to the left, so the left side is followed by a loop.
func chainOf[T ast.NodeTypeAnd | ast.NodeTypeOr](n ast.IsNode) []ast.IsNode {
	var back []ast.IsNode
	for {
		var b ast.BinaryNode
		switch t := n.(type) {
		case ast.NodeTypeAnd:
			b = t.BinaryNode
		case ast.NodeTypeOr:
			b = t.BinaryNode
		}
		if _, same := n.(T); !same {
			back = append(back, n)
			break
		}
		if _, same := b.Right.(T); same {
			right := chainOf[T](b.Right)
			slices.Reverse(right)
			back = append(back, right...)
		} else {
			back = append(back, b.Right)
		}
		n = b.Left
	}
	slices.Reverse(back)
	return back
}

// Text writes one node in Cedar.
func Text(n ast.IsNode) string {
	p := ast.Permit().When(ast.NewNode(n))
	_, text, _ := strings.Cut(string((*public.Policy)(p).MarshalCedar()), "{")
	text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), ";"))
	text = strings.TrimSpace(strings.TrimSuffix(text, "}"))
	return text
}

// Attribute returns context.attestation.age for the node that reads it,
// empty for a node that reads no attribute of the request.
func Attribute(n ast.IsNode) string {
	var back []string
	for {
		switch t := n.(type) {
		case ast.NodeTypeVariable:
			back = append(back, string(t.Name))
			slices.Reverse(back)
			return strings.Join(back, ".")
		case ast.NodeTypeAccess:
			back = append(back, string(t.Value))
			n = t.Arg
		default:
			return ""
		}
	}
}
