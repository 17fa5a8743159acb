package issuer

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// clockLeeway is what the clocks of our own points may differ by: a
// revocation is kept for that much longer than the token lives.
const clockLeeway = time.Minute

// own verifies a token of ours, whoever it is for.
func (s *Service) own(token string, now time.Time) (jose.Verified, error) {
	return jose.Verify(token, s.c.Keys, jose.Options{
		Algs: []string{jose.ES256}, Types: []string{s.c.Format.Typ}, Issuer: s.c.Issuer, AnyAudience: true, Now: now,
	})
}

// serveRevoke is RFC 7009. Only who holds the token's key may revoke it, or an
// administrator; of a token without a key, whoever holds the token. A token
// that is not ours or has expired is answered like one that was revoked
// (section 2.2).
func (s *Service) serveRevoke(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	token, err := f.require("token")
	if err != nil {
		return err
	}
	now := time.Now()
	verified, err := s.own(token, now)
	if err != nil || verified.ID == "" {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	identity := identityOf(&verified)
	actor, isAdmin := "", false
	if s.c.Admin != nil {
		actor, isAdmin = s.c.Admin(r)
	}
	if !isAdmin {
		if err := s.holds(r, token, &verified, now); err != nil {
			return err
		}
		actor = string(identity)
	}
	act := Act{Name: "token.revoke", Actor: actor, Target: verified.ID, Identity: identity}
	if err := s.c.Audit.Append(r.Context(), act); err != nil {
		return &oauthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", cause: err}
	}
	err = s.c.Revocations.Revoke(r.Context(), nhi.Revocation{
		Token: verified.ID, At: now, Expires: verified.Expires.Add(clockLeeway), Reason: "revoked by " + actor,
	})
	if err != nil {
		return &oauthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", cause: err}
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// holds checks that the sender holds the key of a token.
func (s *Service) holds(r *http.Request, token string, verified *jose.Verified, now time.Time) error {
	if !verified.Bound {
		return nil
	}
	header, err := oneHeader(r, "DPoP")
	if err != nil {
		return err
	}
	proof, err := jose.ParseProof(header, jose.ProofWant{Method: http.MethodPost, URL: s.c.Issuer + RevokePath, AccessToken: token, Now: now})
	if err != nil {
		return &oauthError{Status: http.StatusUnauthorized, Code: "invalid_client", Description: "only the holder of the token's key may revoke it", cause: err}
	}
	if proof.JKT != verified.JKT || !s.replay.Fresh(proof.JKT, proof.JTI, now) {
		return &oauthError{Status: http.StatusUnauthorized, Code: "invalid_client", Description: "only the holder of the token's key may revoke it"}
	}
	return nil
}

// introspection is the response of RFC 7662, section 2.2.
type introspection struct {
	Active    bool            `json:"active"`
	Issuer    string          `json:"iss,omitempty"`
	Subject   string          `json:"sub,omitempty"`
	Audience  string          `json:"aud,omitempty"`
	Scope     string          `json:"scope,omitempty"`
	TokenType string          `json:"token_type,omitempty"`
	ID        string          `json:"jti,omitempty"`
	Expires   int64           `json:"exp,omitempty"`
	IssuedAt  int64           `json:"iat,omitempty"`
	NotBefore int64           `json:"nbf,omitempty"`
	Confirm   json.RawMessage `json:"cnf,omitempty"`
	NHI       json.RawMessage `json:"nhi,omitempty"`
}

// serveIntrospect is RFC 7662, for enrolled points only. A token that is bad
// in any way is inactive, and nothing else is said about it. The point must
// still check the proof of possession itself: cnf says of which key.
func (s *Service) serveIntrospect(w http.ResponseWriter, r *http.Request) error {
	header, err := oneHeader(r, "Authorization")
	if err != nil {
		return err
	}
	remote, _ := netip.ParseAddrPort(r.RemoteAddr) // nobody trusts the zero address
	if _, err := s.c.Points.Authenticate(header, remote); err != nil {
		return &oauthError{Status: http.StatusUnauthorized, Code: "invalid_client", Description: "an enrolled point's key is required", cause: err}
	}
	f, err := readForm(r)
	if err != nil {
		return err
	}
	token, err := f.require("token")
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.introspect(token, time.Now()))
	return nil
}

func (s *Service) introspect(token string, now time.Time) introspection {
	v, err := s.own(token, now)
	if err != nil || len(v.Claims.Audience) != 1 {
		return introspection{}
	}
	id := identityOf(&v)
	identity, known := s.c.Status.Identity(id)
	alive := []nhi.State{"", nhi.Active, nhi.Dormant, nhi.Deprecated}
	if !known || !slices.Contains(alive, identity.State) {
		return introspection{}
	}
	attested := nhi.Attested{Identity: id, KeyID: v.ID, Method: "token", SenderBound: v.Bound, Thumbprint: v.JKT, IssuedAt: v.IssuedAt, Expires: v.Expires}
	if s.c.Status.Revoked(attested) {
		return introspection{}
	}
	out := introspection{
		Active: true, Issuer: v.Issuer, Subject: v.Subject, Audience: v.Claims.Audience[0], TokenType: "Bearer", ID: v.ID,
		Expires: v.Expires.Unix(), IssuedAt: v.IssuedAt.Unix(), NotBefore: v.NotBefore.Unix(),
	}
	out.Scope, _ = v.Text("scope")
	out.Confirm, _ = v.Value("cnf")
	out.NHI, _ = v.Value("nhi")
	if v.Bound {
		out.TokenType = "DPoP"
	}
	return out
}

// identityOf returns the identity that a token of ours names.
func identityOf(v *jose.Verified) nhi.ID {
	raw, ok := v.Value("nhi")
	var claim struct {
		ID nhi.ID `json:"id"`
	}
	if !ok || json.Unmarshal(raw, &claim) != nil || !claim.ID.Valid() {
		return ""
	}
	return claim.ID
}
