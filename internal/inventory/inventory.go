// Package inventory knows every identity and its credentials: what they are,
// who answers for them, what they were granted, and whether a secret that
// somebody found is one of ours.
//
// # Two mouths, one memory
//
// What is known comes from connectors, which read a provider's own lists, and
// from logs, which see who acts. Both arrive in any order, late and more than
// once; the rules in merge.go make the result the same. A connector's
// [nhi.Observation] is applied as a whole or not at all ([Service.Apply]). A
// log's [Seen] either moves the last use of something known or makes a shadow
// identity: somebody acts whom no list names ([Service.EnsureSeen]).
//
// # What an observation may not do
//
// State that Muster decided (quarantine, suspension, a pin, an environment by
// rule) is never undone by what a provider says. An identity that is missing
// from two complete observations is retired, not deleted; if it appears again
// under the same immutable id it is active again. An incomplete or failed
// observation retires nobody.
//
// # Owners
//
// Each reason to believe that somebody owns an identity is a row of evidence.
// The owner is computed from them ([Decide]); a person's word beats all.
//
// # Secrets
//
// A credential's value passes through this package once, when it is minted or
// registered, and what stays is a verifier and a blind fingerprint. A sighting
// is matched by these alone ([Service.Match]).
package inventory

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/nhi"
)

// Settings are the rules of one organisation.
type Settings struct {
	// Environments assign environments to identities; the first that fits
	// counts. Without one the environment is unknown.
	Environments []EnvironmentRule `yaml:"environments"`
	// OwnerTags are the labels that may name an owner, the most trusted first.
	OwnerTags []string `yaml:"owner_tags"`
}

// DefaultSettings returns the settings of a fresh installation.
func DefaultSettings() Settings {
	return Settings{OwnerTags: []string{"muster:owner", "owner", "team"}}
}

// A Store keeps the inventory.
type Store interface {
	// Update runs fn in one transaction and returns when it is durable and
	// decisions know of it. Nothing of fn remains if it fails. fn runs once.
	Update(ctx context.Context, fn func(Tx) error) (nhi.Generation, error)
	// Import is Update for very many rows: it shares its transaction with nobody.
	Import(ctx context.Context, fn func(Tx) error) (nhi.Generation, error)
	// View runs fn over one consistent snapshot.
	View(ctx context.Context, fn func(Tx) error) error
}

// A Tx is what one transaction can do. Methods that find nothing return an
// error wrapping nhi.ErrNotFound; those that list return nothing.
type Tx interface {
	Identities
	Credentials
	Attachments
	Lists
}

// Identities are the rows of identities.
type Identities interface {
	Identity(ctx context.Context, id nhi.ID) (Row, error)
	// PutIdentity writes the row; announce also tells decisions and streams.
	PutIdentity(ctx context.Context, row Row, announce bool) error
	// Named returns up to ten identities of exactly this name or path.
	Named(ctx context.Context, name string) ([]nhi.ID, error)
	// Covered records that kind was observed completely at a time, and reports
	// false if an observation at that time or later is on record already.
	Covered(ctx context.Context, provider, account string, kind nhi.Kind, at time.Time) (bool, error)
	// Missed counts one miss for each identity of the kind that a connector
	// observed before at and that is not retired, and returns their rows.
	Missed(ctx context.Context, provider, account string, kind nhi.Kind, at time.Time) ([]Row, error)
	// Attestable returns the identities that are marked attestable.
	Attestable(ctx context.Context) ([]nhi.ID, error)
}

// Credentials are the rows of credentials.
type Credentials interface {
	Credential(ctx context.Context, id nhi.CredentialID) (nhi.Credential, error)
	// PutCredential writes the row; announce also tells decisions and streams.
	PutCredential(ctx context.Context, c nhi.Credential, announce bool) error
	// CredentialsOf returns what identity holds, in the order of ids.
	CredentialsOf(ctx context.Context, identity nhi.ID) ([]nhi.Credential, error)
	// ByPublicID returns up to ten credentials with this public id.
	ByPublicID(ctx context.Context, publicID string) ([]nhi.Credential, error)
	// ByFingerprint returns the credential with this blind fingerprint.
	ByFingerprint(ctx context.Context, fingerprint string) (nhi.Credential, error)
}

// Attachments are the grants and the owner evidence of identities.
type Attachments interface {
	// ReplaceGrants makes grants the whole of what identity holds.
	ReplaceGrants(ctx context.Context, identity nhi.ID, grants []nhi.Grant) error
	GrantsOf(ctx context.Context, identity nhi.ID) ([]nhi.Grant, error)
	// AddOwner adds a row of evidence, or moves the time of the same row on.
	AddOwner(ctx context.Context, e nhi.OwnerEvidence) error
	OwnersOf(ctx context.Context, identity nhi.ID) ([]nhi.OwnerEvidence, error)
}

// Lists answer for many identities at once.
type Lists interface {
	List(ctx context.Context, f Filter) (Page, error)
	Facets(ctx context.Context, e filter.Expr, within nhi.Scopes) ([]Facet, error)
	Counts(ctx context.Context, within nhi.Scopes) (Counts, error)
}

// Fingerprints computes blind fingerprints. *fingerprint.Evaluator is one.
type Fingerprints interface {
	// Of returns the fingerprint of a secret in canonical form.
	Of(class fingerprint.Class, canonical []byte) (string, error)
}

// A Row is an identity and what only the inventory needs to know of it.
type Row struct {
	nhi.Identity
	Observed time.Time // newest observation by a connector; zero: never
	Missed   int       // complete observations since that did not hold it
}

// A Service is the inventory. It is safe for concurrent use.
type Service struct {
	store        Store
	fingerprints Fingerprints
	settings     atomic.Pointer[Settings]
}

// New returns the inventory kept in store. It fails when settings do not make
// sense.
func New(store Store, fingerprints Fingerprints, settings Settings) (*Service, error) {
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	s := &Service{store: store, fingerprints: fingerprints}
	s.settings.Store(&settings)
	return s, nil
}

// Settings returns the settings in force. They must not be changed.
func (s *Service) Settings() *Settings { return s.settings.Load() }

// Configure puts other settings in force for what is seen from now on. The
// error wraps nhi.ErrInvalid.
func (s *Service) Configure(settings Settings) error {
	if err := settings.Validate(); err != nil {
		return err
	}
	s.settings.Store(&settings)
	return nil
}
