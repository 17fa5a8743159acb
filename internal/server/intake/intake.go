// Package intake takes in what the world reports: logs of activity, texts that
// may hold leaked secrets, sightings of leaks found elsewhere, and exports of a
// provider's inventory.
//
// Everything that it acknowledges is durable: events in the stream, pieces that
// are no events sealed in the store, sightings with what was done about them.
// Of an input that ends badly nothing is taken in, so that a sender can mend it
// and send it again. A source is believed only about the accounts that are
// declared for it.
package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/builtin"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/leak/text"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/respond"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/store"
	kept "github.com/muster-id/muster/internal/store/activity"
	"github.com/muster-id/muster/internal/stream"
)

// Acts records what was done, durably, before it returns.
type Acts interface {
	Record(ctx context.Context, act nhi.Act) error
}

// Deps are what an Intake works with.
type Deps struct {
	DB        *store.DB
	Stream    stream.Stream
	Inventory *inventory.Service
	Respond   *respond.Service
	OPRF      *fingerprint.Evaluator
	Scanner   *leak.Scanner
	Keys      *seal.Keys
	Acts      Acts
	Leaked    func(nhi.CredentialID) // told of each confirmed leak that stands
	// Sources lists all sources; Living says whether an identity is known
	// otherwise than from what it does.
	Sources func(context.Context) ([]nhi.Source, error)
	Living  func(nhi.ID) bool
}

// An Intake implements frame.Intake. It is safe for concurrent use.
type Intake struct {
	d         Deps
	attribute *attribution
	limit     *limiter

	events     atomic.Uint64
	unparsable atomic.Uint64
	refused    atomic.Uint64
}

// New returns an Intake.
func New(d Deps) *Intake {
	return &Intake{d: d, attribute: &attribution{of: activity.NewAttributor()}, limit: newLimiter(6000, 3000)}
}

// Events counts what was taken in since the start.
func (in *Intake) Events() uint64 { return in.events.Load() }

// Unparsable counts the pieces that were no records.
func (in *Intake) Unparsable() uint64 { return in.unparsable.Load() }

// Refused counts the events about accounts that their source may not speak for.
func (in *Intake) Refused() uint64 { return in.refused.Load() }

// maxPieces bounds what one request may leave behind as unparsable: beyond it
// the input is simply not a log of this format.
const (
	maxPieces     = 10_000
	maxPieceBytes = 64 << 20
	batchEvents   = 1000
)

// What one delivery may be once it is unpacked, and what of it may wait in
// memory until it has been read to its end.
const (
	maxPlain   = 8 << 30
	maxWaiting = 256 << 20
)

// An attribution is the one Attributor of all senders: what one log tells about
// a temporary credential explains what another log of that account shows.
type attribution struct {
	mu sync.Mutex // guards of
	of *activity.Attributor
}

func (a *attribution) attribute(ev *nhi.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of.Attribute(ev)
}

func (a *attribution) learn(l activity.Link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of.Learn(l)
}

// Logs implements frame.Intake. Nothing of an input that ends badly is taken in,
// so a sender can mend it and send it again.
func (in *Intake) Logs(ctx context.Context, source nhi.Source, format string, body io.Reader) (client.Received, error) {
	f := builtin.Format(format)
	if f == nil {
		return client.Received{}, fmt.Errorf("log format %.40q: %w", format, nhi.ErrNotFound)
	}
	d := &delivery{in: in, source: source}
	var err error
	if d.foreign, err = in.foreign(ctx, source); err != nil {
		return client.Received{}, err
	}
	_, err = f.Decode(ctx, body, activity.Options{
		Name: source.Name, Source: source.ID, Arrived: time.Now(), MaxTotal: maxPlain, Redact: in.d.Scanner.RedactString, Link: d.link,
	}, d.event, d.piece)
	if err != nil {
		return client.Received{}, err
	}
	return d.commit(ctx)
}

// A delivery is one input on its way in.
type delivery struct {
	in      *Intake
	source  nhi.Source
	open    []nhi.Event
	batches [][]byte
	waiting int // bytes of batches
	pieces  []kept.Piece
	bytes   int64
	foreign map[string]bool // accounts that only other sources speak for
	reply   client.Received
}

// foreign lists the accounts that other sources are declared for and this one
// is not.
func (in *Intake) foreign(ctx context.Context, source nhi.Source) (map[string]bool, error) {
	all, err := in.d.Sources(ctx)
	if err != nil {
		return nil, fmt.Errorf("read who speaks for which account: %w", err)
	}
	out := map[string]bool{}
	for _, s := range all {
		if s.Receives() {
			continue
		}
		for _, account := range s.Accounts {
			if !source.MayTestify(account) {
				out[account] = true
			}
		}
	}
	return out, nil
}

// hearsay reports whether an event tells of an identity that lives in another
// account than those the source is declared for, and that we know better: it is
// in the inventory, or another source speaks for its account. The log of one
// account may name identities of any other; it must not be able to train them,
// nor to get them into trouble.
func (d *delivery) hearsay(ev *nhi.Event) bool {
	home := ev.Principal.Account
	if home == "" || d.source.MayTestify(home) {
		return false
	}
	return d.foreign[home] || d.in.d.Living(ev.Identity)
}

