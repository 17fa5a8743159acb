// Package propose turns what identities really did into grants that allow just
// that, and names the grants that nobody needed.
//
// A [Study] is shown decisions, oldest first, one by one ([Study.Add]) and keeps
// who did what on which resource, how often and on how many days. Then
// [Study.Proposal] says which grants would have been enough, which of them are in
// force already, and which permits allowed nothing in all that time.
//
//	decision on record -> was it really done, proven and usual? -> use -> proposal
//
// It proposes and changes nothing: what comes out is to be read by a person,
// tested, and pushed like any other policy. What somebody merely tried teaches
// nothing, nor does what a point only asserts, or reports because it decided by
// itself, nor what was unusual for the identity or done while it was at risk: a
// thief must not be able to write himself a grant by trying often.
package propose

import (
	"cmp"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Settings say from when on use is worth a grant. The zero value takes the
// defaults.
type Settings struct {
	MinUses     uint64 // at least so often; 0 means 2
	MinDays     int    // on at least so many days, in UTC; 0 means 1
	MaxSurprise int    // tenths of a bit; what was more surprising is not usual; 0 means 100
	MaxRisk     int    // what was done at a higher risk is not usual; 0 means 40
}

func (s Settings) withDefaults() Settings {
	s.MinUses, s.MinDays = cmp.Or(s.MinUses, 2), cmp.Or(s.MinDays, 1)
	s.MaxSurprise, s.MaxRisk = cmp.Or(s.MaxSurprise, 100), cmp.Or(s.MaxRisk, 40)
	return s
}

// maxPairs bounds the pairs of identity and resource that are kept; what comes
// after is counted.
const maxPairs = 200_000

// basePermit allows whatever no guard forbids, so it is no grant; noPermit is
// the reason where there is none.
const (
	basePermit = "base-permit"
	noPermit   = "no-permit"
)

// A Grant is what an identity did on a resource.
type Grant struct {
	Identity nhi.ID            `json:"identity"`
	Resource string            `json:"resource"`
	Actions  []nhi.ActionClass `json:"actions"` // in order
	Uses     uint64            `json:"uses"`
	Days     int               `json:"days"` // in UTC on which there was one
	First    time.Time         `json:"first"`
	Last     time.Time         `json:"last"`
	Example  string            `json:"example"` // id of the last decision
	// Granted says that a policy of the operator's allowed all of it already.
	Granted bool `json:"granted"`
}

// A Proposal is what follows from what was seen.
type Proposal struct {
	Decisions uint64    `json:"decisions"` // that were looked at
	Taught    uint64    `json:"taught"`    // that were use
	Tried     uint64    `json:"tried"`     // that were refused: they teach nothing
	Unusual   uint64    `json:"unusual"`   // surprising, or at risk: likewise
	Asserted  uint64    `json:"asserted"`  // about somebody who was not proven to the server: likewise
	Seldom    int       `json:"seldom"`    // pairs of identity and resource below the minimum
	LeftOut   uint64    `json:"left_out"`  // uses beyond the bound on pairs
	From      time.Time `json:"from,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	Grants    []Grant   `json:"grants"` // by identity and resource
	Unused    []string  `json:"unused"` // permits that allowed nothing
}

type pair struct {
	identity nhi.ID
	resource string
}

// A use is what is kept of a pair.
type use struct {
	actions     map[nhi.ActionClass]bool
	uses        uint64
	days        int
	day         int64 // the last one that counted
	first, last time.Time
	example     string
	missing     bool // some of it no policy of the operator's allowed
}

// A Study keeps what it was shown. It is not for concurrent use.
type Study struct {
	set    Settings
	most   int // pairs
	pairs  map[pair]*use
	needed map[string]bool // permits that allowed something
	p      Proposal
}

// New returns a Study that has seen nothing.
func New(s Settings) *Study {
	return &Study{set: s.withDefaults(), most: maxPairs, pairs: map[pair]*use{}, needed: map[string]bool{}}
}

// Add takes a decision. An outline is enough (logbook.Outline).
func (s *Study) Add(d *nhi.Decision) {
	p := &s.p
	p.Decisions++
	if p.From.IsZero() || d.At.Before(p.From) {
		p.From = d.At.UTC()
	}
	if d.At.After(p.Until) {
		p.Until = d.At.UTC()
	}
	done, granted := s.done(d)
	switch {
	case d.Identity == "" || d.Asserted || d.Reported:
		p.Asserted++
	case d.Resource == "" || d.Action == "" || !done:
		p.Tried++
	case d.Surprise > s.set.MaxSurprise || d.Risk > s.set.MaxRisk:
		p.Unusual++
	default:
		s.learn(d, granted)
	}
}

// done reports whether the request was let pass as far as grants go, and
// whether a policy of the operator's did that.
func (s *Study) done(d *nhi.Decision) (done, granted bool) {
	if d.Outcome != nhi.Allow || d.Glass != "" { // an emergency grants nothing for later
		return false, false
	}
	if d.WouldRefuse { // and was let pass by a point that observes
		return len(d.Reasons) == 1 && d.Reasons[0].Policy == noPermit, false
	}
	for i := range d.Reasons {
		if id := d.Reasons[i].Policy; id != basePermit {
			s.needed[id] = true
			granted = true
		}
	}
	return true, granted
}

func (s *Study) learn(d *nhi.Decision, granted bool) {
	u := s.pairs[pair{d.Identity, d.Resource}]
	if u == nil {
		if len(s.pairs) >= s.most {
			s.p.LeftOut++
			return
		}
		u = &use{actions: map[nhi.ActionClass]bool{}, day: -1, first: d.At.UTC()}
		s.pairs[pair{d.Identity, d.Resource}] = u
	}
	s.p.Taught++
	u.actions[d.Action] = true
	u.uses++
	if day := d.At.Unix() / 86400; day > u.day {
		u.day = day
		u.days++
	}
	u.last, u.example = d.At.UTC(), d.ID
	u.missing = u.missing || !granted
}

// Proposal returns what follows. permits are the ids of the operator's permits
// that are in force.
func (s *Study) Proposal(permits []string) *Proposal {
	p := s.p
	p.Grants, p.Unused = []Grant{}, []string{}
	for key, u := range s.pairs {
		if u.uses < s.set.MinUses || u.days < s.set.MinDays {
			p.Seldom++
			continue
		}
		g := Grant{Identity: key.identity, Resource: key.resource, Uses: u.uses, Days: u.days, First: u.first, Last: u.last, Example: u.example, Granted: !u.missing}
		for a := range u.actions {
			g.Actions = append(g.Actions, a)
		}
		slices.Sort(g.Actions)
		p.Grants = append(p.Grants, g)
	}
	slices.SortFunc(p.Grants, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.Resource, b.Resource))
	})
	for _, id := range permits {
		if !s.needed[id] {
			p.Unused = append(p.Unused, id)
		}
	}
	slices.Sort(p.Unused)
	return &p
}
