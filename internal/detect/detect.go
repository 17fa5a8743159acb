// Package detect turns scored events into findings for people and into risk
// for decisions.
//
// Three kinds of evidence meet here. Surprise says, in bits, how unlikely an
// event is under what its identity usually does (package surprise). Rules
// know what is bad whatever is usual: a leaked or dead credential in use,
// logging switched off, a person's tools in the hands of a machine's identity.
// Habits, kept here, say what one event cannot: how many different things an
// identity touches within minutes, how long it slept, which kind of
// credential it holds.
//
// All of it is counted in bits and judged per window of five minutes, not per
// event: a month has 8,640 windows, so 13 bits is what chance brings once a
// month and 16.7 what it brings once a year. Evidence of one dimension (where
// from, with what, doing what, how much, ...) counts once, by its strongest
// piece, because a network, its provider and its country change together;
// dimensions add up.
//
// What crosses the threshold becomes one story: everything unusual that an
// identity does with one credential, until it is quiet for two hours, is
// one [nhi.Finding] under one id, which grows while the story goes on. An
// analyst reads one sentence, not ten alerts.
//
// A [Detector] takes time only from events, so that a replay finds what live
// operation would have found. It never acts: risk is an attribute that policy
// may read, and response is somebody else's decision. Its memory is bounded
// by [Settings.Actors].
//
// What is remembered of an identity in the long run, its life, is a row of a
// table on disk (see table.go). In memory is who acts just now, and what is not
// saved yet; of who is quiet there is a key of eight bytes and its place in the
// table. A row is read, not mapped: a disk that fails is an error in the log and a
// life that begins anew.
package detect

import (
	"cmp"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/checkpoint/places"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// Settings are the numbers of a Detector. The zero value means the defaults.
type Settings struct {
	// Low, Medium and High are the bits within one window from which a story
	// is told at that severity. 0 means 13, 15 and 16.7: by chance one a month
	// and one a year for an identity that never rests.
	Low    float64 `yaml:"low_bits"`
	Medium float64 `yaml:"medium_bits"`
	High   float64 `yaml:"high_bits"`
	// Quiet is how long an identity must be quiet to end a story; 0 means two
	// hours. Longest bounds a story; 0 means a day.
	Quiet   time.Duration `yaml:"quiet"`
	Longest time.Duration `yaml:"longest"`
	// Actors bounds how many identities are remembered, and half of it are for
	// certain: those that acted last. 0 means two million.
	Actors int `yaml:"actors"`
	// HalfLife is how long it takes risk to fade to half; 0 means a day.
	HalfLife time.Duration `yaml:"risk_half_life"`
}

func (s Settings) withDefaults() Settings {
	orDefault(&s.Low, 13)
	orDefault(&s.Medium, 15)
	orDefault(&s.High, 16.7)
	orDefault(&s.Quiet, 2*time.Hour)
	orDefault(&s.Longest, 24*time.Hour)
	orDefault(&s.Actors, 1<<21)
	orDefault(&s.HalfLife, 24*time.Hour)
	return s
}

func orDefault[T float64 | time.Duration | int](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// IdentityFacts are what the inventory knows about an identity.
type IdentityFacts struct {
	Kind       nhi.Kind
	Name       string
	Owner      string
	Production bool
	Admin      bool     // holds a grant of everything
	Shadow     bool     // known only from its activity
	Reach      []string // what it can touch, the most sensitive first
}

// CredentialFacts are what the inventory knows about a credential.
type CredentialFacts struct {
	State   nhi.CredentialState
	Leaked  bool // by a confirmed sighting
	Expires time.Time
}

// Inventory answers from memory: it is asked about every event. ok is false
// for what is unknown.
type Inventory interface {
	Identity(nhi.ID) (facts IdentityFacts, ok bool)
	Credential(nhi.CredentialID) (facts CredentialFacts, ok bool)
}

// Explainer puts a score into words: for each surprising feature what is
// usual and what was seen. It is asked only about the few events that matter.
type Explainer interface {
	Explain(ev *nhi.Event, score *surprise.Score) []nhi.Feature
}

// ExplainFunc is a function that is an Explainer.
type ExplainFunc func(*nhi.Event, *surprise.Score) []nhi.Feature

// Explain calls f.
func (f ExplainFunc) Explain(ev *nhi.Event, score *surprise.Score) []nhi.Feature { return f(ev, score) }

// A Verdict is what a Detector says to one event.
type Verdict struct {
	// Findings are those that are new or have changed, by the event itself or
	// by the time that passed. The same id replaces what was said before.
	Findings []nhi.Finding
	// Bits is all the evidence in the identity's current window.
	Bits float64
}

// A Detector follows a stream of events. It is not for concurrent use; split
// a stream by identity to use several.
type Detector struct {
	set     Settings
	inv     Inventory
	explain Explainer
	rules   *ruleSet
	ledger  *Ledger

	now     int64 // latest event time, Unix microseconds
	tick    int64 // number of the latest window
	actors  *places.Places[actor]
	telling []*actor // those with an open story
	swept   int      // the place that was looked at last for a window that is over
	unswept int      // how many to look at
	// What is to be saved: actors whose lives changed, and places in the table
	// that were lost. Places from written on are not in the table yet.
	changed []*actor
	rewrite []uint32
	written int

	table   io.ReaderAt // nil: all lives are in memory
	row     [rowSize]byte
	damaged atomic.Int64

	// Of the event at hand:
	hits      []hit
	explained []nhi.Feature
	findings  []nhi.Finding
}

// New returns a Detector. inv may be nil: then nothing is known about
// identities and credentials, and nobody is a shadow. explain may be nil:
// then features have no "usual".
func New(s Settings, inv Inventory, explain Explainer) *Detector {
	s = s.withDefaults()
	return &Detector{
		set: s, inv: inv, explain: explain, rules: builtin(),
		ledger: NewLedger(s.HalfLife), actors: newPlaces(s.Actors),
	}
}

// Ledger returns the risk that follows from the findings so far.
func (d *Detector) Ledger() *Ledger { return d.ledger }

const (
	minute = int64(time.Minute / time.Microsecond)
	hour   = 60 * minute
	day    = 24 * hour
	window = 5 * minute
)

// Observe judges an attributed event by its score, which is that of the page
// before the event was learned. The returned findings are valid until the next
// call.
func (d *Detector) Observe(ev *nhi.Event, score *surprise.Score) Verdict {
	d.findings = d.findings[:0]
	if ev.Identity == "" || ev.Asserted || Unproven(ev) {
		return Verdict{}
	}
	at := clock(ev)
	d.advance(at)
	d.sweep()
	a := d.actor(ev.Identity)
	d.mark(a)
	w := d.window(a, at)
	d.hits, d.explained = d.hits[:0], nil
	d.judgeSurprise(ev, score, a, w)
	d.judgeRules(ev, score, a)
	d.judgeHuman(ev, score, a, at)
	d.judgeHabits(ev, score, a, w, at)
	a.remember(ev, at)
	v := d.fuse(ev, a, w, at)
	d.shadow(ev, a, at)
	v.Findings = d.findings
	return v
}

// Flush ends all stories and returns those that changed since they were last
// told. Call it when no more events will come.
func (d *Detector) Flush() []nhi.Finding {
	d.findings = d.findings[:0]
	for _, a := range d.telling {
		d.endStories(a, 1<<62)
		a.more.listed = false
	}
	d.telling = d.telling[:0]
	for place := range int32(d.actors.Count()) {
		if a := d.actors.In(place); a != nil && a.win.open {
			d.close(a)
		}
	}
	inOrder(d.findings)
	return d.findings
}

// inOrder sorts findings that came up together, so that a replay tells them
// in the same order.
func inOrder(f []nhi.Finding) {
	slices.SortFunc(f, func(a, b nhi.Finding) int {
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen), cmp.Compare(a.ID, b.ID))
	})
}

