package learning

import (
	"context"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	storeusage "github.com/muster-id/muster/internal/store/usage"
	"github.com/muster-id/muster/internal/usage"
)

// A batch is what is taken at once.
type batch struct {
	events   []nhi.Event
	nobody   []nhi.Event // decisions about nobody who was proven, and what points reported: counted, never learned from
	refusals []usage.Refusal
	calls    map[nhi.ID]time.Time // when points asked last
	repeated int                  // so many of events, the first, were counted before a crash
}

func (b *batch) size() int { return len(b.events) + len(b.nobody) }

// add adds a decision. counted says that it was counted before a crash.
func (b *batch) add(c *usage.Counter, d *nhi.Decision, counted bool) {
	if d.Point != "" && d.At.After(b.calls[d.Point]) {
		if b.calls == nil {
			b.calls = map[nhi.ID]time.Time{}
		}
		b.calls[d.Point] = d.At
	}
	switch {
	case d.Identity != "" && !d.Reported:
		b.events = append(b.events, decisionEvent(d))
		if counted {
			b.repeated++
		}
	case !counted:
		b.nobody = append(b.nobody, decisionEvent(d))
	}
	if c == nil || counted {
		return
	}
	if r, refused := c.Refusal(d); refused {
		b.refusals = append(b.refusals, r)
	}
}

// count counts an event that was not counted before.
func (e *effects) count(c *usage.Counter, ev *nhi.Event) {
	if c != nil {
		e.counts[c.Key(ev)]++
	}
}

// saveCounts adds a batch to what is counted, unless that was done before a
// crash: how far counting has come is written in the same transaction, and is
// ahead of the image when the image is older. A position belongs to one stream.
func (l *Learner) saveCounts(ctx context.Context, tx *store.Tx, e *effects, from string, position uint64) error {
	if l.Counter == nil {
		return nil
	}
	who := l.counting(from)
	counted, err := tx.Position(ctx, who)
	if err != nil || counted >= position {
		return err
	}
	if err := storeusage.Add(ctx, tx, e.counts); err != nil {
		return err
	}
	if err := storeusage.AddRefusals(ctx, tx, e.refusals); err != nil {
		return err
	}
	return tx.SetPosition(ctx, who, position)
}

// counting is the name under which it is kept how far counting has come.
func (l *Learner) counting(from string) string {
	if from == "activity" {
		return "count.activity@" + l.origin
	}
	return "count." + from
}

// recount returns how far counting has come, which is not beyond end: an older
// stream or journal may have been put in place, and what comes next is counted.
func (l *Learner) recount(ctx context.Context, from string, end uint64) (counted uint64, err error) {
	who := l.counting(from)
	err = l.DB.Read(ctx, func(tx *store.Tx) error {
		counted, err = tx.Position(ctx, who)
		return err
	})
	if err != nil || counted <= end {
		return counted, err
	}
	_, err = l.DB.Write(ctx, func(tx *store.Tx) error { return tx.SetPosition(ctx, who, end) })
	return end, err
}
