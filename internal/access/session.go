package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

const (
	linkLife    = 10 * time.Minute
	sessionLife = 12 * time.Hour
	sessionIdle = time.Hour

	touchEvery = time.Minute // how exactly the last use is kept

	// CSRFHeader must come with every request of a browser session that is not
	// GET, HEAD or OPTIONS. Its value does not matter: a foreign page cannot
	// send it at all without our leave (Fetch, CORS-safelisted request headers).
	CSRFHeader = "Muster-Csrf"

	secureCookie = "__Host-muster" // RFC 6265bis, section 4.1.3.2: this host, https, no subdomain can set it
	plainCookie  = "muster"        // plain http, on loopback
)

// newSecret returns 256 random bits as text, and the hash that is kept.
func newSecret() (string, Hash) {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	secret := base64.RawURLEncoding.EncodeToString(b[:])
	return secret, hash(secret)
}

func hash(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// NewLink returns the secret of a sign-in link that works once, within ten
// minutes, for what the caller is: a person, or whoever holds a token.
func (s *Service) NewLink(ctx context.Context, by Caller) (secret string, err error) {
	if by.Kind != Operator && by.Kind != Session || by.Person == "" && by.Token == "" || len(by.Permits) == 0 {
		return "", fmt.Errorf("make a sign-in link: %w", nhi.ErrDenied)
	}
	secret, h := newSecret()
	at := now()
	if err := s.c.Sessions.SaveLink(ctx, h, Login{Name: by.Name, Identity: by.Identity, Person: by.Person, Token: by.Token, Created: at}, at.Add(linkLife)); err != nil {
		return "", fmt.Errorf("make a sign-in link: %w", err)
	}
	return secret, nil
}

// SignIn opens a link and returns the cookie of a new session. The session
// that the request came with, if any, ends: an identifier that somebody
// planted before is worth nothing after. The error wraps nhi.ErrDenied when
// the link does not work (any more), nhi.ErrBusy after too many that did not.
func (s *Service) SignIn(ctx context.Context, r *http.Request, link string) (*http.Cookie, error) {
	address := clientAddress(r)
	at := now()
	if s.failures.tooMany(address, at) {
		return nil, fmt.Errorf("sign in: %w", nhi.ErrBusy)
	}
	if purpose := r.Header.Get("Sec-Purpose") + r.Header.Get("Purpose"); purpose != "" {
		// A browser or a chat program looks ahead: it must not use up the link.
		return nil, fmt.Errorf("sign in: prefetch: %w", nhi.ErrDenied)
	}
	if len(link) > 128 {
		link = ""
	}
	login, err := s.c.Sessions.TakeLink(ctx, hash(link), at)
	if err != nil {
		s.failures.count(address, at)
		return nil, fmt.Errorf("sign in: the link does not work: %w", nhi.ErrDenied)
	}
	if old, ok := s.cookieOf(r); ok {
		if err := s.drop(ctx, old); err != nil {
			return nil, fmt.Errorf("sign in: %w", err)
		}
	}
	secret, h := newSecret()
	if err := s.c.Sessions.SaveSession(ctx, h, Login{
		Name: login.Name, Identity: login.Identity, Person: login.Person, Token: login.Token, Address: address.String(), Created: at, Used: at,
	}); err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	return s.cookie(secret, int(sessionLife/time.Second)), nil
}

// SignOut ends the session of a request and returns the cookie that makes the
// browser forget it. For somebody who signed in with the provider, next is
// where they can end its session too; else it is empty.
func (s *Service) SignOut(ctx context.Context, r *http.Request) (forget *http.Cookie, next string, err error) {
	if secret, ok := s.cookieOf(r); ok {
		login, err := s.c.Sessions.Session(ctx, hash(secret))
		if err == nil && login.Person != "" && login.Token == "" && s.c.Provider != nil {
			next = s.c.Provider.SignOut()
		}
		if err := s.drop(ctx, secret); err != nil {
			return nil, "", fmt.Errorf("sign out: %w", err)
		}
	}
	return s.cookie("", -1), next, nil
}

func (s *Service) drop(ctx context.Context, secret string) error {
	return s.c.Sessions.DropSession(ctx, hash(secret))
}

func (s *Service) cookieName() string {
	if s.secure {
		return secureCookie
	}
	return plainCookie
}

func (s *Service) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: s.cookieName(), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteStrictMode,
	}
}

// cookieOf returns the session's secret of a request. Two cookies of the name
// are none: one of them was planted.
func (s *Service) cookieOf(r *http.Request) (string, bool) {
	cookies := r.CookiesNamed(s.cookieName())
	if len(cookies) != 1 || len(cookies[0].Value) != base64.RawURLEncoding.EncodedLen(32) {
		return "", false
	}
	return cookies[0].Value, true
}

// session finds the live session of a secret.
func (s *Service) session(ctx context.Context, secret string, at time.Time) (Login, error) {
	h := hash(secret)
	login, err := s.c.Sessions.Session(ctx, h)
	if err != nil {
		return Login{}, err
	}
	if !alive(login, at) {
		return Login{}, fmt.Errorf("session has ended: %w", nhi.ErrNotFound)
	}
	if at.Sub(login.Used) >= touchEvery {
		if err := s.c.Sessions.TouchSession(ctx, h, at); err != nil {
			return Login{}, err
		}
		login.Used = at
	}
	return login, nil
}

func alive(l Login, at time.Time) bool {
	return at.Before(l.Created.Add(sessionLife)) && at.Before(l.Used.Add(sessionIdle))
}

// ID names a session in lists. It opens nothing: it is made of the hash that is
// kept, not of the secret.
func (l Login) ID() string { return "ses_" + base64.RawURLEncoding.EncodeToString(l.Hash[:12]) }

// SessionsOf returns the living sessions of a person, the newest first.
func (s *Service) SessionsOf(ctx context.Context, person string) ([]Login, error) {
	all, err := s.c.Sessions.SessionsOf(ctx, person)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	at := now()
	return slices.DeleteFunc(all, func(l Login) bool { return !alive(l, at) }), nil
}

// EndSession ends one session of a person, or returns an error wrapping
// nhi.ErrNotFound.
func (s *Service) EndSession(ctx context.Context, person, id string) error {
	all, err := s.SessionsOf(ctx, person)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l.ID() == id {
			return s.c.Sessions.DropSession(ctx, l.Hash)
		}
	}
	return fmt.Errorf("session %.40q: %w", id, nhi.ErrNotFound)
}
