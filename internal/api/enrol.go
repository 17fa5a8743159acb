package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
	"github.com/muster-id/muster/internal/nhi"
)

// point adds to a point when it last asked and what it let pass while it only
// observed, which is about everybody who came through it.
func (s *server) point(ctx context.Context, p nhi.Point) client.Point {
	out := frame.ToPoint(p)
	out.ETag = frame.Tag(out)
	if frame.Within(ctx) == nil {
		out.WouldRefuse = s.Access.WouldRefuse(p.ID)
		s.Access.Away(&out)
		if called := p.Called.UTC(); !p.Called.IsZero() {
			out.LastCall = &called
		}
	}
	return out
}

func (s *server) enrolment(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/points", "list-points", "points", "List enforcement points"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.Point], error) {
			q, err := s.Read(list.Points.Language, in.ListQuery)
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.Points, s.Access.Points), func(p nhi.Point) client.Point { return s.point(ctx, p) })
		})
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/points", "enroll-point", "points", "Enroll an enforcement point; it starts observing"),
		func(ctx context.Context, in *frame.Body[client.EnrollPoint]) (*frame.Body[client.Enrolled], error) {
			if err := s.Plain(append([]string{in.Body.Name}, in.Body.Resources...)...); err != nil {
				return nil, frame.Fail(err)
			}
			e, err := s.Access.EnrollPoint(ctx, frame.CallerOf(ctx).Actor(), in.Body)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Enrolled]{Body: e}, nil
		})
	huma.Register(h, frame.Operation(http.MethodPatch, "/v1/points/{id}", "set-point", "points", "Change a point: its mode, percent, dialect, addresses or resources"),
		s.setPoint)
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/points/{id}/probe", "probe-point", "points", "Sign an assertion of a point that is over, to see whether an application refuses it"),
		func(ctx context.Context, in *struct {
			ID   string `path:"id" maxLength:"100" doc:"id or name of the point"`
			Body client.ProbePoint
		}) (*frame.Body[client.PointProbe], error) {
			probe, err := s.Probes.Probe(ctx, frame.CallerOf(ctx), in.ID, in.Body)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.PointProbe]{Body: probe}, nil
		})
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/sources", "list-sources", "sources", "List sources of logs and sightings"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.Source], error) {
			q, err := s.Read(list.Sources.Language, in.ListQuery)
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.Sources, s.Access.Sources), s.source)
		})
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/sources", "add-source", "sources", "Add a source; it may speak only about its accounts"),
		func(ctx context.Context, in *frame.Body[client.AddSource]) (*frame.Body[client.Enrolled], error) {
			if err := s.Plain(append([]string{in.Body.Name}, in.Body.Accounts...)...); err != nil {
				return nil, frame.Fail(err)
			}
			e, err := s.Access.AddSource(ctx, frame.CallerOf(ctx).Actor(), in.Body)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Enrolled]{Body: e}, nil
		})
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/links", "create-link", "access", "Make a one-time sign-in link"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Link], error) {
			url, expires, err := s.Access.NewLink(ctx, frame.CallerOf(ctx))
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Link]{Body: client.Link{URL: url, Expires: expires}}, nil
		})
}

func (s *server) setPoint(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"100" doc:"id or name of the point"`
	frame.IfMatch
	Body client.SetPoint
}) (*frame.Tagged[client.Point], error) {
	if in.Body.Resources != nil {
		if err := s.Plain(*in.Body.Resources...); err != nil {
			return nil, frame.Fail(err)
		}
	}
	var p nhi.Point
	// One lock for all points: an id and a name may mean the same.
	err := s.Changing("point", func() (err error) {
		if err := s.pointIs(ctx, in.ID, in.IfMatch); err != nil {
			return err
		}
		p, err = s.Access.SetPoint(ctx, frame.CallerOf(ctx).Actor(), in.ID, in.Body)
		return err
	})
	if err != nil {
		return nil, frame.Fail(err)
	}
	out := s.point(ctx, p)
	return &frame.Tagged[client.Point]{ETag: out.ETag, Body: out}, nil
}

// pointIs checks the condition of a change of a point.
func (s *server) pointIs(ctx context.Context, id string, m frame.IfMatch) error {
	if m.Match == "" {
		return nil
	}
	points, err := s.Access.Points(ctx)
	if err != nil {
		return err
	}
	for _, p := range points {
		if string(p.ID) == id || p.Name == id {
			return m.Check(s.point(ctx, p).ETag)
		}
	}
	return frame.NotFound("point", id)
}
