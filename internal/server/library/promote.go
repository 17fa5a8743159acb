package library

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/decision/promotion"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy/bundle"
	"github.com/muster-id/muster/internal/policy/force"
	kept "github.com/muster-id/muster/internal/store/snapshot"
)

// waitingDecisions is how many decisions may wait to be compared.
const waitingDecisions = 4096

// beat is how often a promotion looks whether it may go on, and is stored.
const beat = 2 * time.Second

// beaten is how long a promotion at which nothing happens is not stored.
const beaten = 30 * time.Second

// recalled is how long before it was stored last a decision may have been made that
// was not judged by then.
const recalled = time.Minute

// A rollout is the promotion under way.
type rollout struct {
	tally *promotion.Tally
	key   [force.KeySize]byte
	end   atomic.Pointer[ending] // it was taken back, and that is not stored yet
}

// An ending is how a promotion was taken back.
type ending struct {
	gate    nhi.PromotionGate
	by, why string
}

// server is who acts when a promotion goes on by itself.
const server = "server"

// began is the promotion of an entry that begins at a time.
func (l *Library) began(n *nhi.Snapshot, at time.Time) (*kept.Promotion, error) {
	if r := l.rollout.Load(); r != nil {
		p := r.tally.Promotion()
		return nil, fmt.Errorf("snapshot %s is on its way into force (%s): wait for it, or end it with muster policy promotion abort: %w", kept.Short(p.Digest), p.Gate, nhi.ErrConflict)
	}
	key := make([]byte, force.KeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return &kept.Promotion{Moved: true, Promotion: nhi.Promotion{
		ID: nhi.DerivedID("prm_", n.Digest, n.Parent, at.Format(time.RFC3339Nano)), Sequence: n.Sequence, Digest: n.Digest, Former: n.Parent,
		Author: n.Author, Person: n.Person, Note: n.Note, Started: at, Plan: l.c.Gates().Plan(), Key: key,
		Gate: nhi.PromotionShadow, Since: at, Beat: at,
	}}, nil
}

// start has a promotion that is stored run. It needs l.mu.
func (l *Library) start(p nhi.Promotion, found nhi.PromotionFound, c *checked, watching bool) error {
	if len(p.Key) != force.KeySize {
		return nhi.Invalidf("promotion %s: a key of %d bytes", p.ID, len(p.Key))
	}
	r := &rollout{tally: promotion.New(p, found), key: [force.KeySize]byte(p.Key)}
	side := force.Side{Set: c.set, Files: bundle.Policies(c.files)}
	if err := l.holder.Stage(side, force.Share{Percent: p.Percent, Key: r.key}, watching); err != nil {
		return err
	}
	l.remember(c)
	l.rollout.Store(r)
	l.c.Tap(l.Offer)
	return nil
}

// resume has a promotion run again that ran when the server was stopped. The time in
// which it did not run counts for no gate.
func (l *Library) resume(ctx context.Context) error {
	p, found, err := l.c.Store.Promotion(ctx)
	if err != nil || !p.Running() {
		return err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	watching := p.Gate == nhi.PromotionWatching
	inForce, other := p.Former, p.Digest
	if watching {
		inForce, other = other, inForce
	}
	if l.active.Digest != inForce {
		err = errors.New("something else was put into force while the server was stopped")
	} else {
		var c *checked
		if c, err = l.again(ctx, &nhi.Snapshot{Digest: other}); err == nil {
			stored := p.Beat
			p.Since, p.Beat = p.Since.Add(max(0, now.Sub(p.Beat))), now
			if err = l.start(p, found, c, watching); err == nil {
				return l.recall(ctx, recallFrom(p.Started, stored, now))
			}
		}
	}
	if ctx.Err() != nil { // the start was cancelled, which says nothing about the promotion
		return err
	}
	slog.Error("a promotion cannot go on and is ended; what is in force stays", "promotion", p.ID, "error", err)
	p.Gate, p.Ended, p.Why = nhi.PromotionOutdated, now, err.Error()
	return l.c.Store.SavePromotion(ctx, &kept.Promotion{Promotion: p, Found: found, Acts: []nhi.Act{promotionAct(&p, "policy.promotion.end", server, p.Why, now)}})
}

// recallFrom is since when a promotion may have decided what was not judged before
// it was stored last. If the clock was set back since, that may have been before the
// crash or behind it: what the clock told in either case is read, so as much more as
// it was set back by, and not all since the promotion began.
func recallFrom(started, stored, now time.Time) time.Time {
	if stored.After(now) {
		return now.Add(-recalled)
	}
	if from := stored.Add(-recalled); from.After(started) {
		return from
	}
	return started
}

// recall judges the decisions of before the server was stopped as far as they may be
// evidence that was not stored. It runs before anybody is answered, so what was
// rolled back stays so. The error is that of ctx: then the promotion is as it was.
func (l *Library) recall(ctx context.Context, since time.Time) error {
	r, pair := l.rollout.Load(), l.pair()
	why := r.tally.Enough()
	if why == "" {
		slog.Info("the record of decisions is read for the promotion under way; nobody is answered before that", "since", since)
		began, read := time.Now(), 0
		for d, err := range l.c.Recorded(ctx, since) {
			if ctx.Err() != nil {
				return fmt.Errorf("read what the policies of a promotion decided: %w", ctx.Err())
			}
			if err != nil {
				slog.Error("the record of decisions cannot be read, so nobody knows what new policies did", "error", err)
				why = "the server was started again, and what they did before cannot be read"
				break
			}
			read++
			if d.Policy != pair.Digest {
				continue
			}
			c := pair.Compare(&d)
			if why = r.tally.Recall(&d, &c); why != "" {
				break
			}
		}
		slog.Info("the record of decisions was read for the promotion under way", "decisions", read, "took", time.Since(began))
	}
	if why != "" {
		l.takeBack(r, why)
	}
	return nil
}

// pair is the policies before the promotion under way and after it; nil: it was
// taken back, or none runs.
func (l *Library) pair() *promotion.Pair {
	former, next := l.holder.Pair().Sides()
	if former == nil {
		return nil
	}
	return &promotion.Pair{Former: former, Next: next, Digest: next.Digest(), MaxFactsAge: l.c.MaxFactsAge()}
}

// Offer takes a decision that is on record and that nobody changes any more. It
// never waits.
func (l *Library) Offer(d *nhi.Decision) {
	select {
	case l.queue <- d:
	default:
		l.dropped.Add(1)
	}
}

// judge compares what both policies make of a decision, and puts the former ones
// back into force, at once and for everybody, when that is enough.
func (l *Library) judge(d *nhi.Decision) {
	r := l.rollout.Load()
	if r == nil {
		return
	}
	pair := l.pair()
	if pair == nil {
		return
	}
	c := pair.Compare(d)
	if why := r.tally.Add(d, &c); why != "" {
		l.takeBack(r, why)
	}
}

// takeBack puts the former policies into force, at once and for everybody. It is
// stored in a moment; should the server die before that, [Library.recall] finds the
// same again.
func (l *Library) takeBack(r *rollout, why string) {
	if !l.holder.Revert(r.key) {
		return
	}
	l.rolledBack.Add(1)
	slog.Error("the new policies are rolled back", "why", why)
	r.end.Store(&ending{nhi.PromotionRolledBack, server, why})
	select {
	case l.tripped <- struct{}{}:
	default:
	}
}

// judges compares decisions until ctx ends.
func (l *Library) judges(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-l.queue:
			l.judge(d)
		}
	}
}

