package policy

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

//go:embed schema.cedarschema
var schemaText []byte

//go:embed guards/*.cedar
var guardFiles embed.FS

// Limits on what is loaded. A policy is code from outside: the parser recurses
// with nesting, and every unscoped policy costs every decision.
const (
	maxFiles      = 20_000
	maxTotalBytes = 64 << 20
	maxPolicies   = 100_000
	maxTextBytes  = 500
	maxUnscoped   = 50 // above it Check warns
)

const (
	effectPermit = "permit"
	effectForbid = "forbid"
	effectError  = "error"
)

// Schema returns the Cedar schema that policies are validated against.
func Schema() string { return string(schemaText) }

// validator is made once for policies that name no zone: parsing the schema
// costs more than validating a policy. The schema is embedded, so an error here
// is a bug that tests catch.
var validator = sync.OnceValues(func() (*validate.Validator, error) { return newValidator(nil) })

// newValidator returns the validator whose schema has these zones.
func newValidator(zones []clause.Zone) (*validate.Validator, error) {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar(withZones(schemaText, zones)); err != nil {
		return nil, fmt.Errorf("parse policy schema: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve policy schema: %w", err)
	}
	return validate.New(resolved, validate.WithStrict()), nil
}

// withZones returns the schema with zones in it.
func withZones(schema []byte, zones []clause.Zone) []byte {
	var text strings.Builder
	for _, z := range zones {
		if z.Name != "UTC" {
			fmt.Fprintf(&text, "\n    %q: Local,", string(z.Name))
		}
	}
	at := []byte(`"UTC": Local,`)
	return bytes.Replace(schema, at, append(slices.Clone(at), text.String()...), 1)
}

// A rule is a policy with what evaluation needs to know about it.
type rule struct {
	id     cedar.PolicyID
	policy *cedar.Policy
	permit bool
	guard  bool
	stepUp nhi.StepUpKind
	reason nhi.Reason // as it appears when the policy determines a ruling
	scope  scope
	zones  []clause.Zone // that the policy names
	sees   request.Sight
}

// shape is what the rules can see of a request.
func (l *loader) shape() *request.Shape {
	sights := make([]*request.Sight, 0, len(l.rules))
	var zones []clause.Zone
	for _, r := range l.rules {
		sights, zones = append(sights, &r.sees), append(zones, r.zones...)
	}
	return request.NewShape(sights, zones)
}

// A loader gathers rules and problems.
type loader struct {
	files    map[string]string
	rules    []*rule
	byID     map[cedar.PolicyID]*rule
	byFile   map[string][]*rule
	before   *Set // whose rules may be used again; nil: none
	problems Problems
	bytes    int
	zones    []clause.Zone       // that any policy so far names
	zoned    *validate.Validator // for them; nil: none
}

func newLoader() *loader {
	return &loader{files: map[string]string{}, byID: map[cedar.PolicyID]*rule{}, byFile: map[string][]*rule{}}
}

// addGuards renders the embedded guards. A guard that is wrong is a bug, so
// the error is not a Problem of the operator's.
func (l *loader) addGuards(settings Settings) error {
	guards, err := template.ParseFS(guardFiles, "guards/*.cedar")
	if err != nil {
		return fmt.Errorf("parse guards: %w", err)
	}
	for _, t := range slices.SortedFunc(slices.Values(guards.Templates()), byName) {
		var text bytes.Buffer
		if err := t.Execute(&text, settings); err != nil {
			return fmt.Errorf("render guard %s: %w", t.Name(), err)
		}
		l.addFile("guards/"+t.Name(), text.String(), true)
	}
	if bad := l.problems.errors(); len(bad) > 0 {
		return fmt.Errorf("load guards: %w", bad)
	}
	return nil
}

func byName(a, b *template.Template) int { return strings.Compare(a.Name(), b.Name()) }

func (l *loader) addFiles(files map[string]string) {
	if len(files) > maxFiles {
		l.problem(Problem{File: "policies", Reason: fmt.Sprintf("%d files, at most %d are allowed", len(files), maxFiles)})
		return
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := checkName(name); err != nil {
			l.problem(Problem{File: strconv.QuoteToASCII(clip(name)), Reason: err.Error()})
			continue
		}
		l.addFile(name, files[name], false)
	}
}

