// Package authzen answers the OpenID AuthZEN Authorization API 1.0.
//
// A caller is an enrolled point and proves itself with its own key, sent as
// "Authorization: Bearer muster_pnt_…". It asks
//
//	POST /access/v1/evaluation
//	{"subject":  {"type": "identity", "id": "nhi_…"},
//	 "action":   {"name": "read"},
//	 "resource": {"type": "api", "id": "payments/api"},
//	 "context":  {"ip": "198.51.100.9", "user_agent": "robot/1.0"}}
//
// and is answered 200 with {"decision": true or false, "context": …}. A denial
// is an answer, not an error. An error (400, 401, 403, 405, 413, 429, 500, 503)
// speaks about the question and the point, and its body is one JSON string.
//
// Evaluations asks up to a thousand such questions at once. All of them are
// decided at one generation of facts and by one set of policies, and each is a
// decision of its own on record. What cannot be asked (a member is missing, the
// point does not guard the resource) is false, with context.error, and does not
// trouble its neighbours.
//
// The three searches try what they find: every candidate is put to the same
// decision point as a question of this point, with what this point may assert,
// and is a result if it would be allowed on its merits. Nothing of that is
// recorded or learned; the search is one act in the audit log, before its first
// page. A page looks at a thousand candidates at most and then says where to go
// on, in a sealed token.
//
// Where people can lift a denial, a point can ask for it in so many words (the
// draft profile of access requests): it sends the denial back to RequestsPath,
// follows the task, and asks its question again. What lets the question pass then
// is what people said to this very question, whatever id the point presents. What
// a point declares in context.supported_obligations it is held to: a step-up that
// it cannot make is a plain denial.
//
// The subject is what the point claims: nothing is proven to us, so it is
// marked asserted, has assurance 0 and never teaches a baseline. Its id is an
// identity's id, or a SPIFFE id that we issued. A point can assert where a request
// comes from and with which agent, and nothing else: risk, attestation and
// approval are ours to know. The action is one of our classes, an operation of AWS, an HTTP method,
// or any name with its class in properties.class. The resource's id is its
// name; the type is for people. All other properties are passed over, unless
// [Config.Hearsay] lets a point's through to a decision point that believes them;
// Muster's does not.
//
// Unknown members are ignored, as the standard demands. Names are compared
// exactly and a repeated name is refused: two readers must not see two questions.
package authzen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Where the handler serves.
const (
	EvaluationPath     = "/access/v1/evaluation"
	EvaluationsPath    = "/access/v1/evaluations"
	SearchSubjectPath  = "/access/v1/search/subject"
	SearchResourcePath = "/access/v1/search/resource"
	SearchActionPath   = "/access/v1/search/action"
	MetadataPath       = "/.well-known/authzen-configuration"
)

const (
	maxBody   = 64 << 10 // bytes of a question
	maxHeader = 256
)

const notGuarded = "this point does not guard the resource"

// A Decider is an enforce.Decider that also answers questions together and
// tries questions. *decision.Service is one.
type Decider interface {
	enforce.Decider
	// DecideAll decides all questions from one state of what is known, in their
	// order, each as Decide would. After an answer for which enough, if it is not
	// nil, returns true, it gives no more.
	DecideAll(ctx context.Context, questions []nhi.Question, enough func(*nhi.Decision) bool) []nhi.Decision
	// Try says what policy says to each question, and records nothing.
	Try(questions []nhi.Question) []nhi.Decision
}

// Config is what a Handler needs. Log may be nil.
type Config struct {
	Points    *enforce.Points
	Decider   Decider
	Catalogue Catalogue
	Audit     Auditor
	PublicURL string // without a trailing slash, as clients write it
	// Issuer returns the URL of whoever issues Muster's own SPIFFE ids, empty when it
	// is not known: then none names anybody. Nil: it is PublicURL.
	Issuer func() string
	// PageKey seals page tokens: 32 bytes. Another length means a key that dies
	// with the process.
	PageKey []byte
	// Hearsay says whether the properties that a point sends reach the Decider, in
	// Question.Hearsay. Nil means that those of no point do. It is for a Decider
	// that believes its points; whoever holds the key of such a point can claim
	// whatever opens the door.
	Hearsay func(*nhi.Point) bool
	// Requests has points ask people. Nil means that they cannot.
	Requests Requests
	Log      *slog.Logger
}

// A Handler serves the paths above. It is safe for concurrent use.
type Handler struct {
	c        Config
	base     string // of the server, without a trailing slash
	domain   string // of the SPIFFE ids of base
	metadata []byte
	pages    *pager
	paces    paces
	asks     paces         // of access requests
	busy     chan struct{} // searches that use the processor
}

// New returns a Handler.
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	base := strings.TrimSuffix(c.PublicURL, "/")
	var requests string
	var can []string
	if c.Requests != nil {
		requests, can = base+RequestsPath, []string{capability}
	}
	metadata, err := json.Marshal(struct {
		PDP         string   `json:"policy_decision_point"`
		Evaluation  string   `json:"access_evaluation_endpoint"`
		Evaluations string   `json:"access_evaluations_endpoint"`
		Subject     string   `json:"search_subject_endpoint"`
		Resource    string   `json:"search_resource_endpoint"`
		Action      string   `json:"search_action_endpoint"`
		Obligations []string `json:"supported_obligations"`
		Requests    string   `json:"access_request_endpoint,omitempty"`
		Can         []string `json:"capabilities,omitempty"`
	}{
		base, base + EvaluationPath, base + EvaluationsPath, base + SearchSubjectPath, base + SearchResourcePath, base + SearchActionPath,
		obligationTypes, requests, can,
	})
	if err != nil {
		panic("authzen: " + err.Error()) // strings always marshal
	}
	return &Handler{
		c: c, base: base, domain: trustDomain(base), metadata: metadata, pages: newPager(c.PageKey), paces: paces{every: pagesASecond}, asks: paces{every: pagesASecond}, busy: make(chan struct{}, searches()),
	}
}

