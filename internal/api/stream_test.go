package api

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	tables "github.com/muster-id/muster/internal/store/access"
	"github.com/muster-id/muster/internal/store/enginetest"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
)

// A wire is where a stream is written to.
type wire struct {
	head http.Header
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (w *wire) Header() http.Header              { return w.head }
func (w *wire) WriteHeader(int)                  {}
func (w *wire) Flush()                           {}
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *wire) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// quiet is an installation in which nothing but decisions happens.
type quiet struct{ frame.State }

func (quiet) Generation() nhi.Generation { return 1 }
func (quiet) First() nhi.Generation      { return 1 }
func (quiet) Woken() <-chan struct{}     { return nil }

// feed is a stream of decisions.
type feed struct {
	frame.Decisions
	c chan nhi.Decision
}

func (f feed) Subscribe() (<-chan nhi.Decision, func() uint64, func()) {
	return f.c, func() uint64 { return 0 }, func() {}
}

// pointless has no points.
type pointless struct{ frame.Access }

func (pointless) Points(context.Context) ([]nhi.Point, error) { return nil, nil }

// owned are identities of the team that their name ends with.
type owned struct{}

func (owned) Identity(id nhi.ID) (nhi.Identity, bool) {
	_, team, _ := strings.Cut(string(id), "-of-")
	return nhi.Identity{ID: id, Owner: nhi.Owner{Ref: "team:" + team}}, true
}

func (owned) PointByKeyID(string) (nhi.Point, bool)           { return nhi.Point{}, false }
func (owned) SourceByKeyID(string) (nhi.Source, bool)         { return nhi.Source{}, false }
func (owned) CredentialByKeyID(string) (nhi.Credential, bool) { return nhi.Credential{}, false }

// asked is the gate as the server builds it.
type asked struct{ *access.Service }

func (a asked) Authenticate(r *http.Request) (frame.Caller, error) {
	c, err := a.Service.Authenticate(r)
	return frame.Caller{Kind: string(c.Kind), Name: c.Name, Identity: c.Identity, Person: c.Person, Token: c.Token, Grants: c.Grants, Permits: c.Permits}, err
}

// A readership is people who read the live stream, in a synctest bubble.
type readership struct {
	t      *testing.T
	people *access.Service
	store  *tables.Store
	api    http.Handler
	feed   feed

	inventory *inventory.Service // with nobody in it
}

