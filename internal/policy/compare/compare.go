// Package compare says what differs between two sets of policies: by what is
// written ([Policies]) and by what it does ([Requests]).
//
// What is written is compared policy by policy, by @id. A policy that only
// moved, or was formatted, is no difference; a new text for people is one that
// changes nobody's access. Of a head that changed it is said whether it now
// meets more or fewer requests, of a policy's conditions which lines came and
// which went.
//
// What it does is compared by asking both sets the same requests. They are
// representative and not exhaustive: every kind of identity and every one that a
// policy, a test or an inventory names, every sensitivity and every resource
// that is named, every action, and some circumstances; so an answer that no
// request changed is not a proof. Each difference is shown by a request that
// anybody can try.
package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// Access says which way a change goes.
type Access string

// The ways.
const (
	More   Access = "more" // it can only allow more than before
	Less   Access = "less" // it can only allow less
	Either Access = "either"
	None   Access = "none" // only its words changed
)

// A Change is a policy that differs.
type Change struct {
	Policy   string   `json:"policy"`
	Change   string   `json:"change"` // added, removed, changed
	Position string   `json:"position"`
	Access   Access   `json:"access"`
	What     []string `json:"what"` // what is different, a line each
	Before   string   `json:"before,omitempty"`
	After    string   `json:"after,omitempty"` // Cedar
}

