// Package oidc signs people in with any OpenID Connect provider: authorization
// code with PKCE (RFC 7636, S256), state and nonce, answered to our own address
// only.
//
// It is strict where providers differ. The issuer must be exactly the configured
// one, in the metadata, in the answer (RFC 9207) and in the token. The ID token
// must be signed by an asymmetric key of the provider, be for us and for nobody
// else who was not named as its authorised party, carry our nonce, and be fresh
// within a minute of clock difference. What it says of a person is text; groups
// and verified addresses are judged by package access.
//
// The provider is asked for its metadata when it is first needed, and again
// while it does not answer, so a provider that is down stops new sign-ins and
// nothing else ([Provider.Health]).
package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/telemetry"
)

// Settings say which provider, and who we are to it.
type Settings struct {
	// Name is what people read on the button. Empty: single sign-on.
	Name string `yaml:"name" example:"Example ID"`
	// Issuer is the provider's address, exactly as its tokens name it.
	Issuer string `yaml:"issuer" unit:"URL" example:"https://id.example.com"`
	// ClientID is what the provider calls Muster.
	ClientID string `yaml:"client_id" example:"muster"`
	// ClientSecretFile holds the client's secret. Empty: a public client.
	ClientSecretFile string `yaml:"client_secret_file" unit:"file" example:"oidc.secret"`
	// Scopes are asked for beside openid. Empty: profile and email.
	Scopes []string `yaml:"scopes" example:"[profile, email, groups]"`
	// Claims say where the ID token tells name, address and groups.
	Claims Claims `yaml:"claims"`
	// AllowedDomains are the domains of verified addresses that may sign in.
	// Empty: whoever the provider lets through.
	AllowedDomains []string `yaml:"allowed_domains" example:"[example.com]"`
}

// Claims are names of claims of the ID token. An empty one is name, email or
// groups.
type Claims struct {
	// Name is the claim with the person's name. Empty: name.
	Name string `yaml:"name" example:"preferred_username"`
	// Email is the claim with the address. Empty: email. Another one is shown,
	// and never counts as verified.
	Email string `yaml:"email" example:"mail"`
	// Groups is the claim with the person's groups. Empty: groups.
	Groups string `yaml:"groups" example:"roles"`
}

// Check returns an error wrapping nhi.ErrInvalid that names the setting.
func (s Settings) Check() error {
	u, err := url.Parse(s.Issuer)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nhi.Invalidf("issuer %q: want a URL such as https://id.example.com", s.Issuer)
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return nhi.Invalidf("issuer %q: want https; plain http is for loopback only", s.Issuer)
	case s.ClientID == "":
		return nhi.Invalidf("client_id is missing")
	}
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// algorithms are those that an ID token may be signed with: asymmetric ones.
// With none and the HS family, whoever knows our client secret, or nothing,
// could sign.
var algorithms = []string{oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA, oidc.PS256, oidc.PS384, oidc.PS512, oidc.RS256, oidc.RS384, oidc.RS512}

const (
	skew    = time.Minute
	maxAge  = 10 * time.Minute // of an ID token that we just asked for
	timeout = 10 * time.Second
	maxBody = 1 << 20
	retry   = 15 * time.Second // how often a provider that is down is asked
)

// A Provider implements access.Provider. It is safe for concurrent use.
type Provider struct {
	s      Settings
	secret string
	back   string // our callback
	home   string // our public URL
	http   *http.Client

	mu     sync.Mutex    // guards what follows; not held while the provider is asked
	asking chan struct{} // closed when a question that is on its way was answered; nil: none is
	found  *metadata     // nil: not yet
	tried  time.Time
	err    error
}

// metadata is what a provider says of itself.
type metadata struct {
	*oidc.Provider
	style oauth2.AuthStyle // how it wants our secret

	Answers    bool     `json:"authorization_response_iss_parameter_supported"`
	EndSession string   `json:"end_session_endpoint"`
	Secrets    []string `json:"token_endpoint_auth_methods_supported"`
	Keys       string   `json:"jwks_uri"`
}

