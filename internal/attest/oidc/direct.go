package oidc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// Method verifies the tokens of other issuers at points, as they are.
var Method = &attest.Method{
	Name:       "oidc",
	Doc:        "tokens of other issuers, where a rule of trust.yaml lets them be used at points",
	Recognises: recognises,
	Open: func(d attest.Deps) attest.Check {
		return func(_ context.Context, p attest.Presented, e nhi.Evidence) (nhi.Attested, error) {
			if d.Foreign == nil {
				return nhi.Attested{}, attest.ErrOther
			}
			now := e.At
			if now.IsZero() {
				now = time.Now()
			}
			return d.Foreign.VerifyToken(p.Value, d.Audience, attest.Origin(e.URL), now)
		}
	},
}

// recognises reports whether a credential looks like a compact JWS that was sent
// as a bearer: a token of another issuer is bound to nothing that we could check.
func recognises(p attest.Presented) bool {
	return p.Scheme == attest.SchemeBearer && len(p.Value) > 3 && p.Value[:3] == "eyJ" && bytes.Count([]byte(p.Value), []byte{'.'}) == 2
}

const (
	// maxLife is how long a token may live that is used at points. One that lives
	// longer is a static secret with a date on it: it has to be exchanged.
	maxLife = nhi.LongestLife - time.Hour

	// MaxDirect is the longest text of a Direct in bytes.
	MaxDirect = 16 << 20

	look = 30 * time.Second // how often Run looks whether keys are due
)

// errKid means that an issuer's keys hold no such key, or are not here yet.
var errKid = errors.New("its key is not among those that its issuer published, as far as is known here")

// A Direct is what points verify tokens of other issuers with: the rules that let
// them be used there, and the issuers' keys. It never changes, but for what it
// remembers, so whoever takes another one forgets at once what the former
// believed. The zero Direct believes nobody.
type Direct struct {
	sources map[string][]*source // by issuer
	seen    attest.Memory[*proof]
	text    []byte
}

// A source is an issuer's keys and who may be proven with them.
type source struct {
	keys  *jose.KeySet // nil: none are known
	until time.Time    // when they are too old to be believed
	rules []Rule
}

// A proof is what a token proved, by each rule that it meets.
type proof struct {
	notBefore time.Time
	by        []proven
}

type proven struct {
	rule     *Rule
	attested nhi.Attested
}

// document is the text of a Direct.
type document struct {
	Sources []listed `json:"sources"`
}

type listed struct {
	Issuer  string          `json:"issuer"`
	JWKSURI string          `json:"jwks_uri,omitempty"`
	Keys    json.RawMessage `json:"keys,omitempty"` // a JWKS; absent: none are known
	Until   time.Time       `json:"until,omitzero"`
	Rules   []Rule          `json:"rules"`
}

// ParseDirect reads the text of a Direct, as [Direct.Text] gives it; no text is
// the zero Direct. The error wraps nhi.ErrInvalid.
func ParseDirect(text []byte) (*Direct, error) {
	d := &Direct{sources: make(map[string][]*source), text: text}
	if len(text) == 0 {
		return d, nil
	}
	if len(text) > MaxDirect {
		return nil, nhi.Invalidf("trusted issuers: over %d bytes", MaxDirect)
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, nhi.Invalidf("trusted issuers: not the JSON it should be")
	}
	for i := range doc.Sources {
		l := &doc.Sources[i]
		s := &source{until: l.Until, rules: l.Rules}
		for j := range l.Rules {
			r := &l.Rules[j]
			if err := r.Check(); err != nil {
				return nil, err
			}
			if r.Issuer != l.Issuer || !r.atPoints() {
				return nil, nhi.Invalidf("trusted issuers: rule %q is not where it belongs", r.Name)
			}
		}
		if len(l.Keys) > 0 {
			var err error
			if s.keys, err = jose.ParseJWKS(l.Keys); err != nil {
				return nil, nhi.Invalidf("trusted issuers: keys of %s: %v", l.Issuer, err)
			}
		}
		d.sources[l.Issuer] = append(d.sources[l.Issuer], s)
	}
	return d, nil
}

