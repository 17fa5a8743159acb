package issuer

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// The identifiers of RFC 8693, sections 2.1 and 3.
const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeID        = "urn:ietf:params:oauth:token-type:id_token"
)

// tokenReply is the response of RFC 8693, section 2.2.1.
type tokenReply struct {
	AccessToken string `json:"access_token"`
	IssuedType  string `json:"issued_token_type"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope,omitempty"`
}

// serveToken is the token endpoint.
func (s *Service) serveToken(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	proof, err := oneHeader(r, "DPoP")
	if err != nil {
		return err
	}
	x := exchange{form: f, proof: proof, address: caller(r), agent: r.UserAgent(), now: time.Now()}
	reply, err := s.exchange(r.Context(), &x)
	if x.decision != "" {
		w.Header().Set("Muster-Decision", x.decision)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, reply)
	return nil
}

// caller returns where a request comes from, the zero Addr if that says nothing:
// on loopback a proxy in front of us speaks for everybody, and to judge its
// address would make every caller look new.
func caller(r *http.Request) netip.Addr {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || remote.Addr().Unmap().IsLoopback() {
		return netip.Addr{}
	}
	return remote.Addr().Unmap()
}

// An exchange is one request on its way to a token.
type exchange struct {
	form    form
	proof   string
	address netip.Addr
	agent   string
	now     time.Time

	subject  Subject
	grant    Grant
	decision string
}

func (s *Service) exchange(ctx context.Context, x *exchange) (tokenReply, error) {
	steps := [...]func(context.Context, *exchange) error{s.attest, s.bind, s.narrow, s.decide}
	for _, step := range steps {
		if err := step(ctx, x); err != nil {
			return tokenReply{}, err
		}
	}
	token, err := s.c.Format.Mint(s.c.Keys.Signer(s.c.Format.Typ), &x.grant)
	if err != nil {
		return tokenReply{}, err
	}
	if err := s.c.Audit.Append(ctx, x.act()); err != nil {
		return tokenReply{}, &oauthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: "the issue could not be put on record", cause: err}
	}
	reply := tokenReply{AccessToken: token, IssuedType: typeAccess, TokenType: "DPoP", Scope: x.grant.Scope, ExpiresIn: int64(x.grant.Expires.Sub(x.now) / time.Second)}
	if x.grant.Bearer {
		reply.TokenType = "Bearer"
	}
	return reply, nil
}

// attest finds out whose subject token this is.
func (s *Service) attest(ctx context.Context, x *exchange) error {
	grant, err := x.form.require("grant_type")
	if err != nil {
		return err
	}
	if grant != grantExchange {
		return refuse("unsupported_grant_type", "the only grant is %s", grantExchange)
	}
	token, err := x.form.require("subject_token")
	if err != nil {
		return err
	}
	switch x.form["subject_token_type"] {
	case typeJWT, typeID, typeAccess:
	default:
		return refuse("invalid_request", "subject_token_type must be a jwt, id_token or access_token")
	}
	switch x.form["requested_token_type"] {
	case "", typeAccess, typeJWT:
	default:
		return refuse("invalid_request", "only access tokens are issued")
	}
	if x.form["actor_token"] != "" || x.form["actor_token_type"] != "" {
		return refuse("invalid_request", "actor tokens are not accepted")
	}
	x.subject, err = s.c.Subjects.VerifySubject(ctx, token, x.now)
	switch {
	case errors.Is(err, nhi.ErrBusy):
		return &oauthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: "the keys of the token's issuer are not available", cause: err}
	case err != nil:
		// RFC 8693, section 2.2.2, wants invalid_request here.
		return &oauthError{Status: http.StatusBadRequest, Code: "invalid_request", Description: "the subject token is not accepted", cause: err}
	}
	if !s.limits.take(x.subject.Attested.Identity, x.now) {
		return &oauthError{Status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Description: "too many exchanges by this identity"}
	}
	return nil
}

// bind checks the proof of possession. Without one only a bearer token can be
// issued, and only if the trust rule says so.
func (s *Service) bind(_ context.Context, x *exchange) error {
	if x.proof == "" {
		if !x.subject.Bearer {
			return refuse("invalid_dpop_proof", "a DPoP proof is required")
		}
		x.grant.Bearer = true
		return nil
	}
	proof, err := jose.ParseProof(x.proof, jose.ProofWant{Method: http.MethodPost, URL: s.c.Issuer + TokenPath, Now: x.now})
	if err != nil {
		return &oauthError{Status: http.StatusBadRequest, Code: "invalid_dpop_proof", Description: "the DPoP proof is not for this request", cause: err}
	}
	if !s.replay.Fresh(string(x.subject.Attested.Identity), proof.JKT+" "+proof.JTI, x.now) {
		return refuse("invalid_dpop_proof", "the DPoP proof was used before")
	}
	x.grant.JKT = proof.JKT
	return nil
}

