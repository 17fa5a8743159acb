package server

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

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
	counter("decisions_panics_total", "Decisions that ended in a panic and denied. Should stay 0.", func() float64 { return float64(s.decider.Panics()) })
	counter("policy_errors_total", "Policies that erred while they were evaluated. Should stay 0.", func() float64 { return float64(s.decider.PolicyErrors()) })
	counter("events_total", "Events taken in.", func() float64 { return float64(s.intake.Events()) })
	counter("events_unparsable_total", "Pieces of logs that are no records.", func() float64 { return float64(s.intake.Unparsable()) })
	counter("events_refused_total", "Events about accounts that their source may not speak for.", func() float64 { return float64(s.intake.Refused()) })
	for _, o := range []string{"allow", "step_up", "deny", "would_refuse"} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "muster_decisions_total", Help: "Decisions by outcome.", ConstLabels: prometheus.Labels{"outcome": o},
		}, func() float64 { return float64(s.outcomes.get(o)) }))
	}
	return r
}
