package server

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/learning"
	"github.com/muster-id/muster/internal/nhi"
	storerespond "github.com/muster-id/muster/internal/store/respond"
	"github.com/muster-id/muster/internal/surprise"
)

// minds implements frame.Mind: what was learned about an identity, and what its
// risk consists of.
type minds struct {
	mind      *learning.Mind
	inventory *inventory.Service
	findings  *storerespond.Store
}

// maxUsual bounds the values that are shown of one feature, and maxExplained
// the findings that a risk is explained by.
const (
	maxUsual     = 8
	maxExplained = 1000
)

// Learned implements frame.Mind.
func (m minds) Learned(id nhi.ID) client.Learned {
	out := client.Learned{Identity: string(id), Hours: []int{}, Features: []client.LearnedFeature{}}
	page := m.mind.Normal.Page(id)
	if page == nil || page.Count() == 0 {
		return out
	}
	first, last := page.FirstSeen(), page.LastSeen()
	out.Events, out.Established, out.FirstSeen, out.LastSeen = page.Count(), page.Established(), &first, &last
	out.PerMinute, out.Hours = page.UsualRate(), append(out.Hours, page.ActiveHours()...)
	for f := surprise.Feature(0); f < surprise.Categories; f++ {
		learned := client.LearnedFeature{Feature: f.String(), Distinct: page.Distinct(f), Values: []client.LearnedValue{}}
		for _, v := range page.Top(f) {
			if name := m.mind.Normal.Name(v.Hash); name != "" && len(learned.Values) < maxUsual {
				learned.Values = append(learned.Values, client.LearnedValue{Value: name, Share: v.Share})
			}
		}
		if len(learned.Values) > 0 {
			out.Features = append(out.Features, learned)
		}
	}
	return out
}

// Risk implements frame.Mind.
func (m minds) Risk(ctx context.Context, i nhi.Identity) (client.Risk, error) {
	var open []nhi.Finding
	for _, status := range []nhi.FindingStatus{nhi.Open, nhi.Acknowledged} {
		found, _, err := m.findings.Findings(ctx, status, i.ID, "", nil, 0, maxExplained)
		if err != nil {
			return client.Risk{}, fmt.Errorf("read the findings about %s: %w", i.ID, err)
		}
		open = append(open, found...)
	}
	credentials, err := m.inventory.CredentialsOf(ctx, i.ID)
	if err != nil {
		return client.Risk{}, fmt.Errorf("read the credentials of %s: %w", i.ID, err)
	}
	e := explanation{ledger: learning.Risk(open), at: time.Now(), findings: make(map[string]*nhi.Finding, len(open))}
	for n := range open {
		e.findings[open[n].ID] = &open[n]
	}
	out := client.Risk{Identity: string(i.ID), HalfLife: int64(e.ledger.HalfLife().Seconds()), Credentials: []client.CredentialRisk{}}
	risk, terms := e.ledger.Identity(i.ID, e.at)
	out.Risk, out.Terms = risk, e.terms(terms)
	for _, c := range credentials {
		risk, terms := e.ledger.Credential(c.ID, e.at)
		if len(terms) > 0 {
			out.Credentials = append(out.Credentials, client.CredentialRisk{
				Credential: string(c.ID), PublicID: c.PublicID, Risk: risk, Terms: e.terms(terms),
			})
		}
	}
	return out, nil
}

// An explanation turns the terms of a ledger into words.
type explanation struct {
	ledger   *detect.Ledger
	at       time.Time
	findings map[string]*nhi.Finding
}

func (e *explanation) terms(terms []detect.Term) []client.RiskTerm {
	out := make([]client.RiskTerm, 0, len(terms))
	left := 1.0
	for n := range terms {
		t := &terms[n]
		now := e.ledger.Left(t, e.at)
		left *= 1 - now
		term := client.RiskTerm{Finding: t.Finding, Rule: t.Rule, At: t.At.UTC(), Weight: t.Weight, Now: now, Sum: int(100*(1-left) + 0.5)}
		if f := e.findings[t.Finding]; f != nil {
			term.Title, term.Severity = f.Title, string(f.Severity)
		}
		out = append(out, term)
	}
	return out
}
