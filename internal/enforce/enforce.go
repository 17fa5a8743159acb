// Package enforce is where a decision bites: enforcement points, the routes
// that translate requests into resources and actions, and the few rules that
// every way of asking shares. The ways themselves are leaf folders: forwardauth
// for proxies that ask about each request over HTTP, extauthz for Envoy's gRPC
// protocol, authzen for callers that speak the OpenID AuthZEN protocol, kubernetes
// for the webhooks of an API server. What those share that ask about a whole HTTP
// request is [Judge].
//
// A question reaches a decision in four steps, and each fails closed:
//
//  1. [Points] finds out which enrolled point is asking. A point is an identity
//     itself: it proves itself with its own key and speaks only from its trusted
//     addresses. Nobody else is answered, on loopback neither.
//  2. [Routes] translates method, host and path to a resource, an action class
//     and a named operation. The most specific route wins whatever the order of
//     the file, no match denies, and so does every path that two programs could
//     read in two ways.
//  3. A [Verifier] turns what the caller presented into who it proved to be.
//  4. A [Decider] answers. It also applies the mode of the point: one that only
//     observes is told to let pass what it would have refused.
//
// What is refused in step 2 or 3 is put to the Decider all the same, with the
// unproven part empty. So it is in the decision log, and a point that observes
// breaks nothing. [Settle] keeps the other direction closed: such a question
// is never allowed on its merits, whatever the Decider says.
//
// Everything here reads memory only: no file, no lock that waits, no network.
package enforce

import (
	"context"
	"net/http"
	"net/netip"
	"slices"

	"github.com/muster-id/muster/internal/nhi"
)

// A Verifier turns evidence into who presented it. It reads memory only. An
// error wraps nhi.ErrDenied when the evidence proves nothing; the caller is
// then unknown. Whether the credential is still good is not its business.
type Verifier interface {
	Verify(ctx context.Context, evidence nhi.Evidence) (nhi.Attested, error)
}

// A Decider answers questions. It never fails: an error inside is a denial
// with a reason. It fills Question.Known, applies the mode of the point and
// records the decision before it returns.
type Decider interface {
	Decide(ctx context.Context, question *nhi.Question) nhi.Decision
}

// Guards reports whether a point may ask about a resource. A point without a
// list guards everything; no point guards the resource without a name.
func Guards(point *nhi.Point, resource string) bool {
	return resource != "" && (len(point.Resources) == 0 || slices.Contains(point.Resources, resource))
}

// Settle returns the outcome that a point must act on. Refused says that the
// question was hopeless before it was asked (no route, no proof, not guarded
// by the point): then only a point that observes lets it pass, and the Decider
// says so with WouldRefuse. An unknown outcome denies.
func Settle(decision *nhi.Decision, refused bool) nhi.Outcome {
	switch {
	case decision.Outcome == nhi.Allow && (!refused || decision.WouldRefuse):
		return nhi.Allow
	case decision.Outcome == nhi.StepUp && !refused:
		return nhi.StepUp
	default:
		return nhi.Deny
	}
}

// ACR names what would unlock a step-up, as an authentication context class
// (RFC 9470, section 3). It is empty for what a caller cannot obtain by
// itself, such as a person's approval.
func ACR(kind nhi.StepUpKind) string {
	switch kind {
	case nhi.StepBind, nhi.StepNarrow:
		return "urn:muster:acr:bound"
	case nhi.StepReattest:
		return "urn:muster:acr:attested"
	default:
		return ""
	}
}

// Single returns the value of a header that must occur at most once. It is
// not ok when the header is repeated, longer than limit bytes, or holds a
// control character: two programs might then read two things. An absent
// header is the empty string, ok. The name must be in canonical form.
func Single(header http.Header, name string, limit int) (value string, ok bool) {
	values := header[name]
	if len(values) == 0 {
		return "", true
	}
	if len(values) > 1 || !Plain(values[0], limit) {
		return "", false
	}
	return values[0], true
}

// Plain reports whether s has at most limit bytes and no control character.
func Plain(s string, limit int) bool { return len(s) <= limit && !hasControl(s) }

// Remote returns the address of the connection that a request came on; the
// zero value, which nobody trusts, when it has none.
func Remote(r *http.Request) netip.AddrPort {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	return remote
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return true
		}
	}
	return false
}
