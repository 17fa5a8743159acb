package authzen

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

const (
	maxItems = 1000
	maxBatch = 1 << 20 // bytes of a body
)

// A semantic says when the questions of a batch have been answered (AuthZEN
// 1.0, section 7.1.2.1).
type semantic string

const (
	executeAll  semantic = "execute_all"
	denyFirst   semantic = "deny_on_first_deny"
	permitFirst semantic = "permit_on_first_permit"
)

var (
	errItems    = errors.New("a call holds at most 1000 evaluations")
	errSemantic = errors.New("options.evaluations_semantic is execute_all, deny_on_first_deny or permit_on_first_permit")
)

// A batch is the wire form of an Access Evaluations request (AuthZEN 1.0,
// section 7.1). What an item leaves out it has from the batch; what it gives
// replaces that as a whole.
type batch struct {
	tuple
	Evaluations items `json:"evaluations"`
	Options     struct {
		Semantic semantic `json:"evaluations_semantic"`
	} `json:"options"`
}

// items reads no more of them than a call may hold.
type items []tuple

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (list *items) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	switch d.PeekKind() {
	case 'n':
		return d.SkipValue()
	case '[':
	default:
		return errJSON
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if len(*list) == maxItems {
			return errItems
		}
		var item tuple
		if d.PeekKind() != '{' {
			return errJSON
		}
		if err := json.UnmarshalDecode(d, &item); err != nil {
			return err
		}
		*list = append(*list, item)
	}
	_, err := d.ReadToken()
	return err
}

// inherit gives t what it leaves out.
func (t *tuple) inherit(from *tuple) {
	if t.Subject == nil {
		t.Subject = from.Subject
	}
	if t.Action == nil {
		t.Action = from.Action
	}
	if t.Resource == nil {
		t.Resource = from.Resource
	}
	if t.Context == nil {
		t.Context = from.Context
	}
}

// A failure is why one item of a batch was not decided, in the form of the
// standard (AuthZEN 1.0, section 7.2.1).
type failure struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

// evaluations is the Access Evaluations API (AuthZEN 1.0, section 7).
func (h *Handler) evaluations(w http.ResponseWriter, r *http.Request, point *nhi.Point) {
	body, ok := h.read(w, r, maxBatch)
	if !ok {
		return
	}
	var b batch
	if err := parse(body, &b); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if len(b.Evaluations) == 0 { // it is one question (section 7.1)
		h.answer(w, r, point, &b.tuple)
		return
	}
	switch b.Options.Semantic {
	case "", executeAll, denyFirst, permitFirst:
	default:
		fail(w, http.StatusBadRequest, errSemantic.Error())
		return
	}
	h.sendBatch(w, h.decideBatch(r, w.Header().Get("X-Request-Id"), point, &b))
}

// An item of the answer is a decision or a failure.
type item struct {
	decision *nhi.Decision
	failure  *failure
	extra    extra
}

// decideBatch asks about each item that can be asked about, all together, and
// puts the answers where the items were.
func (h *Handler) decideBatch(r *http.Request, id string, point *nhi.Point, b *batch) []item {
	now, semantic, by := time.Now(), b.Options.Semantic, h.reads(point)
	out := make([]item, 0, len(b.Evaluations))
	questions := make([]nhi.Question, len(b.Evaluations))
	places := make([]int, 0, len(b.Evaluations)) // in out, of each question
	for i := range b.Evaluations {
		t := &b.Evaluations[i]
		t.inherit(&b.tuple)
		q := &questions[len(places)]
		if refused := ask(q, point, t, now, by); refused != nil {
			*q = nhi.Question{}
			out = append(out, item{failure: refused})
			if semantic == denyFirst { // a failure is a denial, so nothing behind it is asked
				break
			}
			continue
		}
		q.ID, q.Point = id, point.ID
		places = append(places, i)
		out = append(out, item{})
	}
	var enough func(*nhi.Decision) bool
	switch semantic {
	case denyFirst:
		enough = func(d *nhi.Decision) bool { return enforce.Settle(d, false) != nhi.Allow }
	case permitFirst:
		enough = func(d *nhi.Decision) bool { return enforce.Settle(d, false) == nhi.Allow }
	}
	decisions := h.c.Decider.DecideAll(r.Context(), questions[:len(places)], enough)
	for i := range decisions {
		it := &out[places[i]]
		it.decision, it.extra = &decisions[i], h.extra(b.Evaluations[places[i]].Context, point, &decisions[i])
	}
	if n := len(decisions); n > 0 && enough != nil && enough(&decisions[n-1]) {
		return out[:places[n-1]+1]
	}
	return out
}

// ask makes q, which is zero, a question of an item, or says why it cannot be
// asked.
func ask(q *nhi.Question, point *nhi.Point, t *tuple, now time.Time, by reading) *failure {
	if err := t.complete(); err != nil {
		return &failure{http.StatusBadRequest, err.Error()}
	}
	if !enforce.Guards(point, t.Resource.ID) {
		return &failure{http.StatusForbidden, notGuarded}
	}
	if err := t.question(q, now, by); err != nil {
		return &failure{http.StatusBadRequest, err.Error()}
	}
	return nil
}

func (h *Handler) sendBatch(w http.ResponseWriter, items []item) {
	b := make([]byte, 0, 512+256*len(items))
	b = append(b, `{"evaluations":[`...)
	for i := range items {
		it := &items[i]
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case it.failure != nil:
			b = appendFailure(b, it.failure)
		case it.decision != nil:
			b = appendAnswer(b, it.decision, &it.extra)
		default: // nobody answered, so nobody allowed it
			b = append(b, `{"decision":false}`...)
		}
	}
	send(w, http.StatusOK, append(b, `]}`...))
}
