package enforce

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// maxHeader bounds a credential, a proof and an attestation, each.
const maxHeader = 8 << 10

// A Judge is what every way of asking about a whole HTTP request shares: it
// matches the route, finds out who calls, asks for the decision and says what
// the point must do. It is safe for concurrent use.
type Judge struct {
	Routes   *Routes
	Verifier Verifier
	Decider  Decider
}

// A Verdict is what the point must do with a request.
type Verdict struct {
	Decision string      // its id
	Outcome  nhi.Outcome // only Allow lets the request pass
	Identity nhi.ID      // who calls; empty when the caller proved nothing to us
	// Subject is what the caller proved, whose Identity that is; nil when it
	// proved nothing. It must not be changed.
	Subject *nhi.Attested
	// WouldRefuse says that only the mode of the point lets the request pass.
	WouldRefuse bool
	// Glass is the serial of the break-glass code that alone lets the request
	// pass; empty when none does.
	Glass     string
	Reasons   []string // ids: why it is refused, or would be
	Challenge string   // value of WWW-Authenticate (RFC 9470); empty when nothing would unlock it
	Task      string   // id of the approval that people were asked for; the same request passes once they said yes
}

// Unenrolled is the verdict on a question of nobody who is enrolled.
var Unenrolled = Verdict{Outcome: nhi.Deny, Reasons: []string{"point-unauthenticated"}, Challenge: `Bearer realm="muster point"`}

// Broken is the verdict when something went wrong on the way to one.
var Broken = Verdict{Outcome: nhi.Deny, Reasons: []string{"internal-error"}}

