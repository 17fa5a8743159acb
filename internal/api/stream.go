package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
)

// The live stream. One connection carries every topic a page wants; the id of
// an event is the generation, so a reader that comes back with Last-Event-ID
// misses no finding and no action. The greeting and the heartbeats carry it
// too: a reader that was cut off before anything happened has a place to go on
// from. Decisions are not replayed: they are many,
// and the list of recent ones has them. A reader that is too slow for the
// decisions loses some and is told how many (event "dropped").
const (
	heartbeat    = 15 * time.Second
	writeTimeout = 5 * time.Second
	replayLimit  = 1000
)

var topics = []string{"decision", "finding", "action"}

// stream serves GET /v1/stream?topics=decision,finding,action as server-sent
// events (WHATWG HTML, section 9.2).
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	want, err := wanted(r.URL.Query().Get("topics"))
	if err != nil {
		writeProblem(w, problem(err, 0))
		return
	}
	after := s.State.Generation()
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			writeProblem(w, problem(nhi.Invalidf("Last-Event-ID is not a number"), 0))
			return
		}
		if nhi.Generation(n) <= after {
			after = nhi.Generation(n)
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	e := &events{w: w, control: http.NewResponseController(w), names: s.namer(r.Context())}
	_ = e.control.SetReadDeadline(time.Time{}) // the request was read; its limit would end the stream
	_ = s.pump(r.Context(), e, want, after)    // the reader is gone, or too slow
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

// pump greets the reader and sends until it is gone. It listens before it
// greets: whoever was greeted misses nothing that happens from then on.
func (s *server) pump(ctx context.Context, e *events, want []string, after nhi.Generation) error {
	var decisions <-chan nhi.Decision
	dropped := func() uint64 { return 0 }
	if slices.Contains(want, "decision") {
		var cancel func()
		decisions, dropped, cancel = s.Decisions.Subscribe()
		defer cancel()
	}
	if err := e.send("hello", &after, map[string]any{"generation": after, "topics": want}); err != nil {
		return err
	}
	changes := slices.Contains(want, "finding") || slices.Contains(want, "action")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	lost := uint64(0)
	for {
		woken := s.State.Woken()
		if changes {
			var err error
			if after, err = s.replay(ctx, e, want, after); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-woken:
		case d, ok := <-decisions:
			if !ok {
				return nil
			}
			if !s.visible(ctx, access.Read, d.Identity) {
				continue
			}
			if err := e.send("decision", nil, e.names.decision(d)); err != nil {
				return err
			}
		case <-beat.C:
			if err := e.send("heartbeat", &after, map[string]any{"at": time.Now().UTC()}); err != nil {
				return err
			}
		}
		if n := dropped(); n != lost {
			lost = n
			if err := e.send("dropped", nil, map[string]any{"decisions": n}); err != nil {
				return err
			}
		}
	}
}

// replay sends the findings and actions after a generation and returns the
// last one sent or passed over.
func (s *server) replay(ctx context.Context, e *events, want []string, after nhi.Generation) (nhi.Generation, error) {
	for s.State.Generation() > after {
		batch, err := s.State.Changes(ctx, after, replayLimit)
		if err != nil || len(batch) == 0 {
			return after, err
		}
		for _, c := range batch {
			after = c.Seq
			topic := string(c.Subject)
			if !slices.Contains(want, topic) {
				continue
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
	names   *namer
}

func (e *events) change(ctx context.Context, c nhi.Change) error {
	switch c.Subject {
	case nhi.SubjectFinding:
		var f nhi.Finding
		if err := json.Unmarshal(c.Payload, &f); err != nil {
			return nil // of another format; the list shows what can be shown
		}
		if !e.names.server.visible(ctx, access.Read, f.Identity) {
			return nil
		}
		return e.send("finding", &c.Seq, e.names.server.named(ctx, f))
	case nhi.SubjectAction:
		var a nhi.Action
		if err := json.Unmarshal(c.Payload, &a); err != nil {
			return nil
		}
		if !e.names.server.visible(ctx, access.Read, a.Identity) {
			return nil
		}
		return e.send("action", &c.Seq, ToAction(a))
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
