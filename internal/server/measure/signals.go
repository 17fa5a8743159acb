package measure

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-id/muster/internal/server/signal"
)

// Signals show what became of shared signals.
type Signals struct {
	Numbers func(context.Context) signal.Numbers
}

var (
	signalsWaiting = prometheus.NewDesc("muster_signals_waiting", "Events that receivers have not acknowledged.", nil, nil)
	signalsTold    = prometheus.NewDesc("muster_signals_told_total", "Events for receivers by outcome.", []string{"outcome"}, nil)
	signalsHeard   = prometheus.NewDesc("muster_signals_heard_total", "Signals of peers by outcome.", []string{"outcome"}, nil)
)

// Describe implements prometheus.Collector.
func (Signals) Describe(ch chan<- *prometheus.Desc) {
	ch <- signalsWaiting
	ch <- signalsTold
	ch <- signalsHeard
}

// Collect implements prometheus.Collector.
func (s Signals) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // a scrape has no deadline to hand on
	defer cancel()
	n := s.Numbers(ctx)
	ch <- prometheus.MustNewConstMetric(signalsWaiting, prometheus.GaugeValue, n.Waiting)
	for outcome, value := range map[string]float64{"acknowledged": n.Acknowledged, "refused": n.ReceiverRefused, "lost": n.Lost} {
		ch <- prometheus.MustNewConstMetric(signalsTold, prometheus.CounterValue, value, outcome)
	}
	for outcome, value := range map[string]float64{"applied": n.Applied, "repeated": n.Repeated, "ignored": n.Ignored, "refused": n.Refused} {
		ch <- prometheus.MustNewConstMetric(signalsHeard, prometheus.CounterValue, value, outcome)
	}
}
