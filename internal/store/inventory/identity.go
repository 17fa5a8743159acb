package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// Identity implements [inventory.Identities].
func (t Tx) Identity(ctx context.Context, id nhi.ID) (inventory.Row, error) {
	const query = `
		SELECT id, kind, provider, account, native, name, path, environment, class, purpose,
		       state, shadow, owner, owner_confidence, owner_source, risk, labels,
		       created, first_seen, last_seen, attestable, not_before, alias, observed, missed
		FROM   identity
		WHERE  id = $1`
	row, err := scanIdentity(t.tx.QueryRow(ctx, query, string(id)))
	if err != nil {
		return inventory.Row{}, fmt.Errorf("identity %s: %w", id, err)
	}
	return row, nil
}

func scanIdentity(s scanner) (inventory.Row, error) {
	var r inventory.Row
	var labels string
	var created, first, last, notBefore, observed int64
	err := s.Scan(&r.ID, &r.Kind, &r.Provider, &r.Account, &r.Native, &r.Name, &r.Path,
		&r.Environment.Name, &r.Environment.Class, &r.Purpose,
		&r.State, &r.Shadow, &r.Owner.Ref, &r.Owner.Confidence, &r.Owner.Source, &r.Risk, &labels,
		&created, &first, &last, &r.Attestable, &notBefore, &r.Alias, &observed, &r.Missed)
	if err != nil {
		return inventory.Row{}, err
	}
	if labels != "" {
		if err := json.Unmarshal([]byte(labels), &r.Labels); err != nil {
			return inventory.Row{}, fmt.Errorf("labels of %s: %w", r.ID, err)
		}
	}
	r.Created, r.FirstSeen, r.LastSeen = store.Time(created), store.Time(first), store.Time(last)
	r.NotBefore, r.Observed = store.Time(notBefore), store.Time(observed)
	return r, nil
}

// PutIdentity implements [inventory.Identities].
func (t Tx) PutIdentity(ctx context.Context, r inventory.Row, announce bool) error {
	const query = `
		INSERT INTO identity (id, kind, provider, account, native, name, path, environment, class, purpose,
		            state, shadow, owner, owner_confidence, owner_source, risk, labels,
		            created, first_seen, last_seen, attestable, not_before, alias, observed, missed, words)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
		            $11, $12, $13, $14, $15, $16, $17,
		            $18, $19, $20, $21, $22, $23, $24, $25, $26)
		ON CONFLICT (id) DO UPDATE
		SET         kind = excluded.kind, name = excluded.name, path = excluded.path,
		            environment = excluded.environment, class = excluded.class, purpose = excluded.purpose,
		            state = excluded.state, shadow = excluded.shadow, owner = excluded.owner,
		            owner_confidence = excluded.owner_confidence, owner_source = excluded.owner_source,
		            risk = excluded.risk, labels = excluded.labels, created = excluded.created,
		            first_seen = excluded.first_seen, last_seen = excluded.last_seen,
		            attestable = excluded.attestable, not_before = excluded.not_before,
		            alias = excluded.alias, observed = excluded.observed, missed = excluded.missed,
		            words = excluded.words`
	labels := ""
	if r.Labels != nil {
		b, err := json.Marshal(r.Labels)
		if err != nil {
			return fmt.Errorf("labels of %s: %w", r.ID, err)
		}
		labels = string(b)
	}
	words, err := t.index(ctx, &r.Identity)
	if err != nil {
		return fmt.Errorf("index identity %s: %w", r.ID, err)
	}
	_, err = t.tx.Exec(ctx, query, string(r.ID), string(r.Kind), r.Provider, r.Account, r.Native, r.Name, r.Path,
		r.Environment.Name, string(r.Environment.Class), r.Purpose,
		string(r.State), flag(r.Shadow), r.Owner.Ref, r.Owner.Confidence, r.Owner.Source, r.Risk, labels,
		store.Micros(r.Created), store.Micros(r.FirstSeen), store.Micros(r.LastSeen),
		flag(r.Attestable), store.Micros(r.NotBefore), string(r.Alias), store.Micros(r.Observed), r.Missed, words)
	if err != nil {
		return fmt.Errorf("store identity %s: %w", r.ID, err)
	}
	if !announce {
		return nil
	}
	return t.tx.Change(nhi.SubjectIdentity, string(r.ID), r.Identity)
}