// checkName keeps file names printable, short, and apart from the guards'.
func checkName(name string) error {
	switch {
	case name == "" || len(name) > 255:
		return errors.New("a file name has 1 to 255 bytes")
	case strings.HasPrefix(name, "guards/"):
		return errors.New("names under guards/ belong to the built-in guards")
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return errors.New("a file name holds printable text")
		}
	}
	return nil
}

func (l *loader) problem(p Problem) { l.problems = append(l.problems, p) }

// addFile parses, names and validates the policies of one file.
func (l *loader) addFile(name, text string, guard bool) {
	l.files[name] = text
	if l.bytes += len(text); l.bytes > maxTotalBytes {
		l.problem(Problem{File: name, Reason: fmt.Sprintf("all files together are over %d bytes", maxTotalBytes)})
		return
	}
	if l.unchanged(name, text) {
		for _, r := range l.before.byFile[name] {
			l.add(r, nil)
		}
		return
	}
	list, bad := parse(name, text)
	if bad != nil {
		l.problems = append(l.problems, bad...)
		return
	}
	for _, p := range list {
		r, reasons := newRule(p, guard)
		l.add(r, append(reasons, l.validate(r)...))
	}
}

// unchanged reports whether the file was in the set before as it is now.
func (l *loader) unchanged(name, text string) bool {
	if l.before == nil {
		return false
	}
	old, ok := l.before.files[name]
	return ok && old == text
}

func parse(name, text string) (cedar.PolicyList, Problems) {
	if at, reason := clause.Scan(text); reason != "" {
		return nil, Problems{{File: name, Line: at.Line, Column: at.Column, Reason: reason}}
	}
	list, err := cedar.NewPolicyListFromBytes(name, []byte(text))
	if err != nil {
		return nil, Problems{parseProblem(name, err)}
	}
	return list, nil
}

// add keeps a rule if there are no reasons against it.
func (l *loader) add(r *rule, reasons []string) {
	pos := r.policy.Position()
	at := Problem{File: pos.Filename, Line: pos.Line, Column: pos.Column, Policy: string(r.id)}
	if other, taken := l.byID[r.id]; taken && r.id != "" {
		reasons = append(reasons, "the same @id is used at "+other.reason.Position)
	}
	if len(l.rules) >= maxPolicies {
		reasons = append(reasons, fmt.Sprintf("more than %d policies", maxPolicies))
	}
	for _, at.Reason = range reasons {
		l.problem(at)
	}
	if len(reasons) > 0 {
		return
	}
	l.byID[r.id] = r
	l.byFile[pos.Filename] = append(l.byFile[pos.Filename], r)
	l.rules = append(l.rules, r)
}

