// Package guard is middleware for applications behind a Muster enforcement
// point. It lets a request pass only if a point decided about it: a proxy, a
// gateway that asks Muster, or the application itself.
//
//	g, err := guard.New(guard.Settings{Server: "https://muster.example.com", Point: "payments-proxy"})
//	http.Handle("/", g.Handler(application))
//
// [New] makes a [Guard] that checks the decision assertion in the header
// Muster-Decision: a JWS (ES256, type muster-decision+jwt) that the point signs
// for this very request and that lives 30 seconds. So a request that found
// another way to the application, or was changed on its way from the point, is
// refused. The point has to assert: `muster point set NAME --assert`.
//
// [NewAsker] is for an application with no point in front: it asks Muster about
// each request itself (AuthZEN 1.0).
//
// Both fail closed: what cannot be checked is refused with 403. The package
// needs the standard library alone.
package guard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The header that carries the assertion, and the one that names the caller.
const (
	decisionHeader = "Muster-Decision"
	identityHeader = "Muster-Identity"
)

const (
	maxLife       = 30 * time.Second
	defaultLeeway = 5 * time.Second
	defaultBody   = 1 << 20
	// maxSeen bounds the assertions that are remembered for Once.
	maxSeen = 1 << 18
)

// Settings say whose assertions a Guard believes.
type Settings struct {
	// Server is the public URL of Muster: who signs, and where the keys are.
	// https, or http on loopback.
	Server string
	// Point is the name of the point whose decisions count.
	Point string
	// RequireBody refuses a request whose body the point did not see: of a
	// gateway that asks about headers alone, every request that has a body.
	RequireBody bool
	// MaxBody is the largest body in bytes that is read to compare its digest;
	// 0: 1 MB.
	MaxBody int64
	// Once lets each assertion pass one time. It is remembered in this process
	// alone.
	Once bool
	// Leeway is how far the clocks of point and application may be apart; 0: 5 s.
	Leeway time.Duration
	// Transport fetches the keys; nil: the standard library's.
	Transport http.RoundTripper
	// Refused hears of every request that is refused, and why. The error holds
	// nothing of the request. It may be nil.
	Refused func(r *http.Request, err error)
}

// Why a request is refused.
var (
	ErrMissing  = errors.New("the request carries no decision assertion")
	ErrInvalid  = errors.New("the decision assertion is malformed, or of another kind or key")
	ErrKeys     = errors.New("the keys of assertions cannot be had")
	ErrAudience = errors.New("the decision assertion is of another server or point")
	ErrTime     = errors.New("the decision assertion is expired, or not valid yet")
	ErrRequest  = errors.New("the decision assertion is for another method, host or path")
	ErrBody     = errors.New("the decision assertion is for another body, or does not cover it")
	ErrReplay   = errors.New("the decision assertion was used before")
	ErrDenied   = errors.New("the decision is not to let the request pass")
)

// A Passed says who was let through. It is in the context of the request.
type Passed struct {
	Identity string // of the caller, nhi_…; "none" when it proved nothing and the point only observes
	Decision string // id, for `muster decide explain`
	// WouldRefuse says that only the mode of the point let it pass.
	WouldRefuse bool
}

type passedKey struct{}

// From returns who was let through, in a handler behind [Guard.Handler] or
// [Asker.Handler].
func From(ctx context.Context) (Passed, bool) {
	p, ok := ctx.Value(passedKey{}).(Passed)
	return p, ok
}

// A Guard checks decision assertions. It is safe for concurrent use.
type Guard struct {
	s    Settings
	keys keys
	seen seen
}

// New returns a Guard. It fetches nothing yet.
func New(s Settings) (*Guard, error) {
	base, err := server(s.Server)
	if err != nil {
		return nil, err
	}
	if s.Point == "" {
		return nil, errors.New("guard: name the point whose decisions count")
	}
	s.Server = base
	if s.MaxBody <= 0 {
		s.MaxBody = defaultBody
	}
	if s.Leeway <= 0 {
		s.Leeway = defaultLeeway
	}
	return &Guard{s: s, keys: keys{url: base + "/enforce/jwks", http: caller(s.Transport)}}, nil
}

// server checks the address of a server.
func server(text string) (string, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("guard: Server: want a URL such as https://muster.example.com")
	}
	if address, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !address.IsLoopback()) {
		return "", errors.New("guard: Server: plain HTTP is for loopback only; use https")
	}
	return u.String(), nil
}

func caller(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: t, Timeout: 5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Handler lets to next what [Guard.Check] accepts, with [Passed] in its context
// and Muster-Identity set to what was proven. Everything else is answered 403.
//
// An assertion is about method, host, path, query and body. Other headers, and
// trailers, are not part of it: a guard behind which they decide something needs
// a way from the point that nobody else can write to.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed, err := g.Check(r)
		serve(w, r, next, r.Header[decisionHeader], passed, err, g.s.Refused)
	})
}