// index brings the words that an identity is found by up to date, and the
// tally, and returns the words joined. The row itself remembers which ones are
// there, so that the common case, no change, costs one read.
func (t Tx) index(ctx context.Context, i *nhi.Identity) (string, error) {
	const present = `
		SELECT provider, account, kind, environment, class, owner, state, shadow, static, admin, attestable, risk, words
		FROM   identity
		WHERE  id = $1`
	var joined string
	var before sort
	err := t.tx.QueryRow(ctx, present, string(i.ID)).Scan(append(before.columns(), &before.band, &joined)...)
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		t.tally().move(nil, sortOf(i))
	case err != nil:
		return "", err
	default:
		before.band = band(before.band)
		after := sortOf(i)
		after.provider, after.account, after.static, after.admin = before.provider, before.account, before.static, before.admin
		t.tally().move(&before, after)
	}
	have, want := strings.Fields(joined), inventory.SearchWords(i)
	for _, w := range want {
		if slices.Contains(have, w) {
			continue
		}
		const add = `
			INSERT INTO identity_word (word, identity_id)
			VALUES      ($1, $2)`
		if _, err := t.tx.Exec(ctx, add, w, string(i.ID)); err != nil {
			return "", err
		}
	}
	for _, w := range have {
		if slices.Contains(want, w) {
			continue
		}
		const remove = `
			DELETE FROM identity_word
			WHERE  word = $1
			AND    identity_id = $2`
		if _, err := t.tx.Exec(ctx, remove, w, string(i.ID)); err != nil {
			return "", err
		}
	}
	return strings.Join(want, " "), nil
}

// Named implements [inventory.Identities].
func (t Tx) Named(ctx context.Context, name string) ([]nhi.ID, error) {
	const query = `
		-- Identities called exactly $1, by name or by path.
		SELECT   id
		FROM     identity
		WHERE    name = $1
		OR       (path = $1 AND path <> '')
		ORDER BY id
		LIMIT    10`
	return collect(ctx, t.tx, query, scanText[nhi.ID], name)
}

// Attestable implements [inventory.Identities].
func (t Tx) Attestable(ctx context.Context) ([]nhi.ID, error) {
	const query = `
		SELECT   id
		FROM     identity
		WHERE    attestable = 1
		ORDER BY id`
	return collect(ctx, t.tx, query, scanText[nhi.ID])
}

// Covered implements [inventory.Identities].
func (t Tx) Covered(ctx context.Context, provider, account string, kind nhi.Kind, at time.Time) (bool, error) {
	const query = `
		INSERT INTO coverage (provider, account, kind, at)
		VALUES      ($1, $2, $3, $4)
		ON CONFLICT (provider, account, kind) DO UPDATE
		SET         at = excluded.at
		WHERE       coverage.at < excluded.at`
	n, err := t.tx.Exec(ctx, query, provider, account, string(kind), store.Micros(at))
	return n > 0, err
}

// Missed implements [inventory.Identities].
func (t Tx) Missed(ctx context.Context, provider, account string, kind nhi.Kind, at time.Time) ([]inventory.Row, error) {
	const query = `
		-- What a complete observation at $4 did not hold. Shadow identities are
		-- in no provider's list.
		UPDATE    identity
		SET       missed = missed + 1
		WHERE     provider = $1
		AND       account = $2
		AND       kind = $3
		AND       shadow = 0
		AND       state <> 'retired'
		AND       observed < $4
		RETURNING id`
	ids, err := collect(ctx, t.tx, query, scanText[nhi.ID], provider, account, string(kind), store.Micros(at))
	if err != nil {
		return nil, err
	}
	var out []inventory.Row
	for _, id := range ids {
		row, err := t.Identity(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}
