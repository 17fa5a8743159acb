package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/view"
)

// segmentAge is how old a segment of the record of decisions becomes, and so how
// exact its retention by age is.
const segmentAge = 24 * time.Hour

// A cut is what the audit log keeps of decisions that were forgotten: with it
// whoever has only the rest can prove that nothing else is missing.
type cut struct {
	First    uint64 `json:"first"`  // the oldest decision that is left
	Before   string `json:"before"` // hash of the last one that is gone
	Segments int    `json:"segments"`
	Bytes    int64  `json:"bytes"`
}

// forgetDecisions keeps the decisions of the retention, and those that nobody
// has learned from for good. The act is on record before they go.
func (s *Server) forgetDecisions(ctx context.Context, now time.Time) {
	// A backup copies what was learned first and the decisions last: what it
	// has not learned from must still be there then.
	if !s.backups.busy.TryLock() {
		return
	}
	defer s.backups.busy.Unlock()
	keep := s.reloader.Current().Retention
	gone, err := s.journal.Outdated(now.Add(-keep.DecisionsAge), keep.DecisionsBytes, s.learner.Saved())
	if err == nil && gone.Segments == 0 {
		return
	}
	if err == nil {
		c := cut{First: gone.First, Before: fmt.Sprintf("%x", gone.Before), Segments: gone.Segments, Bytes: gone.Bytes}
		err = s.acts.Record(ctx, nhi.Act{
			Key: fmt.Sprintf("decisions.forget:%d", gone.First), At: now, Actor: "system", Act: "decisions.forget", Target: "decisions", Reason: "retention", Outcome: "done",
			Detail: view.Encode(c),
		})
	}
	if err == nil {
		err = s.journal.Prune(gone.First)
	}
	if err != nil {
		slog.Warn("old decisions could not be forgotten; tried again in an hour", "error", err)
		return
	}
	slog.Info("forgot old decisions", "first", gone.First, "bytes", gone.Bytes)
}

// relieve gives the journals their reserve back and ends their refusal once the
// disk has room and may be written again. What fails is tried at the next beat.
func (s *Server) relieve() {
	if h := s.audit.Health(); h.OnReserve || h.Err != nil {
		_ = s.audit.Rearm()
	}
	if h := s.journal.Health(); h.OnReserve || h.Err != nil {
		_ = s.journal.Rearm()
	}
}
