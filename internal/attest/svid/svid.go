// Package svid verifies X.509-SVIDs: the certificates by which SPIFFE names
// workloads. Whoever shows one on its connection is the identity that a rule of
// trust.yaml gives to its SPIFFE ID.
//
// That the sender holds the certificate's key was seen by the point on whose
// connection it was shown: by our own proxy in the TLS handshake, or by another
// point that is named in the settings and tells us. Everything else is checked
// here, by the X.509-SVID standard (sections 2 to 5) and a little more strictly:
//
//   - one URI SAN and no more, a SPIFFE ID with a path;
//   - a leaf: no CA, digitalSignature and neither keyCertSign nor cRLSign, and if
//     it has extended key usages, clientAuth among them;
//   - a chain to an authority of the very trust domain that the SPIFFE ID names,
//     never to that of another one, at the time of the request;
//   - a life of at most 25 hours. A certificate that lives longer is a static
//     secret, and a revocation would have to outlive it.
//
// A [Set] is everything that this takes, and never changes; a [Trust] keeps the
// one in force, from the settings, the bundle files and the rules.
package svid

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/nhi"
)

// Method verifies X.509-SVIDs.
var Method = &attest.Method{
	Name:       "x509-svid",
	Doc:        "X.509-SVIDs of trusted domains, shown on the caller's own connection",
	Recognises: func(p attest.Presented) bool { return p.Scheme == attest.SchemeCertificate },
	Open: func(d attest.Deps) attest.Check {
		return func(_ context.Context, _ attest.Presented, e nhi.Evidence) (nhi.Attested, error) {
			if d.Certificates == nil || e.Certificate == nil {
				return nhi.Attested{}, attest.ErrOther
			}
			now := e.At
			if now.IsZero() {
				now = time.Now()
			}
			return d.Certificates.VerifyCertificate(e.Certificate, e.Between, now)
		}
	},
}

// Bounds.
const (
	maxDomains     = 64
	maxAuthorities = 64 // of one domain
	maxBetween     = 8
	maxKeyBits     = 8192 // of an RSA key on the way to an authority

	// MaxBundle is the longest bundle file, and MaxSet the longest text of a Set,
	// in bytes.
	MaxBundle = 1 << 20
	MaxSet    = 16 << 20
)

// A Binding says who a SPIFFE ID is.
type Binding struct {
	ID       string       `json:"id"` // spiffe://domain/path
	Identity nhi.ID       `json:"identity"`
	Location nhi.Location `json:"location,omitzero"` // of all who have it
}

// Check returns an error wrapping nhi.ErrInvalid.
func (b *Binding) Check() error {
	id, err := spiffeid.FromString(b.ID)
	switch {
	case err != nil || len(b.ID) > 2048:
		return nhi.Invalidf("%.80q is no SPIFFE ID: want spiffe://trust-domain/path", b.ID)
	case id.Path() == "":
		return nhi.Invalidf("%q names a trust domain and no workload: a path is missing", b.ID)
	case !b.Identity.Valid():
		return nhi.Invalidf("%q: identity must be the id of an identity (nhi_…)", b.ID)
	}
	return nil
}

// A Set is whose SVIDs are believed, and who they are. It never changes, but for
// what it remembers, so whoever takes another one forgets at once what the former
// believed. The zero Set believes nobody.
type Set struct {
	domains  map[spiffeid.TrustDomain]*domain
	bindings map[string]*Binding
	tells    map[string]bool
	forwards map[string]bool
	seen     attest.Memory[nhi.Attested]
	text     []byte
}

type domain struct {
	bundle  *x509bundle.Bundle
	attests bool
}

// document is the text of a Set.
type document struct {
	Domains  []listed  `json:"domains"`
	Bindings []Binding `json:"bindings"`
	Points   []string  `json:"points,omitempty"`   // that tell which certificate their caller showed
	Forwards []string  `json:"forwards,omitempty"` // those that do in X-Forwarded-Client-Cert
}

