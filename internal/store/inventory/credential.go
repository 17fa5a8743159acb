package inventory

import (
	"context"
	"errors"
	"fmt"

	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// Credential implements [inventory.Credentials].
func (t Tx) Credential(ctx context.Context, id nhi.CredentialID) (nhi.Credential, error) {
	const query = `
		SELECT id, identity_id, kind, provider, account, public_id, verifier, fingerprint,
		       state, reason, consumer, native, created, expires, rotated, last_used, risk
		FROM   credential
		WHERE  id = $1`
	c, err := scanCredential(t.tx.QueryRow(ctx, query, string(id)))
	if err != nil {
		return nhi.Credential{}, fmt.Errorf("credential %s: %w", id, err)
	}
	return c, nil
}

func scanCredential(s scanner) (nhi.Credential, error) {
	var c nhi.Credential
	var created, expires, rotated, used int64
	err := s.Scan(&c.ID, &c.Identity, &c.Kind, &c.Provider, &c.Account, &c.PublicID, &c.Verifier, &c.Fingerprint,
		&c.State, &c.Reason, &c.Consumer, &c.Native, &created, &expires, &rotated, &used, &c.Risk)
	c.Created, c.Expires = store.Time(created), store.Time(expires)
	c.Rotated, c.LastUsed = store.Time(rotated), store.Time(used)
	return c, err
}

// PutCredential implements [inventory.Credentials].
func (t Tx) PutCredential(ctx context.Context, c nhi.Credential, announce bool) error {
	const query = `
		INSERT INTO credential (id, identity_id, kind, provider, account, public_id, verifier, fingerprint,
		            state, reason, consumer, native, created, expires, rotated, last_used, risk)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		ON CONFLICT (id) DO UPDATE
		SET         identity_id = excluded.identity_id, kind = excluded.kind, public_id = excluded.public_id,
		            verifier = excluded.verifier, fingerprint = excluded.fingerprint, state = excluded.state,
		            reason = excluded.reason, consumer = excluded.consumer, native = excluded.native,
		            created = excluded.created, expires = excluded.expires, rotated = excluded.rotated,
		            last_used = excluded.last_used, risk = excluded.risk`
	if err := t.leaves(ctx, c); err != nil {
		return fmt.Errorf("store credential %s: %w", c.ID, err)
	}
	_, err := t.tx.Exec(ctx, query, string(c.ID), string(c.Identity), string(c.Kind), c.Provider, c.Account, c.PublicID,
		c.Verifier, c.Fingerprint, string(c.State), c.Reason, string(c.Consumer), c.Native,
		store.Micros(c.Created), store.Micros(c.Expires), store.Micros(c.Rotated), store.Micros(c.LastUsed), c.Risk)
	if err != nil {
		return fmt.Errorf("store credential %s: %w", c.ID, err)
	}
	t.tally().touch(c.Identity)
	if !announce {
		return nil
	}
	return t.tx.Change(nhi.SubjectCredential, string(c.ID), c)
}

// CredentialsOf implements [inventory.Credentials].
func (t Tx) CredentialsOf(ctx context.Context, identity nhi.ID) ([]nhi.Credential, error) {
	const query = `
		SELECT   id, identity_id, kind, provider, account, public_id, verifier, fingerprint,
		         state, reason, consumer, native, created, expires, rotated, last_used, risk
		FROM     credential
		WHERE    identity_id = $1
		ORDER BY id
		LIMIT    1000`
	return collect(ctx, t.tx, query, scanCredential, string(identity))
}

// ByPublicID implements [inventory.Credentials].
func (t Tx) ByPublicID(ctx context.Context, publicID string) ([]nhi.Credential, error) {
	const query = `
		SELECT   id, identity_id, kind, provider, account, public_id, verifier, fingerprint,
		         state, reason, consumer, native, created, expires, rotated, last_used, risk
		FROM     credential
		WHERE    public_id = $1
		AND      public_id <> ''
		ORDER BY id
		LIMIT    10`
	return collect(ctx, t.tx, query, scanCredential, publicID)
}

// ByFingerprint implements [inventory.Credentials].
func (t Tx) ByFingerprint(ctx context.Context, fingerprint string) (nhi.Credential, error) {
	const query = `
		SELECT   id, identity_id, kind, provider, account, public_id, verifier, fingerprint,
		         state, reason, consumer, native, created, expires, rotated, last_used, risk
		FROM     credential
		WHERE    fingerprint = $1
		AND      fingerprint <> ''
		ORDER BY id
		LIMIT    1`
	c, err := scanCredential(t.tx.QueryRow(ctx, query, fingerprint))
	if err != nil {
		return nhi.Credential{}, fmt.Errorf("credential with fingerprint %s: %w", fingerprint, err)
	}
	return c, nil
}

// leaves touches the identity that a credential is about to leave: logs may name
// its holder before whoever lists it does.
func (t Tx) leaves(ctx context.Context, c nhi.Credential) error {
	const holder = `
		SELECT identity_id
		FROM   credential
		WHERE  id = $1`
	var before nhi.ID
	err := t.tx.QueryRow(ctx, holder, string(c.ID)).Scan(&before)
	if errors.Is(err, nhi.ErrNotFound) || err == nil && before == c.Identity {
		return nil
	}
	t.tally().touch(before)
	return err
}

// ReplaceGrants implements [inventory.Attachments]. What stays is not written
// again: a sync mostly repeats.
func (t Tx) ReplaceGrants(ctx context.Context, identity nhi.ID, grants []nhi.Grant) error {
	const present = `
		SELECT   id
		FROM     grant_
		WHERE    identity_id = $1
		ORDER BY id`
	have, err := collect(ctx, t.tx, present, scanText[string], string(identity))
	if err != nil {
		return err
	}
	t.tally().touch(identity)
	gone := make(map[string]bool, len(have))
	for _, id := range have {
		gone[id] = true
	}
	for _, g := range grants {
		if gone[g.ID] {
			delete(gone, g.ID)
			continue
		}
		const add = `
			INSERT INTO grant_ (id, identity_id, kind, name, document, admin)
			VALUES      ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO NOTHING`
		if _, err := t.tx.Exec(ctx, add, g.ID, string(identity), g.Kind, g.Name, g.Document, flag(g.Admin)); err != nil {
			return err
		}
	}
	for id := range gone {
		const remove = `
			DELETE FROM grant_
			WHERE  id = $1`
		if _, err := t.tx.Exec(ctx, remove, id); err != nil {
			return err
		}
	}
	return nil
}

// GrantsOf implements [inventory.Attachments].
func (t Tx) GrantsOf(ctx context.Context, identity nhi.ID) ([]nhi.Grant, error) {
	const query = `
		SELECT   id, identity_id, kind, name, document, admin
		FROM     grant_
		WHERE    identity_id = $1
		ORDER BY kind, name, id
		LIMIT    1000`
	return collect(ctx, t.tx, query, func(s scanner) (g nhi.Grant, err error) {
		err = s.Scan(&g.ID, &g.Identity, &g.Kind, &g.Name, &g.Document, &g.Admin)
		return g, err
	}, string(identity))
}

// AddOwner implements [inventory.Attachments].
func (t Tx) AddOwner(ctx context.Context, e nhi.OwnerEvidence) error {
	const query = `
		INSERT INTO owner_evidence (identity_id, owner, source, detail, since, at)
		VALUES      ($1, $2, $3, $4, $5, $5)
		ON CONFLICT (identity_id, owner, source, detail) DO UPDATE
		SET         at = excluded.at
		WHERE       owner_evidence.at < excluded.at`
	_, err := t.tx.Exec(ctx, query, string(e.Identity), e.Owner, e.Source, e.Detail, store.Micros(e.At))
	return err
}

// OwnersOf implements [inventory.Attachments].
func (t Tx) OwnersOf(ctx context.Context, identity nhi.ID) ([]nhi.OwnerEvidence, error) {
	const query = `
		-- Evidence for an owner, the newest first.
		SELECT   identity_id, owner, source, detail, at
		FROM     owner_evidence
		WHERE    identity_id = $1
		ORDER BY at DESC, source, owner, detail
		LIMIT    1000`
	return collect(ctx, t.tx, query, func(s scanner) (e nhi.OwnerEvidence, err error) {
		var at int64
		err = s.Scan(&e.Identity, &e.Owner, &e.Source, &e.Detail, &at)
		e.At = store.Time(at)
		return e, err
	}, string(identity))
}

var _ inventory.Attachments = Tx{}

// Exposure counts the credentials that never expire and still work, and those
// that were contained: narrowed, suspended or revoked.
func Exposure(ctx context.Context, db *store.DB, within nhi.Scopes) (static, contained int, err error) {
	const everywhere = `
		SELECT (SELECT COUNT(*) FROM credential WHERE state = 'active' AND expires = 0),
		       (SELECT COUNT(*) FROM credential WHERE state IN ('narrowed', 'suspended', 'revoked'))`
	const query = `
		SELECT COALESCE(SUM(CASE WHEN expires = 0 AND state = 'active' THEN 1 ELSE 0 END), 0),
		       COALESCE(SUM(CASE WHEN state IN ('narrowed', 'suspended', 'revoked') THEN 1 ELSE 0 END), 0)
		FROM   credential
		WHERE  identity_id IN (
			SELECT id
			FROM   identity
			WHERE  REPLACE($1, '[' || owner || '|]', '') <> $1
			OR     REPLACE($1, '[|' || environment || ']', '') <> $1
			OR     REPLACE($1, '[' || owner || '|' || environment || ']', '') <> $1)`
	err = db.Read(ctx, func(tx *store.Tx) error {
		if within == nil {
			return tx.QueryRow(ctx, everywhere).Scan(&static, &contained)
		}
		return tx.QueryRow(ctx, query, within.Text()).Scan(&static, &contained)
	})
	return static, contained, err
}

// AtRisk returns the ids of identities and credentials whose risk on record is
// not zero.
func AtRisk(ctx context.Context, db *store.DB) ([]string, error) {
	const query = `
		SELECT id FROM identity   WHERE risk <> 0
		UNION ALL
		SELECT id FROM credential WHERE risk <> 0`
	var out []string
	err := db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = collect(ctx, tx, query, scanText[string])
		return err
	})
	return out, err
}
