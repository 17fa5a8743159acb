package agent

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/attest/svid"
	"github.com/muster-id/muster/internal/builtin"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/force"
)

// leaseSensitivity is the sensitivity from which an allow needs a lease.
const leaseSensitivity = 2

// A lease says until when the point may allow what is sensitive. The zero lease is
// over.
type lease struct{ asked atomic.Pointer[time.Time] }

// grant begins a lease that was asked for at a time: before the question was sent.
func (l *lease) grant(asked time.Time) { l.asked.Store(&asked) }

// left returns how long the lease lasts at now; not positive when it is over. Of
// the clock that only goes forward and the time of day, the one counts that says
// less: the former may stand still while a machine sleeps, and the latter may be
// set back.
func (l *lease) left(now time.Time) time.Duration {
	asked := l.asked.Load()
	if asked == nil {
		return 0
	}
	return feed.Lease - max(now.Sub(*asked), now.Round(0).Sub(asked.Round(0)))
}

// A brain is what decisions follow from besides facts: policies, the keys of
// tokens, and the lease. It implements decision.Policies, enforce.Verifier,
// attest.Foreign, attest.Certificates and jose.KeyFinder. The zero one denies.
type brain struct {
	facts *facts.Facts
	lease *lease
	mind  atomic.Pointer[mind]
}

// A mind is one basis. It never changes.
type mind struct {
	policies *force.Pair
	keys     *jose.KeySet
	foreign  *oidc.Direct
	domains  *svid.Set
	settings decision.Settings
	issuer   string
	verifier *attest.Verifier
}

func newBrain(f *facts.Facts, l *lease) *brain { return &brain{facts: f, lease: l} }

// read makes a mind of a basis. Proofs and tokens that were seen stay known as
// long as the issuer is the same.
func (b *brain) read(basis *feed.Basis) (*mind, error) {
	m := &mind{issuer: basis.Issuer}
	var guards policy.Settings
	err := json.Unmarshal(basis.Guards, &guards)
	if err == nil {
		err = json.Unmarshal(basis.Settings, &m.settings)
	}
	if err == nil {
		err = m.settings.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("read what the server decides by: %w", err)
	}
	if m.policies, err = policiesOf(guards, basis); err != nil {
		return nil, fmt.Errorf("read the server's policies: %w", err)
	}
	if m.keys, err = jose.ParseJWKS(basis.Keys); err != nil {
		return nil, fmt.Errorf("read the keys of the server's tokens: %w", err)
	}
	if m.foreign, err = oidc.ParseDirect(basis.Issuers); err != nil {
		return nil, fmt.Errorf("read whose tokens are used at points: %w", err)
	}
	if m.domains, err = svid.ParseSet(basis.Domains); err != nil {
		return nil, fmt.Errorf("read whose certificates are believed: %w", err)
	}
	if old := b.mind.Load(); old != nil && old.issuer == m.issuer {
		m.verifier = old.verifier
	} else {
		m.verifier = attest.New(attest.Deps{Credentials: b.facts, Keys: b, Issuer: m.issuer, Foreign: b, Certificates: b}, builtin.Methods...)
	}
	return m, nil
}

// policiesOf loads what decides here, for a share of the principals too.
func policiesOf(guards policy.Settings, basis *feed.Basis) (*force.Pair, error) {
	set, err := policy.Load(guards, basis.Policies)
	if err != nil {
		return nil, err
	}
	p := &force.Pair{Side: force.Side{Set: set}}
	n := basis.Next
	if n == nil {
		return p, nil
	}
	if n.Percent < 1 || n.Percent > 99 || len(n.Key) != force.KeySize {
		return nil, nhi.Invalidf("a share of %d percent by a key of %d bytes", n.Percent, len(n.Key))
	}
	p.Share = force.Share{Percent: n.Percent, Key: [force.KeySize]byte(n.Key)}
	p.Rival.Set, err = set.Next(guards, n.Policies)
	return p, err
}

// Key implements jose.KeyFinder.
func (b *brain) Key(kid, alg string) (crypto.PublicKey, bool) {
	if m := b.mind.Load(); m != nil {
		return m.keys.Key(kid, alg)
	}
	return nil, false
}

// issuer is the URL that the server's tokens name; empty while it is not known.
func (b *brain) issuer() string {
	if m := b.mind.Load(); m != nil {
		return m.issuer
	}
	return ""
}

// VerifyToken implements attest.Foreign.
func (b *brain) VerifyToken(token, audience, origin string, now time.Time) (nhi.Attested, error) {
	if m := b.mind.Load(); m != nil {
		return m.foreign.VerifyToken(token, audience, origin, now)
	}
	return nhi.Attested{}, attest.ErrOther
}

// VerifyCertificate implements attest.Certificates.
func (b *brain) VerifyCertificate(leaf *x509.Certificate, between []*x509.Certificate, now time.Time) (nhi.Attested, error) {
	if m := b.mind.Load(); m != nil {
		return m.domains.VerifyCertificate(leaf, between, now)
	}
	return nhi.Attested{}, attest.ErrOther
}

// tells reports whether a point may tell which certificate its caller showed.
func (b *brain) tells(point *nhi.Point) bool {
	m := b.mind.Load()
	return m != nil && m.domains.Tells(point)
}

// forwards reports whether a point tells it in X-Forwarded-Client-Cert.
func (b *brain) forwards(point *nhi.Point) bool {
	m := b.mind.Load()
	return m != nil && m.domains.Forwards(point)
}

// Verify implements enforce.Verifier.
func (b *brain) Verify(ctx context.Context, e nhi.Evidence) (nhi.Attested, error) {
	m := b.mind.Load()
	if m == nil {
		return nhi.Attested{}, fmt.Errorf("verify evidence: nothing is known here yet: %w", nhi.ErrDenied)
	}
	return m.verifier.Verify(ctx, e)
}

// Evaluate implements decision.Policies.
func (b *brain) Evaluate(q *nhi.Question) nhi.Ruling { return pinned{b, b.mind.Load()}.Evaluate(q) }

// inForce returns the policies that are in force now, as a value that does not
// change.
func (b *brain) inForce() decision.Policies { return pinned{b, b.mind.Load()} }

// pinned is a brain with one mind.
type pinned struct {
	brain *brain
	mind  *mind
}

// Evaluate says what policy says, and denies what cannot be answered for here.
func (p pinned) Evaluate(q *nhi.Question) nhi.Ruling {
	if p.mind == nil {
		return refused(nhi.Ruling{}, "state-none", "The point has heard nothing from its server yet, so it is denied.")
	}
	ruling := p.mind.policies.Evaluate(q)
	switch {
	case ruling.Outcome != nhi.Allow && ruling.Outcome != nhi.StepUp:
		return ruling
	case slices.Contains(ruling.StepUp, nhi.StepApprove):
		return refused(ruling, "approval-unreachable", "People would have to approve it, and they cannot be asked from this point, so it is denied.")
	case q.Known.Sensitivity >= leaseSensitivity && p.brain.lease.left(time.Now()) <= 0:
		return refused(ruling, "lease-none", "The point cannot be told by its server to stop, so access to a sensitive resource is denied.")
	}
	return ruling
}

// refused makes a denial of a ruling.
func refused(r nhi.Ruling, id, text string) nhi.Ruling {
	r.Outcome, r.StepUp = nhi.Deny, nil
	r.Reasons = append(slices.Clone(r.Reasons), nhi.Reason{Policy: id, Text: text, Effect: "forbid"})
	return r
}
