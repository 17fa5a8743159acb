// Package surprise remembers what is normal for one identity and says, in
// bits, how unlikely a new event is under that memory.
//
// The memory is a [Page]: 2 KB of flat, pointer-free words, the same size for
// an identity seen ten times and for one seen ten billion times. One goroutine
// learns into a page while any number of others score against it without a
// lock. An event is reduced to an [Observation], a handful of hashes; the page
// never holds a name or an address.
//
// # What a bit means
//
// Each feature of an event earns -log2 P(value | this identity) bits. P is a
// probability per five-minute window in which the identity is active, not per
// event: a busy identity would otherwise need thirty bits to say what a quiet
// one says in ten. A month has 8,640 windows, so 13 bits is what chance alone
// brings about once a month to an identity that never rests. That is the
// threshold this scale is made for.
//
// Three rules keep the sum honest.
//
//   - A value that was seen before earns little ([knownCap]): rare is not new.
//   - A value never seen earns what novelty is worth to *this* identity: the
//     page learns how often new values appear. A workload that scales out to
//     new networks every hour earns two bits for one more; a key that has
//     lived at one network for a month earns sixteen. What the identity's
//     peers do counts as well (see [Prior]), never more than a constant share,
//     so that a long history cannot make an ordinary value look impossible.
//   - Features that move together count once: of network, autonomous system
//     and country only the coarsest new one, and of action and class alike.
//     And each feature is measured above its own running mean, so that an
//     identity that is diverse by nature does not simmer near the alarm.
//
// A flood is judged apart: the number of recent calls against the largest of
// what the last day, the same hour of the week and the identity's own peak
// lead to expect, as a tail of the negative binomial distribution with shape
// two. Three times the peak is quiet, ten times is not, at any scale.
//
// Time comes from the observations alone, so that a replay of the same events
// makes the same page, bit for bit.
package surprise

import (
	"math"
	"net/netip"
	"time"
)

// A Feature is one thing about an event that is learned and scored.
type Feature uint8

// The features. Network to Region are categories; the page keeps their most
// frequent values.
const (
	Network Feature = iota // /24 or /48 of the caller
	ASN                    // autonomous system of the caller
	Country                // country of the caller
	Agent                  // family of the user agent
	Action                 // what was done
	Class                  // the class of what was done: read, write, admin, …
	Region                 // cloud region that was called
	Hour                   // hour of the week, UTC
	Denied                 // the call was refused
	Rate                   // calls within minutes

	Features = 10 // how many there are

	// Categories is the first feature that is no category: those below it
	// have values.
	Categories Feature = 7

	categories = int(Categories)
)

var featureNames = [Features]string{"network", "asn", "country", "agent", "action", "class", "region", "hour", "denied", "rate"}

// String returns the feature's name as explanations use it.
func (f Feature) String() string {
	if int(f) >= Features {
		return "unknown"
	}
	return featureNames[f]
}

// An Observation is what a page learns of one event. Values are hashes (see
// Hash); 0 means that the event does not have the feature, and it is neither
// learned nor scored. Make one with [Call.Observation], so that the side that
// decides and the side that learns speak of the same values.
type Observation struct {
	At      int64 // Unix microseconds, from the event; never read from a clock here
	Network uint64
	ASN     uint64
	Country uint64
	Agent   uint64
	Action  uint64
	Class   uint64
	Region  uint64
	Denied  bool
}

// Value returns the hash of a category's value; 0 for the other features.
func (o *Observation) Value(f Feature) uint64 {
	switch f {
	case Network:
		return o.Network
	case ASN:
		return o.ASN
	case Country:
		return o.Country
	case Agent:
		return o.Agent
	case Action:
		return o.Action
	case Class:
		return o.Class
	case Region:
		return o.Region
	}
	return 0
}

// A FeatureScore is the share of one feature in a Score.
type FeatureScore struct {
	Tenths int16 // surprise in tenths of a bit; the shares add up to the score unless that was capped
	New    bool  // the identity never showed this value
}

