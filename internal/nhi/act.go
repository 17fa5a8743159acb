package nhi

import (
	"encoding/json"
	"time"
)

// An Act is something that was done and must be provable: who did what to
// what, why, and how it ended. Detail holds no secret.
type Act struct {
	// Key makes the act idempotent: the same key is recorded once. Empty means
	// that every call is an act of its own.
	Key     string          `json:"key,omitempty"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`  // operator:name, rule:id, system
	Act     string          `json:"act"`    // credential.narrow, action.undo, token.issue
	Target  string          `json:"target"` // id of what was acted on
	Reason  string          `json:"reason,omitempty"`
	Outcome string          `json:"outcome"` // done, refused, error
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// A Notice is one message to people about a finding or an action. It waits in
// the store until its channel has taken it.
type Notice struct {
	ID       string          `json:"id"`    // also the receiver's idempotency key
	Topic    string          `json:"topic"` // finding.created, credential.contained, action.undone
	Severity Severity        `json:"severity"`
	At       time.Time       `json:"at"`
	Data     json.RawMessage `json:"data"`
}
