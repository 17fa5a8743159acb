package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// The live stream. One connection carries every topic a page wants; the id of
// an event is the generation, so a reader that comes back with Last-Event-ID
// misses no finding, no action and no approval. The greeting and the heartbeats carry it
// too: a reader that was cut off before anything happened has a place to go on
// from. Decisions are not replayed: they are many,
// and the list of recent ones has them. A reader that is too slow for the
// decisions loses some and is told how many (event "dropped").
const (
	heartbeat    = 15 * time.Second
	writeTimeout = 5 * time.Second
	replayLimit  = 1000
)

var topics = []string{"decision", "finding", "action", "approval"}

// tails counts the live streams of each caller.
type tails struct {
	mu   sync.Mutex // guards open
	open map[string]int
}

// The limits of live streams.
const (
	maxTails = 16 // of one caller
)

// begin counts one more stream of a caller, unless there are too many.
func (t *tails) begin(who string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[string]int{}
	}
	if t.open[who] >= maxTails {
		return fmt.Errorf("you have %d live streams open; close one first: %w", maxTails, nhi.ErrBusy)
	}
	t.open[who]++
	return nil
}

func (t *tails) end(who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[who]--; t.open[who] == 0 {
		delete(t.open, who)
	}
}

// A listener is what one reader asked for.
type listener struct {
	topics []string
	expr   filter.Expr // of decisions
	rate   int         // decisions a second
	after  nhi.Generation
	reset  bool // the reader's cursor leads nowhere
}

// listen reads what a reader asks for.
func (s *server) listen(r *http.Request) (l listener, err error) {
	q := r.URL.Query()
	if l.topics, err = wanted(q.Get("topics")); err != nil {
		return l, err
	}
	if l.expr, err = list.Decisions.Parse(q.Get("filter"), time.Now()); err != nil {
		return l, err
	}
	l.rate = frame.DefaultRate
	if text := q.Get("rate"); text != "" {
		if l.rate, err = strconv.Atoi(text); err != nil || l.rate < 1 || l.rate > frame.MaxRate {
			return l, nhi.Invalidf("rate: want 1 to %d decisions a second", frame.MaxRate)
		}
	}
	l.after = s.State.Generation()
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		return l, nil
	}
	n, err := strconv.ParseUint(last, 10, 64)
	if err != nil {
		return l, nhi.Invalidf("Last-Event-ID is not a number")
	}
	// What is no longer kept cannot be told, and a number ahead of ours is of
	// another time: the reader must look at the lists again.
	if l.reset = nhi.Generation(n)+1 < s.State.First() || nhi.Generation(n) > l.after; !l.reset {
		l.after = nhi.Generation(n)
	}
	return l, nil
}

// stream serves GET /v1/stream?topics=decision,finding,action,approval as server-sent
// events (WHATWG HTML, section 9.2).
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	l, err := s.listen(r)
	who := frame.CallerOf(r.Context()).Self()
	if err == nil {
		err = s.tails.begin(who)
	}
	if err != nil {
		s.Refuse(w, frame.Problem(err, http.StatusForbidden))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	e := &events{server: s, w: w, control: http.NewResponseController(w), names: s.Namer(r.Context()), pass: &pass{s.Gate, r, r.Context(), time.Now()}}
	_ = e.control.SetReadDeadline(time.Time{}) // the request was read; its limit would end the stream
	err = s.pump(e, l)                         // the reader is gone, too slow, or may read no longer
	slow := errors.Is(err, os.ErrDeadlineExceeded)
	s.tails.end(who)
	switch {
	case errors.Is(err, nhi.ErrDenied):
		slog.Info("a live stream was ended: its reader may read no longer", "reader", who)
	case slow:
		if s.CutOff != nil {
			s.CutOff()
		}
		slog.Debug("a reader of the live stream was too slow and was cut off", "reader", who)
	}
}

func wanted(query string) ([]string, error) {
	if query == "" {
		return topics, nil
	}
	want := strings.Split(query, ",")
	for _, t := range want {
		if !slices.Contains(topics, t) {
			return nil, nhi.Invalidf("topic %.40q: want some of %s", t, strings.Join(topics, ","))
		}
	}
	return want, nil
}

// A pass is who reads a stream. What a reader may do is asked again at every
// heartbeat, and before anything is shown on a pass that is older: whoever was
// disabled, revoked or signed out since reads no further, and whose scope was
// narrowed reads only what lies in it.
type pass struct {
	gate  frame.Gate
	r     *http.Request
	ctx   context.Context // with the caller, as last asked
	asked time.Time
}

// renew asks. The error wraps nhi.ErrDenied when the stream must end; it ends
// also when nobody could say.
func (p *pass) renew() error {
	caller, err := p.gate.Authenticate(p.r)
	if err != nil {
		return err
	}
	if !caller.Permits.May(access.Read) {
		return fmt.Errorf("the right to read is gone: %w", nhi.ErrDenied)
	}
	p.ctx, p.asked = frame.WithCaller(p.r.Context(), caller), time.Now()
	return nil
}

// fresh returns the context of a caller who was asked lately.
func (p *pass) fresh() (context.Context, error) {
	if time.Since(p.asked) < heartbeat {
		return p.ctx, nil
	}
	err := p.renew()
	return p.ctx, err
}

