package server

import (
	"context"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy/force"
	"github.com/muster-id/muster/internal/server/measure"
	"github.com/muster-id/muster/internal/telemetry"
)

// counting is a decider that counts. Before it asks, it takes secrets out of the
// question, see [decision.Cleanse].
type counting struct {
	*decision.Service
	outcomes *measure.Outcomes
	clean    func(string) string
}

// Decide implements enforce.Decider and issuer.Decider.
func (c counting) Decide(ctx context.Context, q *nhi.Question) nhi.Decision {
	c.cleanse(q)
	followed := telemetry.Deciding(ctx)
	d := c.Service.Decide(ctx, q)
	followed.End(d.ID, string(d.Outcome))
	c.outcomes.Count(&d)
	return d
}

// DecideAll implements authzen.Decider.
func (c counting) DecideAll(ctx context.Context, questions []nhi.Question, enough func(*nhi.Decision) bool) []nhi.Decision {
	for i := range questions {
		c.cleanse(&questions[i])
	}
	decisions := c.Service.DecideAll(ctx, questions, enough)
	for i := range decisions {
		c.outcomes.Count(&decisions[i])
	}
	return decisions
}

func (c counting) cleanse(q *nhi.Question) { decision.Cleanse(q, c.clean) }

// inForce returns the policies that are in force.
func inForce(h *force.Holder) func() decision.Policies {
	return func() decision.Policies { return h.Pair() }
}
