package inventory

import (
	"context"
	"strings"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// columns are the fields of filter.Identities in SQL.
var columns = filter.Columns{
	"id": "id", "name": "name", "kind": "kind", "provider": "provider", "account": "account", "native": "native", "path": "path",
	"environment": "environment", "class": "class", "owner": "owner", "state": "state", "risk": "risk", "last_used": "last_seen",
	"created": "created", "shadow": "shadow", "attestable": "attestable",
	"static": `(CASE WHEN EXISTS (
			SELECT 1
			FROM   credential c
			WHERE  c.identity_id = identity.id
			AND    c.expires = 0
			AND    c.state IN ('active', 'narrowed')) THEN 1 ELSE 0 END)`,
	"admin": `(CASE WHEN EXISTS (
			SELECT 1
			FROM   grant_ g
			WHERE  g.identity_id = identity.id
			AND    g.admin = 1) THEN 1 ELSE 0 END)`,
}

// What a list is driven by decides how long it takes, and an engine cannot
// know: it sees parameters, not values. So each term that has an index is
// counted, up to few rows. If one is rarer than that, it drives and the little
// it finds is sorted. If none is, the index of the list's order drives, which
// ends as soon as the page is full; the terms are then written so that no
// engine takes their index.
const few = 2000

// indexed are the columns with an index of their own, and how the others see
// them when it must not be used.
var indexed = map[string]string{
	"id": "", "name": "", "kind": "", "account": "", "environment": "", "owner": "", "state": "", "path": "",
}

// A plan is a filter that is ready to run.
type plan struct {
	where string
	args  []any
}

// planned says how to ask for what e describes, with arguments from $first on.
func (t Tx) planned(ctx context.Context, e filter.Expr, within nhi.Scopes, first int) (plan, error) {
	best, at := few+1, -1
	for i := range e.Terms {
		n, err := t.rarity(ctx, e.Terms[i])
		if err != nil {
			return plan{}, err
		}
		if n < best {
			best, at = n, i
		}
	}
	var p plan
	for i := range e.Terms {
		cols, search := walked, walkedWord
		if i == at {
			cols, search = columns, drivingWord
		}
		text, args, err := filter.Expr{Terms: e.Terms[i : i+1]}.SQL(cols, search, first+len(p.args))
		if err != nil {
			return plan{}, err
		}
		if p.where != "" {
			p.where += "\n\t\tAND "
		}
		p.where += text
		p.args = append(p.args, args...)
	}
	text, args := filter.Within(within, "owner", "environment", first+len(p.args))
	if p.where != "" {
		text = p.where + "\n\t\tAND " + text
	}
	return plan{text, append(p.args, args...)}, nil
}

// walked are the columns without their indexes.
var walked = func() filter.Columns {
	out := filter.Columns{}
	for field, column := range columns {
		if _, ok := indexed[field]; ok {
			column = "(" + column + " || '')"
		}
		out[field] = column
	}
	return out
}()

// rarity counts the rows that a term finds by its index, up to few+1; more is
// what it says when there is no index that helps.
func (t Tx) rarity(ctx context.Context, term filter.Term) (int, error) {
	const more = few + 1
	if term.Not {
		return more, nil
	}
	table := "identity"
	switch _, ok := indexed[term.Field.Name]; {
	case term.Op == filter.Bare:
		table = "identity_word"
	case term.Op != filter.Is || (!ok && term.Field.Name != "shadow"):
		return more, nil
	}
	if term.Field.Name == "shadow" {
		if len(term.Values) != 1 || term.Values[0].Number != 1 {
			return more, nil
		}
		return t.number(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM identity WHERE shadow = 1 LIMIT $1) AS found", more)
	}
	if table == "identity_word" {
		least := more
		for _, w := range inventory.QueryWords(term.Values[0].Text) {
			n, err := t.number(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM identity_word WHERE word >= $1 AND word < $2 LIMIT $3) AS found", w, filter.After(w), more)
			if err != nil {
				return 0, err
			}
			least = min(least, n)
		}
		return least, nil
	}
	where, args, err := filter.Expr{Terms: []filter.Term{term}}.SQL(columns, nil, 2)
	if err != nil {
		return 0, err
	}
	return t.number(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM identity WHERE "+where+" LIMIT $1) AS found", append([]any{more}, args...)...)
}

// drivingWord finds identities by the index of words.
func drivingWord(word string, arg func(any) string) string {
	var parts []string
	for _, w := range inventory.QueryWords(word) {
		parts = append(parts, "id IN (SELECT identity_id FROM identity_word WHERE word >= "+arg(w)+" AND word < "+arg(filter.After(w))+")")
	}
	return every(parts)
}

// walkedWord looks into the words that a row holds itself. REPLACE is the way
// to look for text inside text that both engines have.
func walkedWord(word string, arg func(any) string) string {
	var parts []string
	for _, w := range inventory.QueryWords(word) {
		parts = append(parts, "REPLACE(' ' || words, "+arg(" "+w)+", '') <> ' ' || words")
	}
	return every(parts)
}

// every joins conditions. Signs alone are no word, and find nothing.
func every(parts []string) string {
	if len(parts) == 0 {
		return "1 = 0"
	}
	return strings.Join(parts, " AND ")
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
		p.Next = cursorOf(f.Order, p.Identities[f.Limit-1])
	}
	if f.Count {
		p.Total, p.AtLeast, err = t.count(ctx, f.Expr, f.Within)
	}
	return p, err
}

