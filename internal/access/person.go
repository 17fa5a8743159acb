package access

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Person is somebody who signed in with the organisation's provider, as that
// provider last described them.
type Person struct {
	ID       string // of issuer and subject: for the person's whole life
	Issuer   string
	Subject  string
	Name     string // hostile text
	Email    string // empty unless the provider has verified it, and without hidden signs
	Groups   []string
	Grants   []Grant // assigned here; those that follow from groups come on top
	Disabled bool
	Created  time.Time
	SignedIn time.Time // last
}

// PersonID returns the id of whom an issuer calls subject. Names and addresses
// change and are given to others; these two are not.
func PersonID(issuer, subject string) string {
	h := sha256.New()
	for _, f := range []string{issuer, subject} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(f))))
		h.Write([]byte(f))
	}
	return "per_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:16]))
}

// People keeps persons.
type People interface {
	// Person returns an error wrapping nhi.ErrNotFound if there is none.
	Person(ctx context.Context, id string) (Person, error)
	// People returns all, by name and id.
	People(ctx context.Context) ([]Person, error)
	// SaveSignIn stores what a provider says of a person and when; what was
	// assigned here stays. It returns the whole.
	SaveSignIn(ctx context.Context, p Person) (Person, error)
	// UpdatePerson changes one in a transaction that sees all the others, or
	// returns an error wrapping nhi.ErrNotFound, or that of change.
	UpdatePerson(ctx context.Context, id string, change func(p *Person, others []Person) error) (Person, error)
}

// A Mapping gives a role to whoever is in a group, or has an address that the
// provider has verified.
type Mapping struct {
	// Group is a group as the provider names it.
	Group string `yaml:"group" example:"muster-admins"`
	// Email is an address; it counts only when the provider has verified it.
	Email string `yaml:"email" example:"ada@example.com"`
	// Role is viewer, analyst, responder, admin or auditor.
	Role string `yaml:"role" example:"analyst"`
	// Team narrows the role to identities that this team owns.
	Team string `yaml:"team" example:"payments"`
	// Environment narrows the role to identities of this environment.
	Environment string `yaml:"environment" example:"production"`
}

// Grant is the role that a mapping gives.
func (m Mapping) Grant() Grant {
	return Grant{Role(m.Role), nhi.Scope{Team: m.Team, Environment: m.Environment}}
}

// Check returns an error wrapping nhi.ErrInvalid when the mapping says nothing.
func (m Mapping) Check() error {
	if (m.Group == "") == (m.Email == "") {
		return nhi.Invalidf("say group or email, one of the two")
	}
	return m.Grant().Check()
}

// GrantsOf returns the roles that a person holds: those assigned here, and
// those that follow from groups and address. A disabled person holds none.
func (s *Service) GrantsOf(p Person) []Grant {
	if p.Disabled {
		return nil
	}
	out := slices.Clone(p.Grants)
	for _, m := range s.c.Mappings {
		fits := m.Group != "" && slices.Contains(p.Groups, m.Group) || SameAddress(m.Email, p.Email)
		if g := m.Grant(); fits && !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// SameAddress reports whether two mail addresses, or two domains, are one. Capitals
// do not count, and nothing else: what Unicode folds to a plain letter (U+017F to s,
// U+212A to k) is another mailbox, which somebody else may have. An empty one is
// nobody's.
func SameAddress(a, b string) bool {
	if a == "" || len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if small(a[i]) != small(b[i]) {
			return false
		}
	}
	return true
}

func small(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// People returns everybody who ever signed in, by name.
func (s *Service) People(ctx context.Context) ([]Person, error) { return s.c.People.People(ctx) }

// A PersonChange says what to change about a person. What is nil stays.
type PersonChange struct {
	Grants   *[]Grant
	Disabled *bool
}

// maxGrants bounds the roles that are assigned to one person.
const maxGrants = 64

// SetPerson changes what a person may do; it holds from the next request on,
// for sessions that are open too. A person who gains rights signs in again, so
// that a session that was taken over before is worth nothing more. The last
// administrator cannot go: the error wraps nhi.ErrConflict.
func (s *Service) SetPerson(ctx context.Context, id string, change PersonChange) (Person, error) {
	if change.Grants != nil {
		if len(*change.Grants) > maxGrants {
			return Person{}, nhi.Invalidf("more than %d roles for one person", maxGrants)
		}
		for _, g := range *change.Grants {
			if err := g.Check(); err != nil {
				return Person{}, err
			}
		}
	}
	gains := false
	person, err := s.c.People.UpdatePerson(ctx, id, func(p *Person, others []Person) error {
		before := PermitsOf(s.GrantsOf(*p))
		set(&p.Grants, change.Grants)
		set(&p.Disabled, change.Disabled)
		after := PermitsOf(s.GrantsOf(*p))
		gains = !before.Cover(after)
		if !before.MayEverywhere(Administer) || after.MayEverywhere(Administer) {
			return nil
		}
		if slices.ContainsFunc(others, func(o Person) bool { return PermitsOf(s.GrantsOf(o)).MayEverywhere(Administer) }) {
			return nil
		}
		return fmt.Errorf("nobody else is an administrator: make somebody else one first: %w", nhi.ErrConflict)
	})
	if err != nil {
		return Person{}, fmt.Errorf("change person %.64s: %w", id, err)
	}
	if gains || person.Disabled {
		if err := s.c.Sessions.DropSessionsOf(ctx, id); err != nil {
			return Person{}, fmt.Errorf("end the sessions of %s: %w", id, err)
		}
	}
	return person, nil
}
