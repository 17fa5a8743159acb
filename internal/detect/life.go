package detect

import (
	"encoding/binary"
	"math"

	"github.com/muster-id/muster/internal/nhi"
)

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
			a.past = false
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

// append appends a life as it lies in its table: its fields in their order,
// little endian.
func (l *life) append(b []byte) []byte {
	le := binary.LittleEndian
	for _, v := range [...]uint64{l.Key, uint64(l.First), uint64(l.Last), uint64(l.Longest), uint64(l.Human), uint64(l.Day), uint64(l.Habits)} {
		b = le.AppendUint64(b, v)
	}
	for _, v := range [...]uint32{l.Events, l.Static, l.Federated, l.StaticLast, l.Consoles, l.Days, l.Windows, l.Signs} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range [...]float32{l.DayNew, l.DayOld, l.Pending, l.Usual[0], l.Usual[1], l.Usual[2], l.Usual[3]} {
		b = le.AppendUint32(b, math.Float32bits(v))
	}
	for _, v := range l.Failed {
		b = le.AppendUint64(b, v)
	}
	return append(b, l.Told)
}

// decode reads what append wrote.
func (l *life) decode(b []byte) {
	le := binary.LittleEndian
	b = b[:lifeSize:lifeSize]
	l.Key = le.Uint64(b)
	for i, v := range [...]*int64{&l.First, &l.Last, &l.Longest, &l.Human, &l.Day, &l.Habits} {
		*v = int64(le.Uint64(b[8+8*i:]))
	}
	for i, v := range [...]*uint32{&l.Events, &l.Static, &l.Federated, &l.StaticLast, &l.Consoles, &l.Days, &l.Windows, &l.Signs} {
		*v = le.Uint32(b[56+4*i:])
	}
	for i, v := range [...]*float32{&l.DayNew, &l.DayOld, &l.Pending, &l.Usual[0], &l.Usual[1], &l.Usual[2], &l.Usual[3]} {
		*v = math.Float32frombits(le.Uint32(b[88+4*i:]))
	}
	for i := range l.Failed {
		l.Failed[i] = le.Uint64(b[116+8*i:])
	}
	l.Told = b[148]
}
