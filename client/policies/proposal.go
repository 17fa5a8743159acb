package policies

import "time"

// LearnRequest asks which grants would have been enough for what was really done.
type LearnRequest struct {
	Since    time.Time `json:"since,omitzero" doc:"decisions from then on; without it all on record"`
	Identity string    `json:"identity,omitempty" maxLength:"128" doc:"only what the identity with this id did"`
	Owner    string    `json:"owner,omitempty" maxLength:"256" doc:"only what identities of this owner did, as team:payments"`
}

// Proposal are grants that would have been enough, so far or in all.
type Proposal struct {
	Decisions uint64          `json:"decisions" doc:"that were looked at"`
	Taught    uint64          `json:"taught" doc:"that taught something"`
	Tried     uint64          `json:"tried" doc:"that were refused: they teach nothing"`
	Unusual   uint64          `json:"unusual" doc:"that were surprising or at risk: likewise"`
	Asserted  uint64          `json:"asserted" doc:"about somebody who was not proven: likewise"`
	Seldom    int             `json:"seldom" doc:"pairs of identity and resource that were seen once only"`
	LeftOut   uint64          `json:"left_out" doc:"uses beyond the bound on such pairs"`
	From      time.Time       `json:"from,omitzero" doc:"earliest decision"`
	Until     time.Time       `json:"until,omitzero" doc:"latest decision"`
	Grants    []ProposedGrant `json:"grants" doc:"by identity and resource"`
	Unused    []string        `json:"unused" doc:"permits in force that allowed nothing"`
}

// ProposedGrant is what an identity did on a resource.
type ProposedGrant struct {
	Identity string    `json:"identity"`
	Name     string    `json:"name" doc:"of the identity"`
	Resource string    `json:"resource"`
	Actions  []string  `json:"actions"`
	Uses     uint64    `json:"uses"`
	Days     int       `json:"days" doc:"in UTC on which there was one"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Example  string    `json:"example" doc:"id of the last decision"`
	Granted  bool      `json:"granted" doc:"a policy of the operator's allowed all of it already"`
}
