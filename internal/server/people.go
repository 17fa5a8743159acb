package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/glass"
	"github.com/muster-id/muster/internal/server/measure"
	"github.com/muster-id/muster/internal/server/scribe"
	"github.com/muster-id/muster/internal/server/view"
	storeaccess "github.com/muster-id/muster/internal/store/access"
	"github.com/muster-id/muster/internal/usage"
)

// people opens the door for administrators: the first token, if there has
// never been one, and its finding.
func (s *Server) people(ctx context.Context, acts *scribe.Recorder) error {
	kept := storeaccess.New(s.db)
	set := s.settings.Config.Access
	c := access.Config{
		PublicURL: s.url, Directory: s.facts, Enrollments: kept, Glasses: kept, Tokens: kept, Sessions: kept, People: kept, Mappings: set.Roles, Domains: set.SSO.AllowedDomains,
		Key: s.keys.Derive("sign-in", 32), Log: slog.Default(),
	}
	if set.SSO.Issuer != "" {
		provider, err := s.provider(set.SSO)
		if err != nil {
			return err
		}
		c.Provider = provider
	}
	var err error
	if s.access, err = access.New(c); err != nil {
		return err
	}
	first, err := s.access.FirstToken(ctx, s.settings.Data, s.settings.RenewToken)
	if err != nil {
		return err
	}
	if !first.Created {
		return nil
	}
	if err := s.respond.Found(ctx, []nhi.Finding{first.Finding}); err != nil {
		return err
	}
	return acts.Record(ctx, nhi.Act{Key: "first-token:" + first.Finding.ID, At: time.Now(), Actor: "system", Act: "token.create", Target: string(first.Finding.Identity), Reason: "first administrator token", Outcome: "done"})
}

// glass hands out halves of break-glass codes, and takes in what became of them.
func (s *Server) glass(acts *scribe.Recorder) *glass.Desk {
	return &glass.Desk{Access: s.access, Record: acts.Record, Found: s.respond.Found, Clean: s.scanner.RedactString, Person: storeaccess.New(s.db).Person}
}

// gate implements frame.Gate.
type gate struct {
	service *access.Service
	book    *view.Doorbook
}

func (g gate) Authenticate(r *http.Request) (frame.Caller, error) {
	c, err := g.service.Authenticate(r)
	if err != nil {
		g.book.Note(r, err)
		return frame.Caller{}, err
	}
	out := frame.Caller{Kind: string(c.Kind), Name: c.Name, Identity: c.Identity, Person: c.Person, Token: c.Token, First: c.First, Expires: c.Expires, Grants: c.Grants, Permits: c.Permits}
	if c.Source != nil {
		out.Source = *c.Source
	}
	return out, nil
}

// admin says whether an administrator sends a request to the issuer.
func (s *Server) admin(r *http.Request) (string, bool) {
	c, err := s.access.Authenticate(r)
	return string(c.Kind) + ":" + c.Name, err == nil && c.May(access.Administer)
}

// signIn opens a one-time link: it sets the session's cookie and leads to the
// console.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	switch r.Method {
	case http.MethodGet:
	case http.MethodDelete:
		s.signOut(w, r)
		return
	default:
		h.Set("Allow", "GET, DELETE")
		http.Error(w, "open the link in a browser", http.StatusMethodNotAllowed)
		return
	}
	cookie, err := s.access.SignIn(r.Context(), r, r.URL.Query().Get("link"))
	switch {
	case errors.Is(err, nhi.ErrBusy):
		s.book.Refused(r, usage.Refusal{Kind: usage.FailedAuthentication, Reason: "too many failures from one address"})
		http.Error(w, "too many attempts; wait a minute", http.StatusTooManyRequests)
	case errors.Is(err, nhi.ErrDenied):
		s.book.Refused(r, usage.Refusal{Kind: usage.FailedAuthentication, Reason: "no such sign-in link, or one that was used"})
		http.Error(w, "This link does not work (any more). A link works once, for ten minutes. Get a new one: muster login", http.StatusForbidden)
	case err != nil:
		slog.Error("sign in", "error", err)
		http.Error(w, "the server could not do that; its log says why", http.StatusInternalServerError)
	default:
		http.SetCookie(w, cookie)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if _, err := s.access.Authenticate(r); err != nil {
		http.Error(w, "no session", http.StatusUnauthorized)
		return
	}
	cookie, next, err := s.access.SignOut(r.Context(), r)
	if err != nil {
		slog.Error("sign out", "error", err)
		http.Error(w, "the server could not do that; its log says why", http.StatusInternalServerError)
		return
	}
	http.SetCookie(w, cookie)
	if next == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"next": next}) // the browser may be gone
}

