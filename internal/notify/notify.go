// Package notify tells people what happened to the identities they answer
// for. Notices wait in an outbox that is written together with the act they
// tell of; a Router takes what is due to each channel until the channel has
// accepted it. Delivery is at least once: a notice carries an id that a
// receiver can use to recognise a repeat.
//
//	act -> outbox -> Router -> channel (webhook, email, slack)
//	                  ^  retry with growing pauses for three days
//
// A new notice is given to the channels that want its severity once, so that
// what is done or unwanted costs nothing later, and a channel that is
// configured afterwards does not begin with old news. Channels do not wait for
// each other.
//
// A notice says who, what, where, why, what was done and how to undo it; it
// never holds a secret. Channels that people read take its words from [Words]:
// names in it were chosen by strangers.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Channel carries notices to people.
type Channel interface {
	// Name identifies the channel in the outbox and in messages.
	Name() string
	// Send delivers one notice. It blocks until the receiver has taken it. An
	// error wrapping ErrGone means that trying again is pointless.
	Send(ctx context.Context, n nhi.Notice) error
}

// ErrGone is returned by channels whose receiver no longer wants messages.
var ErrGone = errors.New("the receiver is gone")

// Loopback reports whether a host, an address or a name, is this machine: what
// is sent there without encryption passes nobody.
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Later is the error of a receiver that is well and wants to be asked again
// after a while, not before. Nothing else is sent to it until then.
type Later struct {
	After time.Duration
	Err   error
}

// Error implements error.
func (l *Later) Error() string { return l.Err.Error() }

// Unwrap returns what the receiver said.
func (l *Later) Unwrap() error { return l.Err }

// Waiting is a notice with how often it was tried.
type Waiting struct {
	Notice   nhi.Notice
	Attempts int
}

// The statuses of a delivery.
const (
	StatusWaiting = "waiting"
	StatusDone    = "done"
	StatusRefused = "refused"
)

// Settled says how an attempt ended.
type Settled struct {
	Notice   string
	Status   string
	Attempts int
	Due      time.Time
	Error    string
}

// A Want says which notices a channel is given.
type Want struct {
	Channel    string
	Severities []nhi.Severity
}

// Outbox keeps notices durably.
type Outbox interface {
	// Route gives every new notice to the channels that want it.
	Route(ctx context.Context, wants []Want) error
	// Forget removes notices older than before, delivered or not.
	Forget(ctx context.Context, before time.Time) error
	// Due returns up to limit notices that channel should be given at that
	// time, the oldest first.
	Due(ctx context.Context, channel string, at time.Time, limit int) ([]Waiting, error)
	// Settle records how an attempt ended.
	Settle(ctx context.Context, channel string, s Settled) error
}

// A Route gives a channel the notices of at least a severity.
type Route struct {
	Channel Channel
	Least   nhi.Severity
}

// Router moves notices from an outbox to channels.
type Router struct {
	outbox  Outbox
	routes  atomic.Pointer[[]Route]
	changed chan struct{} // routes were replaced
	wake    chan struct{}
	ledger  ledger
}

// NewRouter returns a Router over outbox. It starts nothing; see Run.
func NewRouter(outbox Outbox, routes []Route) *Router {
	r := &Router{outbox: outbox, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	r.routes.Store(&routes)
	return r
}

// Replace puts other routes in force. A delivery that is under way is finished
// or tried again later by the new routes; what waits for a channel that is no
// longer there waits for it to come back.
func (r *Router) Replace(routes []Route) {
	r.routes.Store(&routes)
	r.ledger.keep(routes)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Channel returns the channel in force of a name, as "slack:room".
func (r *Router) Channel(name string) (Channel, bool) {
	for _, route := range *r.routes.Load() {
		if route.Channel.Name() == name {
			return route.Channel, true
		}
	}
	return nil, false
}

// wants says which notices the routes are for.
func wants(routes []Route) []Want {
	var out []Want
	for _, route := range routes {
		w := Want{Channel: route.Channel.Name()}
		for s, grade := range severity {
			if grade >= severity[route.Least] {
				w.Severities = append(w.Severities, s)
			}
		}
		slices.Sort(w.Severities)
		out = append(out, w)
	}
	return out
}

// Wake tells the Router that a notice was queued. It never blocks.
func (r *Router) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

const (
	every      = time.Second
	batch      = 50
	firstPause = time.Second
	lastTry    = 32 // about three days with the pauses below
	longest    = 4 * time.Hour
	keepFor    = 7 * 24 * time.Hour // longer than anything is tried
)

// Run delivers until ctx ends. An outbox that cannot be read is logged and
// tried again: telling people must not stop because of one fault.
func (r *Router) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		r.runWith(ctx, *r.routes.Load())
	}
	return nil
}

