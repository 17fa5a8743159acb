// Package baseline learns what is normal for each identity.
//
// A [Learner] owns one page (see package surprise) per identity and feeds it
// with events. It scores an event before it learns it, and learns only what
// may teach:
//
//   - the call succeeded, and was allowed if it was one of our own decisions:
//     what was refused says nothing about what is normal, and a thief whose
//     requests are refused must not wear out the workload's allowance;
//   - it was not merely asserted by a point, and its source may testify about
//     the account (Settings.MayTestify);
//   - it scored below the threshold. What scored above is quarantined: it
//     becomes normal when it comes back on three different days, or when
//     somebody confirms it. A first use by a thief does not become the
//     thief's alibi for the second.
//
// Two more guards stand against patience: one identity learns only so much
// that is new in a day (Settings.NewPerDay), and the page itself bounds how
// fast its peak rate can be pushed.
//
// Time comes from the events alone, clamped to five minutes past their
// arrival, so that a replay of the same events in the same order makes the
// same pages. Pages are read by deciding goroutines while they are learned
// into, without a lock; everything that writes goes through one mutex, which
// one learning goroutine hardly notices.
//
// A Learner that is opened on a folder ([Open]) keeps its pages there, see
// package surprise/pages. [Learner.Snapshot] takes what changed, for the folder's
// owner to save together with the position in the stream that it contains. After
// a crash the stream is replayed from that position. [Learner.Adopt] reads the
// one file in which the release before kept everything.
package baseline

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/surprise/pages"
	"github.com/muster-id/muster/internal/useragent"
)

// Places tells where an address is. *geo.Table is one.
type Places interface {
	Lookup(netip.Addr) geo.Place
}

// Settings are what can be configured. The zero value learns with the
// defaults, without places.
type Settings struct {
	// Threshold is the surprise, in tenths of a bit, from which an event is
	// quarantined instead of learned. 0 means 130.
	Threshold int `yaml:"threshold"`
	// Days is the number of different days on which a quarantined event must
	// come back to become normal. 0 means 3, below 0 never.
	Days int `yaml:"days"`
	// NewPerDay is the number of events a day that may teach one established
	// identity something it never showed. 0 means 64.
	NewPerDay int `yaml:"new_per_day"`
	// Established says when a page is relied on.
	Established surprise.Settings `yaml:"established"`

	// Places locates callers; nil leaves system and country out.
	Places Places `yaml:"-"`
	// MayTestify says whether the source of an event may speak about the
	// account in it; nil means that the caller drops what it may not.
	MayTestify func(*nhi.Event) bool `yaml:"-"`
}

const (
	defaultThreshold = 130
	defaultDays      = 3
	defaultNewPerDay = 64
	maxSkew          = 5 * time.Minute
	explained        = 3 // features named in an explanation
)

// A Learner owns the pages of all identities. Its methods may be called from
// any goroutine; those that learn exclude each other.
type Learner struct {
	settings Settings
	book     *pages.Book // its writer is whoever holds mu
	groups   groups      // of peers, by the number that the book keeps
	priors   surprise.Priors
	names    names

	mu       sync.Mutex // guards what follows
	withheld withheld
	full     bool // it was said that there are too many pages
	// configured is the word of the settings that all pages have.
	configured uint64
	peers      peers
	agent      agentCache
	stats      Stats
}

// Stats count what became of events since the Learner was made.
type Stats struct {
	Learned     uint64 // taught a page
	Quarantined uint64 // scored above the threshold and withheld
	Released    uint64 // withheld once, normal now
	Capped      uint64 // withheld because the day's measure of new things was full
	Ignored     uint64 // may not teach: refused, asserted, without identity or standing
	Pages       int
	Damaged     int // pages that could not be read back; their identities begin anew
}

// New returns a Learner that knows nobody, and keeps what it learns in memory.
func New(s Settings) *Learner {
	if s.Threshold == 0 {
		s.Threshold = defaultThreshold
	}
	if s.Days == 0 {
		s.Days = defaultDays
	}
	if s.NewPerDay == 0 {
		s.NewPerDay = defaultNewPerDay
	}
	return &Learner{settings: s, book: pages.New(), configured: s.Established.Word()}
}

// Page returns the page of an identity, nil if nothing was learned about it.
// It takes no lock; the first look at a page after a start may wait for the
// disk. The page goes on learning after it was returned.
func (l *Learner) Page(id nhi.ID) *surprise.Page {
	if slot, ok := l.book.Find(id.Number()); ok {
		return l.book.Page(slot)
	}
	return nil
}

