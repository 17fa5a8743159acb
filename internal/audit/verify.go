package audit

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// FaultKind says what was done to a log.
type FaultKind string

// The kinds of fault.
const (
	Changed   FaultKind = "changed"   // a record is not what was written
	Cut       FaultKind = "cut"       // records are missing
	Reordered FaultKind = "reordered" // records stand in another order, or twice
	Rewritten FaultKind = "rewritten" // consistent, but not the history that was signed
	Unsigned  FaultKind = "unsigned"  // signatures are missing, or not by our keys
)

// Fault is what Verify found wrong with a log. It is an error.
type Fault struct {
	Kind FaultKind
	Seq  uint64 // the record concerned; the first one if several may be
	// Until is the last record that may be concerned, 0 if it is Seq alone.
	Until  uint64
	Reason string // one clause for a person
}

// Error names kind and record.
func (f *Fault) Error() string {
	which := fmt.Sprintf("audit record %d is", f.Seq)
	if f.Until > f.Seq {
		which = fmt.Sprintf("audit records %d to %d are", f.Seq, f.Until)
	}
	return fmt.Sprintf("%s %s: %s", which, f.Kind, f.Reason)
}

// Report says what Verify read and proved. With an error, it tells how far
// the log is good.
type Report struct {
	Records     uint64     `json:"records"` // entries and checkpoints
	Entries     uint64     `json:"entries"`
	Checkpoints uint64     `json:"checkpoints"`
	Last        Checkpoint `json:"last"`     // the last good checkpoint
	Signed      uint64     `json:"signed"`   // records up to here are proven by a signature
	Unsigned    uint64     `json:"unsigned"` // entries behind it, held by the chain alone
}

// Verify reads the whole log in dir and checks every record, the chain and
// every checkpoint against keys. It also checks checkpoint.json, and against
// if that is not nil: a checkpoint kept elsewhere, which shows a log whose
// end was cut off. The error is a *Fault naming the first record that is
// wrong; a key or checkpoint that is no good itself wraps nhi.ErrInvalid.
//
// It needs no lock and works with the server stopped or running. Keys must
// come from a place that the attacker cannot write.
func Verify(ctx context.Context, dir string, keys []crypto.PublicKey, against *Checkpoint) (Report, error) {
	v := verifier{keys: keys, from: 1}
	if len(keys) == 0 {
		return Report{}, nhi.Invalidf("verify audit log without a key")
	}
	if against != nil {
		if err := against.Verify(keys...); err != nil {
			return Report{}, fmt.Errorf("the checkpoint to verify against is no good: %w: %w", nhi.ErrInvalid, err)
		}
		v.outside = append(v.outside, *against)
	}
	// Before the records: a running server may add some meanwhile.
	beside, err := ReadCheckpoint(filepath.Join(dir, CheckpointFile))
	switch {
	case err == nil:
		if err := beside.Verify(keys...); err != nil {
			return Report{}, &Fault{Kind: Unsigned, Seq: beside.Seq, Reason: CheckpointFile + " is not signed by our keys"}
		}
		v.outside = append(v.outside, beside)
	case !errors.Is(err, fs.ErrNotExist):
		return Report{}, err
	}
	for rec, err := range journal.Read(dir, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = v.see(rec)
		}
		if err != nil {
			return v.report, translate(err)
		}
	}
	return v.report, v.end()
}

// Verify checks the open log with the keys in its folder, up to what is
// durable. To prove the log to somebody else, use the function Verify with
// keys kept elsewhere.
func (l *Log) Verify(ctx context.Context, against *Checkpoint) (Report, error) {
	keys, err := ReadKeys(filepath.Join(l.dir, KeyFile))
	if err != nil {
		return Report{}, err
	}
	return Verify(ctx, l.dir, keys, against)
}

// A verifier sees the records of a log in order.
type verifier struct {
	keys    []crypto.PublicKey
	outside []Checkpoint // that the log must agree with
	report  Report
	from    uint64 // the first record not yet proven by a signature
	last    journal.Record
}

func (v *verifier) see(rec journal.Record) error {
	if v.report.Records == 0 && rec.Seq != 1 {
		return &Fault{Kind: Cut, Seq: 1, Until: rec.Seq - 1, Reason: fmt.Sprintf("the log begins with record %d", rec.Seq)}
	}
	r, err := decode(rec)
	if err != nil {
		return err
	}
	if r.Checkpoint != nil {
		err = v.checkpoint(rec, *r.Checkpoint)
	} else {
		err = v.entry(rec)
	}
	if err != nil {
		return err
	}
	for _, c := range v.outside {
		if c.Seq == rec.Seq && c.Hash != Hash(rec.Hash) {
			return &Fault{Kind: Rewritten, Seq: v.from, Until: rec.Seq,
				Reason: fmt.Sprintf("record %d is not the one that was signed at %s", rec.Seq, c.At.Format("2006-01-02 15:04:05 MST"))}
		}
	}
	v.report.Records++
	v.last = rec
	return nil
}

func (v *verifier) entry(rec journal.Record) error {
	if v.report.Checkpoints == 0 {
		return &Fault{Kind: Unsigned, Seq: rec.Seq, Reason: "the log does not begin with a checkpoint"}
	}
	v.report.Entries++
	v.report.Unsigned++
	// Callers that were already appending when a checkpoint fell due may come
	// before it, and one failed signature is made up for by the next.
	if due := uint64(max(0, v.report.Last.Every)); v.report.Unsigned > 2*due+1024 {
		return &Fault{Kind: Unsigned, Seq: v.from, Until: rec.Seq,
			Reason: fmt.Sprintf("a checkpoint was due after %d entries and none came", due)}
	}
	return nil
}

// checkpoint checks a checkpoint in the log. It must sign the record before.
func (v *verifier) checkpoint(rec journal.Record, c Checkpoint) error {
	if err := c.Verify(v.keys...); err != nil {
		return &Fault{Kind: Unsigned, Seq: rec.Seq, Reason: err.Error()}
	}
	if c.Seq != rec.Seq-1 || c.Hash != Hash(rec.Prev) {
		return &Fault{Kind: Rewritten, Seq: min(v.from, rec.Seq), Until: rec.Seq,
			Reason: fmt.Sprintf("the checkpoint in record %d signed another history", rec.Seq)}
	}
	v.report.Checkpoints++
	v.report.Last, v.report.Signed, v.report.Unsigned = c, c.Seq, 0
	v.from = rec.Seq
	return nil
}

// end checks that nothing is missing behind the last record.
func (v *verifier) end() error {
	for _, c := range v.outside {
		if c.Seq > v.last.Seq {
			return &Fault{Kind: Cut, Seq: v.last.Seq + 1, Until: c.Seq,
				Reason: fmt.Sprintf("a checkpoint signed at %s has seen them", c.At.Format("2006-01-02 15:04:05 MST"))}
		}
	}
	if v.report.Records == 0 {
		return &Fault{Kind: Cut, Seq: 1, Reason: "the log is empty"}
	}
	return nil
}

// translate turns a journal's fault into the log's.
func translate(err error) error {
	var f *journal.Fault
	if !errors.As(err, &f) {
		var own *Fault
		if errors.As(err, &own) {
			return own
		}
		return fmt.Errorf("verify audit log: %w", err)
	}
	return &Fault{Kind: FaultKind(f.Kind), Seq: f.Seq, Reason: fmt.Sprintf("%s at offset %d: %s", f.Segment, f.Offset, f.Reason)}
}
