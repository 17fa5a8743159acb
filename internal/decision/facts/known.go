package facts

import (
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
)

// maxAliases bounds a chain of merged identities.
const maxAliases = 4

// Know implements decision.Facts with the current snapshot.
func (f *Facts) Know(q *nhi.Question, now time.Time) decision.Standing {
	return f.know(f.Snapshot(), q, now)
}

// Pin implements decision.Facts.
func (f *Facts) Pin() decision.Facts { return &pinned{f, f.Snapshot()} }

// pinned is one generation of Facts. How old it is, Facts tell.
type pinned struct {
	facts *Facts
	at    *Snapshot
}

func (p *pinned) Know(q *nhi.Question, now time.Time) decision.Standing {
	return p.facts.know(p.at, q, now)
}

func (p *pinned) Generation() nhi.Generation { return p.at.generation }

func (p *pinned) Pin() decision.Facts { return p }

// know fills in q.Known from s.
func (f *Facts) know(s *Snapshot, q *nhi.Question, now time.Time) decision.Standing {
	q.Known.FactsAge = f.Age(now)
	s.knowIdentity(q)
	s.knowCredential(q, now)
	s.knowResource(q)
	stands := decision.Standing{Generation: s.generation}
	stands.Point, stands.PointKnown = s.points[q.Point]
	return stands
}

// knowIdentity fills in what is known of who asks. A merged identity is
// followed to the one that lives on, which becomes the subject.
func (s *Snapshot) knowIdentity(q *nhi.Question) {
	_, r := s.follow(&q.Subject.Identity)
	if r == nil {
		return
	}
	k := &q.Known
	k.Identity = true
	k.Kind, k.IdentityState = nhi.Kind(s.words[r.kind]), nhi.State(s.words[r.state])
	k.Owned = s.words[r.owner] != ""
	k.IdentityEnvironment = nhi.Environment{Name: s.words[r.environment], Class: nhi.Class(s.words[r.class])}
	k.Risk = int(r.risk)
	if k.IdentityState == "" { // stored without a state
		k.IdentityState = nhi.Active
	}
}

// follow looks an identity up and goes on along its aliases. name becomes the
// identity that lives on. A chain that is too long, or leads nowhere, finds
// nothing.
func (s *Snapshot) follow(name *nhi.ID) (*shard, *identityRecord) {
	at := *name
	for range maxAliases {
		sh, r := s.lookIdentity(at)
		if r == nil {
			return nil, nil
		}
		if r.flags&flagAliased == 0 {
			*name = at
			return sh, r
		}
		at = sh.oddIdentities[r.key].alias
	}
	return nil, nil
}

// assumedResource is the sensitivity of a resource that nobody named.
var assumedResource = nhi.AssumedSensitivity(nhi.ClassUnknown)

// knowCredential fills in what is known of what was presented. A credential
// that is named but not known, or that belongs to somebody else, has no state,
// and a credential without a state is dead.
func (s *Snapshot) knowCredential(q *nhi.Question, now time.Time) {
	att, k := &q.Subject, &q.Known
	k.Revoked = s.Revoked(*att)
	k.Expired = !att.Expires.IsZero() && !now.Before(att.Expires)
	if att.Credential == "" {
		k.Attestation = att.Attestation
		return
	}
	k.Credential = true
	sh, r := s.lookCredential(att.Credential)
	if r == nil || !s.belongs(sh, r, att.Identity) {
		return
	}
	k.CredentialState = nhi.CredentialState(s.words[r.state])
	if r.expires != 0 && now.UnixMicro() >= r.expires {
		k.Expired = true
	}
	var consumer nhi.ID
	if r.flags&flagConsumer != 0 {
		consumer = sh.oddCredentials[r.key].consumer
	}
	k.Pinned = consumer != ""
	if consumer == "" && k.CredentialState == nhi.CredentialNarrowed {
		consumer = att.Identity // narrowed to its own attestation
	}
	k.ConsumerProven = consumer != "" && s.proven(att, consumer)
	if k.ConsumerProven {
		k.Attestation = att.ConsumerAttestation
	} else {
		// What was done with the key alone is not held against the workload that
		// proves itself beside it: else a thief, refused as he is, could have
		// the rightful holder refused as well.
		k.Risk = max(k.Risk, int(r.risk))
	}
}

// belongs reports whether the credential is one of who's.
func (s *Snapshot) belongs(sh *shard, r *credentialRecord, who nhi.ID) bool {
	if key, isOdd := nhi.NumberOf(string(who), identityPrefix); !isOdd && r.flags&flagOddIdentity == 0 && r.identity == key {
		return true
	}
	holder := s.credential(sh, r).Identity
	if _, rec := s.follow(&holder); rec == nil {
		return false
	}
	return holder == who
}

// proven reports whether whoever proved itself beside the credential is the
// consumer and may act, by a token that was not revoked.
func (s *Snapshot) proven(att *nhi.Attested, consumer nhi.ID) bool {
	attested := att.Consumer
	if attested == "" {
		return false
	}
	_, a := s.follow(&attested)
	_, c := s.follow(&consumer)
	if a == nil || c == nil || attested != consumer {
		return false
	}
	by := &att.ConsumerProof
	return nhi.State(s.words[a.state]) != nhi.Quarantined &&
		!s.Revoked(nhi.Attested{Identity: attested, KeyID: by.KeyID, Thumbprint: by.Thumbprint, IssuedAt: by.IssuedAt})
}

// knowResource fills in what is known of what is accessed. A route may raise
// the sensitivity, never lower it.
func (s *Snapshot) knowResource(q *nhi.Question) {
	k := &q.Known
	k.Sensitivity = assumedResource
	if r, ok := s.Resource(q.Resource); ok {
		k.Resource = !r.Assumed
		k.Sensitivity = r.Sensitivity
		if r.Assumed {
			k.Sensitivity = nhi.AssumedSensitivity(r.Environment.Class)
		}
		k.ResourceEnvironment = r.Environment
		k.Service, k.Region, k.Jurisdiction = r.Service, r.Region, r.Jurisdiction
	} else {
		k.ResourceEnvironment.Class = nhi.ClassUnknown
	}
	k.Sensitivity = min(max(k.Sensitivity, q.RouteSensitivity, 0), nhi.MaxSensitivity)
}
