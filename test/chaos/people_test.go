package chaos

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/jose"
)

// A provider is an OpenID Connect provider that signs in whom the test names.
type provider struct {
	url    string
	signer *jose.Signer
	mu     sync.Mutex        // guards what follows
	who    string            // signs in next
	nonces map[string]string // by code
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{signer: jose.NewES256Signer(jose.GenerateES256(), "JWT"), nonces: map[string]string{}}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

// settings are lines of the configuration of a server that people sign in to:
// whoever the provider names administers it.
func (p *provider) settings(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "oidc.secret")
	if err := os.WriteFile(file, []byte("a secret that only the two know\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "access:\n  sso: {issuer: \"" + p.url + "\", client_id: muster, client_secret_file: " + file + "}\n  roles:\n    - {group: admins, role: admin}\n"
}

// ServeHTTP implements http.Handler.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer(map[string]any{
			"issuer": p.url, "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token", "jwks_uri": p.url + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
		})
	case "/keys":
		set, err := jose.NewKeySet(p.signer.Key())
		if err != nil {
			panic(err)
		}
		keys, err := set.Marshal()
		if err != nil {
			panic(err)
		}
		answer(json.RawMessage(keys))
	case "/authorize":
		q := r.URL.Query()
		p.nonces[p.who] = q.Get("nonce")
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {p.who}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	case "/token":
		who := r.PostFormValue("code")
		now := time.Now()
		token, err := p.signer.Sign(map[string]any{
			"iss": p.url, "sub": who, "aud": "muster", "nonce": p.nonces[who], "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
			"name": who, "email": who + "@example.com", "email_verified": true, "groups": []string{"admins"},
		})
		if err != nil {
			panic(err)
		}
		answer(map[string]any{"access_token": "at", "token_type": "Bearer", "id_token": token})
	default:
		http.NotFound(w, r)
	}
}

// person signs somebody in at a server and returns their browser.
func (p *provider) person(t *testing.T, c *child, who string) *client.Client {
	t.Helper()
	p.mu.Lock()
	p.who = who
	p.mu.Unlock()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Jar: jar, Timeout: 30 * time.Second}).Get(c.url + "/signin/sso?next=/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	home, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range jar.Cookies(home) {
		if strings.HasSuffix(cookie.Name, "muster") {
			return c.as(t, "").WithTransport(browser{cookie})
		}
	}
	t.Fatalf("%s is not signed in (%d); the server said:\n%.4000s", who, res.StatusCode, c.out)
	return nil
}

// A browser sends what one does with a session.
type browser struct{ cookie *http.Cookie }

func (b browser) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	r.Header.Set("Muster-Csrf", "1")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.AddCookie(b.cookie)
	return http.DefaultTransport.RoundTrip(r)
}