// clock returns the event's time in Unix microseconds, never later than five
// minutes after its arrival: a source cannot send the detector into the
// future.
func clock(ev *nhi.Event) int64 {
	at := ev.Time.UnixMicro()
	if !ev.Arrived.IsZero() {
		at = min(at, ev.Arrived.Add(5*time.Minute).UnixMicro())
	}
	return max(0, min(at, 1<<52))
}

// advance moves time on and looks after what has become old.
func (d *Detector) advance(at int64) {
	if at <= d.now {
		return
	}
	d.now = at
	if at/window == d.tick {
		return
	}
	d.tick = at / window
	d.unswept = d.actors.Count()
	kept := d.telling[:0]
	for _, a := range d.telling {
		d.endStories(a, at)
		if a.win.due(d.tick) {
			d.close(a)
		}
		if a.more.listed = len(a.more.stories) > 0; a.more.listed {
			kept = append(kept, a)
		} else {
			d.rest(a)
		}
	}
	clear(d.telling[len(kept):])
	d.telling = kept
	inOrder(d.findings)
	if d.tick%288 == 0 {
		d.ledger.Sweep(time.UnixMicro(at))
	}
}

// Unproven reports whether an event says only that somebody named an identity
// without proving to be it. Such an event changes no risk, no baseline and no
// state: else anybody could make trouble for an identity by its public id.
func Unproven(ev *nhi.Event) bool {
	if ev.Status != nhi.Failure {
		return false
	}
	if ev.Operation == "ConsoleLogin" {
		return true
	}
	switch ev.Error {
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "AuthFailure",
		"InvalidAccessKeyId", "Failed authentication", "InvalidIdentityToken", "IncompleteSignature",
		"MissingAuthenticationToken", "InvalidSignatureException", "unauthenticated":
		return true
	}
	// A caller of AssumeRoleWith… is who its token says only once that was accepted.
	return ev.Principal.Type == "WebIdentityUser" || ev.Principal.Type == "SAMLUser"
}
