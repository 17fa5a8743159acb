package server

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/intake"
)

// reporters is the intake that remembers how each source does: what it sent,
// how late that was, and why the last delivery failed. It counts since the
// process started and keeps nothing: what matters is whether a source works
// now.
type reporters struct {
	*intake.Intake
	since time.Time

	mu sync.Mutex // guards of
	of map[nhi.ID]*client.SourceHealth
}

func newReporters(in *intake.Intake) *reporters {
	return &reporters{Intake: in, since: time.Now().UTC(), of: map[nhi.ID]*client.SourceHealth{}}
}

// Logs implements frame.Intake.
func (r *reporters) Logs(ctx context.Context, source nhi.Source, format string, body io.Reader) (client.Received, error) {
	got, err := r.Intake.Logs(ctx, source, format, body)
	r.note(source.ID, got, err, time.Now().UTC())
	return got, err
}

// Text implements frame.Intake.
func (r *reporters) Text(ctx context.Context, source nhi.Source, contentType string, body io.Reader) ([]client.SightingReply, error) {
	got, err := r.Intake.Text(ctx, source, contentType, body)
	r.note(source.ID, client.Received{}, err, time.Now().UTC())
	return got, err
}

// Sighting implements frame.Intake.
func (r *reporters) Sighting(ctx context.Context, source nhi.Source, s client.ReportSighting) (client.SightingReply, error) {
	got, err := r.Intake.Sighting(ctx, source, s)
	r.note(source.ID, client.Received{}, err, time.Now().UTC())
	return got, err
}

// note takes one delivery in. Administrators may report, too, and are no
// source.
func (r *reporters) note(id nhi.ID, got client.Received, err error, at time.Time) {
	if id == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.of[id]
	if h == nil {
		h = &client.SourceHealth{Since: r.since}
		r.of[id] = h
	}
	if err != nil {
		h.Failures++
		h.Error, h.ErrorAt = err.Error(), &at
		return
	}
	h.Deliveries++
	h.Events += uint64(got.Events)
	h.Unparsable += uint64(got.Unparsable)
	h.Refused += uint64(got.Refused)
	h.Last, h.Error, h.ErrorAt = &at, "", nil
	if got.Newest != nil {
		lag := max(0, at.Sub(*got.Newest).Seconds())
		h.Lag = &lag
	}
}

// SourceHealth implements frame.Operations.
func (r *reporters) SourceHealth(id nhi.ID) client.SourceHealth {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.of[id]; h != nil {
		return *h
	}
	return client.SourceHealth{Since: r.since}
}

// operating implements frame.Operations: how the process and its sources do.
type operating struct {
	*reporters
	register *health.Register
}

// Health implements frame.Operations.
func (o operating) Health(ctx context.Context) client.Health {
	report := o.register.Report(ctx)
	out := client.Health{Ready: report.Ready, Checks: make([]client.HealthCheck, 0, len(report.Checks))}
	for _, l := range report.Checks {
		out.Checks = append(out.Checks, client.HealthCheck{Name: l.Name, State: l.Level.String(), Vital: l.Vital, Why: l.Why, Cure: l.Cure})
	}
	return out
}
