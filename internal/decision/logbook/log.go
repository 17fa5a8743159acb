// Package logbook keeps decisions: each as one line of JSON in a journal, the
// latest ones in memory, and counters by minute.
//
// A [Log] writes every decision to its [Journal] before anything else and
// never makes deciding wait, except where the decision must be durable first
// ([Log.AddDurably]). [Append] and [Decode] are the record itself: whoever
// learns from decisions or shows old ones reads them back with Decode.
package logbook

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
)

// Journal keeps records for good. Append returns when the record is durable,
// AppendAsync when it is in line. Both copy the record.
type Journal interface {
	Append(record []byte) error
	AppendAsync(record []byte) error
}

// Log makes every decision a record: durable in the journal, and in memory a
// ring of the most recent ones and counters by minute. All methods may be
// called concurrently.
type Log struct {
	journal  Journal
	ring     []atomic.Pointer[nhi.Decision]
	next     atomic.Uint64
	minutes  [minutesKept]atomic.Pointer[minute]
	unlogged atomic.Int64
	dropped  atomic.Int64
	readers  atomic.Pointer[[]chan nhi.Decision]
	taps     atomic.Pointer[[]*tap]
	mu       sync.Mutex // serialises changes of readers and taps
	buffers  sync.Pool  // of *[]byte
}

// A tap is where somebody listens, or nobody for now.
type tap = atomic.Pointer[func(*nhi.Decision)]

// New returns a Log that writes to journal and keeps recent decisions in
// memory (0 means 4,096).
func New(journal Journal, recent int) *Log {
	if recent <= 0 {
		recent = decision.Settings{}.WithDefaults().Recent
	}
	l := &Log{journal: journal, ring: make([]atomic.Pointer[nhi.Decision], recent)}
	l.buffers.New = func() any { b := make([]byte, 0, 1024); return &b }
	return l
}

// Add records d without waiting. What the journal cannot take is counted.
func (l *Log) Add(d *nhi.Decision) {
	if l.write(d, l.journal.AppendAsync) != nil {
		l.unlogged.Add(1)
	}
	l.remember(d)
}

// AddDurably records d and returns when it is on disk. If it cannot be, the
// error says so and nothing is remembered.
func (l *Log) AddDurably(d *nhi.Decision) error {
	if err := l.write(d, l.journal.Append); err != nil {
		return err
	}
	l.remember(d)
	return nil
}

func (l *Log) write(d *nhi.Decision, to func([]byte) error) error {
	buffer := l.buffers.Get().(*[]byte)
	record := Append((*buffer)[:0], d)
	err := to(record)
	*buffer = record
	l.buffers.Put(buffer)
	return err
}

// remember keeps a copy in memory, counts it and hands it to readers.
func (l *Log) remember(d *nhi.Decision) {
	kept := *d
	l.ring[(l.next.Add(1)-1)%uint64(len(l.ring))].Store(&kept)
	l.count(&kept)
	if taps := l.taps.Load(); taps != nil {
		for _, t := range *taps {
			if f := t.Load(); f != nil {
				(*f)(&kept)
			}
		}
	}
	readers := l.readers.Load()
	if readers == nil {
		return
	}
	for _, r := range *readers {
		select {
		case r <- kept:
		default: // a slow reader misses this one
			l.dropped.Add(1)
		}
	}
}

// NewTap returns what puts a listener in place of the one it was given before: f is
// given each decision when it is on record; nil ends that. f must neither wait nor
// change the decision, which it may keep.
func (l *Log) NewTap() func(f func(*nhi.Decision)) {
	t := new(tap)
	l.mu.Lock()
	defer l.mu.Unlock()
	taps := []*tap{t}
	if now := l.taps.Load(); now != nil {
		taps = append(slices.Clone(*now), t)
	}
	l.taps.Store(&taps)
	return func(f func(*nhi.Decision)) {
		if f == nil {
			t.Store(nil)
			return
		}
		t.Store(&f)
	}
}

// Lost counts decisions that the journal took in line and could not write after
// all.
func (l *Log) Lost(decisions int) { l.unlogged.Add(int64(decisions)) }

// Unlogged returns how many decisions are in no journal because it refused
// them. It should stay 0.
func (l *Log) Unlogged() int64 { return l.unlogged.Load() }

// Dropped returns how many decisions slow subscribers missed.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// A Filter chooses decisions. The zero Filter chooses all.
type Filter struct {
	Outcome     nhi.Outcome
	Identity    nhi.ID
	Credential  nhi.CredentialID
	Point       nhi.ID
	Resource    string
	WouldRefuse bool              // only those that would have been refused
	Before      time.Time         // only older ones, to page back
	Within      func(nhi.ID) bool // whose decisions; nil: everybody's
}

