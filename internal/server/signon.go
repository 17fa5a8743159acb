package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/access/oidc"
	"github.com/muster-id/muster/internal/api"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/scribe"
	"github.com/muster-id/muster/internal/server/view"
	"github.com/muster-id/muster/internal/usage"
)

// provider opens the organisation's provider and watches it. One that is down
// stops new sign-ins only, so the server starts and is ready without it.
func (s *Server) provider(set oidc.Settings) (*oidc.Provider, error) {
	secret := ""
	if set.ClientSecretFile != "" {
		b, err := os.ReadFile(set.ClientSecretFile)
		if err != nil {
			return nil, fmt.Errorf("read the client secret of single sign-on: %w", err)
		}
		secret = strings.TrimSpace(string(b))
		clear(b)
	}
	p, err := oidc.New(set, secret, s.url)
	if err != nil {
		return nil, fmt.Errorf("access.sso: %w", err)
	}
	s.health.Add(health.Check{Name: "single sign-on", State: func(ctx context.Context) health.State {
		if err := p.Health(ctx); err != nil {
			return health.Degraded(err.Error(), "open sessions go on, nobody new can sign in: check access.sso.issuer and the network to it")
		}
		return health.OK()
	}})
	return p, nil
}

func (s *Server) ssoName() string {
	if s.settings.Config.Access.SSO.Issuer == "" {
		return ""
	}
	return cmp.Or(s.settings.Config.Access.SSO.Name, "single sign-on")
}

func signInHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}