var idShape = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]{0,127}$`)

// newRule reads a policy's annotations. The rule is usable only if no reasons
// against it are returned.
func newRule(p *cedar.Policy, guard bool) (*rule, []string) {
	var reasons []string
	notes := p.Annotations()
	pos := p.Position()
	tree := (*ast.Policy)(p.AST())
	r := &rule{policy: p, permit: p.Effect() == cedar.Permit, guard: guard, scope: scopeOf(tree), sees: request.SightOf(tree)}
	id := string(notes["id"])
	switch {
	case id == "":
		reasons = append(reasons, `it has no @id("...")`)
	case !idShape.MatchString(id):
		reasons = append(reasons, "its @id has other characters than a-z, 0-9, '.', '_', '/' and '-', or is longer than 128")
	default:
		r.id = cedar.PolicyID(id)
	}
	if kind, ok := notes["stepup"]; ok {
		r.stepUp = nhi.StepUpKind(kind)
		if r.permit {
			reasons = append(reasons, "@stepup belongs on a forbid")
		}
		if !knownStepUp(r.stepUp) {
			reasons = append(reasons, `@stepup is one of "reattest", "bind", "approve", "narrow"`)
		}
	}
	text := string(notes["text"])
	if err := checkText(text); err != nil {
		reasons = append(reasons, err.Error())
	}
	if text == "" {
		text = fmt.Sprintf("Policy %s %ss it.", id, effectOf(r))
	}
	r.reason = nhi.Reason{
		Policy: id, Text: text, Effect: effectOf(r),
		Position: fmt.Sprintf("%s:%d", pos.Filename, pos.Line),
	}
	return r, reasons
}

func knownStepUp(k nhi.StepUpKind) bool {
	switch k {
	case nhi.StepReattest, nhi.StepBind, nhi.StepApprove, nhi.StepNarrow:
		return true
	}
	return false
}

func checkText(text string) error {
	if len(text) > maxTextBytes {
		return fmt.Errorf("its @text is over %d bytes", maxTextBytes)
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f {
			return errors.New("its @text holds a control character")
		}
	}
	return nil
}

// validator returns the validator whose schema has the zones that a policy
// names, those of its predecessors with it.
func (l *loader) validator(zones []clause.Zone) (*validate.Validator, error) {
	grown := false
	for _, z := range zones {
		if !slices.ContainsFunc(l.zones, func(have clause.Zone) bool { return have.Name == z.Name }) {
			l.zones, grown = append(l.zones, z), true
		}
	}
	var err error
	switch {
	case grown:
		l.zoned, err = newValidator(l.zones)
		return l.zoned, err
	case l.zoned != nil:
		return l.zoned, nil
	}
	return validator()
}

// validate notes the zones of a rule and says why it does not fit the schema.
func (l *loader) validate(r *rule) (reasons []string) {
	tree := (*ast.Policy)(r.policy.AST())
	if r.zones, reasons = clause.Zones(tree); len(reasons) > 0 {
		return reasons
	}
	v, err := l.validator(r.zones)
	if err != nil {
		return []string{err.Error()}
	}
	if err := v.Policy("", tree); err != nil {
		reasons = condense(flatten(err))
	}
	clause.Inspect(tree, func(uid types.EntityUID) {
		if request.IsKind(uid.Type) {
			reasons = append(reasons, fmt.Sprintf(
				"it names %s by a kind, which can change; write principal in Identity::%s", uid, uid.ID.MarshalCedar()))
		}
	}, nil)
	return reasons
}

var kindName = regexp.MustCompile("`(?:User|Role|ServiceAccount|Workload|CIJob|Agent|Service|Point|Source|Operator|Unknown)`")
var forAction = regexp.MustCompile(` for Action::"[a-z]+"`)

// unproven is how the validator says that an attribute may be absent.
var unproven = regexp.MustCompile("^unable to guarantee safety of access to optional attribute `([^`]+)` in context for Action::\"[a-z]+\"$")

// condense makes one reason of those that differ only in the kind of
// principal or the action: the validator checks a policy once for each.
func condense(errs []error) []string {
	var reasons []string
	at := map[string]int{}
	for _, e := range errs {
		if m := unproven.FindStringSubmatch(e.Error()); m != nil {
			inner, name := "context", m[1]
			if i := strings.LastIndexByte(name, '.'); i > 0 {
				inner, name = "context."+name[:i], name[i+1:]
			}
			reason := fmt.Sprintf("context.%s may be absent; ask %s has %s first", m[1], inner, name)
			if !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
			continue
		}
		general := forAction.ReplaceAllString(kindName.ReplaceAllString(clip(e.Error()), "`principal`"), "")
		if i, seen := at[general]; seen {
			reasons[i] = general
			continue
		}
		at[general] = len(reasons)
		reasons = append(reasons, clip(e.Error()))
	}
	return reasons
}

func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

// checkUnscoped warns when so many policies apply to everything that they
// would be felt in every decision.
func (l *loader) checkUnscoped() {
	count := 0
	for _, r := range l.rules {
		if r.scope.unscoped() {
			count++
		}
		if count == maxUnscoped+1 {
			pos := r.policy.Position()
			l.problem(Problem{
				File: pos.Filename, Line: pos.Line, Column: pos.Column, Policy: string(r.id), Warning: true,
				Reason: fmt.Sprintf("from here on there are more than %d policies that name neither principal nor resource; each costs every decision", maxUnscoped),
			})
			return
		}
	}
}

// parserPosition is how the parser and the scanner write a position.
var parserPosition = regexp.MustCompile(`(?:parse error at )?<input>:(\d+):(\d+):? ?`)

// parseProblem finds the position that the parser wrote into its error.
func parseProblem(file string, err error) Problem {
	text := strings.TrimPrefix(strings.ToValidUTF8(err.Error(), "?"), "parser error: ")
	p := Problem{File: file, Line: 1, Column: 1}
	if m := parserPosition.FindStringSubmatchIndex(text); m != nil {
		p.Line, _ = strconv.Atoi(text[m[2]:m[3]])
		p.Column, _ = strconv.Atoi(text[m[4]:m[5]])
		text = text[:m[0]] + text[m[1]:]
	}
	p.Reason = "cannot be parsed: " + clip(text)
	return p
}

func clip(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}
