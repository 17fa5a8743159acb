package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
)

func (s *server) listApprovals(ctx context.Context, in *OnlyList) (*pageOf[client.Approval], error) {
	q, err := s.Read(filter.Approvals, in.ListQuery)
	fetch := func(ctx context.Context, p filter.Part) (filter.Slice[nhi.Approval], error) {
		return s.Approvals.Approvals(ctx, p)
	}
	return frame.Serve(ctx, q, err, frame.Stored(fetch, func(a *nhi.Approval) filter.Position {
		return filter.Position{Number: frame.Micros(a.Asked), ID: a.ID}
	}), s.Namer(ctx).Approval)
}

func (s *server) approvals(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/approvals", "list-approvals", "approvals", "List what people were asked to approve, the newest first"),
		s.listApprovals)
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/approvals/{id}", "get-approval", "approvals", "Show one approval"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*frame.Body[client.Approval], error) {
			a, err := s.Approvals.Approval(ctx, in.ID)
			return s.approval(ctx, a, err)
		})
	type input struct {
		ID   string        `path:"id" maxLength:"64" doc:"id of the approval"`
		Body client.Answer `required:"false"`
	}
	for _, v := range []struct {
		id, summary string
		yes         bool
	}{
		{"approve", "Say yes to what an identity asks", true},
		{"deny", "Say no to what an identity asks", false},
	} {
		o := frame.Operation(http.MethodPost, "/v1/approvals/{id}/"+v.id, v.id, "approvals", v.summary)
		o.DefaultStatus = http.StatusOK
		o.Description = "Only people may: a person's session, or the first administrator. An operator token is refused."
		huma.Register(h, o, func(ctx context.Context, in *input) (*frame.Body[client.Approval], error) {
			a, err := s.Approvals.Vote(ctx, frame.CallerOf(ctx), in.ID, v.yes, in.Body.Comment)
			return s.approval(ctx, a, err)
		})
	}
	o := frame.Operation(http.MethodPost, "/v1/approvals/{id}/cancel", "cancel-approval", "approvals", "Close what waits for people, or was approved and not used")
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"64"`
	}) (*frame.Body[client.Approval], error) {
		a, err := s.Approvals.Cancel(ctx, frame.CallerOf(ctx), in.ID)
		return s.approval(ctx, a, err)
	})
}

func (s *server) approval(ctx context.Context, a nhi.Approval, err error) (*frame.Body[client.Approval], error) {
	if err != nil {
		return nil, frame.Fail(err)
	}
	return &frame.Body[client.Approval]{Body: s.Namer(ctx).Approval(a)}, nil
}