// Match reports whether the filter chooses d.
func (f *Filter) Match(d *nhi.Decision) bool {
	return (f.Outcome == "" || f.Outcome == d.Outcome) &&
		(f.Identity == "" || f.Identity == d.Identity) &&
		(f.Credential == "" || f.Credential == d.Credential) &&
		(f.Point == "" || f.Point == d.Point) &&
		(f.Resource == "" || f.Resource == d.Resource) &&
		(!f.WouldRefuse || d.WouldRefuse) &&
		(f.Before.IsZero() || d.At.Before(f.Before)) &&
		(f.Within == nil || f.Within(d.Identity))
}

// Recent returns up to n of the decisions in memory that f chooses, the newest
// first.
func (l *Log) Recent(f Filter, n int) []nhi.Decision {
	var out []nhi.Decision
	for d := range l.newest {
		if len(out) >= n {
			break
		}
		if f.Match(d) {
			out = append(out, *d)
		}
	}
	return out
}

// Get returns a decision in memory by its id.
func (l *Log) Get(id string) (nhi.Decision, bool) {
	for d := range l.newest {
		if d.ID == id {
			return *d, true
		}
	}
	return nhi.Decision{}, false
}

// newest yields the decisions in memory, the newest first.
func (l *Log) newest(yield func(*nhi.Decision) bool) {
	end := l.next.Load()
	for i := range uint64(len(l.ring)) {
		if i >= end {
			return
		}
		if d := l.ring[(end-1-i)%uint64(len(l.ring))].Load(); d != nil && !yield(d) {
			return
		}
	}
}

// subscription is how many decisions may wait for a subscriber.
const subscription = 256

// Subscribe returns a channel of the decisions from now on and a function that
// ends the subscription. A reader that falls behind misses decisions, which
// Dropped counts; it never slows deciding. The channel is not closed: stop
// reading after cancel.
func (l *Log) Subscribe() (decisions <-chan nhi.Decision, cancel func()) {
	c := make(chan nhi.Decision, subscription)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setReaders(append(l.currentReaders(), c))
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.setReaders(slices.DeleteFunc(l.currentReaders(), func(r chan nhi.Decision) bool { return r == c }))
	}
}

// currentReaders returns a copy.
func (l *Log) currentReaders() []chan nhi.Decision {
	if r := l.readers.Load(); r != nil {
		return slices.Clone(*r)
	}
	return nil
}

func (l *Log) setReaders(r []chan nhi.Decision) {
	if len(r) == 0 {
		l.readers.Store(nil)
		return
	}
	l.readers.Store(&r)
}

// minutesKept is how far the counters go back.
const minutesKept = 24 * 60

// A minute counts the decisions of one minute.
type minute struct {
	number                           int64 // minutes since 1970
	allow, deny, stepUp, wouldRefuse atomic.Int64
}

// count counts d in its minute. A minute that is a day old makes room.
func (l *Log) count(d *nhi.Decision) {
	number := d.At.Unix() / 60
	place := &l.minutes[((number%minutesKept)+minutesKept)%minutesKept]
	m := place.Load()
	for m == nil || m.number < number {
		fresh := &minute{number: number}
		if place.CompareAndSwap(m, fresh) {
			m = fresh
			break
		}
		m = place.Load()
	}
	switch {
	case d.WouldRefuse:
		m.wouldRefuse.Add(1)
	case d.Outcome == nhi.Allow:
		m.allow.Add(1)
	case d.Outcome == nhi.StepUp:
		m.stepUp.Add(1)
	default:
		m.deny.Add(1)
	}
}

// A Rate is how many decisions one minute saw. WouldRefuse counts those that
// were let pass by a point that observes; Allow does not include them.
type Rate struct {
	Minute      time.Time `json:"minute"`
	Allow       int64     `json:"allow"`
	Deny        int64     `json:"deny"`
	StepUp      int64     `json:"step_up"`
	WouldRefuse int64     `json:"would_refuse"`
}

// Rates returns the minutes of the last 24 hours before now that saw a
// decision, the oldest first.
func (l *Log) Rates(now time.Time) []Rate {
	var out []Rate
	last := now.Unix() / 60
	for number := last - minutesKept + 1; number <= last; number++ {
		m := l.minutes[((number%minutesKept)+minutesKept)%minutesKept].Load()
		if m == nil || m.number != number {
			continue
		}
		out = append(out, Rate{
			Minute: time.Unix(number*60, 0).UTC(),
			Allow:  m.allow.Load(), Deny: m.deny.Load(), StepUp: m.stepUp.Load(), WouldRefuse: m.wouldRefuse.Load(),
		})
	}
	return out
}
