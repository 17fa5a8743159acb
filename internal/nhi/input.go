package nhi

import "time"

// Inputs are what policies could read of a question and a [Decision] does not
// hold itself. With them a decision can be judged again, see
// [Decision.Question].
type Inputs struct {
	Known       bool   `json:"known"` // the subject was in the inventory
	Kind        Kind   `json:"kind,omitempty"`
	State       State  `json:"state,omitempty"`
	Owned       bool   `json:"owned,omitempty"`
	Environment string `json:"env,omitempty"`
	Class       Class  `json:"class,omitempty"`

	Stored          bool            `json:"stored,omitempty"` // the evidence was a stored credential
	CredentialState CredentialState `json:"cred_state,omitempty"`
	Pinned          bool            `json:"pinned,omitempty"`
	Expired         bool            `json:"expired,omitempty"`
	Revoked         bool            `json:"revoked,omitempty"`
	Attestation     *Attestation    `json:"attestation,omitempty"`
	Approval        *InputApproval  `json:"approval,omitempty"`
	Purpose         string          `json:"purpose,omitempty"`
	Actors          []ID            `json:"actors,omitempty"`

	Labelled            bool   `json:"labelled,omitempty"`
	ResourceEnvironment string `json:"res_env,omitempty"`
	ResourceClass       Class  `json:"res_class,omitempty"`
	Service             string `json:"service,omitempty"`
	Region              string `json:"region,omitempty"`
	Jurisdiction        string `json:"jurisdiction,omitempty"`

	Interactive bool `json:"interactive,omitempty"`
	NewNetwork  bool `json:"new_network,omitempty"`
	NewCountry  bool `json:"new_country,omitempty"`
	NewAction   bool `json:"new_action,omitempty"`
	NewAgent    bool `json:"new_agent,omitempty"`
	Rate        int  `json:"rate,omitempty"` // calls a minute, times 100

	// Lag is how long before the decision the question was asked, in
	// nanoseconds; negative when the point's clock is ahead.
	Lag      time.Duration `json:"lag,omitempty"`
	FactsAge time.Duration `json:"facts_age,omitempty"` // nanoseconds
}

// An InputApproval is what policies see of an [Approval].
type InputApproval struct {
	ID      string    `json:"id"`
	By      []string  `json:"by,omitempty"` // ids of those who said yes
	Expires time.Time `json:"expires"`
}

// NewInputs returns what policies can read of q beside what its decision, made
// at the time at, holds itself. It shares q's attestation and actors.
func NewInputs(q *Question, at time.Time) *Inputs {
	k := &q.Known
	in := &Inputs{
		Known: k.Identity, Kind: k.Kind, State: k.IdentityState, Owned: k.Owned, Environment: k.IdentityEnvironment.Name, Class: k.IdentityEnvironment.Class,
		Stored: k.Credential, CredentialState: k.CredentialState, Pinned: k.Pinned, Expired: k.Expired, Revoked: k.Revoked,
		Attestation: k.Attestation, Purpose: k.Purpose, Actors: q.Subject.Actors,
		Labelled: k.Resource, ResourceEnvironment: k.ResourceEnvironment.Name, ResourceClass: k.ResourceEnvironment.Class,
		Service: k.Service, Region: k.Region, Jurisdiction: k.Jurisdiction,
		Interactive: k.Interactive, NewNetwork: k.NewNetwork, NewCountry: k.NewCountry, NewAction: k.NewAction, NewAgent: k.NewAgent, Rate: k.RateHundreds,
		Lag: at.Round(0).Sub(q.At.Round(0)), FactsAge: k.FactsAge, // by the wall clock: it is what is on record
	}
	if a := k.Approval; a != nil {
		in.Approval = &InputApproval{ID: a.ID, Expires: a.Expires}
		for i := range a.Votes {
			if a.Votes[i].Yes {
				in.Approval.By = append(in.Approval.By, a.Votes[i].Person)
			}
		}
	}
	return in
}

// Question returns the question that policies would see if d were decided
// again: what they can read is as it was. It is not ok when d does not say,
// because an earlier release recorded it or because deciding broke down.
func (d *Decision) Question() (q Question, ok bool) {
	in := d.Inputs
	if in == nil {
		return Question{}, false
	}
	q = Question{
		Point: d.Point, Action: d.Action, Operation: d.Operation, Resource: d.Resource, Address: d.Address, At: d.At.Add(-in.Lag),
		Subject: Attested{
			Identity: d.Identity, Credential: d.Credential, KeyID: d.KeyID, Method: d.Method, Assurance: d.Assurance,
			SenderBound: d.SenderBound, Asserted: d.Asserted, Actors: in.Actors,
		},
		Known: Known{
			Identity: in.Known, Kind: in.Kind, IdentityState: in.State, Owned: in.Owned, Risk: d.Risk,
			IdentityEnvironment: Environment{Name: in.Environment, Class: in.Class},
			Credential:          in.Stored, CredentialState: in.CredentialState, Pinned: in.Pinned, ConsumerProven: d.Consumer,
			Expired: in.Expired, Revoked: in.Revoked, Attestation: in.Attestation, Purpose: in.Purpose,
			Resource: in.Labelled, Sensitivity: d.Sensitivity, Service: in.Service, Region: in.Region, Jurisdiction: in.Jurisdiction,
			ResourceEnvironment: Environment{Name: in.ResourceEnvironment, Class: in.ResourceClass},
			Country:             d.Country, ASN: d.ASN, Network: d.Network, AgentFamily: d.Agent, Interactive: in.Interactive,
			NewNetwork: in.NewNetwork, NewCountry: in.NewCountry, NewAction: in.NewAction, NewAgent: in.NewAgent,
			Surprise: d.Surprise, RateHundreds: in.Rate, Features: d.Features, FactsAge: in.FactsAge,
		},
	}
	if a := in.Approval; a != nil {
		q.Known.Approval = &Approval{ID: a.ID, Expires: a.Expires}
		for _, person := range a.By {
			q.Known.Approval.Votes = append(q.Known.Approval.Votes, Vote{Person: person, Yes: true})
		}
	}
	return q, true
}
