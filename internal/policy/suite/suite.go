// Package suite tests policies: a file of cases stands beside the policies and
// says of a request what they must answer.
//
//	tests:
//	  - name: the report job reads the ledger
//	    principal: {id: nhi_v6w2kopezgzwfpmsgulnrizwq4, kind: ci-job}
//	    resource: {id: ledger/api, sensitivity: 2}
//	    action: read
//	    expect: allow
//	    table:
//	      - {name: and never writes, action: write, expect: deny, policies: [reports-only-read]}
//	      - {name: from a new network it proves more, context: {new_network: true}, expect: step-up(bind)}
//
// A case says only what matters. What it leaves out is as for a caller that
// nothing is wrong with and that proved nothing beyond a short-lived token:
// see [Facts]. [Parse] reads a file, [Run] asks a [policy.Set] every case and
// says which ones it answers otherwise, why, and which policies determined no
// case at all. Nothing is read or written but what is given.
package suite

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/strictyaml"
)

// Limits on what is read: test files come from outside, like policies.
const (
	MaxFileBytes = 1 << 20 // of one file
	MaxCases     = 20_000  // of one file, rows of tables counted
	maxName      = 200     // bytes
	maxText      = 512     // bytes of any other text
	maxList      = 64      // entries
)

// A Suite is a file of cases.
type Suite struct {
	File  string
	Cases []Case
}

// A Case is one request and what policies must answer to it.
type Case struct {
	Name   string // with the row's behind it
	Line   int    // in the file, from 1
	Expect Expectation
	// Policies must be among those that determined the answer.
	Policies []string

	question nhi.Question
}

// Question returns the request, a copy.
func (c *Case) Question() nhi.Question { return c.question }

// An Expectation is what a case wants to be answered.
type Expectation struct {
	Outcome nhi.Outcome
	// StepUp are the kinds of a step-up, sorted; empty when any will do.
	StepUp []nhi.StepUpKind
}

// String is allow, deny, step-up or step-up(bind).
func (e Expectation) String() string {
	if len(e.StepUp) == 0 {
		return string(e.Outcome)
	}
	kinds := make([]string, 0, len(e.StepUp))
	for _, k := range e.StepUp {
		kinds = append(kinds, string(k))
	}
	return fmt.Sprintf("%s(%s)", e.Outcome, strings.Join(kinds, ", "))
}

// met reports whether r is what is wanted.
func (e Expectation) met(r *nhi.Ruling) bool {
	return r.Outcome == e.Outcome && (len(e.StepUp) == 0 || slices.Equal(e.StepUp, r.StepUp))
}

// document is a file as people write it.
type document struct {
	Defaults Facts  `yaml:"defaults"` // that every case begins with
	Tests    []test `yaml:"tests"`
}

// test is a case, or with rows several that begin alike.
type test struct {
	Name     string `yaml:"name"`
	Facts    `yaml:",inline"`
	Expect   string   `yaml:"expect"`
	Policies []string `yaml:"policies"`
	Table    []row    `yaml:"table"`
}

type row struct {
	Name     string `yaml:"name"`
	Facts    `yaml:",inline"`
	Expect   string   `yaml:"expect"`
	Policies []string `yaml:"policies"`
}

// Parse reads a file of cases. The error names file, line and reason, and wraps
// nhi.ErrInvalid or nhi.ErrTooLarge.
func Parse(file string, data []byte) (*Suite, error) {
	if len(data) > MaxFileBytes {
		return nil, fmt.Errorf("%s: %d bytes of tests, at most %d are read: %w", file, len(data), MaxFileBytes, nhi.ErrTooLarge)
	}
	var doc document
	if err := strictyaml.Decode(file, data, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", err, nhi.ErrInvalid)
	}
	r := reader{file: file, places: strictyaml.Places(data), seen: map[string]int{}}
	if err := doc.Defaults.check(); err != nil {
		return nil, r.errorf("defaults", "%v", err)
	}
	if len(doc.Tests) == 0 {
		return nil, r.errorf("tests", "the file holds no tests; write them under tests:")
	}
	for i := range doc.Tests {
		if err := r.test(fmt.Sprintf("$.tests[%d]", i), doc.Defaults, &doc.Tests[i]); err != nil {
			return nil, err
		}
	}
	return &Suite{File: file, Cases: r.cases}, nil
}

// A reader makes cases of what was decoded.
type reader struct {
	file   string
	places map[string]strictyaml.Place
	cases  []Case
	seen   map[string]int // names, with their lines
}

