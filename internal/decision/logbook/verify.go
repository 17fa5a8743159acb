package logbook

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/muster-id/muster/internal/journal"
)

// A Proof says what Verify read. With an error, it tells how far the journal
// is good.
type Proof struct {
	Decisions uint64    `json:"decisions"`
	First     uint64    `json:"first"` // number of the oldest record; 0 when there is none
	Last      uint64    `json:"last"`
	From      time.Time `json:"from,omitzero"` // of the earliest decision
	Until     time.Time `json:"until,omitzero"`
	// Before is the hash of the record before the first one, which is gone.
	// Zero when the journal begins at its beginning.
	Before journal.Hash `json:"-"`
}

// Verify reads the whole journal of decisions in dir and checks every
// checksum, the chain of hashes, the sequence, and that every record is a
// decision. The error is a *journal.Fault naming the first record that is
// wrong. It needs no lock and works beside the server that writes. A cut at
// the very end shows only against something that was kept elsewhere.
func Verify(ctx context.Context, dir string) (Proof, error) {
	var p Proof
	if segments, err := filepath.Glob(filepath.Join(dir, "*.seg")); err != nil || len(segments) == 0 {
		return p, errors.Join(err, &journal.Fault{Kind: journal.Cut, Seq: 1, Reason: "no journal is there"})
	}
	for rec, err := range journal.Read(dir, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return p, fmt.Errorf("verify decisions: %w", err)
		}
		d, err := Decode(rec.Payload)
		if err != nil {
			return p, &journal.Fault{Kind: journal.Changed, Segment: fmt.Sprintf("%020d.seg", rec.Segment), Offset: rec.Offset, Seq: rec.Seq, Reason: "it is no decision"}
		}
		if p.Decisions == 0 {
			p.First, p.Before = rec.Seq, rec.Prev
		}
		p.Last = rec.Seq
		p.Decisions++
		if p.From.IsZero() || d.At.Before(p.From) {
			p.From = d.At
		}
		if d.At.After(p.Until) {
			p.Until = d.At
		}
	}
	return p, nil
}
