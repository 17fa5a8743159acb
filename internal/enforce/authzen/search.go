package authzen

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// What one page of a search may cost.
const (
	usualResults = 100
	maxResults   = 1000
	maxLooked    = 1000 // candidates
	chunk        = 100  // of them that are tried at a time
	pagesASecond = 20   // of one point
	pagesAtOnce  = 40   // of one point, after a rest
	maxWait      = 5 * time.Second
)

// A Catalogue is what searches look through: candidates of a type in a fixed
// order, up to n of those after the one given (empty: from the first), and
// whether there are more. There are none of a type it does not know. It reads
// memory only.
type Catalogue interface {
	Subjects(kind, after string, n int) (ids []string, more bool)
	Resources(kind, after string, n int, guarded func(name string) bool) (names []string, more bool)
}

// An Auditor puts an act on record. It returns when it is there for good.
type Auditor interface {
	Record(ctx context.Context, act nhi.Act) error
}

// ActSearch is the act that a search is on record as.
const ActSearch = "access.search"

// A search is the wire form of the three search requests (AuthZEN 1.0, section
// 8).
type search struct {
	tuple
	Page struct {
		Token string `json:"token"`
		Limit *int   `json:"limit"`
	} `json:"page"`
}

var (
	errSubjectType  = errors.New("subject.type is required")
	errResourceType = errors.New("resource.type is required")
	errLimit        = errors.New("page.limit is a number of results, 0 or more")
)

// actions are the classes that an action search tries.
var actions = []string{"read", "list", "write", "delete", "admin", "issue", "exchange", "assume"}

// A kind is what one of the three searches looks for.
type kind struct {
	name string
	// complete returns what of the request is missing, and takes out what the
	// search does not look at.
	complete func(*search) error
	// candidates are what may be found after one that was looked at.
	candidates func(h *Handler, point *nhi.Point, s *search, after string, n int) ([]string, bool)
	// set makes the candidate a part of the question.
	set func(t *tuple, candidate string)
	// result appends what was found.
	result func(b []byte, s *search, candidate string) []byte
}

var subjects = kind{
	name: "subject",
	complete: func(s *search) error {
		if s.Subject == nil || s.Subject.Type == "" {
			return errSubjectType
		}
		s.Subject.ID = ""
		return s.with(func(t *tuple) { t.Subject = &entity{Type: s.Subject.Type, ID: "any"} }).complete()
	},
	candidates: func(h *Handler, _ *nhi.Point, s *search, after string, n int) ([]string, bool) {
		return h.c.Catalogue.Subjects(s.Subject.Type, after, n)
	},
	set: func(t *tuple, candidate string) {
		t.Subject = &entity{Type: t.Subject.Type, ID: candidate, Properties: t.Subject.Properties}
	},
	result: func(b []byte, s *search, candidate string) []byte {
		return appendEntity(b, s.Subject.Type, candidate)
	},
}

var resources = kind{
	name: "resource",
	complete: func(s *search) error {
		if s.Resource == nil || s.Resource.Type == "" {
			return errResourceType
		}
		s.Resource.ID = ""
		return s.with(func(t *tuple) { t.Resource = &entity{Type: s.Resource.Type, ID: "any"} }).complete()
	},
	candidates: func(h *Handler, point *nhi.Point, s *search, after string, n int) ([]string, bool) {
		return h.c.Catalogue.Resources(s.Resource.Type, after, n, func(name string) bool { return enforce.Guards(point, name) })
	},
	set: func(t *tuple, candidate string) {
		t.Resource = &entity{Type: t.Resource.Type, ID: candidate, Properties: t.Resource.Properties}
	},
	result: func(b []byte, s *search, candidate string) []byte {
		return appendEntity(b, s.Resource.Type, candidate)
	},
}

var actionsOf = kind{
	name: "action",
	complete: func(s *search) error {
		s.Action = &action{}
		return s.with(func(t *tuple) { t.Action = &action{Name: "any"} }).complete()
	},
	candidates: func(_ *Handler, _ *nhi.Point, _ *search, after string, n int) ([]string, bool) {
		left := actions[slices.Index(actions, after)+1:]
		return left[:min(n, len(left))], len(left) > n
	},
	set: func(t *tuple, candidate string) { t.Action = &action{Name: candidate} },
	result: func(b []byte, _ *search, candidate string) []byte {
		return append(quote(append(b, `{"name":`...), candidate), '}')
	},
}

// with returns the tuple of s as change makes it.
func (s *search) with(change func(*tuple)) *tuple {
	t := s.tuple
	change(&t)
	return &t
}

func appendEntity(b []byte, kind, id string) []byte {
	b = quote(append(b, `{"type":`...), kind)
	return append(quote(append(b, `,"id":`...), id), '}')
}

// find is one of the search APIs (AuthZEN 1.0, section 8).
func (h *Handler) find(w http.ResponseWriter, r *http.Request, point *nhi.Point, k *kind) {
	if wait := h.paces.take(point.ID, time.Now()); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		fail(w, http.StatusTooManyRequests, "too many searches: ask again later, or for larger pages")
		return
	}
	body, ok := h.read(w, r, maxBody)
	if !ok {
		return
	}
	var s search
	err := parse(body, &s)
	if err == nil {
		err = k.complete(&s)
	}
	if err == nil && s.Page.Limit != nil && *s.Page.Limit < 0 {
		err = errLimit
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if k != &resources && !enforce.Guards(point, s.Resource.ID) {
		fail(w, http.StatusForbidden, notGuarded)
		return
	}
	from, binding, status, why := h.begin(r.Context(), w.Header().Get("X-Request-Id"), point, k, &s)
	if status != 0 {
		fail(w, status, why)
		return
	}
	release, ok := h.wait(r.Context())
	if !ok {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "other searches are busy: ask again")
		return
	}
	defer release()
	h.page(w, r, point, k, &s, from, binding)
}

