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
func appendAnswer(b []byte, d *nhi.Decision) []byte {
	outcome := enforce.Settle(d, false)
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
	return append(b, `}}`...)
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

// obligationTypes are the types of the obligations profile that answers use.
var obligationTypes = []string{"step-up", "custom"}

// appendObligation appends what would unlock a step-up: our own step in the
// words of the profile, with the authentication context class where there is
// one.
func appendObligation(b []byte, i int, step *nhi.Obligation) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	class := enforce.ACR(step.Kind)
	kind := obligationTypes[0]
	if class == "" {
		kind = obligationTypes[1]
	}
	b = quote(append(b, `{"id":`...), "step-up-"+string(step.Kind))
	b = quote(append(b, `,"type":`...), kind)
	b = quote(append(b, `,"properties":{"kind":`...), string(step.Kind))
	if class != "" {
		b = quote(append(b, `,"acr_value":`...), class)
	}
	if step.Value != "" {
		b = quote(append(b, `,"value":`...), step.Value)
	}
	return append(b, `}}`...)
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
