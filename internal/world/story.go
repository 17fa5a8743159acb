package world

import (
	"math/rand/v2"
	"time"
)

// A Whence is where a thief calls from, seen from the workload whose key was
// stolen.
type Whence string

// The places of thieves.
const (
	OwnNetwork    Whence = "own network"
	SameProvider  Whence = "same provider"
	OtherProvider Whence = "other provider"
	Abroad        Whence = "abroad"
	Household     Whence = "household"
)

// A Deed is what a thief tries.
type Deed string

// The deeds of thieves.
const (
	DoUsual   Deed = "usual"   // what the workload does every day
	DoUnusual Deed = "unusual" // something the workload never does
	DoAdmin   Deed = "admin"   // something only administrators do
)

// A Drift is how the rightful workload changes during a story, as workloads
// do.
type Drift string

// The drifts of workloads.
const (
	NoDrift    Drift = "none"
	NewAddress Drift = "new address" // moved within its provider
	NewVersion Drift = "new version" // the agent's version changed
	WeeklyJob  Drift = "weekly job"  // something it does once a week
)

// A Story is one leak: whose key, who found it, what he does with it, and how
// the workload changes meanwhile.
type Story struct {
	Number   int
	Workload *Workload
	Thief    Thief
	Drift    Drift
	Moved    Network // where the workload calls from after a NewAddress drift
	Agent    string  // its agent after a NewVersion drift
	Seed     uint64
}

// A Thief holds a stolen key.
type Thief struct {
	From  Network
	Where Whence
	Deed  Deed
	Agent string
	Pace  time.Duration // between requests
	Count int
	// Mimic is true when nothing the thief shows differs from the workload: its
	// own network and its usual operations.
	Mimic bool
	whose *Workload
}

var paces = []time.Duration{0, 15 * time.Millisecond, 60 * time.Millisecond, 250 * time.Millisecond}

// Story draws the n-th story of the world.
func (w *World) Story(n int) Story {
	r := rand.New(rand.NewPCG(w.Seed^0x5709, uint64(n)))
	wl := w.Workloads[n%len(w.Workloads)]
	s := Story{Number: n, Workload: wl, Seed: r.Uint64(), Drift: pick(r, []Drift{NoDrift, NewAddress, NewVersion, WeeklyJob}), Moved: wl.Home, Agent: wl.Agent}
	switch s.Drift {
	case NewAddress:
		if moved, ok := w.elsewhere(r, wl.Home, SameProvider); ok && r.IntN(2) == 0 {
			s.Moved = moved
		} else {
			s.Moved.Address = neighbour(r, wl.Home.Address)
		}
	case NewVersion:
		s.Agent = wl.Agent + ".1"
	}
	s.Thief = w.thief(r, wl)
	return s
}

func (w *World) thief(r *rand.Rand, wl *Workload) Thief {
	t := Thief{
		Where: pick(r, []Whence{OwnNetwork, SameProvider, OtherProvider, Abroad, Household}),
		Deed:  pick(r, []Deed{DoUsual, DoUnusual, DoAdmin}), Pace: pick(r, paces), Count: 6 + r.IntN(10), whose: wl,
		Agent: pick(r, []string{"curl/8.5.0", "python-requests/2.32.3", "Go-http-client/1.1", "Mozilla/5.0 (X11; Linux x86_64)", wl.Agent}),
		From:  wl.Home,
	}
	if t.Where == OwnNetwork {
		t.From.Address = neighbour(r, wl.Home.Address)
	} else if from, ok := w.elsewhere(r, wl.Home, t.Where); ok {
		t.From = from
	} else if from, ok := w.elsewhere(r, wl.Home, Abroad); ok {
		t.From, t.Where = from, Abroad
	}
	t.Mimic = t.Where == OwnNetwork && t.Deed == DoUsual
	if t.Mimic {
		t.Agent = wl.Agent // a mimic looks like the workload in every way
	}
	return t
}

// Work draws the workload's i-th request in the story: where it calls from,
// what it calls and on which path. It drifts as the story says.
func (s *Story) Work(r *rand.Rand, i int) (Network, Route, string) {
	from := s.Workload.Home
	if s.Drift == NewAddress && i%2 == 1 {
		from = s.Moved
	}
	if s.Drift == WeeklyJob && i%3 == 1 {
		route, target := s.Workload.Weekly(r)
		return from, route, target
	}
	route, target := s.Workload.Usual(r)
	return from, route, target
}

// Next draws the thief's next request.
func (t *Thief) Next(r *rand.Rand) (Route, string) {
	var route Route
	switch t.Deed {
	case DoUsual:
		route = t.whose.usual(r)
	case DoAdmin:
		route = t.whose.unusual(r, true)
	default:
		route = t.whose.unusual(r, false)
	}
	return route, route.Target(r)
}

// Mimic returns the thief who sits on the workload's own host and does only
// what it does.
func (s *Story) Mimic() Thief {
	return Thief{From: s.Workload.Home, Where: OwnNetwork, Deed: DoUsual, Agent: s.Workload.Agent, Pace: 20 * time.Millisecond, Count: 6, Mimic: true, whose: s.Workload}
}
