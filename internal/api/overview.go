package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/library"
	"github.com/muster-id/muster/internal/nhi"
)

func (s *server) overview(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/overview", "get-overview", "overview", "Is anything wrong, and are we protected?"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Overview], error) {
			within := frame.Within(ctx)
			o, err := s.State.Overview(ctx, within)
			if err != nil {
				return nil, frame.Fail(err)
			}
			open, _, err := s.Findings.Findings(ctx, frame.FindingFilter{Status: nhi.Open, Within: within, Limit: 10})
			if err != nil {
				return nil, frame.Fail(err)
			}
			points, err := s.Access.Points(ctx)
			if err != nil {
				return nil, frame.Fail(err)
			}
			o.Demo = s.Demo
			o.Needs = frame.Each(open, func(f nhi.Finding) client.Finding { return s.named(ctx, f) })
			o.Rates, o.Waiting = []client.Rate{}, []client.Snapshot{}
			if within == nil {
				o.Rates = s.Decisions.Rates(60)
				if o.Waiting, err = library.Waiting(ctx, s.Frame); err != nil {
					return nil, frame.Fail(err)
				}
			}
			o.Points, o.Unprotected = frame.Each(points, func(p nhi.Point) client.Point { return s.point(ctx, p) }), []string{}
			for _, p := range points {
				if p.Mode != nhi.Enforce && !p.Disabled {
					o.Unprotected = append(o.Unprotected, p.Name)
				}
			}
			return &frame.Body[client.Overview]{Body: o}, nil
		})
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/audit", "list-audit", "audit", "List acts, the newest first"),
		func(ctx context.Context, in *struct {
			frame.ListQuery
			Before uint64 `query:"before" doc:"only entries with a smaller number; 0 means the newest"`
		}) (*frame.Body[client.Page[client.Entry]], error) {
			return s.entries(ctx, in.ListQuery, strconv.FormatUint(in.Before, 10), in.Before, nil)
		})
	o := frame.Operation(http.MethodPost, "/v1/audit/checkpoint", "make-checkpoint", "audit", "Sign where the audit log stands now; keep the answer elsewhere")
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, func(ctx context.Context, _ *struct{}) (*frame.Body[json.RawMessage], error) {
		c, err := s.State.Checkpoint(ctx)
		if err != nil {
			return nil, frame.Fail(err)
		}
		return &frame.Body[json.RawMessage]{Body: c}, nil
	})
}

// DocumentPath is the part of a path that names a document.
type DocumentPath struct {
	Name string `path:"name" maxLength:"100" doc:"routes.yaml, resources.yaml, trust.yaml or policies.cedar"`
}

func documentTag(d client.Document) string { return frame.Tag("document", d.Name, d.Body) }

func (s *server) documents(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/documents/{name}", "get-document", "documents", "Show routes.yaml, resources.yaml, trust.yaml or policies.cedar as it is in force"),
		func(ctx context.Context, in *DocumentPath) (*frame.Tagged[client.Document], error) {
			d, err := s.Documents.Document(ctx, in.Name)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Tagged[client.Document]{ETag: documentTag(d), Body: d}, nil
		})
	o := frame.Operation(http.MethodPut, "/v1/documents/{name}", "apply-document", "documents", "Apply a document as a whole; a wrong one changes nothing")
	o.MaxBodyBytes = frame.MaxDocument
	o.RequestBody = &huma.RequestBody{Description: "the whole document; an empty one takes everything out of force"}
	huma.Register(h, o, s.applyDocument)
	o.RequestBody.Required = false // huma demands a body of whatever takes one
}

func (s *server) applyDocument(ctx context.Context, in *struct {
	DocumentPath
	frame.IfMatch
	RawBody []byte `contentType:"text/plain"`
}) (*frame.Tagged[client.Document], error) {
	var d client.Document
	err := s.Changing(in.Name, func() (err error) {
		if in.Match != "" {
			if d, err = s.Documents.Document(ctx, in.Name); err != nil {
				return err
			}
			if err := in.Check(documentTag(d)); err != nil {
				return err
			}
		}
		if err := s.Documents.Apply(ctx, frame.CallerOf(ctx).Actor(), in.Name, in.RawBody); err != nil {
			return err
		}
		d, err = s.Documents.Document(ctx, in.Name)
		return err
	})
	if err != nil {
		return nil, frame.Fail(err)
	}
	return &frame.Tagged[client.Document]{ETag: documentTag(d), Body: d}, nil
}
