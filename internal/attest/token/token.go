// Package token verifies Muster's own access tokens, those that package issuer
// makes, at enforcement points.
//
// A token is an ES256 JWT of type at+jwt (RFC 9068) from our issuer, for the
// audience of all points or for the origin of the very URL that is asked for: a
// token made for one service opens no other. It is bound to a key
// (cnf.jkt) and then works only with a DPoP proof for this method, this URL and
// this token, once (RFC 9449, section 7). Or it is bound to a certificate
// (cnf.x5t#S256) and works only on a connection that shows it (RFC 8705, section
// 3), at points that see connections themselves. A token without a key works only when
// the issuer wrote into it that its trust rule allowed that.
//
// The signature of a token is checked once and remembered by the hash of the
// token until it expires or its key is withdrawn; its proof is checked every
// time, and whether it was revoked is asked by every decision.
//
// In Muster-Attestation the token proves which workload holds the caller's own
// credential. If it is bound, the proof in the DPoP header is for it.
package token

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// Type is the typ of our access tokens (RFC 9068, section 2.1).
const Type = "at+jwt"

const (
	leeway  = 5 * time.Second // what clocks of one cluster may differ by
	maxLife = 16 * time.Minute
)

// Method verifies Muster's own tokens.
var Method = &attest.Method{
	Name:       "token",
	Doc:        "Muster's own short-lived tokens, bound to a key by DPoP",
	Recognises: recognises,
	Open: func(d attest.Deps) attest.Check {
		return (&verifier{deps: d}).check
	},
}

// recognises reports whether a credential looks like a compact JWS whose
// header is a JSON object.
func recognises(p attest.Presented) bool {
	return p.Scheme != attest.SchemeCertificate && strings.HasPrefix(p.Value, "eyJ") && strings.Count(p.Value, ".") == 2
}

// A verifier checks tokens and remembers the ones whose signature is good.
type verifier struct {
	deps  attest.Deps
	known attest.Memory[*verified]
}

// A verified is what a token says, once its signature is known to be good.
type verified struct {
	attested  nhi.Attested
	audiences []string
	kid       string
	bound     bool
	// certificate is the thumbprint of the one that the token is bound to.
	certificate string
	notBefore   time.Time
}

// own are the claims that are ours alone.
type own struct {
	ID     nhi.ID `json:"id"`
	Method string `json:"method"` // how the subject was attested at issue
	Bearer bool   `json:"bearer"` // the trust rule allows it without a key

	Purpose     string           `json:"purpose"`
	Attestation *nhi.Attestation `json:"att"`
}

func (v *verifier) check(_ context.Context, p attest.Presented, e nhi.Evidence) (nhi.Attested, error) {
	now := e.At
	if now.IsZero() {
		now = time.Now()
	}
	t, err := v.verify(p.Value, now)
	if err != nil {
		return nhi.Attested{}, err
	}
	if !slices.Contains(t.audiences, v.deps.Audience) && !slices.Contains(t.audiences, attest.Origin(e.URL)) {
		return nhi.Attested{}, fmt.Errorf("token is for another audience: %w", nhi.ErrDenied)
	}
	switch {
	case t.bound && p.Scheme == attest.SchemeBearer:
		return nhi.Attested{}, fmt.Errorf("token is bound to a key and was sent as a bearer: %w", nhi.ErrDenied)
	case !t.bound && p.Scheme == attest.SchemeDPoP:
		return nhi.Attested{}, fmt.Errorf("token is not bound to a key and was sent as if: %w", nhi.ErrDenied)
	case t.bound:
		if err := v.prove(t, p.Value, e, now); err != nil {
			return nhi.Attested{}, err
		}
	case t.certificate != "":
		if err := shows(t.certificate, e); err != nil {
			return nhi.Attested{}, err
		}
	}
	return t.attested, nil
}

// shows checks that the sender's connection has the certificate that the token
// is bound to (RFC 8705, section 3). A point that sees no certificates proves
// none, whatever a header says.
func shows(thumbprint string, e nhi.Evidence) error {
	if e.Certificate == nil {
		return fmt.Errorf("token is bound to a certificate and came on a connection without: %w", nhi.ErrDenied)
	}
	sum := sha256.Sum256(e.Certificate.Raw)
	if base64.RawURLEncoding.EncodeToString(sum[:]) != thumbprint {
		return fmt.Errorf("token is bound to another certificate than the connection's: %w", nhi.ErrDenied)
	}
	return nil
}

