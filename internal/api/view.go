package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
	"github.com/muster-id/muster/internal/store/desk"
)

// ViewPath is the part of a path that names a view. The caller chooses it.
type ViewPath struct {
	ID string `path:"id" pattern:"^[a-z0-9][a-z0-9-]{0,63}$" doc:"chosen by whoever saves it: small letters, digits and hyphens"`
}

func toView(v desk.View) client.View {
	return client.View{ID: v.ID, Name: v.Name, Page: v.Page, Query: v.Query, Updated: v.Updated.UTC(), ETag: viewTag(v)}
}

func (s *server) views(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/views", "list-views", "views", "List the caller's saved views"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.View], error) {
			q, err := s.Read(list.Views.Language, in.ListQuery, frame.CallerOf(ctx).Self())
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.Views, func(ctx context.Context) ([]desk.View, error) {
				return s.Desk.Views(ctx, frame.CallerOf(ctx).Self())
			}), toView)
		})
	huma.Register(h, frame.Operation(http.MethodPut, "/v1/views/{id}", "put-view", "views", "Save a view under an id of the caller's choice"),
		s.putView)
	huma.Register(h, frame.Operation(http.MethodDelete, "/v1/views/{id}", "delete-view", "views", "Remove a saved view"),
		func(ctx context.Context, in *struct {
			ViewPath
			frame.IfMatch
		}) (*struct{}, error) {
			return nil, frame.Fail(s.Changing(frame.CallerOf(ctx).Self()+in.ID, func() error {
				if err := s.viewIs(ctx, in.ID, in.IfMatch); err != nil {
					return err
				}
				return s.Desk.RemoveView(ctx, frame.CallerOf(ctx).Self(), in.ID)
			}))
		})
}

func viewTag(v desk.View) string { return frame.Tag("view", v.ID, v.Name, v.Page, v.Query) }

// viewIs checks the condition of a change of a view.
func (s *server) viewIs(ctx context.Context, id string, m frame.IfMatch) error {
	if m.Match == "" {
		return nil
	}
	v, err := s.Desk.View(ctx, frame.CallerOf(ctx).Self(), id)
	if err != nil {
		return err
	}
	return m.Check(viewTag(v))
}

func (s *server) putView(ctx context.Context, in *struct {
	ViewPath
	frame.IfMatch
	Body client.PutView
}) (*frame.Tagged[client.View], error) {
	if err := s.Plain(in.Body.Name, in.Body.Query); err != nil {
		return nil, frame.Fail(err)
	}
	who := frame.CallerOf(ctx).Self()
	var v desk.View
	err := s.Changing(who+in.ID, func() (err error) {
		if err := s.viewIs(ctx, in.ID, in.IfMatch); err != nil {
			return err
		}
		v, err = s.Desk.PutView(ctx, who, desk.View{ID: in.ID, Name: in.Body.Name, Page: in.Body.Page, Query: in.Body.Query})
		return err
	})
	if err != nil {
		return nil, frame.Fail(err)
	}
	return &frame.Tagged[client.View]{ETag: viewTag(v), Body: toView(v)}, nil
}
