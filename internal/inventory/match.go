package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

// Match says what a sighting is worth, and whose credential it speaks of.
//
//   - Confirmed: the fingerprint is that of a credential of ours. That proves
//     the secret itself, whatever public id came with it.
//   - Forged: the public id is ours, and the fingerprint disproves the secret.
//   - Unproven: the public id is ours, and there is nothing to compare on one
//     side or the other.
//   - Unknown: not ours, as far as we can tell.
//
// Only a confirmed sighting may cause an action by itself: anybody can write
// down a public id.
func (s *Service) Match(ctx context.Context, sighting nhi.Sighting) (nhi.Sighting, error) {
	sighting.Verdict, sighting.Credential, sighting.Identity = nhi.Unknown, "", ""
	err := s.store.View(ctx, func(tx Tx) error {
		c, err := proven(ctx, tx, sighting.Fingerprint)
		if err != nil {
			return err
		}
		verdict := nhi.Confirmed
		if c == nil {
			c, verdict, err = claimed(ctx, tx, &sighting)
		}
		if err != nil || c == nil {
			return err
		}
		sighting.Verdict, sighting.Credential, sighting.Identity = verdict, c.ID, c.Identity
		return nil
	})
	if err != nil {
		return nhi.Sighting{}, fmt.Errorf("match sighting %s: %w", sighting.ID, err)
	}
	return sighting, nil
}

// proven returns the credential with this fingerprint, nil if there is none.
func proven(ctx context.Context, tx Tx, fingerprint string) (*nhi.Credential, error) {
	if fingerprint == "" {
		return nil, nil
	}
	c, err := tx.ByFingerprint(ctx, fingerprint)
	if errors.Is(err, nhi.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// claimed returns the credential that the public id names, nil if there is
// none, and what the claim is worth. The fingerprint is known to be no proof.
func claimed(ctx context.Context, tx Tx, sighting *nhi.Sighting) (*nhi.Credential, nhi.SightingVerdict, error) {
	if sighting.PublicID == "" {
		return nil, "", nil
	}
	rows, err := tx.ByPublicID(ctx, sighting.PublicID)
	if err != nil {
		return nil, "", err
	}
	for _, c := range rows {
		if sighting.Provider != "" && sighting.Provider != c.Provider {
			continue
		}
		if comparable(c.Fingerprint, sighting.Fingerprint) {
			return &c, nhi.Forged, nil
		}
		return &c, nhi.Unproven, nil
	}
	return nil, "", nil
}

// comparable reports whether two blind fingerprints were made under the same
// version of the key, so that their difference disproves.
func comparable(a, b string) bool {
	va, _, okA := strings.Cut(a, ":")
	vb, _, okB := strings.Cut(b, ":")
	return okA && okB && va == vb
}
