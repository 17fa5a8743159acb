// Package forwardauth answers proxies that ask about each request before they
// pass it on: nginx auth_request, Caddy forward_auth, Traefik ForwardAuth,
// HAProxy's auth-request and Envoy's HTTP ext_authz.
//
// The proxy is an enrolled point. It sends its key in Muster-Point-Authorization
// ("Bearer muster_pnt_…"), the caller's own headers untouched, and the original
// request in the headers of its dialect:
//
//	nginx                  X-Original-Method, X-Forwarded-Proto,
//	                       X-Original-URI and X-Forwarded-Host, or X-Original-URL,
//	                       X-Forwarded-For or X-Real-IP
//	caddy traefik haproxy  X-Forwarded-Method, -Proto, -Host, -Uri, -For
//	envoy                  the request itself below /enforce/forward-auth,
//	                       X-Forwarded-Proto, X-Forwarded-For
//
// Each must occur exactly once. Of a list in X-Forwarded-For the last entry
// counts, the one that the trusted point appended; the rest is hearsay. A
// header by which a client could ask the application for another method or
// path than the one judged here refuses the request.
//
// The caller proves itself with Authorization (a Muster API key or registered
// key as Bearer, a Muster token as DPoP or, by exception, Bearer), with the
// proof in DPoP, and with Muster-Attestation: a Muster token of the workload
// that holds the key. When that token is bound to a key, the proof in DPoP is
// for it (its ath is the hash of the attestation token).
//
// The reply is one of
//
//	200  allowed. Muster-Identity names the caller ("none" when it proved
//	     nothing to us), Muster-Decision the decision.
//	401  no enrolled point; or the caller proved nothing; or it must step up,
//	     which WWW-Authenticate says in the words of RFC 9470. 401 and 403 are
//	     all that nginx can carry to the client.
//	403  denied, with the reasons' ids.
//
// There is no 500: an error inside is a denial. Both Muster headers are always
// set on 200, so that a proxy that copies them overwrites what a client sent.
package forwardauth

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Path is where the handler is served; with the envoy dialect, below it too.
const Path = "/enforce/forward-auth"

// Config is what a Handler needs. Log may be nil.
type Config struct {
	Points   *enforce.Points
	Routes   *enforce.Routes
	Verifier enforce.Verifier
	Decider  enforce.Decider
	Log      *slog.Logger
}

// A Handler answers forward-auth requests. It is safe for concurrent use.
type Handler struct{ c Config }

// New returns a Handler. Mount it at Path and, for envoy, at Path + "/".
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{c: c}
}

// ServeHTTP answers one request. The method and body of the sub-request do not
// matter; a key in the query is never read.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything, so only its kind is logged.
			h.c.Log.Error("panic while deciding: denied", "panic", kindOf(v))
			write(w, http.StatusForbidden, reply{Outcome: nhi.Deny, Reasons: []string{"internal-error"}})
		}
	}()
	header, ok := enforce.Single(r.Header, "Muster-Point-Authorization", maxSmall)
	if !ok {
		header = ""
	}
	point, err := h.c.Points.Authenticate(header, enforce.Remote(r))
	if err != nil {
		h.c.Log.Warn("forward-auth refused", "error", err)
		w.Header().Set("WWW-Authenticate", `Bearer realm="muster point"`)
		write(w, http.StatusUnauthorized, reply{Outcome: nhi.Deny, Reasons: []string{"point-unauthenticated"}})
		return
	}
	a := h.ask(r, &point)
	a.decision = h.c.Decider.Decide(r.Context(), &a.question)
	a.answer(w)
}

// An asking is one request on its way to an answer.
type asking struct {
	question nhi.Question
	decision nhi.Decision
	refused  string // why the question is hopeless; empty when it is not
	proven   bool   // the caller proved who it is
	badProof bool   // the caller presented something that proves nothing
	final    bool   // refused at a point that observes, too
}

