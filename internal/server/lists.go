package server

import (
	"context"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storerespond "github.com/muster-id/muster/internal/store/respond"
)

// lists implements frame.Lists over the store.
type lists struct {
	found *storerespond.Store
	held  storeinventory.Store
}

// Findings implements frame.Lists.
func (l lists) Findings(ctx context.Context, p filter.Part) (filter.Slice[nhi.Finding], error) {
	return l.found.List(ctx, p)
}

// Credentials implements frame.Lists.
func (l lists) Credentials(ctx context.Context, p filter.Part) (filter.Slice[nhi.Credential], error) {
	return l.held.Credentials(ctx, p)
}

// Actions implements frame.Lists.
func (l lists) Actions(ctx context.Context, behind filter.Position, limit int) ([]nhi.Action, error) {
	return l.found.ActionsBefore(ctx, behind.Number, behind.ID, limit)
}

// Rank implements frame.Lists.
func (l lists) Rank(s nhi.Severity) int { return storerespond.Rank(s) }

// othersDead is how old a request with an idempotency key must be, of another
// process on the same database, to count as one that died. No request takes
// so long.
const othersDead = 10 * time.Minute

// stale says when the requests of other processes count as dead: at once in a
// data folder, which one process uses at a time.
func (s *Server) stale() time.Duration {
	if s.settings.Config.Store.URL == "" {
		return 0
	}
	return othersDead
}