// Status is 200 for what passes, 401 when the caller can do something about
// the refusal, else 403: nginx can carry no other.
func (v *Verdict) Status() int {
	switch {
	case v.Outcome == nhi.Allow:
		return http.StatusOK
	case v.Challenge != "":
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

// Caller is the value of Muster-Identity on an allowed request: the identity,
// or "none". It is never empty, so that it always replaces what a client sent.
func (v *Verdict) Caller() string {
	if v.Identity == "" {
		return "none"
	}
	return string(v.Identity)
}

// Refuse tells a caller that its request does not pass, in the words that every
// point uses over HTTP: the status, the challenge that would unlock it, and the
// reasons.
func (v *Verdict) Refuse(w http.ResponseWriter) {
	header := w.Header()
	if v.Challenge != "" {
		header.Set("WWW-Authenticate", v.Challenge)
	}
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(v.Status())
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(v.Body())
}

// A task is what a caller can wait for.
type task struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// Body is the JSON that tells a refused caller the decision's id, the outcome,
// the ids of the reasons, and for what it can wait. It ends with a line feed.
func (v *Verdict) Body() []byte {
	reply := struct {
		Decision string      `json:"decision,omitempty"`
		Outcome  nhi.Outcome `json:"outcome"`
		Reasons  []string    `json:"reasons"`
		Task     *task       `json:"task,omitempty"`
	}{Decision: v.Decision, Outcome: v.Outcome, Reasons: v.Reasons}
	if v.Task != "" {
		reply.Task = &task{v.Task, string(nhi.ApprovalPending)}
	}
	if reply.Reasons == nil {
		reply.Reasons = []string{}
	}
	body, err := json.Marshal(reply)
	if err != nil {
		return []byte("{}\n") // strings always marshal
	}
	return append(body, '\n')
}

// A hearing is one request on its way to a verdict.
type hearing struct {
	question nhi.Question
	refused  string // why the question is hopeless; empty when it is not
	proven   bool   // the caller proved who it is
	badProof bool   // the caller presented something that proves nothing
	final    bool   // refused at a point that observes, too
}

// Judge answers one request. It never fails: what cannot be read or proven
// stays empty in the question, is named among the reasons, and is asked all
// the same. A panic of the Decider goes through; the caller answers [Broken].
func (j *Judge) Judge(ctx context.Context, a *Asking) Verdict {
	h := hearing{question: nhi.Question{Point: a.Point.ID, At: time.Now()}}
	if id, ok := Single(a.Header, "X-Request-Id", 128); ok {
		h.question.ID = id
	}
	if agents := a.Header["User-Agent"]; len(agents) == 1 {
		h.question.Agent = agents[0][:min(len(agents[0]), 512)]
	}
	err := a.Err
	if err == nil {
		err = a.Original.Check(a.Header)
	}
	if err != nil {
		// Who calls is found out all the same: a suspended key must not slip
		// through an observing point by making its request unreadable.
		h.refused = "request-unreadable"
	} else {
		j.match(a, &h)
	}
	j.verify(ctx, a, &h)
	decision := j.Decider.Decide(ctx, &h.question)
	return h.verdict(&decision)
}

func (j *Judge) match(a *Asking, h *hearing) {
	o := &a.Original
	h.question.Address = o.Address
	h.question.Operation = o.Method
	h.question.Host, h.question.Target = o.Host, o.Target
	match, err := j.Routes.Match(o.Method, o.Host, o.Target)
	switch {
	case err == ErrNoRoute:
		h.refused = "route-none"
	case err != nil:
		h.refused = "route-ambiguous"
	case !Guards(a.Point, match.Resource):
		h.refused = "resource-not-guarded"
	default:
		h.question.Operation = match.Operation
		h.question.Action = match.Action
		h.question.Resource = match.Resource
		h.question.RouteSensitivity, h.question.RoutePurpose = match.Sensitivity, match.Purpose
	}
}

// verify finds out who calls. It is asked even when the request is refused
// already, so that the log says who tried and what is dead stays dead. A
// credential header that is repeated or malformed is final: the application
// might read the one that we did not, so the question is asked without the
// point, whose mode then does not matter.
func (j *Judge) verify(ctx context.Context, a *Asking, h *hearing) {
	evidence, plain := a.Evidence(h.question.At)
	if plain {
		attested, err := j.Verifier.Verify(ctx, evidence)
		if err == nil && attested.Identity != "" {
			h.question.Subject, h.proven = attested, true
			return
		}
	} else {
		h.final, h.question.Point = true, ""
	}
	h.badProof = !plain || evidence.Authorization != ""
	if h.refused == "" {
		h.refused = "caller-unauthenticated"
	}
}

// verdict says what the point must do with what was decided.
func (h *hearing) verdict(d *nhi.Decision) Verdict {
	v := Verdict{Decision: d.ID, Outcome: Settle(d, h.refused != "")}
	if h.final {
		v.Outcome = nhi.Deny
	}
	v.WouldRefuse = d.WouldRefuse && v.Outcome == nhi.Allow
	if v.Outcome == nhi.Allow {
		v.Glass = d.Glass
	}
	if h.proven {
		v.Identity, v.Subject = h.question.Subject.Identity, &h.question.Subject
	}
	if v.Outcome == nhi.Allow && !v.WouldRefuse && v.Glass == "" {
		return v
	}
	if h.refused != "" {
		v.Reasons = append(v.Reasons, h.refused)
	}
	for i := range d.Reasons {
		v.Reasons = append(v.Reasons, d.Reasons[i].Policy)
	}
	if v.Outcome != nhi.Allow {
		v.Challenge = h.challenge(v.Outcome, d.Obligations)
		v.Task = waits(v.Outcome, d.Obligations)
	}
	return v
}

// waits returns the id of the approval that the caller can wait for.
func waits(outcome nhi.Outcome, obligations []nhi.Obligation) string {
	if outcome != nhi.StepUp || len(obligations) != 1 || obligations[0].Kind != nhi.StepApprove {
		return ""
	}
	return obligations[0].Value
}

// challenge says what would unlock the request, empty when nothing would that
// the caller can do by itself.
func (h *hearing) challenge(outcome nhi.Outcome, obligations []nhi.Obligation) string {
	switch {
	case h.refused == "caller-unauthenticated" && h.badProof:
		return `DPoP algs="ES256", error="invalid_token"`
	case h.refused == "caller-unauthenticated":
		return `DPoP algs="ES256", Bearer realm="muster"`
	case outcome == nhi.StepUp:
		var classes []string
		for _, o := range obligations {
			if class := ACR(o.Kind); class != "" {
				classes = append(classes, class)
			}
		}
		if len(classes) > 0 {
			return `DPoP error="insufficient_user_authentication", acr_values="` + strings.Join(classes, " ") + `"`
		}
	}
	return ""
}
