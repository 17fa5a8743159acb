package inventory

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

// tallied are the fields that a tally knows, in SQL.
var tallied = filter.Columns{
	"provider": "provider", "account": "account", "kind": "kind", "environment": "environment", "class": "class", "owner": "owner",
	"state": "state", "shadow": "shadow", "static": "static", "admin": "admin", "attestable": "attestable", "risk": "band",
}

// split parts a filter into the terms that a tally answers and the rest.
func split(e filter.Expr) (sorts, rest filter.Expr) {
	for _, term := range e.Terms {
		if same, ok := banded(term); ok {
			sorts.Terms = append(sorts.Terms, same)
		} else {
			rest.Terms = append(rest.Terms, term)
		}
	}
	return sorts, rest
}

// banded returns a term as it is asked of a tally, false if that cannot be. Of
// risk a tally knows the band, so a comparison must be at the end of one.
func banded(t filter.Term) (filter.Term, bool) {
	if _, ok := tallied[t.Field.Name]; !ok || t.Op == filter.Bare {
		return t, false
	}
	if t.Field.Name != "risk" || t.Op == filter.Present {
		return t, true
	}
	at := t.Values[0].Number
	switch t.Op {
	case filter.Greater:
		t.Op, at = filter.GreaterEqual, at+1
	case filter.LessEqual:
		t.Op, at = filter.Less, at+1
	case filter.Is:
		return t, len(t.Values) == 1 && at == 0
	}
	t.Values = []filter.Value{{Number: at}}
	return t, slices.Contains(bands, int(at))
}

// sortsWhere is the predicate of the sorts that a filter and scopes leave.
func sortsWhere(sorts filter.Expr, within nhi.Scopes, first int) (string, []any, error) {
	text, args, err := sorts.SQL(tallied, nil, first)
	if err != nil {
		return "", nil, err
	}
	scope, more := filter.Within(within, "owner", "environment", first+len(args))
	return text + "\n\t\tAND " + scope, append(args, more...), nil
}

// sum counts the identities of the sorts that a filter and scopes leave.
func (t Tx) sum(ctx context.Context, sorts filter.Expr, within nhi.Scopes) (int, error) {
	where, args, err := sortsWhere(sorts, within, 1)
	if err != nil {
		return 0, err
	}
	return t.number(ctx, "SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) FROM identity_tally WHERE "+where, args...)
}

