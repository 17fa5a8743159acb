// Package usage says under which heading an event is counted: which identity,
// in which environment, called which service, in which region and under which
// data protection law, with which outcome, in which hour. It also says what of
// a decision is a refusal, and of which kind.
//
// Where something happened is known in three ways, and a count says in which
// (Basis): somebody labelled the resource (exact), the provider names the region
// (region), or it is an estimate from the caller's address (address).
//
// Words come from outside. They are bounded here, and [Most] bounds how many
// headings one identity can open in an hour: what goes beyond is counted under
// [Other]. So a caller that invents services costs no more than one that does
// not.
package usage

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
)

// A Basis says how a jurisdiction is known.
type Basis string

// The bases. The empty one means that no jurisdiction is known.
const (
	Exact     Basis = "exact"   // somebody labelled the resource with it
	ByRegion  Basis = "region"  // the region's country has it
	ByAddress Basis = "address" // an estimate: the caller's address seems to be in a country that has it
)

// A Key is a heading: all that a count is by.
type Key struct {
	Start        time.Time // of the hour, UTC
	Identity     nhi.ID    // empty: nobody proven
	Environment  string
	Service      string
	Region       string
	Jurisdiction string
	Basis        Basis
	Outcome      string // allow, step-up or deny of our decisions; success or failure of a provider's
	Team         string // in questions and answers: who answers for the identity today; it is not counted by
}

// Other is the service, and the region, of what goes beyond Most.
const Other = "other"

// Most is how many services, and how many regions of one service, one identity
// opens in an hour.
const Most = 64

// maxWord bounds a word, in bytes.
const maxWord = 100

// oldest is how old an event may be to be counted in its own hour.
const oldest = 400 * 24 * time.Hour

// A Counter turns events into headings. All it asks answers from memory.
type Counter struct {
	Identity func(nhi.ID) (nhi.Identity, bool)
	Resource func(string) (nhi.Resource, bool)
	Country  func(netip.Addr) string // ISO 3166-1 alpha-2, or empty
}

// Key returns the heading of an event. What a point or another account merely
// asserts is counted under nobody.
func (c *Counter) Key(ev *nhi.Event) Key {
	k := Key{Start: hour(ev), Service: word(ev.Service), Region: word(ev.Region), Outcome: outcome(ev)}
	if !ev.Asserted {
		k.Identity = ev.Identity
		if i, ok := c.Identity(ev.Identity); ok {
			k.Environment = i.Environment.Name
		}
	}
	provider := ev.Provider
	if ev.Format == "decision" {
		r, known := c.Resource(ev.Resource)
		k.Service, provider = word(ev.Resource), ""
		switch {
		case known && r.Service != "":
			k.Service = word(r.Service)
		case !known && ev.Resource != "":
			k.Service = Other // a name that nobody gave, so anybody can invent it
		}
		k.Region = word(r.Region)
		byRegion := geo.RegionJurisdiction(provider, r.Region)
		if r.Jurisdiction != "" && r.Jurisdiction != byRegion {
			k.Jurisdiction, k.Basis = word(r.Jurisdiction), Exact
			return k
		}
	}
	if j := geo.RegionJurisdiction(provider, k.Region); j != "" {
		k.Jurisdiction, k.Basis = j, ByRegion
		return k
	}
	if ev.Address.IsValid() {
		if j := geo.Jurisdiction(c.Country(ev.Address)); j != "" {
			k.Jurisdiction, k.Basis = j, ByAddress
		}
	}
	return k
}

// hour is when the event happened, as far as that can be believed: not after it
// arrived, and not before anything that is kept.
func hour(ev *nhi.Event) time.Time {
	at := ev.Time
	if !ev.Arrived.IsZero() && (at.After(ev.Arrived) || at.Before(ev.Arrived.Add(-oldest))) {
		at = ev.Arrived
	}
	return at.UTC().Truncate(time.Hour)
}

func outcome(ev *nhi.Event) string {
	switch {
	case ev.Format == "decision" && (ev.Outcome == nhi.Allow || ev.Outcome == nhi.StepUp):
		return string(ev.Outcome)
	case ev.Format == "decision":
		return string(nhi.Deny)
	case ev.Status == nhi.Success:
		return string(nhi.Success)
	}
	return string(nhi.Failure)
}

// Refused are the outcomes of those who did not get what they asked for.
var Refused = []string{string(nhi.Deny), string(nhi.StepUp), string(nhi.Failure)}

// word bounds a word and takes out what could move a cursor or turn text.
func word(s string) string {
	clean := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			clean = false
			break
		}
	}
	if !clean {
		s = strings.Map(func(r rune) rune {
			if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
				return ' '
			}
			return r
		}, s)
	}
	if len(s) <= maxWord {
		return s
	}
	cut := maxWord
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// A Row is one line of an answer: what it was asked by is set, the rest is not.
type Row struct {
	Key
	Count   uint64
	Refused uint64 // of Count: deny, step-up and failure
}

// A Dimension is what a question may be by.
type Dimension string

// The dimensions.
const (
	Identity     Dimension = "identity"
	Environment  Dimension = "environment"
	Service      Dimension = "service"
	Region       Dimension = "region"
	Jurisdiction Dimension = "jurisdiction" // and its basis
	Outcome      Dimension = "outcome"
	Team         Dimension = "team" // of the identity, as it is today
)

// Dimensions are all of them.
var Dimensions = []Dimension{Identity, Environment, Service, Region, Jurisdiction, Outcome, Team}

// A Query asks for counts. Zero fields do not narrow.
type Query struct {
	From, To time.Time     // To excluded; both cut to whole buckets
	Bucket   time.Duration // an hour or a day
	By       []Dimension
	Only     Key        // whose set fields narrow; Start is ignored
	Within   nhi.Scopes // whose identities; nil: everybody's, and nobody's
	After    *Key       // only rows behind this one, in the order of its fields; nil: from the beginning
	Limit    int
}

// Wants reports whether the question is by a dimension.
func (q *Query) Wants(d Dimension) bool { return slices.Contains(q.By, d) }

// Check returns an error wrapping nhi.ErrInvalid that says what is wrong.
func (q *Query) Check() error {
	switch {
	case q.Bucket != time.Hour && q.Bucket != 24*time.Hour:
		return nhi.Invalidf("bucket: want hour or day")
	case !q.From.Before(q.To):
		return nhi.Invalidf("from is not before to")
	case q.To.Sub(q.From)/q.Bucket > 10_000:
		return nhi.Invalidf("from and to are more than 10000 buckets apart; ask for days, or for less")
	}
	for i, d := range q.By {
		if !slices.Contains(Dimensions, d) || slices.Contains(q.By[:i], d) {
			return nhi.Invalidf("by: %.20q: want identity, environment, service, region, jurisdiction, outcome and team, each at most once", string(d))
		}
	}
	return nil
}
