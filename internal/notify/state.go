package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/nhi"
)

// A State is how a channel does, since the process started.
type State struct {
	Channel string       // its name in the outbox, as email:people
	Least   nhi.Severity // the least severity that it is given; empty: all
	Sent    uint64       // notices that the receiver took
	Refused uint64       // notices that are not tried any more
	LastOK  time.Time    // when the receiver last took one
	Failing time.Time    // since when it does not; zero when it does
	Error   string       // what the last attempt ended with, when it failed
}

// ledger remembers how the attempts of each channel ended. The zero value is
// empty.
type ledger struct {
	mu     sync.Mutex // guards states
	states map[string]*State
}

// note takes down how an attempt ended.
func (l *ledger) note(channel string, s Settled, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.states == nil {
		l.states = map[string]*State{}
	}
	st := l.states[channel]
	if st == nil {
		st = &State{}
		l.states[channel] = st
	}
	switch s.Status {
	case StatusDone:
		st.Sent++
		st.LastOK, st.Failing, st.Error = at, time.Time{}, ""
		return
	case StatusRefused:
		st.Refused++
	}
	st.Error = s.Error
	if st.Failing.IsZero() {
		st.Failing = at
	}
}

// keep forgets channels that are not among routes.
func (l *ledger) keep(routes []Route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.states {
		if !slices.ContainsFunc(routes, func(r Route) bool { return r.Channel.Name() == name }) {
			delete(l.states, name)
		}
	}
}

// States tells how each channel does, by name.
func (r *Router) States() []State {
	routes := *r.routes.Load()
	out := make([]State, 0, len(routes))
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	for _, route := range routes {
		s := State{}
		if known := r.ledger.states[route.Channel.Name()]; known != nil {
			s = *known
		}
		s.Channel, s.Least = route.Channel.Name(), route.Least
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b State) int { return cmp.Compare(a.Channel, b.Channel) })
	return out
}

// Test sends a notice that says that it is a test to one channel, whatever
// severity it asks for, and waits for the receiver's answer. It wraps
// nhi.ErrNotFound when there is no such channel.
func (r *Router) Test(ctx context.Context, channel, by string) error {
	for _, route := range *r.routes.Load() {
		if route.Channel.Name() != channel {
			continue
		}
		n := trial(by, time.Now())
		s := Settled{Status: StatusDone}
		err := route.Channel.Send(ctx, n)
		if ctx.Err() != nil {
			return fmt.Errorf("test channel %s: %w", channel, cmp.Or(err, ctx.Err()))
		}
		if err != nil {
			s.Status, s.Error = StatusWaiting, fmt.Sprintf("%.200s", err)
			if errors.Is(err, ErrGone) {
				s.Status = StatusRefused
			}
		}
		r.ledger.note(channel, s, time.Now())
		return err
	}
	return fmt.Errorf("channel %.80q: %w", channel, nhi.ErrNotFound)
}

// trial is a notice of which nobody needs to do anything.
func trial(by string, at time.Time) nhi.Notice {
	data, err := json.Marshal(body{
		Title:    "A test of this channel",
		Sentence: "Muster can reach you here. Somebody asked for this test; nothing happened and nothing needs to be done.",
		Reason:   "asked for by " + Text(by, 100),
	})
	if err != nil {
		data = []byte("{}") // plain strings always encode
	}
	return nhi.Notice{ID: uuid.Must(uuid.NewV7()).String(), Topic: TopicTest, Severity: nhi.Info, At: at, Data: data}
}