// promotes has the promotion go on until ctx ends.
func (l *Library) promotes(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.tripped:
		}
		if err := l.Beat(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.Warn("the promotion of policies could not be stored; tried again in a moment", "error", err)
		}
	}
}

// Beat has the promotion go on, if there is one and it may at now, and stores what
// it found.
func (l *Library) Beat(ctx context.Context, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rollout.Load()
	if r == nil {
		return nil
	}
	now = now.UTC().Truncate(time.Microsecond)
	r.tally.Dropped(l.dropped.Swap(0))
	if end := r.end.Load(); end != nil {
		return l.back(ctx, r, *end, now)
	}
	if step := r.tally.Next(now); len(step.Waits) == 0 {
		return l.onward(ctx, r, server, "", now)
	}
	tell := r.tally.Hold(now)
	p, found, changed := r.tally.Found(false)
	if !changed && now.Sub(p.Beat) < beaten && len(tell) == 0 {
		return nil
	}
	p.Beat = now
	promotion.Told(&p, tell)
	if err := l.c.Store.SavePromotion(ctx, &kept.Promotion{Promotion: p, Found: found, Notices: held(r.tally, tell, now)}); err != nil {
		return err
	}
	err := r.tally.Change(func(p *nhi.Promotion) error { p.Beat = now; promotion.Told(p, tell); return nil })
	r.tally.Found(true)
	return err
}

