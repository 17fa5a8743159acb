// Package template writes policies from typed parameters, so that nobody has
// to know Cedar to say "only from these networks" or "not at night".
//
// A [Template] is a piece of Cedar with parameters, each of a kind that says how
// it is written and what it becomes. [Template.Render] checks the values and
// writes the policy; what it writes is ordinary Cedar for a file of one's own,
// to be read, kept in version control and changed like any other. It carries
// @template with the template's name and version, so that it can be told what
// came from where.
//
//	name + values -> checked -> Cedar text -> policy check -> policy apply
//
// A template never widens what is allowed, except grant: the others forbid what
// is not as they say. What a value says is quoted as Cedar quotes text, so no
// value can end a literal and begin a policy of its own.
package template

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// A Parameter is one thing that a template wants to know.
type Parameter struct {
	Name     string `json:"name"`
	Kind     Kind   `json:"kind"`
	Doc      string `json:"doc"`                // a line for people
	Default  string `json:"default,omitempty"`  // when no value is given
	Required bool   `json:"required,omitempty"` // there is no default
}

// A Template is a policy with parameters.
type Template struct {
	Name       string      `json:"name"`
	Doc        string      `json:"doc"`
	Version    int         `json:"version"`
	Parameters []Parameter `json:"parameters"`

	check func(values) error // what the parameters must be together; nil: nothing
}

// values are parsed parameters by name.
type values map[string]any

//go:embed cedar/*.cedar
var texts embed.FS

var parsed = template.Must(template.New("").Funcs(template.FuncMap{
	"quote": policy.Quote, "set": set, "ranges": ranges, "within": within, "terms": terms, "scoped": scoped, "before": before,
	"inc": func(n int) int { return n + 1 },
}).ParseFS(texts, "cedar/*.cedar"))

// All returns the templates that are shipped, by name.
func All() []*Template { return slices.Clone(shipped) }

// ByName returns a template. The error wraps nhi.ErrNotFound and names those
// that there are.
func ByName(name string) (*Template, error) {
	names := make([]string, 0, len(shipped))
	for _, t := range shipped {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return nil, fmt.Errorf("template %.64q: %w; there are %s", name, nhi.ErrNotFound, strings.Join(names, ", "))
}

// Render writes the policy with this @id. Values are as people write them, see
// [Kind]. The error wraps nhi.ErrInvalid and names the parameter.
func (t *Template) Render(id string, given map[string]string) (string, error) {
	if !validID(id) {
		return "", nhi.Invalidf("id %.64q: give the policy an id of a-z, 0-9, '.', '_', '/' and '-', at most %d long", id, maxID)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) { // before what is missing: it may be misspelt
		if !slices.Contains(t.names(), name) {
			return "", nhi.Invalidf("template %s has no parameter %.64q; it has %s", t.Name, name, strings.Join(t.names(), ", "))
		}
	}
	v := values{"id": id, "template": fmt.Sprintf("%s/%d", t.Name, t.Version)}
	for _, p := range t.Parameters {
		value, err := p.value(given)
		if err != nil {
			return "", nhi.Invalidf("template %s: parameter %s: %v", t.Name, p.Name, err)
		}
		v[p.Name] = value
	}
	if t.check != nil {
		if err := t.check(v); err != nil {
			return "", nhi.Invalidf("template %s: %v", t.Name, err)
		}
	}
	var out strings.Builder
	if err := parsed.ExecuteTemplate(&out, t.Name+".cedar", v); err != nil {
		return "", fmt.Errorf("render template %s: %w", t.Name, err)
	}
	return strings.TrimSpace(out.String()) + "\n", nil
}

func (t *Template) names() []string {
	out := make([]string, 0, len(t.Parameters))
	for _, p := range t.Parameters {
		out = append(out, p.Name)
	}
	return out
}

// value parses what was given for p, or its default.
func (p *Parameter) value(given map[string]string) (any, error) {
	text, ok := given[p.Name]
	text = strings.TrimSpace(text)
	if !ok || text == "" {
		if p.Required {
			return nil, fmt.Errorf("is missing: %s, %s", p.Doc, p.Kind.wants())
		}
		text = p.Default
	}
	value, err := p.Kind.parse(text)
	if err != nil {
		return nil, fmt.Errorf("%.64q: %w", text, err)
	}
	return value, nil
}

const maxID = 100 // leaves room for what a template appends

func validID(id string) bool {
	for i, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._/-", rune(c))) {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

// set writes texts or numbers as a Cedar set.
func set(of any) string {
	var out []string
	switch of := of.(type) {
	case []string:
		for _, s := range of {
			out = append(out, policy.Quote(s))
		}
	case []int:
		for _, n := range of {
			out = append(out, fmt.Sprint(n))
		}
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// ranges is true when the address is in one of the networks.
func ranges(networks []string) string {
	var out []string
	for _, n := range networks {
		out = append(out, "context.address.isInRange(ip("+policy.Quote(n)+"))")
	}
	return strings.Join(out, " || ")
}

// terms are the parts of a condition that all have to hold.
func terms(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " && ")
}

// within is true when an optional attribute is there and is one of the values;
// empty when there are no values to be one of.
func within(record, name string, of []string) string {
	if len(of) == 0 {
		return ""
	}
	return fmt.Sprintf("%s has %s && %s.contains(%s.%s)", record, name, set(of), record, name)
}

// before is true until a day has begun; empty without one.
func before(day string) string {
	if day == "" {
		return ""
	}
	return "context.now < datetime(" + policy.Quote(day) + ")"
}

// scoped is true when the resource is one of those named, or in one of the
// environments named.
func scoped(resources []who) string {
	var out []string
	for _, r := range resources {
		out = append(out, "resource "+r.resource())
	}
	return strings.Join(out, " || ")
}
