package transmit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/signals"
)

const (
	firstPause   = time.Second
	longestPause = 5 * time.Minute
	givenUp      = 24 * time.Hour // of failing: then the stream is paused
	perTurn      = 100            // SETs of one stream before another look
)

// A try is how the pushes of a stream go.
type try struct {
	busy  bool
	next  time.Time // not before
	pause time.Duration
}

// push begins the pushes that are due, each stream by itself and one SET at a
// time, so that a slow receiver delays nobody and events keep their order.
func (t *Transmitter) push(ctx context.Context, running *sync.WaitGroup) error {
	streams, err := t.c.Streams.Streams(ctx)
	if err != nil {
		return fmt.Errorf("read the streams of signals: %w", err)
	}
	receivers, err := t.receivers(ctx)
	if err != nil {
		return err
	}
	t.forget(streams)
	for _, s := range streams {
		if _, known := receivers[s.Receiver]; !known || s.Method != signals.Push || s.Status != signals.Enabled || s.Waiting == 0 && s.Lost == 0 || !t.claim(s.ID) {
			continue
		}
		running.Go(func() {
			err := t.drain(ctx, s)
			t.release(s.ID, err)
			if err == nil {
				t.bell.ring() // there may be more
			}
		})
	}
	return nil
}

// forget forgets how pushes went to streams that are gone.
func (t *Transmitter) forget(streams []signals.Stream) {
	there := make(map[string]bool, len(streams))
	for i := range streams {
		there[streams[i].ID] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.tries, func(id string, a try) bool { return !a.busy && !there[id] })
}

// claim begins the turn of a stream; false when it has one or must wait.
func (t *Transmitter) claim(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.tries[id]
	if a.busy || time.Now().Before(a.next) {
		return false
	}
	a.busy = true
	t.tries[id] = a
	return true
}

func (t *Transmitter) release(id string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.tries[id]
	a.busy = false
	if err == nil {
		a.pause, a.next = 0, time.Time{}
	} else {
		a.pause = min(max(2*a.pause, firstPause), longestPause)
		a.next = time.Now().Add(a.pause)
	}
	t.tries[id] = a
}

// retry lets a stream be tried at once.
func (t *Transmitter) retry(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.tries[id]
	a.pause, a.next = 0, time.Time{}
	t.tries[id] = a
}

// drain pushes what waits, in order, until something fails.
func (t *Transmitter) drain(ctx context.Context, s signals.Stream) error {
	due, err := t.c.Outbox.Due(ctx, s.ID, perTurn)
	if err != nil {
		return err
	}
	for _, w := range due {
		err := t.send(ctx, &s, w)
		if ctx.Err() != nil && err != nil {
			return ctx.Err() // cut short by ourselves, which is no attempt
		}
		var wrong *signals.Refusal
		refused := errors.As(err, &wrong)
		if err != nil && !refused {
			return t.stumble(ctx, &s, err)
		}
		if refused {
			// It would be refused again: it is counted, and the rest goes on.
			t.refused.Add(1)
			t.c.Log.Warn("a receiver refused a signal", "stream", s.ID, "code", wrong.Code)
		} else {
			t.sent.Add(1)
		}
		// What was taken is settled even when we are stopping, or it would be
		// sent again.
		if _, err := t.c.Outbox.Settle(context.WithoutCancel(ctx), s.ID, []string{w.ID}); err != nil {
			return err
		}
		if !s.Failing.IsZero() {
			s.Failing = time.Time{}
			if _, err := t.mark(ctx, s.ID, func(s *signals.Stream) { s.Failing, s.Error = time.Time{}, "" }); err != nil {
				return err
			}
		}
	}
	if s.Lost > 0 {
		return t.owe(ctx, s.ID) // it takes what there is; pushed in the next turn
	}
	return nil
}

func (t *Transmitter) mark(ctx context.Context, id string, change func(*signals.Stream)) (signals.Stream, error) {
	t.write.Lock()
	defer t.write.Unlock()
	return t.c.Streams.UpdateStream(context.WithoutCancel(ctx), id, func(s *signals.Stream) error {
		change(s)
		return nil
	})
}

// stumble notes that an attempt failed, and pauses a stream that failed for too
// long.
func (t *Transmitter) stumble(ctx context.Context, s *signals.Stream, cause error) error {
	now := time.Now().UTC().Truncate(time.Microsecond)
	marked, err := t.mark(ctx, s.ID, func(s *signals.Stream) {
		if s.Failing.IsZero() {
			s.Failing = now
		}
		s.Error = fmt.Sprintf("%.200s", cause)
	})
	if err == nil && marked.Status == signals.Enabled && now.Sub(marked.Failing) >= givenUp {
		t.write.Lock()
		t.pause(context.WithoutCancel(ctx), s.ID, "no push got through for "+givenUp.String())
		t.write.Unlock()
	}
	return errors.Join(cause, err)
}

// send pushes one SET (RFC 8935, section 2). The error is a *signals.Refusal
// when the receiver says that this SET is wrong and would stay so.
func (t *Transmitter) send(ctx context.Context, s *signals.Stream, w signals.Waiting) error {
	set, err := t.c.Sign(w.Claims)
	if err != nil {
		return fmt.Errorf("sign signal %s: %w", w.ID, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint, strings.NewReader(set))
	if err != nil {
		return errors.New("the endpoint is no URL")
	}
	req.Header.Set("Content-Type", signals.MediaType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "muster")
	if len(s.Sealed) > 0 {
		authorization, err := t.c.Unseal(s.Sealed)
		if err != nil {
			return errors.New("the authorization_header of the stream cannot be decrypted; its receiver must set it again")
		}
		req.Header.Set("Authorization", string(authorization))
	}
	res, err := t.client.Do(req)
	if err != nil {
		return signals.Plain(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10)) // what is missing only makes the reason less clear
	switch {
	case res.StatusCode/100 == 2:
		return nil
	case res.StatusCode == http.StatusBadRequest:
		var wrong signals.Refusal
		if json.Unmarshal(body, &wrong) == nil && final(wrong.Code) {
			return &wrong
		}
	}
	return fmt.Errorf("the receiver answers %d", res.StatusCode)
}

// final reports whether a SET that was refused so would be refused again. Keys,
// issuers and access are set up by people, and may be right tomorrow.
func final(code string) bool { return code == signals.CodeRequest || code == signals.CodeAudience }
