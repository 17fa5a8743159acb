package issuer_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/attest/token"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/issuer/jwt"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/seal"
)

const home = "https://muster.example"

var (
	robot   = nhi.IdentityID("muster", "test", "robot")
	careful = nhi.IdentityID("muster", "test", "careful")
)

// trust lets issuer ask attest/oidc, as server does.
type trust struct{ *oidc.Trust }

func (t trust) VerifySubject(ctx context.Context, token string, now time.Time) (issuer.Subject, error) {
	s, err := t.Verify(ctx, token, now)
	return issuer.Subject{
		Attested: s.Attested, Rule: s.Rule.Name, Audiences: s.Rule.Audiences, Scopes: s.Rule.Scopes, Bearer: s.Rule.Bearer, TTL: s.Rule.TTL,
		Purposes: s.Rule.Purposes,
	}, err
}

// A world is everything around a Service, in memory.
type world struct {
	*issuer.Service
	keys     *issuer.Keys
	platform *jose.Signer // of the workloads' platform
	iss      string       // of the platform
	prover   *jose.Prover

	mu          sync.Mutex // guards the rest
	answer      nhi.Decision
	asked       []nhi.Question
	acts        []issuer.Act
	auditErr    error
	revocations []nhi.Revocation
	revokeErr   error
	revoked     bool
	state       nhi.State
	unknown     bool
}

func (w *world) Decide(_ context.Context, q *nhi.Question) nhi.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked[:0], *q)
	return w.answer
}

func (w *world) Append(_ context.Context, a issuer.Act) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.auditErr == nil {
		w.acts = append(w.acts[:len(w.acts):len(w.acts)], a)
		w.acts = w.acts[max(0, len(w.acts)-16):]
	}
	return w.auditErr
}

func (w *world) Revoke(_ context.Context, r nhi.Revocation) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.revokeErr == nil {
		w.revocations = append(w.revocations, r)
	}
	return w.revokeErr
}

func (w *world) Identity(id nhi.ID) (nhi.Identity, bool) {
	return nhi.Identity{ID: id, State: w.state, Environment: nhi.Environment{Name: "prod"}}, !w.unknown
}

func (w *world) Revoked(nhi.Attested) bool { return w.revoked }

func (w *world) Authenticate(authorization string, _ netip.AddrPort) (nhi.Point, error) {
	if authorization != "Bearer point" {
		return nhi.Point{}, nhi.ErrDenied
	}
	return nhi.Point{ID: "p"}, nil
}

func newWorld(t testing.TB, edit func(*issuer.Config)) *world {
	t.Helper()
	w := &world{
		platform: jose.NewES256Signer(jose.GenerateES256(), "JWT"), prover: jose.NewProver(jose.GenerateES256()),
		answer: nhi.Decision{ID: "dec-1", Outcome: nhi.Allow}, state: nhi.Active,
	}
	set, err := jose.NewKeySet(w.platform.Key())
	if err != nil {
		t.Fatal(err)
	}
	body, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, _ *http.Request) { _, _ = res.Write(body) }))
	t.Cleanup(server.Close)
	w.iss = server.URL
	rule := oidc.Rule{Name: "robot", Issuer: w.iss, JWKSURI: w.iss + "/keys", Audience: home, Claims: map[string]oidc.Values{"sub": {"robot"}}, Identity: robot,
		Audiences: []string{"https://db.example"}, Scopes: []string{"read", "list"}, Purposes: []string{"billing"}}
	open := rule
	open.Name, open.Claims, open.Identity, open.Bearer, open.TTL = "open", map[string]oidc.Values{"sub": {"open"}}, careful, true, 15*time.Minute
	rules, err := oidc.New([]oidc.Rule{rule, open}, oidc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if w.keys, err = issuer.OpenKeys(t.Context(), &keyStore{}, seal.New()); err != nil {
		t.Fatal(err)
	}
	c := issuer.Config{
		Issuer: home, Keys: w.keys, Format: jwt.Format, Subjects: trust{rules}, Decider: w, Audit: w, Revocations: w, Status: w, Points: w,
		Admin:    func(r *http.Request) (string, bool) { return "ada", r.Header.Get("X-Admin") == "yes" },
		Settings: issuer.Settings{Rate: 1e6, Burst: 1e6},
	}
	if edit != nil {
		edit(&c)
	}
	if w.Service, err = issuer.New(c); err != nil {
		t.Fatal(err)
	}
	return w
}

