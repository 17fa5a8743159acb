package authzen

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Requests are what people are asked because of what points asked. A point is
// told of its own only: what is another's is not there.
type Requests interface {
	// Open returns an approval that waits for people, or that they gave and nobody
	// has used. It reads memory only.
	Open(id string) (nhi.Approval, bool)
	// Denied returns the approval that a denial of the point asked for, if q is
	// the question that was denied: by subject, action, resource and the context
	// that approvals are bound to. It may change q. The error wraps
	// nhi.ErrNotFound when the point has no such denial, nhi.ErrInvalid when
	// nobody can lift it, and nhi.ErrConflict when q is another question.
	Denied(ctx context.Context, evaluation string, q *nhi.Question) (nhi.Approval, error)
	// Sent returns the task that a point sent with a key. The error wraps
	// nhi.ErrNotFound when there is none.
	Sent(ctx context.Context, point nhi.ID, key string) (Submission, error)
	// Submit keeps s and returns what is kept. The error wraps nhi.ErrConflict
	// when its key is that of another one, and nhi.ErrInvalid when it has too many
	// keys.
	Submit(ctx context.Context, s Submission) (Submission, error)
	// Task returns a task and its approval, which is zero when people could not be
	// asked. The error wraps nhi.ErrNotFound when the point has no such task.
	Task(ctx context.Context, point nhi.ID, task string) (Submission, nhi.Approval, error)
	// Withdraw closes an approval that waits for people. The error wraps
	// nhi.ErrConflict when they have settled it.
	Withdraw(ctx context.Context, point nhi.ID, approval string) (nhi.Approval, error)
}

// A Submission is an access request that a point has sent.
type Submission struct {
	Task     string
	Point    nhi.ID
	Key      string // digest of the idempotency key; of the approval's id when there is none
	Digest   string // of the body, whatever its white space and order
	Approval string
	Decision string // the denial
	At       time.Time
}

// RequestsPath is where access is requested, and below it lie the tasks.
const RequestsPath = "/access/v1/requests"

const maxKey = 255

// A wish is the wire form of an access request (ARAP, submission request body).
type wish struct {
	tuple
	Denial *denial        `json:"denial"`
	Items  jsontext.Value `json:"items"`
}

// A denial is what a point was told, and returns.
type denial struct {
	Evaluation string    `json:"evaluation_id"`
	Token      string    `json:"binding_token"`
	Expires    time.Time `json:"expires_at"`
}

// requests serves the access request endpoint and its tasks.
func (h *Handler) requests(w http.ResponseWriter, r *http.Request, point *nhi.Point) {
	if wait := h.asks.take(point.ID, time.Now()); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		refuse(w, tooMany, "ask later: wait between two looks at a task as long as Retry-After says")
		return
	}
	id, verb, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, RequestsPath), "/"), "/")
	method, serve := http.MethodPost, h.submit
	switch {
	case id == "" && r.URL.Path == RequestsPath:
	case verb == "" && !strings.HasSuffix(r.URL.Path, "/"):
		method, serve = http.MethodGet, func(w http.ResponseWriter, r *http.Request, point *nhi.Point) { h.task(w, r, point, id) }
	case verb == "cancel":
		serve = func(w http.ResponseWriter, r *http.Request, point *nhi.Point) { h.cancel(w, r, point, id) }
	default:
		refuse(w, unknownTask, "there is nothing here")
		return
	}
	if r.Method != method {
		w.Header().Set("Allow", method)
		refuse(w, badMethod, "use "+method)
		return
	}
	serve(w, r, point)
}

// submit takes an access request (ARAP, submitting the access request).
func (h *Handler) submit(w http.ResponseWriter, r *http.Request, point *nhi.Point) {
	key, ok := enforce.Single(r.Header, "Idempotency-Key", maxKey)
	if !ok || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		refuse(w, badRequest, "send one Idempotency-Key of 1 to 255 visible ASCII characters, or none")
		return
	}
	body, failed := take(r, maxBody)
	if failed != nil {
		p := badRequest
		if failed.Status == http.StatusRequestEntityTooLarge {
			p = tooLarge
		}
		refuse(w, p, failed.Message)
		return
	}
	var asked wish
	digest, err := asked.parse(body)
	if err != nil {
		refuse(w, badRequest, err.Error())
		return
	}
	s := Submission{Point: point.ID, Digest: digest, Decision: asked.Denial.evaluation(), At: time.Now()}
	if key != "" {
		s.Key = hex.EncodeToString(bind("idempotency-key", key))
		if had, err := h.c.Requests.Sent(r.Context(), point.ID, s.Key); err == nil && had.Digest == digest {
			h.tell(w, r, point, had.Task, true)
			return
		} else if err == nil {
			refuse(w, duplicate, "send another Idempotency-Key with another request")
			return
		} else if !errors.Is(err, nhi.ErrNotFound) {
			h.broken(w, err)
			return
		}
	}
	a, refused, why := h.denied(r.Context(), point, &asked, s.At)
	if why != "" {
		if refused == notAvailable {
			w.Header().Set("Retry-After", "5")
		}
		refuse(w, refused, why)
		return
	}
	s.Approval, s.Task = a.ID, newTask()
	if key == "" { // asked without a key, it is the same request as long as it says the same
		s.Key = hex.EncodeToString(bind("approval", a.ID, digest))
	}
	s, err = h.c.Requests.Submit(r.Context(), s)
	switch {
	case errors.Is(err, nhi.ErrConflict):
		refuse(w, duplicate, "send another Idempotency-Key with another request")
	case errors.Is(err, nhi.ErrInvalid):
		refuse(w, tooMany, "too many idempotency keys for one task: send the one that it began with")
	case err != nil:
		h.broken(w, err)
	default:
		h.tell(w, r, point, s.Task, true)
	}
}