// cursorOf is where a list in an order goes on behind i.
func cursorOf(o filter.Order, i nhi.Identity) inventory.Cursor {
	c := inventory.Cursor{ID: i.ID}
	switch o.Field.Name {
	case "risk":
		c.Number = int64(i.Risk)
	case "last_used":
		c.Number = store.Micros(i.LastSeen)
	case "created":
		c.Number = store.Micros(i.Created)
	default:
		c.Text = i.Name
	}
	return c
}

// ids returns the ids of a page and, if there is one, of the row after it.
func (t Tx) ids(ctx context.Context, f inventory.Filter) ([]nhi.ID, error) {
	column := columns[f.Order.Field.Name]
	sign, descending := ">", ""
	if f.Order.Descending {
		sign, descending = "<", " DESC"
	}
	behind, args := "1 = 1", []any{f.Limit + 1}
	if f.After.ID != "" {
		behind = "(" + column + ", id) " + sign + " ($2, $3)"
		args = append(args, any(f.After.Number), string(f.After.ID))
		if f.Order.Field.Kind == filter.Text {
			args[1] = f.After.Text
		}
	}
	p, err := t.planned(ctx, f.Expr, f.Within, len(args)+1)
	if err != nil {
		return nil, err
	}
	query := `
		-- One page of the identities that a filter describes.
		SELECT   id
		FROM     identity
		WHERE    ` + behind + `
		AND      ` + p.where + `
		ORDER BY ` + column + descending + `, id` + descending + `
		LIMIT    $1`
	return once(ctx, t.tx, query, scanText[nhi.ID], append(args, p.args...)...)
}

