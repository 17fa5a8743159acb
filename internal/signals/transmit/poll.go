package transmit

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

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

// taken forgets what was acknowledged, and what the receiver cannot take. What did
// not wait counts for nothing, and is not worth a word in the log.
func (t *Transmitter) taken(r *http.Request, s *signals.Stream, q *question) error {
	took, err := t.settle(r, s, q.Ack)
	if err != nil {
		return err
	}
	t.sent.Add(uint64(took))
	wrong, err := t.settle(r, s, slices.Sorted(maps.Keys(q.Errors)))
	if err != nil {
		return err
	}
	t.refused.Add(uint64(wrong))
	if wrong > 0 {
		codes := map[string]bool{}
		for _, e := range q.Errors {
			codes[e.Code] = true
		}
		t.c.Log.Warn("a receiver refused signals", "stream", s.ID, "signals", wrong, "codes", clip(strings.Join(slices.Sorted(maps.Keys(codes)), " ")))
	}
	return nil
}

// settle returns how many waited of those that a receiver names. What cannot be the
// name of a signal of ours is passed over: it may be anything, also what a database
// does not take.
func (t *Transmitter) settle(r *http.Request, s *signals.Stream, ids []string) (int, error) {
	ids = slices.DeleteFunc(ids, func(id string) bool { return uuid.Validate(id) != nil })
	if len(ids) == 0 {
		return 0, nil
	}
	return t.c.Outbox.Settle(r.Context(), s.ID, ids)
}

// hand signs what is due.
func (t *Transmitter) hand(r *http.Request, s *signals.Stream, most int) (answer, error) {
	out := answer{Sets: sets{}}
	if s.Status != signals.Enabled {
		return out, nil
	}
	if s.Lost > 0 {
		if err := t.owe(r.Context(), s.ID); err != nil {
			return out, err
		}
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
