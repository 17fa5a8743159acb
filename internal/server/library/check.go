package library

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/bundle"
	"github.com/muster-id/muster/internal/policy/library"
	"github.com/muster-id/muster/internal/policy/suite"
	"github.com/muster-id/muster/internal/policy/template"
)

// Render writes a policy from a template that is shipped.
func Render(name, id string, with map[string]string) (string, error) {
	t, err := template.ByName(name)
	if err != nil {
		return "", err
	}
	return t.Render(id, with)
}

// Read reads a library with the templates that are shipped, and says what is wrong
// with it or doubtful, without its tests. With a problem that is no warning, there is
// no library.
func Read(files map[string]string) (*library.Library, []policy.Problem) {
	if err := bundle.CheckFiles(files); err != nil {
		return nil, []policy.Problem{{File: "library", Reason: err.Error()}}
	}
	l, problems := library.Read(files, Render)
	if l == nil {
		return nil, problems
	}
	if err := bundle.CheckFiles(l.Files()); err != nil {
		return nil, []policy.Problem{{File: "library", Reason: err.Error()}}
	}
	if problems = l.Check(); slices.ContainsFunc(problems, func(p policy.Problem) bool { return !p.Warning }) {
		return nil, problems
	}
	return l, problems
}

// RunTests has a set answer the tests of a library. The problems are the tests that
// it answers otherwise, and files that are none.
func RunTests(ctx context.Context, l *library.Library, set *policy.Set) ([]policy.Problem, error) {
	var problems []policy.Problem
	var suites []*suite.Suite
	files := l.TestFiles()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		s, err := suite.Parse(name, []byte(files[name]))
		if err != nil {
			problems = append(problems, fromError(name, err))
			continue
		}
		suites = append(suites, s)
	}
	report, err := suite.Run(ctx, set, suites...)
	if err != nil {
		return nil, err
	}
	for _, f := range report.Failures {
		problems = append(problems, policy.Problem{File: f.File, Line: f.Line, Column: 1, Reason: fmt.Sprintf("test %q: %s", f.Name, f.Reason)})
	}
	return problems, nil
}

// fromError takes an error apart that begins with the file, so that it stands once.
func fromError(name string, err error) policy.Problem {
	p := policy.Problem{File: name, Reason: strings.TrimPrefix(err.Error(), name+": ")}
	rest, ok := strings.CutPrefix(err.Error(), name+":")
	if !ok {
		return p
	}
	var line, column int
	if n, _ := fmt.Sscanf(rest, "%d:%d:", &line, &column); n == 2 {
		p.Line, p.Column, p.Reason = line, column, strings.TrimSpace(strings.SplitN(rest, ":", 3)[2])
	}
	return p
}

// checked is a library that can be put into force.
type checked struct {
	digest   string
	files    map[string]string // those that were generated with them
	set      *policy.Set
	warnings []policy.Problem
}

// check tries files as a library. The error wraps nhi.ErrInvalid and names file and
// line.
func (l *Library) check(ctx context.Context, files map[string]string) (*checked, error) {
	if err := bundle.CheckFiles(files); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := l.plain(name, files[name]); err != nil {
			return nil, err
		}
	}
	read, problems := Read(files)
	if read == nil {
		return nil, wrong(problems)
	}
	c := &checked{files: read.Files(), warnings: problems}
	c.digest = bundle.Digest(c.files)
	var err error
	if c.set, err = l.holder.Prepare(read.Policies()); err != nil {
		return nil, err
	}
	failed, err := RunTests(ctx, read, c.set)
	if err != nil {
		return nil, err
	}
	if len(failed) > 0 {
		return nil, policy.Problems(failed)
	}
	return c, nil
}

// wrong are the problems that are no warnings.
func wrong(problems []policy.Problem) error {
	return policy.Problems(slices.DeleteFunc(slices.Clone(problems), func(p policy.Problem) bool { return p.Warning }))
}

// plain refuses a file with a secret in it: policies are stored and shown as they
// are.
func (l *Library) plain(name, text string) error {
	if l.c.Clean(text) == text {
		return nil
	}
	n := 0
	for line := range strings.Lines(text) {
		if n++; l.c.Clean(line) != line {
			return nhi.Invalidf("%s:%d: the line holds a secret; take it out, and consider it lost", name, n)
		}
	}
	return nhi.Invalidf("%s: the file holds a secret; take it out, and consider it lost", name)
}
