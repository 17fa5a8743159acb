package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

// A finder collects what a text names, each thing once.
type finder struct {
	server *server
	ctx    context.Context
	limit  int
	seen   map[string]bool
	found  []client.Found
}

func (f *finder) add(x client.Found) {
	key := x.Kind + " " + x.ID
	if len(f.found) < f.limit && !f.seen[key] {
		f.seen[key] = true
		f.found = append(f.found, x)
	}
}

// search serves POST /v1/search. It is a POST because the text may be a
// secret: addresses end up in logs and histories, bodies do not.
func (s *server) search(h huma.API) {
	o := frame.Operation(http.MethodPost, "/v1/search", "search", "search", "Find what a text names: a pasted key, an ARN, an id, a fingerprint or the beginning of a name")
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, func(ctx context.Context, in *frame.Body[client.Search]) (*frame.Body[client.SearchResult], error) {
		limit := in.Body.Limit
		if limit == 0 {
			limit = 20
		}
		f := &finder{server: s, ctx: ctx, limit: limit, seen: map[string]bool{}, found: []client.Found{}}
		text := strings.TrimSpace(in.Body.Text)
		for _, step := range []func(string) error{f.credentials, f.ids, f.places, f.names} {
			if err := step(text); err != nil {
				return nil, frame.Fail(err)
			}
		}
		return &frame.Body[client.SearchResult]{Body: client.SearchResult{Results: f.found, Secret: s.Clean(text) != text}}, nil
	})
}

// credentials finds what a pasted key, public id or fingerprint belongs to.
func (f *finder) credentials(text string) error {
	known, err := f.server.Inventory.Recognise(f.ctx, text)
	if err != nil {
		return err
	}
	names := f.server.Namer(f.ctx)
	for _, c := range known {
		if !f.server.Visible(f.ctx, access.Read, c.Identity) {
			continue
		}
		detail := "public id of this credential"
		if c.Proven {
			detail = "the value of this credential"
		}
		name := names.Identity(c.Identity)
		f.add(client.Found{Kind: "credential", ID: string(c.ID), Name: c.PublicID, Detail: detail + "; " + string(c.State) + ", of " + name, Exact: true})
		f.add(client.Found{Kind: "identity", ID: string(c.Identity), Name: name, Detail: "holds the credential " + c.PublicID, Exact: true})
	}
	return nil
}

// ids finds what an id names.
func (f *finder) ids(text string) error {
	if len(text) > 64 || strings.ContainsAny(text, " \n") {
		return nil
	}
	s := f.server
	if c, err := s.Inventory.Credential(f.ctx, nhi.CredentialID(text)); err == nil && s.Visible(f.ctx, access.Read, c.Identity) {
		f.add(client.Found{Kind: "credential", ID: text, Name: c.PublicID, Detail: string(c.State), Exact: true})
	} else if err != nil && !errors.Is(err, nhi.ErrNotFound) {
		return err
	}
	if x, err := s.Findings.Finding(f.ctx, text); err == nil && s.Visible(f.ctx, access.Read, x.Identity) {
		f.add(client.Found{Kind: "finding", ID: text, Name: x.Title, Detail: string(x.Severity) + ", " + string(x.Status), Exact: true})
	}
	if a, err := s.Findings.Action(f.ctx, text); err == nil && s.Visible(f.ctx, access.Read, a.Identity) {
		f.add(client.Found{Kind: "action", ID: text, Name: string(a.Measure), Detail: string(a.Status) + ": " + a.Reason, Exact: true})
	}
	if d, err := s.Decisions.Decision(f.ctx, text); err == nil && s.Visible(f.ctx, access.Read, d.Identity) {
		f.add(client.Found{Kind: "decision", ID: text, Name: string(d.Outcome), Detail: d.Operation + " " + d.Resource, Exact: true})
	}
	i, err := s.Inventory.Find(f.ctx, text)
	if err == nil && s.Visible(f.ctx, access.Read, i.ID) {
		f.identity(i, true)
	}
	return nil
}

func (f *finder) identity(i nhi.Identity, exact bool) {
	f.add(client.Found{Kind: "identity", ID: string(i.ID), Name: i.Name, Detail: join(string(i.Kind), i.Environment.Name, i.Path), Exact: exact})
}

// places finds points and sources by the beginning of their names.
func (f *finder) places(text string) error {
	s, lower := f.server, strings.ToLower(text)
	matches := func(id, name string) bool {
		return len(text) > 1 && (id == text || strings.HasPrefix(strings.ToLower(name), lower))
	}
	points, err := s.Access.Points(f.ctx)
	if err != nil {
		return err
	}
	for _, p := range points {
		if matches(string(p.ID), p.Name) {
			f.add(client.Found{Kind: "point", ID: string(p.ID), Name: p.Name, Detail: string(frame.Mode(p.Mode)), Exact: p.Name == text || string(p.ID) == text})
		}
	}
	if frame.Within(f.ctx) != nil {
		return nil // sources are for those who see everything
	}
	sources, err := s.Access.Sources(f.ctx)
	if err != nil {
		return err
	}
	for _, x := range sources {
		if matches(string(x.ID), x.Name) {
			f.add(client.Found{Kind: "source", ID: string(x.ID), Name: x.Name, Detail: x.Format, Exact: x.Name == text || string(x.ID) == text})
		}
	}
	return nil
}

// names finds identities by a whole path and by the beginnings of words. What
// looks like a secret is no name.
func (f *finder) names(text string) error {
	s := f.server
	if len(text) > 1024 || s.Clean(text) != text {
		return nil
	}
	if len(text) > 64 { // shorter ones were tried
		if i, err := s.Inventory.Find(f.ctx, text); err == nil && s.Visible(f.ctx, access.Read, i.ID) {
			f.identity(i, true)
		}
	}
	q := &frame.Query{}
	q.Words(text)
	if len(q.Expr.Terms) == 0 || len(inventory.QueryWords(text)) == 0 {
		return nil
	}
	page, err := s.Inventory.Identities(f.ctx, inventory.Filter{Expr: filter.Expr{Terms: q.Expr.Terms}, Within: frame.Within(f.ctx), Limit: f.limit})
	if err != nil {
		return err
	}
	for _, i := range page.Identities {
		f.identity(i, false)
	}
	return nil
}
