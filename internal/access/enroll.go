package access

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// A NewPoint says what to enroll as an enforcement point.
type NewPoint struct {
	Name      string
	Dialect   nhi.Dialect // empty: nginx
	Mode      nhi.Mode    // empty: observe
	Percent   int         // share of callers that enforce bites; 0: all
	Sources   []string    // addresses and prefixes that may speak for it; empty: loopback
	Resources []string    // what it guards; empty: everything
	Owner     string      // who answers for it
	Assert    bool        // what it lets through carries a signed assertion
}

// EnrollPoint enrolls an enforcement point and returns its key, which exists
// nowhere else. The error wraps nhi.ErrInvalid or nhi.ErrConflict.
func (s *Service) EnrollPoint(ctx context.Context, n NewPoint) (nhi.Point, key.Minted, error) {
	minted := key.Mint(key.Point)
	point := nhi.Point{
		Name: n.Name, KeyID: minted.ID, Verifier: minted.Verifier[:], Dialect: n.Dialect, Mode: n.Mode, Percent: n.Percent,
		Sources: n.Sources, Resources: n.Resources, Created: now(), Assert: n.Assert,
	}
	if point.Dialect == "" {
		point.Dialect = nhi.DialectNginx
	}
	if point.Mode == "" {
		point.Mode = nhi.Observe
	}
	if point.Percent == 0 {
		point.Percent = 100
	}
	if err := checkPoint(&point); err != nil {
		return nhi.Point{}, key.Minted{}, err
	}
	identity := own(nhi.KindPoint, n.Name, n.Owner, "enforcement point", point.Created)
	point.ID = identity.ID
	if err := s.c.Enrollments.AddPoint(ctx, point, identity); err != nil {
		return nhi.Point{}, key.Minted{}, fmt.Errorf("enroll point %s: %w", n.Name, err)
	}
	return point, minted, nil
}

// A PointChange says what to change about a point. What is nil stays.
type PointChange struct {
	Mode      *nhi.Mode
	Percent   *int
	Dialect   *nhi.Dialect
	Sources   *[]string
	Resources *[]string
	Disabled  *bool
	Assert    *bool
}

// SetPoint changes an enrolled point. When it returns, every later decision
// knows. The error wraps nhi.ErrNotFound or nhi.ErrInvalid.
func (s *Service) SetPoint(ctx context.Context, name string, change PointChange) (nhi.Point, error) {
	point, err := s.c.Enrollments.UpdatePoint(ctx, name, func(p *nhi.Point) error {
		set(&p.Mode, change.Mode)
		set(&p.Percent, change.Percent)
		set(&p.Dialect, change.Dialect)
		set(&p.Sources, change.Sources)
		set(&p.Resources, change.Resources)
		set(&p.Disabled, change.Disabled)
		set(&p.Assert, change.Assert)
		return checkPoint(p)
	})
	if err != nil {
		return nhi.Point{}, fmt.Errorf("set point %s: %w", name, err)
	}
	return point, nil
}

// RekeyPoint gives a point a new key; the old one is refused from then on.
func (s *Service) RekeyPoint(ctx context.Context, name string) (nhi.Point, key.Minted, error) {
	minted := key.Mint(key.Point)
	point, err := s.c.Enrollments.UpdatePoint(ctx, name, func(p *nhi.Point) error {
		p.KeyID, p.Verifier = minted.ID, minted.Verifier[:]
		return nil
	})
	if err != nil {
		return nhi.Point{}, key.Minted{}, fmt.Errorf("new key for point %s: %w", name, err)
	}
	return point, minted, nil
}

// Points returns the enrolled points, by name.
func (s *Service) Points(ctx context.Context) ([]nhi.Point, error) {
	return s.c.Enrollments.Points(ctx)
}

// A NewSource says what to enroll as a source of logs or sightings.
type NewSource struct {
	Name     string
	Format   string   // cloudtrail, scanner, text, receiver
	Accounts []string // about which it may testify, or hear
	Owner    string
}

// AddSource enrolls a source and returns its key, which exists nowhere else.
// The error wraps nhi.ErrInvalid or nhi.ErrConflict.
func (s *Service) AddSource(ctx context.Context, n NewSource) (nhi.Source, key.Minted, error) {
	minted := key.Mint(key.Source)
	source := nhi.Source{Name: n.Name, Format: n.Format, KeyID: minted.ID, Verifier: minted.Verifier[:], Accounts: n.Accounts, Created: now()}
	if source.Name == "" {
		source.Name = strings.Join(append([]string{n.Format}, n.Accounts...), "-")
	}
	if err := checkSource(&source); err != nil {
		return nhi.Source{}, key.Minted{}, err
	}
	purpose := "reports " + n.Format
	if source.Receives() {
		purpose = "receives shared signals"
	}
	identity := own(nhi.KindSource, source.Name, n.Owner, purpose, source.Created)
	source.ID = identity.ID
	if err := s.c.Enrollments.AddSource(ctx, source, identity); err != nil {
		return nhi.Source{}, key.Minted{}, fmt.Errorf("add source %s: %w", source.Name, err)
	}
	return source, minted, nil
}