// Text is the Direct as JSON, empty when it believes nobody. It holds nothing
// that is secret. Nobody may change it.
func (d *Direct) Text() []byte { return d.text }

// VerifyToken implements attest.Foreign.
func (d *Direct) VerifyToken(token, audience, origin string, now time.Time) (nhi.Attested, error) {
	name := attest.Name(sha256.Sum256([]byte(token)))
	p, known := d.seen.Get(name, now)
	if !known || now.Add(leeway).Before(p.notBefore) {
		var err error
		if p, err = d.prove(token, name, now); err != nil {
			return nhi.Attested{}, err
		}
	}
	for i := range p.by {
		if p.by[i].rule.opens(audience, origin) {
			return p.by[i].attested, nil
		}
	}
	return nhi.Attested{}, fmt.Errorf("token of another issuer is for another service: %w", nhi.ErrDenied)
}

// prove verifies what does not depend on the request, and remembers it.
func (d *Direct) prove(token string, name attest.Name, now time.Time) (*proof, error) {
	peek, err := jose.Peek(token)
	if err != nil || len(d.sources[peek.Issuer]) == 0 {
		return nil, attest.ErrOther
	}
	var last error
	for _, s := range d.sources[peek.Issuer] {
		p, until, err := s.prove(token, peek, now)
		if err == nil {
			d.seen.Put(name, p, until, now)
			return p, nil
		}
		if last == nil || !errors.Is(err, errKid) {
			last = err
		}
	}
	return nil, fmt.Errorf("token of %s: %w: %w", peek.Issuer, nhi.ErrDenied, last)
}

// prove verifies a token with the keys of one source, and says until when that
// holds.
func (s *source) prove(token string, peek jose.Unverified, now time.Time) (*proof, time.Time, error) {
	if h := peek.Header; h.Alg != jose.ES256 && h.Alg != jose.RS256 {
		return nil, time.Time{}, jose.ErrAlgorithm
	}
	if s.keys == nil || !now.Before(s.until) {
		return nil, time.Time{}, errKid
	}
	if _, known := s.keys.Key(peek.Header.Kid, peek.Header.Alg); !known {
		return nil, time.Time{}, errKid
	}
	got, err := jose.Verify(token, s.keys, jose.Options{Issuer: peek.Issuer, AnyAudience: true, Now: now, Leeway: leeway, MaxLife: maxLife})
	if err != nil {
		return nil, time.Time{}, err
	}
	if got.Bound {
		return nil, time.Time{}, errors.New("it is bound to a key that is not shown here")
	}
	claims, err := parseClaims(got.Raw)
	if err != nil {
		return nil, time.Time{}, errors.New("its claims cannot be read")
	}
	p := &proof{notBefore: got.NotBefore}
	for i := range s.rules {
		r := &s.rules[i]
		if !slices.Contains(got.Claims.Audience, r.Audience) || !r.matches(claims) {
			continue
		}
		if len(p.by) > 0 && p.by[0].rule.Identity != r.Identity {
			return nil, time.Time{}, fmt.Errorf("rules %q and %q both match and name two identities", p.by[0].rule.Name, r.Name)
		}
		p.by = append(p.by, proven{r, nhi.Attested{
			Identity: r.Identity, KeyID: got.ID, Method: Method.Name, Assurance: nhi.AssuranceShort,
			IssuedAt: got.IssuedAt, Expires: got.Expires, Attestation: r.attestation(got.IssuedAt, claims),
		}})
	}
	if len(p.by) == 0 {
		return nil, time.Time{}, errors.New("no rule for points matches its audience and claims")
	}
	until := got.Expires
	if s.until.Before(until) {
		until = s.until
	}
	return p, until, nil
}

// Direct returns what points verify with now. It is another one whenever anything
// about it is, and the same otherwise.
func (t *Trust) Direct() *Direct { return t.direct.Load() }

