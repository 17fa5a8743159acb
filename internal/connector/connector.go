// Package connector says what a source of inventory is: something that reads
// a provider's own lists of identities, credentials and grants and returns
// them as one [nhi.Observation] in our words.
//
// Each source is a folder below this one that exports
//
//	var Connector = &connector.Kind{...}
//
// and is in the product from then on. A connector holds no state and decides
// nothing: it does not know what was seen before, whom an identity belongs to
// in doubt, or which environment it is in. That is the inventory's work, where
// the rules are the same for all sources.
//
// # Odd items and bad files
//
// Providers' lists hold odd items: one must not cost the rest. A connector
// reports it as a [Problem], goes on, and does not call the observation
// complete for that kind, so that nothing is taken to be gone because it could
// not be read. A file that is truncated, or not what it is said to be, is an
// error and yields nothing.
package connector

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Kind is a kind of source. A nil function is a thing it cannot do.
type Kind struct {
	Name string // provider: aws
	Doc  string // what it takes in, for people
	// Forms are the files that Read understands.
	Forms []Form
	// Read reads files that the provider's own tools wrote. It is pure: the
	// same input gives the same report.
	Read func(ctx context.Context, in Input) (Report, error)
}

// A Form is a form of file.
type Form struct {
	Name     string // authorization-details: also the flag of the command line
	Doc      string // how to get such a file
	Required bool
}

// An Input is what Read works on.
type Input struct {
	// Account is the one account that the files may speak about. Empty: the
	// account is taken from the files, which must agree on it.
	Account string
	// At is when the files were made. It orders observations.
	At    time.Time
	Files []File
}

// A File is one file of a form. Read reads it once, to its end.
type File struct {
	Form   string
	Name   string // for messages
	Reader io.Reader
}

// A Report is what Read found.
type Report struct {
	Observation nhi.Observation `json:"observation"`
	Problems    []Problem       `json:"problems"` // at most MaxProblems
	More        int             `json:"more"`     // problems beyond those
}

// MaxProblems is how many problems a report tells one by one.
const MaxProblems = 100

// A Problem is an item that could not be taken in. It holds no values of the
// file but names, cut and cleaned.
type Problem struct {
	File  string `json:"file"`
	Where string `json:"where"` // line, field or item
	What  string `json:"what"`
}

// String says it in one line.
func (p Problem) String() string { return fmt.Sprintf("%s: %s: %s", p.File, p.Where, p.What) }

// Add adds a problem, or only counts it.
func (r *Report) Add(p Problem) {
	if len(r.Problems) == MaxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, p)
}

// Check reports what is wrong with an input for the connector called name,
// before anything is read.
func Check(name string, forms []Form, in Input) error {
	if in.At.IsZero() {
		return nhi.Invalidf("%s: no time is given for the files", name)
	}
	have := make(map[string]bool)
	for _, f := range in.Files {
		if !slices.ContainsFunc(forms, func(form Form) bool { return form.Name == f.Form }) {
			return nhi.Invalidf("%s: %q is no form of file it reads", name, f.Form)
		}
		have[f.Form] = true
	}
	for _, f := range forms {
		if f.Required && !have[f.Name] {
			return nhi.Invalidf("%s: no file of the form %s is given (%s)", name, f.Name, f.Doc)
		}
	}
	return nil
}