// Prior returns what is common among the peers of an identity, nil if
// nothing is known. It takes no lock.
func (l *Learner) Prior(id nhi.ID) *surprise.Prior {
	if slot, ok := l.book.Find(id.Number()); ok {
		return l.priors.For(l.groups.name(l.book.Group(slot)))
	}
	return nil
}

// Name returns the text behind a hash, "" if it is not known; it makes the
// Learner a surprise.Names. It takes no lock. The text is hostile.
func (l *Learner) Name(hash uint64) string { return l.names.Name(hash) }

// Stats returns the counts so far.
func (l *Learner) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Pages, s.Damaged = l.book.Len(), l.book.Damaged()
	return s
}

// Damaged returns how many pages could not be read back since the start. It takes
// no lock: a look at all peers may hold that for longer than who asks after the
// state of the server waits.
func (l *Learner) Damaged() int { return l.book.Damaged() }

// Observe takes in one event. With score it returns how surprising the event
// was before it was learned, and whether it could be judged at all: an event
// without an identity, of the platform itself, or of a caller that proved
// nothing is not. Without score, for trusted history, the event is learned if
// it may teach, whatever it would have scored.
//
// The same event twice counts twice: who delivers at least once removes
// repeats first.
func (l *Learner) Observe(ev *nhi.Event, score bool) (surprise.Score, bool) {
	if ev.Identity == "" || len(ev.Identity) > maxID || ev.Principal.Platform || unproven(ev) {
		l.mu.Lock()
		l.stats.Ignored++
		l.mu.Unlock()
		return surprise.Score{}, false
	}
	return l.observe(ev, score), score
}

// observe does the work of Observe under the lock.
func (l *Learner) observe(ev *nhi.Event, score bool) (out surprise.Score) {
	l.mu.Lock()
	defer l.mu.Unlock()
	call := l.call(ev)
	obs := call.Observation()
	slot, known := l.book.Find(ev.Identity.Number())
	if score {
		var page *surprise.Page
		group := ""
		if known {
			page, group = l.book.Page(slot), l.groups.name(l.book.Group(slot))
		} else {
			group = groupOf(ev)
		}
		out = page.Score(obs, l.priors.For(group))
	}
	if !l.teaches(ev) {
		l.stats.Ignored++
		l.remember(&call, &obs, &out) // an explanation will want the words
		return out
	}
	who, ok := l.life(ev, slot, known)
	if !ok {
		l.stats.Ignored++
		return out
	}
	l.remember(&call, &obs, &out)
	if score {
		l.learnScored(&who, &obs, &out)
	} else {
		l.learn(&who, &obs)
	}
	l.peers.passed(l, obs.At)
	return out
}

// learnScored learns what scored normal, and withholds the rest.
func (l *Learner) learnScored(who *life, obs *surprise.Observation, score *surprise.Score) {
	switch {
	case score.Tenths >= l.settings.Threshold:
		if l.withheld.add(who.slot, obs, score, l.settings.Days) {
			l.stats.Released++
			l.learn(who, obs)
			return
		}
		l.stats.Quarantined++
		who.page.Touch(obs.At)
	case hasNews(score) && !admit(who.note, obs.At, l.settings.NewPerDay):
		l.stats.Capped++
		who.page.Touch(obs.At)
	default:
		l.learn(who, obs)
	}
}

func (l *Learner) learn(who *life, obs *surprise.Observation) {
	who.page.Learn(*obs)
	l.stats.Learned++
}

// teaches reports whether an event may teach a page.
func (l *Learner) teaches(ev *nhi.Event) bool {
	switch {
	case ev.Asserted, ev.Status == nhi.Failure:
		return false
	case ev.Format == decisionFormat && ev.Outcome != nhi.Allow, ev.Outcome == nhi.Deny, ev.Outcome == nhi.StepUp:
		return false
	}
	return l.settings.MayTestify == nil || l.settings.MayTestify(ev)
}

// decisionFormat marks events that are decisions of our own.
const decisionFormat = "decision"

// unproven reports whether the caller failed to prove who it is. Such an
// event names an identity that may have nothing to do with it.
func unproven(ev *nhi.Event) bool {
	if ev.Status != nhi.Failure {
		return false
	}
	switch ev.Error {
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "AuthFailure", "InvalidAccessKeyId", "UnrecognizedClientException",
		"MissingAuthenticationToken", "IncompleteSignature", "Failed authentication":
		return true
	}
	return false
}