// link takes only what a log tells about its own accounts.
func (d *delivery) link(l activity.Link) {
	if d.source.MayTestify(l.Account) {
		d.in.attribute.learn(l)
	}
}

func (d *delivery) event(ev nhi.Event) error {
	if ev.Account == "" && len(d.source.Accounts) == 1 {
		ev.Account = d.source.Accounts[0]
	}
	if !d.source.MayTestify(ev.Account) {
		d.reply.Refused++
		return nil
	}
	d.in.attribute.attribute(&ev)
	ev.Asserted = ev.Asserted || d.hearsay(&ev)
	// The stream knows when it arrived. Without it the same input is the same
	// batch whenever it is sent, which is how a repeat is recognised.
	ev.Arrived = time.Time{}
	if at := ev.Time; d.reply.Newest == nil || at.After(*d.reply.Newest) {
		d.reply.Newest = &at
	}
	d.open = append(d.open, ev)
	d.reply.Events++
	if len(d.open) < batchEvents {
		return nil
	}
	return d.close()
}

func (d *delivery) close() error {
	if len(d.open) == 0 {
		return nil
	}
	batches, err := stream.EncodeBatches(d.open)
	if err != nil {
		return fmt.Errorf("encode a batch of events: %w", err)
	}
	for _, b := range batches {
		d.waiting += len(b)
	}
	if d.waiting > maxWaiting {
		return fmt.Errorf("the events of one delivery take more than %d bytes; send it in parts: %w", maxWaiting, nhi.ErrTooLarge)
	}
	d.batches = append(d.batches, batches...)
	d.open = d.open[:0]
	return nil
}

func (d *delivery) piece(u activity.Unparsable) error {
	if d.bytes += int64(len(u.Raw)); d.bytes > maxPieceBytes || len(d.pieces) >= maxPieces {
		return nhi.Invalidf("%s: line %d: too much of the input is no record (%s)", u.Name, u.Line, u.Reason)
	}
	sum := sha256.New()
	sum.Write([]byte(d.source.ID))
	sum.Write(u.Raw)
	d.pieces = append(d.pieces, kept.Piece{
		ID: hex.EncodeToString(sum.Sum(nil)[:16]), Source: d.source.ID, At: time.Now(), Reason: u.Reason, Line: u.Line, Size: u.Size,
		Sealed: d.in.d.Keys.Seal("unparsable", u.Raw),
	})
	d.reply.Unparsable++
	return nil
}

// commit makes everything durable. A batch has the id of its content, so that
// what is sent again after a lost answer is recognised.
func (d *delivery) commit(ctx context.Context) (client.Received, error) {
	if err := d.close(); err != nil {
		return client.Received{}, err
	}
	if err := kept.Keep(ctx, d.in.d.DB, d.pieces); err != nil {
		return client.Received{}, err
	}
	known := 0
	for _, b := range d.batches {
		sum := sha256.Sum256(append([]byte(d.source.ID), b...))
		_, duplicate, err := d.in.d.Stream.Publish(ctx, stream.ActivityBatch, hex.EncodeToString(sum[:16]), b)
		if errors.Is(err, stream.ErrFull) {
			return client.Received{}, fmt.Errorf("keep the events: the disk is full, send them again later (%w): %w", nhi.ErrBusy, err)
		}
		if errors.Is(err, stream.ErrUnavailable) || errors.Is(err, stream.ErrBroken) {
			return client.Received{}, fmt.Errorf("keep the events: the stream takes nothing now, send them again later (%w): %w", nhi.ErrBusy, err)
		}
		if err != nil {
			return client.Received{}, fmt.Errorf("keep the events: %w", err)
		}
		if duplicate {
			known++
		}
	}
	d.reply.Duplicate = known > 0 && known == len(d.batches)
	if !d.reply.Duplicate {
		d.in.events.Add(uint64(d.reply.Events))
	}
	d.in.unparsable.Add(uint64(d.reply.Unparsable))
	d.in.refused.Add(uint64(d.reply.Refused))
	return d.reply, nil
}

// Evaluate implements frame.Intake. An open evaluation would be an oracle for
// guessing secrets, so each source has a budget.
func (in *Intake) Evaluate(_ context.Context, source nhi.Source, blinded [][]byte) (client.EvaluatedFingerprints, error) {
	if !in.limit.allow(string(source.ID), len(blinded), time.Now()) {
		return client.EvaluatedFingerprints{}, fmt.Errorf("too many fingerprints for one source; wait a minute: %w", nhi.ErrBusy)
	}
	evaluated, err := in.d.OPRF.Evaluate(blinded)
	if err != nil {
		return client.EvaluatedFingerprints{}, nhi.Invalidf("blinded elements: %v", err)
	}
	return client.EvaluatedFingerprints{Version: in.d.OPRF.Version(), Evaluated: evaluated}, nil
}

