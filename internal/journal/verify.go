package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// FaultKind says what was done to a journal.
type FaultKind string

// The kinds of fault.
const (
	Changed   FaultKind = "changed"   // bytes are not what was written
	Cut       FaultKind = "cut"       // records are missing
	Reordered FaultKind = "reordered" // records stand in another order, or twice
)

// Fault is damage to a journal, by accident or by intent. It is an error.
type Fault struct {
	Kind    FaultKind
	Segment string // file name
	Offset  int64  // in bytes, of the place where it shows
	Seq     uint64 // of the record concerned; the first one if several are
	Reason  string // one clause for a person
}

// Error names kind, record and place.
func (f *Fault) Error() string {
	return fmt.Sprintf("journal record %d is %s: %s at offset %d: %s", f.Seq, f.Kind, f.Segment, f.Offset, f.Reason)
}

// Report says what Verify read. With an error, it tells how far the journal
// is good.
type Report struct {
	First    uint64 // oldest record kept; 1 unless the journal was pruned
	Last     uint64 // last good record; First-1 if there is none
	Hash     Hash   // of the last good record
	Records  uint64
	Segments int
	Bytes    int64 // of the segments read to their end
	Torn     Torn  // an unfinished record at the end, not a fault
}

// Verify reads the whole journal in dir and checks every checksum and the
// whole chain. The error is a *Fault naming the first record that was
// changed, cut or reordered. It needs no lock and works beside the process
// that writes, up to what that has written. A cut at the very end, or a
// history recomputed throughout, shows only against a hash kept elsewhere.
func Verify(ctx context.Context, dir string) (Report, error) {
	names, err := segments(dir)
	if err != nil {
		return Report{}, err
	}
	if len(names) == 0 {
		return Report{}, fmt.Errorf("verify %s: no journal is there: %w", dir, os.ErrNotExist)
	}
	r := Report{First: names[0], Last: names[0] - 1, Segments: len(names)}
	w := walker{dir: dir, names: names}
	for rec, err := range w.records() {
		if err != nil {
			return r, explain(dir, names, err)
		}
		if err := ctx.Err(); err != nil {
			return r, fmt.Errorf("verify journal: %w", err)
		}
		r.Last, r.Hash = rec.Seq, rec.Hash
		r.Records++
	}
	r.Bytes, r.Torn = w.bytes, w.torn
	return r, nil
}

// Verify checks the journal up to its last durable record, see the function
// Verify. It may run beside Append.
func (j *Journal) Verify(ctx context.Context) (Report, error) {
	return Verify(ctx, j.dir)
}

// explain tells a cut from an exchange of records: a missing record that
// still stands elsewhere was moved.
func explain(dir string, names []uint64, err error) error {
	var f *Fault
	if !errors.As(err, &f) || f.Kind != Cut {
		return err
	}
	for _, first := range slices.Backward(names) {
		if place, ok := find(dir, first, f.Seq); ok {
			moved := *f
			moved.Kind = Reordered
			moved.Reason += fmt.Sprintf(", it stands at offset %d of %s", place, segmentName(first))
			return &moved
		}
	}
	return err
}

// find looks for a record in one segment, whatever the order.
func find(dir string, first, seq uint64) (int64, bool) {
	file, err := os.Open(segmentPath(dir, first))
	if err != nil {
		return 0, false
	}
	defer file.Close()
	sc, err := newScanner(file, first, -1)
	if err != nil {
		return 0, false
	}
	for {
		rec, err := sc.next()
		if err != nil {
			return 0, false
		}
		if rec.Seq == seq {
			return rec.Offset, true
		}
	}
}