// serve lets a request to next, with the headers that tell what was decided: what
// a client wrote under their names, or under one that is the same where headers
// become variables, as in CGI, is gone.
func serve(w http.ResponseWriter, r *http.Request, next http.Handler, decision []string, passed Passed, err error, refused func(*http.Request, error)) {
	if err != nil {
		if refused != nil {
			refused(r, err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "{\"error\":\"no-decision\",\"detail\":\"no enforcement point let this request pass\"}\n") // the client may be gone
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), passedKey{}, passed))
	r.Header = r.Header.Clone()
	for name := range r.Header {
		if plain := strings.Map(plainSign, name); strings.EqualFold(plain, identityHeader) || strings.EqualFold(plain, decisionHeader) {
			delete(r.Header, name)
		}
	}
	r.Header[identityHeader], r.Header[decisionHeader] = []string{passed.Identity}, decision
	next.ServeHTTP(w, r)
}

// plainSign makes a hyphen of every sign that may become the same as one.
func plainSign(r rune) rune {
	if (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') {
		return '-'
	}
	return r
}

// claims are what an assertion says.
type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
	Decision string `json:"decision"`
	Method   string `json:"method"`
	Host     string `json:"host"`
	Path     string `json:"path"`
	Query    string `json:"query"`
	Body     string `json:"body"`
	Digest   string `json:"digest"`
	Observed bool   `json:"observed"`
}

// Check returns who was let through, or why nobody was: one of the errors of
// this package. Where the assertion covers the body it is read, and r.Body is
// replaced by what was read. It blocks while keys are fetched: one request at most
// in ten seconds, and those whose key is not known yet.
func (g *Guard) Check(r *http.Request) (Passed, error) {
	values := r.Header[decisionHeader]
	if len(values) != 1 || values[0] == "" {
		return Passed{}, ErrMissing
	}
	payload, err := g.keys.verify(r.Context(), values[0])
	if err != nil {
		return Passed{}, err
	}
	var c claims
	if json.Unmarshal(payload, &c) != nil || c.ID == "" || c.Subject == "" {
		return Passed{}, ErrInvalid
	}
	now := time.Now()
	if err := g.about(&c, now); err != nil {
		return Passed{}, err
	}
	path, query, asked := strings.Cut(r.RequestURI, "?")
	if c.Method != r.Method || !strings.EqualFold(c.Host, r.Host) || c.Host == "" || path == "" || c.Path != path || c.Query != digestOf(query, asked) {
		return Passed{}, ErrRequest
	}
	if err := g.body(r, &c); err != nil {
		return Passed{}, err
	}
	if g.s.Once && !g.seen.first(c.ID, now, maxLife+2*g.s.Leeway) {
		return Passed{}, ErrReplay
	}
	return Passed{Identity: c.Subject, Decision: c.Decision, WouldRefuse: c.Observed}, nil
}

// about checks whose assertion it is, and when.
func (g *Guard) about(c *claims, now time.Time) error {
	if c.Issuer != g.s.Server || c.Audience != g.s.Point {
		return ErrAudience
	}
	issued, expires := time.Unix(c.IssuedAt, 0), time.Unix(c.Expires, 0)
	if !now.Before(expires.Add(g.s.Leeway)) || issued.After(now.Add(g.s.Leeway)) || expires.Sub(issued) > maxLife {
		return ErrTime
	}
	return nil
}

func digestOf(query string, asked bool) string {
	if !asked {
		return ""
	}
	sum := sha256.Sum256([]byte(query))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// body compares the body with what the assertion says of it.
func (g *Guard) body(r *http.Request, c *claims) error {
	switch c.Body {
	case "none":
		if r.ContentLength == 0 || r.Body == nil {
			return nil
		}
		var one [1]byte
		if n, err := io.ReadFull(r.Body, one[:]); n > 0 || err != io.EOF {
			return ErrBody
		}
		return nil
	case "digest":
		if r.Body == nil {
			r.Body = http.NoBody
		}
		text, err := io.ReadAll(io.LimitReader(r.Body, g.s.MaxBody+1))
		if err != nil || int64(len(text)) > g.s.MaxBody {
			return ErrBody
		}
		sum := sha256.Sum256(text)
		want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
		if subtle.ConstantTimeCompare([]byte(want), []byte(c.Digest)) != 1 {
			return ErrBody
		}
		r.Body = replaced{bytes.NewReader(text), r.Body}
		return nil
	case "unchecked":
		if g.s.RequireBody && r.ContentLength != 0 {
			return ErrBody
		}
		return nil
	}
	return ErrInvalid
}

type replaced struct {
	io.Reader
	io.Closer
}

// seen remembers assertions in two generations, so that forgetting costs
// nothing.
type seen struct {
	mu            sync.Mutex // guards the rest
	began         time.Time
	now, previous map[string]struct{}
}

// first reports whether id comes for the first time within keep. It is false
// when there are too many to remember.
func (s *seen) first(id string, now time.Time, keep time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.began); s.now == nil || age >= keep {
		s.previous = s.now
		if age >= 2*keep {
			s.previous = nil
		}
		s.now, s.began = map[string]struct{}{}, now
	}
	_, a := s.now[id]
	_, b := s.previous[id]
	if a || b || len(s.now) >= maxSeen {
		return false
	}
	s.now[id] = struct{}{}
	return true
}

