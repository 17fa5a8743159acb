package detect

import (
	"math/bits"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// An actor is what is remembered about one identity besides its page.
type actor struct {
	life
	win     *windowState // nil when the identity was quiet for a while
	late    *windowState // of the past, while events of the past arrive
	past    int          // events of the past since the actor was last ahead by an hour
	stories []*story
	listed  bool   // in Detector.active
	dirty   bool   // in Detector.changed
	place   int32  // in the table of actors; -1 when the actor is forgotten
	round   uint32 // of its generation
}

// A life is the part of an actor that lasts. It holds no pointers and is
// saved as it is.
type life struct {
	Key        uint64  // of the identity
	First      int64   // time of the first event
	Last       int64   // time of the latest event
	Longest    int64   // longest pause so far
	Human      int64   // time of the latest sign of a person
	Day        int64   // number of the day that DayNew counts
	Habits     int64   // time that the usual numbers are reckoned to
	Events     uint32  // ever
	Static     uint32  // events with a static key
	Federated  uint32  // events with a short-lived credential
	StaticLast uint32  // value of Federated at the last static event
	Consoles   uint32  // events of a console or browser
	Days       uint32  // days with activity
	Windows    uint32  // windows with activity
	Signs      uint32  // signs of a person, as a set
	DayNew     float32 // new actions today
	DayOld     float32 // new actions yesterday
	Pending    float32 // becomes usual when the next day with new actions is over
	Usual      [habits]float32
	Failed     bitmap4 // actions that have failed in windows before
	Told       uint8   // 1: was reported as a shadow
}

// The habits of which the usual largest number in a window is kept.
const (
	habitActions   = iota // distinct actions
	habitResources        // distinct resources
	habitDenied           // refused calls
	habitNew              // new actions in a day
	habits
)

// A windowState counts within one window.
type windowState struct {
	number      int64
	denied      int
	actions     bitmap4  // of 256
	resources   bitmap16 // of 1024
	fresh       bitmap4  // actions never seen before
	failed      bitmap4  // actions that failed
	established bool
	scopes      []*scope // by credential; most windows have none
}

// A scope is the evidence of one window about one credential: what a thief
// does with one key of an identity is not held against its other keys.
type scope struct {
	credential nhi.CredentialID
	loudest    float64 // bits of the most surprising single event
	evidence   [dimensions]hit
	first      int64 // time of the first unusual event
	cited      []string
	unusual    int
}

// maxScopes bounds the credentials of one identity that are told apart.
const maxScopes = 8

// scope returns the evidence about a credential, or nil if there is none and
// make is false.
func (w *windowState) scope(c nhi.CredentialID, make bool) *scope {
	for _, s := range w.scopes {
		if s.credential == c {
			return s
		}
	}
	if !make {
		return nil
	}
	if len(w.scopes) >= maxScopes {
		w.scopes = w.scopes[1:]
	}
	s := &scope{credential: c}
	w.scopes = append(w.scopes, s)
	return s
}

type (
	bitmap4  [4]uint64
	bitmap16 [16]uint64
)

// set sets the bit of a hash and reports whether it was clear.
func (b *bitmap4) set(h uint64) bool {
	i, m := h>>6&3, uint64(1)<<(h&63)
	was := b[i]&m != 0
	b[i] |= m
	return !was
}

func (b *bitmap4) has(h uint64) bool { return b[h>>6&3]&(1<<(h&63)) != 0 }

func (b *bitmap4) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

func (b *bitmap16) set(h uint64) bool {
	i, m := h>>6&15, uint64(1)<<(h&63)
	was := b[i]&m != 0
	b[i] |= m
	return !was
}

func (b *bitmap16) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// lateness is how many windows an event may be late and still count in the
// window that is open: logs are late by a quarter of an hour before anybody
// worries.
const lateness = 3

// window returns the actor's window for an event at at. Events of the past,
// such as those of another region's files that are read one after the other,
// have a window of their own.
func (d *Detector) window(a *actor, at int64) *windowState {
	if !a.listed {
		a.listed = true
		d.active = append(d.active, a)
	}
	number := at / window
	switch {
	case a.win == nil:
		a.win = &windowState{number: number}
	case number > a.win.number:
		a.closeWindow(&a.win)
		a.win = &windowState{number: number}
	case number < a.win.number-lateness:
		if a.late != nil && a.late.number != number {
			a.closeWindow(&a.late)
		}
		a.past++
		if a.late == nil {
			a.late = &windowState{number: number}
		}
		return a.late
	}
	return a.win
}

// closeWindow makes what was counted in a window part of the habits, unless
// the window was part of a story: an intruder must not teach us.
func (a *actor) closeWindow(which **windowState) {
	w := *which
	if *which = nil; w == nil {
		return
	}
	a.Windows++
	for i := range a.Failed {
		a.Failed[i] |= w.failed[i]
	}
	if a.Failed.count() > 128 {
		a.Failed = w.failed // so full that everything would be in it
	}
	if len(a.stories) > 0 {
		return
	}
	scale := a.fadeHabits((w.number + 1) * window)
	for i, n := range [...]int{w.actions.count(), w.resources.count(), w.denied} {
		a.Usual[i] = max(a.Usual[i]*scale, float32(n))
	}
	a.Usual[habitNew] = max(a.Usual[habitNew]*scale, 0)
}

// fadeHabits returns how much the usual numbers have faded since they were
// last reckoned, with a half-life of sixty days: long, for the sake of jobs
// that run once a quarter.
func (a *actor) fadeHabits(at int64) float32 {
	if a.Habits == 0 || at <= a.Habits {
		a.Habits = max(a.Habits, at)
		return 1
	}
	days := float32(at-a.Habits) / float32(day)
	a.Habits = at
	return 1 / (1 + days*0.0116) // close to 2^(-days/60) over a few weeks, and slower later
}

// remember takes the event into the life of the actor.
func (a *actor) remember(ev *nhi.Event, at int64) {
	if a.Events == 0 {
		a.First, a.Last = at, at
		a.Days = 1
	}
	if at > a.Last {
		a.Longest = max(a.Longest, at-a.Last)
		if at-a.Last > hour {
			a.past = 0
		}
		if at/day != a.Last/day {
			a.Days++
		}
		a.Last = at
	}
	a.Events = saturate(a.Events)
	switch credentialType(ev) {
	case static:
		a.Static = saturate(a.Static)
		a.StaticLast = a.Federated
	case short:
		a.Federated = saturate(a.Federated)
	}
	if ev.Principal.Interactive {
		a.Consoles = saturate(a.Consoles)
	}
}

func saturate(n uint32) uint32 {
	if n == 1<<32-1 {
		return n
	}
	return n + 1
}

// A type of credential as far as an event tells it.
type credentialKind uint8

const (
	untold credentialKind = iota
	static                // a key that lives until somebody deletes it
	short                 // a token or session that dies by itself
)

func credentialType(ev *nhi.Event) credentialKind {
	p := &ev.Principal
	switch {
	case p.Type == "api-key" || p.Type == "apikey":
		return static
	case p.Temporary || p.Issuer != "" || p.Type == "token" || p.Type == "oidc":
		return short
	case p.KeyID != "":
		return static
	}
	return untold
}

// generations remembers actors within a bound: when the younger half is full,
// what was not used since the last time is forgotten.
type generations struct {
	size       int
	young, old map[uint64]*actor

	round uint32  // number of the young generation; the old one's is less by one
	count int     // of places in the table of actors
	free  []int32 // places that nobody has
}

func newGenerations(size int) generations {
	return generations{size: max(size/2, 1), young: map[uint64]*actor{}, old: map[uint64]*actor{}, round: firstRound}
}

// keyOf shortens an identity's id, which is a digest, to half of it.
func keyOf(id nhi.ID) uint64 { return surprise.Hash(string(id)) }

// get returns the actor of an identity, a new one if it is unknown.
func (g *generations) get(id nhi.ID) *actor {
	key := keyOf(id)
	if a, ok := g.young[key]; ok {
		return a
	}
	a, ok := g.old[key]
	if ok {
		delete(g.old, key)
	} else {
		a = &actor{life: life{Key: key}, place: -1}
	}
	g.put(a)
	if !ok {
		g.settle(a)
	}
	return a
}

func (g *generations) put(a *actor) {
	if len(g.young) >= g.size {
		g.leave(g.old)
		g.old, g.young = g.young, make(map[uint64]*actor, len(g.young)/4)
		g.round++
	}
	a.round = g.round
	g.young[a.Key] = a
}
