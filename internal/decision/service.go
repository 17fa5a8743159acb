package decision

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Config is what a Service is made of. Facts, Policies and Log are required.
type Config struct {
	Facts    Facts
	Policies Policies
	Log      Record
	// InForce returns the policies that are in force now, as a value that never
	// changes, so that questions asked together are ruled by one set. Nil means
	// that Policies are asked each time.
	InForce func() Policies
	// Approvals has people asked. Nil means that nobody can be: a step-up that
	// wants a person's approval stays one.
	Approvals Approvals
	// Glass returns the serial of the break-glass code that a point is open by at
	// a time, empty when it is not open. It must not block. Nil: none ever is.
	Glass func(point nhi.ID, now time.Time) string
	// Places, Pages and Behaviour add what they know; nil knows nothing.
	Places    Places
	Pages     Pages
	Behaviour Behaviour
	Settings  Settings
}

// A Service decides. It is safe for concurrent use.
type Service struct {
	c        Config // its Settings are those of the start
	settings atomic.Pointer[Settings]

	panics atomic.Int64
	errors atomic.Int64
}

// NewService returns a Service. The error wraps nhi.ErrInvalid and names what
// is missing or out of range.
func NewService(c Config) (*Service, error) {
	switch {
	case c.Facts == nil:
		return nil, nhi.Invalidf("decision service without facts")
	case c.Policies == nil:
		return nil, nhi.Invalidf("decision service without policies")
	case c.Log == nil:
		return nil, nhi.Invalidf("decision service without a log")
	}
	s := &Service{c: c}
	return s, s.Configure(c.Settings)
}

// Configure puts other settings in force: a decision is made wholly under the
// old ones or wholly under the new ones. How many decisions are kept in memory
// stays. The error wraps nhi.ErrInvalid.
func (s *Service) Configure(settings Settings) error {
	if err := settings.Validate(); err != nil {
		return err
	}
	settings = settings.WithDefaults()
	s.settings.Store(&settings)
	return nil
}

// Panics returns how many decisions ended in a panic and denied.
func (s *Service) Panics() int64 { return s.panics.Load() }

// PolicyErrors returns how many policies erred while they were evaluated. It
// should stay 0; a rising number asks for a look at the policies.
func (s *Service) PolicyErrors() int64 { return s.errors.Load() }

// Bounds on text that callers choose, in bytes. What is longer is cut; a
// resource with a longer name is none.
const (
	maxOperation = 256
	maxName      = 256
	maxAgent     = 512
)

// Decide answers q. It fills in q.Known (whatever was there is overwritten),
// clamps q.At to the present, records the answer and returns it. It never
// fails: what goes wrong inside is a denial with a reason. It waits for the
// journal only for an allow that must be on record first, see the package
// comment. q belongs to the caller again when Decide has returned.
func (s *Service) Decide(ctx context.Context, q *nhi.Question) nhi.Decision {
	start := time.Now()
	sitting := sitting{service: s, facts: s.c.Facts, policies: s.c.Policies, settings: s.settings.Load(), now: start}
	var d nhi.Decision
	sitting.decide(q, &d)
	d.Latency = time.Since(start)
	s.record(ctx, &d)
	return d
}

// sanitise bounds and corrects what the point filled in.
func sanitise(q *nhi.Question, now time.Time) {
	q.Known = nhi.Known{}
	q.Operation, q.Agent = cut(q.Operation, maxOperation), cut(q.Agent, maxAgent)
	if len(q.Resource) > maxName { // cut, it could be the name of another
		q.Resource = ""
	}
	q.Subject.KeyID, q.Subject.Method = cut(q.Subject.KeyID, maxName), cut(q.Subject.Method, maxName)
	if skew := now.Sub(q.At); skew < -5*time.Minute || skew > 5*time.Minute { // the zero time as well
		q.At = now
	}
	q.Address = q.Address.Unmap().WithZone("")
	switch s := &q.Subject; {
	case s.Asserted: // what a point claims proves nothing to us
		s.Assurance, s.SenderBound, s.Thumbprint, s.Consumer = nhi.AssuranceStatic, false, "", ""
		s.Attestation, s.ConsumerAttestation, s.ConsumerProof, s.Purpose, s.Actors = nil, nil, nhi.Proof{}, "", nil
	case s.Assurance < nhi.AssuranceStatic || s.Assurance > nhi.AssuranceAttested:
		s.Assurance = nhi.AssuranceStatic
	}
}

// cut returns a copy of what is left, because policies remember it and would hold
// all of s.
func cut(s string, n int) string {
	if len(s) > n {
		return strings.Clone(s[:n])
	}
	return s
}

