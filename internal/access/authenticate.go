package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// Authenticate says who sends a request: by the key in Authorization, or else
// by the session cookie. The error wraps nhi.ErrDenied when nobody is proven
// or a browser session does not show that our own page sent the request, and
// nhi.ErrBusy after too many failures from one address. It says nothing about
// what the caller may do: ask Caller.May.
func (s *Service) Authenticate(r *http.Request) (Caller, error) {
	at := now()
	address := clientAddress(r)
	caller, err := s.authenticate(r, address, at)
	if err == nil {
		return caller, nil
	}
	if errors.Is(err, nhi.ErrDenied) && !errors.Is(err, errNothing) {
		s.failures.count(address, at)
		if s.failures.tooMany(address, at) {
			// Only failures are slowed down: a good key behind the same address
			// still works, so nobody can lock others out.
			err = fmt.Errorf("too many failures: %w", nhi.ErrBusy)
		}
	}
	return Caller{}, fmt.Errorf("authenticate: %w", err)
}

// errNothing is no attempt: a request without any proof.
var errNothing = fmt.Errorf("no key and no session: %w", nhi.ErrDenied)

func (s *Service) authenticate(r *http.Request, address netip.Addr, at time.Time) (Caller, error) {
	switch headers := r.Header.Values("Authorization"); len(headers) {
	case 0:
	case 1:
		return s.byKey(r, headers[0], address, at)
	default:
		return Caller{}, fmt.Errorf("two Authorization headers: %w", nhi.ErrDenied)
	}
	secret, ok := s.cookieOf(r)
	if !ok {
		return Caller{}, errNothing
	}
	if err := s.ownPage(r); err != nil {
		return Caller{}, err
	}
	login, err := s.session(r.Context(), secret, at)
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		return Caller{}, fmt.Errorf("no such session: %w", nhi.ErrDenied)
	case err != nil:
		return Caller{}, err
	}
	caller, err := s.behind(r.Context(), login, at)
	if err != nil {
		return Caller{}, err
	}
	caller.Kind, caller.Expires = Session, login.Created.Add(sessionLife)
	return caller, nil
}

// behind says whose session a login is, as they stand now.
func (s *Service) behind(ctx context.Context, login Login, at time.Time) (Caller, error) {
	gone := fmt.Errorf("whose session this is has no way in any more: %w", nhi.ErrDenied)
	if login.Person != "" && login.Token == "" {
		person, err := s.person(ctx, login.Person)
		if errors.Is(err, nhi.ErrNotFound) {
			return Caller{}, gone
		} else if err != nil {
			return Caller{}, err
		}
		grants := s.GrantsOf(person)
		if len(grants) == 0 {
			return Caller{}, gone
		}
		return Caller{Name: person.Name, Person: person.ID, Grants: grants, Permits: PermitsOf(grants)}, nil
	}
	token, err := s.c.Tokens.Token(ctx, login.Token)
	if errors.Is(err, nhi.ErrNotFound) {
		return Caller{}, gone
	} else if err != nil {
		return Caller{}, err
	}
	return s.bearing(ctx, token, at)
}

func (s *Service) person(ctx context.Context, id string) (Person, error) {
	if s.c.People == nil {
		return Person{}, fmt.Errorf("person %s: %w", id, nhi.ErrNotFound)
	}
	return s.c.People.Person(ctx, id)
}

// nobody is compared with when a key id is unknown, so that an unknown id
// takes as long as a wrong secret. Nothing hashes to it that anyone can find.
var nobody = key.VerifierOf("no caller has this key")

// proves reports whether secret is what verifier stands for.
func proves(verifier []byte, known bool, secret string) bool {
	v := nobody
	if known && len(verifier) == len(v) {
		v = key.Verifier(verifier)
	}
	return v.Matches(secret) && known
}

func (s *Service) byKey(r *http.Request, header string, address netip.Addr, at time.Time) (Caller, error) {
	denied := fmt.Errorf("the key is unknown, wrong or not good here: %w", nhi.ErrDenied)
	const scheme = "bearer "
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return Caller{}, denied
	}
	secret := header[len(scheme):]
	parsed, err := key.Parse(secret)
	if err != nil {
		return Caller{}, denied
	}
	switch parsed.Kind {
	case key.Token:
		return s.byToken(r, parsed.ID, secret, address, at)
	case key.Source:
		source, known := s.c.Directory.SourceByKeyID(parsed.ID)
		if proves(source.Verifier, known, secret) && !source.Disabled {
			caller := Caller{Kind: Source, Name: source.Name, Identity: source.ID, Source: &source}
			if !source.Receives() { // a receiver has a surface of its own, and may nothing here
				caller.Permits = Permits{{Rights: []Right{Report}}}
			}
			return caller, nil
		}
	case key.Point:
		point, known := s.c.Directory.PointByKeyID(parsed.ID)
		if proves(point.Verifier, known, secret) && !point.Disabled {
			return Caller{Kind: Point, Name: point.Name, Identity: point.ID, Point: &point}, nil
		}
	}
	return Caller{}, denied
}

