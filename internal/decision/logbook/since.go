package logbook

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// Since yields the decisions in the journal in dir that were made at since or
// later, the oldest first, up to those that are there when it comes to the
// end. It reads beside the process that writes, one segment after the other,
// and keeps nothing. What is pruned while it reads is left out. It ends after
// the first error, which may be that of ctx.
func Since(ctx context.Context, dir string, since time.Time) iter.Seq2[nhi.Decision, error] {
	return func(yield func(nhi.Decision, error) bool) {
		spans, err := journal.Spans(dir)
		if err != nil {
			yield(nhi.Decision{}, fmt.Errorf("look for decisions: %w", err))
			return
		}
		for i := range spans {
			if i+1 < len(spans) && spans[i+1].Began.Before(since.Add(-early)) {
				continue // it was over before
			}
			for rec, err := range journal.Scan(dir, spans[i].First, 0) {
				if errors.Is(err, journal.ErrPruned) {
					break
				}
				if err == nil {
					err = ctx.Err()
				}
				var d nhi.Decision
				if err == nil && !rec.At.Before(since.Add(-early)) {
					if d, err = Decode(rec.Payload); err == nil && d.At.Before(since) {
						continue
					}
				} else if err == nil {
					continue
				}
				if err != nil {
					err = fmt.Errorf("record %d: %w", rec.Seq, err)
				}
				if !yield(d, err) || err != nil {
					return
				}
			}
		}
	}
}
