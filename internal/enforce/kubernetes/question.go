package kubernetes

import (
	"context"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// An access is what somebody wants to do in a cluster. Exactly one of resource
// and path says to what.
type access struct {
	verb, namespace, group, resource, name, subresource string
	path                                                string // of what is no resource
}

// none stands in a path for what a review does not name.
const none = "-"

// single are the verbs that touch one object, which must have a name: without
// one the question is about all of them.
var single = map[string]bool{"get": true, "update": true, "patch": true, "delete": true}

// target returns the method and path by which routes are looked up. It is not
// ok for what names nothing in particular, or could be read in two ways.
func (a *access) target() (method, path string, ok bool) {
	if strings.Trim(a.verb, "abcdefghijklmnopqrstuvwxyz-") != "" || a.verb == "" {
		return "", "", false // other letters may have the same capitals
	}
	method = strings.ToUpper(a.verb)
	if a.path != "" {
		return method, "/paths" + a.path, a.path[0] == '/' && unambiguous(a.path) && !strings.Contains(a.path, "*")
	}
	group := a.group
	if group == "" {
		group = "core"
	}
	parts := [...]string{a.namespace, group, a.resource, a.name, a.subresource}
	var b strings.Builder
	b.WriteString("/resources")
	for i, part := range parts {
		if part == "" && i == len(parts)-1 {
			break
		}
		if part == "" {
			part = none
		} else if part == none && i != 3 || strings.ContainsAny(part, "/*") || !unambiguous(part) {
			return "", "", false
		}
		b.WriteByte('/')
		b.WriteString(part)
	}
	ok = a.resource != "" && a.name != none && (a.group != "core") && (a.name != "" || !single[a.verb])
	return method, b.String(), ok
}

// many are the verbs that touch all objects that there are of a resource.
var many = map[string]bool{"list": true, "watch": true, "deletecollection": true}

// everywhere reports whether the question may be about all namespaces at once: a
// resource that has none is asked about alike.
func (a *access) everywhere() bool { return a.path == "" && a.namespace == "" && many[a.verb] }

// oneNamespace reports whether a route is for any one namespace, {name}. All of
// them together are more than one of them: routes that say more of some would be
// passed by. So that takes a route with "-", or one that swallows all, {name...}.
func oneNamespace(operation string) bool {
	_, rest, _ := strings.Cut(operation, "/resources/")
	segment, _, _ := strings.Cut(rest, "/")
	return strings.HasPrefix(segment, "{") && !strings.HasSuffix(segment, "...}")
}

// unambiguous reports whether s is free of what a path would give a meaning of
// its own. Routes refuse the rest.
func unambiguous(s string) bool { return !strings.ContainsAny(s, "%?#;\\") }

// A hearing is one review on its way to an answer.
type hearing struct {
	question nhi.Question
	decision nhi.Decision
	refused  string // why the question is hopeless; empty when it is not
}

// hear puts the question to the decider, as of the API server's word.
func (h *Handler) hear(ctx context.Context, point *nhi.Point, user *User, a *access, id string) *hearing {
	out := &hearing{question: nhi.Question{ID: id, Point: point.ID, At: time.Now()}}
	q := &out.question
	q.Subject = nhi.Attested{Identity: h.c.Subjects.Subject(point.Name, user), KeyID: user.shown(), Method: "kubernetes", Asserted: true}
	method, path, ok := a.target()
	q.Operation, q.Host, q.Target = method, point.Name, path
	if !ok {
		q.Operation, q.Target = "", ""
		out.refused = "request-unreadable"
		return out
	}
	match, err := h.c.Routes.Match(method, point.Name, path)
	switch {
	case err == nil && a.everywhere() && oneNamespace(match.Operation):
		out.refused = "route-ambiguous"
	case err == enforce.ErrNoRoute:
		out.refused = "route-none"
	case err != nil:
		out.refused = "route-ambiguous"
	case !enforce.Guards(point, match.Resource):
		out.refused = "resource-not-guarded"
	default:
		q.Operation, q.Action, q.Resource = match.Operation, match.Action, match.Resource
		q.RouteSensitivity, q.RoutePurpose = match.Sensitivity, match.Purpose
	}
	return out
}

// decide asks. What the decider learned of the subject is in the question then.
func (h *Handler) decide(ctx context.Context, out *hearing) nhi.Outcome {
	out.decision = h.c.Decider.Decide(ctx, &out.question)
	return enforce.Settle(&out.decision, out.refused != "")
}

// dead reports whether the subject may do nothing anywhere.
func (out *hearing) dead() bool {
	k := &out.question.Known
	return k.Identity && k.IdentityState == nhi.Quarantined || k.Revoked
}

// words say what was decided: ids, and nothing else of the policies.
func (out *hearing) words(verdict string) string {
	var b strings.Builder
	b.WriteString("muster: ")
	b.WriteString(verdict)
	separate := " by "
	if out.refused != "" {
		b.WriteString(separate + out.refused)
		separate = ", "
	}
	for i := range out.decision.Reasons {
		if id := out.decision.Reasons[i].Policy; id != out.refused {
			b.WriteString(separate + id)
			separate = ", "
		}
	}
	for _, o := range out.decision.Obligations {
		if out.decision.Outcome != nhi.StepUp || out.refused != "" {
			break
		}
		b.WriteString("; needs " + string(o.Kind))
		if o.Value != "" {
			b.WriteString(" " + o.Value)
		}
	}
	if out.decision.ID != "" {
		b.WriteString("; decision " + out.decision.ID)
	}
	return b.String()
}
