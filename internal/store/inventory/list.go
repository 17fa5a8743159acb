package inventory

import (
	"context"

	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

// List implements [inventory.Lists].
func (t Tx) List(ctx context.Context, f inventory.Filter) (inventory.Page, error) {
	ids, err := t.ids(ctx, f)
	if err != nil {
		return inventory.Page{}, err
	}
	var p inventory.Page
	for _, id := range ids[:min(len(ids), f.Limit)] {
		row, err := t.Identity(ctx, id)
		if err != nil {
			return inventory.Page{}, err
		}
		p.Identities = append(p.Identities, row.Identity)
	}
	if len(ids) > f.Limit {
		last := p.Identities[f.Limit-1]
		p.Next = inventory.Cursor{Name: last.Name, ID: last.ID}.String()
	}
	return p, nil
}

// ids returns the ids of a page and, if there is one, of the row after it.
func (t Tx) ids(ctx context.Context, f inventory.Filter) ([]nhi.ID, error) {
	args := []any{
		f.After.Name, string(f.After.ID), string(f.Kind), f.Environment, f.Owner,
		flag(f.Unowned), flag(f.Shadow), string(f.State), f.Account, f.Limit + 1,
	}
	if len(f.Words) == 0 {
		const all = `
			-- Identities after ($1, $2) in the order of names. Empty filters let all pass.
			SELECT   id
			FROM     identity
			WHERE    (name, id) > ($1, $2)
			AND      ($3 = '' OR kind = $3)
			AND      ($4 = '' OR environment = $4)
			AND      ($5 = '' OR owner = $5)
			AND      ($6 = 0 OR owner = '')
			AND      ($7 = 0 OR shadow = 1)
			AND      ($8 = '' OR state = $8)
			AND      ($9 = '' OR account = $9)
			ORDER BY name, id
			LIMIT    $10`
		return collect(ctx, t.tx, all, scanText[nhi.ID], args...)
	}
	for n := range inventory.MaxWords {
		from, to := "", ""
		if n < len(f.Words) {
			from, to = f.Words[n], after(f.Words[n])
		}
		args = append(args, from, to)
	}
	const found = `
		-- The same, of those that have words beginning with $11, $13 and $15.
		SELECT   id
		FROM     identity
		WHERE    id IN (SELECT identity_id FROM identity_word WHERE word >= $11 AND word < $12)
		AND      ($13 = '' OR id IN (SELECT identity_id FROM identity_word WHERE word >= $13 AND word < $14))
		AND      ($15 = '' OR id IN (SELECT identity_id FROM identity_word WHERE word >= $15 AND word < $16))
		AND      (name, id) > ($1, $2)
		AND      ($3 = '' OR kind = $3)
		AND      ($4 = '' OR environment = $4)
		AND      ($5 = '' OR owner = $5)
		AND      ($6 = 0 OR owner = '')
		AND      ($7 = 0 OR shadow = 1)
		AND      ($8 = '' OR state = $8)
		AND      ($9 = '' OR account = $9)
		ORDER BY name, id
		LIMIT    $10`
	return collect(ctx, t.tx, found, scanText[nhi.ID], args...)
}

// after returns the text that follows every text beginning with prefix.
func after(prefix string) string { return prefix + "\U0010FFFF" }

// Counts implements [inventory.Lists].
func (t Tx) Counts(ctx context.Context) (inventory.Counts, error) {
	const identities = `
		-- Identities by what the overview shows.
		SELECT   kind,
		         SUM(CASE WHEN state <> 'retired' THEN 1 ELSE 0 END),
		         SUM(CASE WHEN state <> 'retired' AND owner = '' THEN 1 ELSE 0 END),
		         SUM(CASE WHEN state <> 'retired' AND shadow = 1 THEN 1 ELSE 0 END),
		         SUM(CASE WHEN state = 'quarantined' THEN 1 ELSE 0 END),
		         SUM(CASE WHEN state = 'retired' THEN 1 ELSE 0 END),
		         SUM(CASE WHEN state <> 'retired' AND class = 'unknown' THEN 1 ELSE 0 END),
		         SUM(CASE WHEN state <> 'retired' AND class = 'production' THEN 1 ELSE 0 END)
		FROM     identity
		GROUP BY kind
		ORDER BY kind
		LIMIT    1000`
	out := inventory.Counts{ByKind: make(map[nhi.Kind]int)}
	rows, err := collect(ctx, t.tx, identities, func(s scanner) (r [7]int, err error) {
		var kind nhi.Kind
		err = s.Scan(&kind, &r[0], &r[1], &r[2], &r[3], &r[4], &r[5], &r[6])
		if r[0] > 0 {
			out.ByKind[kind] = r[0]
		}
		return r, err
	})
	if err != nil {
		return inventory.Counts{}, err
	}
	for _, r := range rows {
		for n, to := range []*int{&out.Identities, &out.Unowned, &out.Shadow, &out.Quarantined, &out.Retired, &out.UnknownEnvironment, &out.Production} {
			*to += r[n]
		}
	}
	const credentials = `
		SELECT COUNT(*), COALESCE(SUM(CASE WHEN state IN ('active', 'narrowed') THEN 0 ELSE 1 END), 0)
		FROM   credential`
	if err := t.tx.QueryRow(ctx, credentials).Scan(&out.Credentials, &out.DeadCredentials); err != nil {
		return inventory.Counts{}, err
	}
	const admins = `
		SELECT COUNT(DISTINCT identity_id)
		FROM   grant_
		WHERE  admin = 1`
	err = t.tx.QueryRow(ctx, admins).Scan(&out.Admins)
	return out, err
}
