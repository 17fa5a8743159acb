package inventory

import (
	"context"

	"github.com/muster-id/muster/internal/inventory"
)

// Few is the bound between what is found and sorted, and what is walked to.
var Few = &few

// PageQuery is the query that lists a page, and whether it is driven by what
// little there is. It is empty when there is nothing to list.
func (t Tx) PageQuery(ctx context.Context, f inventory.Filter) (query string, args []any, driven bool, err error) {
	p, err := t.planned(ctx, f.Expr, f.Within, f.Order.Field.Name)
	if err != nil || p.exact && p.n == 0 {
		return "", nil, false, err
	}
	query, args = p.page(f)
	return query, args, p.driven, nil
}
