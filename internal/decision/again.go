package decision

import (
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Judge says what policies make of a question whose Known is filled in, and
// what no policy may overrule: what names no resource, what is dead, and facts
// older than maxFactsAge for what is sensitive. It is what Decide asks, without
// the mode of the point and without a trace, so that a decision on record can
// be judged by other policies: see nhi.Decision.Question.
func Judge(policies Policies, q *nhi.Question, maxFactsAge time.Duration) nhi.Ruling {
	if q.Action == "" && q.Resource == "" {
		return refusal("route-none", "No route leads from this request to a resource, so it is denied.")
	}
	if !q.Action.Valid() {
		return refusal("action-unknown", "The request has no action that is known, so it is denied.")
	}
	if q.Resource == "" {
		return refusal("resource-none", "The request names no resource, so it is denied.")
	}
	ruling := policies.Evaluate(q)
	switch ruling.Outcome {
	case nhi.Allow, nhi.StepUp, nhi.Deny:
	default:
		ruling.Outcome = nhi.Deny
		ruling.Reasons = append(ruling.Reasons, reason("outcome-unknown", "Policy gave an answer that is not known, so it is denied."))
	}
	if ruling.Outcome != nhi.Deny && dead(&q.Known) {
		ruling.Outcome = nhi.Deny
		ruling.Reasons = append(ruling.Reasons, reason("dead", "The credential, token or identity is suspended, revoked, expired or quarantined."))
	}
	if ruling.Outcome != nhi.Deny && q.Known.FactsAge > maxFactsAge && q.Known.Sensitivity >= staleSensitivity {
		ruling.Outcome = nhi.Deny
		ruling.Reasons = append(ruling.Reasons, reason("facts-stale", "What is known is too old to allow access to a sensitive resource."))
	}
	return ruling
}

// Recorded says what [Judge] had said when d was decided, as far as d tells.
// What was denied afterwards, because it could not be put on record or its
// approval could not be used up, had been allowed. Of what a point that only
// observes let pass, or one that was open by a break-glass code, d tells that it would have been refused and not whether by
// a denial or a step-up: then it is Deny and not exact.
func Recorded(d *nhi.Decision) (outcome nhi.Outcome, kinds []nhi.StepUpKind, exact bool) {
	if d.WouldRefuse || d.Glass != "" {
		return nhi.Deny, nil, false
	}
	for i := range d.Reasons {
		switch d.Reasons[i].Policy {
		case logUnavailable, approvalUnavailable:
			return nhi.Allow, nil, true
		case glassUnrecorded:
			return nhi.Deny, nil, false
		case approvalUnasked:
			return nhi.StepUp, []nhi.StepUpKind{nhi.StepApprove}, true
		}
	}
	if d.Outcome == nhi.StepUp {
		for i := range d.Obligations {
			kinds = append(kinds, d.Obligations[i].Kind)
		}
		slices.Sort(kinds)
	}
	return d.Outcome, kinds, true
}

// Reasons that are given for what became of a ruling.
const (
	logUnavailable      = "log-unavailable"
	approvalUnavailable = "approval-unavailable"
	approvalUnasked     = "approval-unasked"
	glassUnrecorded     = "break-glass-unrecorded"
)
