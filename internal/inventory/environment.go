package inventory

import (
	"path"
	"slices"

	"github.com/muster-id/muster/internal/nhi"
)

// An EnvironmentRule assigns an environment to the identities it fits. Only
// such rules assign one; tags at a provider may not, because whoever can tag
// an identity could move it.
type EnvironmentRule struct {
	// Name is how people call the environment.
	Name string `yaml:"name" example:"production"`
	// Class says whether a production system must be kept apart from it.
	Class nhi.Class `yaml:"class" enum:"production,nonproduction,unknown" example:"production"`
	// Provider is the only provider that the rule fits. Empty: any.
	Provider string `yaml:"provider,omitempty" example:"aws"`
	// Accounts are the only accounts that the rule fits. Empty: any.
	Accounts []string `yaml:"accounts,omitempty" example:"['123456789012']"`
	// Names are patterns for names of identities, with * and ? as in
	// path.Match. Empty: any.
	Names []string `yaml:"names,omitempty" example:"['prod-*']"`
}

// known are the environments whose class the name says, for a person who
// creates an identity without having written rules.
var known = []nhi.Environment{
	{Name: "production", Class: nhi.Production},
	{Name: "prod", Class: nhi.Production},
	{Name: "nonproduction", Class: nhi.Nonproduction},
	{Name: "staging", Class: nhi.Nonproduction},
	{Name: "development", Class: nhi.Nonproduction},
	{Name: "dev", Class: nhi.Nonproduction},
	{Name: "test", Class: nhi.Nonproduction},
}

// Validate returns an error wrapping nhi.ErrInvalid that names the rule.
func (s *Settings) Validate() error {
	for i, r := range s.Environments {
		switch r.Class {
		case nhi.Production, nhi.Nonproduction, nhi.ClassUnknown:
		default:
			return nhi.Invalidf("environments[%d]: class %q is not production, nonproduction or unknown", i, r.Class)
		}
		if r.Name == "" {
			return nhi.Invalidf("environments[%d]: no name", i)
		}
		for _, p := range r.Names {
			if _, err := path.Match(p, ""); err != nil {
				return nhi.Invalidf("environments[%d]: pattern %q: %v", i, p, err)
			}
		}
		for _, other := range s.Environments[:i] {
			if other.Name == r.Name && other.Class != r.Class {
				return nhi.Invalidf("environments[%d]: %s is both %s and %s", i, r.Name, other.Class, r.Class)
			}
		}
	}
	return nil
}

func (r *EnvironmentRule) fits(i *nhi.Identity) bool {
	if r.Provider == "" && len(r.Accounts) == 0 && len(r.Names) == 0 {
		return false // it only says what class a name has
	}
	if r.Provider != "" && r.Provider != i.Provider {
		return false
	}
	if len(r.Accounts) > 0 && !slices.Contains(r.Accounts, i.Account) {
		return false
	}
	return len(r.Names) == 0 || slices.ContainsFunc(r.Names, func(p string) bool {
		ok, err := path.Match(p, i.Name)
		return ok && err == nil
	})
}

// assign returns the environment that rules give an identity, or the one it
// has: somebody may have set it by hand.
func (s *Settings) assign(i *nhi.Identity) nhi.Environment {
	for _, r := range s.Environments {
		if r.fits(i) {
			return nhi.Environment{Name: r.Name, Class: r.Class}
		}
	}
	if i.Environment.Class == "" {
		return nhi.Environment{Name: i.Environment.Name, Class: nhi.ClassUnknown}
	}
	return i.Environment
}

// Environment returns the environment called name. A name that neither a rule
// nor custom gives a class is of unknown class, which is never a crossing.
func (s *Settings) Environment(name string) nhi.Environment {
	for _, r := range s.Environments {
		if r.Name == name {
			return nhi.Environment{Name: r.Name, Class: r.Class}
		}
	}
	for _, e := range known {
		if e.Name == name {
			return e
		}
	}
	return nhi.Environment{Name: name, Class: nhi.ClassUnknown}
}
