package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

const (
	clientID = "muster"
	secret   = "a secret that only the two know"
	nonce    = "the nonce that we sent"
	verifier = "the-verifier-that-we-kept-0123456789-0123456789"
	home     = "http://127.0.0.1:8700"
)

// A double is an OpenID Connect provider that says what a test wants.
type double struct {
	t        *testing.T
	url      string
	signer   *jose.Signer
	metadata map[string]any // of the discovery document
	claims   map[string]any // of the ID token
	sign     func(claims map[string]any) string
	handle   map[string]http.HandlerFunc // instead of what it would do
	asked    atomic.Int32                // for its metadata
	form     url.Values                  // of the last request for a token
	basic    bool                        // the secret came in the header
}

func newDouble(t *testing.T) *double {
	t.Helper()
	d := &double{t: t, signer: jose.NewES256Signer(jose.GenerateES256(), "JWT"), handle: map[string]http.HandlerFunc{}}
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	d.url = srv.URL
	d.metadata = map[string]any{
		"issuer": d.url, "authorization_endpoint": d.url + "/authorize", "token_endpoint": d.url + "/token", "jwks_uri": d.url + "/keys",
		"end_session_endpoint": d.url + "/end?a=b", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	}
	now := time.Now()
	d.claims = map[string]any{
		"iss": d.url, "sub": "ada", "aud": clientID, "nonce": nonce, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"name": "Ada", "email": "ada@example.com", "email_verified": true, "groups": []string{"payments", "admins"},
	}
	d.sign = d.signed
	return d
}

func (d *double) signed(claims map[string]any) string {
	token, err := d.signer.Sign(claims)
	if err != nil {
		panic(err)
	}
	return token
}

