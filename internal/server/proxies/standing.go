package proxies

import (
	"context"
	"time"

	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/attest/svid"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// standing implements proxy.Standing: what a containment, a revocation or a
// quarantine takes away, it takes from what runs, too, and so does whoever no longer
// believes another issuer or trust domain. A change of policy or of routes is for the
// next request.
type standing struct {
	point    func() (nhi.Point, bool) // that let it through
	facts    *facts.Facts
	verifier enforce.Verifier
	changed  func() <-chan struct{}
}

func (s standing) Changed() <-chan struct{} { return s.changed() }

func (s standing) Withdrawn(ctx context.Context, subject *nhi.Attested, evidence *nhi.Evidence) bool {
	q := nhi.Question{Subject: *subject}
	s.facts.Know(&q, time.Now())
	k := &q.Known
	if k.Revoked {
		return true
	}
	if k.Identity {
		switch k.IdentityState {
		case nhi.Active, nhi.Dormant, nhi.Deprecated:
		default:
			return true
		}
	}
	switch {
	case subject.Credential == "":
		return !s.believed(ctx, subject, evidence)
	case k.CredentialState == nhi.CredentialActive:
		return k.Expired || s.deserted(subject, k)
	case k.CredentialState == nhi.CredentialNarrowed:
		// A narrowed one works for its own workload alone, which proved itself when
		// the request began.
		return k.Expired || !k.ConsumerProven
	}
	return true
}

// deserted reports whether a key that is pinned to a workload is used without that
// workload's proof. A point that observes let that pass, and lets it go on, unless
// it was the workload itself that proved itself when the request began.
func (s standing) deserted(subject *nhi.Attested, k *nhi.Known) bool {
	if !k.Pinned || k.ConsumerProven {
		return false
	}
	if p, known := s.point(); !known || p.Enforces(subject.Identity) {
		return true
	}
	at := s.facts.Snapshot()
	credential, ok := at.Credential(subject.Credential)
	return ok && subject.Consumer != "" && at.Living(credential.Consumer) == at.Living(subject.Consumer)
}

// believed reports whether what another issuer or trust domain said would name the
// same identity if it were shown for the first time, at the time that it was. Our own
// tokens are revoked among the facts, and their proofs are good once.
func (s standing) believed(ctx context.Context, subject *nhi.Attested, evidence *nhi.Evidence) bool {
	if subject.Method != oidc.Method.Name && subject.Method != svid.Method.Name {
		return true
	}
	shown := *evidence
	shown.Attestation, shown.Proof = "", ""
	attested, err := s.verifier.Verify(ctx, shown)
	if err != nil {
		return false
	}
	at := s.facts.Snapshot()
	return at.Living(attested.Identity) == at.Living(subject.Identity)
}
