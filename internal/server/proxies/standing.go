package proxies

import (
	"time"

	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/nhi"
)

// standing implements proxy.Standing over the facts: what a containment, a
// revocation or a quarantine takes away, it takes from what runs, too. A change
// of policy or of routes is for the next request.
type standing struct {
	facts   *facts.Facts
	changed func() <-chan struct{}
}

func (s standing) Changed() <-chan struct{} { return s.changed() }

func (s standing) Withdrawn(subject *nhi.Attested) bool {
	at := s.facts.Snapshot()
	if at.Revoked(*subject) {
		return true
	}
	if identity, ok := at.Identity(subject.Identity); ok {
		switch identity.State {
		case "", nhi.Active, nhi.Dormant, nhi.Deprecated:
		default:
			return true
		}
	}
	if subject.Credential == "" {
		return false
	}
	credential, ok := at.Credential(subject.Credential)
	if !ok {
		return true
	}
	switch credential.State {
	case nhi.CredentialActive:
		return !credential.Expires.IsZero() && !time.Now().Before(credential.Expires)
	case nhi.CredentialNarrowed:
		// A narrowed one works for its own workload alone, which proved itself when
		// the request began.
		q := nhi.Question{Subject: *subject}
		s.facts.Know(&q, time.Now())
		return !q.Known.ConsumerProven || q.Known.Expired
	}
	return true
}
