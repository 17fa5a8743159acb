package view

import (
	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/force"
)

// Explain has the policies in force explain themselves.
func Explain(policies *force.Holder) func(*nhi.Question) client.Explanation {
	return func(q *nhi.Question) client.Explanation {
		e := policies.Explain(q)
		return client.Explanation{
			Outcome: string(e.Ruling.Outcome), Policy: e.Ruling.Digest, Inputs: frame.Each(e.Inputs, input),
			Policies: frame.Each(e.Policies, func(p policy.Explained) client.ExplainedPolicy {
				return client.ExplainedPolicy{
					ID: p.ID, Effect: p.Effect, StepUp: string(p.StepUp), Position: p.Position, Text: p.Text, Matched: p.Matched, Cut: p.Cut,
					Parts: frame.Each(p.Parts, func(p policy.Part) client.PolicyPart {
						return client.PolicyPart{Clause: p.Clause, Depth: p.Depth, Join: p.Join, Text: p.Text, Truth: string(p.Truth), Values: frame.Each(p.Values, input)}
					}),
				}
			}),
			Unlock: frame.Each(e.Unlock, func(u policy.Unlock) client.Unlock {
				return client.Unlock{Policy: u.Policy, StepUp: string(u.StepUp), Words: u.Words, Ways: frame.Each(u.Ways, func(way []policy.Change) []client.UnlockChange {
					return frame.Each(way, func(c policy.Change) client.UnlockChange {
						return client.UnlockChange{Text: c.Text, Want: c.Want, Values: frame.Each(c.Values, input)}
					})
				})}
			}),
		}
	}
}

func input(i policy.Input) client.Input { return client.Input(i) }