// AskSettings say how an [Asker] asks.
type AskSettings struct {
	// Server is the public URL of Muster. https, or http on loopback.
	Server string
	// Key is that of an enrolled point of the dialect authzen.
	Key string
	// Subject returns the identity of the caller, whom the application has
	// authenticated itself. Muster takes its word as that: an assertion.
	Subject func(*http.Request) (identity string, err error)
	// Resource returns the name of what is asked for.
	Resource func(*http.Request) string
	// Transport carries the questions; nil: the standard library's.
	Transport http.RoundTripper
	// Refused hears of every request that is refused, and why. It may be nil.
	Refused func(r *http.Request, err error)
}

// An Asker asks Muster about each request. It is safe for concurrent use.
type Asker struct {
	s    AskSettings
	http *http.Client
}

// NewAsker returns an Asker.
func NewAsker(s AskSettings) (*Asker, error) {
	base, err := server(s.Server)
	switch {
	case err != nil:
		return nil, err
	case s.Key == "" || s.Subject == nil || s.Resource == nil:
		return nil, errors.New("guard: an asker needs Key, Subject and Resource")
	}
	s.Server = base
	return &Asker{s: s, http: caller(s.Transport)}, nil
}

// Handler lets to next what Muster allows, as [Guard.Handler] does, with the id
// of the decision in Muster-Decision.
func (a *Asker) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed, err := a.Check(r)
		serve(w, r, next, []string{passed.Decision}, passed, err, a.s.Refused)
	})
}

// entity, named and question are the wire form of AuthZEN 1.0, section 5.
type entity struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type named struct {
	Name string `json:"name"`
}

type question struct {
	Subject  entity            `json:"subject"`
	Action   named             `json:"action"`
	Resource entity            `json:"resource"`
	Context  map[string]string `json:"context,omitempty"`
}

// plainMethod reports whether a request has one method, spelled as those of HTTP are.
// An action called read or list is a class of its own to Muster, and net/http takes
// either for a method, which an application may take for any other.
func plainMethod(r *http.Request) bool {
	if r.Method == "" || strings.Trim(r.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return false
	}
	for name, values := range r.Header {
		switch strings.ToLower(strings.Map(plainSign, name)) {
		case "x-http-method-override", "x-http-method", "x-method-override":
			if slices.ContainsFunc(values, func(v string) bool { return v != r.Method }) {
				return false
			}
		}
	}
	return true
}

// Check asks about a request; the action is its method, which must be in capitals, and
// which no header (X-HTTP-Method-Override and the like) may want otherwise. It blocks for at most
// five seconds. The error wraps [ErrDenied] when the answer was no, and when it
// was a yes with an obligation, of which an Asker can do none.
func (a *Asker) Check(r *http.Request) (Passed, error) {
	identity, err := a.s.Subject(r)
	if err != nil || identity == "" {
		return Passed{}, fmt.Errorf("%w: the caller is unknown", ErrDenied)
	}
	if !plainMethod(r) {
		return Passed{}, fmt.Errorf("%w: the method is no word in capitals, or a header asks for another one", ErrDenied)
	}
	q := question{Subject: entity{"identity", identity}, Action: named{r.Method}, Resource: entity{"resource", a.s.Resource(r)}, Context: map[string]string{}}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		q.Context["ip"] = at.Addr().Unmap().WithZone("").String()
	}
	if agent := r.UserAgent(); agent != "" {
		q.Context["user_agent"] = agent
	}
	body, err := json.Marshal(q)
	if err != nil {
		return Passed{}, fmt.Errorf("%w: the question cannot be written", ErrDenied)
	}
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodPost, a.s.Server+"/access/v1/evaluation", bytes.NewReader(body))
	if err != nil {
		return Passed{}, fmt.Errorf("%w: the question cannot be sent", ErrDenied)
	}
	ask.Header.Set("Authorization", "Bearer "+a.s.Key)
	ask.Header.Set("Content-Type", "application/json")
	res, err := a.http.Do(ask)
	if err != nil {
		return Passed{}, fmt.Errorf("%w: nobody answers", ErrDenied)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode != http.StatusOK {
		return Passed{}, fmt.Errorf("%w: the question was answered with status %d", ErrDenied, res.StatusCode)
	}
	var answer struct {
		Decision bool `json:"decision"`
		Context  struct {
			ID          string `json:"evaluation_id"`
			WouldRefuse bool   `json:"would_refuse"`
			// What the caller of the answer has to do (obligations profile).
			Obligations []json.RawMessage `json:"obligations"`
		} `json:"context"`
	}
	if json.Unmarshal(text, &answer) != nil || !answer.Decision {
		return Passed{}, ErrDenied
	}
	if len(answer.Context.Obligations) > 0 {
		return Passed{}, fmt.Errorf("%w: the answer obliges to what an Asker cannot do", ErrDenied)
	}
	return Passed{Identity: identity, Decision: answer.Context.ID, WouldRefuse: answer.Context.WouldRefuse}, nil
}
