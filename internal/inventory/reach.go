package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

// maxReach is how many lines a summary of reach has at most.
const maxReach = 12

// Reach says in a few lines what the grants of an identity let it touch, the
// widest first. It is a reading of what the grants allow, for a person in a
// hurry: denials, boundaries and resource policies are named, not weighed.
func (s *Service) Reach(ctx context.Context, id nhi.ID) ([]string, error) {
	grants, err := s.GrantsOf(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reach of %s: %w", id, err)
	}
	return ReachOf(grants), nil
}

// ReachOf is Reach for grants at hand.
func ReachOf(grants []nhi.Grant) []string {
	var admin, lines, notes []string
	for _, g := range grants {
		switch {
		case g.Kind == "trust":
			continue
		case g.Kind == "boundary":
			notes = append(notes, "narrowed by the boundary "+g.Name)
		case g.Admin:
			admin = append(admin, "every action on every resource ("+g.Name+")")
		default:
			allows, denies := statements(g)
			lines = append(lines, allows...)
			if denies {
				notes = append(notes, "narrowed by denials in "+g.Name)
			}
		}
	}
	slices.Sort(lines)
	slices.Sort(notes)
	out := append(admin, slices.Compact(lines)...)
	if n := len(out); n > maxReach {
		out = append(out[:maxReach:maxReach], fmt.Sprintf("and %d more", n-maxReach))
	}
	return append(out, slices.Compact(notes)...)
}

// A statement is one of an IAM policy, in AWS's grammar of JSON policies.
type statement struct {
	Effect      string
	Action      words
	NotAction   words
	Resource    words
	NotResource words
	Condition   json.RawMessage
}

// words is a string or a list of strings.
type words []string

// UnmarshalJSON takes both forms.
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// statementList is one statement or a list of them.
type statementList []statement

// UnmarshalJSON takes both forms.
func (l *statementList) UnmarshalJSON(b []byte) error {
	var one statement
	if len(b) > 0 && b[0] == '{' {
		err := json.Unmarshal(b, &one)
		*l = statementList{one}
		return err
	}
	return json.Unmarshal(b, (*[]statement)(l))
}

// statements reads what a grant allows, and whether it also denies. A grant
// that is not understood is named as it is.
func statements(g nhi.Grant) (allows []string, denies bool) {
	var doc struct{ Statement statementList }
	if err := json.Unmarshal([]byte(g.Document), &doc); err != nil || len(doc.Statement) == 0 {
		return []string{"what " + g.Name + " grants"}, false
	}
	for _, st := range doc.Statement {
		if !strings.EqualFold(st.Effect, "Allow") {
			denies = true
			continue
		}
		line := short(st.Action)
		if len(st.NotAction) > 0 {
			line = "everything but " + short(st.NotAction)
		}
		switch {
		case len(st.NotResource) > 0:
			line += " everywhere but on " + short(st.NotResource)
		case slices.Contains(st.Resource, "*"):
			line += " on every resource"
		default:
			line += " on " + short(st.Resource)
		}
		if len(st.Condition) > 2 {
			line += ", under conditions"
		}
		allows = append(allows, line)
	}
	return allows, denies
}

// short names the first three of a list.
func short(w words) string {
	const show = 3
	if len(w) <= show {
		return strings.Join(w, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(w[:show], ", "), len(w)-show)
}