type keyStore struct {
	sealed []byte
	err    error
}

func (s *keyStore) LoadKeys(context.Context) ([]byte, error) {
	if s.sealed == nil {
		return nil, fmt.Errorf("keys: %w", nhi.ErrNotFound)
	}
	return s.sealed, nil
}

func (s *keyStore) SaveKeys(_ context.Context, sealed []byte) error {
	if s.err == nil {
		s.sealed = sealed
	}
	return s.err
}

type claims = map[string]any

func (w *world) subject(t testing.TB, edit func(claims)) string {
	t.Helper()
	now := time.Now()
	c := claims{"iss": w.iss, "aud": home, "sub": "robot", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if edit != nil {
		edit(c)
	}
	s, err := w.platform.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) proof(t testing.TB, method, url, token string) string {
	t.Helper()
	p, err := w.prover.Proof(method, url, token)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// request is a good exchange.
func (w *world) request(t testing.TB, edit func(url.Values, http.Header)) *http.Request {
	t.Helper()
	f := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {w.subject(t, nil)},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Dpop": {w.proof(t, "POST", home+issuer.TokenPath, "")}, "User-Agent": {"robot/1.0"}}
	if edit != nil {
		edit(f, h)
	}
	r := httptest.NewRequest("POST", issuer.TokenPath, strings.NewReader(f.Encode()))
	r.RemoteAddr, r.Header = "198.51.100.9:4711", h
	return r
}

func (w *world) do(r *http.Request) *http.Response {
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	return rec.Result()
}

func decode(t testing.TB, res *http.Response) map[string]any {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("status %d, body %q: %v", res.StatusCode, body, err)
	}
	return v
}

func (w *world) token(t testing.TB, edit func(url.Values, http.Header)) string {
	t.Helper()
	res := w.do(w.request(t, edit))
	if res.StatusCode != 200 {
		t.Fatalf("exchange: %d %v", res.StatusCode, decode(t, res))
	}
	s, _ := decode(t, res)["access_token"].(string)
	return s
}

func TestAWorkloadExchangesItsPlatformTokenForOneThatWorksAtPoints(t *testing.T) {
	w := newWorld(t, nil)
	res := w.do(w.request(t, func(f url.Values, _ http.Header) { f.Set("scope", "read admin") }))
	reply := decode(t, res)
	access, _ := reply["access_token"].(string)
	delete(reply, "access_token")
	left, _ := reply["expires_in"].(float64)
	delete(reply, "expires_in")
	want := map[string]any{"issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "DPoP", "scope": "read"}
	if diff := cmp.Diff(want, reply); diff != "" || res.StatusCode != 200 || left < 298 || left > 300 {
		t.Fatalf("%d, expires_in %v (-want +got):\n%s", res.StatusCode, left, diff)
	}
	if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Muster-Decision") != "dec-1" {
		t.Errorf("headers %v", res.Header)
	}
	q := w.asked[0]
	if q.Action != nhi.Exchange || q.Resource != issuer.Resource || !q.Subject.SenderBound || q.Subject.Thumbprint != w.prover.JKT() || q.Address.String() != "198.51.100.9" || q.Agent != "robot/1.0" {
		t.Errorf("asked %+v", q)
	}

	v := attest.New(attest.Deps{Issuer: home, Keys: w.keys}, token.Method)
	const target = "https://shop.example/payments/17"
	got, err := v.Verify(t.Context(), nhi.Evidence{Authorization: "DPoP " + access, Proof: w.proof(t, "GET", target, access), Method: "GET", URL: target})
	if err != nil || got.Identity != robot || got.Assurance != nhi.AssuranceAttested || got.Thumbprint != w.prover.JKT() {
		t.Errorf("at a point it is %+v, %v", got, err)
	}
	if len(w.acts) != 1 || w.acts[0].Name != "token.issue" || w.acts[0].Target != got.KeyID {
		t.Errorf("audit says %+v", w.acts)
	}
	body, _ := json.Marshal(w.acts)
	if strings.Contains(string(body), access) {
		t.Error("the audit log holds the token")
	}
	if len(access) > 1536 {
		t.Errorf("token of %d bytes", len(access))
	}
}

func TestATokenIsIssuedForAPurposeOfItsRuleAndNoOther(t *testing.T) {
	w := newWorld(t, nil)
	peek, err := jose.Peek(w.token(t, func(f url.Values, _ http.Header) { f.Set("purpose", "billing") }))
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ NHI struct{ Purpose string } }
	if err := peek.Decode(&got); err != nil || got.NHI.Purpose != "billing" {
		t.Errorf("the token is for %q: %v", got.NHI.Purpose, err)
	}
	res := w.do(w.request(t, func(f url.Values, _ http.Header) { f.Set("purpose", "payroll") }))
	if body := decode(t, res); res.StatusCode != 400 || !strings.Contains(fmt.Sprint(body["error_description"]), "purpose") {
		t.Errorf("a purpose that nobody granted: %d %v", res.StatusCode, body)
	}
}