// narrow settles audience, scope and life: what was asked for and the rule
// allows, and never beyond the life of the subject token.
func (s *Service) narrow(_ context.Context, x *exchange) error {
	audience := x.form["audience"]
	if resource := x.form["resource"]; resource != "" {
		if audience != "" && audience != resource {
			return refuse("invalid_target", "a token has one audience")
		}
		audience = resource
	}
	if audience == "" {
		audience = s.c.Issuer
	}
	if audience != s.c.Issuer && !slices.Contains(x.subject.Audiences, audience) {
		return refuse("invalid_target", "the trust rule does not allow this audience")
	}
	asked := strings.Fields(x.form["scope"])
	var granted []string
	for _, scope := range asked {
		if slices.Contains(x.subject.Scopes, scope) && !slices.Contains(granted, scope) {
			granted = append(granted, scope)
		}
	}
	if len(asked) > 0 && len(granted) == 0 {
		return refuse("invalid_scope", "the trust rule allows none of these scopes")
	}
	if purpose := x.form["purpose"]; purpose != "" {
		if !slices.Contains(x.subject.Purposes, purpose) {
			return refuse("invalid_request", "the trust rule does not allow this purpose")
		}
		x.grant.Purpose = purpose
	}
	ttl := s.c.Settings.TTL
	if x.subject.TTL > 0 {
		ttl = min(x.subject.TTL, maxTTL)
	}
	expires := x.now.Add(ttl)
	if end := x.subject.Attested.Expires; !end.IsZero() && end.Before(expires) {
		expires = end
	}
	expires = expires.Truncate(time.Second)
	if !expires.After(x.now) {
		return refuse("invalid_request", "the subject token is about to expire")
	}
	x.grant.Audience, x.grant.Scope, x.grant.Expires = audience, strings.Join(granted, " "), expires
	return nil
}

// decide asks whether this identity may be issued a token now, and fills in
// the rest of the grant.
func (s *Service) decide(ctx context.Context, x *exchange) error {
	subject := x.subject.Attested
	if x.grant.JKT != "" {
		subject.SenderBound, subject.Thumbprint = true, x.grant.JKT
		subject.Assurance = nhi.AssuranceAttested
	}
	subject.Purpose = x.grant.Purpose
	q := nhi.Question{
		Subject: subject, Action: nhi.Exchange, Operation: "token-exchange", Resource: Resource,
		Address: x.address, Agent: x.agent, At: x.now,
	}
	d := s.c.Decider.Decide(ctx, &q)
	x.decision = d.ID
	if d.Outcome != nhi.Allow || d.WouldRefuse || d.Glass != "" {
		return refuse("invalid_request", "policy does not allow it now (decision %s)", d.ID)
	}
	identity, known := s.c.Status.Identity(q.Subject.Identity)
	if !known {
		return refuse("invalid_request", "the identity is not in the inventory")
	}
	g := &x.grant
	g.Issuer, g.Subject, g.Identity = s.c.Issuer, s.spiffe(q.Subject.Identity), q.Subject.Identity
	g.Environment, g.Rule, g.Method = identity.Environment.Name, x.subject.Rule, subject.Method
	g.Attestation = subject.Attestation
	g.ID = newID()
	g.IssuedAt, g.NotBefore = x.now.Truncate(time.Second), x.now.Truncate(time.Second).Add(-backdate)
	return nil
}

func (x *exchange) act() Act {
	return Act{
		Name: ActIssue, Actor: string(x.grant.Identity), Target: x.grant.ID, Identity: x.grant.Identity,
		Detail: map[string]any{
			"rule": x.grant.Rule, "audience": x.grant.Audience, "scope": x.grant.Scope, "purpose": x.grant.Purpose, "jkt": x.grant.JKT, "bearer": x.grant.Bearer,
			"expires": x.grant.Expires.UTC().Format(time.RFC3339), "decision": x.decision, "address": x.address.String(),
		},
	}
}

// newID returns 16 random bytes for a jti.
func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(id[:])
}