func newReadership(t *testing.T) *readership {
	t.Helper()
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &readership{t: t, store: tables.New(db), feed: feed{c: make(chan nhi.Decision, 100)}}
	r.people, err = access.New(access.Config{PublicURL: "http://127.0.0.1:8700", Directory: owned{}, Enrollments: r.store, Tokens: r.store, Sessions: r.store, People: r.store})
	if err != nil {
		t.Fatal(err)
	}
	r.inventory = emptyInventory(t, db)
	r.api, _, err = New(frame.Deps{Gate: asked{r.people}, Clean: same, State: quiet{}, Decisions: r.feed, Known: owned{}, Access: pointless{}, Inventory: r.inventory})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func emptyInventory(t *testing.T, db *store.DB) *inventory.Service {
	t.Helper()
	s, err := inventory.New(storeinventory.New(db), nil, inventory.Settings{OwnerTags: []string{"owner"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// person signs somebody in with roles and returns the session's cookie.
func (r *readership) person(subject string, grants ...access.Grant) (id, cookie string) {
	r.t.Helper()
	id = access.PersonID("https://id.example.com", subject)
	_, err := r.store.SaveSignIn(r.t.Context(), access.Person{ID: id, Issuer: "https://id.example.com", Subject: subject, Name: subject, Created: time.Now(), SignedIn: time.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.grant(id, grants...)
	link, err := r.people.NewLink(r.t.Context(), access.Caller{Kind: access.Session, Name: subject, Person: id, Permits: access.PermitsOf(grants)})
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := r.people.SignIn(r.t.Context(), httptest.NewRequest("GET", "/signin", nil), link)
	if err != nil {
		r.t.Fatal(err)
	}
	return id, c.String()
}

func (r *readership) grant(person string, grants ...access.Grant) {
	r.t.Helper()
	if _, err := r.people.SetPerson(r.t.Context(), person, access.PersonChange{Grants: &grants}); err != nil {
		r.t.Fatal(err)
	}
}

// listen opens a stream; ended is closed when it has ended.
func (r *readership) listen(header, value string) (w *wire, ended <-chan struct{}) {
	req := httptest.NewRequestWithContext(r.t.Context(), "GET", "http://127.0.0.1:8700/v1/stream?topics=decision", nil)
	req.Header.Set(header, value)
	w = &wire{head: http.Header{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.api.ServeHTTP(w, req)
	}()
	synctest.Wait()
	if !strings.Contains(w.String(), "event: hello") {
		r.t.Fatalf("the stream did not begin: %s", w)
	}
	return w, done
}

// decide has something decided about an identity.
func (r *readership) decide(id string) {
	r.feed.c <- nhi.Decision{ID: "d-" + id, Identity: nhi.ID(id)}
	synctest.Wait()
}

// wait lets one heartbeat pass.
func wait() {
	time.Sleep(heartbeat + time.Second)
	synctest.Wait()
}

func isOpen(ended <-chan struct{}) bool {
	select {
	case <-ended:
		return false
	default:
		return true
	}
}

var everything = access.Grant{Role: access.Viewer}

func TestADisabledPersonsOpenStreamEnds(t *testing.T) {
	yes := true
	for name, cut := range map[string]func(r *readership, person, cookie string) error{
		"disabled": func(r *readership, person, _ string) error {
			_, err := r.people.SetPerson(r.t.Context(), person, access.PersonChange{Disabled: &yes})
			return err
		},
		"every role taken": func(r *readership, person, _ string) error {
			r.grant(person)
			return nil
		},
		"signed out elsewhere": func(r *readership, person, _ string) error {
			all, err := r.people.SessionsOf(r.t.Context(), person)
			if err != nil {
				return err
			}
			return r.people.EndSession(r.t.Context(), person, all[0].ID())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReadership(t)
				person, cookie := r.person("bob", everything)
				w, ended := r.listen("Cookie", cookie)
				wait()
				r.decide("before-of-payments")
				if !isOpen(ended) || !strings.Contains(w.String(), "d-before") || !strings.Contains(w.String(), "heartbeat") {
					t.Fatalf("nothing was taken, and the stream says %s", w)
				}
				if err := cut(r, person, cookie); err != nil {
					t.Fatal(err)
				}
				wait()
				if isOpen(ended) {
					t.Errorf("the stream is open a heartbeat later: %s", w)
				}
			})
		})
	}
}

func TestARevokedTokensOpenStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadership(t)
		token, minted, err := r.people.MintToken(t.Context(), access.Caller{Permits: admin, Grants: []access.Grant{{Role: access.Admin}}}, access.NewToken{Name: "reader"})
		if err != nil {
			t.Fatal(err)
		}
		_, ended := r.listen("Authorization", "Bearer "+minted.Reveal())
		if err := r.people.DropToken(t.Context(), token.KeyID); err != nil {
			t.Fatal(err)
		}
		wait()
		if isOpen(ended) {
			t.Error("the stream is open a heartbeat later")
		}
	})
}

func TestAnOpenStreamNarrowsWithTheScopeOfItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadership(t)
		person, cookie := r.person("bob", everything)
		w, ended := r.listen("Cookie", cookie)
		r.decide("first-of-people")
		r.grant(person, access.Grant{Role: access.Viewer, Scope: nhi.Scope{Team: "payments"}})
		wait()
		r.decide("second-of-people")
		r.decide("third-of-payments")
		text := w.String()
		if !isOpen(ended) || !strings.Contains(text, "d-first") || strings.Contains(text, "d-second") || !strings.Contains(text, "d-third") {
			t.Errorf("open %v: %s", isOpen(ended), text)
		}
	})
}

func TestAReaderWhoHoldsUpTheHeartbeatIsAskedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := &counting{caller: frame.Caller{Permits: admin}}
		p := &pass{gate, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/stream", nil), t.Context(), time.Now()}
		if _, err := p.fresh(); err != nil || gate.asked != 0 {
			t.Fatalf("asked %d times, %v", gate.asked, err)
		}
		time.Sleep(heartbeat) // in one slow write
		gate.caller.Permits = reporter
		if _, err := p.fresh(); gate.asked != 1 || err == nil {
			t.Errorf("asked %d times, %v", gate.asked, err)
		}
	})
}

// counting counts how often it was asked.
type counting struct {
	caller frame.Caller
	asked  int
}

func (c *counting) Authenticate(*http.Request) (frame.Caller, error) {
	c.asked++
	return c.caller, nil
}

func TestTwoPeopleOfOneNameAreTwo(t *testing.T) {
	a, b := frame.Caller{Kind: "session", Name: "Ada", Person: "per_a"}, frame.Caller{Kind: "session", Name: "Ada", Person: "per_b"}
	token := frame.Caller{Kind: "operator", Name: "Ada", Person: "per_a", Token: "k", Identity: "nhi_k"}
	if a.Self() == b.Self() || a.Self() == token.Self() {
		t.Errorf("%s, %s and %s share views and replies", a.Self(), b.Self(), token.Self())
	}
}
