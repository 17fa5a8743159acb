package client

import (
	"context"

	"github.com/muster-id/muster/client/policies"
)

// Explanation says why a decision came out as it did, by the policies in force
// now and what was known then.
type Explanation struct {
	Decision     Decision          `json:"decision" doc:"as it is on record"`
	Recorded     bool              `json:"recorded" doc:"policies were asked, and what they could read is on record; without it nothing can be judged again"`
	SamePolicies bool              `json:"same_policies" doc:"the policies in force are those that decided"`
	Outcome      string            `json:"outcome" enum:",allow,deny,step-up" doc:"of the policies in force now; empty when it was not recorded"`
	Policy       string            `json:"policy" doc:"digest of the policies in force now"`
	Note         string            `json:"note" doc:"a sentence for people"`
	Policies     []ExplainedPolicy `json:"policies" doc:"those that determine the outcome, and on a denial without a permit those that came nearest"`
	Unlock       []Unlock          `json:"unlock" doc:"what would have to be different; empty when it is allowed"`
	Inputs       []Input           `json:"inputs" doc:"everything that policies can read of the request"`
}

// What an explanation consists of; see package policies.
type (
	ExplainedPolicy = policies.ExplainedPolicy
	PolicyPart      = policies.PolicyPart
	Input           = policies.Input
	Unlock          = policies.Unlock
	UnlockChange    = policies.UnlockChange
)

// ExplainDecision judges a decision again and says why.
func (c *Client) ExplainDecision(ctx context.Context, id string) (Explanation, error) {
	return read[Explanation](ctx, c, at("/v1/decisions/", id, "/explanation"), nil)
}
