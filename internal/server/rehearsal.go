package server

import (
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/simulate"
	"github.com/muster-id/muster/internal/policy/force"
	"github.com/muster-id/muster/internal/server/rehearsal"
	"github.com/muster-id/muster/internal/store/shadow"
)

// rehearses composes where policies are tried before they are in force.
func (s *Server) rehearses(policies *force.Holder) *rehearsal.Stage {
	s.rehearsal = rehearsal.NewStage(rehearsal.Deps{
		Policies: policies, Folder: filepath.Join(s.settings.Data, "decisions"), Log: s.log, Store: shadow.New(s.db), Known: s.facts.Identity,
		Settings: func() decision.Settings { return s.reloader.Current().Decisions },
	})
	return s.rehearsal
}

// shadowMetrics count what the shadow of the policies does.
func (s *Server) shadowMetrics(r *prometheus.Registry) {
	add := func(name, help string, labels prometheus.Labels, of func() int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "muster_policy_shadow_" + name, Help: help, ConstLabels: labels}, func() float64 { return float64(of()) }))
	}
	add("judged_total", "Decisions that the policies in the shadow were tried on.", nil, s.rehearsal.Shadows.Judged)
	add("dropped_total", "Decisions that the policies in the shadow were not tried on, because there were too many at once.", nil, s.rehearsal.Shadows.Dropped)
	for _, kind := range simulate.Kinds() {
		add("changed_total", "Decisions that the policies in the shadow would have made otherwise.", prometheus.Labels{"kind": string(kind)}, func() int64 { return s.rehearsal.Shadows.Changed(kind) })
	}
}
