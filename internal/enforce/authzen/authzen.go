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
// is an answer, not an error. An error (400, 401, 403, 413, 415) speaks about
// the question and the point, and its body is one JSON string.
//
// The subject is what the point claims: nothing is proven to us, so it is
// marked asserted, has assurance 0 and never teaches a baseline. Its id is an
// identity's id, or a SPIFFE id that we issued. A point can assert where a request
// comes from and with which agent, and nothing else: risk, attestation and
// approval are ours to know. The action is one of our classes, an HTTP method,
// or any name with its class in properties.class. The resource's id is its
// name; the type is for people.
//
// Unknown members are ignored, as the standard demands. Names are compared
// exactly and a repeated name is refused: two readers must not see two questions.
package authzen

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Where the handler serves.
const (
	EvaluationPath = "/access/v1/evaluation"
	MetadataPath   = "/.well-known/authzen-configuration"
)

const (
	maxBody   = 64 << 10
	maxHeader = 256
)

// Config is what a Handler needs. Log may be nil.
type Config struct {
	Points    *enforce.Points
	Decider   enforce.Decider
	PublicURL string // without a trailing slash, as clients write it
	Log       *slog.Logger
}

// A Handler serves the paths above. It is safe for concurrent use.
type Handler struct {
	c        Config
	metadata []byte
}

// New returns a Handler.
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	base := strings.TrimSuffix(c.PublicURL, "/")
	metadata, err := json.Marshal(struct {
		PDP        string `json:"policy_decision_point"`
		Evaluation string `json:"access_evaluation_endpoint"`
	}{base, base + EvaluationPath})
	if err != nil {
		panic("authzen: " + err.Error()) // strings always marshal
	}
	return &Handler{c: c, metadata: metadata}
}

// ServeHTTP answers one request. What is asked with another method or at
// another path is refused with 405 or 404.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, ok := enforce.Single(r.Header, "X-Request-Id", maxHeader); ok && id != "" {
		w.Header().Set("X-Request-Id", id)
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case EvaluationPath:
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			fail(w, http.StatusMethodNotAllowed, "ask with POST")
			return
		}
		h.evaluate(w, r)
	case MetadataPath:
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			fail(w, http.StatusMethodNotAllowed, "read with GET")
			return
		}
		w.Header().Set("Cache-Control", "max-age=300")
		send(w, http.StatusOK, h.metadata)
	default:
		fail(w, http.StatusNotFound, "there is nothing here")
	}
}

// evaluate is the Access Evaluation API (AuthZEN 1.0, section 6).
func (h *Handler) evaluate(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if recover() != nil {
			// The value may hold anything, so it is not logged.
			h.c.Log.Error("panic while deciding: denied")
			send(w, http.StatusOK, []byte(`{"decision":false,"context":{"reasons":[{"policy":"internal-error"}]}}`))
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
	body, status, why := read(r)
	if status != 0 {
		fail(w, status, why)
		return
	}
	question, err := decode(body)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if !enforce.Guards(&point, question.Resource) {
		fail(w, http.StatusForbidden, "this point does not guard the resource")
		return
	}
	question.ID = w.Header().Get("X-Request-Id")
	question.Point = point.ID
	decision := h.c.Decider.Decide(r.Context(), &question)
	h.reply(w, &decision)
}

// read returns the body, or the status and the words to refuse it with.
func read(r *http.Request) (body []byte, status int, why string) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, http.StatusUnsupportedMediaType, "send application/json"
	}
	if r.ContentLength > maxBody {
		return nil, http.StatusRequestEntityTooLarge, "a question is at most 64 KiB"
	}
	body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge, "a question is at most 64 KiB"
	}
	if err != nil {
		return nil, http.StatusBadRequest, "the body could not be read"
	}
	return body, 0, ""
}

// An answer is the response of section 6.2. Context follows the drafts of the
// obligations and access request profiles where they have a word.
type answer struct {
	Decision bool    `json:"decision"`
	Context  details `json:"context"`
}

type details struct {
	ID          string            `json:"evaluation_id,omitempty"`
	Outcome     nhi.Outcome       `json:"outcome"`
	WouldRefuse bool              `json:"would_refuse,omitempty"`
	ReasonAdmin map[string]string `json:"reason_admin,omitempty"`
	ReasonUser  map[string]string `json:"reason_user,omitempty"`
	Reasons     []nhi.Reason      `json:"reasons,omitempty"`
	Obligations []obligation      `json:"obligations,omitempty"`
}

type obligation struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties"`
}

func (h *Handler) reply(w http.ResponseWriter, d *nhi.Decision) {
	outcome := enforce.Settle(d, false)
	a := answer{Decision: outcome == nhi.Allow, Context: details{
		ID: d.ID, Outcome: outcome, WouldRefuse: d.WouldRefuse, Reasons: d.Reasons,
	}}
	if !a.Decision && len(d.Reasons) > 0 {
		a.Context.ReasonAdmin = map[string]string{"en": sentences(d.Reasons)}
		a.Context.ReasonUser = map[string]string{"en": "Muster refused this request. Its administrators can see why under " + d.ID + "."}
	}
	if outcome == nhi.StepUp {
		a.Context.Obligations = obligations(d.Obligations)
	}
	body, err := json.Marshal(a)
	if err != nil {
		h.c.Log.Error("decision does not marshal: denied", "decision", d.ID)
		body = []byte(`{"decision":false}`)
	}
	send(w, http.StatusOK, body)
}

// obligations are what would unlock a step-up: our own steps in the words of
// the profile, with the authentication context class where there is one.
func obligations(steps []nhi.Obligation) []obligation {
	var out []obligation
	for _, step := range steps {
		o := obligation{ID: "step-up-" + string(step.Kind), Type: "step-up", Properties: map[string]any{"kind": step.Kind}}
		if class := enforce.ACR(step.Kind); class != "" {
			o.Properties["acr_value"] = class
		} else {
			o.Type = "custom"
		}
		if step.Value != "" {
			o.Properties["value"] = step.Value
		}
		out = append(out, o)
	}
	return out
}

func sentences(reasons []nhi.Reason) string {
	texts := make([]string, 0, len(reasons))
	for i := range reasons {
		if text := reasons[i].Text; text != "" {
			texts = append(texts, text)
		} else {
			texts = append(texts, reasons[i].Policy)
		}
	}
	return strings.Join(texts, "; ")
}

// fail answers with an error message string (section 10.1.4 of AuthZEN 1.0).
func fail(w http.ResponseWriter, status int, why string) {
	body, err := json.Marshal(why)
	if err != nil {
		body = []byte(`"refused"`)
	}
	send(w, status, body)
}

func send(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(body)
}