// ask turns a request into a question. What cannot be read or proven stays
// empty in the question and is named in refused.
func (h *Handler) ask(r *http.Request, point *nhi.Point) asking {
	a := asking{question: nhi.Question{Point: point.ID, At: time.Now()}}
	if id, ok := enforce.Single(r.Header, "X-Request-Id", 128); ok {
		a.question.ID = id
	}
	if agents := r.Header["User-Agent"]; len(agents) == 1 {
		a.question.Agent = agents[0][:min(len(agents[0]), 512)]
	}
	o, err := read(r, point.Dialect)
	if err != nil {
		// Who calls is found out all the same: a suspended key must not slip
		// through an observing point by making its request unreadable.
		a.refused = "request-unreadable"
		h.verify(r, &o, &a)
		return a
	}
	a.question.Address = o.address
	a.question.Operation = o.method
	match, err := h.c.Routes.Match(o.method, o.host, o.target)
	switch {
	case err == enforce.ErrNoRoute:
		a.refused = "route-none"
	case err != nil:
		a.refused = "route-ambiguous"
	case !enforce.Guards(point, match.Resource):
		a.refused = "resource-not-guarded"
	default:
		a.question.Operation = match.Operation
		a.question.Action = match.Action
		a.question.Resource = match.Resource
		a.question.RouteSensitivity = match.Sensitivity
	}
	h.verify(r, &o, &a)
	return a
}

// verify finds out who calls. It is asked even when the request is refused
// already, so that the log says who tried and what is dead stays dead. A
// credential header that is repeated or malformed is final: the application
// might read the one that we did not, so the question is asked without the
// point, whose mode then does not matter.
func (h *Handler) verify(r *http.Request, o *original, a *asking) {
	evidence := nhi.Evidence{Method: o.method, URL: o.url(), Address: o.address, At: a.question.At}
	plain := true
	for _, field := range [...]struct {
		name string
		to   *string
	}{{"Authorization", &evidence.Authorization}, {"Dpop", &evidence.Proof}, {"Muster-Attestation", &evidence.Attestation}} {
		value, ok := enforce.Single(r.Header, field.name, maxHeader)
		*field.to, plain = value, plain && ok
	}
	if plain {
		attested, err := h.c.Verifier.Verify(r.Context(), evidence)
		if err == nil && attested.Identity != "" {
			a.question.Subject, a.proven = attested, true
			return
		}
	}
	if !plain {
		a.final, a.question.Point = true, ""
	}
	a.badProof = !plain || evidence.Authorization != ""
	if a.refused == "" {
		a.refused = "caller-unauthenticated"
	}
}

// answer writes what the point must do.
func (a *asking) answer(w http.ResponseWriter) {
	d := &a.decision
	w.Header().Set("Muster-Decision", d.ID)
	rep := reply{Decision: d.ID, Outcome: enforce.Settle(d, a.refused != "")}
	if a.final {
		rep.Outcome = nhi.Deny
	}
	if rep.Outcome == nhi.Allow {
		identity := "none"
		if a.proven {
			identity = string(a.question.Subject.Identity)
		}
		w.Header().Set("Muster-Identity", identity)
		w.WriteHeader(http.StatusOK)
		return
	}
	if a.refused != "" {
		rep.Reasons = append(rep.Reasons, a.refused)
	}
	for i := range d.Reasons {
		rep.Reasons = append(rep.Reasons, d.Reasons[i].Policy)
	}
	status := http.StatusForbidden
	if challenge := a.challenge(rep.Outcome); challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
		status = http.StatusUnauthorized
	}
	write(w, status, rep)
}

// challenge says what would unlock the request, empty when nothing would that
// the caller can do by itself.
func (a *asking) challenge(outcome nhi.Outcome) string {
	switch {
	case a.refused == "caller-unauthenticated" && a.badProof:
		return `DPoP algs="ES256", error="invalid_token"`
	case a.refused == "caller-unauthenticated":
		return `DPoP algs="ES256", Bearer realm="muster"`
	case outcome == nhi.StepUp:
		var classes []string
		for _, o := range a.decision.Obligations {
			if class := enforce.ACR(o.Kind); class != "" {
				classes = append(classes, class)
			}
		}
		if len(classes) > 0 {
			return `DPoP error="insufficient_user_authentication", acr_values="` + strings.Join(classes, " ") + `"`
		}
	}
	return ""
}

// A reply is the body of everything but 200.
type reply struct {
	Decision string      `json:"decision,omitempty"`
	Outcome  nhi.Outcome `json:"outcome"`
	Reasons  []string    `json:"reasons"`
}

func write(w http.ResponseWriter, status int, rep reply) {
	if rep.Reasons == nil {
		rep.Reasons = []string{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(rep)
}

func kindOf(v any) string {
	if _, ok := v.(error); ok {
		return "error"
	}
	return "value"
}
