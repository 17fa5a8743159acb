package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

// named adds to a finding what belongs beside it: the identity's name and what
// was done.
func (s *server) named(ctx context.Context, f nhi.Finding) client.Finding {
	out := frame.ToFinding(f)
	if i, err := s.Inventory.Identity(ctx, f.Identity); err == nil {
		out.Name = i.Name
	}
	if f.Action != "" {
		if a, err := s.Findings.Action(ctx, f.Action); err == nil {
			action := frame.ToAction(a)
			out.Action = &action
		}
	}
	return out
}

func (s *server) findings(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/findings", "list-findings", "findings", "List findings, the worst and newest first"),
		s.listFindings)
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/findings/{id}", "get-finding", "findings", "Show one finding"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*frame.Tagged[client.Finding], error) {
			f, err := s.Findings.Finding(ctx, in.ID)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Tagged[client.Finding]{ETag: findingTag(f), Body: s.named(ctx, f)}, nil
		})
	huma.Register(h, frame.Operation(http.MethodPatch, "/v1/findings/{id}", "set-finding", "findings", "Say what you think of a finding"),
		s.setFinding)
	s.actions(h)
}

// findingTag is the tag of what people may change of a finding.
func findingTag(f nhi.Finding) string {
	return frame.Tag("finding", f.ID, f.Status, f.Settled.UnixMicro())
}

func (s *server) setFinding(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64" doc:"id of the finding"`
	frame.IfMatch
	Body client.SetFinding
}) (*frame.Tagged[client.Finding], error) {
	var f nhi.Finding
	err := s.Changing(in.ID, func() (err error) {
		if in.Match != "" {
			if f, err = s.Findings.Finding(ctx, in.ID); err != nil {
				return err
			}
			if err := in.Check(findingTag(f)); err != nil {
				return err
			}
		}
		f, err = s.Respond.SetStatus(ctx, in.ID, nhi.FindingStatus(in.Body.Status), frame.CallerOf(ctx).Actor(), in.Body.Reason)
		return err
	})
	if err != nil {
		return nil, frame.Fail(err)
	}
	return &frame.Tagged[client.Finding]{ETag: findingTag(f), Body: s.named(ctx, f)}, nil
}

func (s *server) actions(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/actions", "list-actions", "actions", "List what was done, the newest first"),
		s.listActions)
	type input struct {
		ID   string       `path:"id" maxLength:"64"`
		Body client.ActOn `required:"false"`
	}
	act := func(id, path, summary string, do func(context.Context, *input) (nhi.Action, error)) {
		o := frame.Operation(http.MethodPost, "/v1/actions/{id}/"+path, id, "actions", summary)
		o.DefaultStatus = http.StatusOK
		huma.Register(h, o, func(ctx context.Context, in *input) (*frame.Body[client.Action], error) {
			a, err := do(ctx, in)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Action]{Body: frame.ToAction(a)}, nil
		})
	}
	act("undo-action", "undo", "Undo an action", func(ctx context.Context, in *input) (nhi.Action, error) {
		return s.Respond.Undo(ctx, in.ID, frame.CallerOf(ctx).Actor(), in.Body.Reason)
	})
	act("approve-action", "approve", "Carry out a proposed action", func(ctx context.Context, in *input) (nhi.Action, error) {
		return s.Respond.Approve(ctx, in.ID, frame.CallerOf(ctx).Actor())
	})
}

func (s *server) decisions(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/decisions", "list-decisions", "decisions", "List recent decisions, the newest first"),
		s.listDecisions)
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/decisions/{id}", "get-decision", "decisions", "Show one decision with its reasons"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*frame.Body[client.Decision], error) {
			d, err := s.Decisions.Decision(ctx, in.ID)
			if err != nil {
				return nil, frame.Fail(err)
			}
			names := s.Namer(ctx)
			return &frame.Body[client.Decision]{Body: names.Decision(d)}, nil
		})
}