// ServeHTTP implements http.Handler.
func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/.well-known/openid-configuration" {
		d.asked.Add(1)
	}
	if h := d.handle[r.URL.Path]; h != nil {
		h(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(d.metadata)
	case "/keys":
		set, err := jose.NewKeySet(d.signer.Key())
		if err != nil {
			panic(err)
		}
		keys, err := set.Marshal()
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(keys)
	case "/token":
		d.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (d *double) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	d.form = r.PostForm
	id, password, basic := r.BasicAuth()
	d.basic = basic
	if !basic {
		id, password = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	password, _ = url.QueryUnescape(password)
	if id != clientID || password != secret && password != "" || r.PostForm.Get("code") != "good" || r.PostForm.Get("code_verifier") != verifier {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "at", "token_type": "Bearer", "id_token": d.sign(d.claims)})
}

// provider is ours, with whatever a test changes.
func (d *double) provider(edit ...func(*Settings)) *Provider {
	d.t.Helper()
	s := Settings{Issuer: d.url, ClientID: clientID}
	for _, e := range edit {
		e(&s)
	}
	p, err := New(s, secret, home)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

func answer() access.Answer { return access.Answer{Code: "good", Verifier: verifier, Nonce: nonce} }

func TestAPersonIsWhoTheProviderSays(t *testing.T) {
	d := newDouble(t)
	p := d.provider()
	to, err := p.Begin(t.Context(), "the state", nonce, verifier)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(verifier))
	want := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {home + "/signin/callback"}, "scope": {"openid profile email"}, "state": {"the state"},
		"nonce": {nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if u.Path != "/authorize" || u.Query().Encode() != want.Encode() {
		t.Errorf("the browser is sent to %s, want %v", to, want)
	}
	got, err := p.Finish(t.Context(), answer())
	if err != nil || got.Subject != "ada" || got.Issuer != d.url || got.Name != "Ada" || got.Email != "ada@example.com" || !got.Verified || strings.Join(got.Groups, ",") != "payments,admins" {
		t.Errorf("got %+v, %v", got, err)
	}
	if d.form.Get("redirect_uri") != home+"/signin/callback" || !d.basic || d.form.Has("client_secret") {
		t.Errorf("asked for the token with %v, header %v", d.form, d.basic)
	}
}

// base64 of a JSON value.
func segment(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func atHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func TestAnIDTokenThatIsNotGoodIsRefused(t *testing.T) {
	now := time.Now()
	for name, attack := range map[string]func(d *double){
		"another nonce":                    func(d *double) { d.claims["nonce"] = "of another browser" },
		"no nonce":                         func(d *double) { delete(d.claims, "nonce") },
		"another issuer":                   func(d *double) { d.claims["iss"] = "https://id.example.com" },
		"the issuer with a slash":          func(d *double) { d.claims["iss"] = d.url + "/" },
		"no issuer":                        func(d *double) { delete(d.claims, "iss") },
		"another audience":                 func(d *double) { d.claims["aud"] = "wiki" },
		"no audience":                      func(d *double) { delete(d.claims, "aud") },
		"many audiences and no party":      func(d *double) { d.claims["aud"] = []string{clientID, "wiki"} },
		"many audiences, another party":    func(d *double) { d.claims["aud"], d.claims["azp"] = []string{clientID, "wiki"}, "wiki" },
		"ours, authorised for another":     func(d *double) { d.claims["azp"] = "wiki" },
		"no subject":                       func(d *double) { delete(d.claims, "sub") },
		"an endless subject":               func(d *double) { d.claims["sub"] = strings.Repeat("a", 300) },
		"expired":                          func(d *double) { d.claims["exp"] = now.Add(-2 * time.Minute).Unix() },
		"without an end":                   func(d *double) { delete(d.claims, "exp") },
		"issued in the future":             func(d *double) { d.claims["iat"] = now.Add(2 * time.Minute).Unix() },
		"issued long ago":                  func(d *double) { d.claims["iat"] = now.Add(-time.Hour).Unix() },
		"issued at no time":                func(d *double) { delete(d.claims, "iat") },
		"not valid yet":                    func(d *double) { d.claims["nbf"] = now.Add(time.Hour).Unix() },
		"an access token of somebody else": func(d *double) { d.claims["at_hash"] = atHash("another") },
		"no signature (alg none)": func(d *double) {
			d.sign = func(c map[string]any) string {
				return segment(map[string]string{"alg": "none"}) + "." + segment(c) + "."
			}
		},
		"a signature of nobody (alg none)": func(d *double) {
			d.sign = func(c map[string]any) string {
				return segment(map[string]string{"alg": "none"}) + "." + segment(c) + ".AAAA"
			}
		},
		"signed with our secret (HS256)": func(d *double) { d.sign = func(c map[string]any) string { return hs256([]byte(secret), c) } },
		"signed with the public key (HS256)": func(d *double) {
			set, err := jose.NewKeySet(d.signer.Key())
			if err != nil {
				t.Fatal(err)
			}
			public, err := set.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			d.sign = func(c map[string]any) string { return hs256(public, c) }
		},
		"signed by a key of somebody else": func(d *double) {
			d.sign = (&double{signer: jose.NewES256Signer(jose.GenerateES256(), "JWT")}).signed
		},
		"changed after it was signed": func(d *double) {
			d.sign = func(c map[string]any) string {
				parts := strings.Split(d.signed(c), ".")
				forged := maps.Clone(c)
				forged["sub"] = "root"
				return parts[0] + "." + segment(forged) + "." + parts[2]
			}
		},
		"no ID token": func(d *double) { d.sign = func(map[string]any) string { return "" } },
		"no token":    func(d *double) { d.sign = func(map[string]any) string { return "this is none" } },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDouble(t)
			attack(d)
			got, err := d.provider().Finish(t.Context(), answer())
			if !errors.Is(err, nhi.ErrDenied) || got.Subject != "" {
				t.Errorf("got %+v, %v, want a denial", got, err)
			}
		})
	}
}

func hs256(key []byte, claims map[string]any) string {
	text := segment(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + segment(claims)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func TestAnIDTokenThatIsGoodIsTaken(t *testing.T) {
	now := time.Now()
	for name, edit := range map[string]func(d *double){
		"its clock is half a minute ahead":  func(d *double) { d.claims["iat"] = now.Add(30 * time.Second).Unix() },
		"its clock is half a minute behind": func(d *double) { d.claims["exp"] = now.Add(-30 * time.Second).Unix() },
		"the hash of our access token":      func(d *double) { d.claims["at_hash"] = atHash("at") },
		"many audiences and us as party":    func(d *double) { d.claims["aud"], d.claims["azp"] = []string{"wiki", clientID}, clientID },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDouble(t)
			edit(d)
			if got, err := d.provider().Finish(t.Context(), answer()); err != nil || got.Subject != "ada" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestAnAnswerOfAnotherIssuerIsRefusedBeforeTheCodeIsSent(t *testing.T) {
	for name, tt := range map[string]struct {
		issuer string
		says   bool // that answers name their issuer (RFC 9207)
	}{"mix-up": {"https://evil.example", false}, "mix-up, and we were told to look": {"https://evil.example", true}, "left out, and we were told to look": {"", true}} {
		t.Run(name, func(t *testing.T) {
			d := newDouble(t)
			d.metadata["authorization_response_iss_parameter_supported"] = tt.says
			a := answer()
			a.Issuer = tt.issuer
			if _, err := d.provider().Finish(t.Context(), a); !errors.Is(err, nhi.ErrDenied) || d.form != nil {
				t.Errorf("%v; the code was sent with %v", err, d.form)
			}
		})
	}
	d := newDouble(t)
	d.metadata["authorization_response_iss_parameter_supported"] = true
	a := answer()
	a.Issuer = d.url
	if _, err := d.provider().Finish(t.Context(), a); err != nil {
		t.Errorf("our own issuer: %v", err)
	}
}

func TestACodeThatTheProviderRefusesIsADenial(t *testing.T) {
	d := newDouble(t)
	a := answer()
	a.Verifier = "of another browser"
	if _, err := d.provider().Finish(t.Context(), a); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsSaidOfAPersonIsRead(t *testing.T) {
	for name, tt := range map[string]struct {
		edit     func(d *double, s *Settings)
		verified bool
		email    string
		groups   string
	}{
		"unverified":                      {func(d *double, _ *Settings) { d.claims["email_verified"] = false }, false, "ada@example.com", "payments,admins"},
		"nothing said of verification":    {func(d *double, _ *Settings) { delete(d.claims, "email_verified") }, false, "ada@example.com", "payments,admins"},
		"the word true":                   {func(d *double, _ *Settings) { d.claims["email_verified"] = "true" }, true, "ada@example.com", "payments,admins"},
		"a number for verified":           {func(d *double, _ *Settings) { d.claims["email_verified"] = 1 }, false, "ada@example.com", "payments,admins"},
		"another claim is never verified": {func(d *double, s *Settings) { d.claims["upn"] = "root@example.com"; s.Claims.Email = "upn" }, false, "root@example.com", "payments,admins"},
		"one group as text":               {func(d *double, _ *Settings) { d.claims["groups"] = "payments" }, true, "ada@example.com", "payments"},
		"groups of another claim": {func(d *double, s *Settings) {
			d.claims["roles"] = []any{"a", 7, "", "a", nil}
			s.Claims.Groups = "roles"
		}, true, "ada@example.com", "a"},
		"groups that are none":             {func(d *double, _ *Settings) { d.claims["groups"] = map[string]any{"admins": true} }, true, "ada@example.com", ""},
		"an address that is none":          {func(d *double, _ *Settings) { d.claims["email"] = []string{"ada@example.com"} }, true, "", "payments,admins"},
		"groups without end, and one huge": {func(d *double, _ *Settings) { d.claims["groups"] = []string{strings.Repeat("g", 1000), "x"} }, true, "ada@example.com", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDouble(t)
			p := d.provider(func(s *Settings) { tt.edit(d, s) })
			got, err := p.Finish(t.Context(), answer())
			if err != nil || got.Verified != tt.verified || got.Email != tt.email || strings.Join(got.Groups, ",") != tt.groups {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestAProviderThatIsNotOneIsRefused(t *testing.T) {
	const well = "/.well-known/openid-configuration"
	for name, tt := range map[string]struct {
		edit func(d *double)
		says string
	}{
		"the metadata of another issuer": {func(d *double) { d.metadata["issuer"] = "https://evil.example" }, "did not match"},
		"a redirect elsewhere": {func(d *double) {
			other := newDouble(d.t)
			d.handle[well] = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.url+well, http.StatusFound) }
		}, "redirects"},
		"a body without end": {func(d *double) {
			d.handle[well] = func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"issuer":"` + d.url + `","x":"` + strings.Repeat("x", 2*maxBody) + `"}`))
			}
		}, "decode"},
		"a page": {func(d *double) {
			d.handle[well] = func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, strings.Repeat("<h1>sorry</h1>\x1b[31m", 10_000), http.StatusBadGateway)
			}
		}, "502"},
		"no keys":                          {func(d *double) { delete(d.metadata, "jwks_uri") }, "want https"},
		"a code that travels in the clear": {func(d *double) { d.metadata["token_endpoint"] = "http://id.example.com/token" }, "want https"},
		"people who travel in the clear":   {func(d *double) { d.metadata["authorization_endpoint"] = "http://id.example.com/authorize" }, "want https"},
		"a script for an address":          {func(d *double) { d.metadata["authorization_endpoint"] = "javascript:alert(1)" }, "want https"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDouble(t)
			tt.edit(d)
			p := d.provider()
			_, err := p.Begin(t.Context(), "s", nonce, verifier)
			if err == nil || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 600 || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("got %.700v, want %q in it, and short", err, tt.says)
			}
			if _, again := p.Finish(t.Context(), answer()); again == nil || d.asked.Load() > 1 {
				t.Errorf("then: %v, asked %d times", again, d.asked.Load())
			}
		})
	}
}

func TestATokenEndpointThatMisbehavesGivesNobodyASession(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"a redirect that would carry the code away": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/steal", http.StatusTemporaryRedirect)
		},
		"a body without end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"` + strings.Repeat("x", 2*maxBody) + `"}`))
		},
		"an error of its own": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sorry", http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDouble(t)
			d.handle["/token"] = handle
			if got, err := d.provider().Finish(t.Context(), answer()); err == nil || got.Subject != "" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestASlowProviderHoldsUpNobodyElse(t *testing.T) {
	d := newDouble(t)
	release, begun := make(chan struct{}), make(chan struct{})
	d.handle["/.well-known/openid-configuration"] = func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_ = json.NewEncoder(w).Encode(d.metadata)
	}
	p := d.provider()
	first := make(chan error, 1)
	go func() {
		_, err := p.Begin(t.Context(), "s", nonce, verifier)
		first <- err
	}()
	<-begun
	if got := p.SignOut(); got != "" { // hangs here if the lock is held
		t.Errorf("signing out leads to %q", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Begin(gone, "s", nonce, verifier); !errors.Is(err, context.Canceled) {
		t.Errorf("a browser that went away: %v", err)
	}
	close(release)
	if err := <-first; err != nil || d.asked.Load() != 1 {
		t.Errorf("the first: %v, asked %d times", err, d.asked.Load())
	}
}

func TestTheOneWhoAsksAndGoesAwayDoesNotBlockTheOthers(t *testing.T) {
	d := newDouble(t)
	gone, cancel := context.WithCancel(t.Context())
	d.handle["/.well-known/openid-configuration"] = func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		_ = json.NewEncoder(w).Encode(d.metadata)
	}
	p := d.provider()
	_, _ = p.Begin(gone, "s", nonce, verifier) // may have been fast enough
	if _, err := p.Begin(t.Context(), "s", nonce, verifier); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestTheSecretGoesWhereTheProviderTakesIt(t *testing.T) {
	for name, tt := range map[string]struct {
		methods []string
		secret  string
		basic   bool
	}{
		"in the header": {[]string{"client_secret_post", "client_secret_basic"}, secret, true}, "nothing said": {nil, secret, true},
		"in the form": {[]string{"client_secret_post"}, secret, false}, "a public client": {[]string{"client_secret_basic"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDouble(t)
			d.metadata["token_endpoint_auth_methods_supported"] = tt.methods
			p, err := New(Settings{Issuer: d.url, ClientID: clientID}, tt.secret, home)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Finish(t.Context(), answer()); err != nil || d.basic != tt.basic || d.form.Get("client_secret") != "" == (tt.basic || tt.secret == "") {
				t.Errorf("%v; header %v, form %v", err, d.basic, d.form)
			}
		})
	}
}

func TestSigningOutLeadsToTheProvider(t *testing.T) {
	d := newDouble(t)
	p := d.provider()
	if err := p.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := d.url + "/end?" + url.Values{"a": {"b"}, "client_id": {clientID}, "post_logout_redirect_uri": {home + "/"}}.Encode()
	if got := p.SignOut(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []string{"", "http://id.example.com/end", "javascript:alert(1)", "/end", "https://user@id.example.com/end"} {
		d := newDouble(t)
		d.metadata["end_session_endpoint"] = bad
		p := d.provider()
		if err := p.Health(t.Context()); err != nil || p.SignOut() != "" {
			t.Errorf("%q: %v, %q", bad, err, p.SignOut())
		}
	}
}

func TestSettingsThatCannotBeMeantAreNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		s    Settings
		says string
	}{
		"plain http":     {Settings{Issuer: "http://id.example.com", ClientID: clientID}, "https"},
		"no host":        {Settings{Issuer: "id.example.com", ClientID: clientID}, "issuer"},
		"a query":        {Settings{Issuer: "https://id.example.com?x=y", ClientID: clientID}, "issuer"},
		"a user":         {Settings{Issuer: "https://root@id.example.com", ClientID: clientID}, "issuer"},
		"no client":      {Settings{Issuer: "https://id.example.com"}, "client_id"},
		"nothing at all": {Settings{}, "issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tt.s, "", home); !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q in it", err, tt.says)
			}
		})
	}
}