// onward opens the next gate. It needs l.mu.
func (l *Library) onward(ctx context.Context, r *rollout, by, reason string, now time.Time) error {
	p, found, _ := r.tally.Found(false)
	p.Since, p.Beat, p.Held = now, now, nil
	full := false
	switch next := p.Stage + 1; {
	case p.Gate == nhi.PromotionWatching:
		p.Gate, p.Ended, p.Why = nhi.PromotionDone, now, "it came through"
	case p.Gate == nhi.PromotionShadow && len(p.Plan.Stages) > 0:
		p.Gate, p.Stage, p.Percent = nhi.PromotionStaged, 0, p.Plan.Stages[0]
	case p.Gate == nhi.PromotionStaged && next < len(p.Plan.Stages):
		p.Stage, p.Percent = next, p.Plan.Stages[next]
	default:
		p.Gate, p.Percent, full = nhi.PromotionWatching, 100, true
	}
	keep := &kept.Promotion{Promotion: p, Found: found, Moved: true, Acts: []nhi.Act{promotionAct(&p, "policy.promotion.advance", by, reason, now)}}
	var err error
	switch {
	case full:
		err = l.full(ctx, r, keep, by, now)
	case p.Gate == nhi.PromotionDone:
		if err = l.c.Store.SavePromotion(ctx, keep); err == nil {
			if !l.holder.Settle(r.key) {
				return nil // it was taken back at the last moment, which the next beat stores
			}
			l.stop()
		}
	default:
		if err = l.c.Store.SavePromotion(ctx, keep); err == nil {
			l.holder.Grow(r.key, p.Percent) // unless it was just rolled back, which the next beat stores
		}
	}
	if err != nil {
		return err
	}
	err = r.tally.Change(func(q *nhi.Promotion) error {
		q.Gate, q.Stage, q.Percent, q.Since, q.Beat, q.Held, q.Why, q.Ended = p.Gate, p.Stage, p.Percent, p.Since, p.Beat, p.Held, p.Why, p.Ended
		return nil
	})
	l.opened.Add(1)
	return errors.Join(err, l.c.Record(ctx))
}

// full puts the new policies in force for everybody. It needs l.mu.
func (l *Library) full(ctx context.Context, r *rollout, p *kept.Promotion, by string, now time.Time) error {
	c, err := l.again(ctx, &nhi.Snapshot{Digest: p.Digest})
	if err != nil {
		return err
	}
	n, err := l.c.Store.Change(ctx, p.Sequence, func(e *kept.Entry) error {
		e.State, e.Activated, e.Effective = nhi.SnapshotActive, now, c.set.Digest()
		l.replaceDocument(e, c.files)
		e.Acts, e.Promotion = []nhi.Act{actOf(&e.Snapshot, "policy.activate", by, now)}, p
		return nil
	})
	if err != nil {
		return err
	}
	l.active, l.files = n, c.files
	l.remember(c)
	l.holder.Watch(r.key)
	return nil
}

