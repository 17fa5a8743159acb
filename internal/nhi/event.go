package nhi

import (
	"net/netip"
	"time"
)

// An Event is one normalised record of activity. Field names follow OCSF
// where it has a word. Text comes from outside and is hostile; secrets have
// been removed from it before an Event is published.
type Event struct {
	ID         string       `json:"id"`     // the source's own event id; repeats are the same event
	Source     ID           `json:"source"` // who testifies
	Format     string       `json:"format"` // cloudtrail, decision
	Time       time.Time    `json:"time"`
	Arrived    time.Time    `json:"arrived,omitzero"`
	Provider   string       `json:"provider"`
	Account    string       `json:"account"` // the account that the record speaks about
	Region     string       `json:"region,omitempty"`
	Service    string       `json:"service,omitempty"`   // s3.amazonaws.com
	Operation  string       `json:"operation,omitempty"` // GetObject
	Class      ActionClass  `json:"class,omitempty"`
	Resource   string       `json:"resource,omitempty"`
	Address    netip.Addr   `json:"address,omitzero"` // zero when the source gave a name or nothing
	Agent      string       `json:"agent,omitempty"`  // raw user agent, bounded
	Status     Status       `json:"status"`
	Error      string       `json:"error,omitempty"` // the provider's error code
	Principal  Principal    `json:"principal"`
	Identity   ID           `json:"identity,omitempty"` // after attribution
	Credential CredentialID `json:"credential,omitempty"`
	// Decision carries the outcome when the event is one of our own decisions.
	Outcome Outcome `json:"outcome,omitempty"`
	// Asserted is true when a point merely claimed who the subject is: such an
	// event never teaches a baseline.
	Asserted bool `json:"asserted,omitempty"`
}

// Status is whether the recorded call succeeded at its provider.
type Status string

// The statuses of an event.
const (
	Success Status = "success"
	Failure Status = "failure"
)

// A Principal is how a log names who acted, the whole chain kept.
type Principal struct {
	Type        string   `json:"type"`             // IAMUser, AssumedRole, WebIdentityUser, AWSService, Root, …
	Native      string   `json:"native,omitempty"` // immutable id of the NHI itself (session suffix removed)
	Path        string   `json:"path,omitempty"`   // ARN of the NHI itself (of the role, not of the session)
	Name        string   `json:"name,omitempty"`
	Account     string   `json:"account,omitempty"`
	KeyID       string   `json:"key_id,omitempty"`      // access key used
	Temporary   bool     `json:"temporary,omitempty"`   // KeyID is a session's key
	Session     string   `json:"session,omitempty"`     // role session name
	Issuer      string   `json:"issuer,omitempty"`      // OIDC issuer of a web identity
	Subject     string   `json:"subject,omitempty"`     // OIDC subject of a web identity
	Chain       []string `json:"chain,omitempty"`       // sourceIdentity, onBehalfOf, invokedBy, … outermost first
	Platform    bool     `json:"platform,omitempty"`    // the provider itself acts (service-linked role, AWS service)
	Interactive bool     `json:"interactive,omitempty"` // a console or browser session
}
