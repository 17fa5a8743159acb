package measure

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/library"
)

// Promotion shows how far policies are on their way into force.
type Promotion struct {
	Numbers func() library.Numbers // reads memory only
}

var (
	promotionGate        = prometheus.NewDesc("muster_policy_promotion_gate", "1 for the gate at which policies on their way into force stand, 0 for the others.", []string{"gate"}, nil)
	promotionPercent     = prometheus.NewDesc("muster_policy_promotion_percent", "Share of the principals that policies on their way into force decide for, in percent; 0 when there are none.", nil, nil)
	promotionUnexplained = prometheus.NewDesc("muster_policy_promotion_unexplained", "Times that policies on their way into force newly deny somebody something, and nobody has explained it.", nil, nil)
	promotionHeld        = prometheus.NewDesc("muster_policy_promotion_held", "1 for what holds policies on their way into force up until a person does something, 0 for the rest.", []string{"why"}, nil)
	promotionOpened      = prometheus.NewDesc("muster_policy_promotion_gates_opened_total", "Gates that policies on their way into force went through.", nil, nil)
	promotionRolledBack  = prometheus.NewDesc("muster_policy_promotion_rollbacks_total", "Promotions that were rolled back by themselves.", nil, nil)
)

// Describe implements prometheus.Collector.
func (Promotion) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{promotionGate, promotionPercent, promotionUnexplained, promotionHeld, promotionOpened, promotionRolledBack} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p Promotion) Collect(ch chan<- prometheus.Metric) {
	n := p.Numbers()
	for _, gate := range []nhi.PromotionGate{nhi.PromotionShadow, nhi.PromotionStaged, nhi.PromotionWatching} {
		at := 0.0
		if gate == n.Gate {
			at = 1
		}
		ch <- prometheus.MustNewConstMetric(promotionGate, prometheus.GaugeValue, at, string(gate))
	}
	for _, why := range []nhi.PromotionHold{nhi.HoldPaused, nhi.HoldUnexplained, nhi.HoldErrors} {
		held := 0.0
		if slices.Contains(n.Holds, why) {
			held = 1
		}
		ch <- prometheus.MustNewConstMetric(promotionHeld, prometheus.GaugeValue, held, string(why))
	}
	ch <- prometheus.MustNewConstMetric(promotionPercent, prometheus.GaugeValue, float64(n.Percent))
	ch <- prometheus.MustNewConstMetric(promotionUnexplained, prometheus.GaugeValue, float64(n.Unexplained))
	ch <- prometheus.MustNewConstMetric(promotionOpened, prometheus.CounterValue, float64(n.Opened))
	ch <- prometheus.MustNewConstMetric(promotionRolledBack, prometheus.CounterValue, float64(n.RolledBack))
}