type listed struct {
	Name        string   `json:"name"`
	Attests     bool     `json:"attests,omitempty"`
	Authorities [][]byte `json:"authorities"` // DER
}

// ParseSet reads the text of a Set, as [Set.Text] gives it; no text is the zero
// Set. The error wraps nhi.ErrInvalid.
func ParseSet(text []byte) (*Set, error) {
	s := &Set{domains: make(map[spiffeid.TrustDomain]*domain), bindings: make(map[string]*Binding), tells: make(map[string]bool), forwards: make(map[string]bool), text: text}
	if len(text) == 0 {
		return s, nil
	}
	if len(text) > MaxSet {
		return nil, nhi.Invalidf("trust domains: over %d bytes", MaxSet)
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, nhi.Invalidf("trust domains: not the JSON they should be")
	}
	if len(doc.Domains) > maxDomains {
		return nil, nhi.Invalidf("more than %d trust domains", maxDomains)
	}
	for i := range doc.Domains {
		if err := s.add(&doc.Domains[i]); err != nil {
			return nil, err
		}
	}
	for i := range doc.Bindings {
		b := &doc.Bindings[i]
		if err := b.Check(); err != nil {
			return nil, err
		}
		if other := s.bindings[b.ID]; other != nil && other.Identity != b.Identity {
			return nil, nhi.Invalidf("%q is bound to two identities, %s and %s", b.ID, other.Identity, b.Identity)
		}
		s.bindings[b.ID] = b
	}
	for _, name := range doc.Points {
		s.tells[name] = true
	}
	for _, name := range doc.Forwards {
		s.forwards[name] = true
	}
	return s, nil
}

// add takes up one trust domain.
func (s *Set) add(l *listed) error {
	name, err := spiffeid.TrustDomainFromString(l.Name)
	switch {
	case err != nil || name.Name() != l.Name:
		return nhi.Invalidf("%.80q is no name of a trust domain", l.Name)
	case s.domains[name] != nil:
		return nhi.Invalidf("trust domain %s stands twice", l.Name)
	case len(l.Authorities) > maxAuthorities:
		return nhi.Invalidf("trust domain %s has more than %d authorities", l.Name, maxAuthorities)
	}
	bundle := x509bundle.New(name)
	for _, der := range l.Authorities {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return nhi.Invalidf("trust domain %s: an authority is no certificate", l.Name)
		}
		if err := checkAuthority(name, authority); err != nil {
			return err
		}
		bundle.AddX509Authority(authority)
	}
	s.domains[name] = &domain{bundle, l.Attests}
	return nil
}

// checkAuthority refuses what cannot sign SVIDs of a trust domain (X.509-SVID,
// sections 3.2 and 4): a leaf in a bundle would be one that signs.
func checkAuthority(name spiffeid.TrustDomain, c *x509.Certificate) error {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return nhi.Invalidf("trust domain %s: an authority is no CA certificate", name.Name())
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return nhi.Invalidf("trust domain %s: an authority may not sign certificates", name.Name())
	case len(c.URIs) > 1:
		return nhi.Invalidf("trust domain %s: an authority has more than one URI", name.Name())
	case len(c.URIs) == 1 && c.URIs[0].String() != name.IDString():
		return nhi.Invalidf("trust domain %s: an authority is that of %.80s", name.Name(), c.URIs[0])
	}
	return nil
}

// Text is the Set as JSON, empty when it believes nobody. It holds nothing that
// is secret. Nobody may change it.
func (s *Set) Text() []byte { return s.text }

// Tells reports whether a point is believed when it tells which certificate its
// caller showed.
func (s *Set) Tells(point *nhi.Point) bool { return point.Name != "" && s.tells[point.Name] }

// Forwards reports whether a point is believed in X-Forwarded-Client-Cert.
func (s *Set) Forwards(point *nhi.Point) bool { return point.Name != "" && s.forwards[point.Name] }