// beginSignOn sends the browser to the provider.
func (s *Server) beginSignOn(w http.ResponseWriter, r *http.Request) {
	signInHeaders(w)
	to, cookie, err := s.access.BeginSignOn(r.Context(), r, r.URL.Query().Get("next"))
	if err != nil {
		refuseSignOn(w, err)
		return
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// onward leads the browser on by a page of our own: the session's cookie is
// for requests that begin here, and one that the provider redirected does not.
var onward = template.Must(template.New("").Parse(`<!doctype html><meta charset="utf-8"><title>Signed in</title><p>Signed in. <a href="{{.}}">Go on</a></p>`))

// finishSignOn takes the provider's answer.
func (s *Server) finishSignOn(w http.ResponseWriter, r *http.Request, acts *scribe.Recorder) {
	signInHeaders(w)
	on, err := s.access.FinishSignOn(r.Context(), r)
	act := nhi.Act{At: time.Now(), Actor: "person:" + on.Person.ID, Act: "signin", Target: on.Person.ID, Reason: on.Person.Name, Outcome: "done"}
	if err != nil {
		act.Outcome = "refused"
	}
	if err == nil || errors.Is(err, access.ErrNoRole) {
		err = errors.Join(err, acts.Record(r.Context(), act))
	}
	if err == nil {
		err = s.firstEnded(r.Context(), acts, on)
	}
	if err != nil {
		http.SetCookie(w, on.Cookies[0])
		s.noteSignOn(r, on, err)
		refuseSignOn(w, err)
		return
	}
	for _, c := range on.Cookies {
		http.SetCookie(w, c)
	}
	w.Header().Set("Refresh", "0; url="+on.Next)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = onward.Execute(w, on.Next) // the browser may be gone
}

// firstEnded tidies up after the first administrator token: an administrator
// signed in.
func (s *Server) firstEnded(ctx context.Context, acts *scribe.Recorder, on access.SignOn) error {
	for _, t := range on.Ended {
		id := nhi.FindingID("first-administrator-token", t.Identity, "", t.KeyID)
		if _, err := s.respond.SetStatus(ctx, id, nhi.Resolved, "system", "an administrator signed in"); err != nil && !errors.Is(err, nhi.ErrNotFound) {
			return err
		}
		if err := acts.Record(ctx, nhi.Act{At: time.Now(), Actor: "system", Act: "token.revoke", Target: t.KeyID, Reason: "an administrator signed in", Outcome: "done"}); err != nil {
			return err
		}
	}
	if len(on.Ended) > 0 {
		if err := os.Remove(filepath.Join(s.settings.Data, access.TokenFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			slog.Warn("the file of the first administrator token could not be removed; the token is dead", "error", err)
		}
	}
	return nil
}

// noteSignOn lists a sign-in that failed. What the provider or the browser said
// is not repeated.
func (s *Server) noteSignOn(r *http.Request, on access.SignOn, err error) {
	switch {
	case errors.Is(err, access.ErrNoRole):
		s.book.Refused(r, usage.Refusal{Kind: usage.Denied, Claimed: on.Person.ID, Reason: "signed in with the provider, and holds no role"})
	case errors.Is(err, nhi.ErrBusy):
		s.book.Refused(r, usage.Refusal{Kind: usage.FailedAuthentication, Reason: "too many failures from one address"})
	case errors.Is(err, nhi.ErrDenied):
		s.book.Refused(r, usage.Refusal{Kind: usage.FailedAuthentication, Reason: "the single sign-on's answer does not hold"})
	}
}

// refuseSignOn says no, and what to do. Why exactly is for the log only.
func refuseSignOn(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, access.ErrNoRole):
		http.Error(w, "You are signed in with your organisation, and hold no role here yet. Ask an administrator of Muster for one: muster person set-role", http.StatusForbidden)
	case errors.Is(err, nhi.ErrBusy):
		http.Error(w, "too many attempts; wait a minute", http.StatusTooManyRequests)
	case errors.Is(err, nhi.ErrDenied):
		slog.Warn("a sign-in was refused", "error", err)
		http.Error(w, "The sign-in did not work. Begin again: /signin/sso", http.StatusForbidden)
	case errors.Is(err, nhi.ErrNotFound):
		http.Error(w, "single sign-on is not configured here: muster login", http.StatusNotFound)
	default:
		slog.Error("sign in", "error", err)
		http.Error(w, "The provider of your organisation cannot be reached. Try again in a minute; the server's log says why.", http.StatusServiceUnavailable)
	}
}

// callerOf is the caller as the domain knows it.
func callerOf(c frame.Caller) access.Caller {
	return access.Caller{Kind: access.Kind(c.Kind), Name: c.Name, Identity: c.Identity, Person: c.Person, Token: c.Token, Grants: c.Grants, Permits: c.Permits}
}

func (e *enrolment) toPerson(p access.Person) client.Person {
	return client.Person{
		ID: p.ID, Name: p.Name, Email: p.Email, Issuer: p.Issuer, Groups: append([]string{}, p.Groups...), Assigned: api.ToRoles(p.Grants),
		Roles: api.ToRoles(e.service.GrantsOf(p)), Disabled: p.Disabled, Created: p.Created, SignedIn: p.SignedIn,
	}
}

// People implements frame.Access.
func (e *enrolment) People(ctx context.Context) ([]client.Person, error) {
	people, err := e.service.People(ctx)
	out := make([]client.Person, 0, len(people))
	for _, p := range people {
		out = append(out, e.toPerson(p))
	}
	return out, err
}

// intends puts on record what is about to be done, durably: what holds and is
// not on record as done was begun by whom this says.
func (e *enrolment) intends(ctx context.Context, by, act, target string, what any) error {
	return e.acts.Record(ctx, nhi.Act{At: time.Now(), Actor: by, Act: act, Target: target, Outcome: "proposed", Detail: view.Encode(what)})
}

// SetPerson implements frame.Access. It is on record before it holds, and again
// once it does.
func (e *enrolment) SetPerson(ctx context.Context, by, id string, change client.SetPerson) (client.Person, error) {
	var c access.PersonChange
	what := "person.set-role"
	if c.Disabled = change.Disabled; change.Disabled != nil {
		what = "person.disable"
		if !*change.Disabled {
			what = "person.enable"
		}
	}
	if change.Roles != nil {
		grants := api.Grants(*change.Roles)
		c.Grants = &grants
	}
	if err := e.intends(ctx, by, what, id, change); err != nil {
		return client.Person{}, err
	}
	p, err := e.service.SetPerson(ctx, id, c)
	if err != nil {
		return client.Person{}, err
	}
	return e.toPerson(p), e.acts.Record(context.WithoutCancel(ctx), nhi.Act{
		At: time.Now(), Actor: by, Act: what, Target: p.ID, Reason: p.Name, Outcome: "done", Detail: view.Encode(change),
	})
}

func toToken(t access.Token) client.Token {
	out := client.Token{
		ID: t.KeyID, Name: t.Name, Identity: string(t.Identity), Person: t.Person, Parent: t.Parent, Roles: api.ToRoles(t.Grants), Rights: []string{},
		Loopback: t.Loopback, Created: t.Created, Expires: t.Expires,
	}
	for _, r := range t.Rights {
		out.Rights = append(out.Rights, string(r))
	}
	if !t.Used.IsZero() {
		out.Used = &t.Used
	}
	if !t.Revoked.IsZero() {
		out.Revoked = &t.Revoked
	}
	return out
}

// Tokens implements frame.Access.
func (e *enrolment) Tokens(ctx context.Context) ([]client.Token, error) {
	tokens, err := e.service.Tokens(ctx)
	out := make([]client.Token, 0, len(tokens))
	for _, t := range tokens {
		out = append(out, toToken(t))
	}
	return out, err
}

// CreateToken implements frame.Access. The token is on record before it is shown.
func (e *enrolment) CreateToken(ctx context.Context, by frame.Caller, n client.CreateToken) (client.NewToken, error) {
	rights := make([]access.Right, 0, len(n.Rights))
	for _, r := range n.Rights {
		rights = append(rights, access.Right(r))
	}
	if err := e.intends(ctx, by.Actor(), "token.create", n.Name, n); err != nil {
		return client.NewToken{}, err
	}
	t, minted, err := e.service.MintToken(ctx, callerOf(by), access.NewToken{
		Name: n.Name, Owner: n.Owner, Life: time.Duration(n.ExpiresIn) * time.Second, Loopback: n.Loopback, Grants: api.Grants(n.Roles), Rights: rights,
	})
	if err != nil {
		return client.NewToken{}, err
	}
	out := toToken(t)
	err = e.acts.Record(context.WithoutCancel(ctx), nhi.Act{
		At: time.Now(), Actor: by.Actor(), Act: "token.create", Target: t.KeyID, Reason: t.Name, Outcome: "done", Detail: view.Encode(out),
	})
	if err != nil {
		return client.NewToken{}, err
	}
	return client.NewToken{Token: out, Key: minted.Reveal()}, nil
}

// RevokeToken implements frame.Access.
func (e *enrolment) RevokeToken(ctx context.Context, by, id string) error {
	tokens, err := e.service.Tokens(ctx)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if t.KeyID != id {
			continue
		}
		if err := e.service.DropToken(ctx, id); err != nil {
			return err
		}
		return e.act(context.WithoutCancel(ctx), by, "token.revoke", id, t.Name)
	}
	return fmt.Errorf("token %.40q: %w", id, nhi.ErrNotFound)
}

// Sessions implements frame.Access.
func (e *enrolment) Sessions(ctx context.Context, person string) ([]client.Session, error) {
	all, err := e.service.SessionsOf(ctx, person)
	out := make([]client.Session, 0, len(all))
	for _, l := range all {
		out = append(out, client.Session{ID: l.ID(), Address: l.Address, Created: l.Created, Used: l.Used})
	}
	return out, err
}

// EndSession implements frame.Access.
func (e *enrolment) EndSession(ctx context.Context, by, person, id string) error {
	if err := e.service.EndSession(ctx, person, id); err != nil {
		return err
	}
	return e.act(context.WithoutCancel(ctx), by, "session.end", id, "")
}
