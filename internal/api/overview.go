package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

func (s *server) overview(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/overview", "get-overview", "overview", "Is anything wrong, and are we protected?"),
		func(ctx context.Context, _ *struct{}) (*body[client.Overview], error) {
			within := within(ctx)
			o, err := s.State.Overview(ctx, within)
			if err != nil {
				return nil, fail(err)
			}
			open, _, err := s.Findings.Findings(ctx, FindingFilter{Status: nhi.Open, Within: within, Limit: 10})
			if err != nil {
				return nil, fail(err)
			}
			points, err := s.Access.Points(ctx)
			if err != nil {
				return nil, fail(err)
			}
			o.Demo = s.Demo
			o.Needs = list(open, func(f nhi.Finding) client.Finding { return s.named(ctx, f) })
			o.Rates = []client.Rate{}
			if within == nil {
				o.Rates = s.Decisions.Rates(60)
			}
			o.Points, o.Unprotected = list(points, func(p nhi.Point) client.Point { return s.point(ctx, p) }), []string{}
			for _, p := range points {
				if p.Mode != nhi.Enforce && !p.Disabled {
					o.Unprotected = append(o.Unprotected, p.Name)
				}
			}
			return &body[client.Overview]{o}, nil
		})
	huma.Register(h, op(http.MethodGet, "/v1/audit", "list-audit", "audit", "List acts, the newest first"),
		func(ctx context.Context, in *struct {
			ListQuery
			Before uint64 `query:"before" doc:"only entries with a smaller number; 0 means the newest"`
		}) (*body[client.Page[client.Entry]], error) {
			return s.entries(ctx, in.ListQuery, strconv.FormatUint(in.Before, 10), in.Before, nil)
		})
	o := op(http.MethodPost, "/v1/audit/checkpoint", "make-checkpoint", "audit", "Sign where the audit log stands now; keep the answer elsewhere")
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, func(ctx context.Context, _ *struct{}) (*body[json.RawMessage], error) {
		c, err := s.State.Checkpoint(ctx)
		if err != nil {
			return nil, fail(err)
		}
		return &body[json.RawMessage]{c}, nil
	})
}

// DocumentPath is the part of a path that names a document.
type DocumentPath struct {
	Name string `path:"name" maxLength:"100" doc:"routes.yaml, resources.yaml, trust.yaml or policies.cedar"`
}

func documentTag(d client.Document) string { return tag("document", d.Name, d.Body) }

func (s *server) documents(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/documents/{name}", "get-document", "documents", "Show routes.yaml, resources.yaml, trust.yaml or policies.cedar as it is in force"),
		func(ctx context.Context, in *DocumentPath) (*tagged[client.Document], error) {
			d, err := s.Documents.Document(ctx, in.Name)
			if err != nil {
				return nil, fail(err)
			}
			return &tagged[client.Document]{documentTag(d), d}, nil
		})
	o := op(http.MethodPut, "/v1/documents/{name}", "apply-document", "documents", "Apply a document as a whole; a wrong one changes nothing")
	o.MaxBodyBytes = 8 << 20
	huma.Register(h, o, s.applyDocument)
}

func (s *server) applyDocument(ctx context.Context, in *struct {
	DocumentPath
	IfMatch
	RawBody []byte `contentType:"text/plain"`
}) (*tagged[client.Document], error) {
	var d client.Document
	err := s.changing(in.Name, func() (err error) {
		if in.Match != "" {
			if d, err = s.Documents.Document(ctx, in.Name); err != nil {
				return err
			}
			if err := in.check(documentTag(d)); err != nil {
				return err
			}
		}
		if err := s.Documents.Apply(ctx, callerOf(ctx).Actor(), in.Name, in.RawBody); err != nil {
			return err
		}
		d, err = s.Documents.Document(ctx, in.Name)
		return err
	})
	if err != nil {
		return nil, fail(err)
	}
	return &tagged[client.Document]{documentTag(d), d}, nil
}
