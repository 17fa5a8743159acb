package nhi

import "strings"

// A Scope is a part of the inventory: the identities that a team owns, those
// of an environment, or those of both at once. An empty field does not narrow.
type Scope struct {
	Team        string `json:"team,omitempty"`        // without "team:"
	Environment string `json:"environment,omitempty"` // name
}

// Holds reports whether an identity lies within the scope.
func (s Scope) Holds(i *Identity) bool {
	return (s.Team == "" || i.Owner.Ref == "team:"+s.Team) && (s.Environment == "" || i.Environment.Name == s.Environment)
}

// Scopes is the union of its members. Nil is everywhere; a list without
// members is nowhere.
type Scopes []Scope

// Holds reports whether an identity lies within one of the scopes.
func (s Scopes) Holds(i *Identity) bool {
	for _, scope := range s {
		if scope.Holds(i) {
			return true
		}
	}
	return s == nil
}

// Text is the scopes as a query compares them: empty for everywhere, else
// "[owner|environment]" for each. Names in scopes hold none of the three marks.
func (s Scopes) Text() string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("[nowhere]") // never empty: that would be everywhere
	for _, scope := range s {
		owner := ""
		if scope.Team != "" {
			owner = "team:" + scope.Team
		}
		b.WriteString("[" + owner + "|" + scope.Environment + "]")
	}
	return b.String()
}
