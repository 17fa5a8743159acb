// Package learning is the asynchronous half of Muster: it joins activity,
// baseline and detect into one pipeline.
//
//	stream of activity  --+                     +-> pages, for decisions
//	                      +-> Mind: once each? -+
//	journal of decisions -+   score, learn,     +-> findings, shadow identities,
//	                          detect                last use: one transaction
//
// A [Mind] keeps everything in memory and takes events one by one; the offline
// replay uses it alone. A [Learner] feeds a Mind from where it stopped, stores
// what follows from each batch, and saves what changed in the Mind together with
// its position once a minute, or when many pages have changed: learning waits
// while they are copied, not while they are written. After a crash the events
// behind that position are taken again, which changes nothing: what is saved also
// holds the ids of events taken, findings have ids of their own, sights merge.
// Nothing is saved while something that the Mind has taken is not stored yet, or
// a crash would lose what follows from it.
//
// A store that fails does not stop anything: the batch waits and is tried again
// until it is stored ([Learner.Err] says so meanwhile), and decisions go on.
//
// Risk is not saved with it. It follows from the open findings in the store,
// so what people said of them counts after a crash as well.
package learning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	storeaccess "github.com/muster-id/muster/internal/store/access"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storerespond "github.com/muster-id/muster/internal/store/respond"
	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/usage"
)

// A Learner feeds a Mind from the stream of activity and from the journal of
// decisions. Fill in the exported fields before Load.
type Learner struct {
	Mind      *Mind
	Dir       string // the data folder
	DB        *store.DB
	Stream    stream.Stream
	Decisions *journal.Journal
	Inventory *inventory.Service
	// Notices says whom to tell of a new finding; Wake tells that some wait.
	Notices func(nhi.Finding) []nhi.Notice
	Wake    func()
	Decided <-chan struct{} // a decision was made
	Counter *usage.Counter  // counts what happens, by the hour; nil: nothing is counted

	failing  atomic.Pointer[error] // why something waits; nil when nothing does
	lastSave atomic.Pointer[Save]
	held     atomic.Bool  // somebody copies the folder
	most     int          // changed pages after which to save; 0: baseline.MaxDirty
	again    atomic.Int64 // Unix nanoseconds from which relieve may try again

	saving   sync.Mutex         // one save at a time; taken before mu
	folder   *checkpoint.Folder // nil before Load; guarded by saving
	seenSize int                // bytes that the events seen will take; guarded by saving

	mu        sync.Mutex      // guards the Mind and what follows
	activity  uint64          // position in the stream
	placed    bool            // the position fits the stream
	origin    string          // of the stream that activity counts in; empty: not known
	decisions uint64          // position in the journal
	counted   uint64          // decisions up to here were counted before this start
	saved     uint64          // position in the journal that is saved
	waiting   int             // batches that the Mind has taken and the store has not
	risk      *detect.Ledger  // of the open findings
	atRisk    map[string]bool // ids whose risk on record is not zero
	snapped   place           // of the last save that was begun, unless it failed

	at journal.Position // of the last decision that was read; readDecisions' own
}

const (
	saveEvery   = time.Minute
	batchEvents = 1000
	together    = 50 * time.Millisecond // decisions of so long share one transaction
	firstPause  = 100 * time.Millisecond
	longest     = 10 * time.Second
)

// Err says why learning waits, nil when it does not.
func (l *Learner) Err() error {
	if err := l.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// persist calls do until it succeeds, ctx ends, or what it needs is closed.
func (l *Learner) persist(ctx context.Context, do func() error) error {
	defer l.failing.Store(nil)
	for pause := firstPause; ; pause = min(2*pause, longest) {
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrClosed), errors.Is(err, stream.ErrClosed):
			return err
		}
		l.failing.Store(&err)
		slog.Warn("learning waits and is tried again", "in", pause, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Run learns until ctx ends, then saves once more.
func (l *Learner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	var failed [2]error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { defer cancel(); failed[0] = l.followActivity(ctx) })
	wg.Go(func() { defer cancel(); failed[1] = l.followDecisions(ctx) })
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-tick.C:
			if err := l.fade(ctx, now); err != nil && ctx.Err() == nil {
				slog.Warn("risks could not be written; it will be tried again", "error", err)
			}
			if err := l.Save(); err != nil {
				slog.Warn("what was learned could not be saved; it will be tried again", "error", err)
			}
		}
	}
	wg.Wait()
	return errors.Join(failed[0], failed[1], l.Save())
}

