// Package nhi is the vocabulary of Muster: the nouns that every other package
// speaks in. A non-human identity (NHI) is whatever acts in a system without
// being a person: a service account, an IAM role, an API key's holder, a CI
// job, a workload, a bot, an AI agent.
//
// The package holds plain data and the rules that keep the data meaning one
// thing: how ids are made, which states exist and which of them bite, what a
// zero value means. It imports only the standard library and does nothing:
// it reads no clock, no file and no network. Everything may import it; it
// imports nothing of ours.
//
// The nouns meet like this. An [Identity] holds [Credential]s and [Grant]s
// and has [OwnerEvidence]. What it does is an [Event]. What a caller presents
// is [Evidence]; verified it becomes [Attested]. A request is a [Question],
// policy answers it with a [Ruling], and the decision point turns that into a
// [Decision]. Something wrong is a [Finding]; a proven or claimed leak is a
// [Sighting]; what we do about it is an [Action]. Every change of state that
// a decision must know of is a [Change] in one gapless sequence, and the
// number of the last one applied is a [Generation].
package nhi

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Kinds of error that callers tell apart. Wrap them; the API maps them to
// HTTP in one table.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("conflict")
	ErrInvalid  = errors.New("invalid")
	ErrDenied   = errors.New("denied")
	// ErrBusy means that a bound was reached and the caller may try again.
	ErrBusy = errors.New("busy")
	// ErrUnavailable means that something this depends on is away and the
	// caller may try again.
	ErrUnavailable = errors.New("unavailable")
	// ErrTooLarge means that an input is over its size limit.
	ErrTooLarge = errors.New("too large")
)

// Invalidf returns an error that wraps ErrInvalid and says why.
func Invalidf(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrInvalid)...)
}

// An ID names one identity for its whole life: "nhi_" and 26 characters. It
// is never reused.
type ID string

// A CredentialID names one credential for its whole life: "crd_" and 26
// characters.
type CredentialID string

// A ResourceID names one resource: "res_" and 26 characters.
type ResourceID string

// IdentityID returns the id of the identity that provider knows as native
// within account. Whoever sees the same identity, in any order, computes the
// same id; native must be the provider's immutable id, not a name.
func IdentityID(provider, account, native string) ID {
	return ID("nhi_" + digest(provider, account, native))
}

// NewCredentialID returns the id of a credential, by the same rule as
// [IdentityID].
func NewCredentialID(provider, account, native string) CredentialID {
	return CredentialID("crd_" + digest(provider, account, native))
}

// NewResourceID returns the id of a resource, by the same rule as
// [IdentityID].
func NewResourceID(provider, account, native string) ResourceID {
	return ResourceID("res_" + digest(provider, account, native))
}

// DerivedID names something that is the same whenever its parts are, such as
// a finding: prefix and the digest of the parts.
func DerivedID(prefix string, parts ...string) string { return prefix + digest(parts...) }

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// digest is lower-case unpadded base32 (RFC 4648) of the first 16 bytes of
// SHA-256 over the fields, each preceded by its length in bytes, so that no
// two different lists of fields share one encoding.
func digest(fields ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(n[:], uint64(len(f)))
		h.Write(n[:])
		h.Write([]byte(f))
	}
	return lowerBase32.EncodeToString(h.Sum(nil)[:16])
}

// Valid reports whether id has the shape of an identity id.
func (id ID) Valid() bool { return validID(string(id), "nhi_") }

// Valid reports whether id has the shape of a credential id.
func (id CredentialID) Valid() bool { return validID(string(id), "crd_") }

// Valid reports whether id has the shape of a resource id.
func (id ResourceID) Valid() bool { return validID(string(id), "res_") }

func validID(id, prefix string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	if !ok || len(rest) != 26 {
		return false
	}
	for _, c := range []byte(rest) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// A Generation is the number of the last change applied. One sequence serves
// the whole installation: the outbox, the state of decisions, the cursor of
// live streams and the order of revocations.
type Generation uint64
