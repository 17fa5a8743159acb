package server

import (
	"context"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storerespond "github.com/muster-id/muster/internal/store/respond"
)

// lists implements api.Lists over the store.
type lists struct {
	found *storerespond.Store
	held  storeinventory.Store
}

// Findings implements api.Lists.
func (l lists) Findings(ctx context.Context, p filter.Part) (filter.Slice[nhi.Finding], error) {
	return l.found.List(ctx, p)
}

// Credentials implements api.Lists.
func (l lists) Credentials(ctx context.Context, p filter.Part) (filter.Slice[nhi.Credential], error) {
	return l.held.Credentials(ctx, p)
}

// Actions implements api.Lists.
func (l lists) Actions(ctx context.Context, behind filter.Position, limit int) ([]nhi.Action, error) {
	return l.found.ActionsBefore(ctx, behind.Number, behind.ID, limit)
}

// Rank implements api.Lists.
func (l lists) Rank(s nhi.Severity) int { return storerespond.Rank(s) }
