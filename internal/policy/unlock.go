package policy

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
)

// StepUpWords says for people what a step-up asks for; empty for none.
func StepUpWords(k nhi.StepUpKind) string {
	switch k {
	case nhi.StepReattest:
		return "have the workload attested anew, and present that attestation"
	case nhi.StepBind:
		return "present a credential that is bound to a key"
	case nhi.StepApprove:
		return "have it approved by people"
	case nhi.StepNarrow:
		return "present a credential that is good for less"
	}
	return ""
}

// unlock says what would have to be different for r not to stand in the way: a
// forbid not to match, or a permit to match.
func (x *explainer) unlock(r *rule) Unlock {
	out := Unlock{Policy: string(r.id), StepUp: r.stepUp, Words: StepUpWords(r.stepUp)}
	all := [][]Change{{}}
	x.steps = 0
	for _, c := range clause.Of((*ast.Policy)(r.policy.AST())) {
		switch {
		case r.permit:
			all = both(all, x.ways(c.Node, c.Want))
		case c.Name != "scope": // another caller is no answer to this one
			out.Ways = either(out.Ways, x.ways(c.Node, !c.Want))
		}
	}
	if r.permit {
		out.Ways = all
	}
	// A part that stands in a condition twice can undo what it does.
	out.Ways = slices.DeleteFunc(out.Ways, func(way []Change) bool { return x.matches(r, way) != truthOf(r.permit) })
	if out.Words == "" && len(out.Ways) == 0 {
		out.Words = "no few things about the request would; the policy itself has to be changed"
	} else if out.Words == "" {
		out.Words = "have one of these come out differently"
		if r.permit {
			out.Words = "meet what this policy permits, or have one written that permits this"
		}
	}
	return out
}

// ways returns what would have to change for n to come to want; an empty way
// when nothing would.
func (x *explainer) ways(n ast.IsNode, want bool) [][]Change {
	if t := x.truth(n); want && t == IsTrue || !want && t == IsFalse {
		return [][]Change{{}}
	}
	join, inner := clause.Split(n)
	if x.steps++; x.steps > maxSteps { // what is inside is not looked at any more
		join = ""
	}
	switch {
	case join == "not":
		return x.ways(inner[0], !want)
	case join == "if":
		return either(both(x.ways(inner[0], true), x.ways(inner[1], want)), both(x.ways(inner[0], false), x.ways(inner[2], want)))
	case join == "":
		if v, ok := n.(ast.NodeValue); ok && v.Value != nil {
			return nil // true stays true
		}
		return [][]Change{{{Text: shorten(clause.Text(n), maxPartText), Want: want, Values: x.values(n)}}}
	case (join == "and") == want: // every operand
		out := [][]Change{{}}
		for _, operand := range inner {
			if out = both(out, x.ways(operand, want)); len(out) == 0 {
				break
			}
		}
		return out
	}
	var out [][]Change
	for _, operand := range inner {
		if out = either(out, x.ways(operand, want)); len(out) == maxWays {
			break
		}
	}
	return out
}

func truthOf(b bool) Truth {
	if b {
		return IsTrue
	}
	return IsFalse
}

// matches says whether r would match if what a way changes came out as it wants.
func (x *explainer) matches(r *rule, way []Change) Truth {
	for _, c := range clause.Of((*ast.Policy)(r.policy.AST())) {
		switch x.supposing(c.Node, way) {
		case IsError:
			return IsError
		case truthOf(!c.Want):
			return IsFalse
		}
	}
	return IsTrue
}

// supposing evaluates n as if what a way changes came out as it wants. What errs
// still errs: nothing after it is reached.
func (x *explainer) supposing(n ast.IsNode, way []Change) Truth {
	join, inner := clause.Split(n)
	switch join {
	case "not":
		t := x.supposing(inner[0], way)
		if t == IsError {
			return t
		}
		return truthOf(t == IsFalse)
	case "if":
		switch x.supposing(inner[0], way) {
		case IsTrue:
			return x.supposing(inner[1], way)
		case IsFalse:
			return x.supposing(inner[2], way)
		}
		return IsError
	case "and", "or":
		for _, operand := range inner {
			if t := x.supposing(operand, way); t != truthOf(join == "and") {
				return t
			}
		}
		return truthOf(join == "and")
	}
	text := shorten(clause.Text(n), maxPartText)
	for _, c := range way {
		if c.Text == text {
			return truthOf(c.Want)
		}
	}
	return x.truth(n)
}

