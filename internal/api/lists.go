package api

import (
	"context"
	"strconv"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
)

// FindingList asks for findings.
type FindingList struct {
	frame.ListQuery
	Status     string `query:"status" enum:",open,acknowledged,resolved,dismissed" doc:"short for the filter status:…"`
	Identity   string `query:"identity" maxLength:"64" doc:"short for the filter identity:…"`
	Credential string `query:"credential" maxLength:"64" doc:"short for the filter credential:…"`
}

func (s *server) listFindings(ctx context.Context, in *FindingList) (*frame.Body[client.Page[client.Finding]], error) {
	q, err := s.Read(filter.Findings, in.ListQuery, in.Status, in.Identity, in.Credential)
	if err != nil {
		return nil, frame.Fail(err)
	}
	q.Shorts(filter.Findings, map[string]string{"status": in.Status, "identity": in.Identity, "credential": in.Credential})
	found, err := s.Lists.Findings(ctx, q.Part(ctx))
	if err != nil {
		return nil, frame.Fail(err)
	}
	if q.First() {
		q.Counted(found.Total, found.AtLeast)
	}
	next := ""
	if found.More {
		last := found.Rows[len(found.Rows)-1]
		next = q.Next(strconv.Itoa(s.Lists.Rank(last.Severity)), micros(last.DetectedAt), last.ID)
	}
	return frame.Paged(q, frame.Each(found.Rows, func(f nhi.Finding) client.Finding { return s.named(ctx, f) }), next), nil
}

func (s *server) listCredentials(ctx context.Context, in *struct{ frame.ListQuery }) (*frame.Body[client.Page[client.Credential]], error) {
	q, err := s.Read(filter.Credentials, in.ListQuery)
	if err != nil {
		return nil, frame.Fail(err)
	}
	found, err := s.Lists.Credentials(ctx, q.Part(ctx))
	if err != nil {
		return nil, frame.Fail(err)
	}
	if q.First() {
		q.Counted(found.Total, found.AtLeast)
	}
	next := ""
	if found.More {
		last := found.Rows[len(found.Rows)-1]
		at := map[string]time.Time{"created": last.Created, "expires": last.Expires, "last_used": last.LastUsed}[q.Order.Field.Name]
		next = q.Next("", micros(at), string(last.ID))
	}
	return frame.Paged(q, frame.Each(found.Rows, frame.ToCredential), next), nil
}

// newest refuses the order of a list that is read backwards only.
func newest(q *frame.Query) error {
	if !q.Order.Descending {
		return nhi.Invalidf("order: this list is read backwards only, as by -at")
	}
	return nil
}

func (s *server) listActions(ctx context.Context, in *struct{ frame.ListQuery }) (*frame.Body[client.Page[client.Action]], error) {
	q, err := s.Read(filter.Actions, in.ListQuery)
	if err == nil {
		err = newest(q)
	}
	if err != nil {
		return nil, frame.Fail(err)
	}
	fetch := func(ctx context.Context, p frame.Place) ([]nhi.Action, error) {
		return s.Lists.Actions(ctx, filter.Position{Number: p.Number, ID: p.ID}, 500)
	}
	all := frame.Within(ctx) == nil
	keep := func(a *nhi.Action) bool {
		return q.Expr.Match(actionField(a), func(w string) bool { return holds(w, a.Reason, a.Actor, string(a.Identity), string(a.Credential)) }) &&
			(all || s.Visible(ctx, access.Read, a.Identity))
	}
	items, next, err := frame.Scan(ctx, q, fetch, keep, func(a *nhi.Action) (int64, string) { return micros(a.At), a.ID })
	if err != nil {
		return nil, frame.Fail(err)
	}
	if q.First() {
		q.Counted(len(items), next != "")
	}
	names := s.Namer(ctx)
	return frame.Paged(q, frame.Each(items, names.Action), next), nil
}

func actionField(a *nhi.Action) filter.Get {
	return func(field string) (string, int64) {
		switch field {
		case "id":
			return a.ID, 0
		case "measure":
			return string(a.Measure), 0
		case "status":
			return string(a.Status), 0
		case "identity":
			return string(a.Identity), 0
		case "credential":
			return string(a.Credential), 0
		case "finding":
			return a.Finding, 0
		case "actor":
			return a.Actor, 0
		}
		return "", micros(a.At)
	}
}