// back ends a promotion by putting the former policies in force for everybody. It
// needs l.mu.
func (l *Library) back(ctx context.Context, r *rollout, end ending, now time.Time) error {
	// First: it cannot fail, and the store can. Then each beat tries to store it, and
	// the promotion goes on no more.
	l.holder.Revert(r.key)
	r.end.Store(&end)
	p, found, _ := r.tally.Found(false)
	watching := p.Gate == nhi.PromotionWatching
	p.Gate, p.Percent, p.Ended, p.Beat, p.Why = end.gate, 0, now, now, end.why
	act := "policy.promotion.abort"
	keep := &kept.Promotion{Promotion: p, Found: found, Moved: true}
	if end.gate == nhi.PromotionRolledBack {
		act, keep.Notices = "policy.promotion.rollback", rolledBack(&p)
	}
	keep.Acts = []nhi.Act{promotionAct(&p, act, end.by, end.why, now)}
	var err error
	if watching {
		err = l.former(ctx, &p, keep, end.by, now)
	} else {
		_, err = l.c.Store.Change(ctx, p.Sequence, func(e *kept.Entry) error {
			e.State, e.Ended, e.Promotion = nhi.SnapshotWithdrawn, now, keep
			return nil
		})
	}
	if err != nil {
		return err
	}
	l.stop()
	return l.c.Record(ctx)
}

// former makes an entry of the former policies, which are in force again. It needs
// l.mu.
func (l *Library) former(ctx context.Context, p *nhi.Promotion, keep *kept.Promotion, by string, now time.Time) error {
	c, err := l.again(ctx, &nhi.Snapshot{Digest: p.Former})
	if err != nil {
		return err
	}
	note := fmt.Sprintf("back from %s: %s", kept.Short(p.Digest), p.Why)
	e := kept.Entry{Promotion: keep, Snapshot: nhi.Snapshot{
		Digest: p.Former, Parent: l.active.Digest, State: nhi.SnapshotActive, Author: by, Note: note[:min(len(note), maxNote)], At: now, Activated: now,
		Files: len(c.files), Policies: own(c.set), Effective: c.set.Digest(),
	}}
	l.replaceDocument(&e, c.files)
	n, err := l.c.Store.Add(ctx, e, func(e *kept.Entry) { e.Acts = []nhi.Act{actOf(&e.Snapshot, "policy.rollback", by, now)} })
	if err != nil {
		return err
	}
	return l.follow(n, c)
}

// outdated ends the promotion under way, if there is one, because something else
// is put into force; what it returns is to be stored with that. It needs l.mu.
func (l *Library) outdated(by string, now time.Time) *kept.Promotion {
	r := l.rollout.Load()
	if r == nil {
		return nil
	}
	p, found, _ := r.tally.Found(false)
	p.Gate, p.Percent, p.Ended, p.Beat, p.Why = nhi.PromotionOutdated, 0, now, now, "something else was put into force"
	return &kept.Promotion{Promotion: p, Found: found, Acts: []nhi.Act{promotionAct(&p, "policy.promotion.end", by, p.Why, now)}}
}

// stop ends what a promotion costs. It needs l.mu.
func (l *Library) stop() {
	l.c.Tap(nil)
	l.rollout.Store(nil)
}

// promotionAct is what the audit log has to say of a promotion.
func promotionAct(p *nhi.Promotion, act, by, reason string, at time.Time) nhi.Act {
	detail, err := json.Marshal(map[string]any{
		"promotion": p.ID, "digest": p.Digest, "former": p.Former, "gate": p.Gate, "percent": p.Percent, "paused": p.Paused, "why": p.Why, "counts": p.PromotionCounts,
	})
	if err != nil {
		detail = nil // these always encode
	}
	return nhi.Act{Key: fmt.Sprintf("%s:%s:%d", p.ID, act, at.UnixMicro()), At: at, Actor: by, Act: act, Target: p.Digest, Reason: reason, Outcome: "done", Detail: detail}
}

// Steps of a promotion that people take.
const (
	stepPause   = "pause"
	stepResume  = "resume"
	stepAdvance = "advance"
	stepAbort   = "abort"
)

// under is the promotion under way.
func (l *Library) under() (*rollout, error) {
	r := l.rollout.Load()
	if r == nil {
		return nil, fmt.Errorf("no promotion is under way: start one with muster policy push --staged: %w", nhi.ErrConflict)
	}
	if end := r.end.Load(); end != nil {
		return nil, fmt.Errorf("the promotion was just taken back: %s: %w", end.why, nhi.ErrConflict)
	}
	return r, nil
}

