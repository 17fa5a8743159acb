package enforce

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// What a decision assertion is: a JWS of a type of its own (RFC 8725, section
// 3.11) that lives as long as a request needs from the point to the
// application.
const (
	AssertionType = "muster-decision+jwt"
	AssertionLife = 30 * time.Second

	// maxAsserted bounds the path in an assertion, so that the header fits where
	// programs have 8 KB for all of them.
	maxAsserted = 2 << 10
)

// JWKSPath is where the public keys of assertions are: apart from those of
// access tokens, so that nothing that trusts the one accepts the other.
const JWKSPath = "/enforce/jwks"

// Errors of Tell.
var (
	errNoAsserter = errors.New("the point is to assert its decisions, and there is no key to sign with")
	errLongPath   = fmt.Errorf("the path has over %d bytes, too many for an assertion", maxAsserted)
)

// An Asserter signs what a point decided, so that the application can tell a
// request that was let through from one that found another way. It is safe for
// concurrent use.
type Asserter struct {
	Issuer string              // iss: the public URL of the server whose JWKSPath has the keys
	Signer func() *jose.Signer // of the key of the moment, for AssertionType
}

// A Body says what the point knows of the body of a request. The zero Body is
// one that it did not see.
type Body struct {
	None   bool               // there is none
	Digest *[sha256.Size]byte // of its content as sent; nil: not seen
}

// assertion are the claims. Host, method and path are as the application gets
// them; the query is there as its SHA-256, because it may hold secrets.
type assertion struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"` // name of the point
	Subject  string `json:"sub"` // the identity, or none
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
	Decision string `json:"decision"`
	Method   string `json:"method"`
	Host     string `json:"host"`
	Path     string `json:"path"`
	Query    string `json:"query,omitempty"`  // base64url of the SHA-256 of what follows the first "?"
	Body     string `json:"body"`             // none, digest or unchecked
	Digest   string `json:"digest,omitempty"` // as in Content-Digest (RFC 9530): sha-256=:…:
	Observed bool   `json:"observed,omitempty"`
	Glass    string `json:"break_glass,omitempty"` // serial of the code that let it pass
}

// Unasserted is the verdict on a request that would pass, and whose decision
// could not be signed although the point is to.
func Unasserted(v *Verdict) Verdict {
	return Verdict{Decision: v.Decision, Outcome: nhi.Deny, Identity: v.Identity, Subject: v.Subject, Reasons: []string{"assertion-unsigned"}}
}

// Tell returns the value of Muster-Decision: the id of the decision, or for a
// request that passes a point which is to assert, the signed assertion. On an
// error it is the id, and the request must not pass: see [Unasserted]. The
// nil Asserter signs nothing.
func (a *Asserter) Tell(point *nhi.Point, o *Original, v *Verdict, body Body) (string, error) {
	if !point.Assert || v.Outcome != nhi.Allow {
		return v.Decision, nil
	}
	if a == nil || a.Signer == nil {
		return v.Decision, errNoAsserter
	}
	path, query, asked := strings.Cut(o.Target, "?")
	if len(path) > maxAsserted {
		return v.Decision, errLongPath
	}
	now := time.Now()
	claims := a.about(point, o, path, now)
	claims.Subject, claims.Expires, claims.Decision = v.Caller(), now.Add(AssertionLife).Unix(), v.Decision
	claims.Observed, claims.Glass = v.WouldRefuse, v.Glass
	if asked {
		claims.Query = asserted(query)
	}
	switch {
	case body.None:
		claims.Body = "none"
	case body.Digest != nil:
		claims.Body, claims.Digest = "digest", "sha-256=:"+base64.StdEncoding.EncodeToString(body.Digest[:])+":"
	}
	token, err := a.Signer().Sign(claims)
	if err != nil {
		return v.Decision, fmt.Errorf("assert a decision: %w", err)
	}
	return token, nil
}

// about are the claims that say which request an assertion is for.
func (a *Asserter) about(point *nhi.Point, o *Original, path string, issued time.Time) assertion {
	return assertion{
		Issuer: a.Issuer, Audience: point.Name, IssuedAt: issued.Unix(), ID: rand.Text(), Method: o.Method, Host: strings.ToLower(o.Host), Path: path, Body: "unchecked",
	}
}

// asserted is how a query stands in an assertion.
func asserted(query string) string {
	sum := sha256.Sum256([]byte(query))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// How far in the past an assertion was issued, and ended, that is over.
const (
	overIssued = time.Hour
	overEnded  = 2 * time.Hour
)

// Over signs an assertion about a request that is over, and was never anything
// else: it ended an hour before it was issued, so that by no clock there is a time
// at which it holds. It names nobody, no decision, and a request without a body.
// With one of these a probe finds out whether an application that checks the
// signature checks the time as well.
func (a *Asserter) Over(point *nhi.Point, o *Original) (string, error) {
	if a == nil || a.Signer == nil {
		return "", errNoAsserter
	}
	path, query, asked := strings.Cut(o.Target, "?")
	if len(path) > maxAsserted {
		return "", errLongPath
	}
	now := time.Now()
	claims := a.about(point, o, path, now.Add(-overIssued))
	claims.Subject, claims.Decision, claims.Body, claims.Expires = "none", "probe", "none", now.Add(-overEnded).Unix()
	if asked {
		claims.Query = asserted(query)
	}
	token, err := a.Signer().Sign(claims)
	if err != nil {
		return "", fmt.Errorf("sign an assertion that is over: %w", err)
	}
	return token, nil
}
