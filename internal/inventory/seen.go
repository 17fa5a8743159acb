package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Seen is one sight of an identity acting, from a log or from our own
// decisions.
type Seen struct {
	// Identity names who acted, at least by Provider, Account and Native; the
	// id is computed if it is empty. If it is not known yet, it becomes a
	// shadow identity.
	Identity nhi.Identity
	// Credential names the long-lived credential used, at least by PublicID
	// and Kind. Its provider and account default to the identity's. No public
	// id and no id: none is known.
	Credential nhi.Credential
	At         time.Time
}

// EnsureSeen records a batch of sights in one transaction of its own.
func (s *Service) EnsureSeen(ctx context.Context, batch []Seen) (nhi.Generation, error) {
	return s.store.Update(ctx, func(tx Tx) error { return s.EnsureSeenIn(ctx, tx, batch) })
}

// EnsureSeenIn is EnsureSeen inside the caller's transaction, for a consumer
// that stores its position together with its effects. The batch may hold the
// same identity many times, in any order; repeating a batch changes nothing.
func (s *Service) EnsureSeenIn(ctx context.Context, tx Tx, batch []Seen) error {
	identities, credentials := fold(batch)
	for _, i := range identities {
		if err := s.seeIdentity(ctx, tx, i); err != nil {
			return fmt.Errorf("seen identity %s: %w", i.ID, err)
		}
	}
	for _, c := range credentials {
		if err := mergeStored(ctx, tx, c); err != nil {
			return fmt.Errorf("seen credential %s: %w", c.ID, err)
		}
	}
	return nil
}

func (s *Service) seeIdentity(ctx context.Context, tx Tx, seen nhi.Identity) error {
	row, old, err := lookUp(ctx, tx, seen.ID)
	if err != nil {
		return err
	}
	merged, changed := MergeIdentity(old, seen)
	if !changed {
		return nil
	}
	if old == nil {
		merged.Environment = s.settings.Load().assign(&merged)
	}
	row.Identity = merged
	return tx.PutIdentity(ctx, row, announceIdentity(old, merged))
}

// fold joins the sights of one identity and of one credential. The order of
// the results is that of ids, so that writers lock rows in one order.
func fold(batch []Seen) ([]nhi.Identity, []nhi.Credential) {
	identities := make(map[nhi.ID]nhi.Identity)
	credentials := make(map[nhi.CredentialID]nhi.Credential)
	for _, b := range batch {
		i := b.Identity
		if i.ID == "" {
			i.ID = nhi.IdentityID(i.Provider, i.Account, i.Native)
		}
		i.Shadow, i.FirstSeen, i.LastSeen = true, b.At, b.At
		if old, ok := identities[i.ID]; ok {
			i, _ = MergeIdentity(&old, i)
		}
		identities[i.ID] = i

		c := b.Credential
		if c.ID == "" && c.PublicID == "" {
			continue
		}
		if c.Provider == "" {
			c.Provider, c.Account = i.Provider, i.Account
		}
		if c.ID == "" {
			c.ID = nhi.NewCredentialID(c.Provider, c.Account, c.PublicID)
		}
		c.Identity, c.LastUsed = i.ID, b.At
		if old, ok := credentials[c.ID]; ok {
			c, _ = MergeCredential(&old, c)
		}
		credentials[c.ID] = c
	}
	return sortedValues(identities), sortedValues(credentials)
}

func sortedValues[K ~string, V any](m map[K]V) []V {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]V, 0, len(m))
	for _, k := range keys {
		out = append(out, m[k])
	}
	return out
}