// New returns a Provider that answers come back from to public + "/signin/callback".
// It asks nobody yet. The error wraps nhi.ErrInvalid.
func New(s Settings, secret, public string) (*Provider, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if len(s.Scopes) == 0 {
		s.Scopes = []string{"profile", "email"}
	}
	for _, f := range []struct {
		to   *string
		name string
	}{{&s.Claims.Name, "name"}, {&s.Claims.Email, "email"}, {&s.Claims.Groups, "groups"}} {
		if *f.to == "" {
			*f.to = f.name
		}
	}
	client := &http.Client{
		Timeout: timeout, Transport: telemetry.Transport(limited{http.DefaultTransport}, "sso"),
		// A provider answers where its metadata says, or not at all.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the provider redirects") },
	}
	return &Provider{s: s, secret: secret, back: public + "/signin/callback", home: public + "/", http: client}, nil
}

// limited bounds what is read of an answer.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.next.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxBody), res.Body}
	}
	return res, err
}

func (p *Provider) client(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.http)
}

// discovered returns the provider's metadata, which is asked for until it is
// known. It waits for the answer until ctx ends.
func (p *Provider) discovered(ctx context.Context) (*metadata, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asking == nil && p.found == nil && time.Since(p.tried) >= retry {
		p.asking = make(chan struct{})
		// Whoever goes away meanwhile must not make it look as if it were down.
		go p.ask(context.WithoutCancel(ctx)) // ends within timeout
	}
	if answered := p.asking; answered != nil {
		p.mu.Unlock()
		select {
		case <-answered:
		case <-ctx.Done():
		}
		p.mu.Lock()
	}
	if p.found == nil && p.err == nil {
		return nil, fmt.Errorf("the provider %s has not answered yet: %w", p.s.Issuer, ctx.Err())
	}
	return p.found, p.err
}

// ask asks the provider for its metadata and tells whoever waits.
func (p *Provider) ask(ctx context.Context) {
	found, err := p.metadata(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found, p.err, p.tried = found, err, time.Now()
	close(p.asking)
	p.asking = nil
}

func (p *Provider) metadata(ctx context.Context) (*metadata, error) {
	var m metadata
	found, err := oidc.NewProvider(p.client(ctx), p.s.Issuer)
	if err == nil {
		err = found.Claims(&m)
	}
	if err != nil {
		// What it answered instead may be a page of any length.
		return nil, fmt.Errorf("the provider %s does not answer as one: %.300q", p.s.Issuer, err.Error())
	}
	for _, address := range []string{found.Endpoint().AuthURL, found.Endpoint().TokenURL, m.Keys} {
		if !safe(address) {
			return nil, fmt.Errorf("the provider %s sends people and secrets to %.100q: want https; plain http is for loopback only", p.s.Issuer, address)
		}
	}
	m.Provider, m.style = found, oauth2.AuthStyleInHeader
	// By the header, unless it takes the secret in the form only, or there is none.
	if p.secret == "" || len(m.Secrets) > 0 && !slices.Contains(m.Secrets, "client_secret_basic") {
		m.style = oauth2.AuthStyleInParams
	}
	return &m, nil
}

// safe reports whether an address may be sent to.
func safe(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}

// Health asks the provider for its metadata if it is not known yet, and returns
// why it cannot be reached, or nil. It waits a second at most.
func (p *Provider) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := p.discovered(ctx)
	return err
}

func (p *Provider) config(found *metadata) *oauth2.Config {
	to := found.Endpoint()
	to.AuthStyle = found.style
	return &oauth2.Config{
		ClientID: p.s.ClientID, ClientSecret: p.secret, Endpoint: to, RedirectURL: p.back,
		Scopes: append([]string{oidc.ScopeOpenID}, p.s.Scopes...),
	}
}

