// Package access knows who may speak to Muster itself: people who administer
// it, sources that report to it, and points that ask it.
//
// Points and sources are enrolled ([Service.EnrollPoint], [Service.AddSource]).
// Each becomes an identity in Muster's own inventory, and gets a key that is
// shown once; only its verifier is kept.
//
// People sign in with their organisation's provider ([Service.BeginSignOn],
// [Service.FinishSignOn]). What they may do are [Grant]s: roles, everywhere or
// within the identities of a team or an environment. Grants follow from groups
// by configuration, or are assigned by an administrator; they are looked up at
// each request, so a change holds at once.
//
// Before there is a provider, a person begins with the first administrator
// token, which lies in a file that only the owner of the data folder can read,
// works on loopback only and dies in 24 hours, or when an administrator first
// signs in. With it, or with another operator token, a one-time link is made;
// opening the link begins a session in the browser that ends with the token.
//
// Operator tokens are NHIs like others: each is in the inventory, expires, and
// never allows more than who made it holds at the moment.
//
// [Service.Authenticate] looks at a request and says who sends it. It is no
// middleware: the API asks it and then asks [Caller.May]. What a request may
// do follows from who sent it, and from nothing that it says. A browser
// session must also show, on every request that changes something, that our own
// page sent it.
//
// Everything secret here is kept as a hash: keys of points, sources and
// operators, links, sessions. A failed attempt says nothing about why.
package access

