package view

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

// Minds implements frame.Mind: what was learned about an identity, and what its
// risk consists of.
type Minds struct {
	Mind      *learning.Mind
	Inventory *inventory.Service
	Findings  *storerespond.Store
}

// maxUsual bounds the values that are shown of one feature, and maxExplained
// the findings that a risk is explained by.
const (
	maxUsual     = 8
	maxExplained = 1000
)

// Learned implements frame.Mind.
func (m Minds) Learned(id nhi.ID) client.Learned {
	out := client.Learned{Identity: string(id), Hours: []int{}, Features: []client.LearnedFeature{}}
	page := m.Mind.Normal.Page(id)
	if page == nil || page.Count() == 0 {
		return out
	}
	first, last := page.FirstSeen(), page.LastSeen()
	out.Events, out.Established, out.FirstSeen, out.LastSeen = page.Count(), page.Established(), &first, &last
	out.PerMinute, out.Hours = page.UsualRate(), append(out.Hours, page.ActiveHours()...)
	for f := surprise.Feature(0); f < surprise.Categories; f++ {
		learned := client.LearnedFeature{Feature: f.String(), Distinct: page.Distinct(f), Values: []client.LearnedValue{}}
		for _, v := range page.Top(f) {
			if name := m.Mind.Normal.Name(v.Hash); name != "" && len(learned.Values) < maxUsual {
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
func (m Minds) Risk(ctx context.Context, i nhi.Identity) (client.Risk, error) {
	var open []nhi.Finding
	for _, status := range []nhi.FindingStatus{nhi.Open, nhi.Acknowledged} {
		found, _, err := m.Findings.Findings(ctx, status, i.ID, "", nil, 0, maxExplained)
		if err != nil {
			return client.Risk{}, fmt.Errorf("read the findings about %s: %w", i.ID, err)
		}
		open = append(open, found...)
	}
	credentials, err := m.Inventory.CredentialsOf(ctx, i.ID)
	if err != nil {
		return client.Risk{}, fmt.Errorf("read the credentials of %s: %w", i.ID, err)
	}
	e := Explanation{Ledger: learning.Risk(open), At: time.Now(), Findings: make(map[string]*nhi.Finding, len(open))}
	for n := range open {
		e.Findings[open[n].ID] = &open[n]
	}
	out := client.Risk{Identity: string(i.ID), HalfLife: int64(e.Ledger.HalfLife().Seconds()), Credentials: []client.CredentialRisk{}}
	risk, terms := e.Ledger.Identity(i.ID, e.At)
	out.Risk, out.Terms = risk, e.Terms(terms)
	for _, c := range credentials {
		risk, terms := e.Ledger.Credential(c.ID, e.At)
		if len(terms) > 0 {
			out.Credentials = append(out.Credentials, client.CredentialRisk{
				Credential: string(c.ID), PublicID: c.PublicID, Risk: risk, Terms: e.Terms(terms),
			})
		}
	}
	return out, nil
}

// An Explanation turns the terms of a ledger into words.
type Explanation struct {
	Ledger   *detect.Ledger
	At       time.Time
	Findings map[string]*nhi.Finding
}

func (e *Explanation) Terms(terms []detect.Term) []client.RiskTerm {
	out := make([]client.RiskTerm, 0, len(terms))
	left := 1.0
	for n := range terms {
		t := &terms[n]
		now := e.Ledger.Left(t, e.At)
		left *= 1 - now
		term := client.RiskTerm{Finding: t.Finding, Rule: t.Rule, At: t.At.UTC(), Weight: t.Weight, Now: now, Sum: int(100*(1-left) + 0.5)}
		if f := e.Findings[t.Finding]; f != nil {
			term.Title, term.Severity = f.Title, string(f.Severity)
		}
		out = append(out, term)
	}
	return out
}