// byToken checks an operator token.
func (s *Service) byToken(r *http.Request, keyID, secret string, address netip.Addr, at time.Time) (Caller, error) {
	token, err := s.c.Tokens.Token(r.Context(), keyID)
	if err != nil && !errors.Is(err, nhi.ErrNotFound) {
		return Caller{}, err
	}
	known := err == nil
	if !proves(token.Verifier, known, secret) || token.Loopback && !fromHere(r, address) {
		return Caller{}, fmt.Errorf("the key is unknown, wrong or not good here: %w", nhi.ErrDenied)
	}
	caller, err := s.bearing(r.Context(), token, at)
	if err != nil {
		return Caller{}, err
	}
	caller.Kind = Operator
	if at.Sub(token.Used) >= touchEvery {
		err = s.c.Tokens.TouchToken(r.Context(), keyID, at)
	}
	return caller, err
}

// bearing says who bears a token and what it allows now: what it was given,
// and of that what its maker still holds.
func (s *Service) bearing(ctx context.Context, t Token, at time.Time) (Caller, error) {
	denied := fmt.Errorf("the key is unknown, wrong or not good here: %w", nhi.ErrDenied)
	c, known := s.c.Directory.CredentialByKeyID(t.KeyID)
	if !at.Before(t.Expires) || !t.Revoked.IsZero() || known && c.State != nhi.CredentialActive {
		return Caller{}, denied
	}
	permits := PermitsOf(t.Grants)
	if len(t.Rights) > 0 {
		permits = permits.Only(t.Rights)
	}
	if t.Person != "" {
		maker, err := s.person(ctx, t.Person)
		if err != nil && !errors.Is(err, nhi.ErrNotFound) {
			return Caller{}, err
		}
		permits = permits.And(PermitsOf(s.GrantsOf(maker)))
	}
	if len(permits) == 0 {
		return Caller{}, denied
	}
	return Caller{Kind: Operator, Name: t.Name, Identity: t.Identity, Person: t.Person, Token: t.KeyID, First: t.first(), Expires: t.Expires, Grants: t.Grants, Permits: permits}, nil
}

// forwarding are headers that a proxy adds: behind one, the address of the
// connection says nothing about where the request comes from.
var forwarding = [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}

// fromHere reports whether a request comes from this host: its connection is
// on loopback, no proxy handed it on, and it asked for a loopback name (a page
// whose name was rebound to loopback asks for its own).
func fromHere(r *http.Request, address netip.Addr) bool {
	for _, name := range forwarding {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	return address.IsLoopback() && loopbackHost(r.Host)
}

// ownPage checks that a session's request was sent by our own page, unless it
// changes nothing. Fetch metadata and Origin are written by the browser; the
// header can be sent by no other page.
func (s *Service) ownPage(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch {
	case r.Header.Get(CSRFHeader) == "":
	case site != "" && site != "same-origin":
	case origin != "" && origin != s.origin && !sameHost(r, origin):
	case site == "" && origin == "":
	default:
		return nil
	}
	return fmt.Errorf("the request was not sent by our own page: %w", nhi.ErrDenied)
}

// sameHost reports whether origin is where the request itself was sent to, on
// plain http on loopback: there the console may have several names.
func sameHost(r *http.Request, origin string) bool {
	host, ok := strings.CutPrefix(origin, "http://")
	return ok && r.TLS == nil && host == r.Host && loopbackHost(host)
}

// clientAddress is the address of the connection.
func clientAddress(r *http.Request) netip.Addr {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return remote.Addr().Unmap().WithZone("")
}

const (
	maxFailures  = 20
	failureSpan  = time.Minute
	maxAddresses = 4096
)

// failures counts failed attempts by address; IPv6 by /64, which is what one
// customer gets.
type failures struct {
	mu    sync.Mutex // guards tally
	tally map[netip.Prefix]attempts
}

type attempts struct {
	n     int
	since time.Time
}

func newFailures() *failures { return &failures{tally: make(map[netip.Prefix]attempts)} }

func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (f *failures) tooMany(a netip.Addr, at time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tally[network(a)]
	return t.n >= maxFailures && at.Sub(t.since) < failureSpan
}

func (f *failures) count(a netip.Addr, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, known := f.tally[network(a)]
	if !known && len(f.tally) >= maxAddresses {
		for old, was := range f.tally {
			if at.Sub(was.since) >= failureSpan {
				delete(f.tally, old)
			}
		}
		if len(f.tally) >= maxAddresses {
			clear(f.tally) // a flood from everywhere: counting helps nobody
		}
	}
	if at.Sub(t.since) >= failureSpan {
		t = attempts{since: at}
	}
	t.n++
	f.tally[network(a)] = t
}
