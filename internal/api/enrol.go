package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

// point adds to a point what it let pass while it only observed, which is
// about everybody who came through it.
func (s *server) point(ctx context.Context, p nhi.Point) client.Point {
	out := toPoint(p)
	out.ETag = tag(out)
	if within(ctx) == nil {
		out.WouldRefuse = s.Access.WouldRefuse(p.ID)
	}
	return out
}

func (s *server) enrolment(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/points", "list-points", "points", "List enforcement points"),
		func(ctx context.Context, _ *struct{}) (*body[client.Page[client.Point]], error) {
			points, err := s.Access.Points(ctx)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Page[client.Point]]{client.Page[client.Point]{Items: list(points, func(p nhi.Point) client.Point { return s.point(ctx, p) }), Total: len(points)}}, nil
		})
	huma.Register(h, op(http.MethodPost, "/v1/points", "enroll-point", "points", "Enroll an enforcement point; it starts observing"),
		func(ctx context.Context, in *body[client.EnrollPoint]) (*body[client.Enrolled], error) {
			if err := s.plain(append([]string{in.Body.Name}, in.Body.Resources...)...); err != nil {
				return nil, fail(err)
			}
			e, err := s.Access.EnrollPoint(ctx, callerOf(ctx).Actor(), in.Body)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Enrolled]{e}, nil
		})
	huma.Register(h, op(http.MethodPatch, "/v1/points/{id}", "set-point", "points", "Change a point: its mode, percent, dialect, addresses or resources"),
		s.setPoint)
	huma.Register(h, op(http.MethodGet, "/v1/sources", "list-sources", "sources", "List sources of logs and sightings"),
		func(ctx context.Context, _ *struct{}) (*body[client.Page[client.Source]], error) {
			sources, err := s.Access.Sources(ctx)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Page[client.Source]]{client.Page[client.Source]{Items: list(sources, s.source), Total: len(sources)}}, nil
		})
	huma.Register(h, op(http.MethodPost, "/v1/sources", "add-source", "sources", "Add a source; it may speak only about its accounts"),
		func(ctx context.Context, in *body[client.AddSource]) (*body[client.Enrolled], error) {
			if err := s.plain(append([]string{in.Body.Name}, in.Body.Accounts...)...); err != nil {
				return nil, fail(err)
			}
			e, err := s.Access.AddSource(ctx, callerOf(ctx).Actor(), in.Body)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Enrolled]{e}, nil
		})
	huma.Register(h, op(http.MethodPost, "/v1/links", "create-link", "access", "Make a one-time sign-in link"),
		func(ctx context.Context, _ *struct{}) (*body[client.Link], error) {
			url, expires, err := s.Access.NewLink(ctx, callerOf(ctx))
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Link]{client.Link{URL: url, Expires: expires}}, nil
		})
}

func (s *server) setPoint(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"100" doc:"id or name of the point"`
	IfMatch
	Body client.SetPoint
}) (*tagged[client.Point], error) {
	if in.Body.Resources != nil {
		if err := s.plain(*in.Body.Resources...); err != nil {
			return nil, fail(err)
		}
	}
	var p nhi.Point
	// One lock for all points: an id and a name may mean the same.
	err := s.changing("point", func() (err error) {
		if err := s.pointIs(ctx, in.ID, in.IfMatch); err != nil {
			return err
		}
		p, err = s.Access.SetPoint(ctx, callerOf(ctx).Actor(), in.ID, in.Body)
		return err
	})
	if err != nil {
		return nil, fail(err)
	}
	out := s.point(ctx, p)
	return &tagged[client.Point]{out.ETag, out}, nil
}

// pointIs checks the condition of a change of a point.
func (s *server) pointIs(ctx context.Context, id string, m IfMatch) error {
	if m.Match == "" {
		return nil
	}
	points, err := s.Access.Points(ctx)
	if err != nil {
		return err
	}
	for _, p := range points {
		if string(p.ID) == id || p.Name == id {
			return m.check(s.point(ctx, p).ETag)
		}
	}
	return nhiNotFound("point", id)
}
