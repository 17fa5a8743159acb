package server

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/server/measure"
	"github.com/muster-id/muster/internal/stream"
)

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// checks shows the register of health checks: each as 0 ok, 1 degraded, 2 failed.
type checks struct{ *health.Register }

var (
	checkState = prometheus.NewDesc("muster_health_state", "State of a health check: 0 ok, 1 degraded, 2 failed.", []string{"check"}, nil)
	checkReady = prometheus.NewDesc("muster_ready", "1 while the process is ready, see /readyz.", nil, nil)
)

// Describe implements prometheus.Collector.
func (checks) Describe(ch chan<- *prometheus.Desc) { ch <- checkState; ch <- checkReady }

// Collect implements prometheus.Collector.
func (c checks) Collect(ch chan<- prometheus.Metric) {
	rep := c.Report(context.Background()) // each check has its own deadline; a scrape has none to hand on
	for _, l := range rep.Checks {
		ch <- prometheus.MustNewConstMetric(checkState, prometheus.GaugeValue, float64(l.Level), l.Name)
	}
	ch <- prometheus.MustNewConstMetric(checkReady, prometheus.GaugeValue, truth(rep.Ready))
}

// metrics are what Prometheus reads; every number is one that is kept anyway.
func (s *Server) metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "muster_" + name, Help: help}, f))
	}
	counter := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "muster_" + name, Help: help}, f))
	}
	gauge("generation", "Number of the last change that decisions know.", func() float64 { return float64(s.facts.Generation()) })
	gauge("facts_identities", "Identities that decisions know.", func() float64 { return float64(s.facts.Counts().Identities) })
	gauge("facts_credentials", "Credentials that decisions know.", func() float64 { return float64(s.facts.Counts().Credentials) })
	gauge("tls_certificate_expires_timestamp_seconds", "When the certificate of the main listener ends, as Unix time; 0 without one.", s.certificateExpires)
	counter("tls_reload_failures_total", "Certificates that were found unusable, so that the one of before stayed.", s.reloadFailures)
	gauge("geo_age_seconds", "Age of the table of networks.", s.geoAge)
	counter("decisions_unlogged_total", "Decisions that could not be recorded. Should stay 0.", func() float64 { return float64(s.log.Unlogged()) })
	counter("stream_readers_cut_off_total", "Readers of the live stream that took nothing for 5 seconds and were cut off.", func() float64 { return float64(s.cutOff.Load()) })
	counter("decisions_panics_total", "Decisions that ended in a panic and denied. Should stay 0.", func() float64 { return float64(s.decider.Panics()) })
	counter("policy_errors_total", "Policies that erred while they were evaluated. Should stay 0.", func() float64 { return float64(s.decider.PolicyErrors()) })
	counter("events_total", "Events taken in.", func() float64 { return float64(s.intake.Events()) })
	counter("events_unparsable_total", "Pieces of logs that are no records.", func() float64 { return float64(s.intake.Unparsable()) })
	counter("events_refused_total", "Events about accounts that their source may not speak for.", func() float64 { return float64(s.intake.Refused()) })
	gauge("facts_age_seconds", "Time since decisions were last known to be current.", func() float64 { return s.facts.Age(time.Now()).Seconds() })
	gauge("store_answer_seconds", "How long the store took to answer at the last heartbeat.", func() float64 { return time.Duration(s.answered.Load()).Seconds() })
	gauge("config_reload_ok", "1 while the configuration in force is the one that was last written, 0 when that had a mistake.", func() float64 { return truth(s.reloader.Status().OK) })
	gauge("config_reload_timestamp_seconds", "When the configuration was last taken up, as Unix time.", func() float64 { return float64(s.reloader.Status().At.Unix()) })
	gauge("config_restart_pending", "Keys whose new values wait for a restart.", func() float64 { return float64(len(s.reloader.Status().Restart)) })
	gauge("learning_activity_behind", "Batches of activity in the stream that were not learned from yet; NaN without a stream.", s.activityBehind)
	gauge("learning_decisions_behind", "Decisions on record that were not learned from yet.", func() float64 {
		_, decisions := s.learner.Positions()
		return float64(s.journal.Last().Seq) - float64(decisions)
	})
	s.shadowMetrics(r)
	r.MustRegister(measure.Signals{Numbers: s.signals.Numbers}, measure.Promotion{Numbers: s.library.Numbers})
	r.MustRegister(s.outcomes.Latency, checks{s.health}, s.appends, s.refusals)
	for _, o := range []string{"allow", "step_up", "deny", "would_refuse", "break_glass"} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "muster_decisions_total", Help: "Decisions by outcome.", ConstLabels: prometheus.Labels{"outcome": o},
		}, func() float64 { return float64(s.outcomes.Get(o)) }))
	}
	return r
}

// activityBehind is how far learning lies behind the stream.
func (s *Server) activityBehind() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // a scrape has no deadline to hand on
	defer cancel()
	last, err := s.stream.LastSeq(ctx, stream.ActivityBatch)
	if err != nil {
		return math.NaN()
	}
	learned, _ := s.learner.Positions()
	return max(float64(last)-float64(learned), 0)
}
