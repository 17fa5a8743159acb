package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// Provider is the provider of what is made here.
const Provider = "muster"

// CreateIdentity makes an identity of Muster's own. environment is the name of
// one; owner is an e-mail address, "team:x", or empty. Names are unique within
// an environment: a second one is an error wrapping nhi.ErrConflict.
func (s *Service) CreateIdentity(ctx context.Context, name string, kind nhi.Kind, environment, owner string) (nhi.Identity, error) {
	if err := checkName(name); err != nil {
		return nhi.Identity{}, fmt.Errorf("create identity: %w", err)
	}
	if kind == nhi.KindUnknown {
		kind = nhi.KindServiceAccount
	}
	unique, err := uuid.NewV7()
	if err != nil {
		return nhi.Identity{}, fmt.Errorf("create identity: %w", err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	i := nhi.Identity{
		Kind: kind, Provider: Provider, Native: unique.String(), Name: name,
		Environment: s.settings.Load().Environment(environment), State: nhi.Active,
		Created: now, FirstSeen: now,
	}
	i.ID = nhi.IdentityID(i.Provider, i.Account, i.Native)
	evidence, err := handEvidence(i.ID, owner, "creation", now)
	if err != nil {
		return nhi.Identity{}, fmt.Errorf("create identity %q: %w", name, err)
	}
	i.Owner = Decide(evidence, now, s.settings.Load().OwnerTags)
	_, err = s.store.Update(ctx, func(tx Tx) error {
		if err := free(ctx, tx, name, i.Environment.Name); err != nil {
			return err
		}
		if err := tx.PutIdentity(ctx, Row{Identity: i}, true); err != nil {
			return err
		}
		for _, e := range evidence {
			if err := tx.AddOwner(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nhi.Identity{}, fmt.Errorf("create identity %q: %w", name, err)
	}
	return i, nil
}

// free reports with an error that a name is taken in an environment.
func free(ctx context.Context, tx Tx, name, environment string) error {
	ids, err := tx.Named(ctx, name)
	if err != nil {
		return err
	}
	for _, id := range ids {
		row, err := tx.Identity(ctx, id)
		if err != nil {
			return err
		}
		if row.Provider == Provider && row.Name == name && row.Environment.Name == environment && !ownKind(row.Kind) {
			return fmt.Errorf("environment %q has an identity of that name, %s: %w", environment, id, nhi.ErrConflict)
		}
	}
	return nil
}

// ownKind reports whether kind is one of Muster's own callers, whose names
// are another list.
func ownKind(kind nhi.Kind) bool {
	return kind == nhi.KindPoint || kind == nhi.KindSource || kind == nhi.KindOperator
}

const maxName = 256

func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return nhi.Invalidf("a name has 1 to %d bytes, not %d", maxName, len(name))
	case !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), func(r rune) bool { return !unicode.IsPrint(r) }):
		return nhi.Invalidf("name %q holds what cannot be printed", name)
	}
	return nil
}

func handEvidence(id nhi.ID, owner, detail string, at time.Time) ([]nhi.OwnerEvidence, error) {
	if owner == "" {
		return nil, nil
	}
	ref, ok := ParseOwner(owner)
	if !ok {
		return nil, nhi.Invalidf("owner %q is neither an e-mail address nor team:name", owner)
	}
	return []nhi.OwnerEvidence{{Identity: id, Owner: ref, Source: SourceHand, Detail: detail, At: at}}, nil
}

// EnsureIdentity makes sure that an identity which Muster itself knows is in
// the inventory: an enforcement point, a source, a workload that a trust rule
// names. The id is computed if it is empty. What is stored is returned.
func (s *Service) EnsureIdentity(ctx context.Context, i nhi.Identity) (nhi.Identity, error) {
	if i.ID == "" {
		i.ID = nhi.IdentityID(i.Provider, i.Account, i.Native)
	}
	if i.FirstSeen.IsZero() {
		i.FirstSeen = time.Now().UTC().Truncate(time.Microsecond)
	}
	var out nhi.Identity
	_, err := s.store.Update(ctx, func(tx Tx) error {
		row, old, err := lookUp(ctx, tx, i.ID)
		if err != nil {
			return err
		}
		merged, changed := MergeIdentity(old, i)
		merged.Environment = s.settings.Load().assign(&merged)
		out = merged
		if !changed && SameIdentity(*old, merged) {
			return nil
		}
		row.Identity = merged
		return tx.PutIdentity(ctx, row, announceIdentity(old, merged))
	})
	if err != nil {
		return nhi.Identity{}, fmt.Errorf("ensure identity %s: %w", i.ID, err)
	}
	return out, nil
}

// SetOwner records a person's word that owner answers for the identity. actor
// is who said so.
func (s *Service) SetOwner(ctx context.Context, id nhi.ID, owner, actor string) (nhi.Identity, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	evidence, err := handEvidence(id, owner, actor, now)
	if err != nil {
		return nhi.Identity{}, fmt.Errorf("set owner of %s: %w", id, err)
	}
	if len(evidence) == 0 {
		return nhi.Identity{}, fmt.Errorf("set owner of %s: %w", id, nhi.Invalidf("no owner is given"))
	}
	var out nhi.Identity
	_, err = s.store.Update(ctx, func(tx Tx) error {
		if _, err := tx.Identity(ctx, id); err != nil {
			return err
		}
		if err := tx.AddOwner(ctx, evidence[0]); err != nil {
			return err
		}
		if err := s.decideOwner(ctx, tx, id, now); err != nil {
			return err
		}
		row, err := tx.Identity(ctx, id)
		out = row.Identity
		return err
	})
	if err != nil {
		return nhi.Identity{}, fmt.Errorf("set owner of %s: %w", id, err)
	}
	return out, nil
}

// MarkAttestable makes exactly these identities attestable: trust rules let
// them prove themselves by their platform's evidence.
func (s *Service) MarkAttestable(ctx context.Context, ids []nhi.ID) error {
	_, err := s.store.Update(ctx, func(tx Tx) error {
		marked, err := tx.Attestable(ctx)
		if err != nil {
			return err
		}
		for _, id := range append(slices.Clone(ids), marked...) {
			row, err := tx.Identity(ctx, id)
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			want := slices.Contains(ids, id)
			if row.Identity.Attestable == want {
				continue
			}
			row.Identity.Attestable = want
			if err := tx.PutIdentity(ctx, row, true); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark attestable: %w", err)
	}
	return nil
}

// CreateCredential mints an API key for an identity. The value is in the
// Minted alone, to be shown once; what is kept is its verifier and its blind
// fingerprint. A ttl of 0 is a key without end.
func (s *Service) CreateCredential(ctx context.Context, identity nhi.ID, ttl time.Duration) (nhi.Credential, key.Minted, error) {
	if ttl < 0 {
		return nhi.Credential{}, key.Minted{}, fmt.Errorf("create credential: %w", nhi.Invalidf("ttl %v is negative", ttl))
	}
	minted := key.Mint(key.API)
	value := minted.Reveal()
	print, err := s.fingerprints.Of(fingerprint.Muster, []byte(value))
	if err != nil {
		return nhi.Credential{}, key.Minted{}, fmt.Errorf("create credential: %w", err)
	}
	verifier := key.VerifierOf(value)
	now := time.Now().UTC().Truncate(time.Microsecond)
	c := nhi.Credential{
		ID: nhi.NewCredentialID(Provider, "", minted.ID), Identity: identity, Kind: nhi.CredentialAPIKey,
		Provider: Provider, PublicID: minted.ID, Verifier: verifier[:], Fingerprint: print,
		State: nhi.CredentialActive, Created: now,
	}
	if ttl > 0 {
		c.Expires = now.Add(ttl)
	}
	_, err = s.store.Update(ctx, func(tx Tx) error {
		if err := alive(ctx, tx, identity); err != nil {
			return err
		}
		return tx.PutCredential(ctx, c, true)
	})
	if err != nil {
		return nhi.Credential{}, key.Minted{}, fmt.Errorf("create credential for %s: %w", identity, err)
	}
	return c, minted, nil
}

// alive refuses identities that must not get new credentials.
func alive(ctx context.Context, tx Tx, id nhi.ID) error {
	row, err := tx.Identity(ctx, id)
	if err != nil {
		return err
	}
	if row.State == nhi.Quarantined || row.State == nhi.Retired {
		return fmt.Errorf("the identity is %s: %w", row.State, nhi.ErrConflict)
	}
	return nil
}

// RegisterCredential takes in a key that somebody else made, so that a leak of
// it is recognised and, where it is presented to a point, it can be verified.
// Only its verifier and blind fingerprint are kept. publicID is the part that
// names it (an AWS access key id); it may be empty for classes without one.
//
// A secret that could have less than 128 bits is refused: its verifier could
// be guessed. One that another identity holds is an error wrapping
// nhi.ErrConflict.
func (s *Service) RegisterCredential(ctx context.Context, identity nhi.ID, class fingerprint.Class, publicID string, secret []byte) (nhi.Credential, error) {
	secret = bytes.TrimSpace(secret)
	if err := checkClaim(class, publicID); err != nil {
		return nhi.Credential{}, fmt.Errorf("register credential: %w", err)
	}
	canonical, err := fingerprint.Canonical(class, secret)
	if err != nil {
		return nhi.Credential{}, fmt.Errorf("register credential: %w", errors.Join(err, nhi.ErrInvalid))
	}
	if err := checkStrength(class, canonical); err != nil {
		return nhi.Credential{}, fmt.Errorf("register credential: %w", err)
	}
	print, err := s.fingerprints.Of(class, canonical)
	if err != nil {
		return nhi.Credential{}, fmt.Errorf("register credential: %w", err)
	}
	seen := nhi.Credential{
		Identity: identity, Kind: nhi.CredentialRegistered, Provider: string(class), PublicID: publicID, Fingerprint: print,
	}
	if class != fingerprint.PEM { // a private key is never presented
		v := key.VerifierOf(string(canonical))
		seen.Verifier = v[:]
	}
	if class == fingerprint.AWS {
		seen.Kind = nhi.CredentialAWSAccessKey
	}
	if seen.PublicID == "" {
		seen.PublicID = nhi.DerivedID("reg_", print)[:16]
	}
	var out nhi.Credential
	_, err = s.store.Update(ctx, func(tx Tx) (err error) {
		out, err = register(ctx, tx, seen)
		return err
	})
	if err != nil {
		return nhi.Credential{}, fmt.Errorf("register credential of %s: %w", identity, err)
	}
	return out, nil
}

// register stores seen, joined with the row of the same key if the inventory
// has one.
func register(ctx context.Context, tx Tx, seen nhi.Credential) (nhi.Credential, error) {
	if err := alive(ctx, tx, seen.Identity); err != nil {
		return nhi.Credential{}, err
	}
	owner, err := tx.Identity(ctx, seen.Identity)
	if err != nil {
		return nhi.Credential{}, err
	}
	if owner.Provider == seen.Provider {
		seen.Account = owner.Account
	}
	same, err := sameKey(ctx, tx, seen)
	if err != nil {
		return nhi.Credential{}, err
	}
	if same == nil {
		seen.ID = nhi.NewCredentialID(seen.Provider, seen.Account, seen.PublicID)
		seen.Created = time.Now().UTC().Truncate(time.Microsecond)
	} else {
		if same.Identity != seen.Identity {
			return nhi.Credential{}, fmt.Errorf("credential %s of %s is the same key: %w", same.ID, same.Identity, nhi.ErrConflict)
		}
		seen.ID = same.ID
	}
	merged, changed := MergeCredential(same, seen)
	if !changed {
		return merged, nil
	}
	return merged, tx.PutCredential(ctx, merged, announceCredential(same, merged))
}

// sameKey finds the row of a key by its public id or its fingerprint.
func sameKey(ctx context.Context, tx Tx, seen nhi.Credential) (*nhi.Credential, error) {
	switch c, err := tx.ByFingerprint(ctx, seen.Fingerprint); {
	case err == nil:
		return &c, nil
	case !errors.Is(err, nhi.ErrNotFound):
		return nil, err
	}
	rows, err := tx.ByPublicID(ctx, seen.PublicID)
	if err != nil {
		return nil, err
	}
	for _, c := range rows {
		if c.Provider == seen.Provider {
			return &c, nil
		}
	}
	return nil, nil
}

// Pin ties a credential to the workload that uses it: alone it only earns a
// step-up from then on.
func (s *Service) Pin(ctx context.Context, id nhi.CredentialID, consumer nhi.ID) (nhi.Credential, error) {
	return s.pin(ctx, id, consumer)
}

// Unpin lets a credential be used from anywhere again.
func (s *Service) Unpin(ctx context.Context, id nhi.CredentialID) (nhi.Credential, error) {
	return s.pin(ctx, id, "")
}

func (s *Service) pin(ctx context.Context, id nhi.CredentialID, consumer nhi.ID) (nhi.Credential, error) {
	var out nhi.Credential
	_, err := s.store.Update(ctx, func(tx Tx) error {
		c, err := tx.Credential(ctx, id)
		if err != nil {
			return err
		}
		switch {
		case consumer == "" && c.State == nhi.CredentialNarrowed:
			return fmt.Errorf("the credential is narrowed to its consumer: undo that first: %w", nhi.ErrConflict)
		case consumer != "":
			if err := alive(ctx, tx, consumer); err != nil {
				return fmt.Errorf("consumer %s: %w", consumer, err)
			}
		}
		out = c
		if c.Consumer == consumer {
			return nil
		}
		out.Consumer = consumer
		return tx.PutCredential(ctx, out, true)
	})
	if err != nil {
		return nhi.Credential{}, fmt.Errorf("pin credential %s: %w", id, err)
	}
	return out, nil
}