// either returns the ways of a and of b, the shortest first and no more than
// are shown.
func either(a, b [][]Change) [][]Change {
	out := slices.Concat(a, b)
	slices.SortStableFunc(out, func(a, b []Change) int { return len(a) - len(b) })
	return out[:min(len(out), maxWays)]
}

// both returns the ways that are one of a and one of b.
func both(a, b [][]Change) [][]Change {
	var out [][]Change
	for _, first := range a {
		for _, second := range b {
			if way := slices.Concat(first, second); len(way) <= maxChanges {
				out = append(out, way)
			}
		}
	}
	return either(out, nil)
}

// values returns the attributes that a leaf reads, with what they are.
func (x *explainer) values(n ast.IsNode) []Input {
	var out []Input
	add := func(name string, node ast.IsNode) {
		name = shorten(name, maxPartText)
		if len(out) < maxValues && !slices.ContainsFunc(out, func(i Input) bool { return i.Name == name }) {
			out = append(out, Input{Name: name, Value: x.value(node), From: x.provenance(name)})
		}
	}
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		switch t := n.(type) {
		case ast.NodeTypeHas:
			if name := clause.Attribute(t.Arg); name != "" {
				name += "." + string(t.Value)
				add(name, ast.NewNode(t.Arg).Access(t.Value).AsIsNode())
				return false
			}
		case ast.NodeTypeAccess, ast.NodeTypeVariable:
			if name := clause.Attribute(n); name != "" && name != "context" {
				add(name, n)
				return false
			}
		}
		return true
	})
	return out
}

func (x *explainer) value(n ast.IsNode) string {
	v, err := eval.Eval(n, x.env)
	if err != nil || v == nil {
		return "absent"
	}
	return shorten(string(v.MarshalCedar()), maxPartText)
}

// provenances says where what policies read comes from. A name that is not
// listed comes from where its beginning does.
var provenances = map[string]string{
	"principal": "token", "principal.known": "inventory", "principal.state": "inventory", "principal.owned": "inventory",
	"principal.environment": "inventory", "principal.class": "inventory", "principal.risk": "detector",
	"action": "point", "resource": "point",
	"resource.labelled": "inventory", "resource.sensitivity": "inventory", "resource.environment": "inventory", "resource.class": "inventory",
	"resource.service": "inventory", "resource.region": "inventory", "resource.jurisdiction": "inventory",
	"context.credential": "token", "context.credential.known": "inventory", "context.credential.state": "inventory", "context.credential.pinned": "inventory",
	"context.credential.revoked": "inventory", "context.credential.expired": "token", "context.credential.consumerProven": "token",
	"context.assurance": "token", "context.method": "token", "context.senderBound": "token", "context.asserted": "point",
	"context.attestation": "token", "context.location": "token", "context.device": "token", "context.purpose": "token", "context.delegation": "token",
	"context.approval": "people", "context.now": "clock", "context.zones": "clock",
	"context.newNetwork": "detector", "context.newCountry": "detector", "context.newAction": "detector", "context.newAgent": "detector",
	"context.surprise": "detector", "context.rate": "detector",
	"context.country": "geography", "context.asn": "geography", "context.network": "geography",
	"context.agent": "point", "context.interactive": "point", "context.operation": "point", "context.point": "point", "context.address": "point",
}

func (x *explainer) provenance(name string) string {
	for name != "" {
		if from, ok := provenances[name]; ok {
			if from == "token" && x.q.Subject.Asserted {
				return "point" // it says who asks, and nothing was proven
			}
			return from
		}
		name = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	return ""
}

// inputs returns everything that policies can read of the question.
func (x *explainer) inputs() []Input {
	out := []Input{
		{"principal", string(x.e.Principal.MarshalCedar()), x.provenance("principal")},
		{"action", string(x.e.Action.MarshalCedar()), x.provenance("action")},
		{"resource", string(x.e.Resource.MarshalCedar()), x.provenance("resource")},
	}
	record := func(name string, r types.Record) {
		for _, key := range slices.Sorted(r.Keys()) {
			v, _ := r.Get(key)
			full := name + "." + string(key)
			out = append(out, Input{full, shorten(string(v.MarshalCedar()), maxPartText), x.provenance(full)})
		}
	}
	for _, entity := range []struct {
		name string
		uid  types.EntityUID
	}{{"principal", x.full.Principal}, {"resource", x.full.Resource}, {"context.credential", x.full.Credential}} {
		of, _ := x.full.Get(entity.uid)
		record(entity.name, of.Attributes)
	}
	record("context", x.full.Cedar().Context)
	for i := range out {
		out[i].Value = shorten(out[i].Value, maxPartText)
	}
	return out
}
