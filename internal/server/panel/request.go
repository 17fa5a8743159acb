package panel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/muster-id/muster/internal/decision/approval"
	"github.com/muster-id/muster/internal/enforce/authzen"
	"github.com/muster-id/muster/internal/nhi"
	kept "github.com/muster-id/muster/internal/store/approval"
)

// Requests implements authzen.Requests: what points ask people in so many words.
// A task is a handle on an approval, which the denial has asked for already.
type Requests struct {
	Desk  *approval.Desk
	Store *kept.Store
	// Decision returns a decision by its id, however old. The error wraps
	// nhi.ErrNotFound if there is none.
	Decision func(ctx context.Context, id string) (nhi.Decision, error)
	// Try fills in what is known of a question, as a decision would, and leaves no
	// trace.
	Try func(*nhi.Question)
	// Record takes what is due into the audit log.
	Record func(ctx context.Context) error
}

// Open implements authzen.Requests.
func (r *Requests) Open(id string) (nhi.Approval, bool) { return r.Desk.Open(id) }

// Denied implements authzen.Requests.
func (r *Requests) Denied(ctx context.Context, evaluation string, q *nhi.Question) (nhi.Approval, error) {
	a, err := r.of(ctx, evaluation, q)
	if err != nil {
		return nhi.Approval{}, err
	}
	if a.Point == "" || a.Point != q.Point {
		return nhi.Approval{}, fmt.Errorf("decision %.80q of this point: %w", evaluation, nhi.ErrNotFound)
	}
	if !q.Address.IsValid() { // the context may be left out
		q.Address, _ = netip.ParseAddr(a.Address)
	}
	if r.Try(q); approval.Binding(q) != a.Binding {
		return nhi.Approval{}, fmt.Errorf("decision %.80q was about another question: %w", evaluation, nhi.ErrConflict)
	}
	return a, nil
}

// of returns the approval that a decision asked for. Where the decision is not on
// record here, the one that it asked for first is known all the same.
func (r *Requests) of(ctx context.Context, evaluation string, q *nhi.Question) (nhi.Approval, error) {
	d, err := r.Decision(ctx, evaluation)
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		return r.Store.OfDecision(ctx, q.Subject.Identity, evaluation)
	case err != nil:
		return nhi.Approval{}, err
	case d.Point != q.Point:
		return nhi.Approval{}, fmt.Errorf("decision %.80q of this point: %w", evaluation, nhi.ErrNotFound)
	case d.Outcome != nhi.StepUp || len(d.Obligations) != 1 || d.Obligations[0].Kind != nhi.StepApprove || d.Obligations[0].Value == "":
		return nhi.Approval{}, nhi.Invalidf("decision %.80q asked nobody", evaluation)
	}
	return r.get(ctx, d.Obligations[0].Value)
}

// get returns an approval, which may have been asked for just now.
func (r *Requests) get(ctx context.Context, id string) (nhi.Approval, error) {
	a, err := r.Store.Get(ctx, id)
	if errors.Is(err, nhi.ErrNotFound) {
		if open, ok := r.Desk.Open(id); ok {
			return open, nil
		}
	}
	return a, err
}

// Sent implements authzen.Requests.
func (r *Requests) Sent(ctx context.Context, point nhi.ID, key string) (authzen.Submission, error) {
	s, err := r.Store.Submitted(ctx, point, key)
	return submission(s), err
}

// Submit implements authzen.Requests.
func (r *Requests) Submit(ctx context.Context, s authzen.Submission) (authzen.Submission, error) {
	out, err := r.Store.Submit(ctx, kept.Request{Task: s.Task, Point: s.Point, Key: s.Key, Digest: s.Digest, Approval: s.Approval, Decision: s.Decision, Asked: s.At})
	return submission(out), err
}

// Task implements authzen.Requests.
func (r *Requests) Task(ctx context.Context, point nhi.ID, task string) (authzen.Submission, nhi.Approval, error) {
	s, err := r.Store.Task(ctx, point, task)
	if err != nil {
		return authzen.Submission{}, nhi.Approval{}, err
	}
	a, err := r.get(ctx, s.Approval)
	if errors.Is(err, nhi.ErrNotFound) { // it could not be kept
		return submission(s), nhi.Approval{}, nil
	}
	return submission(s), a, err
}

// Withdraw implements authzen.Requests.
func (r *Requests) Withdraw(ctx context.Context, point nhi.ID, id string) (nhi.Approval, error) {
	a, err := r.Desk.Withdraw(ctx, id, "point:"+string(point))
	if err != nil {
		return nhi.Approval{}, err
	}
	return a, r.Record(ctx)
}

func submission(r kept.Request) authzen.Submission {
	return authzen.Submission{Task: r.Task, Point: r.Point, Key: r.Key, Digest: r.Digest, Approval: r.Approval, Decision: r.Decision, At: r.Asked}
}
