package server

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
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

// counting is a decider that counts. Before it asks, it takes secrets out of
// what a caller can write freely, because a decision is recorded and shown: the
// words of a question that only a point asserts, or that fits no route. The words
// of a route are ours.
type counting struct {
	*decision.Service
	outcomes *outcomes
	clean    func(string) string
}

// Decide implements enforce.Decider and issuer.Decider.
func (c counting) Decide(ctx context.Context, q *nhi.Question) nhi.Decision {
	if q.Subject.Asserted || q.Resource == "" {
		q.Operation, q.Resource = c.clean(q.Operation), c.clean(q.Resource)
		q.Subject.Identity, q.Subject.KeyID = nhi.ID(c.clean(string(q.Subject.Identity))), c.clean(q.Subject.KeyID)
	}
	followed := telemetry.Deciding(ctx)
	d := c.Service.Decide(ctx, q)
	followed.End(d.ID, string(d.Outcome))
	c.outcomes.count(&d)
	return d
}