// begin puts a search on record at its first page, and continues it from a
// token after that. A status that is not 0 refuses it.
func (h *Handler) begin(ctx context.Context, id string, point *nhi.Point, k *kind, s *search) (from bookmark, binding []byte, status int, why string) {
	now := time.Now()
	binding = s.binding(point, k)
	if s.Page.Token != "" {
		from, err := h.pages.open(s.Page.Token, binding, now)
		if err != nil {
			return from, nil, http.StatusBadRequest, err.Error()
		}
		return from, binding, 0, ""
	}
	if err := h.c.Audit.Record(ctx, s.act(now, id, point, k)); err != nil {
		h.c.Log.Error("a search could not be put on record, so it is refused", "error", err)
		return from, nil, http.StatusInternalServerError, "the search could not be put on record, so it is refused"
	}
	return bookmark{ends: now.Add(tokenLife)}, binding, 0, ""
}

// binding names the search for its tokens: who searches, for what, with which
// words.
func (s *search) binding(point *nhi.Point, k *kind) []byte {
	parts := []string{string(point.ID), k.name, s.Action.Name, string(s.Action.Properties)}
	for _, e := range []*entity{s.Subject, s.Resource} {
		parts = append(parts, e.Type, e.ID, string(e.Properties))
	}
	if s.Context != nil {
		parts = append(parts, s.Context.IP, s.Context.Agent)
	}
	return bind(parts...)
}

// act is what is on record of a search.
func (s *search) act(now time.Time, id string, point *nhi.Point, k *kind) nhi.Act {
	detail := struct {
		Search   string `json:"search"`
		Subject  string `json:"subject,omitempty"`
		Action   string `json:"action,omitempty"`
		Resource string `json:"resource,omitempty"`
		Request  string `json:"request,omitempty"`
	}{k.name, s.Subject.ID, s.Action.Name, s.Resource.ID, id}
	target := s.Resource.ID
	if k == &resources {
		target = s.Subject.ID
	}
	text, err := json.Marshal(detail)
	if err != nil {
		panic("authzen: " + err.Error()) // strings always marshal
	}
	return nhi.Act{At: now, Actor: "point:" + string(point.ID), Act: ActSearch, Target: target, Outcome: "done", Detail: text}
}

// page looks at candidates until the page is full, has cost enough, or nobody
// is left.
func (h *Handler) page(w http.ResponseWriter, r *http.Request, point *nhi.Point, k *kind, s *search, at bookmark, binding []byte) {
	limit := usualResults
	if s.Page.Limit != nil {
		limit = min(*s.Page.Limit, maxResults)
	}
	b := append(make([]byte, 0, 4096), `{"results":[`...)
	found := 0
	candidates, more := k.candidates(h, point, s, at.after, maxLooked)
	for len(candidates) > 0 && found < limit {
		if r.Context().Err() != nil {
			return // nobody waits for the answer
		}
		some := candidates[:min(chunk, len(candidates))]
		allowed, err := h.try(point, s, k, some)
		if err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		for i := 0; i < len(some) && found < limit; i++ {
			at.after, candidates = some[i], candidates[1:]
			if !allowed[i] {
				continue
			}
			if found > 0 {
				b = append(b, ',')
			}
			b = k.result(b, s, some[i])
			found++
		}
	}
	b = append(b, `],"page":{"next_token":`...)
	if more || len(candidates) > 0 {
		b = quote(b, h.pages.token(at, binding))
	} else {
		b = append(b, `""`...)
	}
	b = strconv.AppendInt(append(b, `,"count":`...), int64(found), 10)
	send(w, http.StatusOK, append(b, `}}`...))
}

// try tells which candidates would be allowed. What would need a step-up is
// not.
func (h *Handler) try(point *nhi.Point, s *search, k *kind, candidates []string) ([]bool, error) {
	now, by := time.Now(), h.reads(point)
	questions := make([]nhi.Question, len(candidates))
	for i, candidate := range candidates {
		t := s.tuple
		k.set(&t, candidate)
		if err := t.question(&questions[i], now, by); err != nil {
			return nil, err
		}
		questions[i].Point = point.ID
	}
	allowed := make([]bool, len(candidates))
	decisions := h.c.Decider.Try(questions)
	for i := range decisions[:min(len(decisions), len(allowed))] {
		allowed[i] = decisions[i].Outcome == nhi.Allow
	}
	return allowed, nil
}

// wait returns when a search may use the processor: half of it is for
// decisions. It is not ok when that takes too long or the caller left.
func (h *Handler) wait(ctx context.Context) (release func(), ok bool) {
	patience := time.NewTimer(maxWait)
	defer patience.Stop()
	select {
	case h.busy <- struct{}{}:
		return func() { <-h.busy }, true
	case <-ctx.Done():
	case <-patience.C:
	}
	return nil, false
}

// searches returns how many searches may use the processor at a time.
func searches() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// paces keeps each point to its number of pages. Points are enrolled, so there
// are not many.
type paces struct {
	every rate.Limit // pages a second

	mu sync.Mutex // guards of
	of map[nhi.ID]*rate.Limiter
}

// take returns 0 when the point may have a page now, else how long it waits.
func (p *paces) take(point nhi.ID, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	limiter := p.of[point]
	if limiter == nil {
		if p.of == nil {
			p.of = map[nhi.ID]*rate.Limiter{}
		}
		limiter = rate.NewLimiter(p.every, pagesAtOnce)
		p.of[point] = limiter
	}
	if limiter.AllowN(now, 1) {
		return 0
	}
	return time.Second / pagesASecond
}
