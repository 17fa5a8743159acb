// Package view answers what the management interface asks of an installation:
// how it does, what was learned and found, who was refused, how each source
// does. It reads what the other parts hold and changes nothing, but for the
// list of those whom the interface itself did not let in.
package view

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/learning"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/intake"
	"github.com/muster-id/muster/internal/store"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storerespond "github.com/muster-id/muster/internal/store/respond"
	"github.com/muster-id/muster/internal/surprise"
)

// Wakeup tells any number of waiters that something happened.
type Wakeup struct {
	mu sync.Mutex // guards ch
	ch chan struct{}
}

func NewWakeup() *Wakeup { return &Wakeup{ch: make(chan struct{})} }

// Next returns a channel that is closed at the next ring.
func (w *Wakeup) Next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ch
}

func (w *Wakeup) Ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.ch)
	w.ch = make(chan struct{})
}

// State implements frame.State: what the whole installation looks like.
type State struct {
	DB        *store.DB
	Inventory *inventory.Service
	Findings  *storerespond.Store
	Acts      *audit.Log
	Log       *logbook.Log
	Intake    *intake.Intake
	Mind      *learning.Mind
	Table     *geo.Table
	Changed   *Wakeup
	Refused   func() uint64 // requests that observing points let pass
}

// Overview implements frame.State; lists and rates are the caller's.
func (s *State) Overview(ctx context.Context, within nhi.Scopes) (client.Overview, error) {
	c, err := s.Inventory.Counts(ctx, within)
	if err != nil {
		return client.Overview{}, fmt.Errorf("count the inventory: %w", err)
	}
	open, critical, err := s.Findings.Counts(ctx, within)
	if err != nil {
		return client.Overview{}, fmt.Errorf("count the findings: %w", err)
	}
	static, contained, err := storeinventory.Exposure(ctx, s.DB, within)
	if err != nil {
		return client.Overview{}, fmt.Errorf("count the credentials: %w", err)
	}
	out := client.Overview{
		Identities: c.Identities, Shadow: c.Shadow, Unowned: c.Unowned, Credentials: c.Credentials, Static: static, Contained: contained,
		Findings: open, Critical: critical, Generation: uint64(s.DB.Generation()),
		GeoBuilt: s.Table.Built().UTC(), GeoStale: s.Table.Stale(time.Now()), Attribution: s.Table.Attribution(),
	}
	if within != nil {
		return out, nil // the other figures are of the whole installation
	}
	out.Events, out.Unparsable, out.PerSecond = s.Intake.Events(), s.Intake.Unparsable(), s.perSecond(time.Now())
	out.WouldRefuse, out.Unlogged = s.Refused(), uint64(max(s.Log.Unlogged(), 0))
	return out, nil
}

// perSecond is the rate of decisions over the last full minute and this one.
func (s *State) perSecond(now time.Time) float64 {
	rates := s.Log.Rates(now)
	total, seconds := 0.0, float64(now.Second())+float64(now.Nanosecond())/1e9
	for _, r := range rates {
		switch start := r.Minute; {
		case start.Equal(now.Truncate(time.Minute)):
			total += float64(r.Allow + r.StepUp + r.Deny + r.WouldRefuse)
		case start.Equal(now.Truncate(time.Minute).Add(-time.Minute)):
			total += float64(r.Allow + r.StepUp + r.Deny + r.WouldRefuse)
			seconds += 60
		}
	}
	if seconds < 1 {
		return total
	}
	return total / seconds
}

// Normal implements frame.State.
func (s *State) Normal(id nhi.ID) []client.Normal {
	page := s.Mind.Normal.Page(id)
	if page == nil {
		return nil
	}
	var out []client.Normal
	for _, f := range []surprise.Feature{surprise.Network, surprise.ASN, surprise.Country, surprise.Agent, surprise.Action, surprise.Region} {
		n := client.Normal{Feature: f.String(), Usual: []string{}}
		for _, v := range page.Top(f) {
			if name := s.Mind.Normal.Name(v.Hash); name != "" && len(n.Usual) < 5 {
				n.Usual = append(n.Usual, name)
			}
		}
		if len(n.Usual) > 0 {
			out = append(out, n)
		}
	}
	return out
}