// A Score is how surprising an observation is under a page. Its positive
// facts (NewNetwork and the like) are true only when the page is established:
// nothing is new to an identity that is itself new.
type Score struct {
	Tenths        int // surprise in tenths of a bit, over all features
	Features      [Features]FeatureScore
	Established   bool        // the page has seen enough to be relied on
	RatePerMinute float64     // calls a minute over the last minutes, this one included
	Seen          Observation // what was scored

	// NewNetwork is false, although the network was never seen, for an
	// identity that by habit moves between the networks of this same system.
	NewNetwork bool
	NewASN     bool
	NewCountry bool
	NewAgent   bool
	NewAction  bool
	NewClass   bool
}

// Bits returns the surprise in bits.
func (s *Score) Bits() float64 { return float64(s.Tenths) / 10 }

// Top returns the features with the most surprise, the largest first, those
// without any left out. Ties keep the order of the features.
func (s *Score) Top(n int) []Feature {
	var out []Feature
	for len(out) < n {
		best, tenths := Feature(0), int16(0)
		for f := range Feature(Features) {
			if t := s.Features[f].Tenths; t > tenths && !contains(out, f) {
				best, tenths = f, t
			}
		}
		if tenths == 0 {
			break
		}
		out = append(out, best)
	}
	return out
}

func contains(list []Feature, f Feature) bool {
	for _, g := range list {
		if g == f {
			return true
		}
	}
	return false
}

// Hash maps text to the number a page stores. It is stable for ever (pages
// outlive the process), has no seed, allocates nothing, and never returns 0.
// It does not resist somebody who looks for collisions: they would make two
// of their own values count as one, which only hides them from themselves.
func Hash(s string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return finish(h)
}

// HashPair returns Hash(a + " " + b) without making the string.
func HashPair(a, b string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(a) {
		h = (h ^ uint64(a[i])) * fnvPrime
	}
	h = (h ^ ' ') * fnvPrime
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * fnvPrime
	}
	return finish(h)
}

// HashNumber hashes a number within a namespace: two spaces never share
// values.
func HashNumber(space string, n uint64) uint64 {
	h := uint64(fnvOffset)
	for i := range len(space) {
		h = (h ^ uint64(space[i])) * fnvPrime
	}
	return finish(mix(h ^ mix(n+1)))
}

// HashPrefix hashes a network; the zero Prefix hashes to 0, absent.
func HashPrefix(p netip.Prefix) uint64 {
	if !p.IsValid() {
		return 0
	}
	b := p.Addr().As16()
	h := uint64(fnvOffset)
	for _, c := range b {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return finish((h ^ uint64(p.Bits())) * fnvPrime)
}

// FNV-1a, 64 bits; its weak high bits are repaired by finish.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func finish(h uint64) uint64 {
	if h = mix(h); h == 0 {
		return 1
	}
	return h
}

// mix spreads every input bit over all output bits.
func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// Settings say when a page is established. They are kept in the page.
type Settings struct {
	// MinEvents is the number of learned events it takes. 0 means 30.
	MinEvents int `yaml:"min_events" unit:"events"`
	// MinSpan is the time it takes between the first and the last learned
	// event, in whole seconds. 0 means one hour, below 0 none.
	MinSpan time.Duration `yaml:"min_span"`
}

const (
	defaultMinEvents = 30
	defaultMinSpan   = time.Hour
)

// WithDefaults returns s with what is zero at its default.
func (s Settings) WithDefaults() Settings {
	if s.MinEvents <= 0 {
		s.MinEvents = defaultMinEvents
	}
	switch {
	case s.MinSpan == 0:
		s.MinSpan = defaultMinSpan
	case s.MinSpan < 0:
		s.MinSpan = 0
	}
	return s
}

// Word is what a page keeps of its settings: pages with different words were
// configured differently.
func (s Settings) Word() uint64 { return s.word() }

// word packs settings as the page keeps them; 0 stands for the defaults.
func (s Settings) word() uint64 {
	s = s.WithDefaults()
	events := min(uint64(s.MinEvents), math.MaxUint32)
	span := min(uint64(s.MinSpan/time.Second), math.MaxUint32)
	return events<<32 | span
}
