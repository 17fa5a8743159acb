package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/muster-id/muster/internal/signals"
)

const (
	pollMost  = 50               // SETs asked for at once
	pollWait  = 60 * time.Second // for an answer: the peer may wait for news
	pollPause = 5 * time.Second  // after an answer at once without anything new that was taken
	longest   = 5 * time.Minute  // between attempts that fail
	maxAnswer = 2 << 20
)

// A question is a poll (RFC 8936, section 2.2).
type question struct {
	Most   int                         `json:"maxEvents"`
	AtOnce bool                        `json:"returnImmediately"`
	Ack    []string                    `json:"ack,omitempty"`
	Errors map[string]*signals.Refusal `json:"setErrs,omitempty"`
}

// follow polls a peer until ctx ends. It acknowledges in the next poll what it
// has made durable in this one (RFC 8936, section 2.4.3).
func (r *Receiver) follow(ctx context.Context, p *peer) {
	var done question
	pause := time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		sets, err := p.poll(ctx, done)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			p.fail(err)
			pause = min(max(2*pause, time.Second), longest)
			rest(ctx, pause)
			continue
		}
		done, pause = question{}, 0
		p.note(func(s *State) { s.Failing = time.Time{} })
		quick, before := time.Since(began) < pollPause, p.now()
		later := r.all(ctx, p, sets, &done)
		after := p.now()
		switch {
		case later: // something here failed, not there
			rest(ctx, time.Second)
		case quick && after.Applied+after.Ignored == before.Applied+before.Ignored:
			// Also when it says that there is more, or hands out what is refused or was
			// heard before: it could do so for ever.
			rest(ctx, pollPause)
		}
	}
}

// all takes the SETs of an answer, and reports whether some must be handed out
// again.
func (r *Receiver) all(ctx context.Context, p *peer, sets []handed, done *question) (later bool) {
	for _, h := range sets {
		if err := p.limit.Wait(ctx); err != nil {
			return true
		}
		err := r.take(ctx, p, h.set, h.id)
		wrong := (*signals.Refusal)(nil)
		switch {
		case err == nil:
			done.Ack = append(done.Ack, h.id)
		case errors.As(err, &wrong):
			if done.Errors == nil {
				done.Errors = map[string]*signals.Refusal{}
			}
			done.Errors[h.id] = wrong
		default:
			return true // later events must not overtake this one
		}
	}
	return false
}

func (p *peer) fail(err error) {
	p.note(func(s *State) {
		if s.Failing.IsZero() {
			s.Failing = time.Now()
		}
		s.Error = fmt.Sprintf("%.200s", err)
	})
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// poll asks for SETs and acknowledges those before.
func (p *peer) poll(ctx context.Context, q question) (sets []handed, err error) {
	q.Most = pollMost
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("endpoint is no URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "muster")
	req.Header.Set("Authorization", "Bearer "+p.secret)
	res, err := p.client.Do(req)
	if err != nil {
		return nil, signals.Plain(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the peer answers %d to a poll", res.StatusCode)
	}
	data, err := signals.Read(res.Body, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("the answer to a poll is over %d bytes, or ended badly", maxAnswer)
	}
	return parseAnswer(data)
}
