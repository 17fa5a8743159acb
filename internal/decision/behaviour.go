package decision

import (
	"math"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// A Scorer is the usual Behaviour: it scores a question against the page of
// its identity and the habits of the identity's peers. The zero Scorer knows
// no peers and no names.
type Scorer struct {
	// Peers returns the prior of an identity's peers, nil if there is none. It
	// must not block.
	Peers func(nhi.ID) *surprise.Prior
	// Names puts the hashes of a page into words; nil knows none. It must not
	// block.
	Names surprise.Names
	// ExplainFrom is the surprise, in tenths of a bit, from which a decision
	// lists the features: to say what is usual takes longer than to decide.
	// Zero means 60.
	ExplainFrom int
}

// Call is what a question is to a page: an operation (the action class when
// the point names none) on a resource, from an address, by a family of agents.
// Whoever learns from recorded decisions must use the same words, or the usual
// looks new.
func Call(q *nhi.Question, place geo.Place) surprise.Call {
	c := surprise.Call{
		At: q.At, Address: q.Address, Place: place, Agent: q.Known.AgentFamily,
		Service: q.Resource, Operation: q.Operation, Class: string(q.Action),
	}
	if c.Operation == "" {
		c.Operation = c.Class
	}
	return c
}

// Assess implements Behaviour.
func (s *Scorer) Assess(q *nhi.Question, page *surprise.Page, place geo.Place) {
	call := Call(q, place)
	var prior *surprise.Prior
	if s.Peers != nil {
		prior = s.Peers(q.Subject.Identity)
	}
	score := page.Score(call.Observation(), prior)
	k := &q.Known
	k.NewNetwork, k.NewCountry = score.NewNetwork, score.NewCountry
	k.NewAction, k.NewAgent = score.NewAction, score.NewAgent
	k.Surprise = score.Tenths
	k.RateHundreds = math.MaxInt32
	if rate := score.RatePerMinute * 100; rate < math.MaxInt32 { // false for NaN
		k.RateHundreds = int(rate)
	}
	from := s.ExplainFrom
	if from <= 0 {
		from = explainFrom
	}
	if score.Tenths >= from {
		k.Features = s.explain(page, &call, &score)
	}
}

const (
	explainFrom = 60
	explained   = 4 // features a decision lists at most
)

func (s *Scorer) explain(page *surprise.Page, call *surprise.Call, score *surprise.Score) []nhi.Feature {
	reasons := page.Explain(score, call, s.Names, explained)
	out := make([]nhi.Feature, 0, len(reasons))
	for _, r := range reasons {
		out = append(out, nhi.Feature{Name: r.Feature.String(), Usual: r.Usual, Seen: r.Seen, Bits: r.Bits})
	}
	return out
}
