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
// by [Settings.Actors] and survives restarts by MarshalBinary.
package detect

import (
	"cmp"
	"slices"
	"time"

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
	// Actors bounds how many identities are remembered; 0 means a million.
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
	orDefault(&s.Actors, 1<<20)
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

	now    int64 // latest event time, Unix microseconds
	tick   int64 // number of the latest window
	actors generations
	active []*actor // those with an open window or story
	// What is to be saved: actors whose lives changed, and places in the table
	// that were lost. Places from written on are not in the table yet.
	changed []*actor
	rewrite []uint32
	written int

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
		ledger: NewLedger(s.HalfLife), actors: newGenerations(s.Actors),
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
	a := d.actors.get(ev.Identity)
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
	for _, a := range d.active {
		d.endStories(a, 1<<62)
		d.mark(a)
		a.closeWindow(&a.late)
		a.closeWindow(&a.win)
		a.listed = false
	}
	d.active = d.active[:0]
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
	kept := d.active[:0]
	for _, a := range d.active {
		d.endStories(a, at)
		if a.win != nil && a.win.number+lateness < d.tick {
			d.mark(a)
			a.closeWindow(&a.late)
			a.closeWindow(&a.win)
		}
		if a.listed = a.win != nil || len(a.stories) > 0; a.listed {
			kept = append(kept, a)
		}
	}
	clear(d.active[len(kept):])
	d.active = kept
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
