// Package measure is the room of what the server measures beside its work:
// how long its journals take to make records durable, and how often it answered
// that a caller proved nothing, by surface. Nothing here waits, locks or asks
// anybody; package server registers it with the other metrics.
package measure

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Appends are the histograms of how long journals take.
type Appends struct{ *prometheus.HistogramVec }

// NewAppends returns Appends without a journal.
func NewAppends() Appends {
	return Appends{prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "muster_journal_append_seconds", Help: "How long journals took to make a group of records durable.",
		Buckets: []float64{1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 1, 5},
	}, []string{"journal"})}
}

// Of returns what the journal of that name is given as its Wrote.
func (a Appends) Of(name string) func(time.Duration) {
	h := a.WithLabelValues(name)
	return func(took time.Duration) { h.Observe(took.Seconds()) }
}

// Refusals count the answers 401 by surface.
type Refusals struct{ *prometheus.CounterVec }

// surfaces are the roots that are told apart; the first that fits counts.
var surfaces = []struct{ prefix, name string }{
	{"/enforce/", "enforce"}, {"/access/", "authzen"}, {"/ssf/", "signals"}, {"/oauth2/", "issuer"}, {"/receive/", "receive"}, {"/v1/", "api"}, {"/signin", "signin"},
}

// NewRefusals returns Refusals that have counted nothing.
func NewRefusals() Refusals {
	r := Refusals{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "muster_unauthenticated_total", Help: "Requests that were answered 401: their caller proved nothing, or not enough.",
	}, []string{"surface"})}
	for _, s := range surfaces {
		r.WithLabelValues(s.name) // so that an increase is seen from 0 on
	}
	return r
}

// Handler counts what next refuses.
func (c Refusals) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&reply{w, c, r.URL.Path}, r)
	})
}

type reply struct {
	http.ResponseWriter
	refusals Refusals
	path     string
}

// WriteHeader implements http.ResponseWriter.
func (r *reply) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		r.refusals.WithLabelValues(surface(r.path)).Inc()
	}
	r.ResponseWriter.WriteHeader(status)
}

// Flush lets streams flow.
func (r *reply) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Unwrap serves http.ResponseController.
func (r *reply) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func surface(path string) string {
	for _, s := range surfaces {
		if strings.HasPrefix(path, s.prefix) {
			return s.name
		}
	}
	return "other"
}
