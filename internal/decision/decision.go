// Package decision answers questions: may this identity do that, here and now?
//
// It has three parts. [Facts] is everything a decision reads, in memory, as
// immutable snapshots that follow one sequence of changes; package facts below
// keeps them. [Service] has one snapshot tell what is known of a question, has
// the behaviour of the identity judged, asks policy, and applies the mode of
// the enforcement point. [Record] makes every answer a record: in the journal,
// in a ring of recent decisions, in counters; package logbook below does it.
//
// Deciding touches memory only: no lock that waits, no disk, no network. The
// one exception is deliberate. An allow at high sensitivity, and every allow
// that releases a credential, waits until its record is on disk; if that fails
// the answer is deny.
//
// Everything fails closed. The zero Decision denies. An unknown outcome,
// action or state denies, and so does a panic anywhere inside, each with a
// reason. A point that observes is told to let pass what it would refuse,
// except what is dead: a suspended, revoked or expired credential, a revoked
// token, a quarantined identity.
//
// A point that two people opened by a break-glass code lets pass what policy
// refuses, for at most an hour, to callers who proved that they are alive:
// [Config] says where it is asked, and breakGlass in this package what stays
// refused. Each such allow waits until it is on record, and carries the serial
// of the code.
//
// Because one snapshot serves a whole question, and because Apply returns only
// when every later snapshot has its changes, no allow ever carries a
// generation below a revocation that was acknowledged before it was asked.
package decision

import (
	"context"
	"net/netip"
	"time"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// Policies rule on questions. Evaluate is pure and must not block; an outcome
// that is not known denies.
type Policies interface {
	Evaluate(q *nhi.Question) nhi.Ruling
}

// Places knows where an address is. Lookup returns the zero Place for one it
// does not know.
type Places interface {
	Lookup(addr netip.Addr) geo.Place
}

// Behaviour judges how unusual a question is for its identity. Assess reads
// q, the page (nil when nothing was ever learned) and the place of q.Address,
// and fills in NewNetwork, NewCountry, NewAction, NewAgent, Surprise,
// RateHundreds and Features of q.Known. It must not block.
type Behaviour interface {
	Assess(q *nhi.Question, page *surprise.Page, place geo.Place)
}

// Facts is what is known, in memory. *facts.Facts is one.
type Facts interface {
	// Know fills in of q.Known what is known of who asks, of what was presented
	// and of what is accessed, all of it from one generation, and how old it is.
	// An identity that was merged is followed to the one that lives on, which
	// becomes the subject. It must not block.
	Know(q *nhi.Question, now time.Time) Standing
	// Generation returns the number of the last change that is known.
	Generation() nhi.Generation
	// Pin returns the facts as they are now. What it returns never learns of a
	// change, so it is for questions that are answered at once.
	Pin() Facts
}

// A Standing is what a question stands on besides its Known.
type Standing struct {
	Generation nhi.Generation
	Point      nhi.Point // the zero Point when PointKnown is false
	PointKnown bool
}

// Pages has what was learned about each identity. Page returns nil for one
// that nothing was learned about. It must not block.
type Pages interface {
	Page(nhi.ID) *surprise.Page
}

// Approvals are what people were asked. *approval.Desk is one.
type Approvals interface {
	// Approved returns the approval that lets q pass, nil when there is none. It
	// must not block.
	Approved(q *nhi.Question, now time.Time) *nhi.Approval
	// Ask has people asked about q, of which d was decided, and returns the id
	// of the approval; asked again, the same. It is not ok when this identity
	// has asked too often. It must not block.
	Ask(q *nhi.Question, d *nhi.Decision) (id string, ok bool)
	// Spend uses an approval up for a decision. It returns when that is durable;
	// an error means that it cannot be used.
	Spend(ctx context.Context, id, decision string) error
}

// Record puts decisions on record. *logbook.Log is one. Both methods copy d and
// may be called concurrently.
type Record interface {
	// Add does not wait. What cannot be recorded is counted.
	Add(d *nhi.Decision)
	// AddDurably returns when d is on disk. After an error nothing of it is on
	// record.
	AddDurably(d *nhi.Decision) error
}

// Settings of a Service. The zero value is the default.
type Settings struct {
	// MaxFactsAge is how old facts may be when sensitivity is 2 or more. Zero
	// means 10 minutes.
	MaxFactsAge time.Duration `yaml:"max_facts_age" json:"max_facts_age"`
	// LogFirst is the sensitivity from which an allow waits for its record to
	// be durable. Zero means 3; above 4 only released credentials wait.
	LogFirst int `yaml:"log_first" json:"log_first"`
	// Recent is how many decisions are kept in memory. Zero means 4,096.
	Recent int `yaml:"recent" json:"recent" live:"false" unit:"decisions"`
}

// WithDefaults returns s with what is zero at its default.
func (s Settings) WithDefaults() Settings {
	if s.MaxFactsAge == 0 {
		s.MaxFactsAge = 10 * time.Minute
	}
	if s.LogFirst == 0 {
		s.LogFirst = 3
	}
	if s.Recent == 0 {
		s.Recent = 4096
	}
	return s
}

// Validate returns an error wrapping nhi.ErrInvalid that names the field out
// of range.
func (s Settings) Validate() error {
	switch {
	case s.MaxFactsAge < 0 || s.MaxFactsAge > 0 && s.MaxFactsAge < time.Second:
		return nhi.Invalidf("decision settings: max_facts_age is %v, want at least 1s", s.MaxFactsAge)
	case s.LogFirst < 0 || s.LogFirst > nhi.MaxSensitivity+1:
		return nhi.Invalidf("decision settings: log_first is %d, want 0 to %d", s.LogFirst, nhi.MaxSensitivity+1)
	case s.Recent < 0 || s.Recent > 1<<20:
		return nhi.Invalidf("decision settings: recent is %d, want 0 to %d", s.Recent, 1<<20)
	}
	return nil
}

// staleSensitivity is the sensitivity from which old facts deny.
const staleSensitivity = 2