// once gathers what a query yields that was put together for one question.
func once[T any](ctx context.Context, tx *store.Tx, query string, scan func(scanner) (T, error), args ...any) ([]T, error) {
	rows, err := tx.QueryOnce(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// count counts what a filter describes, exactly up to a bound.
func (t Tx) count(ctx context.Context, e filter.Expr, within nhi.Scopes) (n int, atLeast bool, err error) {
	if len(e.Terms) == 0 && within == nil {
		n, err = t.number(ctx, "SELECT COUNT(*) FROM identity")
		return n, false, err
	}
	p, err := t.planned(ctx, e, within, 2)
	if err != nil {
		return 0, false, err
	}
	n, err = t.number(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM identity WHERE "+p.where+" LIMIT $1) AS found", append([]any{inventory.MaxCount + 1}, p.args...)...)
	return min(n, inventory.MaxCount), n > inventory.MaxCount, err
}

// narrow are the facets with few values. They are counted together, in the
// order of the index that holds them all.
var narrow = []string{"provider", "kind", "environment", "class", "state", "shadow"}

// Facets implements [inventory.Lists].
func (t Tx) Facets(ctx context.Context, e filter.Expr, within nhi.Scopes) ([]inventory.Facet, error) {
	together, err := t.together(ctx, e, within)
	if err != nil {
		return nil, err
	}
	var out []inventory.Facet
	for _, field := range inventory.FacetFields {
		f := inventory.Facet{Field: field, Values: together[field]}
		without := e.Without(field)
		if f.Values == nil || len(without.Terms) < len(e.Terms) {
			if f.Values, err = t.apart(ctx, field, without, within); err != nil {
				return nil, err
			}
		}
		out = append(out, inventory.Arrange(f))
	}
	return out, nil
}

// together counts the narrow facets in one go.
func (t Tx) together(ctx context.Context, e filter.Expr, within nhi.Scopes) (map[string][]inventory.Value, error) {
	p, err := t.planned(ctx, e, within, 1)
	if err != nil {
		return nil, err
	}
	query := `
		-- Identities by every combination of the facets with few values.
		SELECT   provider, kind, environment, class, state, shadow, COUNT(*)
		FROM     identity
		WHERE    ` + p.where + `
		GROUP BY provider, kind, environment, class, state, shadow`
	counts := map[string]map[string]int{}
	for _, f := range narrow {
		counts[f] = map[string]int{}
	}
	_, err = once(ctx, t.tx, query, func(s scanner) (struct{}, error) {
		var v [6]string
		var n int
		err := s.Scan(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &n)
		for i, f := range narrow {
			counts[f][v[i]] += n
		}
		return struct{}{}, err
	}, p.args...)
	out := map[string][]inventory.Value{}
	for f, values := range counts {
		out[f] = []inventory.Value{}
		for v, n := range values {
			out[f] = append(out[f], inventory.Value{Value: v, Count: n})
		}
	}
	return out, err
}

// apart counts the values of one facet.
func (t Tx) apart(ctx context.Context, field string, e filter.Expr, within nhi.Scopes) ([]inventory.Value, error) {
	p, err := t.planned(ctx, e, within, 2)
	if err != nil {
		return nil, err
	}
	column := columns[field]
	if field == "risk" {
		column = "CASE WHEN risk >= 75 THEN '75' WHEN risk >= 50 THEN '50' WHEN risk >= 25 THEN '25' WHEN risk >= 1 THEN '1' ELSE '0' END"
	}
	query := `
		-- Identities by the values of one facet, the most frequent first.
		SELECT   ` + column + `, COUNT(*)
		FROM     identity
		WHERE    ` + p.where + `
		GROUP BY 1
		ORDER BY 2 DESC, 1
		LIMIT    $1`
	return once(ctx, t.tx, query, func(s scanner) (v inventory.Value, err error) {
		err = s.Scan(&v.Value, &v.Count)
		return v, err
	}, append([]any{inventory.MaxValues}, p.args...)...)
}

// Counts implements [inventory.Lists].
func (t Tx) Counts(ctx context.Context, within nhi.Scopes) (inventory.Counts, error) {
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
		WHERE    ($1 = '' OR REPLACE($1, '[' || owner || '|]', '') <> $1 OR REPLACE($1, '[|' || environment || ']', '') <> $1
		         OR REPLACE($1, '[' || owner || '|' || environment || ']', '') <> $1)
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
	}, within.Text())
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
		FROM   credential
		WHERE  ($1 = '' OR identity_id IN (
			SELECT id
			FROM   identity
			WHERE  REPLACE($1, '[' || owner || '|]', '') <> $1
			OR     REPLACE($1, '[|' || environment || ']', '') <> $1
			OR     REPLACE($1, '[' || owner || '|' || environment || ']', '') <> $1))`
	if err := t.tx.QueryRow(ctx, credentials, within.Text()).Scan(&out.Credentials, &out.DeadCredentials); err != nil {
		return inventory.Counts{}, err
	}
	const admins = `
		SELECT COUNT(DISTINCT identity_id)
		FROM   grant_
		WHERE  admin = 1
		AND    ($1 = '' OR identity_id IN (
			SELECT id
			FROM   identity
			WHERE  REPLACE($1, '[' || owner || '|]', '') <> $1
			OR     REPLACE($1, '[|' || environment || ']', '') <> $1
			OR     REPLACE($1, '[' || owner || '|' || environment || ']', '') <> $1))`
	err = t.tx.QueryRow(ctx, admins, within.Text()).Scan(&out.Admins)
	return out, err
}
