package library

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

// promotions adds the routes about the way of policies into force by gates.
func promotions(h huma.API, r *room) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/policies/promotion", "get-promotion", "policies", "Show the promotion under way, or the last one: its gate, what it waits for, and who would be denied what"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Promotion], error) {
			return r.promotion(ctx, nil)
		})
	o := frame.Operation(http.MethodPost, "/v1/policies/promotion/{step}", "step-promotion", "policies", "Pause, resume or abort the promotion under way, or open its next gate before its time")
	o.Description = "A gate cannot be opened while somebody is newly denied something that nobody explained. Where the configuration has promotion.required, only another administrator than the author may."
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, func(ctx context.Context, in *struct {
		Step string       `path:"step" enum:"pause,resume,advance,abort"`
		Body client.ActOn `required:"false"`
	}) (*frame.Body[client.Promotion], error) {
		return r.promotion(ctx, r.Library.Promote(ctx, frame.CallerOf(ctx), in.Step, in.Body.Reason))
	})
	o = frame.Operation(http.MethodPost, "/v1/policies/promotion/acknowledgements", "acknowledge-promotion", "policies", "Explain what the policies on their way into force deny newly")
	o.Description = "What is explained was meant: it neither holds the promotion up nor has it rolled back. It is on record who said so."
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, func(ctx context.Context, in *frame.Body[client.Acknowledge]) (*frame.Body[client.Promotion], error) {
		b := in.Body
		return r.promotion(ctx, r.Library.Acknowledge(ctx, frame.CallerOf(ctx), nhi.Acknowledgement{
			Policy: b.Policy, Identity: nhi.ID(b.Identity), Action: nhi.ActionClass(b.Action), Resource: b.Resource, Reason: b.Reason,
		}))
	})
}

// promotion answers with the promotion and the names of identities, unless what came
// before failed.
func (r *room) promotion(ctx context.Context, err error) (*frame.Body[client.Promotion], error) {
	if err != nil {
		return nil, frame.Fail(err)
	}
	p, err := r.Library.Promotion(ctx)
	if err != nil {
		return nil, frame.Fail(err)
	}
	names := r.Namer(ctx)
	for i := range p.Denials {
		p.Denials[i].Name = names.Identity(nhi.ID(p.Denials[i].Identity))
	}
	for i := range p.Witnesses {
		p.Witnesses[i].Name = names.Identity(nhi.ID(p.Witnesses[i].Identity))
	}
	return &frame.Body[client.Promotion]{Body: p}, nil
}
