package access

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/muster-id/muster/internal/nhi"
)

// Claims is what a provider says of a person. All of it is text from outside.
type Claims struct {
	Issuer   string
	Subject  string
	Name     string
	Email    string // as written; counts only when Verified
	Verified bool
	Groups   []string
}

// An Answer is what came back from a provider through the browser, and what it
// is checked against.
type Answer struct {
	Code     string
	Issuer   string // iss of the answer (RFC 9207); empty when it had none
	Verifier string // of PKCE (RFC 7636)
	Nonce    string
}

// A Provider signs people of an organisation in.
type Provider interface {
	// Begin returns where a browser is sent. The error says that the provider
	// cannot be reached.
	Begin(ctx context.Context, state, nonce, verifier string) (string, error)
	// Finish exchanges the code and verifies everything about the ID token. The
	// error wraps nhi.ErrDenied when the answer is not one of its own.
	Finish(ctx context.Context, a Answer) (Claims, error)
	// SignOut returns where a browser ends the provider's own session, or
	// nothing if it cannot. It does not block.
	SignOut() string
}

const (
	attemptLife   = 10 * time.Minute
	secureAttempt = "__Host-muster-signin"
	plainAttempt  = "muster-signin"
)

// ErrNoRole is returned when somebody proved who they are and holds no role.
var ErrNoRole = fmt.Errorf("no role here: %w", nhi.ErrDenied)

// An attempt is one sign-in between its beginning and its end. It travels in a
// cookie of the browser that began it, sealed by our key: an answer that comes
// to another browser finds nothing, and only what we began can end.
type attempt struct {
	Secret string `json:"s"`
	Until  int64  `json:"u"` // Unix seconds
	Next   string `json:"n"`
	Old    string `json:"o,omitempty"` // hash of the session that ends
}

func (s *Service) mac(parts ...string) string {
	m := hmac.New(sha256.New, s.c.Key)
	for _, p := range parts {
		fmt.Fprintf(m, "%d:%s", len(p), p)
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (s *Service) sealed(a attempt) string {
	b, err := json.Marshal(a)
	if err != nil {
		return "" // texts and numbers always marshal
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	return text + "." + s.mac("attempt", text)
}

func (s *Service) opened(value string, at time.Time) (attempt, bool) {
	text, mac, ok := strings.Cut(value, ".")
	if !ok || len(value) > 4096 || !hmac.Equal([]byte(mac), []byte(s.mac("attempt", text))) {
		return attempt{}, false
	}
	var a attempt
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(b, &a) != nil || a.Secret == "" || at.Unix() >= a.Until {
		return attempt{}, false
	}
	return a, true
}

func (s *Service) attemptCookie(value string, maxAge int) *http.Cookie {
	name := plainAttempt
	if s.secure {
		name = secureAttempt
	}
	// Lax: the answer comes from the provider's site by a link.
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode}
}

// SafePath returns next if it is a path of our own console, and "/" for
// everything else: an address elsewhere, a path that a browser takes for one
// ("//", "/\"), or one that would sign in or out again.
func SafePath(next string) string {
	if !strings.HasPrefix(next, "/") || len(next) > 1024 || strings.ContainsAny(next, "\\\"<>") || strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "/"
	}
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" || strings.HasPrefix(next, "//") || strings.HasPrefix(u.Path, "//") || strings.HasPrefix(u.Path, "/signin") {
		return "/"
	}
	return next
}

// BeginSignOn begins to sign somebody in with the provider: it returns where
// the browser goes, and the cookie that it carries there. The error wraps
// nhi.ErrBusy after too many attempts from one address.
func (s *Service) BeginSignOn(ctx context.Context, r *http.Request, next string) (to string, cookie *http.Cookie, err error) {
	if s.c.Provider == nil {
		return "", nil, fmt.Errorf("single sign-on is not configured: %w", nhi.ErrNotFound)
	}
	at := now()
	if !s.begun.take(network(clientAddress(r)).String(), at) {
		return "", nil, fmt.Errorf("begin to sign in: %w", nhi.ErrBusy)
	}
	secret, _ := newSecret()
	a := attempt{Secret: secret, Until: at.Add(attemptLife).Unix(), Next: SafePath(next)}
	if old, ok := s.cookieOf(r); ok {
		h := hash(old)
		a.Old = base64.RawURLEncoding.EncodeToString(h[:])
	}
	to, err = s.c.Provider.Begin(ctx, s.mac("state", secret), s.mac("nonce", secret), s.mac("pkce", secret))
	if err != nil {
		return "", nil, fmt.Errorf("begin to sign in: %w", err)
	}
	return to, s.attemptCookie(s.sealed(a), int(attemptLife/time.Second)), nil
}

// A SignOn is how signing in with the provider ended.
type SignOn struct {
	Cookies []*http.Cookie // of the new session; the attempt's is taken back
	Next    string         // where the browser goes
	Person  Person
	Ended   []Token // first administrator tokens that ended with it
}

