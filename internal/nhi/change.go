package nhi

import (
	"encoding/json"
	"time"
)

// A Subject names what a change is about. The object's id is in Key.
type Subject string

// The subjects of changes. Each payload is the JSON of the row's new state;
// an empty payload means that the row is gone.
const (
	SubjectIdentity   Subject = "identity"   // Identity
	SubjectCredential Subject = "credential" // Credential
	SubjectResource   Subject = "resource"   // Resource
	SubjectRoutes     Subject = "routes"     // []Route, the whole table
	SubjectTrust      Subject = "trust"      // the whole trust file
	SubjectPolicy     Subject = "policy"     // the whole policy set
	SubjectPoint      Subject = "point"      // Point
	SubjectSource     Subject = "source"     // Source
	SubjectRevocation Subject = "revocation" // Revocation
	SubjectFinding    Subject = "finding"    // Finding
	SubjectAction     Subject = "action"     // Action
	SubjectApproval   Subject = "approval"   // Approval
	SubjectHeartbeat  Subject = "heartbeat"
)

// A Change tells that something happened to state. It is written in the same
// transaction as the row it tells of; Seq is gapless and in commit order.
type Change struct {
	Seq     Generation      `json:"seq"`
	Subject Subject         `json:"subject"`
	Key     string          `json:"key"`
	Version int             `json:"version"` // of the payload's format
	At      time.Time       `json:"at"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// LongestLife is how long a credential may live that is not stored here: a token
// of whatever issuer, or a certificate. None that lives longer is accepted, so
// that a revocation can be forgotten after that time.
const LongestLife = 25 * time.Hour

// A Revocation refuses tokens before they expire. Exactly one of Token, Key
// and Identity is set.
type Revocation struct {
	Token    string    `json:"token,omitempty"` // jti
	Key      string    `json:"key,omitempty"`   // thumbprint of a bound key
	Identity ID        `json:"identity,omitempty"`
	At       time.Time `json:"at"`      // tokens issued before or at this time are refused
	Expires  time.Time `json:"expires"` // when the revocation can be forgotten
	Reason   string    `json:"reason"`
}
