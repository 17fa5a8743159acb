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
// [Learner.Save] writes everything to one file together with the position in
// the stream that it contains; [Learner.Load] reads it back. After a crash
// the stream is replayed from that position.
package baseline

import (
	"net/netip"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
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
	// OnPage is called once for every page that comes into being, also by
	// Load, outside any lock. The page lives as long as the Learner.
	OnPage func(nhi.ID, *surprise.Page) `yaml:"-"`
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
	pages    sync.Map // nhi.ID to *life; read by anyone, written under mu
	priors   surprise.Priors
	names    names

	mu    sync.Mutex // guards what follows
	lives []*life    // in order of creation
	peers peers
	agent agentCache
	stats Stats
}

// A life is what the Learner keeps about one identity.
type life struct {
	id    nhi.ID
	group string // of peers
	page  *surprise.Page

	day       int64 // the day that newToday counts
	newToday  int
	suspended []suspended // quarantined events, at most maxSuspended
}

// Stats count what became of events since the Learner was made.
type Stats struct {
	Learned     uint64 // taught a page
	Quarantined uint64 // scored above the threshold and withheld
	Released    uint64 // withheld once, normal now
	Capped      uint64 // withheld because the day's measure of new things was full
	Ignored     uint64 // may not teach: refused, asserted, without identity or standing
	Pages       int
}

// New returns a Learner that knows nobody.
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
	return &Learner{settings: s}
}

// Page returns the page of an identity, nil if nothing was learned about it.
// It takes no lock. The page goes on learning after it was returned.
func (l *Learner) Page(id nhi.ID) *surprise.Page {
	if v, ok := l.pages.Load(id); ok {
		return v.(*life).page
	}
	return nil
}

// Prior returns what is common among the peers of an identity, nil if
// nothing is known. It takes no lock.
func (l *Learner) Prior(id nhi.ID) *surprise.Prior {
	if v, ok := l.pages.Load(id); ok {
		return l.priors.For(v.(*life).group)
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
	s.Pages = len(l.lives)
	return s
}

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
	out, born := l.observe(ev, score)
	if born != nil && l.settings.OnPage != nil {
		l.settings.OnPage(born.id, born.page)
	}
	return out, score
}

// observe does the work of Observe under the lock. born is the life that the
// event began, nil if none.
func (l *Learner) observe(ev *nhi.Event, score bool) (out surprise.Score, born *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	call := l.call(ev)
	obs := call.Observation()
	who := l.life(ev.Identity)
	if score {
		group := groupOf(ev)
		if who != nil {
			group = who.group
		}
		out = pageOf(who).Score(obs, l.priors.For(group))
	}
	if !l.teaches(ev) {
		l.stats.Ignored++
		l.remember(&call, &obs, &out) // an explanation will want the words
		return out, nil
	}
	if who == nil {
		who = l.begin(ev)
		born = who
	}
	l.remember(&call, &obs, &out)
	if score {
		l.learnScored(who, &obs, &out)
	} else {
		l.learn(who, &obs)
	}
	l.peers.passed(l, obs.At)
	return out, born
}

// learnScored learns what scored normal, and withholds the rest.
func (l *Learner) learnScored(who *life, obs *surprise.Observation, score *surprise.Score) {
	switch {
	case score.Tenths >= l.settings.Threshold:
		if who.suspend(obs, score, l.settings.Days) {
			l.stats.Released++
			l.learn(who, obs)
			return
		}
		l.stats.Quarantined++
		who.page.Touch(obs.At)
	case hasNews(score) && !who.admit(obs.At, l.settings.NewPerDay):
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
func (w *life) admit(at int64, perDay int) bool {
	if day := at / microsPerDay; day != w.day {
		w.day, w.newToday = day, 0
	}
	w.newToday++
	return w.newToday <= perDay
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

// life returns the life of an identity, nil if it has none.
func (l *Learner) life(id nhi.ID) *life {
	if v, ok := l.pages.Load(id); ok {
		return v.(*life)
	}
	return nil
}

func pageOf(w *life) *surprise.Page {
	if w == nil {
		return nil
	}
	return w.page
}

// begin gives an identity its page.
func (l *Learner) begin(ev *nhi.Event) *life {
	w := &life{id: ev.Identity, group: groupOf(ev), page: &surprise.Page{}}
	w.page.Configure(l.settings.Established)
	l.add(w)
	return w
}

func (l *Learner) add(w *life) {
	l.lives = append(l.lives, w)
	l.pages.Store(w.id, w)
}

// Confirm says that whatever was withheld of an identity was its own doing,
// and learns it. It returns the number of different things learned.
func (l *Learner) Confirm(id nhi.ID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	who := l.life(id)
	if who == nil {
		return 0
	}
	n := len(who.suspended)
	for i := range who.suspended {
		l.learn(who, &who.suspended[i].Observation)
		l.stats.Released++
	}
	who.suspended = nil
	return n
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
