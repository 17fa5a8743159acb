package proxy

import (
	"net/http"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// A Protocol decides about what requests carry inside, in place of the decision
// about the request as a whole.
type Protocol interface {
	// Serve has what r asks for judged, and calls carry with what passes; else it
	// answers itself. While carry runs, it may call it again with a request of its
	// own, which answers what the application asked. It never lets through what was
	// not judged.
	Serve(w http.ResponseWriter, r *http.Request, asking *enforce.Asking, carry enforce.Carry)
}

// within has the protocol decide.
func (h *Handler) within(w http.ResponseWriter, r *http.Request) {
	point, ok := h.point()
	if !ok {
		unknown := enforce.Verdict{Outcome: nhi.Deny, Reasons: []string{"point-unauthenticated"}}
		unknown.Refuse(w)
		return
	}
	asking := h.asking(r, &point)
	came := asking
	h.c.Protocol.Serve(w, r, &asking, func(w http.ResponseWriter, r *http.Request, v *enforce.Verdict) {
		if v.Outcome != nhi.Allow {
			v.Refuse(w)
			return
		}
		body, trouble := h.digest(r) // of what goes on, which may be less than what came
		if trouble != nil {
			fail(w, trouble.status, trouble.reason, trouble.text)
			return
		}
		verdict, passed := h.pass(&came, r.Method, v, body)
		if passed == nil {
			verdict.Refuse(w)
			return
		}
		h.carry(w, r, verdict, passed)
	})
}

// asking is the question about a request as a whole.
func (h *Handler) asking(r *http.Request, point *nhi.Point) enforce.Asking {
	asking := enforce.Asking{Point: point, Header: r.Header, Original: original(r)}
	if r.TLS != nil {
		asking.Certificates = r.TLS.PeerCertificates
	}
	return asking
}

// pass says what the application is told of a request that v lets through. When
// that cannot be said, the request does not pass. It goes on with method, which is
// another one where what the application asked on the caller's stream is answered.
func (h *Handler) pass(asked *enforce.Asking, method string, v *enforce.Verdict, body enforce.Body) (*enforce.Verdict, *passage) {
	var evidence nhi.Evidence
	if v.Subject != nil && v.Subject.Credential == "" {
		evidence, _ = asked.Evidence(time.Now()) // it was plain, or nobody had proved anything
	}
	sent := asked.Original
	sent.Method = method
	if h.s.Upstream.Host != "" {
		sent.Host = h.s.Upstream.Host
	}
	decision, err := h.c.Asserter.Tell(asked.Point, &sent, v, body)
	if err != nil {
		h.c.Log.Error("a decision could not be asserted: denied", "point", h.s.Point, "error", err)
		unsigned := enforce.Unasserted(v)
		return &unsigned, nil
	}
	return v, &passage{identity: v.Caller(), decision: decision, evidence: evidence}
}
