package view

import (
	"context"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storerespond "github.com/muster-id/muster/internal/store/respond"
)

// Lists implements frame.Lists over the store.
type Lists struct {
	Found *storerespond.Store
	Held  storeinventory.Store
}

// Findings implements frame.Lists.
func (l Lists) Findings(ctx context.Context, p filter.Part) (filter.Slice[nhi.Finding], error) {
	return l.Found.List(ctx, p)
}

// Credentials implements frame.Lists.
func (l Lists) Credentials(ctx context.Context, p filter.Part) (filter.Slice[nhi.Credential], error) {
	return l.Held.Credentials(ctx, p)
}

// Actions implements frame.Lists.
func (l Lists) Actions(ctx context.Context, behind filter.Position, limit int) ([]nhi.Action, error) {
	return l.Found.ActionsBefore(ctx, behind.Number, behind.ID, limit)
}

// Rank implements frame.Lists.
func (l Lists) Rank(s nhi.Severity) int { return storerespond.Rank(s) }

// OthersDead is how old a request with an idempotency key must be, of another
// process on the same database, to count as one that died. No request takes
// so long.
const OthersDead = 10 * time.Minute
