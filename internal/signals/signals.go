// Package signals is the vocabulary of shared signals: what one organisation
// tells another about a subject that both know, so that access ends everywhere
// when it ends somewhere. It speaks the OpenID Shared Signals Framework 1.0
// (SSF) and its Continuous Access Evaluation Profile 1.0 (CAEP).
//
//	transmitter  change -> [Event] -> outbox -> signed [Token] -> push or poll
//	receiver     push or poll -> verified [Token] -> [Event] -> effect
//
// A signal is a security event token, a SET (RFC 8417): a signed statement of
// type secevent+jwt without an end, with one event about one [Subject] (RFC
// 9493). Muster tells and understands three events of CAEP, [SessionRevoked],
// [CredentialChange] and [RiskLevelChange], and the two of SSF itself,
// [Verification] and [StreamUpdated]. What it does not understand it
// acknowledges and counts.
//
// The two ends are leaf folders: signals/transmit serves streams to receivers
// that are enrolled here, signals/receive listens to peers that are configured.
// They share nothing but this vocabulary.
//
// Everything here decodes bytes of strangers: each input has a limit, names in
// JSON are matched exactly and at most once, and what is not understood is an
// error or nothing, never a guess. No value of a secret enters a signal.
package signals

import (
	"fmt"
	"slices"
)

// The events that Muster tells and understands, by their URI (CAEP 1.0, section
// 3; SSF 1.0, sections 8.1.4 and 8.1.5).
const (
	SessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	CredentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
	RiskLevelChange  = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
	Verification     = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	StreamUpdated    = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// Supported are the events that a receiver can ask for. Verification and
// stream-updated belong to the stream and are not asked for.
var Supported = []string{SessionRevoked, CredentialChange, RiskLevelChange}

// Understood reports whether an event is one of those that this package decodes.
func Understood(event string) bool {
	return slices.Contains(Supported, event) || event == Verification || event == StreamUpdated
}

// Type is the typ of a SET (RFC 8417, section 2.3), and its media type without
// the prefix.
const Type = "secevent+jwt"

// MediaType is the media type of a SET (RFC 8417, section 7.2).
const MediaType = "application/" + Type

// The ways in which SETs are delivered, as streams name them (SSF 1.0, section
// 6.1).
const (
	Push = "urn:ietf:rfc:8935"
	Poll = "urn:ietf:rfc:8936"
)

// The paths of both ends, below the public URL.
const (
	MetadataPath = "/.well-known/ssf-configuration" // SSF 1.0, section 7
	Root         = "/ssf/"
)

// The codes by which a receiver says why it takes a SET no further (RFC 8935,
// section 2.4, whose registry RFC 8936 shares).
const (
	CodeRequest        = "invalid_request"
	CodeKey            = "invalid_key"
	CodeIssuer         = "invalid_issuer"
	CodeAudience       = "invalid_audience"
	CodeAuthentication = "authentication_failed"
	CodeAccess         = "access_denied"
)

// A Refusal is why a SET is not taken. Code is one of the constants above;
// Description is for people at the other end, says nothing about who is known
// here, and quotes nothing of the SET.
type Refusal struct {
	Code        string `json:"err"`
	Description string `json:"description"`
}

// Error implements error.
func (r *Refusal) Error() string { return r.Code + ": " + r.Description }

func refuse(code, format string, args ...any) *Refusal {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// Refuse returns the refusal of a SET.
func Refuse(code, format string, args ...any) error { return refuse(code, format, args...) }

// The rules of the findings that signals make.
const (
	RuleSession    = "SIG-01" // a peer revoked sessions
	RuleCredential = "SIG-02" // a peer changed a credential
	RuleRisk       = "SIG-03" // a peer sees a risk: part of the identity's
	RuleStuck      = "SIG-04" // a receiver takes no signals
)