// FinishSignOn ends what BeginSignOn began: the request is the provider's
// answer. The session that the browser had ends, and a new one begins. The
// error wraps nhi.ErrDenied, and is ErrNoRole for somebody who holds none.
// Cookies are to be set in any case.
func (s *Service) FinishSignOn(ctx context.Context, r *http.Request) (SignOn, error) {
	out := SignOn{Cookies: []*http.Cookie{s.attemptCookie("", -1)}}
	address, at := clientAddress(r), now()
	if s.c.Provider == nil {
		return out, fmt.Errorf("single sign-on is not configured: %w", nhi.ErrNotFound)
	}
	if s.failures.tooMany(address, at) {
		return out, fmt.Errorf("sign in: %w", nhi.ErrBusy)
	}
	a, claims, err := s.answered(ctx, r, at)
	if err != nil {
		if errors.Is(err, nhi.ErrDenied) {
			s.failures.count(address, at)
		}
		return out, fmt.Errorf("sign in: %w", err)
	}
	if err := s.welcome(ctx, a, claims, r, at, &out); err != nil {
		return out, fmt.Errorf("sign in: %w", err)
	}
	return out, nil
}

// answered checks that the answer belongs to the browser, is used once, and is
// the provider's.
func (s *Service) answered(ctx context.Context, r *http.Request, at time.Time) (attempt, Claims, error) {
	refused := func(why string) (attempt, Claims, error) {
		return attempt{}, Claims{}, fmt.Errorf("%s: %w", why, nhi.ErrDenied)
	}
	q := r.URL.Query()
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(q[name]) > 1 || len(q.Get(name)) > 4096 {
			return refused("the answer says something twice, or too much")
		}
	}
	cookies := r.CookiesNamed(s.attemptCookie("", 0).Name)
	if len(cookies) != 1 {
		return refused("this browser began no sign-in, or it began too long ago")
	}
	a, ok := s.opened(cookies[0].Value, at)
	if !ok || !hmac.Equal([]byte(q.Get("state")), []byte(s.mac("state", a.Secret))) {
		return refused("this browser began no such sign-in, or it began too long ago")
	}
	if err := s.c.Sessions.UseOnce(ctx, hash(a.Secret), time.Unix(a.Until, 0)); errors.Is(err, nhi.ErrConflict) {
		return refused("this answer was used before")
	} else if err != nil {
		return attempt{}, Claims{}, err
	}
	if q.Get("error") != "" || q.Get("code") == "" {
		return refused("the provider refused")
	}
	claims, err := s.c.Provider.Finish(ctx, Answer{Code: q.Get("code"), Issuer: q.Get("iss"), Verifier: s.mac("pkce", a.Secret), Nonce: s.mac("nonce", a.Secret)})
	return a, claims, err
}

// welcome lets somebody in whom the provider has proven.
func (s *Service) welcome(ctx context.Context, a attempt, c Claims, r *http.Request, at time.Time, out *SignOn) error {
	p := Person{
		ID: PersonID(c.Issuer, c.Subject), Issuer: c.Issuer, Subject: c.Subject, Name: display(c.Name), Groups: c.Groups, Created: at, SignedIn: at,
	}
	if c.Verified && display(c.Email) == c.Email {
		p.Email = c.Email // or none: what is left of one with hidden signs may be somebody else's
	}
	if p.Name == "" {
		p.Name = p.Email
	}
	if !s.begun.take(p.ID, at) {
		return fmt.Errorf("too often: %w", nhi.ErrBusy)
	}
	if !s.domainAllowed(p.Email) {
		return fmt.Errorf("no verified address of an allowed domain: %w", nhi.ErrDenied)
	}
	person, err := s.c.People.SaveSignIn(ctx, p)
	if err != nil {
		return err
	}
	out.Person, out.Next = person, a.Next
	permits := PermitsOf(s.GrantsOf(person))
	if len(permits) == 0 {
		return ErrNoRole
	}
	if old, err := base64.RawURLEncoding.DecodeString(a.Old); err == nil && len(old) == len(Hash{}) {
		if err := s.c.Sessions.DropSession(ctx, Hash(old)); err != nil {
			return err
		}
	}
	if permits.MayEverywhere(Administer) {
		if out.Ended, err = s.endFirst(ctx); err != nil {
			return err
		}
	}
	secret, h := newSecret()
	if err := s.c.Sessions.SaveSession(ctx, h, Login{Name: person.Name, Person: person.ID, Address: clientAddress(r).String(), Created: at, Used: at}); err != nil {
		return err
	}
	out.Cookies = append(out.Cookies, s.cookie(secret, int(sessionLife/time.Second)))
	return nil
}

func (s *Service) domainAllowed(email string) bool {
	if len(s.c.Domains) == 0 {
		return true
	}
	_, domain, ok := strings.Cut(email, "@")
	for _, d := range s.c.Domains {
		if ok && SameAddress(d, domain) {
			return true
		}
	}
	return false
}

// display makes a name from outside storable: short, and without signs that
// steer a terminal or turn the direction of text.
func display(name string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if r := []rune(clean); len(r) > 200 {
		clean = string(r[:200])
	}
	return strings.TrimSpace(clean)
}
