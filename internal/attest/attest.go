// Package attest turns what a caller presents into who it proved to be.
//
// The ways to prove something are methods, one leaf folder each: apikey for
// keys that Muster minted or that were registered with it, token for Muster's
// own tokens. (oidc, for the tokens of other issuers, proves nothing at a
// point: such a token is exchanged for one of ours first.) A [Verifier] looks
// at the shape of the evidence and asks the one method that knows it.
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
	"errors"
	"fmt"
	"strings"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// The schemes by which a credential can arrive.
const (
	SchemeBearer      = "bearer"      // Authorization: Bearer
	SchemeDPoP        = "dpop"        // Authorization: DPoP (RFC 9449, section 7.1)
	SchemeAttestation = "attestation" // Muster-Attestation
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
	p, err := parse(e.Authorization)
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