// followActivity takes batches in the order of the stream.
func (l *Learner) followActivity(ctx context.Context) error {
	err := l.persist(ctx, func() error {
		if !l.placed {
			if err := l.findPlace(ctx); err != nil {
				return err
			}
		}
		return l.Stream.Consume(ctx, stream.Consumer{
			Subjects: []string{stream.ActivityBatch}, After: l.position(),
			Gone: func(upTo uint64) { slog.Warn("activity left the stream before it was learned", "up_to", upTo) },
		}, l.takeBatch)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("follow activity: %w", err)
	}
	return nil
}

// Positions tells how far has been learned: the number of the last batch of
// activity in the stream, and of the last decision in the journal.
func (l *Learner) Positions() (activity, decisions uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.activity, l.decisions
}

// Saved tells which decisions are never read from the journal again: those up to
// this one are part of what is saved. What is learned but not saved may have to be
// learned once more after a crash.
func (l *Learner) Saved() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.saved
}

func (l *Learner) position() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.activity
}

func (l *Learner) takeBatch(ctx context.Context, m stream.Message) error {
	events, err := stream.DecodeBatch(m.Payload)
	if err != nil {
		// A batch of ours that cannot be read is lost whatever we do; the
		// others must not be.
		slog.Error("a batch of activity cannot be read and is passed over", "seq", m.Seq, "error", err)
		return nil
	}
	for i := range events {
		if events[i].Arrived.IsZero() { // left out, so that what is sent twice is the same
			events[i].Arrived = m.At
		}
	}
	return l.apply(ctx, batch{events: events}, "activity", m.Seq)
}

// followDecisions takes our own decisions from their journal.
func (l *Learner) followDecisions(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := l.persist(ctx, func() error { return l.readDecisions(ctx) })
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("follow decisions: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(together):
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-l.Decided:
		}
	}
	return nil
}

