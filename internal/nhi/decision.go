package nhi

import (
	"crypto/x509"
	"net/netip"
	"time"
)

// An Outcome is what a decision says. The zero Outcome denies.
type Outcome string

// The outcomes. Anything else is Deny.
const (
	Deny   Outcome = "deny"
	Allow  Outcome = "allow"
	StepUp Outcome = "step-up"
)

// A StepUpKind says what would unlock a step-up.
type StepUpKind string

// The kinds of step-up.
const (
	StepReattest StepUpKind = "reattest"
	StepBind     StepUpKind = "bind"    // present a credential bound to a key
	StepApprove  StepUpKind = "approve" // ask a person
	StepNarrow   StepUpKind = "narrow"
)

// Assurance says how well a caller proved who it is.
type Assurance int

// The levels of assurance.
const (
	AssuranceStatic   Assurance = 0 // static bearer secret
	AssuranceShort    Assurance = 1 // short-lived bearer
	AssuranceBound    Assurance = 2 // bound to a key (DPoP, mTLS)
	AssuranceAttested Assurance = 3 // bound, and attested by platform or hardware
)

// Evidence is what a caller presents, untouched. Its secrets live only as
// long as the request.
type Evidence struct {
	Authorization string     // the header's value
	Proof         string     // DPoP proof (RFC 9449), empty when none
	Attestation   string     // Muster-Attestation header: the consumer's token
	Method        string     // of the original request
	URL           string     // of the original request: scheme, host and path
	Address       netip.Addr // of the caller, as a trusted point tells it
	// Certificate is that of the caller's connection, and Between what it showed
	// beside. The point saw that the caller holds the key, and whose key it is it
	// need not know; nil when there is none.
	Certificate *x509.Certificate
	Between     []*x509.Certificate
	At          time.Time
}

// A Proof is what tells one token from all others when it is revoked. Its fields
// are those of [Attested].
type Proof struct {
	KeyID      string
	Thumbprint string
	IssuedAt   time.Time
}

// Attested is who a caller proved to be.
type Attested struct {
	Identity    ID
	Credential  CredentialID // zero when the evidence is not a stored credential
	KeyID       string       // public id of the key or jti of the token
	Method      string       // api-key, token, oidc, x509-svid
	Assurance   Assurance
	SenderBound bool
	Thumbprint  string // RFC 7638 thumbprint of the bound key
	Consumer    ID     // proven by Muster-Attestation, zero when none
	// ConsumerProof is what proved Consumer, because that may be revoked by itself.
	ConsumerProof Proof
	IssuedAt      time.Time
	Expires       time.Time
	Asserted      bool         // a point claims it; nothing was proven to us
	Attestation   *Attestation // of the caller, nil when its platform proved nothing
	// ConsumerAttestation is that of Consumer, nil likewise.
	ConsumerAttestation *Attestation
	Purpose             string // what the credential was issued for, empty when for nothing in particular
	Actors              []ID   // who acts for the subject, the present one first (RFC 8693, section 4.1)
	// Claims are the verified claims of platform evidence, for trust rules.
	Claims map[string]any
}

// A Question asks whether a subject may do something, here and now. The
// point fills in the first part from the request; the decision point fills in
// Known from its own facts. A caller can never assert anything in Known.
type Question struct {
	ID        string // of the request, echoed in the log
	Point     ID
	Subject   Attested
	Action    ActionClass
	Operation string // the caller's own word: GET /payments/{id}
	// Spoken says that the operation holds words which the caller chose, and not
	// those of a route alone.
	Spoken bool
	// Host and Target are the request as it came, target with its query. Only
	// approvals look at them, and only at their digest: they are not kept.
	Host, Target     string
	Resource         string // name of the resource
	RouteSensitivity int    // raises the resource's sensitivity; 0 leaves it
	RoutePurpose     string // what the route serves; empty: anything
	Address          netip.Addr
	Agent            string // raw user agent
	At               time.Time
	// Trial says that nothing follows from the answer: nobody is asked to approve
	// it, and no approval lets it pass.
	Trial bool
	// Said is what the point says of action and resource besides their names. Like
	// Host and Target it counts for approvals alone, and is not kept.
	Said Wording
	// Hearsay is what the point says besides, nil unless it was let. Muster
	// believes none of it and no policy of Muster's reads it.
	Hearsay *Hearsay

	Known Known
}

// A Wording is what somebody has to have said again for a question to be the same:
// the type of the resource, and the properties of action and resource as they were
// written, each one JSON object or empty.
type Wording struct {
	ResourceType     string
	Action, Resource []byte
}

// Hearsay is a question in the words of whoever asks: names of any shape and
// properties that nobody proved. The properties are one JSON object each, or
// empty.
type Hearsay struct {
	SubjectType, Subject   string
	ResourceType, Resource string
	Action                 string

	SubjectProperties, ResourceProperties, ActionProperties []byte
}