func TestTokenClaims(t *testing.T) {
	w := newWorld(t, nil)
	peek, err := jose.Peek(w.token(t, func(f url.Values, _ http.Header) { f.Set("audience", "https://db.example") }))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := peek.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if life := peek.Expires.Sub(peek.IssuedAt); life < 299*time.Second || life > 300*time.Second || peek.IssuedAt.Sub(peek.NotBefore) != 30*time.Second || len(peek.ID) != 22 {
		t.Errorf("life %v, nbf %v before iat, jti %q", life, peek.IssuedAt.Sub(peek.NotBefore), peek.ID)
	}
	for _, name := range []string{"exp", "iat", "nbf", "jti"} {
		delete(got, name)
	}
	att := got["nhi"].(map[string]any)["att"].(map[string]any)
	if at, err := time.Parse(time.RFC3339, att["at"].(string)); err != nil || time.Since(at) > time.Minute {
		t.Errorf("attested at %v", att["at"])
	}
	delete(att, "at")
	want := map[string]any{
		"iss": home, "sub": "spiffe://muster.example/nhi/" + string(robot), "aud": "https://db.example", "cnf": map[string]any{"jkt": w.prover.JKT()},
		"nhi": map[string]any{"id": string(robot), "env": "prod", "rule": "robot", "method": "oidc", "att": map[string]any{"method": "oidc", "level": 1.0, "selectors": []any{"sub:robot"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" || peek.Header.Typ != "at+jwt" || peek.Header.Alg != "ES256" {
		t.Errorf("header %+v (-want +got):\n%s", peek.Header, diff)
	}
}

func TestAttacksOnTheTokenEndpoint(t *testing.T) {
	w := newWorld(t, nil)
	none := func() string {
		_, rest, _ := strings.Cut(w.subject(t, nil), ".")
		payload, _, _ := strings.Cut(rest, ".")
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + payload + "."
	}
	evil := newWorld(t, nil)
	replayed := w.proof(t, "POST", home+issuer.TokenPath, "")
	w.token(t, func(_ url.Values, h http.Header) { h.Set("DPoP", replayed) })
	sub := func(s string) func(url.Values, http.Header) {
		return func(f url.Values, _ http.Header) { f.Set("subject_token", s) }
	}
	set := func(name, value string) func(url.Values, http.Header) {
		return func(f url.Values, _ http.Header) { f.Set(name, value) }
	}
	dpop := func(values ...string) func(url.Values, http.Header) {
		return func(_ url.Values, h http.Header) { h["Dpop"] = values }
	}
	for _, tt := range []struct {
		name string
		edit func(url.Values, http.Header)
		code string
	}{
		{"alg none", sub(none()), "invalid_request"},
		{"confused deputy: a token for somebody else", sub(w.subject(t, func(c claims) { c["aud"] = "sts.amazonaws.com" })), "invalid_request"},
		{"expired subject token", sub(w.subject(t, func(c claims) { c["exp"] = time.Now().Add(-time.Minute).Unix() })), "invalid_request"},
		{"subject token in its last instant", sub(w.subject(t, func(c claims) { c["exp"] = time.Now().Add(-time.Second).Unix() })), "invalid_request"},
		{"foreign issuer", sub(evil.subject(t, nil)), "invalid_request"},
		{"another workload of the issuer", sub(w.subject(t, func(c claims) { c["sub"] = "robot2" })), "invalid_request"},
		{"our own access token laundered", func(f url.Values, h http.Header) { f.Set("subject_token", w.token(t, nil)) }, "invalid_request"},
		{"no proof", dpop(), "invalid_dpop_proof"},
		{"two proofs", dpop(w.proof(t, "POST", home+issuer.TokenPath, ""), w.proof(t, "POST", home+issuer.TokenPath, "")), "invalid_request"},
		{"replayed proof", dpop(replayed), "invalid_dpop_proof"},
		{"proof for another endpoint", dpop(w.proof(t, "POST", home+issuer.RevokePath, "")), "invalid_dpop_proof"},
		{"proof for another server", dpop(w.proof(t, "POST", "https://evil.example"+issuer.TokenPath, "")), "invalid_dpop_proof"},
		{"proof for another method", dpop(w.proof(t, "GET", home+issuer.TokenPath, "")), "invalid_dpop_proof"},
		{"garbage proof", dpop("a.b.c"), "invalid_dpop_proof"},
		{"scope growth", set("scope", "admin write"), "invalid_scope"},
		{"audience growth", set("audience", "https://bank.example"), "invalid_target"},
		{"audience growth by resource", set("resource", "https://bank.example"), "invalid_target"},
		{"two audiences", func(f url.Values, _ http.Header) { f.Set("audience", home); f.Set("resource", "https://db.example") }, "invalid_target"},
		{"duplicate parameter", func(f url.Values, _ http.Header) { f.Add("subject_token", "x") }, "invalid_request"},
		{"duplicate audience", func(f url.Values, _ http.Header) { f["audience"] = []string{home, "https://db.example"} }, "invalid_request"},
		{"no grant type", set("grant_type", ""), "invalid_request"},
		{"another grant", set("grant_type", "client_credentials"), "unsupported_grant_type"},
		{"no subject token", set("subject_token", ""), "invalid_request"},
		{"SAML", set("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request"},
		{"a refresh token, please", set("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"},
		{"an actor", set("actor_token", "x"), "invalid_request"},
		{"JSON body", func(_ url.Values, h http.Header) { h.Set("Content-Type", "application/json") }, "invalid_request"},
		{"no content type", func(_ url.Values, h http.Header) { h.Del("Content-Type") }, "invalid_request"},
		{"huge body", set("scope", strings.Repeat("a", 65<<10)), "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(w.acts)
			res := w.do(w.request(t, tt.edit))
			got := decode(t, res)
			if res.StatusCode != 400 || got["error"] != tt.code || got["access_token"] != nil || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v, want 400 %s", res.StatusCode, got, tt.code)
			}
			if tt.name != "our own access token laundered" && len(w.acts) != before {
				t.Error("something was recorded as issued")
			}
		})
	}
}

func TestParametersInTheQueryAreNotRead(t *testing.T) {
	w := newWorld(t, nil)
	good := w.request(t, nil)
	body, _ := io.ReadAll(good.Body)
	r := httptest.NewRequest("POST", issuer.TokenPath+"?"+string(body), nil)
	r.Header = good.Header
	if res := w.do(r); res.StatusCode != 400 {
		t.Errorf("status %d, want 400", res.StatusCode)
	}
	for _, method := range []string{"GET", "PUT", "HEAD"} {
		r := httptest.NewRequest(method, issuer.TokenPath+"?"+string(body), nil)
		if res := w.do(r); res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
			t.Errorf("%s: status %d, want 405", method, res.StatusCode)
		}
	}
}

func TestBearerTokensNeedTheRulesLeave(t *testing.T) {
	w := newWorld(t, nil)
	open := func(f url.Values, h http.Header) {
		f.Set("subject_token", w.subject(t, func(c claims) { c["sub"] = "open" }))
		h.Del("DPoP")
	}
	res := w.do(w.request(t, open))
	reply := decode(t, res)
	if res.StatusCode != 200 || reply["token_type"] != "Bearer" {
		t.Fatalf("%d %v", res.StatusCode, reply)
	}
	access, _ := reply["access_token"].(string)
	v := attest.New(attest.Deps{Issuer: home, Keys: w.keys}, token.Method)
	if got, err := v.Verify(t.Context(), nhi.Evidence{Authorization: "Bearer " + access}); err != nil || got.Assurance != nhi.AssuranceShort || got.SenderBound {
		t.Errorf("at a point it is %+v, %v", got, err)
	}
	if w.asked[0].Subject.SenderBound || w.asked[0].Subject.Assurance != nhi.AssuranceShort {
		t.Errorf("decided as %+v", w.asked[0].Subject)
	}
	bound := w.do(w.request(t, func(f url.Values, _ http.Header) {
		f.Set("subject_token", w.subject(t, func(c claims) { c["sub"] = "open" }))
	}))
	if reply := decode(t, bound); reply["token_type"] != "DPoP" || reply["expires_in"].(float64) < 890 {
		t.Errorf("with a proof: %v", reply)
	}
}

func TestATokenNeverOutlivesItsSubjectToken(t *testing.T) {
	w := newWorld(t, nil)
	end := time.Now().Add(90 * time.Second).Truncate(time.Second)
	peek, err := jose.Peek(w.token(t, func(f url.Values, _ http.Header) {
		f.Set("subject_token", w.subject(t, func(c claims) { c["exp"] = end.Unix() }))
	}))
	if err != nil || !peek.Expires.Equal(end) {
		t.Errorf("expires %v, %v, want %v", peek.Expires, err, end)
	}
}

func TestWhatPolicyRefusesIsNotIssued(t *testing.T) {
	for _, d := range []nhi.Decision{{}, {ID: "d", Outcome: nhi.Deny}, {ID: "d", Outcome: nhi.StepUp}, {ID: "d", Outcome: nhi.Allow, WouldRefuse: true}, {ID: "d", Outcome: "sure"}} {
		w := newWorld(t, nil)
		w.answer = d
		if res := w.do(w.request(t, nil)); res.StatusCode != 400 || decode(t, res)["error"] != "invalid_request" || len(w.acts) != 0 {
			t.Errorf("%+v: status %d, %d acts", d, res.StatusCode, len(w.acts))
		}
	}
	w := newWorld(t, nil)
	w.unknown = true
	if res := w.do(w.request(t, nil)); res.StatusCode != 400 {
		t.Errorf("identity that is not in the inventory: %d", res.StatusCode)
	}
}

func TestWithoutARecordThereIsNoToken(t *testing.T) {
	w := newWorld(t, nil)
	w.auditErr = errors.New("disk full")
	res := w.do(w.request(t, nil))
	if got := decode(t, res); res.StatusCode != 503 || got["access_token"] != nil || strings.Contains(fmt.Sprint(got), "disk") {
		t.Errorf("%d %v", res.StatusCode, got)
	}
}

func TestOneIdentityCannotExhaustTheIssuer(t *testing.T) {
	w := newWorld(t, func(c *issuer.Config) { c.Settings = issuer.Settings{Rate: 0.001, Burst: 3} })
	for range 3 {
		w.token(t, nil)
	}
	if res := w.do(w.request(t, nil)); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("fourth: status %d, want 429", res.StatusCode)
	}
	w.token(t, func(f url.Values, _ http.Header) {
		f.Set("subject_token", w.subject(t, func(c claims) { c["sub"] = "open" }))
	})
}

func revocation(w *world, t testing.TB, tok string, header http.Header) *http.Response {
	r := httptest.NewRequest("POST", issuer.RevokePath, strings.NewReader(url.Values{"token": {tok}}.Encode()))
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(r)
}

func TestOnlyTheHolderOrAnAdministratorRevokes(t *testing.T) {
	w, thief := newWorld(t, nil), newWorld(t, nil)
	tok := w.token(t, nil)
	for name, header := range map[string]http.Header{
		"nobody":              {},
		"a thief":             {"Dpop": {thief.proof(t, "POST", home+issuer.RevokePath, tok)}},
		"proof of exchange":   {"Dpop": {w.proof(t, "POST", home+issuer.TokenPath, "")}},
		"proof without token": {"Dpop": {w.proof(t, "POST", home+issuer.RevokePath, "")}},
	} {
		if res := revocation(w, t, tok, header); res.StatusCode != 401 || len(w.revocations) != 0 {
			t.Errorf("%s: %d, %v", name, res.StatusCode, w.revocations)
		}
	}
	for name, header := range map[string]http.Header{
		"the holder":       {"Dpop": {w.proof(t, "POST", home+issuer.RevokePath, tok)}},
		"an administrator": {"X-Admin": {"yes"}},
	} {
		w.revocations = nil
		res := revocation(w, t, tok, header)
		peek, _ := jose.Peek(tok)
		if res.StatusCode != 200 || len(w.revocations) != 1 || w.revocations[0].Token != peek.ID || !w.revocations[0].Expires.After(peek.Expires) {
			t.Errorf("%s: %d, %+v", name, res.StatusCode, w.revocations)
		}
	}
	w.revocations = nil
	for name, foreign := range map[string]string{"garbage": "x", "somebody else's": thief.token(t, nil)} {
		if res := revocation(w, t, foreign, http.Header{}); res.StatusCode != 200 || len(w.revocations) != 0 {
			t.Errorf("%s: %d, %v", name, res.StatusCode, w.revocations)
		}
	}
	w.revokeErr = errors.New("store is away")
	if res := revocation(w, t, tok, http.Header{"X-Admin": {"yes"}}); res.StatusCode != 503 {
		t.Errorf("store away: %d, want 503", res.StatusCode)
	}
}

func TestIntrospectionIsForPointsAndTellsTheTruth(t *testing.T) {
	w := newWorld(t, nil)
	tok := w.token(t, func(f url.Values, _ http.Header) { f.Set("scope", "read") })
	ask := func(tok, authorization string) *http.Response {
		r := httptest.NewRequest("POST", issuer.IntrospectPath, strings.NewReader(url.Values{"token": {tok}}.Encode()))
		r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {authorization}}
		return w.do(r)
	}
	if res := ask(tok, "Bearer thief"); res.StatusCode != 401 {
		t.Errorf("without a point: %d", res.StatusCode)
	}
	got := decode(t, ask(tok, "Bearer point"))
	if got["active"] != true || got["sub"] != "spiffe://muster.example/nhi/"+string(robot) || got["token_type"] != "DPoP" || got["scope"] != "read" || got["aud"] != home ||
		got["cnf"].(map[string]any)["jkt"] != w.prover.JKT() {
		t.Errorf("active token: %v", got)
	}
	inactive := map[string]any{"active": false}
	check := func(name, tok string) {
		t.Helper()
		if diff := cmp.Diff(inactive, decode(t, ask(tok, "Bearer point"))); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	check("garbage", "x")
	check("somebody else's", newWorld(t, nil).token(t, nil))
	w.revoked = true
	check("revoked", tok)
	w.revoked, w.state = false, nhi.Quarantined
	check("quarantined", tok)
	w.state, w.unknown = nhi.Active, true
	check("unknown identity", tok)
}

func TestDiscoveryNamesOnlyWhatExists(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{issuer.DiscoveryPath, issuer.MetadataPath} {
		res := w.do(httptest.NewRequest("GET", path, nil))
		got := decode(t, res)
		if res.Header.Get("Cache-Control") != "public, max-age=300" || got["issuer"] != home || got["jwks_uri"] != home+issuer.KeysPath || got["token_endpoint"] != home+issuer.TokenPath {
			t.Errorf("%s: %v", path, got)
		}
		if got["authorization_endpoint"] != nil {
			t.Error("there is no authorization endpoint")
		}
	}
	res := w.do(httptest.NewRequest("GET", issuer.KeysPath, nil))
	body, _ := io.ReadAll(res.Body)
	set, err := jose.ParseJWKS(body)
	if err != nil || set.Len() != 2 || strings.Contains(string(body), `"d"`) || res.Header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("%v: %s", err, body)
	}
}

