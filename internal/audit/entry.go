package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// Limits of an entry, in bytes. Longer text is clipped, a longer detail is
// replaced by its size.
const (
	MaxText   = 1 << 10
	MaxReason = 4 << 10
	MaxDetail = 64 << 10
)

// An Outcome says how an act ended.
type Outcome string

// The outcomes of an act.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // not allowed, or over a budget
	Failed  Outcome = "failed"  // tried, with an error
)

// An ActorKind says what kind of caller acted.
type ActorKind string

// The kinds of actor.
const (
	Person   ActorKind = "person"
	Identity ActorKind = "identity" // an NHI, Muster's own callers included
	Rule     ActorKind = "rule"     // an automatic reaction; ID is the rule's
	System   ActorKind = "system"   // Muster itself: start, stop, housekeeping
)

// Actor is who acted.
type Actor struct {
	Kind ActorKind `json:"kind"`
	ID   string    `json:"id,omitempty"`
	Name string    `json:"name,omitempty"` // as known at the time; hostile text
}

// Entry is one act.
type Entry struct {
	// Seq is the number of the record. Checkpoints are records too, so the
	// numbers of entries have gaps.
	Seq     uint64          `json:"seq,omitempty"`
	At      time.Time       `json:"at"` // UTC, to the microsecond
	Actor   Actor           `json:"actor"`
	Act     string          `json:"act"`              // noun.verb: credential.suspend
	Target  string          `json:"target,omitempty"` // id of what was acted on
	Reason  string          `json:"reason,omitempty"`
	Outcome Outcome         `json:"outcome"`          // Done if empty when appended
	Detail  json.RawMessage `json:"detail,omitempty"` // holds no secret; the caller saw to it
	// Key makes the act idempotent: recent entries have different keys.
	Key string `json:"key,omitempty"`
}

// tidy brings an entry within the limits. Only what a caller of ours must
// have got wrong is an error, wrapping nhi.ErrInvalid.
func (e *Entry) tidy() error {
	switch {
	case e.Act == "":
		return nhi.Invalidf("record an act without a name")
	case e.Actor.Kind == "":
		return nhi.Invalidf("record %s without an actor", e.Act)
	case len(e.Key) > MaxText:
		return nhi.Invalidf("record %s with a key of %d bytes", e.Act, len(e.Key))
	case len(e.Detail) > 0 && !json.Valid(e.Detail):
		return nhi.Invalidf("record %s with a detail that is no JSON", e.Act)
	}
	if e.Outcome == "" {
		e.Outcome = Done
	}
	for _, text := range []*string{&e.Actor.ID, &e.Actor.Name, &e.Act, &e.Target} {
		*text = clip(*text, MaxText)
	}
	e.Reason = clip(e.Reason, MaxReason)
	if len(e.Detail) > MaxDetail {
		e.Detail = fmt.Appendf(nil, `{"omitted_bytes":%d}`, len(e.Detail))
	}
	return nil
}

// clip makes s valid UTF-8 of at most n bytes.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	const mark = "…"
	cut := n - len(mark)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

// decode reads a record of the log. Its error is a *Fault, or says that the
// record is of a newer version.
func decode(rec journal.Record) (record, error) {
	var r record
	if err := json.Unmarshal(rec.Payload, &r); err != nil {
		return record{}, &Fault{Kind: Changed, Seq: rec.Seq, Reason: "it is no record of an audit log"}
	}
	if r.Version > version {
		return record{}, fmt.Errorf("audit record %d has version %d, this program reads up to %d: %w", rec.Seq, r.Version, version, journal.ErrNewer)
	}
	if (r.Entry == nil) == (r.Checkpoint == nil) {
		return record{}, &Fault{Kind: Changed, Seq: rec.Seq, Reason: "it is neither an act nor a checkpoint"}
	}
	if r.Entry != nil {
		r.Entry.Seq = rec.Seq
	}
	return r, nil
}