// Known is what the decision point itself knows about a question. Policies
// read it; every field is a positive fact, false or zero when not proven.
type Known struct {
	Identity            bool // the subject is in the inventory
	Kind                Kind
	IdentityState       State
	Owned               bool
	IdentityEnvironment Environment
	Risk                int // 0 to 100, the larger of identity's and credential's

	Credential      bool // the evidence is a stored credential
	CredentialState CredentialState
	Pinned          bool // the credential belongs to one consumer
	ConsumerProven  bool // and that consumer's attestation came with the request
	Expired         bool
	Revoked         bool // token, key or identity revoked after issue

	// Attestation is the caller's, or for a stored credential that of the
	// workload it is pinned to. Nil when nothing is proven.
	Attestation *Attestation
	// Approval is what people said yes to, nil when they did not.
	Approval *Approval
	// Purpose is what the request is for, as its credential and its route say.
	// Empty when neither says, or when they differ.
	Purpose string

	Resource            bool // the resource is labelled by somebody
	Sensitivity         int  // 0 to 4, the larger of label and route
	ResourceEnvironment Environment
	Service             string
	Region              string
	Jurisdiction        string

	Country      string
	ASN          uint32
	Network      string // organisation behind the ASN
	AgentFamily  string
	Interactive  bool // the agent is a person's tool
	NewNetwork   bool
	NewCountry   bool
	NewAction    bool
	NewAgent     bool
	Surprise     int // tenths of a bit
	RateHundreds int // calls a minute, times 100
	Features     []Feature

	FactsAge time.Duration // since the last change or heartbeat was applied
}

// An Obligation is what a point must do with a decision, or what would unlock
// it.
type Obligation struct {
	Kind  StepUpKind `json:"kind"`
	Value string     `json:"value,omitempty"`
}

// A Reason is one policy that determined a decision.
type Reason struct {
	Policy   string `json:"policy"`
	Position string `json:"position,omitempty"` // file:line
	Text     string `json:"text"`               // a sentence for people
	Effect   string `json:"effect"`             // forbid, permit, error
}

// A Ruling is what policy says to a question.
type Ruling struct {
	Outcome Outcome
	StepUp  []StepUpKind
	Reasons []Reason
	Errors  int    // policies that erred; an erring forbid denies
	Digest  string // of the policy set that ruled
}

// A Decision is the answer given to a point. The zero Decision denies.
type Decision struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Outcome Outcome   `json:"outcome"`
	// WouldRefuse is set at a point in observe mode that allowed what it would
	// otherwise have refused.
	WouldRefuse bool `json:"would_refuse,omitempty"`
	// Glass is the serial of the break-glass code that let pass what would
	// otherwise have been refused; empty when none did.
	Glass       string       `json:"glass,omitempty"`
	Obligations []Obligation `json:"obligations,omitempty"`
	Reasons     []Reason     `json:"reasons"`
	Generation  Generation   `json:"generation"`
	Policy      string       `json:"policy"` // digest of the policy set
	Point       ID           `json:"point"`
	Identity    ID           `json:"identity,omitempty"`
	Credential  CredentialID `json:"credential,omitempty"`
	KeyID       string       `json:"key_id,omitempty"`
	Method      string       `json:"method,omitempty"`
	Assurance   Assurance    `json:"assurance"`
	SenderBound bool         `json:"sender_bound,omitempty"`
	Asserted    bool         `json:"asserted,omitempty"`
	Approval    string       `json:"approval,omitempty"` // that let it pass
	Consumer    bool         `json:"consumer,omitempty"` // the credential's own workload proved itself beside it
	// Reported is set when the point decided by itself, away from the server, and
	// told later: nothing is learned from its word.
	Reported    bool          `json:"reported,omitempty"`
	Action      ActionClass   `json:"action,omitempty"`
	Operation   string        `json:"operation,omitempty"`
	Resource    string        `json:"resource,omitempty"`
	Sensitivity int           `json:"sensitivity"`
	Address     netip.Addr    `json:"address,omitzero"`
	Country     string        `json:"country,omitempty"`
	ASN         uint32        `json:"asn,omitempty"`
	Network     string        `json:"network,omitempty"` // organisation of the ASN
	Agent       string        `json:"agent,omitempty"`   // family, never the raw string
	Risk        int           `json:"risk"`
	Surprise    int           `json:"surprise"` // tenths of a bit
	Features    []Feature     `json:"features,omitempty"`
	Latency     time.Duration `json:"latency"` // nanoseconds spent deciding
	// Inputs are what else the policies could read. Nil when nothing could be
	// known, and in records of releases that did not keep them.
	Inputs *Inputs `json:"inputs,omitempty"`
}

// Allowed reports whether the point may let the request pass.
func (d *Decision) Allowed() bool { return d.Outcome == Allow }