// hasNews reports whether an event shows something the identity never did.
func hasNews(s *surprise.Score) bool {
	return s.NewNetwork || s.NewASN || s.NewCountry || s.NewAgent || s.NewAction || s.NewClass
}

// admit counts one event with news and reports whether the day has room.
func admit(n *pages.Note, at int64, perDay int) bool {
	if day := int32(at / microsPerDay); day != n.Day {
		n.Day, n.Count = day, 0
	}
	n.Count++
	return int(n.Count) <= perDay
}

// call puts an event into the words that are hashed. Requests at our points
// are known by resource and operation (by class when they name none), logged
// calls by service and operation.
func (l *Learner) call(ev *nhi.Event) surprise.Call {
	c := surprise.Call{
		At: clamped(ev), Address: ev.Address.Unmap(), Agent: l.agent.family(ev.Agent),
		Service: ev.Service, Operation: ev.Operation, Class: string(ev.Class), Region: ev.Region,
		Denied: ev.Status == nhi.Failure,
	}
	if ev.Format == decisionFormat {
		c.Service, c.Region = ev.Resource, ""
		if c.Operation == "" {
			c.Operation = string(ev.Class)
		}
	}
	if l.settings.Places != nil && c.Address.IsValid() {
		c.Place = l.settings.Places.Lookup(c.Address)
	}
	return c
}

// clamped returns the time of an event, never more than maxSkew after it
// arrived: a clock that runs ahead must not age what was learned.
func clamped(ev *nhi.Event) time.Time {
	if limit := ev.Arrived.Add(maxSkew); !ev.Arrived.IsZero() && ev.Time.After(limit) {
		return limit
	}
	return ev.Time
}

// A life is one identity while something is learned about it.
type life struct {
	slot pages.Slot
	page *surprise.Page
	note *pages.Note
}

// life returns the life of whoever caused an event, which begins with it unless
// it is known. ok is false when nothing can be learned about it: its page cannot
// be read from a failing disk, or there are too many.
func (l *Learner) life(ev *nhi.Event, slot pages.Slot, known bool) (who life, ok bool) {
	if !known {
		var err error
		if slot, err = l.book.Add(ev.Identity.Number(), l.groups.number(groupOf(ev))); err != nil {
			if !l.full {
				l.full = true
				slog.Error("nothing is learned about further identities", "error", err)
			}
			return life{}, false
		}
	}
	page, anew := l.book.Write(slot)
	if page == nil {
		return life{}, false
	}
	if anew {
		l.withheld.drop(slot)
	}
	if anew || !known {
		page.Configure(l.settings.Established)
	}
	return life{slot, page, l.book.Note(slot)}, true
}

// Confirm says that whatever was withheld of an identity was its own doing,
// and learns it. It returns the number of different things learned.
func (l *Learner) Confirm(id nhi.ID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot, known := l.book.Find(id.Number())
	if !known {
		return 0
	}
	page, _ := l.book.Write(slot)
	if page == nil {
		return 0
	}
	who, list := life{slot: slot, page: page}, l.withheld.of[slot]
	for i := range list {
		l.learn(&who, &list[i].Observation)
		l.stats.Released++
	}
	l.withheld.drop(slot)
	return len(list)
}

// Explain says in words why a score is as large as it is: the three features
// with the most surprise, each with what is usual beside what was seen. Bits
// are to a tenth. Words that the Learner never met are shown by their hash.
func (l *Learner) Explain(id nhi.ID, score surprise.Score) []nhi.Feature {
	return l.ExplainCall(id, score, nil)
}

// ExplainCall is Explain for whoever still has the call that was scored, and
// with it the words of what was seen. call may be nil.
func (l *Learner) ExplainCall(id nhi.ID, score surprise.Score, call *surprise.Call) []nhi.Feature {
	var out []nhi.Feature
	for _, r := range l.Page(id).Explain(&score, call, l, explained) {
		out = append(out, nhi.Feature{Name: r.Feature.String(), Usual: r.Usual, Seen: r.Seen, Bits: r.Bits})
	}
	return out
}

// An agentCache remembers the families of the last agents seen. Logs repeat
// the same few agents millions of times.
type agentCache [256]struct{ raw, family string }

func (c *agentCache) family(raw string) string {
	if raw == "" {
		return ""
	}
	e := &c[(len(raw)*31+int(raw[len(raw)/2])*7+int(raw[len(raw)-1]))%len(c)]
	if e.raw != raw {
		e.raw, e.family = raw, useragent.Family(raw)
	}
	return e.family
}
