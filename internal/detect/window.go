package detect

import (
	"math/bits"

	"github.com/muster-id/muster/internal/nhi"
)

// A windowState counts within one window. Most windows of most identities see a
// few different things, which lie in it; it is the state of a million of them.
type windowState struct {
	wide        *wide // nil: what there is lies in few
	number      int32
	opened      int32 // the tick at which it was opened: later, for events of the past
	denied      int32
	few         [8]uint16 // things, each with its kind
	n           uint8     // of few
	open        bool
	established bool
}

// A wide is what a window keeps that sees more, or something that matters.
type wide struct {
	actions   bitmap4
	resources bitmap16
	fresh     bitmap4
	failed    bitmap4
	scopes    []*scope // by credential
}

// The kinds of things that are told apart within a window, by hashes of which
// so many bits count.
const (
	actions   = iota // distinct ones, 8
	resources        // 10
	fresh            // actions never seen before, 8
	failed           // actions that failed, 8
)

func thing(kind int, h uint64) uint16 {
	if kind == resources {
		return uint16(kind)<<12 | uint16(h&1023)
	}
	return uint16(kind)<<12 | uint16(h&255)
}

// set notes a thing and reports whether it is the first of its sort.
func (w *windowState) set(kind int, h uint64) bool {
	if w.wide == nil {
		t := thing(kind, h)
		for _, f := range w.few[:w.n] {
			if f == t {
				return false
			}
		}
		if int(w.n) < len(w.few) {
			w.few[w.n] = t
			w.n++
			return true
		}
	}
	return w.widen().set(kind, h)
}

func (x *wide) set(kind int, h uint64) bool {
	switch kind {
	case actions:
		return x.actions.set(h)
	case resources:
		return x.resources.set(h)
	case fresh:
		return x.fresh.set(h)
	}
	return x.failed.set(h)
}

// widen makes room for more.
func (w *windowState) widen() *wide {
	if w.wide == nil {
		w.wide = &wide{}
		for _, t := range w.few[:w.n] {
			w.wide.set(int(t>>12), uint64(t&1023))
		}
		w.n = 0
	}
	return w.wide
}

// count returns how many different things of a kind there were.
func (w *windowState) count(kind int) (n int) {
	if x := w.wide; x != nil {
		switch kind {
		case actions:
			return x.actions.count()
		case resources:
			return x.resources.count()
		case fresh:
			return x.fresh.count()
		}
		return x.failed.count()
	}
	for _, t := range w.few[:w.n] {
		if int(t>>12) == kind {
			n++
		}
	}
	return n
}

// failures returns the actions that failed.
func (w *windowState) failures() (b bitmap4) {
	if w.wide != nil {
		return w.wide.failed
	}
	for _, t := range w.few[:w.n] {
		if int(t>>12) == failed {
			b.set(uint64(t))
		}
	}
	return b
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
	if w.wide != nil {
		for _, s := range w.wide.scopes {
			if s.credential == c {
				return s
			}
		}
	}
	if !make {
		return nil
	}
	x := w.widen()
	if len(x.scopes) >= maxScopes {
		x.scopes = x.scopes[1:]
	}
	s := &scope{credential: c}
	x.scopes = append(x.scopes, s)
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

// due reports whether a window is over at a tick. One that was opened in the past
// stays open until the next.
func (w *windowState) due(tick int64) bool {
	return w.open && int64(w.number)+lateness < tick && int64(w.opened) < tick
}

// window returns the actor's window for an event at at. Events of the past,
// such as those of another region's files that are read one after the other,
// have a window of their own.
func (d *Detector) window(a *actor, at int64) *windowState {
	if a.win.due(d.tick) {
		d.close(a)
	}
	number := int32(at / window) // see clock for how large it may be
	switch {
	case !a.win.open:
		a.win = windowState{number: number, opened: int32(d.tick), open: true}
	case number > a.win.number:
		a.closeWindow(&a.win)
		a.win = windowState{number: number, opened: int32(d.tick), open: true}
	case number < a.win.number-lateness:
		x := a.further()
		if x.late != nil && x.late.number != number {
			a.closeWindow(x.late)
			x.late = nil
		}
		a.past = true
		if x.late == nil {
			x.late = &windowState{number: number, opened: int32(d.tick), open: true}
		}
		return x.late
	}
	return &a.win
}

// close closes the windows of an actor.
func (d *Detector) close(a *actor) {
	if a.place >= 0 { // or nobody would ever ask what it learned from them
		d.mark(a)
		if a.more != nil && a.more.late != nil {
			a.closeWindow(a.more.late)
		}
		a.closeWindow(&a.win)
	}
	a.win = windowState{}
	if a.more != nil {
		a.more.late = nil
	}
}

// closeWindow makes what was counted in a window part of the habits, unless
// the window was part of a story: an intruder must not teach us.
func (a *actor) closeWindow(w *windowState) {
	a.Windows++
	failed := w.failures()
	for i := range a.Failed {
		a.Failed[i] |= failed[i]
	}
	if a.Failed.count() > 128 {
		a.Failed = failed // so full that everything would be in it
	}
	if len(a.stories()) > 0 {
		return
	}
	scale := a.fadeHabits((int64(w.number) + 1) * window)
	for i, n := range [...]int{w.count(actions), w.count(resources), int(w.denied)} {
		a.Usual[i] = max(a.Usual[i]*scale, float32(n))
	}
	a.Usual[habitNew] = max(a.Usual[habitNew]*scale, 0)
}

// How many actors an event may look at to find windows that are over, and how
// many of those it may close.
const (
	sweepLooks  = 64
	sweepCloses = 4
)

// sweep closes windows that are over, a few with each event: when a million
// identities fall silent at once, nobody must wait for a million windows. What
// is decided does not depend on when: before the next event of an identity is
// judged its window is closed if it is over, and where there is a story it is
// closed on time.
func (d *Detector) sweep() {
	for looks, closes := min(sweepLooks, d.unswept), 0; looks > 0 && closes < sweepCloses; looks-- {
		d.unswept--
		if d.swept++; d.swept >= d.actors.Count() {
			d.swept = 0
		}
		if a := d.actors.In(int32(d.swept)); a != nil && a.win.due(d.tick) {
			d.close(a)
			closes++
		}
	}
}