// A SourceChange says what to change about a source. What is nil stays.
type SourceChange struct {
	Accounts *[]string
	Disabled *bool
}

// SetSource changes an enrolled source.
func (s *Service) SetSource(ctx context.Context, name string, change SourceChange) (nhi.Source, error) {
	source, err := s.c.Enrollments.UpdateSource(ctx, name, func(v *nhi.Source) error {
		set(&v.Accounts, change.Accounts)
		set(&v.Disabled, change.Disabled)
		return checkSource(v)
	})
	if err != nil {
		return nhi.Source{}, fmt.Errorf("set source %s: %w", name, err)
	}
	return source, nil
}

// Sources returns the enrolled sources, by name.
func (s *Service) Sources(ctx context.Context) ([]nhi.Source, error) {
	return s.c.Enrollments.Sources(ctx)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// now is a time as the store keeps it, so that what is returned is what will
// be read.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// own is a new identity of ours. Its native id is random: a name that is used
// again is somebody else.
func own(kind nhi.Kind, name, owner, purpose string, created time.Time) nhi.Identity {
	native := uuid.NewString()
	i := nhi.Identity{
		ID: nhi.IdentityID("muster", "access", native), Kind: kind, Provider: "muster", Account: "access", Native: native, Name: name,
		Environment: nhi.Environment{Class: nhi.ClassUnknown}, Purpose: purpose, State: nhi.Active, Created: created, FirstSeen: created,
	}
	if owner != "" {
		i.Owner = nhi.Owner{Ref: owner, Confidence: 1, Source: "hand"}
	}
	return i
}

const (
	maxList = 256
	maxText = 256
)

func checkName(what, name string) error {
	if name == "" || len(name) > 64 || !plain(name) {
		return nhi.Invalidf("%s name must be 1 to 64 letters, digits, dots, dashes or underscores", what)
	}
	return nil
}

func plain(s string) bool {
	for _, c := range []byte(s) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func checkPoint(p *nhi.Point) error {
	if err := checkName("point", p.Name); err != nil {
		return err
	}
	dialects := []nhi.Dialect{nhi.DialectAuthZEN, nhi.DialectNginx, nhi.DialectCaddy, nhi.DialectTraefik, nhi.DialectHAProxy, nhi.DialectEnvoy, nhi.DialectProxy, nhi.DialectKubernetes}
	switch {
	case p.Mode != nhi.Observe && p.Mode != nhi.Enforce:
		return nhi.Invalidf("point %s: mode must be observe or enforce", p.Name)
	case !slices.Contains(dialects, p.Dialect):
		return nhi.Invalidf("point %s: dialect must be one of %v", p.Name, dialects)
	case p.Percent < 0 || p.Percent > 100:
		return nhi.Invalidf("point %s: percent must be between 0 and 100", p.Name)
	case len(p.Sources) > maxList || len(p.Resources) > maxList:
		return nhi.Invalidf("point %s: more than %d sources or resources", p.Name, maxList)
	}
	for _, source := range p.Sources {
		if !isSource(source) {
			return nhi.Invalidf("point %s: %q is neither an address nor a prefix", p.Name, source)
		}
	}
	return checkTexts("point "+p.Name+": resource", p.Resources)
}

// isSource reports whether s is an address or a prefix, without a zone.
func isSource(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	return err == nil && !p.Addr().Is4In6()
}

func checkSource(s *nhi.Source) error {
	if err := checkName("source", s.Name); err != nil {
		return err
	}
	switch {
	case s.Format == "" || len(s.Format) > 32 || !plain(s.Format):
		return nhi.Invalidf("source %s: format is missing or no plain word", s.Name)
	case len(s.Accounts) == 0 && s.Format != "scanner" && s.Format != "text":
		return nhi.Invalidf("source %s: declare the accounts that it may testify about, or hear about if it is a receiver", s.Name)
	case len(s.Accounts) > maxList:
		return nhi.Invalidf("source %s: more than %d accounts", s.Name, maxList)
	}
	return checkTexts("source "+s.Name+": account", s.Accounts)
}

func checkTexts(what string, texts []string) error {
	for _, text := range texts {
		if text == "" || len(text) > maxText || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nhi.Invalidf("%s %.40q is empty, too long or not plain text", what, text)
		}
	}
	return nil
}
