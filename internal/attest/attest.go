// Package attest turns what a caller presents into who it proved to be.
//
// The ways to prove something are methods, one leaf folder each: apikey for
// keys that Muster minted or that were registered with it, token for Muster's
// own tokens, oidc for those of other issuers where trust.yaml lets them be used
// without an exchange, svid for the certificates of workloads. A [Verifier] looks at the shape of the evidence and asks
// the methods that know it.
//
// Three rules hold for all methods, and attesttest checks them:
//
//   - Nothing is proven until everything is: the answer is whole, or an error
//     wrapping nhi.ErrDenied.
//   - A method says who somebody is, not what they may do. A suspended key is
//     still somebody's key: decisions refuse it, and then know whose it was.
//   - No error, and no log line made of it, contains a secret. A failed proof
//     that names a public id changes nothing about that id.
//
// Besides its own credential a caller may send Muster-Attestation: the Muster
// token of the workload that holds the key. It proves the consumer, which a
// pinned or narrowed key demands. One that proves nothing is as good as none:
// the caller stays known by its key, and the decision asks for the rest.
package attest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// The schemes by which a credential can arrive.
const (
	SchemeBearer      = "bearer"      // Authorization: Bearer
	SchemeDPoP        = "dpop"        // Authorization: DPoP (RFC 9449, section 7.1)
	SchemeAttestation = "attestation" // Muster-Attestation
	// SchemeCertificate is that of the caller's connection, where Authorization says
	// nothing. The value is then its SHA-256.
	SchemeCertificate = "certificate"
)

// MaxCredential is the longest credential in bytes that is looked at.
const MaxCredential = jose.MaxToken

// ErrOther means that a credential had the shape of a method and is not its
// own after all. The next method that knows the shape is asked.
var ErrOther = errors.New("credential of another method")

// A Presented is one credential and how it arrived.
type Presented struct {
	Scheme string // one of the constants above
	Value  string
}

// A Method is one way to prove who one is.
type Method struct {
	Name string // as it stands in decisions: api-key, token
	Doc  string // what it accepts, in one line
	// Recognises reports whether a credential has this method's shape. It is
	// cheap and believes nothing.
	Recognises func(Presented) bool
	// Open makes the check of this method over what it verifies against.
	Open func(Deps) Check
}

// A Check verifies one credential of an evidence. It reads memory only. The
// error wraps nhi.ErrDenied, or is ErrOther.
type Check func(ctx context.Context, p Presented, e nhi.Evidence) (nhi.Attested, error)

// Credentials are the stored credentials. It reads memory only.
type Credentials interface {
	// CredentialByKeyID finds a credential by its public key id.
	CredentialByKeyID(keyID string) (nhi.Credential, bool)
	// CredentialByVerifier finds a credential by the SHA-256 of its value.
	CredentialByVerifier(verifier [32]byte) (nhi.Credential, bool)
}

// Deps are what methods verify against. A method uses what it needs.
type Deps struct {
	Credentials Credentials
	Keys        jose.KeyFinder    // of our own tokens
	Issuer      string            // iss of our own tokens
	Audience    string            // aud that is good at every point; empty: Issuer
	Replay      *jose.ReplayCache // of DPoP proofs; nil: a new one
	Foreign     Foreign           // tokens of other issuers; nil: none is accepted
	// Certificates are those by which callers are known; nil: none is.
	Certificates Certificates
}

// Certificates verifies the certificates of callers' connections. It reads memory
// only.
type Certificates interface {
	// VerifyCertificate returns whom a certificate names, whose key the caller was
	// seen to hold. The error wraps nhi.ErrDenied, or is ErrOther when nobody is
	// known by certificates.
	VerifyCertificate(leaf *x509.Certificate, between []*x509.Certificate, now time.Time) (nhi.Attested, error)
}

// Foreign verifies the tokens of other issuers at points. It reads memory only.
type Foreign interface {
	// VerifyToken returns whom a token proves that was sent to origin (scheme,
	// host and port, see [Origin]). The token must be for that origin, for
	// audience, which is the installation, or for what the rule says stands for
	// the origin. The error wraps nhi.ErrDenied, or is ErrOther when the tokens of
	// its issuer are not used at points.
	VerifyToken(token, audience, origin string, now time.Time) (nhi.Attested, error)
}

