package enforce

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Call is one of the things that a single request asks for, in a protocol
// that carries several. Method and path are those by which routes are looked up.
type Call struct {
	Method, Path string
	// Named says that the path ends in a name of the caller's, which the operation
	// keeps: of several tools under one route, each is an operation.
	Named bool
	// Digest is of the call's arguments. An approval is for them alone.
	Digest string
	// Err says why the call cannot be looked up; nil when it can.
	Err error
}

// Carry passes on what is left of a request that v lets through. While that runs,
// it passes on as well what is told to the application in the caller's name.
type Carry func(w http.ResponseWriter, r *http.Request, v *Verdict)

// JudgeCalls answers each of the calls that a request asks for, in their order.
// The caller proves itself once, by the request as it came; the calls are
// decisions of their own. Like [Judge.Judge] it never fails, and a panic of the
// Decider goes through.
func (j *Judge) JudgeCalls(ctx context.Context, a *Asking, calls []Call) []Verdict {
	first := hearing{question: nhi.Question{Point: a.Point.ID, At: time.Now(), Address: a.Original.Address, Host: a.Original.Host}}
	if id, ok := Single(a.Header, "X-Request-Id", 128); ok {
		first.question.ID = id
	}
	if agents := a.Header["User-Agent"]; len(agents) == 1 {
		first.question.Agent = agents[0][:min(len(agents[0]), 512)]
	}
	err := a.Err
	if err == nil {
		err = a.Original.Check(a.Header)
	}
	if err != nil {
		first.refused = "request-unreadable"
	}
	j.verify(ctx, a, &first)
	verdicts := make([]Verdict, len(calls))
	for i := range calls {
		verdicts[i] = j.judgeCall(ctx, a, &calls[i], first)
	}
	return verdicts
}

// judgeCall answers one call. What the caller proved is in h, which is its own.
func (j *Judge) judgeCall(ctx context.Context, a *Asking, call *Call, h hearing) Verdict {
	unproven := h.refused
	if h.refused != "request-unreadable" {
		h.refused = ""
		j.lookUp(a, call, &h)
		if h.refused == "" {
			h.refused = unproven
		}
	}
	h.question.Subject.Actors = slices.Clone(h.question.Subject.Actors)
	decision := j.Decider.Decide(ctx, &h.question)
	return h.verdict(&decision)
}

// A Trier says what policy says to questions, and records nothing.
type Trier interface {
	Try(questions []nhi.Question) []nhi.Decision
}

// TryCalls says what would be decided about calls of a caller that has proven to be
// by. Nothing is recorded, nothing follows, and the mode of the point does not
// matter. A panic of the Trier goes through.
func (j *Judge) TryCalls(t Trier, a *Asking, by *nhi.Attested, calls []Call) []nhi.Outcome {
	outcomes := make([]nhi.Outcome, len(calls)) // zero: denied
	questions, of := make([]nhi.Question, 0, len(calls)), make([]int, 0, len(calls))
	for i := range calls {
		h := j.known(a, by)
		h.question.Trial = true
		if j.lookUp(a, &calls[i], &h); h.refused == "" {
			questions, of = append(questions, h.question), append(of, i)
		}
	}
	decisions := t.Try(questions)
	for i := range decisions {
		outcomes[of[i]] = Settle(&decisions[i], false)
	}
	return outcomes
}

// JudgeLater answers a call that comes up while a request is carried, for the
// caller that v, the verdict on that request, let through: what it proved was
// looked at then, and may work once only. Like [Judge.Judge] it never fails, and a
// panic of the Decider goes through.
func (j *Judge) JudgeLater(ctx context.Context, a *Asking, v *Verdict, call *Call) Verdict {
	h := hearing{refused: "caller-unauthenticated"}
	if v.Subject != nil {
		h = j.known(a, v.Subject)
		h.proven = true
	} else {
		h.question = nhi.Question{Point: a.Point.ID, At: time.Now(), Address: a.Original.Address, Host: a.Original.Host}
	}
	return j.judgeCall(ctx, a, call, h)
}

// known is a hearing of a caller that has proven who it is.
func (j *Judge) known(a *Asking, by *nhi.Attested) hearing {
	h := hearing{question: nhi.Question{Point: a.Point.ID, At: time.Now(), Address: a.Original.Address, Host: a.Original.Host, Subject: *by}}
	h.question.Subject.Actors = slices.Clone(by.Actors)
	if agents := a.Header["User-Agent"]; len(agents) == 1 {
		h.question.Agent = agents[0][:min(len(agents[0]), 512)]
	}
	return h
}

// lookUp finds what a call means.
func (j *Judge) lookUp(a *Asking, call *Call, h *hearing) {
	if call.Err != nil || strings.ContainsAny(call.Path, "?#%") {
		h.refused = "request-unreadable"
		return
	}
	named := Asking{Point: a.Point, Original: a.Original}
	named.Original.Method, named.Original.Target = call.Method, call.Path
	j.match(&named, h)
	if call.Named && h.refused == "" {
		h.question.Operation, h.question.Spoken = call.Method+" "+call.Path, true
	}
	// The query of the request is beside the call, and the application may read it.
	h.question.Target = call.Path + "?sha256=" + call.Digest
	if _, query, asked := strings.Cut(a.Original.Target, "?"); asked {
		h.question.Target += "&" + query
	}
}
