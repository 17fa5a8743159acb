package decision

import (
	"math"
	"strconv"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// A Scorer is the usual Behaviour: it scores a question against the page of
// its identity and the habits of the identity's peers. The zero Scorer knows
// no peers.
type Scorer struct {
	// Peers returns the prior of the identity's peers, nil if there is none.
	// It must not block.
	Peers func(q *nhi.Question) *surprise.Prior
	// Usual says in words what is usual for the identity in a feature, for
	// people who read the decision. It is called only for surprising requests
	// and must not block.
	Usual func(q *nhi.Question, page *surprise.Page, feature surprise.Feature) string
	// ExplainFrom is the surprise, in tenths of a bit, from which a decision
	// lists the features. Zero means 40.
	ExplainFrom int
}

// Call is what a question is to a page: the resource and the operation in the
// caller's own words (the action class when there are none), from an address,
// by a family of agents. Whoever learns from decisions must describe them in
// the same words.
func Call(q *nhi.Question, place geo.Place) surprise.Call {
	operation := q.Operation
	if operation == "" {
		operation = string(q.Action)
	}
	return surprise.Call{
		At: q.At, Address: q.Address, Place: place, Agent: q.Known.AgentFamily,
		Service: q.Resource, Operation: operation, Class: string(q.Action),
	}
}

// Assess implements Behaviour.
func (s *Scorer) Assess(q *nhi.Question, page *surprise.Page, place geo.Place) {
	call := Call(q, place)
	var prior *surprise.Prior
	if s.Peers != nil {
		prior = s.Peers(q)
	}
	score := page.Score(call.Observation(), prior)
	k := &q.Known
	k.NewNetwork, k.NewCountry = score.NewNetwork, score.NewCountry
	k.NewAction, k.NewAgent = score.NewAction, score.NewAgent
	k.Surprise = score.Tenths
	if rate := score.RatePerMinute * 100; rate < math.MaxInt32 { // false for NaN
		k.RateHundreds = int(rate)
	} else {
		k.RateHundreds = math.MaxInt32
	}
	if score.Tenths >= s.explainFrom() {
		k.Features = s.explain(q, page, &call, &score)
	}
}

func (s *Scorer) explainFrom() int {
	if s.ExplainFrom > 0 {
		return s.ExplainFrom
	}
	return 40
}

// explained is how many features a decision lists at most.
const explained = 4

func (s *Scorer) explain(q *nhi.Question, page *surprise.Page, call *surprise.Call, score *surprise.Score) []nhi.Feature {
	top := score.Top(explained)
	out := make([]nhi.Feature, 0, len(top))
	for _, f := range top {
		feature := nhi.Feature{Name: f.String(), Seen: seen(call, score, f), Bits: float64(score.Features[f].Tenths) / 10}
		if s.Usual != nil && page != nil {
			feature.Usual = s.Usual(q, page, f)
		}
		out = append(out, feature)
	}
	return out
}

// seen says in words what a call showed in a feature.
func seen(call *surprise.Call, score *surprise.Score, f surprise.Feature) string {
	switch f {
	case surprise.Network:
		return geo.Family(call.Address).String()
	case surprise.ASN:
		if call.Place.ASN == 0 {
			return "unknown"
		}
		return "AS" + strconv.FormatUint(uint64(call.Place.ASN), 10) + " " + call.Place.Organization
	case surprise.Country:
		if call.Place.Country == "" {
			return "unknown"
		}
		return call.Place.Country
	case surprise.Agent:
		return call.Agent
	case surprise.Action:
		return call.Operation + " " + call.Service
	case surprise.Class:
		return call.Class
	case surprise.Region:
		return call.Region
	case surprise.Hour:
		return call.At.UTC().Format("Monday 15:00 UTC")
	case surprise.Rate:
		return strconv.FormatFloat(score.RatePerMinute, 'f', 1, 64) + " a minute"
	}
	return ""
}
