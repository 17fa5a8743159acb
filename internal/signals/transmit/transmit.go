// Package transmit tells receivers what happened: it is a transmitter of the
// Shared Signals Framework 1.0. A receiver is a source of format receiver that
// an administrator enrolled; it proves itself with its key, makes its streams
// at /ssf/, and hears only about the accounts that were declared for it.
//
//	change -> Emitter -> outbox (durable) -> push worker, or the receiver's poll
//
// The [Transmitter] follows the sequence of changes. What a change means to the
// outside (an identity quarantined, a credential revoked, a risk that crosses a
// level) is found by comparing it with what was last known, and written to the
// outbox of each stream that it is for, in the transaction that advances the
// position: no event is lost, and none told twice by us. A SET leaves the outbox
// when its receiver has acknowledged it, by 202 to a push (RFC 8935) or ack in
// a poll (RFC 8936); until then it is sent again, in the order of events, with
// growing pauses. So delivery is at least once, with the same jti.
//
// An outbox is bounded. A receiver to which no push gets through for a day, or
// which lets ten thousand events wait, has its stream paused and its owner told. An
// event that waited for a week is dropped and the owner told, but the stream goes
// on: one signal that a receiver never acknowledges must not stop all later ones.
// What is dropped is counted, and confessed in a stream-updated event once the
// receiver enables the stream again or, where it was not paused, takes something.
//
// What a peer told us (package signals/receive) is not told on: two servers that
// listen to each other would never fall silent.
package transmit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
)

// A Receiver is who may have streams.
type Receiver struct {
	ID       nhi.ID
	Name     string
	Accounts []string // about whom it may hear: accounts, environment:NAME, or *
}

// Everything is the account of a receiver that may hear about everybody.
const Everything = "*"

// Hears reports whether the receiver may hear about an identity.
func (r *Receiver) Hears(i *nhi.Identity) bool {
	return slices.ContainsFunc(r.Accounts, func(a string) bool {
		return a == Everything || a != "" && a == i.Account || i.Environment.Name != "" && a == "environment:"+i.Environment.Name
	})
}

// Streams keeps streams, with the subjects that their receivers removed.
type Streams interface {
	// Streams returns all, the oldest first, with what waits in each.
	Streams(ctx context.Context) ([]signals.Stream, error)
	// Stream returns one, without what waits in it: however many there are, it costs
	// the same. The error wraps nhi.ErrNotFound.
	Stream(ctx context.Context, id string) (signals.Stream, error)
	// CreateStream returns an error wrapping nhi.ErrConflict when the receiver
	// has most streams already.
	CreateStream(ctx context.Context, s signals.Stream, most int) error
	// UpdateStream changes one in a transaction and returns it, or an error
	// wrapping nhi.ErrNotFound, or that of change. A stream that is disabled
	// afterwards holds no events any more.
	UpdateStream(ctx context.Context, id string, change func(*signals.Stream) error) (signals.Stream, error)
	// DeleteStream forgets one with its events.
	DeleteStream(ctx context.Context, id string) error
	// Exclude removes a subject from a stream, or adds it again. It returns an
	// error wrapping nhi.ErrConflict beyond most.
	Exclude(ctx context.Context, id, subject string, out bool, most int) error
	// Excluded reports whether one of the subjects was removed.
	Excluded(ctx context.Context, id string, subjects []string) (bool, error)
}

// Outbox keeps events until they are acknowledged.
type Outbox interface {
	// Due returns up to limit events of a stream, the oldest first.
	Due(ctx context.Context, stream string, limit int) ([]signals.Waiting, error)
	// Queue adds one; one for a stream that is gone is dropped.
	Queue(ctx context.Context, stream string, w signals.Waiting) error
	// Settle forgets events and returns how many were there.
	Settle(ctx context.Context, stream string, ids []string) (int, error)
	// Expire forgets events from before a time, adds their number to what their
	// streams lost, and returns it by the id of the stream.
	Expire(ctx context.Context, before time.Time) (map[string]int64, error)
}

// Ledger keeps how far the sequence has been told.
type Ledger interface {
	// Position returns the last change that was told and what is known. ok is
	// false when nobody ever listened, or Rest was called.
	Position(ctx context.Context) (at nhi.Generation, known map[string]signals.Known, ok bool, err error)
	// Tell writes a Telling in one transaction.
	Tell(ctx context.Context, t signals.Telling) error
	// Rest forgets position and knowledge: nobody listens any more.
	Rest(ctx context.Context) error
	// Changes returns changes after a position. The error wraps nhi.ErrNotFound
	// when they are not kept any more.
	Changes(ctx context.Context, after nhi.Generation, limit int) ([]nhi.Change, error)
	// Generation is the number of the last change.
	Generation() nhi.Generation
}

// Inventory knows who identities are.
type Inventory interface {
	// Identity returns an error wrapping nhi.ErrNotFound if there is none.
	Identity(ctx context.Context, id nhi.ID) (nhi.Identity, error)
	// FromPeer reports whether a peer's word counts in the risk of an identity
	// right now.
	FromPeer(ctx context.Context, id nhi.ID) (bool, error)
}

