package server

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/telemetry"
)

// outcomes counts decisions since the start, in all and by point.
type outcomes struct {
	allow, stepUp, deny, wouldRefuse atomic.Uint64
	latency                          prometheus.Histogram
	points                           sync.Map // nhi.ID to *atomic.Uint64: what observing points let pass
}

func (o *outcomes) count(d *nhi.Decision) {
	o.latency.Observe(d.Latency.Seconds())
	switch {
	case d.WouldRefuse:
		o.wouldRefuse.Add(1)
		n, ok := o.points.Load(d.Point)
		if !ok {
			n, _ = o.points.LoadOrStore(d.Point, new(atomic.Uint64))
		}
		n.(*atomic.Uint64).Add(1)
	case d.Outcome == nhi.Allow:
		o.allow.Add(1)
	case d.Outcome == nhi.StepUp:
		o.stepUp.Add(1)
	default:
		o.deny.Add(1)
	}
}

func (o *outcomes) get(name string) uint64 {
	switch name {
	case "allow":
		return o.allow.Load()
	case "step_up":
		return o.stepUp.Load()
	case "deny":
		return o.deny.Load()
	}
	return o.wouldRefuse.Load()
}

// ofPoint is what an observing point let pass.
func (o *outcomes) ofPoint(id nhi.ID) uint64 {
	if n, ok := o.points.Load(id); ok {
		return n.(*atomic.Uint64).Load()
	}
	return 0
}

// counting is a decider that counts. Before it asks, it takes secrets out of the
// question, see [decision.Cleanse].
type counting struct {
	*decision.Service
	outcomes *outcomes
	clean    func(string) string
}

// Decide implements enforce.Decider and issuer.Decider.
func (c counting) Decide(ctx context.Context, q *nhi.Question) nhi.Decision {
	c.cleanse(q)
	followed := telemetry.Deciding(ctx)
	d := c.Service.Decide(ctx, q)
	followed.End(d.ID, string(d.Outcome))
	c.outcomes.count(&d)
	return d
}

// DecideAll implements authzen.Decider.
func (c counting) DecideAll(ctx context.Context, questions []nhi.Question, enough func(*nhi.Decision) bool) []nhi.Decision {
	for i := range questions {
		c.cleanse(&questions[i])
	}
	decisions := c.Service.DecideAll(ctx, questions, enough)
	for i := range decisions {
		c.outcomes.count(&decisions[i])
	}
	return decisions
}

func (c counting) cleanse(q *nhi.Question) { decision.Cleanse(q, c.clean) }

// inForce returns the set of policies that is in force.
func inForce(h *policy.Holder) func() decision.Policies {
	return func() decision.Policies {
		if set := h.Set(); set != nil {
			return set
		}
		return h // denies
	}
}
