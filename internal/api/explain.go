package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/advice"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

func (s *server) explanation(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/decisions/{id}/explanation", "explain-decision", "decisions", "Say why a decision came out as it did, and what would unlock it"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*frame.Body[client.Explanation], error) {
			d, err := s.Decisions.Decision(ctx, in.ID)
			if err != nil {
				return nil, frame.Fail(err)
			}
			out := s.explain(&d)
			names := s.Namer(ctx)
			out.Decision = names.Decision(d)
			return &frame.Body[client.Explanation]{Body: out}, nil
		})
}

// explain judges a decision again.
func (s *server) explain(d *nhi.Decision) client.Explanation {
	q, ok := d.Question()
	bare := client.Explanation{Policies: []client.ExplainedPolicy{}, Unlock: advice.Put(d, []client.Unlock{}), Inputs: []client.Input{}}
	switch {
	case !ok || s.Explain == nil:
		bare.Note = "What the policies could read is not on record, so it cannot be judged again; its reasons are."
		return bare
	case d.Policy == "" && len(d.Reasons) > 0:
		bare.Note = "It was decided before any policy was asked, for these reasons."
		return bare
	}
	out := s.Explain(&q)
	out.Unlock = advice.Put(d, out.Unlock)
	out.Recorded, out.SamePolicies = true, out.Policy == d.Policy
	then := string(d.Outcome)
	if d.WouldRefuse {
		then = "refused, and let pass by a point that only observes"
	}
	if d.Glass != "" {
		then = "refused, and let pass because the point was open by break-glass code " + d.Glass
	}
	switch {
	case !out.SamePolicies:
		out.Note = fmt.Sprintf("Judged again by today's policies, which are not those that decided: then %s, now %s.", then, out.Outcome)
	case d.Glass != "":
		out.Note = fmt.Sprintf("The policies say %s; the point was open by break-glass code %s, so it was let pass.", out.Outcome, d.Glass)
	case !d.WouldRefuse && out.Outcome != string(d.Outcome):
		out.Note = fmt.Sprintf("The policies say %s; the decision was %s for a reason that is not theirs, see its reasons.", out.Outcome, then)
	case d.WouldRefuse:
		out.Note = fmt.Sprintf("The policies say %s; the point only observes, so it was let pass.", out.Outcome)
	default:
		out.Note = "Judged by the policies that decided."
	}
	return out
}