// VerifyCertificate implements attest.Certificates.
func (s *Set) VerifyCertificate(leaf *x509.Certificate, between []*x509.Certificate, now time.Time) (nhi.Attested, error) {
	sum := sha256.Sum256(leaf.Raw)
	if known, ok := s.seen.Get(sum, now); ok {
		return known, nil
	}
	attested, until, err := s.prove(sum, leaf, between, now)
	if errors.Is(err, attest.ErrOther) {
		return nhi.Attested{}, err
	}
	if err != nil {
		return nhi.Attested{}, fmt.Errorf("certificate %s: %w: %w", attested.KeyID, nhi.ErrDenied, err)
	}
	s.seen.Put(sum, attested, until, now)
	return attested, nil
}

// prove is VerifyCertificate without memory. It says until when the answer holds.
func (s *Set) prove(sum [sha256.Size]byte, leaf *x509.Certificate, between []*x509.Certificate, now time.Time) (nhi.Attested, time.Time, error) {
	name := base64.RawURLEncoding.EncodeToString(sum[:])
	attested := nhi.Attested{KeyID: name}
	if len(s.domains) == 0 {
		return attested, time.Time{}, attest.ErrOther
	}
	if err := checkLeaf(leaf, between); err != nil {
		return attested, time.Time{}, err
	}
	id, chains, err := x509svid.Verify(append([]*x509.Certificate{leaf}, between...), s, x509svid.WithTime(now))
	if err != nil {
		return attested, time.Time{}, errors.New("it is no X.509-SVID by which an authority of its trust domain names somebody now")
	}
	binding := s.bindings[id.String()]
	if binding == nil {
		return attested, time.Time{}, fmt.Errorf("no rule says who %.200q is", id.String())
	}
	until := leaf.NotAfter
	for _, c := range chains[0] {
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	attested = nhi.Attested{
		Identity: binding.Identity, KeyID: name, Method: Method.Name, Assurance: nhi.AssuranceBound, SenderBound: true, Thumbprint: name,
		IssuedAt: leaf.NotBefore, Expires: until,
	}
	if s.domains[id.TrustDomain()].attests {
		attested.Assurance = nhi.AssuranceAttested
		attested.Attestation = &nhi.Attestation{
			Method: Method.Name, At: leaf.NotBefore, Level: nhi.EvidencePlatform, Location: binding.Location,
			Selectors: []string{"spiffe_id:" + id.String()},
		}
	}
	return attested, until, nil
}

// GetX509BundleForTrustDomain implements x509bundle.Source: of the domain that a
// SPIFFE ID names, and of no other.
func (s *Set) GetX509BundleForTrustDomain(name spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if d := s.domains[name]; d != nil {
		return d.bundle, nil
	}
	return nil, errors.New("nobody trusts the domain")
}

// checkLeaf is what the standard asks of a leaf and the library leaves to others,
// and what bounds the work of the rest.
func checkLeaf(leaf *x509.Certificate, between []*x509.Certificate) error {
	switch {
	case len(between) > maxBetween:
		return fmt.Errorf("more than %d certificates between it and an authority", maxBetween)
	case len(leaf.URIs) != 1:
		return errors.New("it has not exactly one URI")
	case leaf.URIs[0].Path == "" || leaf.URIs[0].Path == "/":
		return errors.New("its SPIFFE ID names no workload")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("its key may not sign (digitalSignature)")
	case (len(leaf.ExtKeyUsage) > 0 || len(leaf.UnknownExtKeyUsage) > 0) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return errors.New("it is not for clients (extended key usage)")
	case leaf.NotAfter.Sub(leaf.NotBefore) > nhi.LongestLife:
		return fmt.Errorf("it lives longer than %v", nhi.LongestLife)
	}
	for _, c := range append([]*x509.Certificate{leaf}, between...) {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxKeyBits {
			return fmt.Errorf("an RSA key has more than %d bits", maxKeyBits)
		}
	}
	return nil
}