// Config is what a Transmitter needs.
type Config struct {
	Issuer    string // iss, and the public URL that paths are below
	KeysPath  string // where the keys are published
	Streams   Streams
	Outbox    Outbox
	Ledger    Ledger
	Inventory Inventory
	// Authenticate says who sends a request. The error wraps nhi.ErrDenied, or
	// nhi.ErrBusy after too many failures.
	Authenticate func(*http.Request) (Receiver, error)
	// Receivers lists who may hear now.
	Receivers func(context.Context) ([]Receiver, error)
	// Sign makes a SET of claims.
	Sign func(claims []byte) (string, error)
	// Seal and Unseal keep the Authorization headers of receivers.
	Seal   func([]byte) []byte
	Unseal func([]byte) ([]byte, error)
	// Name names an identity to receivers in a format.
	Name func(i *nhi.Identity, format string) signals.Subject
	// Stuck tells people that a receiver takes nothing, when s is paused, or not
	// everything; Reason says what happened. It may be called again.
	Stuck func(ctx context.Context, s signals.Stream) error
	Reach signals.Reach
	Roots *x509.CertPool // authorities of receivers; nil: the system's
	Log   *slog.Logger
}

// A Transmitter serves streams. It is safe for concurrent use.
type Transmitter struct {
	c      Config
	client *http.Client
	bell   bell        // something changed: for Run
	news   bell        // something waits: for polls
	idle   atomic.Bool // there is no stream

	write sync.Mutex // held while streams or outboxes change

	mu    sync.Mutex // guards the rest
	tries map[string]try
	polls map[string]int

	sent, refused, lost atomic.Uint64
	failed              atomic.Pointer[string]
}

// New returns a Transmitter. It starts nothing; see Run.
func New(c Config) *Transmitter {
	base := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots}}
	return &Transmitter{c: c, client: c.Reach.Client(base, 0), tries: map[string]try{}, polls: map[string]int{}}
}

// Counts are what happened to events since the start.
type Counts struct {
	Acknowledged uint64 // SETs that a receiver took
	Refused      uint64 // SETs that a receiver said are wrong
	Lost         uint64 // events that found no room
}

// Counts returns them.
func (t *Transmitter) Counts() Counts {
	return Counts{t.sent.Load(), t.refused.Load(), t.lost.Load()}
}

// Failure is why events are not told right now; empty when they are.
func (t *Transmitter) Failure() string {
	if s := t.failed.Load(); s != nil {
		return *s
	}
	return ""
}

// Wake says that something changed. It never blocks, and costs nothing while
// nobody listens.
func (t *Transmitter) Wake() {
	if !t.idle.Load() {
		t.bell.ring()
	}
}

// begin is Wake for a stream that may be the first.
func (t *Transmitter) begin() {
	t.idle.Store(false)
	t.bell.ring()
}

// every is how often is looked without a bell, breath how long changes gather
// after one, and week how long events wait.
const (
	every  = time.Second
	breath = 10 * time.Millisecond
	week   = 7 * 24 * time.Hour
)

// Run tells and delivers until ctx ends. What fails is said by Failure and tried
// again: a fault here must not stop decisions.
func (t *Transmitter) Run(ctx context.Context) error {
	var pushes sync.WaitGroup
	defer pushes.Wait()
	tick, hour := time.NewTicker(every), time.NewTicker(time.Hour)
	defer tick.Stop()
	defer hour.Stop()
	e := &emitter{t: t}
	for {
		rung := t.bell.next()
		if !t.idle.Load() {
			err := e.follow(ctx)
			if err == nil {
				err = t.push(ctx, &pushes)
			}
			t.note(ctx, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-hour.C:
			t.note(ctx, errors.Join(t.expire(ctx, now.Add(-week)), e.fade(ctx, now)))
		case <-rung:
			pause(ctx, breath)
		case <-tick.C:
		}
	}
}

// expire drops what waited for too long, and tells people of the streams that lost
// by it: their receivers left it there, without anything having failed. Only one
// that is full as well is paused; the others learn what they missed when they next
// take something.
func (t *Transmitter) expire(ctx context.Context, before time.Time) error {
	t.write.Lock()
	defer t.write.Unlock()
	// Read first: once they are dropped, nothing may come between that and the word.
	streams, err := t.c.Streams.Streams(ctx)
	if err != nil {
		return err
	}
	lost, err := t.c.Outbox.Expire(ctx, before)
	if err != nil {
		return err
	}
	for _, n := range lost {
		t.lost.Add(uint64(n))
	}
	for i := range streams {
		s := &streams[i]
		n := lost[s.ID]
		if n == 0 || s.Status != signals.Enabled {
			continue
		}
		reason := fmt.Sprintf("%d events waited for a week and nobody took them; they are dropped", n)
		if int64(s.Waiting)-n >= held {
			t.pause(ctx, s.ID, reason)
			continue
		}
		s.Lost, s.Reason = s.Lost+n, reason // of the word only: the stream goes on
		t.untold(s.ID, t.c.Stuck(ctx, *s))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (t *Transmitter) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	said := ""
	if err != nil {
		said = err.Error()
		if t.Failure() == "" {
			t.c.Log.Warn("signals wait", "error", err)
		}
	}
	t.failed.Store(&said)
}

// A bell wakes everybody who waits for it. The zero bell is ready.
type bell struct {
	mu   sync.Mutex // guards rung
	rung chan struct{}
}

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}