// DecisionList asks for decisions.
type DecisionList struct {
	frame.ListQuery
	Outcome  string    `query:"outcome" enum:",allow,deny,step-up" doc:"short for the filter outcome:…"`
	Identity string    `query:"identity" maxLength:"64" doc:"short for the filter identity:…"`
	Point    string    `query:"point" maxLength:"64" doc:"short for the filter point:…"`
	Before   time.Time `query:"before" doc:"only older ones"`
}

func (s *server) listDecisions(ctx context.Context, in *DecisionList) (*frame.Body[client.Page[client.Decision]], error) {
	q, err := s.Read(filter.Decisions, in.ListQuery, in.Outcome, in.Identity, in.Point, in.Before.String())
	if err == nil {
		err = newest(q)
	}
	if err != nil {
		return nil, frame.Fail(err)
	}
	f := frame.DecisionFilter{Outcome: nhi.Outcome(in.Outcome), Identity: nhi.ID(in.Identity), Point: nhi.ID(in.Point), Before: in.Before}
	if frame.Within(ctx) != nil {
		f.Within = func(id nhi.ID) bool { return s.Visible(ctx, access.Read, id) }
	}
	fetch := func(_ context.Context, p frame.Place) ([]nhi.Decision, error) {
		return behind(s.Decisions.Recent(f, everyDecision), p), nil
	}
	items, next, err := frame.Scan(ctx, q, fetch, func(d *nhi.Decision) bool { return matches(q.Expr, d) }, func(d *nhi.Decision) (int64, string) { return micros(d.At), d.ID })
	if err != nil {
		return nil, frame.Fail(err)
	}
	if q.First() {
		q.Counted(len(items), next != "")
	}
	return frame.Paged(q, frame.Each(items, s.Namer(ctx).Decision), next), nil
}

// behind returns the decisions behind a place: behind the very decision, or if
// it is no longer in memory, the older ones.
func behind(all []nhi.Decision, p frame.Place) []nhi.Decision {
	if p.ID == "" {
		return all
	}
	for i := range all {
		if all[i].ID == p.ID {
			return all[i+1:]
		}
	}
	for i := range all {
		if micros(all[i].At) < p.Number {
			return all[i:]
		}
	}
	return nil
}

// matches holds a decision against a filter, for lists and for the stream.
func matches(e filter.Expr, d *nhi.Decision) bool {
	return e.Match(decisionField(d), func(w string) bool {
		texts := []string{d.Resource, d.Operation, d.Network, string(d.Identity), d.KeyID}
		for _, r := range d.Reasons {
			texts = append(texts, r.Policy, r.Text)
		}
		return holds(w, texts...)
	})
}

func decisionField(d *nhi.Decision) filter.Get {
	flag := func(b bool) int64 {
		if b {
			return 1
		}
		return 0
	}
	return func(field string) (string, int64) {
		switch field {
		case "id":
			return d.ID, 0
		case "outcome":
			if d.Outcome == "" {
				return string(nhi.Deny), 0
			}
			return string(d.Outcome), 0
		case "would_refuse":
			return "", flag(d.WouldRefuse)
		case "identity":
			return string(d.Identity), 0
		case "credential":
			return string(d.Credential), 0
		case "point":
			return string(d.Point), 0
		case "at":
			return "", micros(d.At)
		}
		return decisionDetail(d, field)
	}
}

func decisionDetail(d *nhi.Decision, field string) (string, int64) {
	switch field {
	case "key_id":
		return d.KeyID, 0
	case "method":
		return d.Method, 0
	case "assurance":
		return "", int64(d.Assurance)
	case "resource":
		return d.Resource, 0
	case "sensitivity":
		return "", int64(d.Sensitivity)
	case "action":
		return string(d.Action), 0
	case "operation":
		return d.Operation, 0
	case "country":
		return d.Country, 0
	case "asn":
		return "", int64(d.ASN)
	case "network":
		return d.Network, 0
	case "agent":
		return d.Agent, 0
	case "address":
		if d.Address.IsValid() {
			return d.Address.String(), 0
		}
	case "policy":
		if len(d.Reasons) > 0 {
			return d.Reasons[0].Policy, 0
		}
	case "risk":
		return "", int64(d.Risk)
	case "surprise":
		return "", int64(d.Surprise / 10)
	}
	return "", 0
}
