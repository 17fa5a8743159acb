package frame

import (
	"context"
	"slices"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
)

// A Source is where the rows of a list come from: it returns a page of them
// and the token of the next one, which is empty on the last. Whatever is added
// or removed meanwhile, a row that is there from the first page to the last is
// on exactly one of them: a token names the place of a row in the order, not
// how many rows come before it.
type Source[R any] func(ctx context.Context, q *Query) (rows []R, next string, err error)

// Serve answers a list: what its source has, as clients see it. err is that of
// Read.
func Serve[R, C any](ctx context.Context, q *Query, err error, from Source[R], show func(R) C) (*Body[client.Page[C]], error) {
	if err != nil {
		return nil, Fail(err)
	}
	rows, next, err := from(ctx, q)
	if err != nil {
		return nil, Fail(err)
	}
	return &Body[client.Page[C]]{client.Page[C]{Items: Each(rows, show), Next: next, Total: q.From.Total, AtLeast: q.From.AtLeast}}, nil
}

// Stored is a list that the store narrows and orders. at says where its last
// row stands.
func Stored[R any](fetch func(context.Context, filter.Part) (filter.Slice[R], error), at func(*R) filter.Position) Source[R] {
	return func(ctx context.Context, q *Query) ([]R, string, error) {
		found, err := fetch(ctx, q.Part(ctx))
		if err != nil {
			return nil, "", err
		}
		if q.First() {
			q.Counted(found.Total, found.AtLeast)
		}
		if !found.More {
			return found.Rows, "", nil
		}
		last := at(&found.Rows[len(found.Rows)-1])
		return found.Rows, q.Next(last.Text, last.Number, last.ID), nil
	}
}

// Whole is a list that is small enough to be read as a whole for each page:
// what people make by hand.
func Whole[R any](s *Frame, t *Table[R], all func(context.Context) ([]R, error)) Source[R] {
	return func(ctx context.Context, q *Query) ([]R, string, error) {
		rows, err := all(ctx)
		if err != nil {
			return nil, "", err
		}
		keep := keeps(ctx, s, t, q)
		rows = slices.DeleteFunc(slices.Clone(rows), func(r R) bool { return !keep(&r) })
		if q.First() {
			q.Counted(len(rows), false)
		}
		slices.SortFunc(rows, func(a, b R) int { return compare(q.Order, t.position(q.Order, &a), t.position(q.Order, &b)) })
		if !q.First() {
			after := filter.Position{Text: q.From.Text, Number: q.From.Number, ID: q.From.ID}
			rows = slices.DeleteFunc(rows, func(r R) bool { return compare(q.Order, t.position(q.Order, &r), after) <= 0 })
		}
		if len(rows) <= q.Limit {
			return rows, "", nil
		}
		last := t.position(q.Order, &rows[q.Limit-1])
		return rows[:q.Limit], q.Next(last.Text, last.Number, last.ID), nil
	}
}

// Scanned is a list that has no index and is read backwards only, as by -at.
// fetch returns what follows a row, the newest first; the zero place is in
// front of all.
func Scanned[R any](s *Frame, t *Table[R], fetch func(context.Context, Place) ([]R, error)) Source[R] {
	return func(ctx context.Context, q *Query) ([]R, string, error) {
		if !q.Order.Descending {
			return nil, "", nhi.Invalidf("order: this list is read backwards only, as by -%s", q.Order.Field.Name)
		}
		rows, next, err := scan(ctx, q, fetch, keeps(ctx, s, t, q), func(r *R) (int64, string) {
			at := t.position(q.Order, r)
			return at.Number, at.ID
		})
		if err == nil && q.First() {
			q.Counted(len(rows), next != "")
		}
		return rows, next, err
	}
}

// keeps says whether a row is in a list: it passes the filter, and the caller
// may see whom it is about.
func keeps[R any](ctx context.Context, s *Frame, t *Table[R], q *Query) func(*R) bool {
	all := t.About == nil || Within(ctx) == nil
	return func(r *R) bool { return t.Match(q.Expr, r) && (all || s.Visible(ctx, access.Read, t.About(r))) }
}

// scan goes through what has no index, the newest first, until a page is full
// or it has looked at enough for one request. keep says whether a row is
// wanted; at says where a row stands. A page that ends for the second reason
// may be short, and has a next one.
func scan[T any](ctx context.Context, q *Query, fetch func(context.Context, Place) ([]T, error), keep func(*T) bool, at func(*T) (int64, string)) ([]T, string, error) {
	const most = 20_000 // rows looked at for one page
	from, looked, out := q.From, 0, []T{}
	for looked < most {
		rows, err := fetch(ctx, from)
		if err != nil {
			return nil, "", err
		}
		for i := range rows {
			n, id := at(&rows[i])
			if keep(&rows[i]) {
				if len(out) == q.Limit {
					n, id := at(&out[len(out)-1])
					return out, q.Next("", n, id), nil
				}
				out = append(out, rows[i])
			}
			from.Number, from.ID = n, id
		}
		if len(rows) == 0 {
			return out, "", nil
		}
		looked += len(rows)
	}
	return out, q.Next("", from.Number, from.ID), nil
}
