package usage

import (
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Kind says why somebody was not let in.
type Kind string

// The kinds of refusal.
const (
	FailedAuthentication Kind = "failed_authentication" // nobody was proven
	UnknownPrincipal     Kind = "unknown_principal"     // proven or asserted, and in no inventory
	Denied               Kind = "denied"
	SteppedUp            Kind = "step_up"
)

// A Refusal is one request that was not let in, or many of a kind from one
// address in one minute.
type Refusal struct {
	ID        string
	At        time.Time
	Kind      Kind
	Identity  nhi.ID // proven; empty when nobody was
	Claimed   string // who the caller says to be: the public part of a key, or an asserted identity
	Point     nhi.ID // where; empty for our own interface
	Address   string // of the caller
	Operation string
	Resource  string
	Reason    string // the policy that refused
	Count     uint64 // more than 1: a flood, counted instead of listed
}

// PerMinute is how many refusals of a kind from one address are listed one by
// one in a minute; the rest is counted in one more.
const PerMinute = 20

// The bounds of all together, so that a flood from many addresses cannot fill
// the disk either: of a kind in a minute, and of what is kept.
const (
	PerMinuteInAll = 1000
	Kept           = 1_000_000
)

// unknownSubject is the policy that refuses whoever is in no inventory.
const unknownSubject = "unknown-subject"

// Refusal returns what a decision refused, false if it did not. What an
// observing point let pass is none.
func (c *Counter) Refusal(d *nhi.Decision) (Refusal, bool) {
	if d.Outcome == nhi.Allow {
		return Refusal{}, false
	}
	r := Refusal{
		ID: d.ID, At: d.At.UTC(), Kind: Denied, Point: d.Point, Operation: word(d.Operation), Resource: word(d.Resource), Claimed: word(d.KeyID), Count: 1,
	}
	if d.Address.IsValid() {
		r.Address = d.Address.Unmap().WithZone("").String()
	}
	if len(d.Reasons) > 0 {
		r.Reason = word(d.Reasons[0].Policy)
	}
	unknown := false
	for i := range d.Reasons {
		unknown = unknown || d.Reasons[i].Policy == unknownSubject
	}
	if d.Asserted {
		r.Claimed = word(string(d.Identity))
	} else {
		r.Identity = d.Identity
	}
	switch {
	case d.Identity == "":
		r.Kind = FailedAuthentication
	case unknown:
		r.Kind, r.Identity, r.Claimed = UnknownPrincipal, "", word(string(d.Identity))
	case d.Outcome == nhi.StepUp:
		r.Kind = SteppedUp
	}
	return r, true
}