// enrolment implements frame.Access.
type enrolment struct {
	service  *access.Service
	acts     *scribe.Recorder
	outcomes *measure.Outcomes
	url      string
	sso      string // name of the provider; empty: none
	away     func(*client.Point)
}

func (e *enrolment) act(ctx context.Context, by, act, target, reason string) error {
	return e.acts.Record(ctx, nhi.Act{At: time.Now(), Actor: by, Act: act, Target: target, Reason: reason, Outcome: "done"})
}

func (e *enrolment) EnrollPoint(ctx context.Context, by string, p client.EnrollPoint) (client.Enrolled, error) {
	point, minted, err := e.service.EnrollPoint(ctx, access.NewPoint{Name: p.Name, Dialect: nhi.Dialect(p.Dialect), Sources: p.Sources, Resources: p.Resources, Assert: p.Assert})
	if err != nil {
		return client.Enrolled{}, err
	}
	if err := e.act(ctx, by, "point.enroll", string(point.ID), p.Name); err != nil {
		return client.Enrolled{}, err
	}
	return client.Enrolled{ID: string(point.ID), Key: minted.Reveal()}, nil
}

func (e *enrolment) SetPoint(ctx context.Context, by, id string, p client.SetPoint) (nhi.Point, error) {
	name, err := e.pointName(ctx, id)
	if err != nil {
		return nhi.Point{}, err
	}
	point, err := e.service.SetPoint(ctx, name, access.PointChange{
		Mode: (*nhi.Mode)(p.Mode), Percent: p.Percent, Dialect: (*nhi.Dialect)(p.Dialect), Sources: p.Sources, Resources: p.Resources, Disabled: p.Disabled, Assert: p.Assert,
	})
	if err != nil {
		return nhi.Point{}, err
	}
	return point, e.act(ctx, by, "point.set", string(point.ID), fmt.Sprintf("%s: %s, %d percent", point.Name, point.Mode, point.Percent))
}

// pointName finds a point by its id or name.
func (e *enrolment) pointName(ctx context.Context, ref string) (string, error) {
	points, err := e.service.Points(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range points {
		if string(p.ID) == ref {
			return p.Name, nil
		}
	}
	return ref, nil
}

func (e *enrolment) Points(ctx context.Context) ([]nhi.Point, error) { return e.service.Points(ctx) }

func (e *enrolment) WouldRefuse(point nhi.ID) uint64 { return e.outcomes.OfPoint(point) }

func (e *enrolment) Away(point *client.Point) { e.away(point) }

func (e *enrolment) AddSource(ctx context.Context, by string, n client.AddSource) (client.Enrolled, error) {
	source, minted, err := e.service.AddSource(ctx, access.NewSource{Name: n.Name, Format: n.Format, Accounts: n.Accounts})
	if err != nil {
		return client.Enrolled{}, err
	}
	if err := e.act(ctx, by, "source.add", string(source.ID), source.Name); err != nil {
		return client.Enrolled{}, err
	}
	return client.Enrolled{ID: string(source.ID), Key: minted.Reveal()}, nil
}

func (e *enrolment) Sources(ctx context.Context) ([]nhi.Source, error) { return e.service.Sources(ctx) }

func (e *enrolment) NewLink(ctx context.Context, by frame.Caller) (string, time.Time, error) {
	secret, err := e.service.NewLink(ctx, callerOf(by))
	if err != nil {
		return "", time.Time{}, err
	}
	if err := e.act(ctx, by.Actor(), "link.create", by.Name, ""); err != nil {
		return "", time.Time{}, err
	}
	return e.url + "/signin?link=" + url.QueryEscape(secret), time.Now().Add(10 * time.Minute).UTC(), nil
}

// SignIn implements frame.Access.
func (e *enrolment) SignIn(ctx context.Context) (client.SignIn, error) {
	alive, err := e.service.FirstAlive(ctx)
	out := client.SignIn{FirstAdministrator: alive}
	if e.sso != "" {
		out.SSO = &client.SingleSignOn{Name: e.sso, URL: "/signin/sso"}
	}
	return out, err
}

// subjects implements issuer.Subjects over the trust rules.
type subjects struct{ trust *oidc.Trust }

func (s subjects) VerifySubject(ctx context.Context, token string, now time.Time) (issuer.Subject, error) {
	v, err := s.trust.Verify(ctx, token, now)
	if err != nil {
		return issuer.Subject{}, err
	}
	return issuer.Subject{
		Attested: v.Attested, Rule: v.Rule.Name, Audiences: v.Rule.Audiences, Scopes: v.Rule.Scopes, Bearer: v.Rule.Bearer, TTL: v.Rule.TTL,
		Purposes: v.Rule.Purposes,
	}, nil
}
