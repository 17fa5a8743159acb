package respond

import (
	"context"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// Settle has whoever told a finding take it back, by a word of the time said, and
// writes the record of that when it was open until then. What was dismissed stays so.
//
// The finding was last seen when it was taken back, and is settled just before, not
// now: so of words that come late, each older one counts for nothing, and each later
// one opens the finding again, however long both took.
func Settle(ctx context.Context, tx *store.Tx, id string, said time.Time, act nhi.Act) (nhi.Finding, error) {
	f, err := getFinding(ctx, tx, id)
	if err != nil || f.LastSeen.After(said) {
		return f, err // it was told again since
	}
	f.LastSeen = said.UTC()
	before := f.LastSeen.Add(-time.Microsecond)
	if f.Status == nhi.Resolved || f.Status == nhi.Dismissed {
		if f.Settled.Before(before) {
			f.Settled = before
		}
		return f, putFinding(ctx, tx, f)
	}
	f.Status, f.Settled = nhi.Resolved, before
	if err := putFinding(ctx, tx, f); err != nil {
		return f, err
	}
	return f, dueAct(ctx, tx, act)
}
