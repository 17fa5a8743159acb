package policy

import (
	"fmt"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

// A Problem is one thing that is wrong, or doubtful, in a policy file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // from 1; 0 when the whole file is meant
	Column  int    `json:"column"`
	Policy  string `json:"policy,omitempty"` // @id, when it is known
	Reason  string `json:"reason"`
	Warning bool   `json:"warning,omitempty"` // the set loads all the same
}

// String is "file:line:column: reason".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Policy != "" {
		fmt.Fprintf(&b, "policy %q: ", p.Policy)
	}
	b.WriteString(p.Reason)
	return b.String()
}

// Problems is the error that [Load] returns. It wraps nhi.ErrInvalid.
type Problems []Problem

// Error lists the problems, one a line; a long list is cut and counted.
func (ps Problems) Error() string {
	const shown = 20
	var b strings.Builder
	for i, p := range ps {
		if i == shown {
			fmt.Fprintf(&b, "\nand %d more", len(ps)-shown)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Unwrap makes errors.Is(err, nhi.ErrInvalid) true.
func (ps Problems) Unwrap() error { return nhi.ErrInvalid }

// errors returns the problems that keep a set from loading.
func (ps Problems) errors() Problems {
	var out Problems
	for _, p := range ps {
		if !p.Warning {
			out = append(out, p)
		}
	}
	return out
}

// Check returns everything wrong or doubtful in files, as they would be loaded
// beside the guards, errors and warnings in the order of files and lines. It
// is nil when there is nothing to say.
func Check(files map[string]string) []Problem {
	l := newLoader()
	if err := l.addGuards(DefaultSettings()); err != nil {
		return []Problem{{File: "guards", Reason: err.Error()}}
	}
	l.addFiles(files)
	l.checkUnscoped()
	l.lint()
	return l.problems
}

// Syntax returns what keeps a file from being read as Cedar at all: its size,
// its nesting and its grammar. It asks for no @id and for no schema.
func Syntax(file, text string) Problems {
	_, bad := parse(file, text)
	return bad
}
