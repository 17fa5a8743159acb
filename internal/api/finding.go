package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

// named adds to a finding what belongs beside it: the identity's name and what
// was done.
func (s *server) named(ctx context.Context, f nhi.Finding) client.Finding {
	out := toFinding(f)
	if i, err := s.Inventory.Identity(ctx, f.Identity); err == nil {
		out.Name = i.Name
	}
	if f.Action != "" {
		if a, err := s.Findings.Action(ctx, f.Action); err == nil {
			action := ToAction(a)
			out.Action = &action
		}
	}
	return out
}

func (s *server) findings(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/findings", "list-findings", "findings", "List findings, the worst and newest first"),
		s.listFindings)
	huma.Register(h, op(http.MethodGet, "/v1/findings/{id}", "get-finding", "findings", "Show one finding"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*tagged[client.Finding], error) {
			f, err := s.Findings.Finding(ctx, in.ID)
			if err != nil {
				return nil, fail(err)
			}
			return &tagged[client.Finding]{findingTag(f), s.named(ctx, f)}, nil
		})
	huma.Register(h, op(http.MethodPatch, "/v1/findings/{id}", "set-finding", "findings", "Say what you think of a finding"),
		s.setFinding)
	s.actions(h)
}

// findingTag is the tag of what people may change of a finding.
func findingTag(f nhi.Finding) string { return tag("finding", f.ID, f.Status, f.Settled.UnixMicro()) }

func (s *server) setFinding(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64" doc:"id of the finding"`
	IfMatch
	Body client.SetFinding
}) (*tagged[client.Finding], error) {
	var f nhi.Finding
	err := s.changing(in.ID, func() (err error) {
		if in.Match != "" {
			if f, err = s.Findings.Finding(ctx, in.ID); err != nil {
				return err
			}
			if err := in.check(findingTag(f)); err != nil {
				return err
			}
		}
		f, err = s.Respond.SetStatus(ctx, in.ID, nhi.FindingStatus(in.Body.Status), callerOf(ctx).Actor(), in.Body.Reason)
		return err
	})
	if err != nil {
		return nil, fail(err)
	}
	return &tagged[client.Finding]{findingTag(f), s.named(ctx, f)}, nil
}

func (s *server) actions(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/actions", "list-actions", "actions", "List what was done, the newest first"),
		s.listActions)
	type input struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Reason string `json:"reason,omitempty" maxLength:"1000"`
		} `required:"false"`
	}
	act := func(id, path, summary string, do func(context.Context, *input) (nhi.Action, error)) {
		o := op(http.MethodPost, "/v1/actions/{id}/"+path, id, "actions", summary)
		o.DefaultStatus = http.StatusOK
		huma.Register(h, o, func(ctx context.Context, in *input) (*body[client.Action], error) {
			a, err := do(ctx, in)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Action]{ToAction(a)}, nil
		})
	}
	act("undo-action", "undo", "Undo an action", func(ctx context.Context, in *input) (nhi.Action, error) {
		return s.Respond.Undo(ctx, in.ID, callerOf(ctx).Actor(), in.Body.Reason)
	})
	act("approve-action", "approve", "Carry out a proposed action", func(ctx context.Context, in *input) (nhi.Action, error) {
		return s.Respond.Approve(ctx, in.ID, callerOf(ctx).Actor())
	})
}

func (s *server) decisions(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/decisions", "list-decisions", "decisions", "List recent decisions, the newest first"),
		s.listDecisions)
	huma.Register(h, op(http.MethodGet, "/v1/decisions/{id}", "get-decision", "decisions", "Show one decision with its reasons"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*body[client.Decision], error) {
			d, ok := s.Decisions.Decision(in.ID)
			if !ok {
				return nil, fail(nhiNotFound("decision", in.ID))
			}
			names := s.namer(ctx)
			return &body[client.Decision]{names.decision(d)}, nil
		})
}
