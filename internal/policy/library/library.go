// Package library reads a folder of policies as people keep it in git:
//
//	policies.cedar         one file that may stand alone
//	policies/**/*.cedar    any number of files, each of one or many policies
//	policies/**/tests/**   tests of what lies beside them, as in tests/
//	grants/**/*.yaml       grants that are written from templates
//	tests/**/*.yaml        what the policies must answer
//
// Every policy has an @id that no other policy of the folder has. A grant names a
// template, an id and the template's parameters; the Cedar text that results lies
// beside it, under generated/, so that what was put into force is what was read,
// whatever a later release makes of the template:
//
//	grants:
//	  - id: reports-read
//	    template: grant
//	    with: {principal: nhi_v6w2kopezgzwfpmsgulnrizwq4, resource: ledger, until: 2027-01-31}
//
// [Read] writes the grants, and [Library.Check] says what is wrong with the whole.
// A problem names the file and line that a person wrote: what is wrong with the
// text of a grant is said of the grant. Which templates there are is told by
// whoever calls.
package library

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/strictyaml"
)

// The folders of a library.
const (
	Policies  = "policies/"
	Grants    = "grants/"
	Tests     = "tests/"
	Generated = "generated/"
)

// MaxGrants bounds the grants of one file.
const MaxGrants = 5000

// A Render writes the policy of a template with this @id. The error says what is
// wrong with the parameters.
type Render func(template, id string, with map[string]string) (string, error)

// A Grant is one entry of a file of grants.
type Grant struct {
	ID       string            `yaml:"id"`
	Template string            `yaml:"template"`
	With     map[string]string `yaml:"with"`
}

// A file is a file of grants.
type file struct {
	Grants []Grant `yaml:"grants"`
}

// A Library is a folder that was read. It does not change.
type Library struct {
	files   map[string]string
	origins map[string][]origin // of generated files
}

// An origin says which grant the lines of a generated file come from.
type origin struct {
	first int // line of the generated file from which on it is so
	file  string
	line  int
}

// Read writes the grants of files, which are name to text. The problems are those
// of the grants; with any that is no warning, there is no library. Generated files
// that are given must be what is written.
func Read(files map[string]string, render Render) (*Library, []policy.Problem) {
	l := &Library{files: map[string]string{}, origins: map[string][]origin{}}
	var problems []policy.Problem
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, Generated) {
			continue
		}
		l.files[name] = files[name]
		if strings.HasPrefix(name, Grants) {
			problems = append(problems, l.write(name, render)...)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, Generated) && files[name] != l.files[name] {
			problems = append(problems, policy.Problem{File: name, Reason: "is not what the grants amount to; leave the folder generated/ out, it is written from grants/"})
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return l, nil
}

// generatedName is where the text of a file of grants lies.
func generatedName(grants string) string {
	return Generated + strings.TrimSuffix(strings.TrimPrefix(grants, Grants), ".yaml") + ".cedar"
}

// write writes what a file of grants amounts to.
func (l *Library) write(name string, render Render) []policy.Problem {
	body := []byte(l.files[name])
	var f file
	if err := strictyaml.Decode(name, body, &f); err != nil {
		return []policy.Problem{problemOf(name, err)}
	}
	if len(f.Grants) > MaxGrants {
		return []policy.Problem{{File: name, Reason: fmt.Sprintf("%d grants, at most %d are allowed in a file", len(f.Grants), MaxGrants)}}
	}
	places := strictyaml.Places(body)
	var problems []policy.Problem
	var text strings.Builder
	fmt.Fprintf(&text, "// Written from %s; change that file.\n", name)
	out, lines := generatedName(name), 2
	for i, g := range f.Grants {
		at := place(places, i)
		one, err := render(g.Template, g.ID, g.With)
		if err != nil {
			problems = append(problems, policy.Problem{File: name, Line: at.Line, Column: at.Column, Policy: g.ID, Reason: err.Error()})
			continue
		}
		l.origins[out] = append(l.origins[out], origin{first: lines, file: name, line: at.Line})
		fmt.Fprintf(&text, "\n%s", one)
		lines += 1 + strings.Count(one, "\n")
	}
	if len(f.Grants) > 0 {
		l.files[out] = text.String()
	}
	return problems
}

// place is where the ith grant begins.
func place(places map[string]strictyaml.Place, i int) strictyaml.Place {
	var first strictyaml.Place
	for _, key := range []string{"", ".id", ".template", ".with"} {
		if p, ok := places[fmt.Sprintf("grants[%d]%s", i, key)]; ok && (first.Line == 0 || p.Line < first.Line) {
			first = p
		}
	}
	return first
}

func problemOf(name string, err error) policy.Problem {
	var at *strictyaml.Error
	if errors.As(err, &at) {
		return policy.Problem{File: name, Line: at.Line, Column: at.Column, Reason: at.Reason}
	}
	return policy.Problem{File: name, Reason: err.Error()}
}

// Files are all files by name, those that were written with them.
func (l *Library) Files() map[string]string { return maps.Clone(l.files) }

// Policies are the files that Cedar reads.
func (l *Library) Policies() map[string]string {
	return pick(l.files, func(name string) bool { return strings.HasSuffix(name, ".cedar") })
}

// TestFiles are the files of tests: in [Tests], and beside policies, where a library
// has no YAML but in folders of that name.
func (l *Library) TestFiles() map[string]string {
	return pick(l.files, func(name string) bool {
		return strings.HasPrefix(name, Tests) || strings.HasPrefix(name, Policies) && strings.HasSuffix(name, ".yaml")
	})
}

// Source is a library as people wrote it: files without those that are generated.
func Source(files map[string]string) map[string]string {
	return pick(files, func(name string) bool { return !strings.HasPrefix(name, Generated) })
}

func pick(files map[string]string, want func(string) bool) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		if want(name) {
			out[name] = text
		}
	}
	return out
}

// Check returns everything that is wrong or doubtful in the policies, each at the
// file and line that a person wrote.
func (l *Library) Check() []policy.Problem {
	problems := policy.Check(l.Policies())
	for i := range problems {
		problems[i] = l.Locate(problems[i])
	}
	return problems
}

// Locate moves a problem of a generated file to the grant that it comes from.
func (l *Library) Locate(p policy.Problem) policy.Problem {
	for _, o := range slices.Backward(l.origins[p.File]) {
		if p.Line >= o.first {
			p.File, p.Line, p.Column = o.file, o.line, 1
			break
		}
	}
	return p
}
