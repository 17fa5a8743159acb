package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

// lint warns of policies that load and hardly do what was meant. The guards
// are looked at as what others may be in the shadow of, and are not judged.
func (l *loader) lint() {
	byScope := map[scopeKey][]int{}
	for i, r := range l.rules {
		key := scopeKey{r.scope.principal, r.scope.resource}
		byScope[key] = append(byScope[key], i)
	}
	for i, r := range l.rules {
		if !r.guard {
			if why := l.doubtful(i, r, byScope); why != "" {
				l.doubt(r, why)
			}
		}
	}
}

// maxCompared bounds the policies of one scope that a policy is compared with.
const maxCompared = 1000

// doubtful says what is doubtful about the ith rule, empty when nothing is.
func (l *loader) doubtful(i int, r *rule, byScope map[scopeKey][]int) string {
	if r.stepUp != "" && !unlockable(r) {
		return fmt.Sprintf("nothing unlocks it: a forbid with @stepup(%q) has to ask for what it wants, as in unless { %s }", r.stepUp, asks[r.stepUp].example)
	}
	if r.permit && r.scope.unscoped() && !conditional(r) {
		return "it permits every identity of its kinds everything that its actions allow; name a principal or a resource"
	}
	var any types.EntityUID
	keys := []scopeKey{{any, any}, {r.scope.principal, any}, {any, r.scope.resource}, {r.scope.principal, r.scope.resource}}
	for n, key := range keys {
		if slices.Contains(keys[:n], key) {
			continue
		}
		same := byScope[key]
		for _, j := range same[:min(len(same), maxCompared)] {
			if i == j {
				continue
			}
			if why := overshadowed(r, l.rules[j], j < i); why != "" {
				return why
			}
		}
	}
	return ""
}

// overshadowed says why r never matters beside other, empty when it may.
func overshadowed(r, other *rule, earlier bool) string {
	switch whole := !conditional(other) && !other.guard; {
	case !other.covers(r):
		return ""
	case whole && !other.permit && other.stepUp == "" && (r.permit || r.scope != other.scope || conditional(r) || earlier):
		return fmt.Sprintf("it never decides: %s forbids all that it is about", other.named())
	case whole && other.permit && r.permit && (r.scope != other.scope || conditional(r) || earlier):
		return fmt.Sprintf("it adds nothing: %s permits all that it is about", other.named())
	case earlier && !other.guard && other.permit == r.permit && other.stepUp == r.stepUp && r.scope == other.scope && conditions(r) == conditions(other):
		return fmt.Sprintf("it says the same as %s", other.named())
	}
	return ""
}

func (l *loader) doubt(r *rule, reason string) {
	at := r.policy.Position()
	l.problem(Problem{File: at.Filename, Line: at.Line, Column: at.Column, Policy: string(r.id), Warning: true, Reason: reason})
}

func (r *rule) named() string { return fmt.Sprintf("policy %q (%s)", r.id, r.reason.Position) }

// asks says for each kind of step-up which attributes show that it was done.
var asks = map[nhi.StepUpKind]struct {
	uses    request.Attr
	example string
}{
	nhi.StepApprove:  {request.Attrs("approval"), "context has approval"},
	nhi.StepReattest: {request.Attrs("attestation", "location", "device", "assurance"), "context has attestation && context.attestation.age <= 900"},
	nhi.StepBind:     {request.Attrs("senderBound", "assurance", "consumerProven", "credential", "attestation"), "context.senderBound"},
	nhi.StepNarrow:   {request.AttrAll, ""}, // by asking for less: any attribute may tell
}

// unlockable reports whether a forbid looks at what its step-up would change.
func unlockable(r *rule) bool {
	return r.sees.Uses&asks[r.stepUp].uses != 0 || r.stepUp == nhi.StepNarrow && (r.scope.actions != 1<<len(request.Actions)-1 || !r.scope.unscoped())
}

func conditional(r *rule) bool { return len((*ast.Policy)(r.policy.AST()).Conditions) > 0 }

// conditions is what a policy says after its head, to compare it.
func conditions(r *rule) string {
	text := ""
	for _, c := range (*ast.Policy)(r.policy.AST()).Conditions {
		text += fmt.Sprintf("%v %#v;", c.Condition, c.Body)
	}
	return text
}

// covers reports whether r's head matches wherever other's does.
func (r *rule) covers(other *rule) bool {
	a, b := r.scope, other.scope
	return (a.principal == (types.EntityUID{}) || a.principal == b.principal) &&
		(a.principalType == "" || a.principalType == b.principalType) &&
		(a.resource == (types.EntityUID{}) || a.resource == b.resource) &&
		a.actions&b.actions == b.actions
}
