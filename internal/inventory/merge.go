package inventory

import (
	"maps"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// MissesToRetire is how many complete observations in a row must lack an
// identity before it is retired. One can be a provider's hiccup.
const MissesToRetire = 2

// MergeIdentity returns old brought up to date with what was seen later, and
// whether anything differs. A nil old is an identity that was not known.
//
// The earliest beginning and the latest activity win. A value beats no value,
// and a newer one beats an older one, except that a shadow identity, which is
// a guess from a log, never overrides what a connector read. Labels are
// replaced as a whole. Environment, owner, risk, and what Muster decided about
// the identity are not for an observation to change.
func MergeIdentity(old *nhi.Identity, seen nhi.Identity) (merged nhi.Identity, changed bool) {
	return mergeIdentity(old, seen, true)
}

// mergeIdentity also takes an observation that is older than what is known:
// it fills gaps and moves beginnings back, and overrides nothing.
func mergeIdentity(old *nhi.Identity, seen nhi.Identity, newer bool) (merged nhi.Identity, changed bool) {
	if old == nil {
		if seen.State == "" {
			seen.State = nhi.Active
		}
		if seen.Environment.Class == "" {
			seen.Environment.Class = nhi.ClassUnknown
		}
		return seen, true
	}
	m := *old
	m.FirstSeen = earliest(m.FirstSeen, seen.FirstSeen)
	m.LastSeen = latest(m.LastSeen, seen.LastSeen)
	m.Created = earliest(m.Created, seen.Created)
	m.NotBefore = latest(m.NotBefore, seen.NotBefore)
	m.Attestable = m.Attestable || seen.Attestable
	guess := !newer || (seen.Shadow && !old.Shadow)
	put := func(to *string, from string) {
		if from != "" && (*to == "" || !guess) {
			*to = from
		}
	}
	put((*string)(&m.Kind), string(seen.Kind))
	put(&m.Name, seen.Name)
	put(&m.Path, seen.Path)
	put(&m.Purpose, seen.Purpose)
	if !seen.Shadow {
		m.Shadow = false
		if seen.Labels != nil && (newer || m.Labels == nil) {
			m.Labels = seen.Labels
		}
		if newer {
			m.State = observedState(m.State)
		}
	}
	return m, !SameIdentity(*old, m)
}

// observedState is the state of an identity that its provider still lists.
// Only a retirement is undone by that: it said nothing but that it was gone.
func observedState(s nhi.State) nhi.State {
	if s == nhi.Retired || s == "" {
		return nhi.Active
	}
	return s
}

// SameIdentity reports whether two identities are equal in every field.
func SameIdentity(a, b nhi.Identity) bool {
	return identityKey(a) == identityKey(b) && maps.Equal(a.Labels, b.Labels)
}

// comparable identity: everything but the labels, times as instants.
type flatIdentity struct {
	id, alias                               nhi.ID
	kind                                    nhi.Kind
	provider, account, native, name, path   string
	environment                             nhi.Environment
	purpose                                 string
	state                                   nhi.State
	shadow, attestable                      bool
	owner                                   nhi.Owner
	risk                                    int
	created, firstSeen, lastSeen, notBefore int64
}

func identityKey(i nhi.Identity) flatIdentity {
	return flatIdentity{
		id: i.ID, alias: i.Alias, kind: i.Kind,
		provider: i.Provider, account: i.Account, native: i.Native, name: i.Name, path: i.Path,
		environment: i.Environment, purpose: i.Purpose, state: i.State,
		shadow: i.Shadow, attestable: i.Attestable, owner: i.Owner, risk: i.Risk,
		created: micros(i.Created), firstSeen: micros(i.FirstSeen), lastSeen: micros(i.LastSeen), notBefore: micros(i.NotBefore),
	}
}

// MergeCredential returns old brought up to date with what was seen later,
// and whether anything differs. A nil old is a credential that was not known.
//
// Its state, the reason for it and its pin are Muster's alone: whatever the
// provider says goes to Native. A verifier or fingerprint once known stays.
func MergeCredential(old *nhi.Credential, seen nhi.Credential) (merged nhi.Credential, changed bool) {
	if old == nil {
		if seen.State == "" {
			seen.State = nhi.CredentialActive
		}
		return seen, true
	}
	m := *old
	put := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	put((*string)(&m.Identity), string(seen.Identity))
	put((*string)(&m.Kind), string(seen.Kind))
	put(&m.PublicID, seen.PublicID)
	put(&m.Native, seen.Native)
	put(&m.Fingerprint, seen.Fingerprint)
	if len(seen.Verifier) > 0 {
		m.Verifier = seen.Verifier
	}
	m.Created = earliest(m.Created, seen.Created)
	m.Rotated = latest(m.Rotated, seen.Rotated)
	m.LastUsed = latest(m.LastUsed, seen.LastUsed)
	if !seen.Expires.IsZero() {
		m.Expires = seen.Expires
	}
	return m, !SameCredential(*old, m)
}

// SameCredential reports whether two credentials are equal in every field.
func SameCredential(a, b nhi.Credential) bool {
	return string(a.Verifier) == string(b.Verifier) && credentialKey(a) == credentialKey(b)
}

type flatCredential struct {
	id                                       nhi.CredentialID
	identity, consumer                       nhi.ID
	kind                                     nhi.CredentialKind
	provider, account, publicID, fingerprint string
	state                                    nhi.CredentialState
	reason, native                           string
	created, expires, rotated, lastUsed      int64
	risk                                     int
}

func credentialKey(c nhi.Credential) flatCredential {
	return flatCredential{
		id: c.ID, identity: c.Identity, consumer: c.Consumer, kind: c.Kind,
		provider: c.Provider, account: c.Account, publicID: c.PublicID, fingerprint: c.Fingerprint,
		state: c.State, reason: c.Reason, native: c.Native,
		created: micros(c.Created), expires: micros(c.Expires), rotated: micros(c.Rotated), lastUsed: micros(c.LastUsed), risk: c.Risk,
	}
}

// announceIdentity reports whether decisions and streams must hear of the
// step from old to merged. A use alone is told at most once an hour: a busy
// identity would otherwise fill the sequence with one change a batch, and
// nothing decides by the minute of the last use.
func announceIdentity(old *nhi.Identity, merged nhi.Identity) bool {
	if old == nil {
		return true
	}
	before := *old
	if sameHour(before.LastSeen, merged.LastSeen) {
		before.LastSeen = merged.LastSeen
	}
	return !SameIdentity(before, merged)
}

// announceCredential is announceIdentity for credentials.
func announceCredential(old *nhi.Credential, merged nhi.Credential) bool {
	if old == nil {
		return true
	}
	before := *old
	if sameHour(before.LastUsed, merged.LastUsed) {
		before.LastUsed = merged.LastUsed
	}
	return !SameCredential(before, merged)
}

func sameHour(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && a.Truncate(time.Hour).Equal(b.Truncate(time.Hour))
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// micros is the precision that times are kept in.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
