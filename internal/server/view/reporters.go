package view

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

// Reporters is the intake that remembers how each source does: what it sent,
// how late that was, and why the last delivery failed. It counts since the
// process started and keeps nothing: what matters is whether a source works
// now.
type Reporters struct {
	*intake.Intake
	since time.Time

	mu sync.Mutex // guards of
	of map[nhi.ID]*client.SourceHealth
}

func NewReporters(in *intake.Intake) *Reporters {
	return &Reporters{Intake: in, since: time.Now().UTC(), of: map[nhi.ID]*client.SourceHealth{}}
}

// Logs implements frame.Intake.
func (r *Reporters) Logs(ctx context.Context, source nhi.Source, format string, body io.Reader) (client.Received, error) {
	got, err := r.Intake.Logs(ctx, source, format, body)
	r.Note(source.ID, got, err, time.Now().UTC())
	return got, err
}

// Text implements frame.Intake.
func (r *Reporters) Text(ctx context.Context, source nhi.Source, contentType string, body io.Reader) ([]client.SightingReply, error) {
	got, err := r.Intake.Text(ctx, source, contentType, body)
	r.Note(source.ID, client.Received{}, err, time.Now().UTC())
	return got, err
}

// Sighting implements frame.Intake.
func (r *Reporters) Sighting(ctx context.Context, source nhi.Source, s client.ReportSighting) (client.SightingReply, error) {
	got, err := r.Intake.Sighting(ctx, source, s)
	r.Note(source.ID, client.Received{}, err, time.Now().UTC())
	return got, err
}

// Note takes one delivery in. Administrators may report, too, and are no
// source.
func (r *Reporters) Note(id nhi.ID, got client.Received, err error, at time.Time) {
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
func (r *Reporters) SourceHealth(id nhi.ID) client.SourceHealth {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.of[id]; h != nil {
		return *h
	}
	return client.SourceHealth{Since: r.since}
}

// Operating implements frame.Operations: how the process and its sources do.
type Operating struct {
	*Reporters
	Register *health.Register
}

// Health implements frame.Operations.
func (o Operating) Health(ctx context.Context) client.Health {
	report := o.Register.Report(ctx)
	out := client.Health{Ready: report.Ready, Checks: make([]client.HealthCheck, 0, len(report.Checks))}
	for _, l := range report.Checks {
		out.Checks = append(out.Checks, client.HealthCheck{Name: l.Name, State: l.Level.String(), Vital: l.Vital, Why: l.Why, Cure: l.Cure})
	}
	return out
}