// VerifyToken implements attest.Foreign. A token of an issuer whose keys are not
// here yet has them fetched, and is refused meanwhile: a point does not wait.
func (t *Trust) VerifyToken(token, audience, origin string, now time.Time) (nhi.Attested, error) {
	attested, err := t.Direct().VerifyToken(token, audience, origin, now)
	if errors.Is(err, errKid) {
		t.nudge()
	}
	return attested, err
}

func (t *Trust) nudge() {
	select {
	case t.wanted <- struct{}{}:
	default: // is asked already
	}
}

// Run keeps the keys at hand of all issuers whose tokens are used at points,
// until ctx ends.
func (t *Trust) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for force := true; ; {
		if err := t.refresh(ctx, force); err != nil {
			slog.Error("the issuers whose tokens are used at points stay as they were", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			force = false
		case <-t.wanted:
			force = true
		}
	}
}

// refresh fetches the keys that are due, or with force all that may be fetched
// again, and publishes them.
func (t *Trust) refresh(ctx context.Context, force bool) error {
	set, now := t.rules.Load(), time.Now()
	for from, k := range set.keys {
		if set.direct(from) && k.due(now, force) {
			_, _ = k.keysFor(ctx, "", "", now) // what went wrong is among the Problems
			if err := t.publish(); err != nil {
				return err
			}
		}
	}
	return t.publish() // what an exchange fetched meanwhile, too
}

// direct reports whether tokens by the keys of a source are used at points.
func (set *ruleSet) direct(from keySource) bool {
	return slices.ContainsFunc(set.byIssuer[from.issuer], func(r Rule) bool { return r.JWKSURI == from.jwksURI && r.atPoints() })
}

// due reports whether keys should be fetched again.
func (k *issuerKeys) due(now time.Time, force bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return (force || now.Sub(k.fetched) >= keysFresh) && now.Sub(k.tried) >= retryAfter
}

// at returns the keys as text and until when they are good. That moves twice a
// day only, so that it does not tell everybody about every fetch.
func (k *issuerKeys) at() (json.RawMessage, time.Time, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set == nil {
		return nil, time.Time{}, nil
	}
	text, err := k.set.Marshal()
	return text, k.fetched.UTC().Truncate(keysStale / 2).Add(keysStale * 3 / 2), err
}

// publish makes the Direct of the rules and the keys of now.
func (t *Trust) publish() error {
	t.publishing.Lock()
	defer t.publishing.Unlock()
	set := t.rules.Load()
	var doc document
	for _, issuer := range sortedKeys(set.byIssuer) {
		for _, r := range set.byIssuer[issuer] {
			if !r.atPoints() {
				continue
			}
			i := slices.IndexFunc(doc.Sources, func(l listed) bool { return l.Issuer == issuer && l.JWKSURI == r.JWKSURI })
			if i < 0 {
				keys, until, err := set.keys[keySource{issuer, r.JWKSURI}].at()
				if err != nil {
					return fmt.Errorf("keys of %s: %w", issuer, err)
				}
				i, doc.Sources = len(doc.Sources), append(doc.Sources, listed{Issuer: issuer, JWKSURI: r.JWKSURI, Keys: keys, Until: until})
			}
			doc.Sources[i].Rules = append(doc.Sources[i].Rules, Rule{
				Name: r.Name, Issuer: r.Issuer, JWKSURI: r.JWKSURI, Audience: r.Audience, Claims: r.Claims, Identity: r.Identity,
				Use: []string{UsePoints}, Origins: r.Origins, Location: r.Location,
			})
		}
	}
	var text []byte
	if len(doc.Sources) > 0 {
		var err error
		if text, err = json.Marshal(doc); err != nil {
			return fmt.Errorf("write the trusted issuers: %w", err)
		}
	}
	if old := t.direct.Load(); old != nil && bytes.Equal(old.text, text) {
		return nil
	}
	next, err := ParseDirect(text)
	if err != nil {
		return err
	}
	t.direct.Store(next)
	if t.changed != nil {
		t.changed()
	}
	return nil
}

// OnChange has f called whenever points verify with another Direct. f must not
// block, nor call the Trust.
func (t *Trust) OnChange(f func()) {
	t.publishing.Lock()
	defer t.publishing.Unlock()
	t.changed = f
}