func TestIssuersThatClientsCouldNotComeToAreRefused(t *testing.T) {
	for _, iss := range []string{"", "muster.example", "https://muster.example/", "ftp://x", "https://x?y", "https://x#y", ":"} {
		if _, err := issuer.New(issuer.Config{Issuer: iss}); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("New(%q): %v", iss, err)
		}
	}
	if _, err := issuer.New(issuer.Config{Issuer: home, Settings: issuer.Settings{TTL: time.Hour}}); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("tokens of an hour: %v", err)
	}
}

func FuzzForm(f *testing.F) {
	w := newWorld(f, func(c *issuer.Config) { c.Subjects = nobody{} })
	f.Add("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=x", "application/x-www-form-urlencoded", "x")
	f.Add("a=1;b=2&%zz", "application/x-www-form-urlencoded; charset=x", "a.b.c")
	f.Fuzz(func(t *testing.T, body, media, proof string) {
		for _, path := range []string{issuer.TokenPath, issuer.RevokePath} {
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Header = http.Header{"Content-Type": {media}, "Dpop": {proof}}
			if res := w.do(r); res.StatusCode >= 500 || path == issuer.TokenPath && res.StatusCode == 200 {
				t.Errorf("%s: status %d", path, res.StatusCode)
			}
		}
	})
}

type nobody struct{}

func (nobody) VerifySubject(context.Context, string, time.Time) (issuer.Subject, error) {
	return issuer.Subject{}, nhi.ErrDenied
}
