// Package oidc verifies the identity tokens that platforms give their
// workloads: GitHub Actions, GitLab CI, Kubernetes service accounts, and any
// other OpenID Connect issuer. The issuer exchanges such a token for one of
// Muster's own. At points it is accepted as it is only where its rule says so: it
// is bound to no key, so whoever is shown it can use it, and an exchange is better
// wherever the workload can do one. There it must be for the very service that is
// asked, or for Muster itself ([Rule.Origins]), and points do not wait for keys:
// [Trust.Run] has them at hand ([Direct]).
//
// Which tokens are believed is written in trust.yaml, a list of [Rule]s. A
// rule names one issuer, the audience that the token must be for, and claims
// that pin one workload. Claims are compared exactly, through dotted paths
// ("kubernetes.io.serviceaccount.name"); a list allows several values. A rule
// that anybody at the issuer could meet is refused when it is loaded.
//
// The issuer's keys come from its jwks_uri or by discovery, over https (http
// only on loopback), within limits of size and time, from nowhere else than a
// rule says. They are kept for ten minutes and, while the issuer cannot be reached,
// for a day.
package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// leeway is what the clocks of an issuer and of Muster may differ by.
const leeway = 30 * time.Second

// Options change how issuers are reached. The zero value is good.
type Options struct {
	// Roots are the certificate authorities of issuers; nil: the system's.
	Roots *x509.CertPool
}

// A Trust verifies tokens by rules. It is safe for concurrent use.
type Trust struct {
	base  *http.Transport
	rules atomic.Pointer[ruleSet]
	seen  memory

	publishing sync.Mutex // one makes the next Direct at a time; guards changed
	changed    func()     // nil: nobody wants to know
	direct     atomic.Pointer[Direct]
	wanted     chan struct{} // keys are looked for that are not here
}

// A ruleSet is immutable. Keys live on in the next one.
type ruleSet struct {
	byIssuer map[string][]Rule
	keys     map[keySource]*issuerKeys
	accounts map[accountKey][]Rule // of clusters
}

// A keySource names keys: two rules of one issuer share them when they say the
// same about where they are.
type keySource struct{ issuer, jwksURI string }

// A Subject is who a token proved to be, and by which rule.
type Subject struct {
	Attested nhi.Attested
	Rule     Rule // owned by the Trust: do not change its maps
}

// New returns a Trust with rules, each of which must pass Rule.Check.
func New(rules []Rule, o Options) (*Trust, error) {
	t := &Trust{wanted: make(chan struct{}, 1), base: &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
		TLSHandshakeTimeout: fetchTimeout,
		IdleConnTimeout:     time.Minute,
		MaxIdleConns:        16,
		ForceAttemptHTTP2:   true,
	}}
	return t, t.Set(rules)
}

// Set replaces the rules. On an error, which wraps nhi.ErrInvalid, the old
// ones stay. Keys that were fetched are kept.
func (t *Trust) Set(rules []Rule) error {
	old := t.rules.Load()
	next := &ruleSet{byIssuer: make(map[string][]Rule), keys: make(map[keySource]*issuerKeys), accounts: make(map[accountKey][]Rule)}
	for i := range rules {
		if err := rules[i].Check(); err != nil {
			return err
		}
		r := rules[i]
		if r.SPIFFE != "" {
			continue // about certificates
		}
		next.byIssuer[r.Issuer] = append(next.byIssuer[r.Issuer], r)
		for _, key := range r.accountKeys() {
			next.accounts[key] = append(next.accounts[key], r)
		}
		source := keySource{r.Issuer, r.JWKSURI}
		switch {
		case next.keys[source] != nil:
		case old != nil && old.keys[source] != nil:
			next.keys[source] = old.keys[source]
		default:
			next.keys[source] = &issuerKeys{issuer: r.Issuer, jwksURI: r.JWKSURI, client: newClient(isLocal(r.Issuer), t.base)}
		}
	}
	t.rules.Store(next)
	if err := t.publish(); err != nil {
		t.rules.Store(old)
		return err
	}
	t.nudge()
	return nil
}

// Rules returns the rules in force, by issuer and in their order.
func (t *Trust) Rules() []Rule {
	set := t.rules.Load()
	if set == nil {
		return nil
	}
	var out []Rule
	for _, issuer := range sortedKeys(set.byIssuer) {
		out = append(out, set.byIssuer[issuer]...)
	}
	return out
}

// Identities returns the identities that some rule lets prove themselves by an
// exchange: what they get for it proves them beside their keys.
func (t *Trust) Identities() []nhi.ID {
	var out []nhi.ID
	for _, r := range t.Rules() {
		if r.exchanged() && !slices.Contains(out, r.Identity) {
			out = append(out, r.Identity)
		}
	}
	return out
}