// prove checks that the sender holds the key of the token, in this request.
func (v *verifier) prove(t *verified, token string, e nhi.Evidence, now time.Time) error {
	if e.Proof == "" {
		return fmt.Errorf("token is bound to a key and came without a proof: %w", nhi.ErrDenied)
	}
	proof, err := jose.ParseProof(e.Proof, jose.ProofWant{Method: e.Method, URL: e.URL, AccessToken: token, Now: now})
	if err != nil {
		return fmt.Errorf("proof of possession: %w: %w", nhi.ErrDenied, err)
	}
	if proof.JKT != t.attested.Thumbprint {
		return fmt.Errorf("proof by another key than the token's: %w", nhi.ErrDenied)
	}
	if !v.deps.Replay.Fresh(proof.JKT, proof.JTI, now) {
		return fmt.Errorf("proof was used before: %w", nhi.ErrDenied)
	}
	return nil
}

// verify checks everything about a token that does not depend on the request.
func (v *verifier) verify(token string, now time.Time) (*verified, error) {
	name := attest.Name(sha256.Sum256([]byte(token)))
	if t, ok := v.known.Get(name, now); ok && !now.Add(leeway).Before(t.notBefore) {
		if _, published := v.deps.Keys.Key(t.kid, jose.ES256); published {
			return t, nil
		}
	}
	peek, err := jose.Peek(token)
	if err != nil || peek.Issuer != v.deps.Issuer {
		// Somebody else's static key may look like this, and be registered.
		return nil, attest.ErrOther
	}
	t, err := v.verifyOnce(token, now)
	if err != nil {
		return nil, err
	}
	v.known.Put(name, t, t.attested.Expires, now)
	return t, nil
}

func (v *verifier) verifyOnce(token string, now time.Time) (*verified, error) {
	got, err := jose.Verify(token, v.deps.Keys, jose.Options{
		Algs: []string{jose.ES256}, Types: []string{Type}, Issuer: v.deps.Issuer, AnyAudience: true, Now: now, Leeway: leeway, MaxLife: maxLife,
	})
	if err != nil {
		return nil, fmt.Errorf("token: %w: %w", nhi.ErrDenied, err)
	}
	raw, ok := got.Value("nhi")
	var o own
	if !ok || json.Unmarshal(raw, &o) != nil || !o.ID.Valid() || !strings.HasSuffix(got.Subject, "/nhi/"+string(o.ID)) {
		return nil, fmt.Errorf("token names no identity: %w", nhi.ErrDenied)
	}
	switch {
	case got.ID == "" || len(got.Claims.Audience) != 1:
		return nil, fmt.Errorf("token has no jti or not one audience: %w", nhi.ErrDenied)
	case got.Bound && (got.JKT == "") == (got.X5T == ""):
		return nil, fmt.Errorf("token is bound in a way that points cannot check: %w", nhi.ErrDenied)
	case !got.Bound && !o.Bearer:
		return nil, fmt.Errorf("token is bound to no key and its rule does not allow that: %w", nhi.ErrDenied)
	}
	return &verified{
		attested: nhi.Attested{
			Identity: o.ID, KeyID: got.ID, Method: "token", Assurance: assurance(got.Bound, o.Method), SenderBound: got.Bound,
			Thumbprint: cmp.Or(got.JKT, got.X5T), IssuedAt: got.IssuedAt, Expires: got.Expires,
			Purpose: o.Purpose, Attestation: o.Attestation,
		},
		audiences: got.Claims.Audience, kid: got.Header.Kid, bound: got.JKT != "", certificate: got.X5T, notBefore: got.NotBefore,
	}, nil
}

// assurance grades a token: a key makes it 2, and 3 when the platform
// attested who got it.
func assurance(bound bool, method string) nhi.Assurance {
	switch {
	case bound && method == "oidc":
		return nhi.AssuranceAttested
	case bound:
		return nhi.AssuranceBound
	default:
		return nhi.AssuranceShort
	}
}
