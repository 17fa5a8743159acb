package nhi

import "time"

// An Attestation is what a platform or hardware proved about how and where a
// caller runs, and when it did. It is shared between requests and never
// changes. A nil Attestation proves nothing; so does every zero field.
type Attestation struct {
	Method string        `json:"method"` // oidc, ...
	At     time.Time     `json:"at"`     // when the platform said so, not when we heard of it
	Level  EvidenceLevel `json:"level"`
	// Selectors are the proven properties that somebody trusted, each
	// "name:value", sorted.
	Selectors []string `json:"selectors,omitempty"`
	Location  Location `json:"location,omitzero"`
	Device    Device   `json:"device,omitzero"`
}

// An EvidenceLevel says what stands behind an attestation.
type EvidenceLevel int

// The levels of evidence.
const (
	EvidencePlatform EvidenceLevel = 1 // the platform's signature: a CI or cluster token
	EvidenceMachine  EvidenceLevel = 2 // the identity of one machine
	EvidenceHardware EvidenceLevel = 3 // a key that cannot leave its hardware
)

// A Location is where a workload was proven to run.
type Location struct {
	Provider  string `json:"provider,omitempty"` // aws, gcp, azure, ...
	Account   string `json:"account,omitempty"`  // account, project or subscription
	Region    string `json:"region,omitempty"`
	VPC       string `json:"vpc,omitempty"`
	Cluster   string `json:"cluster,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Node      string `json:"node,omitempty"`
}

// A Device is a machine that was proven to be itself.
type Device struct {
	ID         string `json:"id,omitempty"`
	Attested   bool   `json:"attested,omitempty"` // by its hardware
	SecureBoot bool   `json:"secure_boot,omitempty"`
	Image      string `json:"image,omitempty"` // digest of what it runs, sha256:...
}

// MaxPurpose is the longest purpose in bytes.
const MaxPurpose = 64

// ValidPurpose reports whether s can name a purpose: up to [MaxPurpose] of a-z,
// 0-9, '-', '.' and '/'. The empty purpose is none, and valid.
func ValidPurpose(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '/' {
			return false
		}
	}
	return len(s) <= MaxPurpose
}

// Age returns how old the attestation is at a time, never less than zero.
func (a *Attestation) Age(at time.Time) time.Duration { return max(0, at.Sub(a.At)) }