// number runs a query that yields one number.
func (t Tx) number(ctx context.Context, query string, args ...any) (n int, err error) {
	rows, err := t.tx.QueryOnce(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	if rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

// count counts what a plan finds: exactly where the tally knows, else up to a
// bound.
func (t Tx) count(ctx context.Context, p plan) (n int, atLeast bool, err error) {
	if p.exact {
		return p.n, false, nil
	}
	n, err = t.number(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM identity WHERE "+p.where+" LIMIT "+p.with(inventory.MaxCount+1)+") AS found", p.args...)
	return min(n, inventory.MaxCount), n > inventory.MaxCount, err
}

// Facets implements [inventory.Lists].
func (t Tx) Facets(ctx context.Context, e filter.Expr, within nhi.Scopes) ([]inventory.Facet, error) {
	all, err := t.facets(ctx, e, within, inventory.FacetFields)
	if err != nil {
		return nil, err
	}
	for i, field := range inventory.FacetFields {
		without := e.Without(field)
		if len(without.Terms) == len(e.Terms) {
			continue
		}
		own, err := t.facets(ctx, without, within, []string{field})
		if err != nil {
			return nil, err
		}
		all[i] = own[0]
	}
	for i := range all {
		all[i] = inventory.Arrange(all[i])
	}
	return all, nil
}

// facets counts the values of fields among what e describes: by sorts, or if
// e asks for what a tally does not know, among the first that are found.
func (t Tx) facets(ctx context.Context, e filter.Expr, within nhi.Scopes, fields []string) ([]inventory.Facet, error) {
	var names []string
	for _, f := range fields {
		names = append(names, tallied[f])
	}
	list := strings.Join(names, ", ")
	sorts, rest := split(e)
	var from string
	var args []any
	bound := math.MaxInt
	if len(rest.Terms) == 0 {
		where, values, err := sortsWhere(sorts, within, 1)
		if err != nil {
			return nil, err
		}
		from, args = "SELECT "+list+", n FROM identity_tally WHERE "+where, values
	} else {
		p, err := t.planned(ctx, e, within, "name")
		if err != nil {
			return nil, err
		}
		from = "SELECT " + strings.ReplaceAll(list, "band", bandOfRisk+" AS band") + ", 1 AS n FROM identity WHERE " + p.where + " LIMIT " + p.with(inventory.MaxCount+1)
		args, bound = p.args, inventory.MaxCount
	}
	query := `
		-- Identities by every combination of the values of some fields.
		SELECT   ` + list + `, CAST(SUM(n) AS BIGINT)
		FROM     (` + from + `) AS found
		GROUP BY ` + list
	return t.tell(ctx, fields, bound, query, args)
}

// bandOfRisk is the band of a row of identity.
const bandOfRisk = "CASE WHEN risk >= 75 THEN 75 WHEN risk >= 50 THEN 50 WHEN risk >= 25 THEN 25 WHEN risk >= 1 THEN 1 ELSE 0 END"

// tell reads counted combinations and adds them up for each field. When they are
// more than bound together, there are others that were not counted.
func (t Tx) tell(ctx context.Context, fields []string, bound int, query string, args []any) ([]inventory.Facet, error) {
	counts := make([]map[string]int, len(fields))
	values := make([]string, len(fields))
	var n, total int
	to := make([]any, 0, len(fields)+1)
	for i := range fields {
		counts[i] = map[string]int{}
		to = append(to, &values[i])
	}
	to = append(to, &n)
	_, err := once(ctx, t.tx, query, func(s scanner) (struct{}, error) {
		err := s.Scan(to...)
		total += n
		for i, v := range values {
			counts[i][v] += n
		}
		return struct{}{}, err
	}, args...)
	if err != nil {
		return nil, err
	}
	var out []inventory.Facet
	for i, field := range fields {
		f := inventory.Facet{Field: field, Values: []inventory.Value{}, AtLeast: total > bound}
		for v, n := range counts[i] {
			f.Values = append(f.Values, inventory.Value{Value: v, Count: n})
		}
		out = append(out, f)
	}
	return out, nil
}

// Counts implements [inventory.Lists].
func (t Tx) Counts(ctx context.Context, within nhi.Scopes) (inventory.Counts, error) {
	const identities = `
		-- Identities by what the overview shows.
		SELECT   kind,
		         CAST(SUM(CASE WHEN state <> 'retired' THEN n ELSE 0 END) AS BIGINT),
		         CAST(SUM(CASE WHEN state <> 'retired' AND owner = '' THEN n ELSE 0 END) AS BIGINT),
		         CAST(SUM(CASE WHEN state <> 'retired' AND shadow = 1 THEN n ELSE 0 END) AS BIGINT),
		         CAST(SUM(CASE WHEN state = 'quarantined' THEN n ELSE 0 END) AS BIGINT),
		         CAST(SUM(CASE WHEN state = 'retired' THEN n ELSE 0 END) AS BIGINT),
		         CAST(SUM(CASE WHEN state <> 'retired' AND class = 'unknown' THEN n ELSE 0 END) AS BIGINT),
		         CAST(SUM(CASE WHEN state <> 'retired' AND class = 'production' THEN n ELSE 0 END) AS BIGINT),
		         CAST(SUM(CASE WHEN admin = 1 THEN n ELSE 0 END) AS BIGINT)
		FROM     identity_tally
		WHERE    ($1 = '' OR REPLACE($1, '[' || owner || '|]', '') <> $1 OR REPLACE($1, '[|' || environment || ']', '') <> $1
		         OR REPLACE($1, '[' || owner || '|' || environment || ']', '') <> $1)
		GROUP BY kind
		ORDER BY kind
		LIMIT    1000`
	out := inventory.Counts{ByKind: make(map[nhi.Kind]int)}
	rows, err := collect(ctx, t.tx, identities, func(s scanner) (r [8]int, err error) {
		var kind nhi.Kind
		err = s.Scan(&kind, &r[0], &r[1], &r[2], &r[3], &r[4], &r[5], &r[6], &r[7])
		if r[0] > 0 {
			out.ByKind[kind] = r[0]
		}
		return r, err
	}, within.Text())
	if err != nil {
		return inventory.Counts{}, err
	}
	for _, r := range rows {
		for n, to := range []*int{&out.Identities, &out.Unowned, &out.Shadow, &out.Quarantined, &out.Retired, &out.UnknownEnvironment, &out.Production, &out.Admins} {
			*to += r[n]
		}
	}
	const everywhere = `
		SELECT (SELECT COUNT(*) FROM credential), (SELECT COUNT(*) FROM credential WHERE state IN ('suspended', 'revoked'))`
	if within == nil {
		err = t.tx.QueryRow(ctx, everywhere).Scan(&out.Credentials, &out.DeadCredentials)
		return out, err
	}
	const credentials = `
		SELECT COUNT(*), COALESCE(SUM(CASE WHEN state IN ('suspended', 'revoked') THEN 1 ELSE 0 END), 0)
		FROM   credential
		WHERE  identity_id IN (
			SELECT id
			FROM   identity
			WHERE  REPLACE($1, '[' || owner || '|]', '') <> $1
			OR     REPLACE($1, '[|' || environment || ']', '') <> $1
			OR     REPLACE($1, '[' || owner || '|' || environment || ']', '') <> $1)`
	err = t.tx.QueryRow(ctx, credentials, within.Text()).Scan(&out.Credentials, &out.DeadCredentials)
	return out, err
}