// Audit implements frame.State.
func (s *State) Audit(ctx context.Context, before uint64, limit int) ([]client.Entry, error) {
	entries, err := s.Acts.Page(ctx, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	out := make([]client.Entry, 0, len(entries))
	for _, e := range entries {
		out = append(out, client.Entry{
			Seq: e.Seq, At: e.At.UTC(), Actor: ActorText(e.Actor), Act: e.Act, Target: e.Target, Reason: e.Reason, Outcome: string(e.Outcome), Detail: e.Detail,
		})
	}
	return out, nil
}

// Checkpoint implements frame.State.
func (s *State) Checkpoint(context.Context) (json.RawMessage, error) {
	c, err := s.Acts.Checkpoint()
	if err != nil {
		return nil, fmt.Errorf("sign a checkpoint: %w", err)
	}
	return Encode(c), nil
}

// Changes implements frame.State.
func (s *State) Changes(ctx context.Context, after nhi.Generation, limit int) ([]nhi.Change, error) {
	return s.DB.Changes(ctx, after, limit)
}

// First implements frame.State.
func (s *State) First() nhi.Generation { return s.DB.First() }

// Generation implements frame.State.
func (s *State) Generation() nhi.Generation { return s.DB.Generation() }

// Woken implements frame.State.
func (s *State) Woken() <-chan struct{} { return s.Changed.Next() }

// Encode is JSON of data that always encodes.
func Encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

// Decisions implements frame.Decisions over the decision log and its journal.
type Decisions struct {
	Log  *logbook.Log
	Past *logbook.Past
}

func (d Decisions) Recent(f frame.DecisionFilter, limit int) []nhi.Decision {
	return d.Log.Recent(logbook.Filter{Outcome: f.Outcome, Identity: f.Identity, Point: f.Point, Before: f.Before, Within: f.Within}, limit)
}

func (d Decisions) Decision(ctx context.Context, id string) (nhi.Decision, error) {
	if made, ok := d.Log.Get(id); ok {
		return made, nil
	}
	return d.Past.Get(ctx, id)
}

func (d Decisions) Older(ctx context.Context, id string, at, since time.Time) ([]nhi.Decision, error) {
	return d.Past.Before(ctx, id, at, since)
}

func (d Decisions) Rates(minutes int) []client.Rate {
	rates := d.Log.Rates(time.Now())
	if len(rates) > minutes {
		rates = rates[len(rates)-minutes:]
	}
	out := make([]client.Rate, 0, len(rates))
	for _, r := range rates {
		out = append(out, client.Rate{Minute: r.Minute.UTC(), Allow: int(r.Allow), StepUp: int(r.StepUp), Deny: int(r.Deny), WouldRefuse: int(r.WouldRefuse)})
	}
	return out
}

func (d Decisions) Subscribe() (<-chan nhi.Decision, func() uint64, func()) {
	before := d.Log.Dropped()
	ch, cancel := d.Log.Subscribe()
	return ch, func() uint64 { return uint64(max(d.Log.Dropped()-before, 0)) }, cancel
}

// Findings implements frame.Findings over the store.
type Findings struct{ *storerespond.Store }

func (f Findings) Findings(ctx context.Context, q frame.FindingFilter) ([]nhi.Finding, int, error) {
	return f.Store.Findings(ctx, q.Status, q.Identity, q.Credential, q.Within, q.Skip, q.Limit)
}

// Known implements detect.Inventory over the facts that decisions use, so a
// detection costs no query.
type Known struct {
	Facts  *facts.Facts
	names  sync.Map // nhi.ID to string: facts hold no names
	Ask    func(nhi.ID) (nhi.Identity, error)
	leaked atomic.Pointer[map[nhi.CredentialID]bool]
	mu     sync.Mutex // serialises learn
}

// Learn remembers that a credential leaked.
func (k *Known) Learn(ids ...nhi.CredentialID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := map[nhi.CredentialID]bool{}
	if old := k.leaked.Load(); old != nil {
		for id := range *old {
			next[id] = true
		}
	}
	for _, id := range ids {
		next[id] = true
	}
	k.leaked.Store(&next)
}

// forget no longer holds a leak against a credential.
func (k *Known) forget(id nhi.CredentialID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := map[nhi.CredentialID]bool{}
	if old := k.leaked.Load(); old != nil {
		for other := range *old {
			if other != id {
				next[other] = true
			}
		}
	}
	k.leaked.Store(&next)
}

// Identity implements detect.Inventory.
func (k *Known) Identity(id nhi.ID) (detect.IdentityFacts, bool) {
	i, ok := k.Facts.Identity(id)
	if !ok {
		return detect.IdentityFacts{}, false
	}
	return detect.IdentityFacts{
		Kind: i.Kind, Name: k.name(id), Owner: i.Owner.Ref, Production: i.Environment.Class == nhi.Production, Shadow: i.Shadow,
	}, true
}

// name asks the inventory once for each identity that acts.
func (k *Known) name(id nhi.ID) string {
	if name, ok := k.names.Load(id); ok {
		return name.(string)
	}
	i, err := k.Ask(id)
	if err != nil {
		return "" // a finding without a name is better than none
	}
	k.names.Store(id, i.Name)
	return i.Name
}

// Credential implements detect.Inventory.
func (k *Known) Credential(id nhi.CredentialID) (detect.CredentialFacts, bool) {
	c, ok := k.Facts.Credential(id)
	if !ok {
		return detect.CredentialFacts{}, false
	}
	out := detect.CredentialFacts{State: c.State, Expires: c.Expires}
	if m := k.leaked.Load(); m != nil {
		out.Leaked = (*m)[id]
	}
	return out, true
}

// Judge implements respond.Judge.
type Judge struct {
	Known   *Known
	Learner func() *learning.Learner // made after it
}

func (j Judge) Judged(ctx context.Context, f nhi.Finding) error { return j.Learner().Judge(ctx, f) }

func (j Judge) Lifted(ctx context.Context, id nhi.CredentialID) error {
	j.Known.forget(id)
	return j.Learner().Forgive(ctx, id)
}

// ActorText is the inverse, for people.
func ActorText(a audit.Actor) string {
	switch {
	case a.Name != "":
		return string(a.Kind) + ":" + a.Name
	case a.ID != "":
		return string(a.Kind) + ":" + a.ID
	}
	return string(a.Kind)
}