// runWith delivers by some routes until ctx ends or others are in force.
func (r *Router) runWith(ctx context.Context, routes []Route) {
	ctx, cancel := context.WithCancel(ctx)
	var channels sync.WaitGroup
	defer channels.Wait()
	defer cancel()
	bells := make([]chan struct{}, len(routes))
	for i, route := range routes {
		bells[i] = make(chan struct{}, 1)
		channels.Go(func() { r.follow(ctx, route, bells[i]) })
	}
	wanted := wants(routes)
	tick, day := time.NewTicker(every), time.NewTicker(24*time.Hour)
	defer tick.Stop()
	defer day.Stop()
	r.forget(ctx)
	for {
		if err := r.outbox.Route(ctx, wanted); err != nil && ctx.Err() == nil {
			slog.Warn("notices wait", "error", err)
		}
		for _, bell := range bells {
			select {
			case bell <- struct{}{}:
			default:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
			return
		case <-day.C:
			r.forget(ctx)
		case <-tick.C:
		case <-r.wake:
		}
	}
}

func (r *Router) forget(ctx context.Context) {
	if err := r.outbox.Forget(ctx, time.Now().Add(-keepFor)); err != nil && ctx.Err() == nil {
		slog.Warn("old notices could not be forgotten; tried again in a day", "error", err)
	}
}

// follow gives one channel what is due whenever the bell rings.
func (r *Router) follow(ctx context.Context, route Route, bell <-chan struct{}) {
	var resume time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-bell:
		}
		if time.Now().Before(resume) {
			continue
		}
		var err error
		if resume, err = r.drain(ctx, route); err != nil && ctx.Err() == nil {
			slog.Warn("notices wait", "channel", route.Channel.Name(), "error", err)
		}
	}
}

// drain sends what is due, until the receiver asks for a pause: until resume
// nothing should be sent.
func (r *Router) drain(ctx context.Context, route Route) (resume time.Time, err error) {
	name := route.Channel.Name()
	for {
		waiting, err := r.outbox.Due(ctx, name, time.Now(), batch)
		if err != nil {
			return resume, err
		}
		for _, w := range waiting {
			s, err := deliver(ctx, route, w)
			if s.Status != StatusDone && ctx.Err() != nil {
				return resume, ctx.Err() // cut short by ourselves, which is no attempt
			}
			if s.Attempts > w.Attempts {
				r.ledger.note(name, s, time.Now())
			}
			// What was sent is settled even when we are stopping, or it would
			// be sent again.
			if err := r.outbox.Settle(context.WithoutCancel(ctx), name, s); err != nil {
				return resume, err
			}
			if later := (*Later)(nil); errors.As(err, &later) {
				return time.Now().Add(min(later.After, longest)), nil
			}
		}
		if len(waiting) < batch {
			return resume, nil
		}
	}
}

func deliver(ctx context.Context, route Route, w Waiting) (Settled, error) {
	s := Settled{Notice: w.Notice.ID, Status: StatusDone, Attempts: w.Attempts}
	if severity[w.Notice.Severity] < severity[route.Least] {
		return s, nil // below what this channel asks for by now
	}
	s.Attempts++
	err := route.Channel.Send(ctx, w.Notice)
	switch {
	case err == nil:
	case errors.Is(err, ErrGone), s.Attempts >= lastTry:
		s.Status, s.Error = StatusRefused, fmt.Sprintf("%.200s", err)
	default:
		s.Status, s.Error = StatusWaiting, fmt.Sprintf("%.200s", err)
		wait := pause(s.Attempts)
		if later := (*Later)(nil); errors.As(err, &later) {
			wait = min(max(wait, later.After), longest)
		}
		s.Due = time.Now().Add(wait)
	}
	return s, err
}

// pause doubles from one second to four hours.
func pause(attempts int) time.Duration {
	d := firstPause
	for range attempts - 1 {
		if d *= 2; d >= longest {
			return longest
		}
	}
	return d
}

var severity = map[nhi.Severity]int{nhi.Info: 0, nhi.Low: 1, nhi.Medium: 2, nhi.High: 3, nhi.Critical: 4}
