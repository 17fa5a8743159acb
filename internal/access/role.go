package access

import (
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

// A Right is something that a caller may do.
type Right string

// The rights. Every route of the interface needs exactly one of them.
const (
	Read       Right = "read"       // everything that no other right covers
	Triage     Right = "triage"     // status of findings, owners, saved views
	Respond    Right = "respond"    // contain, undo, state of credentials, revoke
	Administer Right = "administer" // documents, points, sources, people, tokens, settings
	Audit      Right = "audit"      // audit log, checkpoints, exports
	Report     Right = "report"     // receive logs and texts, sightings, fingerprint evaluation
)

// AllRights lists the rights in the order in which they are shown.
var AllRights = []Right{Read, Triage, Respond, Administer, Audit, Report}

// A Role is a named set of rights.
type Role string

// The roles.
const (
	Viewer    Role = "viewer"
	Analyst   Role = "analyst"
	Responder Role = "responder"
	Admin     Role = "admin"
	Auditor   Role = "auditor"
)

// AllRoles lists the roles in the order in which they are shown.
var AllRoles = []Role{Viewer, Analyst, Responder, Admin, Auditor}

// Rights returns what a role may do, in the order of AllRights. A role that
// nobody knows may nothing.
func (r Role) Rights() []Right {
	switch r {
	case Viewer:
		return []Right{Read}
	case Analyst:
		return []Right{Read, Triage}
	case Responder:
		return []Right{Read, Triage, Respond}
	case Auditor:
		return []Right{Read, Audit}
	case Admin:
		return slices.Clone(AllRights)
	}
	return nil
}

// A Grant gives a role, everywhere or within a scope.
type Grant struct {
	Role Role `json:"role"`
	nhi.Scope
}

// Check returns an error wrapping nhi.ErrInvalid when the role is unknown, or
// a name of its scope could not be one.
func (g Grant) Check() error {
	if !slices.Contains(AllRoles, g.Role) {
		return nhi.Invalidf("role %.40q: want one of %v", g.Role, AllRoles)
	}
	for _, f := range []struct{ what, name string }{{"team", g.Team}, {"environment", g.Environment}} {
		if len(f.name) > 100 || strings.ContainsFunc(f.name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("[|]", r) }) {
			return nhi.Invalidf("%s %.40q: at most 100 characters, no blanks and none of [ | ]", f.what, f.name)
		}
	}
	if strings.HasPrefix(g.Team, "team:") {
		return nhi.Invalidf("team %q: write %q", g.Team, strings.TrimPrefix(g.Team, "team:"))
	}
	return nil
}

// everywhere is what administers the whole installation.
var everywhere = []Grant{{Role: Admin}}

// A Permit is a set of rights within a scope.
type Permit struct {
	Rights []Right // in the order of AllRights
	nhi.Scope
}

// Permits is all that a caller may do: the union of its members. None is
// nothing.
type Permits []Permit

// PermitsOf returns what grants allow.
func PermitsOf(grants []Grant) Permits {
	var out Permits
	for _, g := range grants {
		if rights := g.Role.Rights(); len(rights) > 0 {
			out = append(out, Permit{rights, g.Scope})
		}
	}
	return out
}

// May reports whether a right is held, be it only within a scope.
func (p Permits) May(right Right) bool {
	return slices.ContainsFunc(p, func(one Permit) bool { return slices.Contains(one.Rights, right) })
}

// MayEverywhere reports whether a right is held without a scope.
func (p Permits) MayEverywhere(right Right) bool {
	return slices.ContainsFunc(p, func(one Permit) bool { return one.Scope == nhi.Scope{} && slices.Contains(one.Rights, right) })
}

// Within returns where a right is held: nil is everywhere, an empty list
// nowhere.
func (p Permits) Within(right Right) nhi.Scopes {
	if p.MayEverywhere(right) {
		return nil
	}
	out := nhi.Scopes{}
	for _, one := range p {
		if slices.Contains(one.Rights, right) && !slices.Contains(out, one.Scope) {
			out = append(out, one.Scope)
		}
	}
	return out
}

// Rights returns every right that is held somewhere, in the order of
// AllRights.
func (p Permits) Rights() []Right {
	return slices.DeleteFunc(slices.Clone(AllRights), func(r Right) bool { return !p.May(r) })
}

// Only narrows permits to some rights.
func (p Permits) Only(rights []Right) Permits {
	var out Permits
	for _, one := range p {
		if both := common(one.Rights, rights); len(both) > 0 {
			out = append(out, Permit{both, one.Scope})
		}
	}
	return out
}

// And returns what both allow: a token never allows more than who made it.
func (p Permits) And(other Permits) Permits {
	var out Permits
	for _, a := range p {
		for _, b := range other {
			rights := common(a.Rights, b.Rights)
			scope, ok := overlap(a.Scope, b.Scope)
			if ok && len(rights) > 0 {
				out = append(out, Permit{rights, scope})
			}
		}
	}
	return out
}

// Cover reports whether every part of other lies within p.
func (p Permits) Cover(other Permits) bool {
	for _, o := range other {
		for _, right := range o.Rights {
			if !slices.ContainsFunc(p, func(one Permit) bool {
				both, ok := overlap(one.Scope, o.Scope)
				return ok && both == o.Scope && slices.Contains(one.Rights, right)
			}) {
				return false
			}
		}
	}
	return true
}

func common(a, b []Right) []Right {
	return slices.DeleteFunc(slices.Clone(a), func(r Right) bool { return !slices.Contains(b, r) })
}

// overlap returns the scope that lies in both, if there is one.
func overlap(a, b nhi.Scope) (nhi.Scope, bool) {
	team, ok := narrower(a.Team, b.Team)
	environment, also := narrower(a.Environment, b.Environment)
	return nhi.Scope{Team: team, Environment: environment}, ok && also
}

func narrower(a, b string) (string, bool) {
	switch {
	case a == "" || a == b:
		return b, true
	case b == "":
		return a, true
	}
	return "", false
}
