package authzen

import (
	"slices"
	"strconv"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// This file is what of two drafts Muster speaks, and all that has to change when
// they do:
//
//   - the AuthZEN Obligations profile, draft 1
//   - the AuthZEN Access Request and Approval profile (ARAP), draft 1: single
//     requests whose denial is bound by reference (evaluation_id), in the mode
//     "reevaluate". Bulk requests, callbacks and forms have profiles of their own.
//
// What the drafts have no word for follows AuthZEN 1.0 and stays in answer.go.

// capability says in the metadata that access can be requested (ARAP, discovery).
const capability = "urn:openid:authzen:capability:access-request"

// obligationTypes are the types of the obligations profile that answers use.
var obligationTypes = []string{"step-up", "custom"}

// obligation returns the type of the obligation that a step-up becomes, and its
// authentication context class, if there is one.
func obligation(kind nhi.StepUpKind) (typ, class string) {
	if class = enforce.ACR(kind); class == "" {
		return obligationTypes[1], ""
	}
	return obligationTypes[0], class
}

// appendObligation appends what would unlock a step-up: our own step in the
// words of the profile, with the authentication context class where there is
// one.
func appendObligation(b []byte, i int, step *nhi.Obligation) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	typ, class := obligation(step.Kind)
	b = quote(append(b, `{"id":`...), "step-up-"+string(step.Kind))
	b = quote(append(b, `,"type":`...), typ)
	b = quote(append(b, `,"properties":{"kind":`...), string(step.Kind))
	if class != "" {
		b = quote(append(b, `,"acr_value":`...), class)
	}
	if step.Value != "" {
		b = quote(append(b, `,"value":`...), step.Value)
	}
	return append(b, `}}`...)
}

// bears reports whether a point can do what a decision obliges it to. What it
// declares is the types of obligation it knows; a point that declares nothing
// says nothing about it.
func (e *environment) bears(obligations []nhi.Obligation) bool {
	if e == nil || e.Obligations == nil {
		return true
	}
	return !slices.ContainsFunc(obligations, func(o nhi.Obligation) bool {
		typ, _ := obligation(o.Kind)
		return !slices.Contains(*e.Obligations, typ)
	})
}

// presented is what a point returns of a request that was approved (ARAP,
// re-evaluation request). It opens nothing: the decision point's own record says
// what was approved for which question.
type presented struct {
	ID string `json:"id"`
}

// A requestable is what a point is told of a denial that people can lift.
type requestable struct {
	endpoint string
	expires  time.Time // of the question to people
}

// Why a request was not allowed though an approval was presented (ARAP,
// re-evaluation denials), and what the point should do next.
const (
	outOfScope   = "out_of_scope"
	unverifiable = "approval_unverifiable"
	policyDenied = "policy_denied"
	wanted       = "approval_required" // no approval was presented
)

// appendRequestable appends the members of a context that say that access can be
// requested (ARAP, requestable denial context). at is when it was decided.
func (r *requestable) append(b []byte, reason string, at time.Time) []byte {
	b = quote(append(b, `,"evaluated_at":`...), stamp(at))
	b = quote(append(b, `,"reason":`...), reason)
	b = quote(append(b, `,"access_request":{"endpoint":`...), r.endpoint)
	b = quote(append(b, `,"template":"approval","expires_at":`...), stamp(r.expires))
	return append(b, `,"display":{"title":"Ask for approval","description":"People are asked whether this request may pass. Once they say yes, the same request passes once."}}`...)
}

// stamp writes a time as RFC 3339. What is cut is less than a second, so what
// expires never seems to live longer.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// The statuses of a task (ARAP, task status). An approval has at most one that is
// final.
const (
	taskPending   = "pending"
	taskApproved  = "approved"
	taskDenied    = "denied"
	taskExpired   = "expired"
	taskCancelled = "cancelled"
	taskFailed    = "failed"
)