// Policies compares two sets policy by policy. The changes come in the order of
// ids.
func Policies(a, b *policy.Set) []Change {
	before, after := byID(a), byID(b)
	out := []Change{}
	for id, p := range before {
		if _, ok := after[id]; !ok {
			out = append(out, Change{Policy: id, Change: "removed", Position: p.Position, Access: direction(p.Effect, true), What: []string{p.Text}, Before: p.Source})
		}
	}
	for id, p := range after {
		old, ok := before[id]
		if !ok {
			out = append(out, Change{Policy: id, Change: "added", Position: p.Position, Access: direction(p.Effect, false), What: []string{p.Text}, After: p.Source})
			continue
		}
		if c := changed(&old, &p); len(c.What) > 0 {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(x, y Change) int { return strings.Compare(x.Policy, y.Policy) })
	return out
}

func byID(s *policy.Set) map[string]policy.Policy {
	out := map[string]policy.Policy{}
	for _, p := range s.Policies() {
		out[p.ID] = p
	}
	return out
}

// direction is the way it goes when a policy with this effect meets fewer
// requests than before, or more.
func direction(effect string, fewer bool) Access {
	if (effect == "forbid") == fewer {
		return More
	}
	return Less
}

// changed says what is different about a policy, nothing when it is the same.
func changed(a, b *policy.Policy) Change {
	out := Change{Policy: b.ID, Change: "changed", Position: b.Position, Access: None, What: []string{}, Before: a.Source, After: b.Source}
	x, y := tree(a.Source), tree(b.Source)
	if x == nil || y == nil { // what is loaded can be read again
		out.Access, out.What = Either, []string{"it cannot be compared"}
		return out
	}
	wider, narrower := heads(x, y, &out)
	came, went := conditions(x, y, &out)
	narrower, wider = narrower || came, wider || went
	switch {
	case wider && narrower:
		out.Access = Either
	case wider, narrower:
		out.Access = direction(b.Effect, narrower)
	}
	if a.Effect != b.Effect {
		out.Access = direction(b.Effect, false)
		if wider || narrower {
			out.Access = Either
		}
		out.What = append(out.What, fmt.Sprintf("it is a %s, and was a %s", b.Effect, a.Effect))
	}
	if a.StepUp != b.StepUp {
		out.What = append(out.What, fmt.Sprintf("step-up: %s, was %s", orNone(string(b.StepUp)), orNone(string(a.StepUp))))
		out.Access = Either
	}
	if a.Text != b.Text {
		out.What = append(out.What, fmt.Sprintf("text: %s", b.Text))
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// tree parses one policy.
func tree(source string) *ast.Policy {
	var p cedar.Policy
	if p.UnmarshalCedar([]byte(source)) != nil {
		return nil
	}
	return (*ast.Policy)(p.AST())
}

// heads compares the heads of two policies.
func heads(x, y *ast.Policy, out *Change) (wider, narrower bool) {
	for _, line := range []struct {
		name string
		a, b ast.IsScopeNode
	}{{"principal", x.Principal, y.Principal}, {"action", x.Action, y.Action}, {"resource", x.Resource, y.Resource}} {
		before, after := head(line.name, line.a), head(line.name, line.b)
		if before == after {
			continue
		}
		how := "other than before"
		switch inner, outer := covers(line.a, line.b), covers(line.b, line.a); {
		case inner && outer:
			continue // said in another way
		case outer:
			how, wider = "wider", true
		case inner:
			how, narrower = "narrower", true
		default:
			wider, narrower = true, true
		}
		out.What = append(out.What, fmt.Sprintf("%s: %s: %s, was %s", line.name, how, after, before))
	}
	return wider, narrower
}

// head writes a line of a head.
func head(name string, s ast.IsScopeNode) string {
	p := ast.Policy{Principal: ast.ScopeTypeAll{}, Action: ast.ScopeTypeAll{}, Resource: ast.ScopeTypeAll{}}
	switch name {
	case "principal":
		p.Principal, _ = s.(ast.IsPrincipalScopeNode)
	case "action":
		p.Action, _ = s.(ast.IsActionScopeNode)
	default:
		p.Resource, _ = s.(ast.IsResourceScopeNode)
	}
	if lines := clause.Of(&p); len(lines) > 0 {
		return clause.Text(lines[0].Node)
	}
	return "any " + name
}

// covers reports whether outer meets every request that inner meets. It may
// miss that it does.
func covers(outer, inner ast.IsScopeNode) bool {
	outerSet, innerSet := members(outer), members(inner)
	outerUID, outerType := clause.ScopeEntity(outer)
	innerUID, innerType := clause.ScopeEntity(inner)
	switch outer.(type) {
	case ast.ScopeTypeAll:
		return true
	case ast.ScopeTypeEq:
		_, same := inner.(ast.ScopeTypeEq)
		return same && innerUID == outerUID
	case ast.ScopeTypeInSet, ast.ScopeTypeIn:
		if slices.Contains(outerSet, types.NewEntityUID("Action", "any")) {
			return true
		}
		for _, uid := range innerSet {
			if !slices.Contains(outerSet, uid) {
				return false
			}
		}
		return len(innerSet) > 0
	case ast.ScopeTypeIs:
		return innerType != "" && innerType == outerType
	case ast.ScopeTypeIsIn:
		_, same := inner.(ast.ScopeTypeIsIn)
		return same && innerUID == outerUID && innerType == outerType
	}
	return false
}

// members are the entities in one of which a scope wants its variable to be.
func members(s ast.IsScopeNode) []types.EntityUID {
	switch n := s.(type) {
	case ast.ScopeTypeEq:
		return []types.EntityUID{n.Entity}
	case ast.ScopeTypeIn:
		return []types.EntityUID{n.Entity}
	case ast.ScopeTypeIsIn:
		return []types.EntityUID{n.Entity}
	case ast.ScopeTypeInSet:
		return n.Entities
	}
	return nil
}

// conditions compares what two policies ask for after their heads. A condition
// that came makes a policy meet fewer requests.
func conditions(x, y *ast.Policy, out *Change) (came, went bool) {
	before, after := asked(x), asked(y)
	for _, c := range before {
		if !slices.Contains(after, c) {
			went = true
			out.What = append(out.What, "no longer: "+c)
		}
	}
	for _, c := range after {
		if !slices.Contains(before, c) {
			came = true
			out.What = append(out.What, "now: "+c)
		}
	}
	return came, went
}

// asked are the conditions of a policy; those that are joined by && are one
// each.
func asked(p *ast.Policy) []string {
	var out []string
	for _, c := range clause.Of(p) {
		switch join, inner := clause.Split(c.Node); {
		case c.Name == "scope":
		case join == "and" && c.Want, join == "or" && !c.Want:
			for _, n := range inner {
				out = append(out, c.Name+" "+clause.Text(n))
			}
		default:
			out = append(out, c.Name+" "+clause.Text(c.Node))
		}
	}
	return out
}

// Named are the identities and resources that the heads of a set's policies
// name.
func Named(s *policy.Set) (who []Who, where []Where) {
	for _, p := range s.Policies() {
		t := tree(p.Source)
		if t == nil || p.Guard {
			continue
		}
		if uid, _ := clause.ScopeEntity(t.Principal); uid.Type == "Identity" {
			who = append(who, Someone(nhi.ID(uid.ID)))
		} else if uid.Type == "Environment" {
			w := Someone("nhi_in_" + nhi.ID(uid.ID))
			w.Environment.Name = string(uid.ID)
			who = append(who, w)
		}
		if uid, _ := clause.ScopeEntity(t.Resource); uid.Type == "Resource" {
			where = append(where, Somewhere(string(uid.ID), 1))
		} else if uid.Type == "Environment" {
			w := Somewhere("in "+string(uid.ID), 1)
			w.Environment.Name = string(uid.ID)
			where = append(where, w)
		}
	}
	return who, where
}