// Origin is scheme, host and port of a URL, as an audience names them.
func Origin(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	if !ok || host == "" {
		return ""
	}
	return scheme + "://" + host
}

// A Verifier verifies evidence. It is safe for concurrent use.
type Verifier struct{ methods []opened }

type opened struct {
	*Method
	check Check
}

// New returns a Verifier that asks the methods in this order.
func New(deps Deps, methods ...*Method) *Verifier {
	if deps.Audience == "" {
		deps.Audience = deps.Issuer
	}
	if deps.Replay == nil {
		deps.Replay = jose.NewReplayCache(0, 0)
	}
	v := &Verifier{}
	for _, m := range methods {
		v.methods = append(v.methods, opened{m, m.Open(deps)})
	}
	return v
}

// Verify returns who presented the evidence, and in Consumer which workload
// proved itself beside. The error wraps nhi.ErrDenied. It reads memory only.
func (v *Verifier) Verify(ctx context.Context, e nhi.Evidence) (nhi.Attested, error) {
	p, err := present(&e)
	if err != nil {
		return nhi.Attested{}, err
	}
	attested, err := v.check(ctx, p, e)
	if err != nil {
		return nhi.Attested{}, err
	}
	if e.Attestation == "" {
		return attested, nil
	}
	beside, err := v.check(ctx, Presented{SchemeAttestation, e.Attestation}, e)
	if err == nil {
		attested.Consumer, attested.ConsumerAttestation = beside.Identity, beside.Attestation
		attested.ConsumerProof = nhi.Proof{KeyID: beside.KeyID, Thumbprint: beside.Thumbprint, IssuedAt: beside.IssuedAt}
	}
	return attested, nil
}

func (v *Verifier) check(ctx context.Context, p Presented, e nhi.Evidence) (nhi.Attested, error) {
	if p.Value == "" || len(p.Value) > MaxCredential {
		return nhi.Attested{}, fmt.Errorf("verify evidence: credential is empty or too long: %w", nhi.ErrDenied)
	}
	for _, m := range v.methods {
		if !m.Recognises(p) {
			continue
		}
		attested, err := m.check(ctx, p, e)
		switch {
		case err == nil && attested.Identity != "":
			return attested, nil
		case errors.Is(err, ErrOther):
			continue
		case errors.Is(err, nhi.ErrDenied):
			return nhi.Attested{}, fmt.Errorf("verify evidence by %s: %w", m.Name, err)
		default:
			return nhi.Attested{}, fmt.Errorf("verify evidence by %s: %w: %v", m.Name, nhi.ErrDenied, err)
		}
	}
	return nhi.Attested{}, fmt.Errorf("verify evidence: no method knows it: %w", nhi.ErrDenied)
}

// present says what the caller proves itself with: its credential, and its
// certificate only when it sent none. So a credential that proves nothing is not
// made good by a certificate, which may be that of a machine that many share.
func present(e *nhi.Evidence) (Presented, error) {
	if e.Authorization == "" && e.Certificate != nil {
		sum := sha256.Sum256(e.Certificate.Raw)
		return Presented{SchemeCertificate, string(sum[:])}, nil
	}
	return parse(e.Authorization)
}

// parse reads an Authorization value: a scheme, whose case does not matter
// (RFC 9110, section 11.1), one space and a credential without any.
func parse(header string) (Presented, error) {
	scheme, value, ok := strings.Cut(header, " ")
	if header == "" {
		return Presented{}, fmt.Errorf("verify evidence: no credential: %w", nhi.ErrDenied)
	}
	if ok && value != "" && !strings.ContainsAny(value, " \t\r\n,") {
		switch {
		case strings.EqualFold(scheme, SchemeBearer):
			return Presented{SchemeBearer, value}, nil
		case strings.EqualFold(scheme, SchemeDPoP):
			return Presented{SchemeDPoP, value}, nil
		}
	}
	return Presented{}, fmt.Errorf("verify evidence: neither Bearer nor DPoP with one credential: %w", nhi.ErrDenied)
}