// readDecisions takes what is durable in the journal, never more: what a crash
// could still take away must not have taught anything.
func (l *Learner) readDecisions(ctx context.Context) error {
	if l.Decisions.Last().Seq <= l.decisions {
		return nil
	}
	var b batch
	last := l.decisions
	flush := func() error {
		if last == l.decisions {
			return nil
		}
		err := l.apply(ctx, b, "decisions", last)
		b = batch{}
		return err
	}
	records := l.Decisions.Read(max(l.decisions+1, l.Decisions.First()))
	if l.at.Seq > 0 && l.at.Seq == l.decisions {
		records = l.Decisions.ReadAfter(l.at)
	}
	for r, err := range records {
		if err != nil {
			l.at = journal.Position{} // the next attempt looks for itself
			return errors.Join(flush(), err)
		}
		last, l.at = r.Seq, r.Position
		d, err := logbook.Outline(r.Payload)
		if err != nil {
			slog.Error("a decision on record cannot be read and is passed over", "seq", r.Seq, "error", err)
			continue
		}
		b.add(l.Counter, &d, r.Seq <= l.counted)
		if b.size() >= batchEvents {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// decisionEvent is a decision as an event: what somebody did, or tried. That
// a workload exchanges its attestation for a token is what it is asked to do,
// and no act of its own: only where from and by what is learned and judged.
func decisionEvent(d *nhi.Decision) nhi.Event {
	ev := nhi.Event{
		ID: d.ID, Source: d.Point, Format: "decision", Time: d.At, Arrived: d.At, Provider: "muster", Service: d.Resource, Operation: d.Operation,
		Class: d.Action, Resource: d.Resource, Address: d.Address, Agent: d.Agent, Status: nhi.Success, Identity: d.Identity, Credential: d.Credential,
		Outcome: d.Outcome, Asserted: d.Asserted, Principal: nhi.Principal{Type: "Muster", KeyID: d.KeyID, Temporary: d.Credential == ""},
	}
	if d.Resource == issuer.Resource {
		ev.Service, ev.Operation, ev.Class = "", "", ""
	}
	if d.Consumer {
		ev.Principal.Type = attested
	}
	if d.Outcome != nhi.Allow {
		ev.Status, ev.Error = nhi.Failure, string(d.Outcome)
		if len(d.Reasons) > 0 {
			ev.Error = d.Reasons[0].Policy
		}
	}
	return ev
}

// attested is the type of a principal that proved by more than its key that it
// is the key's own workload.
const attested = "MusterAttested"

// judged is an event as the Mind is given it. What a workload does that proves
// itself beside its key is its own doing: it is not told together with what
// others do with the key, which may have leaked.
func judged(ev *nhi.Event) *nhi.Event {
	if ev.Principal.Type != attested {
		return ev
	}
	own := *ev
	own.Credential, own.Principal.Temporary = "", true
	return &own
}

// apply takes a batch and stores what follows from it together with the
// position behind it. It returns once that is stored, or with an error when ctx
// ends first; then no image is saved any more, and the next start takes the
// batch again.
func (l *Learner) apply(ctx context.Context, b batch, from string, position uint64) error {
	var effects effects
	taken := false
	l.relieve()
	return l.persist(ctx, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !taken {
			taken, effects = true, l.take(b)
			l.waiting++
		}
		if err := l.store(ctx, &effects, from, position); err != nil {
			return fmt.Errorf("store what %d events mean: %w", b.size(), err)
		}
		l.waiting--
		if len(effects.findings) > 0 {
			l.Wake()
		}
		if from == "activity" {
			l.activity = position
		} else {
			l.decisions = position
		}
		return nil
	})
}

// effects are what follows from a batch.
type effects struct {
	findings []nhi.Finding
	sights   []inventory.Seen
	counts   map[usage.Key]uint64
	refusals []usage.Refusal
	calls    map[nhi.ID]time.Time
}

func (l *Learner) take(b batch) effects {
	found := map[string]nhi.Finding{}
	e := effects{sights: make([]inventory.Seen, 0, len(b.events)), counts: map[usage.Key]uint64{}, refusals: b.refusals, calls: b.calls}
	for i := range b.nobody {
		e.count(l.Counter, &b.nobody[i])
	}
	for i := range b.events {
		ev := &b.events[i]
		if l.Mind.Take(judged(ev), found) && i >= b.repeated {
			e.count(l.Counter, ev)
		}
		if s, ok := sight(ev); ok {
			e.sights = append(e.sights, s)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		f := found[id]
		f.DetectedAt = time.Now()
		e.findings = append(e.findings, f)
	}
	return e
}

// store writes effects. A write that has begun is finished even when ctx ends,
// because the Mind has already moved on.
func (l *Learner) store(ctx context.Context, e *effects, from string, position uint64) error {
	ctx = context.WithoutCancel(ctx)
	findings := slices.Clone(e.findings)
	_, err := l.DB.Write(ctx, func(tx *store.Tx) error {
		if err := l.Inventory.EnsureSeenIn(ctx, storeinventory.Bind(tx), e.sights); err != nil {
			return err
		}
		if err := storerespond.SaveFindings(ctx, tx, findings, l.Notices); err != nil {
			return err
		}
		if err := l.saveRisk(ctx, tx, findings, time.Now()); err != nil {
			return err
		}
		if err := l.saveCounts(ctx, tx, e, from, position); err != nil {
			return err
		}
		if err := storeaccess.Called(ctx, tx, e.calls); err != nil {
			return err
		}
		return tx.SetPosition(ctx, "learn."+from, position)
	})
	return err
}

// sight is what an event tells the inventory: who acted, with what, when.
func sight(ev *nhi.Event) (inventory.Seen, bool) {
	if ev.Asserted || detect.Unproven(ev) {
		return inventory.Seen{}, false
	}
	if ev.Format == "decision" {
		if ev.Outcome != nhi.Allow || ev.Credential == "" {
			return inventory.Seen{}, false
		}
		return inventory.Seen{Identity: nhi.Identity{ID: ev.Identity}, Credential: nhi.Credential{ID: ev.Credential, Identity: ev.Identity}, At: ev.Time}, true
	}
	who, ok := activity.Shadow(ev)
	if !ok {
		return inventory.Seen{}, false
	}
	s := inventory.Seen{Identity: who, At: ev.Time}
	if ev.Principal.KeyID != "" && !ev.Principal.Temporary {
		s.Credential = nhi.Credential{Kind: nhi.CredentialAWSAccessKey, PublicID: ev.Principal.KeyID, Native: "Active"}
	}
	return s, true
}

// skipMissing makes an error of what is not in the store no error.
func skipMissing(err error) error {
	if errors.Is(err, nhi.ErrNotFound) {
		return nil
	}
	return err
}