// denied finds the approval that a request is about, or says why it is refused.
func (h *Handler) denied(ctx context.Context, point *nhi.Point, asked *wish, now time.Time) (a nhi.Approval, p problem, why string) {
	var q nhi.Question
	if asked.Denial.evaluation() == "" {
		return a, badBinding, "denial.evaluation_id is required; binding tokens are not issued here"
	}
	if asked.Denial.Expires.IsZero() {
		return a, badRequest, "denial.expires_at is required"
	}
	if refused := ask(&q, point, &asked.tuple, now, reading{domain: h.reads(point).domain}); refused != nil {
		if refused.Status == http.StatusForbidden {
			return a, forbidden, refused.Message
		}
		return a, badRequest, refused.Message
	}
	q.Point = point.ID
	a, err := h.c.Requests.Denied(ctx, asked.Denial.Evaluation, &q)
	switch {
	case errors.Is(err, nhi.ErrInvalid):
		return a, notRequestable, "nobody can lift this denial by saying yes"
	case errors.Is(err, nhi.ErrNotFound):
		return a, badBinding, "this point has no such denial"
	case errors.Is(err, nhi.ErrConflict):
		return a, badBinding, "subject, action, resource or context is not what was denied"
	case err != nil:
		h.c.Log.Error("an access request could not be bound to its denial", "error", err)
		return a, notAvailable, "what was denied cannot be read now: ask again"
	case !now.Before(a.Expires) || now.After(asked.Denial.Expires), a.State == nhi.ApprovalUsed, a.State == nhi.ApprovalCancelled:
		return a, expiredDenial, "ask for a decision again: the denial no longer stands"
	}
	return a, problem{}, ""
}

func (d *denial) evaluation() string {
	if d == nil {
		return ""
	}
	return d.Evaluation
}

var (
	errBulk       = errors.New("items: bulk requests are not supported, send one at a time")
	errEvaluation = errors.New("denial.evaluation_id is too long")
)

// parse reads the body and returns its digest.
func (s *wish) parse(body []byte) (digest string, err error) {
	if err := parse(body, s); err != nil {
		return "", err
	}
	if err := s.complete(); err != nil {
		return "", err
	}
	if len(s.Items) > 0 && string(s.Items) != "null" {
		return "", errBulk
	}
	if len(s.Denial.evaluation()) > maxName {
		return "", errEvaluation
	}
	canonical := jsontext.Value(body).Clone()
	if err := canonical.Canonicalize(); err != nil {
		return "", errJSON
	}
	return hex.EncodeToString(bind("access-request", string(canonical))), nil
}

// task tells how a task stands (ARAP, task status endpoint).
func (h *Handler) task(w http.ResponseWriter, r *http.Request, point *nhi.Point, id string) {
	h.tell(w, r, point, id, false)
}

// cancel closes a task that waits for people (ARAP, cancellation).
func (h *Handler) cancel(w http.ResponseWriter, r *http.Request, point *nhi.Point, id string) {
	s, _, err := h.c.Requests.Task(r.Context(), point.ID, id)
	if err == nil {
		_, err = h.c.Requests.Withdraw(r.Context(), point.ID, s.Approval)
	}
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		refuse(w, unknownTask, "this point has no such task")
	case errors.Is(err, nhi.ErrConflict):
		refuse(w, badState, "the task has ended, so it cannot be cancelled")
	case err != nil:
		h.broken(w, err)
	default:
		h.tell(w, r, point, id, false)
	}
}

// tell answers with a task as it stands.
func (h *Handler) tell(w http.ResponseWriter, r *http.Request, point *nhi.Point, id string, submitted bool) {
	_, a, err := h.c.Requests.Task(r.Context(), point.ID, id)
	now := time.Now()
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		refuse(w, unknownTask, "this point has no such task")
		return
	case err != nil:
		h.broken(w, err)
		return
	case a.ID != "" && status(&a, now) != taskPending && now.After(ended(&a).Add(handleLife)):
		refuse(w, taskGone, "the task ended more than a day ago: ask for a decision again")
		return
	}
	url, code := h.base+RequestsPath+"/"+id, http.StatusOK
	if submitted {
		w.Header().Set("Location", url)
		code = http.StatusCreated
	}
	if status(&a, now) == taskPending {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(patience(&a, now).Seconds()))))
		if submitted {
			code = http.StatusAccepted
		}
	}
	send(w, code, appendTask(nil, id, url, &a, now))
}

// broken says that something did not work, and logs what.
func (h *Handler) broken(w http.ResponseWriter, err error) {
	h.c.Log.Error("an access request could not be served", "error", err)
	w.Header().Set("Retry-After", "5")
	refuse(w, notAvailable, "the request cannot be kept or read now: send it again with the same Idempotency-Key")
}

// refuse answers with an error of the profile.
func refuse(w http.ResponseWriter, p problem, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	typ := "about:blank"
	if p.typ != "" {
		typ = errorType + p.typ
	}
	b := quote([]byte(`{"type":`), typ)
	b = quote(append(b, `,"title":`...), p.title)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(p.status), 10)
	send(w, p.status, append(quote(append(b, `,"detail":`...), detail), '}'))
}

// newTask returns an id that nobody can guess.
func newTask() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "arq_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}