// ServeHTTP answers one request. What is asked with another method or at
// another path is refused with 405 or 404.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, ok := enforce.Single(r.Header, "X-Request-Id", maxHeader); ok && id != "" {
		w.Header().Set("X-Request-Id", id)
	}
	w.Header().Set("Content-Type", "application/json")
	var serve func(http.ResponseWriter, *http.Request, *nhi.Point)
	switch path := r.URL.Path; path {
	case EvaluationPath:
		serve = h.evaluation
	case EvaluationsPath:
		serve = h.evaluations
	case SearchSubjectPath:
		serve = func(w http.ResponseWriter, r *http.Request, p *nhi.Point) { h.find(w, r, p, &subjects) }
	case SearchResourcePath:
		serve = func(w http.ResponseWriter, r *http.Request, p *nhi.Point) { h.find(w, r, p, &resources) }
	case SearchActionPath:
		serve = func(w http.ResponseWriter, r *http.Request, p *nhi.Point) { h.find(w, r, p, &actionsOf) }
	case MetadataPath:
		h.describe(w, r)
		return
	default:
		if h.c.Requests != nil && (path == RequestsPath || strings.HasPrefix(path, RequestsPath+"/")) {
			h.authenticated(w, r, h.requests)
			return
		}
		fail(w, http.StatusNotFound, "there is nothing here")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, "ask with POST")
		return
	}
	h.authenticated(w, r, serve)
}

// describe is the metadata (AuthZEN 1.0, section 9). Anybody may read it.
func (h *Handler) describe(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, "read with GET")
		return
	}
	w.Header().Set("Cache-Control", "max-age=300")
	send(w, http.StatusOK, h.metadata)
}

// authenticated serves an enrolled point, and nobody else.
func (h *Handler) authenticated(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request, *nhi.Point)) {
	defer func() {
		if recover() != nil {
			// The value may hold anything, so it is not logged.
			h.c.Log.Error("panic while deciding: denied")
			if r.URL.Path == EvaluationPath {
				send(w, http.StatusOK, []byte(`{"decision":false,"context":{"reasons":[{"policy":"internal-error"}]}}`))
				return
			}
			fail(w, http.StatusInternalServerError, "something went wrong while deciding, so nothing is allowed")
		}
	}()
	w.Header().Set("Cache-Control", "no-store")
	header, ok := enforce.Single(r.Header, "Authorization", maxHeader)
	if !ok {
		header = ""
	}
	point, err := h.c.Points.Authenticate(header, enforce.Remote(r))
	if err != nil {
		h.c.Log.Warn("AuthZEN refused", "error", err)
		w.Header().Set("WWW-Authenticate", `Bearer realm="muster point"`)
		fail(w, http.StatusUnauthorized, "an enrolled point's key is required")
		return
	}
	serve(w, r, &point)
}

// evaluation is the Access Evaluation API (AuthZEN 1.0, section 6).
func (h *Handler) evaluation(w http.ResponseWriter, r *http.Request, point *nhi.Point) {
	body, ok := h.read(w, r, maxBody)
	if !ok {
		return
	}
	var t tuple
	if err := parse(body, &t); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	h.answer(w, r, point, &t)
}

// answer decides one question.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, point *nhi.Point, t *tuple) {
	var question nhi.Question
	if refused := ask(&question, point, t, time.Now(), h.reads(point)); refused != nil {
		fail(w, refused.Status, refused.Message)
		return
	}
	question.ID, question.Point = w.Header().Get("X-Request-Id"), point.ID
	decision := h.c.Decider.Decide(r.Context(), &question)
	x := h.extra(t.Context, point, &decision)
	send(w, http.StatusOK, appendAnswer(make([]byte, 0, 1024), &decision, &x))
}

// A reading is how what a point says is understood.
type reading struct {
	hearsay bool   // the properties that it sends are passed on
	domain  string // of our SPIFFE ids
}

func (h *Handler) reads(point *nhi.Point) reading {
	by := reading{hearsay: h.c.Hearsay != nil && h.c.Hearsay(point), domain: h.domain}
	if h.c.Issuer != nil {
		by.domain = trustDomain(h.c.Issuer())
	}
	return by
}

// trustDomain is that of the SPIFFE ids that an issuer gives: its host.
func trustDomain(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// read returns the body of at most limit bytes, or refuses it.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, ok bool) {
	body, failed := take(r, limit)
	if failed != nil {
		fail(w, failed.Status, failed.Message)
	}
	return body, failed == nil
}

// take returns the body of at most limit bytes, or why it cannot.
func take(r *http.Request, limit int64) (body []byte, _ *failure) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, &failure{http.StatusBadRequest, "send application/json"}
	}
	if r.ContentLength <= limit {
		body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	}
	if tooLarge := (*http.MaxBytesError)(nil); r.ContentLength > limit || errors.As(err, &tooLarge) {
		return nil, &failure{http.StatusRequestEntityTooLarge, "the body is too large: at most 64 KiB, for evaluations 1 MiB"}
	}
	if err != nil {
		return nil, &failure{http.StatusBadRequest, "the body could not be read"}
	}
	return body, nil
}