// Promote takes a step of the promotion under way: pause, resume, advance or abort.
func (l *Library) Promote(ctx context.Context, by frame.Caller, step, reason string) error {
	if err := oneLine("reason", reason); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.under()
	if err != nil {
		return err
	}
	now, reason := time.Now().UTC().Truncate(time.Microsecond), l.c.Clean(reason)
	switch step {
	case stepAbort:
		why := "a person ended it"
		if reason != "" {
			why += ": " + reason
		}
		return l.back(ctx, r, ending{nhi.PromotionAborted, by.Actor(), why}, now)
	case stepAdvance:
		return l.advance(ctx, r, by, reason, now)
	case stepPause, stepResume:
		return l.edit(ctx, r, "policy.promotion."+step, by, reason, now, func(p *nhi.Promotion) error {
			if p.Paused == (step == stepPause) {
				return fmt.Errorf("the promotion is %s already: %w", map[bool]string{true: "paused", false: "running"}[p.Paused], nhi.ErrConflict)
			}
			p.Paused, p.Since = step == stepPause, now
			return nil
		})
	}
	return nhi.Invalidf("step %.20q: want pause, resume, advance or abort", step)
}

// advance opens the next gate before its time. Nobody can pass what is not
// explained, and the author of what has to go through gates cannot shorten them.
func (l *Library) advance(ctx context.Context, r *rollout, by frame.Caller, reason string, now time.Time) error {
	p, step := r.tally.Promotion(), r.tally.Next(now)
	switch {
	case p.Paused:
		return fmt.Errorf("the promotion is paused: resume it first: %w", nhi.ErrConflict)
	case step.Unexplained:
		return fmt.Errorf("%s: %w", strings.Join(step.Waits, "; "), nhi.ErrConflict)
	case l.c.Gates().Required && (by.Person == "" || by.Person == p.Person || by.First):
		return fmt.Errorf("promotion.required is set: another administrator than the author, signed in or with a token of their own, has to open a gate before its time: %w", nhi.ErrDenied)
	}
	return l.onward(ctx, r, by.Actor(), reason, now)
}

// edit changes the promotion under way and stores that. It needs l.mu.
func (l *Library) edit(ctx context.Context, r *rollout, act string, by frame.Caller, reason string, now time.Time, change func(*nhi.Promotion) error) error {
	p, found, _ := r.tally.Found(false)
	if err := change(&p); err != nil {
		return err
	}
	p.Beat = now
	if err := l.c.Store.SavePromotion(ctx, &kept.Promotion{Promotion: p, Found: found, Acts: []nhi.Act{promotionAct(&p, act, by.Actor(), reason, now)}}); err != nil {
		return err
	}
	if err := r.tally.Change(change); err != nil {
		return err
	}
	return l.c.Record(ctx)
}

// Acknowledge explains what the policies on their way into force deny newly.
func (l *Library) Acknowledge(ctx context.Context, by frame.Caller, a nhi.Acknowledgement) error {
	if err := oneLine("reason", a.Reason); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.under()
	if err != nil {
		return err
	}
	a.By, a.At, a.Reason = by.Actor(), time.Now().UTC().Truncate(time.Microsecond), l.c.Clean(a.Reason)
	before, found, _ := r.tally.Found(false)
	trial := promotion.New(before, found)
	if err := trial.Acknowledge(a); err != nil {
		return err
	}
	p, after, _ := trial.Found(false)
	act := promotionAct(&p, "policy.promotion.acknowledge", a.By, a.Reason, a.At)
	if act.Detail, err = json.Marshal(map[string]any{"promotion": p.ID, "digest": p.Digest, "acknowledged": a}); err != nil {
		return err
	}
	if err := l.c.Store.SavePromotion(ctx, &kept.Promotion{Promotion: p, Found: after, Acts: []nhi.Act{act}}); err != nil {
		return err
	}
	return errors.Join(r.tally.Acknowledge(a), l.c.Record(ctx))
}

// oneLine refuses text that is longer or stranger than a note.
func oneLine(what, text string) error {
	if len(text) > maxNote || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nhi.Invalidf("a %s is one line of at most %d bytes", what, maxNote)
	}
	return nil
}
