package transmit

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/signals"
)

const (
	atMost     = 100              // SETs in one answer
	patience   = 25 * time.Second // of a poll that finds nothing
	maxWaiters = 4                // polls of one stream that wait at a time
	maxAcks    = 1000
)

// A question is a poll (RFC 8936, section 2.2).
type question struct {
	Most   *int                       `json:"maxEvents"`
	AtOnce bool                       `json:"returnImmediately"`
	Ack    []string                   `json:"ack"`
	Errors map[string]signals.Refusal `json:"setErrs"`
}

// An answer is what a poll is given (RFC 8936, section 2.3). Sets keep the order
// of events.
type answer struct {
	Sets sets `json:"sets"`
	More bool `json:"moreAvailable,omitzero"`
}

// sets is an object in the order in which it was filled.
type sets []struct{ id, set string }

// MarshalJSONTo implements json.MarshalerTo.
func (s sets) MarshalJSONTo(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, one := range s {
		if err := e.WriteToken(jsontext.String(one.id)); err != nil {
			return err
		}
		if err := e.WriteToken(jsontext.String(one.set)); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

var _ json.MarshalerTo = sets(nil)

// poll takes acknowledgements and hands events out. What is not acknowledged is
// handed out again.
func (t *Transmitter) poll(r *http.Request, who Receiver) (int, any, error) {
	var q question
	if err := read(r, &q); err != nil {
		return 0, nil, err
	}
	most := atMost
	if q.Most != nil {
		if most = min(*q.Most, atMost); most < 0 {
			return 0, nil, fail(http.StatusBadRequest, "maxEvents is negative")
		}
	}
	if len(q.Ack)+len(q.Errors) > maxAcks {
		return 0, nil, fail(http.StatusBadRequest, "over %d acknowledgements at once", maxAcks)
	}
	s, err := t.mine(r.Context(), who, r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	if s.Method != signals.Poll {
		return 0, nil, fail(http.StatusForbidden, "the stream is pushed")
	}
	if err := t.taken(r, &s, &q); err != nil || most == 0 {
		return http.StatusOK, answer{Sets: sets{}}, err
	}
	until := time.NewTimer(patience)
	defer until.Stop()
	waits := !q.AtOnce && t.mayWait(s.ID)
	if waits {
		defer t.doneWaiting(s.ID)
	}
	for {
		rung := t.news.next()
		if s, err = t.mine(r.Context(), who, s.ID); err != nil {
			return 0, nil, err
		}
		a, err := t.hand(r, &s, most)
		if err != nil || len(a.Sets) > 0 || !waits {
			return http.StatusOK, a, err
		}
		select {
		case <-rung:
		case <-until.C:
			waits = false
		case <-r.Context().Done():
			return http.StatusOK, a, nil
		}
	}
}

// taken forgets what was acknowledged, and what the receiver cannot take.
func (t *Transmitter) taken(r *http.Request, s *signals.Stream, q *question) error {
	ids := q.Ack
	for id, e := range q.Errors {
		ids = append(ids, id)
		t.c.Log.Warn("a receiver refused a signal", "stream", s.ID, "code", clip(e.Code))
	}
	if len(ids) == 0 {
		return nil
	}
	t.sent.Add(uint64(len(q.Ack)))
	t.refused.Add(uint64(len(q.Errors)))
	return t.c.Outbox.Settle(r.Context(), s.ID, ids)
}

// hand signs what is due.
func (t *Transmitter) hand(r *http.Request, s *signals.Stream, most int) (answer, error) {
	out := answer{Sets: sets{}}
	if s.Status != signals.Enabled {
		return out, nil
	}
	due, err := t.c.Outbox.Due(r.Context(), s.ID, most+1)
	if err != nil {
		return out, err
	}
	if out.More = len(due) > most; out.More {
		due = due[:most]
	}
	for _, w := range due {
		set, err := t.c.Sign(w.Claims)
		if err != nil {
			return out, err
		}
		out.Sets = append(out.Sets, struct{ id, set string }{w.ID, set})
	}
	return out, nil
}

func (t *Transmitter) mayWait(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.polls[id] >= maxWaiters {
		return false
	}
	t.polls[id]++
	return true
}

func (t *Transmitter) doneWaiting(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.polls[id]--; t.polls[id] <= 0 {
		delete(t.polls, id)
	}
}