// pump greets the reader and sends until it is gone. It listens before it
// greets: whoever was greeted misses nothing that happens from then on.
func (s *server) pump(e *events, l listener) error {
	var decisions <-chan nhi.Decision
	dropped := func() uint64 { return 0 }
	if slices.Contains(l.topics, "decision") {
		var cancel func()
		decisions, dropped, cancel = s.Decisions.Subscribe()
		defer cancel()
	}
	if err := e.greet(l); err != nil {
		return err
	}
	changes := slices.ContainsFunc(l.topics, func(t string) bool { return t != "decision" })
	beat, second := time.NewTicker(heartbeat), time.NewTicker(time.Second)
	defer beat.Stop()
	defer second.Stop()
	m := &sampler{rate: l.rate}
	for {
		woken := s.State.Woken()
		if changes {
			var err error
			if l.after, err = s.replay(e, l.topics, l.after); err != nil {
				return err
			}
		}
		select {
		case <-e.pass.r.Context().Done():
			return e.pass.r.Context().Err()
		case <-woken:
		case d, ok := <-decisions:
			if !ok {
				return nil
			}
			if err := s.decided(e, l.expr, m, d); err != nil {
				return err
			}
		case <-second.C:
			if err := m.tell(e, dropped()); err != nil {
				return err
			}
		case <-beat.C:
			if err := e.pass.renew(); err != nil {
				return err
			}
			if err := e.send("heartbeat", &l.after, map[string]any{"at": time.Now().UTC()}); err != nil {
				return err
			}
		}
	}
}

// decided sends a decision that the reader asked for, may see, and has room for.
func (s *server) decided(e *events, expr filter.Expr, m *sampler, d nhi.Decision) error {
	ctx, err := e.pass.fresh()
	if err != nil || !list.Decisions.Match(expr, &d) || !s.Visible(ctx, access.Read, d.Identity) || !m.shows() {
		return err
	}
	return e.send("decision", nil, e.names.Decision(d))
}

// A sampler shows a reader so many decisions a second and counts the others.
type sampler struct {
	rate          int
	shown, passed int    // in this second
	leftOut, lost uint64 // since the beginning, as they were told last
}

// shows reports whether there is room for one more decision.
func (m *sampler) shows() bool {
	if m.passed++; m.shown >= m.rate {
		return false
	}
	m.shown++
	return true
}

// tell ends a second. When something was not shown in it, the reader is told:
// how many were lost because it read too slowly, and how many were left out,
// both since the beginning, and how many of how many this second showed.
func (m *sampler) tell(e *events, lost uint64) error {
	out := m.passed - m.shown
	told := lost != m.lost || out > 0
	m.leftOut += uint64(out)
	m.lost = lost
	shown, passed := m.shown, m.passed
	m.shown, m.passed = 0, 0
	if !told {
		return nil
	}
	return e.send("dropped", nil, map[string]any{"decisions": lost, "left_out": m.leftOut, "shown": shown, "of": passed})
}

// greet begins the stream; it is also what the first flush is for.
func (e *events) greet(l listener) error {
	if err := e.send("hello", &l.after, map[string]any{"generation": l.after, "topics": l.topics, "rate": l.rate}); err != nil || !l.reset {
		return err
	}
	return e.send("reset", &l.after, map[string]any{"generation": l.after, "detail": "what happened since your cursor is no longer kept; read the lists again"})
}

// replay sends the findings, actions and approvals after a generation and returns the
// last one sent or passed over.
func (s *server) replay(e *events, want []string, after nhi.Generation) (nhi.Generation, error) {
	for s.State.Generation() > after {
		ctx := e.pass.r.Context()
		batch, err := s.State.Changes(ctx, after, replayLimit)
		if errors.Is(err, store.ErrTooOld) { // it fell behind while it was connected
			after = s.State.Generation()
			return after, e.greet(listener{topics: want, after: after, reset: true})
		}
		if err != nil || len(batch) == 0 {
			return after, err
		}
		for _, c := range batch {
			after = c.Seq
			topic := string(c.Subject)
			if !slices.Contains(want, topic) {
				continue
			}
			ctx, err := e.pass.fresh()
			if err != nil {
				return after, err
			}
			if err := e.change(ctx, c); err != nil {
				return after, err
			}
		}
	}
	return after, nil
}

// events writes server-sent events to one reader.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	server  *server
	names   *frame.Namer
	pass    *pass
}

func (e *events) change(ctx context.Context, c nhi.Change) error {
	switch c.Subject {
	case nhi.SubjectFinding:
		var f nhi.Finding
		if err := json.Unmarshal(c.Payload, &f); err != nil {
			return nil // of another format; the list shows what can be shown
		}
		if !e.server.Visible(ctx, access.Read, f.Identity) {
			return nil
		}
		return e.send("finding", &c.Seq, e.server.named(ctx, f))
	case nhi.SubjectAction:
		var a nhi.Action
		if err := json.Unmarshal(c.Payload, &a); err != nil {
			return nil
		}
		if !e.server.Visible(ctx, access.Read, a.Identity) {
			return nil
		}
		return e.send("action", &c.Seq, frame.ToAction(a))
	case nhi.SubjectApproval:
		var a nhi.Approval
		if err := json.Unmarshal(c.Payload, &a); err != nil {
			return nil
		}
		if !e.server.Visible(ctx, access.Read, a.Identity) {
			return nil
		}
		return e.send("approval", &c.Seq, e.names.Approval(a))
	}
	return nil
}

// send writes one event and flushes it; without an id the reader's cursor
// stays.
func (e *events) send(event string, id *nhi.Generation, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode %s: %w", event, err)
	}
	if err := e.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	text := "event: " + event + "\n"
	if id != nil {
		text += "id: " + strconv.FormatUint(uint64(*id), 10) + "\n"
	}
	if _, err := fmt.Fprintf(e.w, "%sdata: %s\n\n", text, b); err != nil {
		return err
	}
	return e.control.Flush()
}
