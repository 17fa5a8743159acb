package transmit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
)

const (
	atOnce = 500       // changes that are looked at together
	held   = 10_000    // events that wait for one receiver at most
	recent = time.Hour // a credential that is younger was created just now
)

// FromPeer begins the reason of a revocation that a peer asked for.
const FromPeer = "signal:"

// An emitter follows the sequence. It belongs to Run.
type emitter struct {
	t         *Transmitter
	at        nhi.Generation
	known     map[string]signals.Known
	following bool
}

// follow tells everything that happened since. It returns when there is no more.
func (e *emitter) follow(ctx context.Context) error {
	if resting, err := e.rest(ctx); resting || err != nil {
		return err
	}
	if !e.following {
		if err := e.begin(ctx); err != nil {
			return err
		}
	}
	for {
		more, err := e.step(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// rest stops following when there is no stream.
func (e *emitter) rest(ctx context.Context) (bool, error) {
	e.t.write.Lock() // so that no stream is made meanwhile
	defer e.t.write.Unlock()
	streams, err := e.t.c.Streams.Streams(ctx)
	if err != nil || len(streams) > 0 {
		return false, err
	}
	e.following, e.known = false, nil
	if err := e.t.c.Ledger.Rest(ctx); err != nil {
		return true, fmt.Errorf("forget how far signals were told: %w", err)
	}
	e.t.idle.Store(true)
	return true, nil
}

// begin takes up where it was left, or from now on when nobody listened.
func (e *emitter) begin(ctx context.Context) error {
	at, known, ok, err := e.t.c.Ledger.Position(ctx)
	if err != nil {
		return fmt.Errorf("read how far signals were told: %w", err)
	}
	if !ok {
		at, known = e.t.c.Ledger.Generation(), map[string]signals.Known{}
		if err := e.t.c.Ledger.Tell(ctx, signals.Telling{Through: at}); err != nil {
			return err
		}
	}
	if err := e.t.recall(ctx); err != nil {
		return err
	}
	e.at, e.known, e.following = at, known, true
	return nil
}

// recall lets the streams rest that are full and lost events before this process
// came: who was killed after they were counted, and before the stream was paused,
// has told nobody. One with room works: its receiver is told when it next takes
// something (see owe).
func (t *Transmitter) recall(ctx context.Context) error {
	t.write.Lock()
	defer t.write.Unlock()
	streams, err := t.c.Streams.Streams(ctx)
	if err != nil {
		return fmt.Errorf("look for streams that lost events: %w", err)
	}
	for i := range streams {
		if s := &streams[i]; s.Lost > 0 && s.Status == signals.Enabled && s.Waiting >= held {
			t.pause(ctx, s.ID, fmt.Sprintf("%d events were dropped", s.Lost))
		}
	}
	return nil
}

// step tells one piece of the sequence and reports whether there is more.
func (e *emitter) step(ctx context.Context) (bool, error) {
	changes, err := e.t.c.Ledger.Changes(ctx, e.at, atOnce)
	if errors.Is(err, nhi.ErrNotFound) || e.at > e.t.c.Ledger.Generation() {
		// The database was restored, or nobody listened for very long.
		e.t.c.Log.Warn("signals begin anew: what happened meanwhile was not told", "from", e.t.c.Ledger.Generation())
		e.at = e.t.c.Ledger.Generation()
		return false, e.t.c.Ledger.Tell(ctx, signals.Telling{Through: e.at})
	}
	if err != nil {
		return false, fmt.Errorf("read the changes to be told: %w", err)
	}
	if len(changes) == 0 {
		return false, nil
	}
	d := &draft{known: e.known, Telling: signals.Telling{Through: changes[len(changes)-1].Seq, Known: map[string]signals.Known{}, Lost: map[string]int64{}}}
	for i := range changes {
		if err := e.read(ctx, d, &changes[i]); err != nil {
			return false, fmt.Errorf("tell change %d: %w", changes[i].Seq, err)
		}
	}
	e.t.write.Lock()
	defer e.t.write.Unlock()
	// Streams are read under the lock, so that none changes meanwhile.
	if err := e.address(ctx, d); err != nil {
		return false, err
	}
	if err := e.t.c.Ledger.Tell(ctx, d.Telling); err != nil {
		e.following = false // read again where we are
		return false, fmt.Errorf("write what is to be told: %w", err)
	}
	e.learned(d.Known)
	e.at = d.Through
	e.t.stuck(ctx, d.Lost)
	if len(d.Events) > 0 {
		e.t.news.ring()
	}
	return len(changes) == atOnce, nil
}

// fade forgets what was remembered only because it was recent.
func (e *emitter) fade(ctx context.Context, now time.Time) error {
	faded := map[string]signals.Known{}
	for id, k := range e.known {
		if k.At.IsZero() || now.Sub(k.At) < 2*recent {
			continue
		}
		k.Created, k.Rotated, k.At = false, time.Time{}, time.Time{}
		faded[id] = k
	}
	if len(faded) == 0 || !e.following {
		return nil
	}
	e.t.write.Lock()
	defer e.t.write.Unlock()
	if err := e.t.c.Ledger.Tell(ctx, signals.Telling{Through: e.at, Known: faded}); err != nil {
		return fmt.Errorf("forget what was told long ago: %w", err)
	}
	e.learned(faded)
	return nil
}

func (e *emitter) learned(known map[string]signals.Known) {
	for id, k := range known {
		if k == (signals.Known{}) {
			delete(e.known, id)
		} else {
			e.known[id] = k
		}
	}
}

// A draft is a Telling under construction.
type draft struct {
	signals.Telling
	known map[string]signals.Known
	said  []said
}

// said is an event and whom it is about.
type said struct {
	who   nhi.Identity
	event signals.Event
	part  string // id of the credential that it is about; empty: the identity itself
}

func (d *draft) last(id string) signals.Known {
	if k, ok := d.Known[id]; ok {
		return k
	}
	return d.known[id]
}

func (d *draft) learn(id string, k signals.Known) {
	if d.last(id) != k {
		d.Known[id] = k
	}
}

// read finds out what a change means to the outside.
func (e *emitter) read(ctx context.Context, d *draft, c *nhi.Change) error {
	switch c.Subject {
	case nhi.SubjectIdentity:
		var i nhi.Identity
		if gone(c) {
			d.learn(c.Key, signals.Known{})
			return nil
		}
		if err := json.Unmarshal(c.Payload, &i); err != nil {
			return err
		}
		return e.identity(ctx, d, &i, c.At)
	case nhi.SubjectCredential:
		return e.credential(ctx, d, c)
	case nhi.SubjectRevocation:
		var r nhi.Revocation
		if gone(c) {
			return nil
		}
		if err := json.Unmarshal(c.Payload, &r); err != nil {
			return err
		}
		if r.Identity == "" || strings.HasPrefix(r.Reason, FromPeer) {
			return nil // a single token or key is known to its issuer only
		}
		return e.about(ctx, d, r.Identity, signals.Event{Type: signals.SessionRevoked, At: r.At, Reason: "its tokens were revoked"}, "")
	}
	return nil
}

func gone(c *nhi.Change) bool { return len(c.Payload) == 0 || string(c.Payload) == "null" }

func (e *emitter) identity(ctx context.Context, d *draft, i *nhi.Identity, at time.Time) error {
	if own(i.Kind) || i.Alias != "" {
		return nil
	}
	old := d.last(string(i.ID))
	next := signals.Known{NotBefore: i.NotBefore, Level: levelFrom(old.Level, i.Risk)}
	if i.State == nhi.Quarantined || i.State == nhi.Retired {
		next.State = string(i.State)
	}
	switch {
	case next.State != "" && next.State != old.State:
		d.say(*i, signals.Event{Type: signals.SessionRevoked, At: at, Reason: "the identity is " + next.State}, "")
	case next.NotBefore.After(old.NotBefore):
		d.say(*i, signals.Event{Type: signals.SessionRevoked, At: i.NotBefore, Reason: "its tokens were revoked"}, "")
	}
	if next.Level != old.Level {
		echo, err := e.t.c.Inventory.FromPeer(ctx, i.ID)
		if err != nil {
			return err
		}
		if !echo {
			d.say(*i, signals.Event{Type: signals.RiskLevelChange, At: at, Level: orLow(next.Level), Previous: orLow(old.Level), Reason: "BEHAVIOUR"}, "")
		}
	}
	d.learn(string(i.ID), next)
	return nil
}

func orLow(level string) string {
	if level == "" {
		return signals.Low
	}
	return level
}

// levelFrom is the level of a risk; it falls only when the risk has fallen by
// some more, so that a risk at the border is not told again and again. LOW is
// empty.
func levelFrom(old string, risk int) string {
	level := signals.Level(risk)
	if rank(level) < rank(orLow(old)) && signals.Level(risk+5) == old {
		level = old
	}
	if level == signals.Low {
		return ""
	}
	return level
}

func rank(level string) int {
	return map[string]int{signals.Low: 0, signals.Medium: 1, signals.High: 2}[level]
}

// own are the kinds of Muster's own callers: nobody else's business.
func own(k nhi.Kind) bool {
	return k == nhi.KindPoint || k == nhi.KindSource || k == nhi.KindOperator
}

func (e *emitter) credential(ctx context.Context, d *draft, ch *nhi.Change) error {
	old := d.last(ch.Key)
	if gone(ch) {
		// Whose it was is not said any more, so nobody can be told.
		d.learn(ch.Key, signals.Known{})
		return nil
	}
	var c nhi.Credential
	if err := json.Unmarshal(ch.Payload, &c); err != nil {
		return err
	}
	// What is long ago is not remembered, or every rotated key would be.
	young := ch.At.Sub(c.Created) < recent
	next := signals.Known{Created: young}
	if c.State != nhi.CredentialActive {
		next.State = string(c.State)
	}
	if ch.At.Sub(c.Rotated) < recent {
		next.Rotated = c.Rotated
	}
	if young || !next.Rotated.IsZero() {
		next.At = ch.At
	}
	change, reason := "", ""
	switch {
	case next.State != old.State && c.State.Dead():
		change, reason = signals.Revoked, "the credential is "+next.State
	case next.State != old.State:
		change, reason = signals.Updated, "the credential is "+string(c.State)
	case young && !old.Created:
		change, reason = signals.Created, "a new credential"
	case next.Rotated.After(old.Rotated) && !young:
		change, reason = signals.Updated, "the credential was rotated"
	}
	d.learn(ch.Key, next)
	if change == "" {
		return nil
	}
	event := signals.Event{Type: signals.CredentialChange, At: ch.At, Credential: string(c.Kind), Change: change, Name: c.PublicID, Reason: reason}
	if err := e.about(ctx, d, c.Identity, event, string(c.ID)); err != nil || change != signals.Revoked || old.State != "" && nhi.CredentialState(old.State).Dead() {
		return err
	}
	return e.about(ctx, d, c.Identity, signals.Event{Type: signals.SessionRevoked, At: ch.At, Reason: reason}, string(c.ID))
}

// about says an event about an identity that only its id is known of.
func (e *emitter) about(ctx context.Context, d *draft, id nhi.ID, event signals.Event, part string) error {
	i, err := e.t.c.Inventory.Identity(ctx, id)
	if errors.Is(err, nhi.ErrNotFound) {
		return nil
	}
	if err == nil && !own(i.Kind) {
		d.say(i, event, part)
	}
	return err
}

func (d *draft) say(who nhi.Identity, event signals.Event, part string) {
	d.said = append(d.said, said{who, event, part})
}

// address puts what was said into the outboxes of the streams that it is for.
func (e *emitter) address(ctx context.Context, d *draft) error {
	if len(d.said) == 0 {
		return nil
	}
	receivers, err := e.t.receivers(ctx)
	if err != nil {
		return err
	}
	streams, err := e.t.c.Streams.Streams(ctx)
	if err != nil {
		return fmt.Errorf("read the streams of signals: %w", err)
	}
	for i := range streams {
		s := &streams[i]
		r, known := receivers[s.Receiver]
		if !known || !s.Holds() {
			continue
		}
		for j := range d.said {
			said := &d.said[j]
			if !s.Delivers(said.event.Type) || !r.Hears(&said.who) {
				continue
			}
			subject := e.t.subject(said, s.Format)
			out, err := e.t.c.Streams.Excluded(ctx, s.ID, subject.Keys())
			if err != nil {
				return err
			}
			if out {
				continue
			}
			if s.Waiting++; s.Waiting > held {
				d.Lost[s.ID]++
				continue
			}
			w, err := e.t.draw(s, subject, said.event)
			if err != nil {
				return err
			}
			d.Events = append(d.Events, signals.Told{Stream: s.ID, Waiting: w})
		}
	}
	return nil
}

// subject names whom an event is about: the identity, or what is derived from
// one credential of it.
func (t *Transmitter) subject(s *said, format string) signals.Subject {
	who := t.c.Name(&s.who, format)
	if s.part == "" || s.event.Type != signals.SessionRevoked {
		return who
	}
	return signals.Subject{Format: signals.FormatComplex, Members: map[string]signals.Subject{
		"user": who, "session": {Format: signals.FormatOpaque, ID: s.part},
	}}
}

// draw makes the event of a stream.
func (t *Transmitter) draw(s *signals.Stream, subject signals.Subject, event signals.Event) (signals.Waiting, error) {
	now := time.Now()
	token := signals.Token{
		ID: uuid.Must(uuid.NewV7()).String(), Issuer: t.c.Issuer, Audience: string(s.Receiver), IssuedAt: now, Subject: subject, Event: event,
	}
	claims, err := token.Claims()
	return signals.Waiting{ID: token.ID, At: now, Claims: claims}, err
}

func (t *Transmitter) receivers(ctx context.Context) (map[nhi.ID]Receiver, error) {
	all, err := t.c.Receivers(ctx)
	if err != nil {
		return nil, fmt.Errorf("read who receives signals: %w", err)
	}
	out := make(map[nhi.ID]Receiver, len(all))
	for _, r := range all {
		out[r.ID] = r
	}
	return out, nil
}

// stuck pauses the streams that had no room. write is held.
func (t *Transmitter) stuck(ctx context.Context, lost map[string]int64) {
	for id := range maps.Keys(lost) {
		t.lost.Add(uint64(lost[id]))
		t.pause(ctx, id, fmt.Sprintf("%d events wait and nobody takes them; later ones are dropped", held))
	}
}

// pause lets a stream rest and tells people. write is held.
func (t *Transmitter) pause(ctx context.Context, id, reason string) {
	s, err := t.c.Streams.UpdateStream(ctx, id, func(s *signals.Stream) error {
		if s.Status == signals.Enabled {
			s.Status, s.Reason, s.Ours = signals.Paused, reason, true
		}
		return nil
	})
	if err == nil && s.Ours {
		err = t.c.Stuck(ctx, s)
	}
	t.untold(id, err)
}

// untold logs that people could not be told of a stream; err may be nil.
func (t *Transmitter) untold(id string, err error) {
	if err != nil {
		t.c.Log.Warn("a receiver takes no signals, and nobody could be told", "stream", id, "error", err)
	}
}
