package policies

import "time"

// SimulateRequest asks what policies would have changed.
type SimulateRequest struct {
	Files map[string]string `json:"files" doc:"the candidate: Cedar by file name, or a library as a snapshot has it, with grants/**/*.yaml (tests are not asked), instead of what is in force beside the guards"`
	Since time.Time         `json:"since,omitzero" doc:"decisions from then on; without it all on record"`
}

// Simulation says what policies would have changed, so far or in all.
type Simulation struct {
	Decisions  uint64              `json:"decisions" doc:"that were looked at"`
	Judged     uint64              `json:"judged" doc:"that could be asked again"`
	Unanswered uint64              `json:"unanswered" doc:"of which it is not on record what policies read"`
	Changed    uint64              `json:"changed"`
	Denied     uint64              `json:"newly_denied"`
	StepUp     uint64              `json:"newly_step_up"`
	Allowed    uint64              `json:"newly_allowed"`
	Errors     uint64              `json:"errors" doc:"policies of the candidate that erred"`
	From       time.Time           `json:"from,omitzero" doc:"earliest decision"`
	Until      time.Time           `json:"until,omitzero" doc:"latest decision"`
	Seconds    float64             `json:"seconds" doc:"it took"`
	Identities []SimulationGroup   `json:"identities" doc:"the most changed first"`
	Resources  []SimulationGroup   `json:"resources"`
	Owners     []SimulationGroup   `json:"owners"`
	Policies   []SimulationGroup   `json:"policies" doc:"of the candidate, that gave the new answers"`
	Cut        bool                `json:"cut" doc:"there are more groups than are shown"`
	Examples   []SimulationExample `json:"examples" doc:"the first of each kind"`
}

// SimulationGroup is what changed decisions have something in common.
type SimulationGroup struct {
	Name     string   `json:"name" doc:"id of an identity, name of a resource, an owner, or id of a policy"`
	Title    string   `json:"title" doc:"name of the identity"`
	Denied   uint64   `json:"newly_denied"`
	StepUp   uint64   `json:"newly_step_up"`
	Allowed  uint64   `json:"newly_allowed"`
	Examples []string `json:"examples" doc:"ids of decisions"`
}

// SimulationExample is a decision that would have come out differently.
type SimulationExample struct {
	Kind     string    `json:"kind" enum:"newly-denied,newly-step-up,newly-allowed"`
	ID       string    `json:"id" doc:"of the decision"`
	At       time.Time `json:"at"`
	Identity string    `json:"identity"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Before   string    `json:"before" doc:"allow, deny, step-up(bind)"`
	After    string    `json:"after"`
	Policies []string  `json:"policies" doc:"that determined the new answer"`
	Reason   string    `json:"reason"`
}