// Begin implements access.Provider.
func (p *Provider) Begin(ctx context.Context, state, nonce, verifier string) (string, error) {
	found, err := p.discovered(ctx)
	if err != nil {
		return "", err
	}
	return p.config(found).AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// Finish implements access.Provider.
func (p *Provider) Finish(ctx context.Context, a access.Answer) (access.Claims, error) {
	found, err := p.discovered(ctx)
	if err != nil {
		return access.Claims{}, err
	}
	if a.Issuer != p.s.Issuer && (a.Issuer != "" || found.Answers) {
		return access.Claims{}, fmt.Errorf("the answer is of another issuer: %w", nhi.ErrDenied)
	}
	token, err := p.config(found).Exchange(p.client(ctx), a.Code, oauth2.VerifierOption(a.Verifier))
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode/100 == 4 {
		return access.Claims{}, fmt.Errorf("the provider refused the code (%.60q): %w", refused.ErrorCode, nhi.ErrDenied)
	} else if err != nil {
		return access.Claims{}, fmt.Errorf("exchange the code at %s: %w", p.s.Issuer, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return access.Claims{}, fmt.Errorf("the provider sent no ID token: %w", nhi.ErrDenied)
	}
	return p.verify(ctx, found, raw, a.Nonce, token.AccessToken)
}

// verify checks an ID token (OpenID Connect Core 1.0, section 3.1.3.7) and
// reads it.
func (p *Provider) verify(ctx context.Context, found *metadata, raw, nonce, accessToken string) (access.Claims, error) {
	now := time.Now()
	id, err := found.Verifier(&oidc.Config{
		ClientID: p.s.ClientID, SupportedSigningAlgs: algorithms, Now: func() time.Time { return now.Add(-skew) },
	}).Verify(p.client(ctx), raw)
	if err != nil {
		return access.Claims{}, fmt.Errorf("the ID token is not good: %w: %w", nhi.ErrDenied, err)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return access.Claims{}, fmt.Errorf("the ID token says nothing: %w", nhi.ErrDenied)
	}
	party, named := claims["azp"].(string)
	switch {
	case id.Issuer != p.s.Issuer:
		err = errors.New("another issuer")
	case id.Subject == "" || len(id.Subject) > 255:
		err = errors.New("no subject")
	case nonce == "" || id.Nonce != nonce:
		err = errors.New("the nonce is not ours")
	case id.IssuedAt.After(now.Add(skew)) || id.IssuedAt.Before(now.Add(-maxAge)):
		err = errors.New("issued at another time")
	case (named || len(id.Audience) > 1) && party != p.s.ClientID:
		err = errors.New("authorised for another party")
	case id.AccessTokenHash != "":
		err = id.VerifyAccessToken(accessToken)
	}
	if err != nil {
		return access.Claims{}, fmt.Errorf("the ID token is not good: %w: %w", nhi.ErrDenied, err)
	}
	return p.read(id, claims), nil
}

const maxGroups = 500

func (p *Provider) read(id *oidc.IDToken, claims map[string]any) access.Claims {
	out := access.Claims{Issuer: id.Issuer, Subject: id.Subject}
	out.Name, _ = claims[p.s.Claims.Name].(string)
	out.Email, _ = claims[p.s.Claims.Email].(string)
	// Some providers write the word; everything else is not verified.
	out.Verified = claims["email_verified"] == true || claims["email_verified"] == "true"
	if p.s.Claims.Email != "email" {
		out.Verified = false // email_verified speaks of the claim email only
	}
	groups, ok := claims[p.s.Claims.Groups].([]any)
	if one, single := claims[p.s.Claims.Groups].(string); single && !ok {
		groups = []any{one}
	}
	for _, g := range groups {
		if name, ok := g.(string); ok && name != "" && len(name) <= 256 && len(out.Groups) < maxGroups && !slices.Contains(out.Groups, name) {
			out.Groups = append(out.Groups, name)
		}
	}
	return out
}

// SignOut implements access.Provider (OpenID Connect RP-Initiated Logout 1.0).
// It asks nobody. No ID token is kept, so the provider asks the person whether
// to end its own session too.
func (p *Provider) SignOut() string {
	p.mu.Lock()
	found := p.found
	p.mu.Unlock()
	if found == nil || !safe(found.EndSession) {
		return ""
	}
	u, err := url.Parse(found.EndSession)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.s.ClientID)
	q.Set("post_logout_redirect_uri", p.home)
	u.RawQuery = q.Encode()
	return u.String()
}