// Sighting implements frame.Intake.
func (in *Intake) Sighting(ctx context.Context, source nhi.Source, r client.ReportSighting) (client.SightingReply, error) {
	if r.PublicID == "" && r.Fingerprint == "" {
		return client.SightingReply{}, nhi.Invalidf("a sighting needs a public_id or a fingerprint")
	}
	if r.Fingerprint != "" {
		if _, ok := fingerprint.Version(r.Fingerprint); !ok {
			return client.SightingReply{}, nhi.Invalidf("fingerprint is not one of ours (f1:…)")
		}
	}
	// A blind fingerprint of a private key covers its public half, which anybody
	// may know. From elsewhere it is a claim, not a proof.
	proof := r.Fingerprint
	if strings.Contains(r.Kind, "private-key") || r.Provider == "pem" {
		proof = ""
	}
	if !in.limit.allow("sightings of "+string(source.ID), 1, time.Now()) {
		return client.SightingReply{}, fmt.Errorf("too many sightings from one source; wait a minute: %w", nhi.ErrBusy)
	}
	free := func(s string, n int) string { return clip(in.d.Scanner.RedactString(s), n) }
	return in.sighted(ctx, "", nhi.Sighting{
		Rule: free(r.Rule, 100), Provider: free(r.Provider, 100), Kind: free(r.Kind, 100), PublicID: free(r.PublicID, 256), Fingerprint: proof,
		Place: nhi.Place{
			Kind: free(r.Place.Kind, 40), Name: free(r.Place.Name, 1000), Line: max(r.Place.Line, 0), Commit: free(r.Place.Commit, 64), Public: r.Place.Public,
		},
		Source: source.ID, At: time.Now(),
	})
}

// sighted matches and responds. The id of a sighting is what was seen and
// where, so the same report twice is one sighting. within tells apart what has
// no place of its own.
func (in *Intake) sighted(ctx context.Context, within string, s nhi.Sighting) (client.SightingReply, error) {
	s.ID = nhi.DerivedID("sgt_", s.Rule, s.PublicID, s.Fingerprint, s.Place.Kind, s.Place.Name, s.Place.Commit, fmt.Sprint(s.Place.Line), within)
	matched, err := in.d.Inventory.Match(ctx, s)
	if err != nil {
		return client.SightingReply{}, fmt.Errorf("match sighting: %w", err)
	}
	out, err := in.d.Respond.Sighted(ctx, matched)
	if err != nil {
		return client.SightingReply{}, err
	}
	// A containment that somebody lifted is not brought back by the same
	// sighting, and so its use is no longer that of a leaked key.
	if matched.Verdict == nhi.Confirmed && out.Action.Status == nhi.ActionDone {
		in.d.Leaked(matched.Credential)
	}
	reply := client.SightingReply{
		ID: s.ID, Verdict: string(matched.Verdict), Identity: string(matched.Identity), Credential: string(matched.Credential), Finding: out.Finding,
	}
	if out.Action.ID != "" {
		a := frame.ToAction(out.Action)
		reply.Action = &a
	}
	return reply, nil
}

// Text implements frame.Intake. The secret itself is in our hands here, so its
// fingerprint is computed at once and the text is wiped.
func (in *Intake) Text(ctx context.Context, source nhi.Source, contentType string, body io.Reader) ([]client.SightingReply, error) {
	if !in.limit.allow("texts of "+string(source.ID), 1, time.Now()) {
		return nil, fmt.Errorf("too many texts from one source; wait a minute: %w", nhi.ErrBusy)
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	post, err := text.Parse(contentType, raw)
	if err != nil {
		return nil, err
	}
	defer post.Wipe()
	within := ""
	if post.URL == "" { // two posts from nowhere are two places
		sum := sha256.Sum256(raw)
		within = hex.EncodeToString(sum[:])
	}
	var out []client.SightingReply
	var failed error
	post.Scan(in.d.Scanner, func(m *leak.Match) bool {
		defer m.Wipe()
		if len(out) >= 1000 {
			failed = fmt.Errorf("the text holds more than 1000 secrets: %w", nhi.ErrTooLarge)
			return false
		}
		var r client.SightingReply
		if r, failed = in.sighted(ctx, within, in.fromMatch(m, post.Place(in.d.Scanner), source.ID)); failed != nil {
			return false
		}
		out = append(out, r)
		return true
	})
	return out, failed
}

// fromMatch turns a secret in our hands into a sighting without it.
func (in *Intake) fromMatch(m *leak.Match, place nhi.Place, source nhi.ID) nhi.Sighting {
	s := nhi.Sighting{Rule: m.Rule, Provider: m.Provider, Kind: m.Kind, PublicID: m.PublicID, Place: place, Source: source, At: time.Now()}
	s.Place.Line, s.Place.Public = m.Line, true
	if secret := m.Secret(); secret != nil {
		if canonical, err := fingerprint.Canonical(m.Class, secret); err == nil {
			s.Fingerprint, _ = in.d.OPRF.Of(m.Class, canonical) // what has no fingerprint stays unproven
			clear(canonical)
		}
	}
	return s
}

func clip(s string, n int) string {
	return activity.Clean(s, n)
}
