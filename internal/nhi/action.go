package nhi

import (
	"encoding/json"
	"time"
)

// A Measure is one rung of the containment ladder.
type Measure string

// The measures known so far.
const (
	MeasureNarrow     Measure = "narrow"     // key works only with its consumer's attestation
	MeasureSuspend    Measure = "suspend"    // key is refused everywhere
	MeasureQuarantine Measure = "quarantine" // identity is refused everywhere
	MeasureRevoke     Measure = "revoke"     // final
)

// An ActionStatus says how far an action got.
type ActionStatus string

// The statuses of an action.
const (
	ActionDone     ActionStatus = "done"
	ActionUndone   ActionStatus = "undone"
	ActionProposed ActionStatus = "proposed" // needs an approval
	ActionRefused  ActionStatus = "refused"  // over budget, or the target is protected
)

// An Action is a containment step. Before is stored before the act and is
// bound to the target's immutable id, so that undo can never hit another
// object of the same name.
type Action struct {
	ID         string          `json:"id"`
	Measure    Measure         `json:"measure"`
	Identity   ID              `json:"identity,omitempty"`
	Credential CredentialID    `json:"credential,omitempty"`
	Finding    string          `json:"finding,omitempty"`
	Reason     string          `json:"reason"`
	Actor      string          `json:"actor"` // who caused it: a rule or a person
	Status     ActionStatus    `json:"status"`
	Before     json.RawMessage `json:"before,omitempty"`
	At         time.Time       `json:"at"`
	UndoneAt   time.Time       `json:"undone_at,omitzero"`
	UndoneBy   string          `json:"undone_by,omitempty"`
	Expires    time.Time       `json:"expires,omitzero"`
	Generation Generation      `json:"generation"` // of the change that made it bite
}
