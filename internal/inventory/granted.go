package inventory

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

// A Permission is what an identity's grants let it do with one resource, as
// the provider writes it. Denials, boundaries and conditions are not weighed.
type Permission struct {
	Resource string   // as the provider writes it; * is every resource
	Service  string   // the part of the actions before the colon, when there is one only
	Actions  []string // sorted; * is every action
	Grants   []string // the names of the grants that say so
	Admin    bool
}

// maxPermissions bounds what is told of one identity.
const maxPermissions = 200

// Permissions reads what grants allow, by resource.
func Permissions(grants []nhi.Grant) []Permission {
	by := map[string]*Permission{}
	for _, g := range grants {
		if g.Kind == "trust" || g.Kind == "boundary" {
			continue
		}
		var doc struct{ Statement statementList }
		if json.Unmarshal([]byte(g.Document), &doc) != nil {
			continue
		}
		for _, st := range doc.Statement {
			if !strings.EqualFold(st.Effect, "Allow") || len(st.Action) == 0 {
				continue
			}
			for _, r := range st.Resource {
				p := by[r]
				if p == nil {
					p = &Permission{Resource: r}
					by[r] = p
				}
				p.Actions = append(p.Actions, st.Action...)
				p.Admin = p.Admin || g.Admin
				if !slices.Contains(p.Grants, g.Name) {
					p.Grants = append(p.Grants, g.Name)
				}
			}
		}
	}
	out := make([]Permission, 0, len(by))
	for _, p := range by {
		slices.Sort(p.Actions)
		p.Actions = slices.Compact(p.Actions)
		p.Service = service(p.Actions)
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Permission) int { return strings.Compare(a.Resource, b.Resource) })
	return out[:min(len(out), maxPermissions)]
}

// service returns the service that all actions belong to, if it is one.
func service(actions []string) string {
	out := ""
	for _, a := range actions {
		s, _, ok := strings.Cut(a, ":")
		if !ok || (out != "" && s != out) {
			return ""
		}
		out = s
	}
	return out
}

// Allows reports whether a permission's actions cover an action, by IAM's
// wildcards and without regard to case.
func (p *Permission) Allows(action string) bool {
	return slices.ContainsFunc(p.Actions, func(pattern string) bool { return fits(strings.ToLower(pattern), strings.ToLower(action)) })
}

// fits matches a text against a pattern of * and ?, in time proportional to
// the product of their lengths.
func fits(pattern, text string) bool {
	star, mark, i, j := -1, 0, 0, 0
	for j < len(text) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == text[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}
