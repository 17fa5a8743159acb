package frame

import (
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

// This file is the one place where our vocabulary becomes what clients see.

func When(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

// Each maps a slice and is never nil, so that JSON has [] and not null.
func Each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

func OrEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func toEnvironment(e nhi.Environment) client.Environment {
	class := string(e.Class)
	if class == "" {
		class = string(nhi.ClassUnknown)
	}
	return client.Environment{Name: e.Name, Class: class}
}

func ToIdentity(i nhi.Identity) client.Identity {
	return client.Identity{
		ID: string(i.ID), Kind: string(i.Kind), Provider: i.Provider, Account: i.Account, Native: i.Native, Name: i.Name, Path: i.Path,
		Environment: toEnvironment(i.Environment), State: string(i.State), Shadow: i.Shadow, Attestable: i.Attestable,
		Owner: client.Owner{Ref: i.Owner.Ref, Confidence: i.Owner.Confidence, Source: i.Owner.Source},
		Risk:  i.Risk, Created: When(i.Created), FirstSeen: When(i.FirstSeen), LastSeen: When(i.LastSeen),
	}
}

func ToCredential(c nhi.Credential) client.Credential {
	return client.Credential{
		ID: string(c.ID), Identity: string(c.Identity), Kind: string(c.Kind), PublicID: c.PublicID, State: string(c.State), Reason: c.Reason,
		Consumer: string(c.Consumer), Known: c.Fingerprint != "", Created: When(c.Created), Expires: When(c.Expires), LastUsed: When(c.LastUsed),
	}
}

func ToFacet(f inventory.Facet) client.Facet {
	return client.Facet{Field: f.Field, AtLeast: f.AtLeast, Values: Each(f.Values, func(v inventory.Value) client.FacetValue {
		return client.FacetValue{Value: v.Value, Count: v.Count}
	})}
}

func ToGrant(g nhi.Grant) client.Grant {
	return client.Grant{Kind: g.Kind, Name: g.Name, Admin: g.Admin, Document: g.Document}
}

func ToEvidence(e nhi.OwnerEvidence) client.OwnerEvidence {
	return client.OwnerEvidence{Owner: e.Owner, Source: e.Source, Detail: e.Detail, At: e.At.UTC()}
}

func toFeature(f nhi.Feature) client.Feature {
	return client.Feature{Name: f.Name, Usual: f.Usual, Seen: f.Seen, Bits: f.Bits}
}

func ToPlace(p *nhi.Place) *client.Place {
	if p == nil {
		return nil
	}
	return &client.Place{Kind: p.Kind, Name: p.Name, Line: p.Line, Commit: p.Commit, Public: p.Public}
}

func ToFinding(f nhi.Finding) client.Finding {
	return client.Finding{
		ID: f.ID, Rule: f.Rule, Title: f.Title, Severity: string(f.Severity), Score: f.Score, Status: string(f.Status),
		Identity: string(f.Identity), Credential: string(f.Credential), FirstSeen: f.FirstSeen.UTC(), LastSeen: f.LastSeen.UTC(), DetectedAt: f.DetectedAt.UTC(),
		Events: OrEmpty(f.Events), Count: f.Count, Features: Each(f.Features, toFeature), Sentence: f.Sentence, Owner: f.Owner, Reach: OrEmpty(f.Reach), Place: ToPlace(f.Place),
	}
}

// ToAction maps an action; the server's intake answers with one.
func ToAction(a nhi.Action) client.Action {
	return client.Action{
		ID: a.ID, Measure: string(a.Measure), Identity: string(a.Identity), Credential: string(a.Credential), Finding: a.Finding, Reason: a.Reason, Actor: a.Actor,
		Status: string(a.Status), At: a.At.UTC(), UndoneAt: When(a.UndoneAt), UndoneBy: a.UndoneBy, Generation: uint64(a.Generation),
		Undoable: a.Status == nhi.ActionDone && a.Measure != nhi.MeasureRevoke,
	}
}

func toReason(r nhi.Reason) client.Reason {
	return client.Reason{Policy: r.Policy, Position: r.Position, Text: r.Text, Effect: r.Effect}
}

func ToDecision(d nhi.Decision) client.Decision {
	out := client.Decision{
		ID: d.ID, At: d.At.UTC(), Outcome: string(d.Outcome), WouldRefuse: d.WouldRefuse, Glass: d.Glass, Approval: d.Approval,
		Obligations: Each(d.Obligations, func(o nhi.Obligation) client.Obligation {
			return client.Obligation{Kind: string(o.Kind), Value: o.Value}
		}),
		Reasons:    Each(d.Reasons, toReason),
		Generation: uint64(d.Generation), Policy: d.Policy, Point: string(d.Point), Identity: string(d.Identity), Credential: string(d.Credential), KeyID: d.KeyID,
		Method: d.Method, Assurance: int(d.Assurance), SenderBound: d.SenderBound, Asserted: d.Asserted, Reported: d.Reported, Consumer: d.Consumer, Action: string(d.Action), Operation: d.Operation,
		Resource: d.Resource, Sensitivity: d.Sensitivity, Country: d.Country, ASN: d.ASN, Network: d.Network, Agent: d.Agent, Risk: d.Risk,
		Surprise: float64(d.Surprise) / 10, Features: Each(d.Features, toFeature), Micros: float64(d.Latency.Nanoseconds()) / 1000,
	}
	if out.Outcome == "" {
		out.Outcome = string(nhi.Deny)
	}
	if d.Address.IsValid() {
		out.Address = d.Address.String()
	}
	return out
}

func ToPoint(p nhi.Point) client.Point {
	return client.Point{
		ID: string(p.ID), Name: p.Name, Dialect: string(p.Dialect), Mode: string(Mode(p.Mode)), Percent: p.Percent, Sources: OrEmpty(p.Sources),
		Resources: OrEmpty(p.Resources), Created: p.Created.UTC(), Disabled: p.Disabled, Assert: p.Assert,
	}
}

func Mode(m nhi.Mode) nhi.Mode {
	if m == nhi.Enforce {
		return m
	}
	return nhi.Observe
}

func ToSource(s nhi.Source) client.Source {
	return client.Source{ID: string(s.ID), Name: s.Name, Format: s.Format, Accounts: OrEmpty(s.Accounts), Created: s.Created.UTC(), Disabled: s.Disabled}
}
