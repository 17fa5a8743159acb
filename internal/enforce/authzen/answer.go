package authzen

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// appendAnswer appends a decision as an Access Evaluation response (AuthZEN
// 1.0, section 6.2). Its context follows the drafts of the obligations profile
// where they have a word. It is written without reflection because every item
// of a batch pays for it.
func appendAnswer(b []byte, d *nhi.Decision, x *extra) []byte {
	outcome := x.outcome(d)
	b = append(b, `{"decision":`...)
	b = strconv.AppendBool(b, outcome == nhi.Allow)
	b = append(b, `,"context":{`...)
	if d.ID != "" {
		b = append(quote(append(b, `"evaluation_id":`...), d.ID), ',')
	}
	b = quote(append(b, `"outcome":`...), string(outcome))
	if d.WouldRefuse {
		b = append(b, `,"would_refuse":true`...)
	}
	if outcome == nhi.Allow && d.Glass != "" {
		b = quote(append(b, `,"break_glass":`...), d.Glass)
	}
	if outcome == nhi.Allow && d.Approval != "" {
		b = append(quote(append(b, `,"approval":{"id":`...), d.Approval), '}')
	}
	if outcome != nhi.Allow && len(d.Reasons) > 0 {
		b = append(b, `,"reason_admin":{"en":`...)
		b = quote(b, sentences(d.Reasons))
		b = append(b, `},"reason_user":{"en":`...)
		b = quote(b, "Muster refused this request. Its administrators can see why under "+d.ID+".")
		b = append(b, '}')
	}
	if len(d.Reasons) > 0 {
		b = append(b, `,"reasons":[`...)
		for i := range d.Reasons {
			b = appendReason(b, i, &d.Reasons[i])
		}
		b = append(b, ']')
	}
	if outcome == nhi.StepUp && len(d.Obligations) > 0 {
		b = append(b, `,"obligations":[`...)
		for i := range d.Obligations {
			b = appendObligation(b, i, &d.Obligations[i])
		}
		b = append(b, ']')
	}
	if x.reason != "" || x.ask != nil {
		b = x.append(b, d)
	}
	return append(b, `}}`...)
}

// An extra is what an answer says besides, by the profiles. The zero extra says
// nothing.
type extra struct {
	ask    *requestable // nil when nobody can lift it
	reason string       // why an approval that was presented is no help
	plain  bool         // the point cannot do what would unlock it
}

// outcome returns what the point is told. A step-up that it cannot make is a
// denial.
func (x *extra) outcome(d *nhi.Decision) nhi.Outcome {
	if o := enforce.Settle(d, false); o != nhi.StepUp || !x.plain {
		return o
	}
	return nhi.Deny
}

func (x *extra) append(b []byte, d *nhi.Decision) []byte {
	switch {
	case x.ask == nil:
		return quote(append(b, `,"next_action":"none","reason":`...), x.reason)
	case x.reason != "":
		return x.ask.append(append(b, `,"next_action":"request"`...), x.reason, d.At)
	}
	return x.ask.append(b, wanted, d.At)
}

// extra says what the answer to a question of a point has besides.
func (h *Handler) extra(e *environment, point *nhi.Point, d *nhi.Decision) (x extra) {
	outcome := enforce.Settle(d, false)
	if outcome == nhi.Allow {
		return x
	}
	x.plain = outcome == nhi.StepUp && !e.bears(d.Obligations)
	if h.c.Requests == nil {
		return x
	}
	if outcome == nhi.StepUp && !x.plain && len(d.Obligations) == 1 && d.Obligations[0].Kind == nhi.StepApprove {
		if a, ok := h.c.Requests.Open(d.Obligations[0].Value); ok {
			x.ask = &requestable{h.base + RequestsPath, a.Expires}
		}
	}
	if e == nil || e.Approval == nil {
		return x
	}
	a, ok := h.c.Requests.Open(e.Approval.ID)
	switch known := ok && a.Point == point.ID && a.State == nhi.ApprovalApproved; {
	case !known:
		x.reason = unverifiable
	case x.ask != nil:
		x.reason = outOfScope
	default:
		x.reason = policyDenied
	}
	return x
}

func appendReason(b []byte, i int, r *nhi.Reason) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	b = quote(append(b, `{"policy":`...), r.Policy)
	if r.Position != "" {
		b = quote(append(b, `,"position":`...), r.Position)
	}
	b = quote(append(b, `,"text":`...), r.Text)
	b = quote(append(b, `,"effect":`...), r.Effect)
	return append(b, '}')
}

func appendFailure(b []byte, f *failure) []byte {
	b = append(b, `{"decision":false,"context":{"error":{"status":`...)
	b = strconv.AppendInt(b, int64(f.Status), 10)
	b = quote(append(b, `,"message":`...), f.Message)
	return append(b, `}}}`...)
}

// quote appends s as a JSON string. Bytes that are no UTF-8 are replaced, which
// is what the error would tell.
func quote(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

func sentences(reasons []nhi.Reason) string {
	out := ""
	for i := range reasons {
		if i > 0 {
			out += "; "
		}
		if text := reasons[i].Text; text != "" {
			out += text
		} else {
			out += reasons[i].Policy
		}
	}
	return out
}

// fail answers with an error message string (section 10.1.4 of AuthZEN 1.0).
func fail(w http.ResponseWriter, status int, why string) { send(w, status, quote(nil, why)) }

func send(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(body)
}