import (
	"context"
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Kind says how a caller proved itself.
type Kind string

// The kinds of caller.
const (
	Operator Kind = "operator" // an operator token
	Session  Kind = "session"  // a browser session
	Source   Kind = "source"   // a source's key
	Point    Kind = "point"    // a point's key; it may nothing here, it has its own surfaces
)

// A Caller is who sends a request. The zero Caller is nobody and may nothing.
type Caller struct {
	Kind     Kind
	Name     string      // for people and the audit log
	Identity nhi.ID      // in our own inventory
	Person   string      // id of the person behind it, if there is one
	Token    string      // key id of the operator token behind it, if there is one
	First    bool        // the first administrator: whoever owns the data folder
	Source   *nhi.Source // set for sources
	Point    *nhi.Point  // set for points
	Expires  time.Time   // when this proof ends; zero: not by itself
	Grants   []Grant     // the roles of a person or token
	Permits  Permits     // what all that allows
}

// May reports whether the caller has a right, be it only within a scope.
func (c Caller) May(right Right) bool { return c.Permits.May(right) }

// Directory finds enrolled callers by the public part of their keys. It reads
// memory only.
type Directory interface {
	PointByKeyID(keyID string) (nhi.Point, bool)
	SourceByKeyID(keyID string) (nhi.Source, bool)
	// CredentialByKeyID finds the credential of an operator token: one that
	// leaked was contained like any other.
	CredentialByKeyID(keyID string) (nhi.Credential, bool)
}

// Enrollments keeps points and sources, each together with its identity.
type Enrollments interface {
	// Points and Sources return all, by name.
	Points(ctx context.Context) ([]nhi.Point, error)
	Sources(ctx context.Context) ([]nhi.Source, error)
	// AddPoint and AddSource return an error wrapping nhi.ErrConflict when the
	// name is taken. When they return, every later decision knows.
	AddPoint(ctx context.Context, point nhi.Point, identity nhi.Identity) error
	AddSource(ctx context.Context, source nhi.Source, identity nhi.Identity) error
	// UpdatePoint and UpdateSource change one by name in a transaction, or
	// return an error wrapping nhi.ErrNotFound, or that of change.
	UpdatePoint(ctx context.Context, name string, change func(*nhi.Point) error) (nhi.Point, error)
	UpdateSource(ctx context.Context, name string, change func(*nhi.Source) error) (nhi.Source, error)
}

// A Token is an operator token, as it is kept.
type Token struct {
	KeyID    string
	Verifier []byte
	Name     string
	Identity nhi.ID
	Loopback bool // good from this host only
	Created  time.Time
	Expires  time.Time
	Grants   []Grant   // roles; it never allows more than who made it
	Rights   []Right   // if any: of what the roles allow, only these
	Person   string    // who made it; its roles are a person's at most
	Parent   string    // key id of the token that made it, if one did
	Used     time.Time // last; zero: never
	Revoked  time.Time // zero: no
}

// Tokens keeps operator tokens.
type Tokens interface {
	// Token returns an error wrapping nhi.ErrNotFound if there is none.
	Token(ctx context.Context, keyID string) (Token, error)
	// Tokens returns all, the newest first.
	Tokens(ctx context.Context) ([]Token, error)
	// AddToken stores a token, its identity and its credential.
	AddToken(ctx context.Context, token Token, identity nhi.Identity, credential nhi.Credential) error
	// DropToken revokes a token and its credential, and with children the
	// tokens that it made; one that is not there is no error.
	DropToken(ctx context.Context, keyID string, children bool, at time.Time) error
	// TouchToken notes that it was used.
	TouchToken(ctx context.Context, keyID string, at time.Time) error
}

// A Hash is the SHA-256 of a link's or session's secret: what is kept of it.
type Hash [32]byte

// A Login is a browser session, as it is kept.
type Login struct {
	Name     string // who opened the link
	Identity nhi.ID
	Person   string // whose session it is; or
	Token    string // key id of the operator token whose session it is
	Address  string // where it began
	Hash     Hash   // of the session's secret, in lists
	Created  time.Time
	Used     time.Time
}

// Sessions keeps links and sessions by the hash of their secret.
type Sessions interface {
	SaveLink(ctx context.Context, link Hash, login Login, expires time.Time) error
	// TakeLink removes a link and returns it, so that it works once. It returns
	// an error wrapping nhi.ErrNotFound if there is none, or it has expired.
	TakeLink(ctx context.Context, link Hash, now time.Time) (Login, error)
	SaveSession(ctx context.Context, session Hash, login Login) error
	// Session returns an error wrapping nhi.ErrNotFound if there is none.
	Session(ctx context.Context, session Hash) (Login, error)
	// TouchSession notes that it was used.
	TouchSession(ctx context.Context, session Hash, at time.Time) error
	// DropSession forgets one; one that is not there is no error.
	DropSession(ctx context.Context, session Hash) error
	// SessionsOf returns those of a person, the newest first.
	SessionsOf(ctx context.Context, person string) ([]Login, error)
	// DropSessionsOf forgets those of a person.
	DropSessionsOf(ctx context.Context, person string) error
	// UseOnce returns an error wrapping nhi.ErrConflict when it was called with
	// the same hash before; it may forget that after expires.
	UseOnce(ctx context.Context, h Hash, expires time.Time) error
	// Prune forgets links that expired, and sessions created before created or
	// last used before used.
	Prune(ctx context.Context, now, created, used time.Time) error
}

// Config is what a Service needs.
type Config struct {
	PublicURL   string // as browsers write it; https makes cookies Secure
	Directory   Directory
	Enrollments Enrollments
	Glasses     Glasses // nil: no point is opened without the server
	Tokens      Tokens
	Sessions    Sessions
	People      People       // nil: nobody signs in with a provider
	Provider    Provider     // nil: no single sign-on
	Mappings    []Mapping    // who holds which role
	Domains     []string     // of verified addresses that may sign in; empty: any
	Key         []byte       // secret, at least 32 bytes with a Provider: binds a sign-in to its browser
	Log         *slog.Logger // nil: none
}

// A Service enrolls and authenticates. It is safe for concurrent use.
type Service struct {
	c        Config
	secure   bool   // cookies travel over https only
	origin   string // of PublicURL
	failures *failures
	begun    *tally // sign-ins, by address and by person
	minted   *tally // tokens, by maker
}

// New returns a Service. The error wraps nhi.ErrInvalid.
func New(c Config) (*Service, error) {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, nhi.Invalidf("public URL %q is not an absolute http or https URL", c.PublicURL)
	}
	if u.Scheme == "http" && !loopbackHost(u.Host) {
		return nil, nhi.Invalidf("public URL %q: plain http is for loopback only", c.PublicURL)
	}
	if c.Provider != nil && (len(c.Key) < 32 || c.People == nil) {
		return nil, nhi.Invalidf("single sign-on needs a key of 32 bytes and a place for people")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{c: c, secure: u.Scheme == "https", origin: u.Scheme + "://" + u.Host, failures: newFailures(), begun: newTally(30, time.Minute), minted: newTally(60, time.Hour)}, nil
}

// Run forgets what has expired, once an hour, until ctx ends. A failure is
// logged and tried again at the next turn.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		now := time.Now()
		if err := s.c.Sessions.Prune(ctx, now, now.Add(-sessionLife), now.Add(-sessionIdle)); err != nil && ctx.Err() == nil {
			s.c.Log.Error("forget expired sessions", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// loopbackHost reports whether a Host value names this machine itself.
func loopbackHost(host string) bool {
	if u, err := url.Parse("//" + host); err == nil {
		host = u.Hostname()
	}
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}