// Verify returns whom a token proves. It may wait for the issuer's keys, for
// at most a few seconds. The error wraps nhi.ErrDenied when the token proves
// nothing, and nhi.ErrBusy when the keys cannot be had right now. A token that
// proved somebody is remembered by its hash for a minute, because a workload
// shows one again and again; new rules forget them all.
func (t *Trust) Verify(ctx context.Context, token string, now time.Time) (Subject, error) {
	set := t.rules.Load()
	name := sha256.Sum256([]byte(token))
	if subject, ok := t.seen.get(name, set, now); ok {
		return subject, nil
	}
	subject, err := set.prove(ctx, token, now)
	if err == nil {
		t.seen.put(name, set, subject, now)
	}
	return subject, err
}

// prove is Verify without memory.
func (set *ruleSet) prove(ctx context.Context, token string, now time.Time) (Subject, error) {
	peek, err := jose.Peek(token)
	if err != nil {
		return Subject{}, fmt.Errorf("identity token: %w: %w", nhi.ErrDenied, err)
	}
	if set == nil || len(set.byIssuer[peek.Issuer]) == 0 {
		return Subject{}, fmt.Errorf("identity token: no rule trusts its issuer: %w", nhi.ErrDenied)
	}
	var last error
	var tried []keySource
	for _, r := range set.byIssuer[peek.Issuer] {
		source := keySource{r.Issuer, r.JWKSURI}
		if slices.Contains(tried, source) {
			continue
		}
		tried = append(tried, source)
		subject, err := set.verify(ctx, source, token, peek.Header, now)
		if err == nil {
			return subject, nil
		}
		last = err
	}
	return Subject{}, fmt.Errorf("identity token of %s: %w", peek.Issuer, last)
}

// verify checks a token with the keys of one source against its rules.
func (s *ruleSet) verify(ctx context.Context, source keySource, token string, h jose.Header, now time.Time) (Subject, error) {
	if h.Alg != jose.ES256 && h.Alg != jose.RS256 {
		return Subject{}, fmt.Errorf("%w: %w", nhi.ErrDenied, jose.ErrAlgorithm)
	}
	keys, err := s.keys[source].keysFor(ctx, h.Kid, h.Alg, now)
	if err != nil {
		return Subject{}, fmt.Errorf("%w: %w", nhi.ErrBusy, err)
	}
	got, err := jose.Verify(token, keys, jose.Options{Issuer: source.issuer, AnyAudience: true, Now: now, Leeway: leeway})
	if err != nil {
		return Subject{}, fmt.Errorf("%w: %w", nhi.ErrDenied, err)
	}
	if got.Bound {
		return Subject{}, fmt.Errorf("it is bound to a key that is not shown here: %w", nhi.ErrDenied)
	}
	claims, err := parseClaims(got.Raw)
	if err != nil {
		return Subject{}, fmt.Errorf("claims: %w", nhi.ErrDenied)
	}
	rule, err := choose(s.byIssuer[source.issuer], source, got.Claims.Audience, claims)
	if err != nil {
		return Subject{}, err
	}
	return Subject{Rule: *rule, Attested: nhi.Attested{
		Identity: rule.Identity, KeyID: got.ID, Method: "oidc", Assurance: nhi.AssuranceShort,
		IssuedAt: got.IssuedAt, Expires: got.Expires, Claims: claims, Attestation: rule.attestation(got.IssuedAt, claims),
	}}, nil
}

// choose finds the first rule that the claims meet. If they meet rules for two
// identities, the file contradicts itself and the token is nobody's.
func choose(rules []Rule, source keySource, audience []string, claims map[string]any) (*Rule, error) {
	var found *Rule
	audienceOK := false
	for i := range rules {
		r := &rules[i]
		if r.JWKSURI != source.jwksURI || !r.exchanged() || !slices.Contains(audience, r.Audience) {
			continue
		}
		audienceOK = true
		if !r.matches(claims) {
			continue
		}
		if found == nil {
			found = r
		} else if found.Identity != r.Identity {
			return nil, fmt.Errorf("rules %q and %q both match and name two identities: %w", found.Name, r.Name, nhi.ErrDenied)
		}
	}
	switch {
	case found != nil:
		return found, nil
	case !audienceOK:
		return nil, fmt.Errorf("%w: %w", nhi.ErrDenied, jose.ErrAudience)
	default:
		return nil, fmt.Errorf("no rule matches its claims: %w", nhi.ErrDenied)
	}
}

// Problems says which issuers' keys could not be fetched last time, for the
// readiness page. It is empty when all is well.
func (t *Trust) Problems() []error {
	set := t.rules.Load()
	if set == nil {
		return nil
	}
	var out []error
	for _, k := range set.keys {
		k.mu.Lock()
		if k.failure != nil {
			out = append(out, k.failure)
		}
		k.mu.Unlock()
	}
	return out
}
