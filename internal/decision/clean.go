package decision

import (
	"context"

	"github.com/muster-id/muster/internal/nhi"
)

// Cleanse takes secrets out of what a caller can write freely, because a decision
// is recorded and shown: the words of a question that only a point asserts, or
// that fits no route, and the name of what a call is for. The words of a route are
// ours.
func Cleanse(q *nhi.Question, clean func(string) string) {
	if !q.Subject.Asserted && q.Resource != "" {
		if q.Spoken {
			q.Operation = clean(q.Operation)
		}
		return
	}
	q.Resource, q.Subject.KeyID = clean(q.Resource), clean(q.Subject.KeyID)
	if !nhi.ActionClass(q.Operation).Valid() {
		q.Operation = clean(q.Operation)
	}
	if !q.Subject.Identity.Valid() {
		q.Subject.Identity = nhi.ID(clean(string(q.Subject.Identity)))
	}
}

// Cleaning is a Service that takes secrets out of questions before it decides.
type Cleaning struct {
	*Service
	clean func(string) string
}

// Clean returns a Service that takes secrets out of questions, see [Cleanse].
func Clean(s *Service, clean func(string) string) Cleaning { return Cleaning{s, clean} }

// Decide is [Service.Decide].
func (c Cleaning) Decide(ctx context.Context, q *nhi.Question) nhi.Decision {
	Cleanse(q, c.clean)
	return c.Service.Decide(ctx, q)
}

// DecideAll is [Service.DecideAll].
func (c Cleaning) DecideAll(ctx context.Context, questions []nhi.Question, enough func(*nhi.Decision) bool) []nhi.Decision {
	for i := range questions {
		Cleanse(&questions[i], c.clean)
	}
	return c.Service.DecideAll(ctx, questions, enough)
}
