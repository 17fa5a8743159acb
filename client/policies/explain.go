package policies

// ExplainedPolicy is a policy, taken apart.
type ExplainedPolicy struct {
	ID       string       `json:"id"`
	Effect   string       `json:"effect" enum:"permit,forbid,error"`
	StepUp   string       `json:"step_up"`
	Position string       `json:"position" doc:"file and line"`
	Text     string       `json:"text"`
	Matched  bool         `json:"matched"`
	Parts    []PolicyPart `json:"parts"`
	Cut      bool         `json:"cut" doc:"there are more parts than are shown"`
}

// PolicyPart is a part of a policy's conditions. One that is deeper belongs to
// the last before it that is not.
type PolicyPart struct {
	Clause string  `json:"clause" enum:"scope,when,unless"`
	Depth  int     `json:"depth"`
	Join   string  `json:"join" enum:",and,or,not,if" doc:"how what is inside belongs together"`
	Text   string  `json:"text" doc:"in Cedar"`
	Truth  string  `json:"truth" enum:"true,false,not reached,error"`
	Values []Input `json:"values" doc:"what it read"`
}

// Input is one thing that policies read.
type Input struct {
	Name  string `json:"name"`
	Value string `json:"value" doc:"in Cedar, or absent"`
	From  string `json:"from" doc:"who says so: token, point, inventory, detector, geography, clock or people"`
}

// Unlock is what would have to be different about one policy. One of the ways
// is enough; all changes of a way are needed.
type Unlock struct {
	Policy string           `json:"policy"`
	StepUp string           `json:"step_up"`
	Words  string           `json:"words"`
	Ways   [][]UnlockChange `json:"ways"`
}

// UnlockChange is a part that would have to come out differently.
type UnlockChange struct {
	Text   string  `json:"text" doc:"in Cedar"`
	Want   bool    `json:"want" doc:"what it would have to come to"`
	Values []Input `json:"values" doc:"what it read"`
}
