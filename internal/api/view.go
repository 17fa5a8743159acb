package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/store/desk"
)

// ViewPath is the part of a path that names a view. The caller chooses it.
type ViewPath struct {
	ID string `path:"id" pattern:"^[a-z0-9][a-z0-9-]{0,63}$" doc:"chosen by whoever saves it: small letters, digits and hyphens"`
}

// person is who a view, a live stream and the reply to a request with a key
// belong to. What a person is called is up to the provider, and two may be
// called the same: the id speaks.
func (c Caller) person() string {
	if c.Person != "" && c.Token == "" {
		return "person:" + c.Person
	}
	if c.Identity != "" {
		return string(c.Identity)
	}
	return c.Kind + ":" + c.Name
}

func toView(v desk.View) client.View {
	return client.View{ID: v.ID, Name: v.Name, Page: v.Page, Query: v.Query, Updated: v.Updated.UTC(), ETag: viewTag(v)}
}

func (s *server) views(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/views", "list-views", "views", "List the caller's saved views"),
		func(ctx context.Context, _ *struct{}) (*body[client.Page[client.View]], error) {
			views, err := s.Desk.Views(ctx, callerOf(ctx).person())
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Page[client.View]]{client.Page[client.View]{Items: list(views, toView), Total: len(views)}}, nil
		})
	huma.Register(h, op(http.MethodPut, "/v1/views/{id}", "put-view", "views", "Save a view under an id of the caller's choice"),
		s.putView)
	huma.Register(h, op(http.MethodDelete, "/v1/views/{id}", "delete-view", "views", "Remove a saved view"),
		func(ctx context.Context, in *struct {
			ViewPath
			IfMatch
		}) (*struct{}, error) {
			return nil, fail(s.changing(callerOf(ctx).person()+in.ID, func() error {
				if err := s.viewIs(ctx, in.ID, in.IfMatch); err != nil {
					return err
				}
				return s.Desk.RemoveView(ctx, callerOf(ctx).person(), in.ID)
			}))
		})
}

func viewTag(v desk.View) string { return tag("view", v.ID, v.Name, v.Page, v.Query) }

// viewIs checks the condition of a change of a view.
func (s *server) viewIs(ctx context.Context, id string, m IfMatch) error {
	if m.Match == "" {
		return nil
	}
	v, err := s.Desk.View(ctx, callerOf(ctx).person(), id)
	if err != nil {
		return err
	}
	return m.check(viewTag(v))
}

func (s *server) putView(ctx context.Context, in *struct {
	ViewPath
	IfMatch
	Body client.PutView
}) (*tagged[client.View], error) {
	if err := s.plain(in.Body.Name, in.Body.Query); err != nil {
		return nil, fail(err)
	}
	who := callerOf(ctx).person()
	var v desk.View
	err := s.changing(who+in.ID, func() (err error) {
		if err := s.viewIs(ctx, in.ID, in.IfMatch); err != nil {
			return err
		}
		v, err = s.Desk.PutView(ctx, who, desk.View{ID: in.ID, Name: in.Body.Name, Page: in.Body.Page, Query: in.Body.Query})
		return err
	})
	if err != nil {
		return nil, fail(err)
	}
	return &tagged[client.View]{viewTag(v), toView(v)}, nil
}
