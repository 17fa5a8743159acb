package inventory

import (
	"context"
	"maps"
	"slices"
	"strconv"
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
	"created": "created", "shadow": "shadow", "static": "static", "admin": "admin", "attestable": "attestable",
}

// hidden are the columns that begin an index, written so that no engine takes
// it.
var hidden = filter.Columns{
	"id": "(id || '')", "name": "(name || '')", "path": "(path || '')", "native": "(native || '')", "provider": "(provider || '')",
	"risk": "(risk + 0)", "last_used": "(last_seen + 0)", "created": "(created + 0)",
}

// What a list is driven by decides how long it takes, and an engine cannot
// know: it sees parameters, not values. The terms that a tally answers are
// counted there, exactly; each other term that has an index is counted by it, up
// to few rows. What is rarest drives, and the little it finds is sorted. If
// nothing is rare, the index of the list's order drives, which ends as soon as
// the page is full; the terms are then written so that no engine takes their
// index.
var few = 5000

// bySort says that a plan is driven by what the tally found.
const bySort = -2

// A plan is a filter that is ready to run.
type plan struct {
	where  string
	args   []any
	driven bool // few rows are looked at
	exact  bool // n is how many rows there are
	n      int
}

// with adds an argument and returns what stands for it.
func (p *plan) with(v any) string {
	p.args = append(slices.Clip(p.args), v)
	return "$" + strconv.Itoa(len(p.args))
}

// planned says how to ask for what e describes, in the order of a field.
func (t Tx) planned(ctx context.Context, e filter.Expr, within nhi.Scopes, order string) (plan, error) {
	sorts, rest := split(e)
	best, at := few+1, -1
	var p plan
	if len(sorts.Terms) > 0 || within != nil || len(rest.Terms) == 0 {
		n, err := t.sum(ctx, sorts, within)
		if err != nil {
			return plan{}, err
		}
		if p.exact, p.n = len(rest.Terms) == 0, n; n < best {
			best, at = n, bySort
		}
	}
	for i := range e.Terms {
		if best == 0 {
			break
		}
		n, err := t.rarity(ctx, e.Terms[i])
		if err != nil {
			return plan{}, err
		}
		if n < best {
			best, at = n, i
		}
	}
	if best == 0 {
		return plan{where: "1 = 0", exact: true}, nil
	}
	p.driven = at != -1
	err := p.write(e, sorts, within, at, order)
	return p, err
}

// write writes the predicate. at is the term that drives, bySort, or -1.
func (p *plan) write(e, sorts filter.Expr, within nhi.Scopes, at int, order string) error {
	add := func(text string, args []any) {
		if p.where != "" {
			p.where += "\n\t\tAND "
		}
		p.where += text
		p.args = append(p.args, args...)
	}
	if at == bySort {
		text, args, err := sortsWhere(sorts, within, 1)
		if err != nil {
			return err
		}
		add("("+sortColumns+") IN (SELECT "+sortColumns+" FROM identity_tally WHERE "+text+")", args)
	}
	for i, term := range e.Terms {
		_, isSort := tallied[term.Field.Name]
		if at == bySort && isSort && term.Field.Name != "risk" && term.Op != filter.Bare {
			continue
		}
		cols, search := filter.Columns{}, walkedWord
		maps.Copy(cols, columns)
		switch {
		case i == at:
			search = drivingWord
		case at != -1 || term.Field.Name != order:
			maps.Copy(cols, hidden)
		}
		text, args, err := filter.Expr{Terms: e.Terms[i : i+1]}.SQL(cols, search, 1+len(p.args))
		if err != nil {
			return err
		}
		if i == at {
			text += indexedWhere(term)
		}
		add(text, args)
	}
	if at != bySort {
		add(filter.Within(within, "owner", "environment", 1+len(p.args)))
	}
	return nil
}

// rarity counts the rows that a term finds by its own index, up to few+1; more
// is what it says when there is none that helps.
func (t Tx) rarity(ctx context.Context, term filter.Term) (int, error) {
	more := few + 1
	if term.Not {
		return more, nil
	}
	if term.Op == filter.Bare {
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
	if _, ok := hidden[term.Field.Name]; !ok || term.Field.Name == "provider" || term.Op == filter.Present {
		return more, nil
	}
	where, args, err := filter.Expr{Terms: []filter.Term{term}}.SQL(columns, nil, 2)
	if err != nil {
		return 0, err
	}
	where += indexedWhere(term)
	return t.number(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM identity WHERE "+where+" LIMIT $1) AS found", append([]any{more}, args...)...)
}

// indexedWhere is what a term must add for the engine to see that an index of
// some rows holds all that it means.
func indexedWhere(t filter.Term) string {
	if t.Field.Name == "path" {
		return " AND path <> ''"
	}
	return ""
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

// List implements [inventory.Lists].
func (t Tx) List(ctx context.Context, f inventory.Filter) (inventory.Page, error) {
	found, err := t.planned(ctx, f.Expr, f.Within, f.Order.Field.Name)
	if err != nil {
		return inventory.Page{}, err
	}
	if found.exact && found.n == 0 {
		return inventory.Page{}, nil
	}
	query, args := found.page(f)
	rows, err := once(ctx, t.tx, query, scanIdentity, args...)
	if err != nil {
		return inventory.Page{}, err
	}
	var p inventory.Page
	for _, row := range rows[:min(len(rows), f.Limit)] {
		p.Identities = append(p.Identities, row.Identity)
	}
	if len(rows) > f.Limit {
		p.Next = cursorOf(f.Order, p.Identities[f.Limit-1])
	}
	if f.Count {
		p.Total, p.AtLeast, err = t.count(ctx, found)
	}
	return p, err
}

// page is the query for a part of what a plan finds.
func (p *plan) page(f inventory.Filter) (query string, args []any) {
	column := columns[f.Order.Field.Name]
	if p.driven { // the little there is gets sorted, whatever index the order has
		column = hidden[f.Order.Field.Name]
	}
	sign, descending := ">", ""
	if f.Order.Descending {
		sign, descending = "<", " DESC"
	}
	page := *p
	behind := "1 = 1"
	if f.After.ID != "" {
		last := any(f.After.Number)
		if f.Order.Field.Kind == filter.Text {
			last = f.After.Text
		}
		behind = "(" + column + ", id) " + sign + " (" + page.with(last) + ", " + page.with(string(f.After.ID)) + ")"
	}
	query = `
		-- One page of the identities that a filter describes.
		SELECT   id, kind, provider, account, native, name, path, environment, class, purpose,
		         state, shadow, owner, owner_confidence, owner_source, risk, labels,
		         created, first_seen, last_seen, attestable, not_before, alias, observed, missed
		FROM     identity
		WHERE    ` + behind + `
		AND      ` + page.where + `
		ORDER BY ` + column + descending + `, id` + descending + `
		LIMIT    ` + page.with(f.Limit+1)
	return query, page.args
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