// status maps the state of an approval to that of a task. What people said yes to
// stays approved, though it was used since, has run out or was taken back: a task
// has one end, and what the approval is still worth is seen when the request is
// asked again.
func status(a *nhi.Approval, now time.Time) string {
	switch {
	case a.ID == "":
		return taskFailed // people could not be asked
	case yes(a):
		return taskApproved
	}
	switch a.At(now) {
	case nhi.ApprovalPending:
		return taskPending
	case nhi.ApprovalDenied:
		return taskDenied
	case nhi.ApprovalExpired:
		return taskExpired
	case nhi.ApprovalCancelled:
		return taskCancelled
	}
	return taskFailed
}

// yes reports whether enough people said yes and nobody no.
func yes(a *nhi.Approval) bool {
	return len(a.Votes) > 0 && a.Yeses() == len(a.Votes) && a.Yeses() >= max(a.Needed, 1)
}

// ended returns when a task stopped being pending.
func ended(a *nhi.Approval) time.Time {
	switch {
	case yes(a):
		return a.Votes[len(a.Votes)-1].At
	case !a.Settled.IsZero():
		return a.Settled
	}
	return a.Expires
}

// handleLife is how long a task can be read after its end. Its idempotency keys
// are kept at least as long: as long as the approval.
const handleLife = 24 * time.Hour

// appendTask appends a reply that tells of a task (ARAP, task handle object and
// completed task response). url is that of the task, under the server's public one.
func appendTask(b []byte, id, url string, a *nhi.Approval, now time.Time) []byte {
	state := status(a, now)
	b = quote(append(b, `{"task":{"id":`...), id)
	b = quote(append(b, `,"status":`...), state)
	b = quote(append(b, `,"status_endpoint":`...), url)
	switch state {
	case taskPending:
		b = quote(append(b, `,"expires_at":`...), stamp(a.Expires))
		if a.Needed > 1 {
			b = strconv.AppendInt(append(b, `,"progress":{"current_step":`...), int64(a.Yeses()+1), 10)
			b = append(strconv.AppendInt(append(b, `,"total_steps":`...), int64(a.Needed), 10), '}')
		}
		b = append(quote(append(b, `,"links":{"cancel":`...), url+"/cancel"), '}')
	case taskFailed:
	default:
		b = quote(append(b, `,"expires_at":`...), stamp(ended(a).Add(handleLife)))
	}
	b = append(b, '}')
	if state == taskApproved {
		until := a.Expires
		if a.State == nhi.ApprovalCancelled { // it was taken back after that
			until = a.Settled
		}
		b = quote(append(b, `,"result":{"mode":"reevaluate","approval":{"id":`...), a.ID)
		b = quote(append(b, `,"approved_at":`...), stamp(ended(a)))
		b = append(quote(append(b, `,"approved_until":`...), stamp(until)), `}}`...)
	}
	return append(b, '}')
}

// patience is how long a point should wait before it looks at a pending task
// again: the longer people have been waited for, the longer, up to a minute.
func patience(a *nhi.Approval, now time.Time) time.Duration {
	return min(max(now.Sub(a.Asked)/4, 5*time.Second), time.Minute).Truncate(time.Second)
}

// A problem is an error of the profile (RFC 9457).
type problem struct {
	typ    string // behind errorType; empty: no type of its own
	status int
	title  string
}

const errorType = "urn:openid:authzen:access-request:error:"

// The errors of the profile (ARAP, error responses).
var (
	notRequestable = problem{"not_requestable", 400, "Access is not requestable"}
	expiredDenial  = problem{"expired_denial", 410, "The denial has expired"}
	badBinding     = problem{"invalid_denial_binding", 400, "The request is not bound to the denial"}
	duplicate      = problem{"duplicate_request", 409, "The idempotency key was used for another request"}
	unknownTask    = problem{"unknown_task", 404, "The task is unknown"}
	taskGone       = problem{"task_expired", 410, "The task has expired"}
	badState       = problem{"invalid_task_state", 409, "The task has ended"}

	badRequest   = problem{"", 400, "Bad request"}
	forbidden    = problem{"", 403, "Forbidden"}
	badMethod    = problem{"", 405, "Method not allowed"}
	tooLarge     = problem{"", 413, "The body is too large"}
	tooMany      = problem{"", 429, "Too many requests"}
	notAvailable = problem{"", 503, "Not available"}
)
