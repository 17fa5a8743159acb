package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/usage"
)

// The lists. What each can be narrowed by is in packages filter and list; how
// they are paged is in frame.

// OnlyList asks for a list that has no parameters of its own.
type OnlyList struct{ frame.ListQuery }

// pageOf is a reply with a page of a list.
type pageOf[T any] = frame.Body[client.Page[T]]

// FindingList asks for findings.
type FindingList struct {
	frame.ListQuery
	Status     string `query:"status" enum:",open,acknowledged,resolved,dismissed" doc:"short for the filter status:…"`
	Identity   string `query:"identity" maxLength:"64" doc:"short for the filter identity:…"`
	Credential string `query:"credential" maxLength:"64" doc:"short for the filter credential:…"`
}

func (s *server) listFindings(ctx context.Context, in *FindingList) (*pageOf[client.Finding], error) {
	q, err := s.Read(filter.Findings, in.ListQuery, in.Status, in.Identity, in.Credential)
	if err == nil {
		q.Shorts(filter.Findings, map[string]string{"status": in.Status, "identity": in.Identity, "credential": in.Credential})
	}
	fetch := func(ctx context.Context, p filter.Part) (filter.Slice[nhi.Finding], error) {
		return s.Lists.Findings(ctx, p)
	}
	return frame.Serve(ctx, q, err, frame.Stored(fetch, func(f *nhi.Finding) filter.Position {
		return filter.Position{Text: strconv.Itoa(s.Lists.Rank(f.Severity)), Number: frame.Micros(f.DetectedAt), ID: f.ID}
	}), func(f nhi.Finding) client.Finding { return s.named(ctx, f) })
}

func (s *server) listCredentials(ctx context.Context, in *OnlyList) (*pageOf[client.Credential], error) {
	q, err := s.Read(filter.Credentials, in.ListQuery)
	return frame.Serve(ctx, q, err, frame.Stored(s.Lists.Credentials, func(c *nhi.Credential) filter.Position {
		at := map[string]time.Time{"created": c.Created, "expires": c.Expires, "last_used": c.LastUsed}[q.Order.Field.Name]
		return filter.Position{Number: frame.Micros(at), ID: string(c.ID)}
	}), frame.ToCredential)
}

// IdentityList asks for identities.
type IdentityList struct {
	frame.ListQuery
	IdentityQuery
}

func (s *server) listIdentities(ctx context.Context, in *IdentityList) (*pageOf[client.Identity], error) {
	q, err := s.identityTerms(ctx, in.ListQuery, in.IdentityQuery)
	var next inventory.Cursor
	fetch := func(ctx context.Context, p filter.Part) (filter.Slice[nhi.Identity], error) {
		page, err := s.Inventory.Identities(ctx, inventory.Filter{
			Expr: p.Expr, Within: p.Within, Order: p.Order, Limit: p.Limit, Count: p.Count,
			After: inventory.Cursor{Text: p.After.Text, Number: p.After.Number, ID: nhi.ID(p.After.ID)},
		})
		next = page.Next
		return filter.Slice[nhi.Identity]{Rows: page.Identities, More: next.ID != "", Total: page.Total, AtLeast: page.AtLeast}, err
	}
	return frame.Serve(ctx, q, err, frame.Stored(fetch, func(*nhi.Identity) filter.Position {
		return filter.Position{Text: next.Text, Number: next.Number, ID: string(next.ID)}
	}), frame.ToIdentity)
}

func (s *server) listActions(ctx context.Context, in *OnlyList) (*pageOf[client.Action], error) {
	q, err := s.Read(list.Actions.Language, in.ListQuery)
	return frame.Serve(ctx, q, err, frame.Scanned(s.Frame, list.Actions, func(ctx context.Context, p frame.Place) ([]nhi.Action, error) {
		return s.Lists.Actions(ctx, filter.Position{Number: p.Number, ID: p.ID}, 500)
	}), s.Namer(ctx).Action)
}

func (s *server) listRefusals(ctx context.Context, in *OnlyList) (*pageOf[client.Refusal], error) {
	q, err := s.Read(list.Refusals.Language, in.ListQuery)
	return frame.Serve(ctx, q, err, frame.Scanned(s.Frame, list.Refusals, func(ctx context.Context, p frame.Place) ([]usage.Refusal, error) {
		return s.Usage.Refusals(ctx, p.Number, p.ID, 500)
	}), s.refusals(ctx))
}

// refusals returns what writes the refusals of one answer: with the names of
// who was refused and where. An id that is in no inventory has none.
func (s *server) refusals(ctx context.Context) func(usage.Refusal) client.Refusal {
	names := s.Namer(ctx)
	return func(r usage.Refusal) client.Refusal {
		who := r.Identity
		if who == "" && strings.HasPrefix(r.Claimed, "nhi_") {
			who = nhi.ID(r.Claimed)
		}
		out := toRefusal(r)
		out.Name, out.PointName = names.Identity(who), names.Point(r.Point)
		return out
	}
}

func toRefusal(r usage.Refusal) client.Refusal {
	return client.Refusal{
		ID: r.ID, At: r.At.UTC(), Kind: string(r.Kind), Identity: string(r.Identity), Claimed: r.Claimed, Point: string(r.Point), Address: r.Address,
		Operation: r.Operation, Resource: r.Resource, Reason: r.Reason, Count: r.Count,
	}
}

// entries lists the audit log, the newest first, from before an entry on (0 is
// the newest). about narrows it, nil does not; key tells one such narrowing
// from another.
func (s *server) entries(ctx context.Context, in frame.ListQuery, key string, before uint64, about func(*client.Entry) bool) (*pageOf[client.Entry], error) {
	q, err := s.Read(list.Audit.Language, in, key)
	return frame.Serve(ctx, q, err, frame.Scanned(s.Frame, list.Audit.Narrowed(about), func(ctx context.Context, p frame.Place) ([]client.Entry, error) {
		from := before
		if p.ID != "" {
			if from, err = strconv.ParseUint(p.ID, 10, 64); err != nil || from <= 1 {
				return nil, err // the first entry was seen
			}
		}
		return s.State.Audit(ctx, from, 500)
	}), func(e client.Entry) client.Entry { return e })
}

func (s *server) listDecisions(ctx context.Context, in *list.DecisionQuery) (*pageOf[client.Decision], error) {
	q, rows, err := list.Decided(ctx, s.Frame, in)
	return frame.Serve(ctx, q, err, rows, s.Namer(ctx).Decision)
}
