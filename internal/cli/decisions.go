package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
)

// decided is what verifying the journal of decisions came to.
type decided struct {
	OK bool `json:"ok"`
	logbook.Proof
	Fault *fault `json:"fault,omitempty"`
}

// verifyDecisions reads the journal of decisions of a data folder. Read it
// before the audit log: a server that forgets old decisions says so in the
// audit log first.
func verifyDecisions(ctx context.Context, data string) (*decided, error) {
	p, err := logbook.Verify(ctx, filepath.Join(data, "decisions"))
	d := &decided{OK: err == nil, Proof: p}
	var bad *journal.Fault
	if errors.As(err, &bad) {
		d.Fault = &fault{Kind: string(bad.Kind), Seq: bad.Seq, Reason: bad.Reason}
		if bad.Segment != "" {
			d.Fault.Reason = fmt.Sprintf("%s at offset %d: %s", bad.Segment, bad.Offset, bad.Reason)
		}
	} else if err != nil {
		return nil, err
	}
	return d, nil
}

// A forgetting is an act of the audit log: decisions before First were removed
// for their age or size, and Before is the hash of the last of them.
type forgetting struct {
	First  uint64 `json:"first"`
	Before string `json:"before"`
}

// compare holds the journal against what the audit log, which must be intact,
// says of it: it begins with the first decision ever, or where the server cut
// it, and reaches at least as far as it did then.
func (d *decided) compare(ctx context.Context, folder string) error {
	if !d.OK {
		return nil
	}
	cut := func(first, last uint64, reason string) {
		d.OK, d.Fault = false, &fault{Kind: string(journal.Cut), Seq: first, Until: last, Reason: reason}
	}
	begins := d.First <= 1
	for e, err := range audit.Read(folder, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("verify %s: %w", folder, err)
		}
		var f forgetting
		if e.Act != "decisions.forget" || json.Unmarshal(e.Detail, &f) != nil || f.First == 0 {
			continue
		}
		begins = begins || f.First == d.First && f.Before == fmt.Sprintf("%x", d.Before)
		if d.Last+1 < f.First {
			cut(d.Last+1, f.First-1, fmt.Sprintf("they were there when the server forgot old decisions, see audit record %d", e.Seq))
			return nil
		}
	}
	if !begins {
		cut(1, d.First-1, "no act of the audit log says that the server forgot them")
	}
	return nil
}
