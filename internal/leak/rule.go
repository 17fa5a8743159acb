package leak

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/strictyaml"
)

// A Rule says what to look for and how to make sure of it. The rules that ship
// lie in the folder rules, one file for each provider; unknown fields in them
// are errors.
type Rule struct {
	ID          string       `yaml:"id"`
	Provider    string       `yaml:"provider"`
	Kind        string       `yaml:"kind"`
	Keywords    []string     `yaml:"keywords"` // at least four bytes each
	AnyCase     bool         `yaml:"any_case"` // keywords match in any case, and only where they are not encoded
	Verifier    string       `yaml:"verifier"` // one of the functions in verifiers
	Severity    nhi.Severity `yaml:"severity"`
	Description string       `yaml:"description"` // for people, one sentence
	Samples     Samples      `yaml:"samples"`
}

// Samples are texts that the tests of this package scan. They hold templates
// such as {{github ghp}} where a secret belongs, so that the repository holds
// none that looks real to another scanner.
type Samples struct {
	Positive []string `yaml:"positive"` // the rule fires exactly once
	Negative []string `yaml:"negative"` // the rule does not fire
}

//go:embed rules/*.yaml
var embedded embed.FS

// Rules returns the rules that ship with the product, ordered by file and
// place in it.
func Rules() ([]Rule, error) {
	files, err := fs.Glob(embedded, "rules/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list leak rules: %w", err)
	}
	var all []Rule
	for _, name := range files {
		data, err := embedded.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read leak rules: %w", err)
		}
		rules, err := ParseRules(name, data)
		if err != nil {
			return nil, err
		}
		all = append(all, rules...)
	}
	return all, nil
}

// maxRules bounds a rule file: nobody writes a megabyte of rules by hand.
const maxRules = 1 << 20

// ParseRules reads a YAML list of rules that came from file. The error wraps
// nhi.ErrInvalid and names the file, and the line or the rule and field.
func ParseRules(file string, data []byte) ([]Rule, error) {
	if len(data) > maxRules {
		return nil, fmt.Errorf("leak rules in %s: %w: %d bytes, at most %d", file, nhi.ErrInvalid, len(data), maxRules)
	}
	var rules []Rule
	if err := strictyaml.Decode(file, data, &rules); err != nil {
		return nil, fmt.Errorf("leak rules: %w: %w", nhi.ErrInvalid, err)
	}
	for i := range rules {
		if err := rules[i].check(); err != nil {
			return nil, fmt.Errorf("leak rules in %s: %w", file, err)
		}
	}
	return rules, nil
}

var severities = []nhi.Severity{nhi.Info, nhi.Low, nhi.Medium, nhi.High, nhi.Critical}

// check reports the first thing that is wrong with r.
func (r *Rule) check() error {
	switch {
	case r.ID == "" || r.Provider == "" || r.Kind == "" || r.Description == "":
		return fmt.Errorf("%w: rule %q lacks an id, provider, kind or description", nhi.ErrInvalid, r.ID)
	case len(r.Keywords) == 0:
		return fmt.Errorf("%w: rule %s has no keyword", nhi.ErrInvalid, r.ID)
	case verifiers[r.Verifier] == nil:
		return fmt.Errorf("%w: rule %s: there is no verifier %q", nhi.ErrInvalid, r.ID, r.Verifier)
	case !slices.Contains(severities, r.Severity):
		return fmt.Errorf("%w: rule %s: there is no severity %q", nhi.ErrInvalid, r.ID, r.Severity)
	}
	for _, k := range r.Keywords {
		if len(k) < minNeedle || len(k) > maxKeyword {
			return fmt.Errorf("%w: rule %s: keyword %q has %d bytes, want %d to %d", nhi.ErrInvalid, r.ID, k, len(k), minNeedle, maxKeyword)
		}
	}
	return nil
}

// maxKeyword bounds the automaton; four bytes already single out a format.
const maxKeyword = 32
