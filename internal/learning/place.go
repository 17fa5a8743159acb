package learning

import (
	"context"
	"fmt"
	"log/slog"
)

// findPlace sees to it that the position fits the stream before anything is
// read from it. Somebody may have put an older stream in its place, or another
// one when the stream moved to other servers; what comes into it next must not
// be passed over. Events that are read again change nothing.
func (l *Learner) findPlace(ctx context.Context) error {
	origin, err := l.Stream.Origin(ctx)
	if err != nil {
		return fmt.Errorf("find the place in the stream: %w", err)
	}
	last, err := l.Stream.LastSeq(ctx, "")
	if err != nil {
		return fmt.Errorf("find the place in the stream: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.origin != "" && origin != l.origin:
		slog.Warn("the stream is another one than was learned from; it is learned from its beginning", "was", l.origin, "is", origin)
		l.activity = 0
	case last < l.activity:
		slog.Warn("the stream is older than what was learned from it; learning goes on at its end", "learned", l.activity, "end", last)
		l.activity = last
	}
	l.origin = origin
	if _, err := l.recount(ctx, "activity", last); err != nil {
		return fmt.Errorf("find the place in the stream: %w", err)
	}
	l.placed = true
	return nil
}

// rewindDecisions does the same for the journal of decisions.
func (l *Learner) rewindDecisions(ctx context.Context) (err error) {
	if end := l.Decisions.Last().Seq; end < l.decisions {
		slog.Warn("the journal of decisions is older than what was learned from it; learning goes on at its end", "learned", l.decisions, "end", end)
		l.decisions, l.saved = end, end // what comes next was never learned
	}
	if l.counted, err = l.recount(ctx, "decisions", l.Decisions.Last().Seq); err != nil {
		return fmt.Errorf("find the place in the journal of decisions: %w", err)
	}
	return nil
}
