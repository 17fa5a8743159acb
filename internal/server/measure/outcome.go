package measure

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-id/muster/internal/nhi"
)

// Outcomes count decisions since the start, in all and by point. They are safe
// for concurrent use, and cost a decision no allocation and no lock.
type Outcomes struct {
	Latency prometheus.Histogram

	allow, stepUp, deny, wouldRefuse, glass atomic.Uint64
	points                                  sync.Map // nhi.ID to *atomic.Uint64: what observing points let pass
}

// NewOutcomes returns Outcomes that have counted nothing.
func NewOutcomes() *Outcomes {
	return &Outcomes{Latency: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "muster_decision_seconds", Help: "How long decisions took, without the wait for the journal.",
		Buckets: []float64{5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2, 0.1, 1},
	})}
}

// Count counts a decision.
func (o *Outcomes) Count(d *nhi.Decision) {
	o.Latency.Observe(d.Latency.Seconds())
	switch {
	case d.WouldRefuse:
		o.wouldRefuse.Add(1)
		n, ok := o.points.Load(d.Point)
		if !ok {
			n, _ = o.points.LoadOrStore(d.Point, new(atomic.Uint64))
		}
		n.(*atomic.Uint64).Add(1)
	case d.Glass != "" && d.Outcome == nhi.Allow:
		o.glass.Add(1)
	case d.Outcome == nhi.Allow:
		o.allow.Add(1)
	case d.Outcome == nhi.StepUp:
		o.stepUp.Add(1)
	default:
		o.deny.Add(1)
	}
}

// Get returns how many decisions had an outcome: allow, step_up, deny,
// break_glass or would_refuse.
func (o *Outcomes) Get(name string) uint64 {
	switch name {
	case "allow":
		return o.allow.Load()
	case "step_up":
		return o.stepUp.Load()
	case "deny":
		return o.deny.Load()
	case "break_glass":
		return o.glass.Load()
	}
	return o.wouldRefuse.Load()
}

// WouldRefuse is what observing points let pass.
func (o *Outcomes) WouldRefuse() uint64 { return o.wouldRefuse.Load() }

// OfPoint is what one observing point let pass.
func (o *Outcomes) OfPoint(id nhi.ID) uint64 {
	if n, ok := o.points.Load(id); ok {
		return n.(*atomic.Uint64).Load()
	}
	return 0
}