// purpose returns what a request is for: what its credential was issued for, or
// what its route serves. When both say something and it differs, nothing is
// proven.
func purpose(q *nhi.Question) string {
	granted, routed := q.Subject.Purpose, q.RoutePurpose
	switch {
	case granted == "" || granted == routed:
		return routed
	case routed == "":
		return granted
	}
	return ""
}

func reason(id, text string) nhi.Reason {
	return nhi.Reason{Policy: id, Text: text, Effect: "forbid"}
}

func refusal(id, text string) nhi.Ruling {
	return nhi.Ruling{Outcome: nhi.Deny, Reasons: []nhi.Reason{reason(id, text)}}
}

// dead reports whether what was presented is refused everywhere, at points
// that observe too.
func dead(k *nhi.Known) bool {
	return k.Identity && k.IdentityState == nhi.Quarantined ||
		k.Credential && k.CredentialState.Dead() || k.Expired || k.Revoked
}

// describe makes the decision that a ruling amounts to.
func describe(q *nhi.Question, stands *Standing, ruling *nhi.Ruling) nhi.Decision {
	k := &q.Known
	d := nhi.Decision{
		Outcome: ruling.Outcome, Reasons: ruling.Reasons, Generation: stands.Generation, Policy: ruling.Digest,
		Point: q.Point, Identity: q.Subject.Identity, Credential: q.Subject.Credential, KeyID: q.Subject.KeyID,
		Method: q.Subject.Method, Assurance: q.Subject.Assurance, SenderBound: q.Subject.SenderBound, Asserted: q.Subject.Asserted, Consumer: k.ConsumerProven,
		Action: q.Action, Operation: q.Operation, Resource: q.Resource, Sensitivity: k.Sensitivity,
		Address: q.Address, Country: k.Country, ASN: k.ASN, Network: k.Network, Agent: k.AgentFamily,
		Risk: k.Risk, Surprise: k.Surprise, Features: k.Features,
	}
	if ruling.Outcome == nhi.Allow && k.Approval != nil {
		d.Approval = k.Approval.ID
	}
	if ruling.Outcome == nhi.StepUp {
		for _, kind := range ruling.StepUp {
			d.Obligations = append(d.Obligations, nhi.Obligation{Kind: kind})
		}
	}
	return d
}

// applyMode lets a point that observes pass what it would have refused, unless
// it is dead. A question without a known point is enforced.
func applyMode(stands *Standing, q *nhi.Question, d *nhi.Decision) {
	if d.Outcome == nhi.Allow || dead(&q.Known) {
		return
	}
	if !stands.PointKnown || stands.Point.Disabled || stands.Point.Enforces(q.Subject.Identity) {
		return
	}
	d.Outcome, d.WouldRefuse, d.Obligations = nhi.Allow, true, nil
}

// record puts the decision on record. An allow that must be durable first and
// is not becomes a denial.
func (s *Service) record(ctx context.Context, d *nhi.Decision) {
	if d.Outcome == nhi.Allow && d.Approval != "" {
		if err := s.spend(ctx, d); err != nil {
			d.Outcome, d.Approval = nhi.Deny, ""
			d.Reasons = append(d.Reasons, reason(approvalUnavailable, "The approval could not be used up, so it is denied: it was used, it has expired, or it cannot be put on record."))
		}
	}
	if d.Outcome != nhi.Allow || !s.logFirst(d) {
		s.c.Log.Add(d)
		return
	}
	if ctx.Err() == nil && s.c.Log.AddDurably(d) == nil {
		return
	}
	switch {
	case d.WouldRefuse: // the point only observes: it is told, not stopped
		d.Reasons = append(d.Reasons, reason(logUnavailable, "The decision could not be put on record."))
	case d.Glass != "":
		d.Outcome, d.Glass = nhi.Deny, ""
		d.Reasons = append(d.Reasons, reason(glassUnrecorded, "The point is open by a break-glass code, but what it lets pass must be on record first and could not be, so it is denied."))
	default:
		d.Outcome = nhi.Deny
		d.Reasons = append(d.Reasons, reason(logUnavailable, "The decision could not be put on record first, so it is denied."))
	}
	s.c.Log.Add(d)
}

// spend uses up the approval that lets d pass.
func (s *Service) spend(ctx context.Context, d *nhi.Decision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.c.Approvals.Spend(ctx, d.Approval, d.ID)
}

// logFirst reports whether an allow must be durable before it is given.
func (s *Service) logFirst(d *nhi.Decision) bool {
	return d.Approval != "" || d.Glass != "" || d.Sensitivity >= s.settings.Load().LogFirst || d.Action == nhi.Issue || d.Action == nhi.Exchange || d.Action == nhi.Assume
}
