package nhi

import "time"

// A CredentialKind says what sort of proof a credential is.
type CredentialKind string

// The kinds of credential known so far.
const (
	CredentialAPIKey       CredentialKind = "api-key"        // minted by Muster
	CredentialRegistered   CredentialKind = "registered-key" // somebody else's static key, registered here
	CredentialAWSAccessKey CredentialKind = "aws-access-key"
	CredentialPassword     CredentialKind = "password"
	CredentialToken        CredentialKind = "token" // short-lived, issued by Muster
)

// A CredentialState says what a credential may still do.
type CredentialState string

// The states of a credential, from harmless to dead. Narrowed means: only
// together with its consumer's own attestation.
const (
	CredentialActive    CredentialState = "active"
	CredentialNarrowed  CredentialState = "narrowed"
	CredentialSuspended CredentialState = "suspended"
	CredentialRevoked   CredentialState = "revoked"
)

// Dead reports whether a credential in this state is refused everywhere, at
// points in observe mode too. An unknown state is dead: fail closed.
func (s CredentialState) Dead() bool {
	return s != CredentialActive && s != CredentialNarrowed
}

// A Credential is something that proves an identity. Its value is never here:
// only the public id, a verifier that can check a presented value, and the
// blind fingerprint that can recognise a leaked one.
type Credential struct {
	ID          CredentialID    `json:"id"`
	Identity    ID              `json:"identity"`
	Kind        CredentialKind  `json:"kind"`
	Provider    string          `json:"provider"`
	Account     string          `json:"account"`
	PublicID    string          `json:"public_id"`             // key id: public, used to look it up
	Verifier    []byte          `json:"verifier,omitempty"`    // SHA-256 of the value; nil when never held
	Fingerprint string          `json:"fingerprint,omitempty"` // blind fingerprint, f1:…; empty when the value was never seen
	State       CredentialState `json:"state"`
	Reason      string          `json:"reason,omitempty"`   // why it is not active
	Consumer    ID              `json:"consumer,omitempty"` // pinned to this workload; empty when not pinned
	Risk        int             `json:"risk,omitempty"`     // 0 to 100, from what was done with it
	Native      string          `json:"native,omitempty"`   // state at the provider: Active, Inactive
	Created     time.Time       `json:"created,omitzero"`
	Expires     time.Time       `json:"expires,omitzero"` // zero: never
	Rotated     time.Time       `json:"rotated,omitzero"`
	LastUsed    time.Time       `json:"last_used,omitzero"`
}

// A Sighting is a claim that a credential was seen where it should not be.
// It never holds the value.
type Sighting struct {
	ID          string          `json:"id"`
	Rule        string          `json:"rule"`
	Provider    string          `json:"provider"`
	Kind        string          `json:"kind"`
	PublicID    string          `json:"public_id,omitempty"`
	Fingerprint string          `json:"fingerprint,omitempty"` // blind fingerprint; empty when nothing proves the value
	Place       Place           `json:"place"`
	Source      ID              `json:"source"` // the enrolled source that reports it
	At          time.Time       `json:"at"`
	Verdict     SightingVerdict `json:"verdict,omitempty"`
	Credential  CredentialID    `json:"credential,omitempty"`
	Identity    ID              `json:"identity,omitempty"`
}

// A SightingVerdict says how much a sighting is worth.
type SightingVerdict string

// The verdicts. Only a confirmed sighting acts by itself.
const (
	Confirmed SightingVerdict = "confirmed" // the secret itself was proven
	Forged    SightingVerdict = "forged"    // the id is ours, the secret disproven
	Unproven  SightingVerdict = "unproven"  // the id is ours, nothing to compare
	Unknown   SightingVerdict = "unknown"   // not ours
)
