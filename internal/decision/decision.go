// Package decision answers questions: may this identity do that, here and now?
//
// It has three parts. [Facts] holds everything a decision reads, in memory,
// as immutable snapshots that follow one sequence of changes. [Service] takes
// one snapshot per question, fills in what is known of it, has the behaviour
// of the identity judged, asks policy, and applies the mode of the enforcement
// point. [Log] makes every answer a record: in the journal, in a ring of recent
// decisions, in counters.
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
// Because one snapshot serves a whole question, and because Apply returns only
// when every later snapshot has its changes, no allow ever carries a
// generation below a revocation that was acknowledged before it was asked.
package decision

import (
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

// Journal keeps records for good. Append returns when the record is durable,
// AppendAsync when it is in line. Both copy the record.
type Journal interface {
	Append(record []byte) error
	AppendAsync(record []byte) error
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
	Recent int `yaml:"recent" json:"recent"`
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

// assumedResource is the sensitivity of a resource that nobody named.
var assumedResource = nhi.AssumedSensitivity(nhi.ClassUnknown)
