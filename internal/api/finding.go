package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
)

// skipOf reads a page token of lists that are ordered by rank: how many rows
// the pages before it showed.
func skipOf(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		if n, err := strconv.Atoi(string(b)); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, nhi.Invalidf("page_token is not one of ours")
}

func tokenOf(skip int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(skip)))
}

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
		func(ctx context.Context, in *struct {
			Status     string `query:"status" enum:",open,acknowledged,resolved,dismissed"`
			Identity   string `query:"identity" maxLength:"64"`
			Credential string `query:"credential" maxLength:"64"`
			Limit      int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
			PageToken  string `query:"page_token" maxLength:"64"`
		}) (*body[client.Page[client.Finding]], error) {
			skip, err := skipOf(in.PageToken)
			if err != nil {
				return nil, fail(err)
			}
			found, total, err := s.Findings.Findings(ctx, FindingFilter{
				Status: nhi.FindingStatus(in.Status), Identity: nhi.ID(in.Identity), Credential: nhi.CredentialID(in.Credential), Within: within(ctx), Skip: skip, Limit: in.Limit,
			})
			if err != nil {
				return nil, fail(err)
			}
			page := client.Page[client.Finding]{Items: list(found, func(f nhi.Finding) client.Finding { return s.named(ctx, f) }), Total: total}
			if skip+len(found) < total {
				page.Next = tokenOf(skip + len(found))
			}
			return &body[client.Page[client.Finding]]{page}, nil
		})
	huma.Register(h, op(http.MethodGet, "/v1/findings/{id}", "get-finding", "findings", "Show one finding"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*body[client.Finding], error) {
			f, err := s.Findings.Finding(ctx, in.ID)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Finding]{s.named(ctx, f)}, nil
		})
	huma.Register(h, op(http.MethodPatch, "/v1/findings/{id}", "set-finding", "findings", "Say what you think of a finding"),
		func(ctx context.Context, in *struct {
			ID   string `path:"id" maxLength:"64"`
			Body client.SetFinding
		}) (*body[client.Finding], error) {
			f, err := s.Respond.SetStatus(ctx, in.ID, nhi.FindingStatus(in.Body.Status), callerOf(ctx).Actor(), in.Body.Reason)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Finding]{s.named(ctx, f)}, nil
		})
	s.actions(h)
}

func (s *server) actions(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/actions", "list-actions", "actions", "List what was done, the newest first"),
		func(ctx context.Context, in *struct {
			Limit int `query:"limit" minimum:"1" maximum:"500" default:"50"`
		}) (*body[client.Page[client.Action]], error) {
			recent, err := s.Findings.Recent(ctx, within(ctx), in.Limit)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Page[client.Action]]{client.Page[client.Action]{Items: list(recent, ToAction)}}, nil
		})
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
		func(ctx context.Context, in *struct {
			Outcome  string    `query:"outcome" enum:",allow,deny,step-up"`
			Identity string    `query:"identity" maxLength:"64"`
			Point    string    `query:"point" maxLength:"64"`
			Before   time.Time `query:"before"`
			Limit    int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
		}) (*body[client.Page[client.Decision]], error) {
			f := DecisionFilter{Outcome: nhi.Outcome(in.Outcome), Identity: nhi.ID(in.Identity), Point: nhi.ID(in.Point), Before: in.Before}
			if within(ctx) != nil {
				f.Within = func(id nhi.ID) bool { return s.visible(ctx, access.Read, id) }
			}
			recent := s.Decisions.Recent(f, in.Limit)
			names := s.namer(ctx)
			return &body[client.Page[client.Decision]]{client.Page[client.Decision]{Items: list(recent, names.decision)}}, nil
		})
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