// line returns where what has this path begins.
func (r *reader) line(path string) int {
	path = strings.TrimPrefix(path, "$.")
	first := 0
	for _, key := range []string{"", ".name", ".expect", ".action", ".principal", ".credential", ".resource", ".context", ".policies", ".table"} {
		if at, ok := r.places[path+key]; ok && (first == 0 || at.Line < first) {
			first = at.Line
		}
	}
	return first
}

func (r *reader) errorf(path, format string, args ...any) error {
	return fmt.Errorf("%w: %w", &strictyaml.Error{File: r.file, Line: r.line(path), Column: 1, Reason: fmt.Sprintf(format, args...)}, nhi.ErrInvalid)
}

// test makes the cases of t.
func (r *reader) test(path string, defaults Facts, t *test) error {
	if t.Name == "" {
		return r.errorf(path, "a test has no name; say in it what must hold")
	}
	facts := defaults.with(t.Facts)
	if t.Expect == "" && len(t.Table) == 0 {
		return r.errorf(path, "test %.80q expects nothing; write expect: allow, deny or step-up(bind)", t.Name)
	}
	if t.Expect != "" {
		if err := r.add(path, t.Name, facts, t.Expect, t.Policies); err != nil {
			return err
		}
	}
	for i := range t.Table {
		w := &t.Table[i]
		name := w.Name
		if name == "" {
			name = fmt.Sprintf("row %d", i+1)
		}
		expect, policies := w.Expect, w.Policies
		if expect == "" {
			expect = t.Expect
			if policies == nil {
				policies = t.Policies
			}
		}
		if err := r.add(fmt.Sprintf("%s.table[%d]", path, i), t.Name+": "+name, facts.with(w.Facts), expect, policies); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) add(path, name string, facts Facts, expect string, policies []string) error {
	if err := printable("name", name, 2*maxName); err != nil {
		return r.errorf(path, "%v", err)
	}
	if line, taken := r.seen[name]; taken {
		return r.errorf(path, "the name %.80q is used in line %d", name, line)
	}
	want, err := expectation(expect)
	if err != nil {
		return r.errorf(path, "test %.80q: %v", name, err)
	}
	if len(policies) > maxList {
		return r.errorf(path, "test %.80q names over %d policies", name, maxList)
	}
	if err := facts.check(); err != nil {
		return r.errorf(path, "test %.80q: %v", name, err)
	}
	if len(r.cases) >= MaxCases {
		return r.errorf(path, "over %d cases; use several files", MaxCases)
	}
	line := r.line(path)
	r.seen[name] = line
	r.cases = append(r.cases, Case{Name: name, Line: line, Expect: want, Policies: policies, question: facts.question()})
	return nil
}

var stepUps = []string{string(nhi.StepReattest), string(nhi.StepBind), string(nhi.StepApprove), string(nhi.StepNarrow)}

func expectation(text string) (Expectation, error) {
	word, kinds, open := strings.Cut(strings.TrimSpace(text), "(")
	out := Expectation{Outcome: nhi.Outcome(strings.TrimSpace(word))}
	switch out.Outcome {
	case nhi.Allow, nhi.Deny, nhi.StepUp:
	default:
		return out, fmt.Errorf("expect %.40q: want allow, deny, step-up or step-up(bind)%s", text, meant(word, []string{"allow", "deny", "step-up"}))
	}
	if !open {
		return out, nil
	}
	kinds, closed := strings.CutSuffix(kinds, ")")
	if !closed || out.Outcome != nhi.StepUp {
		return out, fmt.Errorf("expect %.40q: only step-up has kinds, as in step-up(bind)", text)
	}
	for kind := range strings.SplitSeq(kinds, ",") {
		kind = strings.TrimSpace(kind)
		if !slices.Contains(stepUps, kind) {
			return out, fmt.Errorf("expect %.40q: a step-up is of kind %s%s", text, strings.Join(stepUps, ", "), meant(kind, stepUps))
		}
		out.StepUp = append(out.StepUp, nhi.StepUpKind(kind))
	}
	slices.Sort(out.StepUp)
	out.StepUp = slices.Compact(out.StepUp)
	return out, nil
}

// meant suggests the nearest of words.
func meant(word string, words []string) string {
	if near := strictyaml.Nearest(word, words); near != "" && near != word {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

// printable bounds a text that will be shown.
func printable(what, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%s is over %d bytes", what, most)
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return fmt.Errorf("%s holds a control character", what)
		}
	}
	return nil
}
