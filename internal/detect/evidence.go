package detect

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/useragent"
)

// A dimension is something that can be odd about an event independently of
// the other dimensions. Evidence adds up across them, not within one.
type dimension uint8

const (
	place      dimension = iota // network, provider, country; and the region called, which moves with them
	agent                       // the caller's software
	what                        // actions and their class
	when                        // hour, and sleep
	volume                      // how much, how many different, how often refused
	credential                  // the credential itself is wrong
	defence                     // what watches is being switched off
	human                       // a person sits behind it
	dimensions

	learned = credential // the dimensions before this one rest on the baseline
)

// A hit is one piece of evidence.
type hit struct {
	rule    *Rule
	dim     dimension
	bits    float64
	feature nhi.Feature
}

// notable is the least evidence worth keeping, bits: what an identity has
// shown before earns at most three.
const notable = 3.05

// judged says to which rule and dimension each feature of a score belongs.
var judged = [surprise.Features]struct {
	rule string
	dim  dimension
}{
	surprise.Network: {"DET-07", place}, surprise.ASN: {"DET-07", place}, surprise.Country: {"DET-07", place},
	surprise.Agent: {"DET-09", agent}, surprise.Action: {"DET-11", what}, surprise.Class: {"DET-11", what},
	surprise.Region: {"DET-10", place}, surprise.Hour: {"DET-16", when},
	surprise.Denied: {"DET-11", what}, surprise.Rate: {"DET-15", volume},
}

// judgeSurprise takes over what the baseline finds surprising. When the
// provider itself acts (a service-linked role, a call that a service forwards)
// where from and with what say nothing about the identity.
//
// What fails is never learned by the baseline, so a workload that is refused
// the same call every few minutes would surprise for ever: a failing action
// surprises once. And that a new action was refused is the same surprise as
// the action, not a second one.
func (d *Detector) judgeSurprise(ev *nhi.Event, score *surprise.Score, a *actor, w *windowState) {
	w.established = w.established || score.Established
	refused, stale := ev.Status == nhi.Failure, false
	if refused || score.NewAction {
		h := surprise.HashPair(ev.Service, ev.Operation)
		if stale = refused && a.Failed.has(h); refused {
			w.set(failed, h)
		}
		if score.NewAction && !stale && w.set(fresh, h) {
			a.countNew(int64(w.number))
		}
	}
	if ev.Principal.Platform {
		return
	}
	so := w.strongest(ev.Credential)
	var each [learned]float64
	for f := range surprise.Feature(surprise.Features) {
		j := judged[f]
		if stale && j.dim == what {
			continue
		}
		if f == surprise.Rate && a.past {
			continue // the past was counted as if it were now
		}
		b := weigh(f, score, w)
		each[j.dim] = max(each[j.dim], b)
		if b >= notable {
			d.hit(ev, score, so, j.rule, j.dim, b, nhi.Feature{Name: f.String()})
		}
	}
	total := 0.0
	for _, b := range each {
		total += b
	}
	if total >= loud {
		sc := w.scope(ev.Credential, true)
		sc.loudest = max(sc.loudest, total)
	}
}

// weigh returns what a feature's surprise counts for, bits.
func weigh(f surprise.Feature, score *surprise.Score, w *windowState) float64 {
	b := float64(score.Features[f].Tenths) / 10
	switch {
	case f == surprise.Denied:
		return min(b, 4)
	case f == surprise.Network && !score.NewASN:
		return b * nearby
	case f == surprise.Action && score.Features[f].New:
		// Several new actions in one window are less likely than one, though
		// not by as much as if they were independent: releases bring several.
		return b * (1 + 0.4*math.Log2(float64(max(1, w.count(fresh)))))
	}
	return b
}

// nearby is what a new network is worth within a system that the identity is
// used from anyway.
const nearby = 0.85

// loud is the least that a single event must weigh as a whole to be
// remembered, bits.
const loud = 8

var nothing [dimensions]hit

// strongest returns the evidence about a credential so far.
func (w *windowState) strongest(c nhi.CredentialID) *[dimensions]hit {
	if s := w.scope(c, false); s != nil {
		return &s.evidence
	}
	return &nothing
}

// hit notes a piece of evidence. Words are asked for only when it is the
// strongest of its dimension so far.
func (d *Detector) hit(ev *nhi.Event, score *surprise.Score, so *[dimensions]hit, rule string, dim dimension, b float64, f nhi.Feature) {
	f.Bits = math.Round(b*10) / 10
	if f.Seen == "" && b > so[dim].bits+0.05 {
		d.describe(ev, score, &f)
	}
	d.hits = append(d.hits, hit{rule: d.rules.byID[rule], dim: dim, bits: b, feature: f})
}

// describe fills in what is usual and what was seen.
func (d *Detector) describe(ev *nhi.Event, score *surprise.Score, f *nhi.Feature) {
	if d.explained == nil && d.explain != nil {
		if d.explained = d.explain.Explain(ev, score); d.explained == nil {
			d.explained = []nhi.Feature{}
		}
	}
	for _, e := range d.explained {
		if e.Name == f.Name {
			f.Usual, f.Seen = e.Usual, e.Seen
			return
		}
	}
	f.Seen = seen(ev, f.Name)
}

// seen says in plain words what an event shows of a feature.
func seen(ev *nhi.Event, feature string) string {
	switch feature {
	case "network", "asn", "country":
		if ev.Address.IsValid() {
			return ev.Address.String()
		}
	case "agent":
		return useragent.Family(ev.Agent)
	case "action":
		return action(ev)
	case "class":
		return string(ev.Class)
	case "region":
		return ev.Region
	case "hour":
		return ev.Time.UTC().Format("Mon 15:04 UTC")
	case "denied":
		return ev.Error
	case "rate":
		return "many calls"
	}
	return ""
}

// action names what was done the short way: s3:GetObject.
func action(ev *nhi.Event) string {
	service, _, _ := strings.Cut(ev.Service, ".")
	if service == "" {
		return ev.Operation
	}
	return service + ":" + ev.Operation
}

// judgeRules applies the rules that hold whatever is usual.
func (d *Detector) judgeRules(ev *nhi.Event, score *surprise.Score, a *actor) {
	d.judgeCredential(ev)
	for _, r := range d.rules.byOperation[ev.Operation] {
		if !r.matches(ev) {
			continue
		}
		b := r.Bits
		switch {
		case r.dim == what && !score.NewAction && score.Established:
			continue // it does that
		case r.dim == what:
			b += float64(max(score.Features[surprise.Action].Tenths, score.Features[surprise.Class].Tenths)) / 10
			if !score.Established {
				b = r.Young
			}
		case score.Established && !score.NewAction:
			b = r.Known
		case !score.Established:
			b = r.Young
		}
		if b > 0 {
			d.hits = append(d.hits, hit{rule: r, dim: r.dim, bits: b, feature: nhi.Feature{
				Name: r.Feature, Usual: r.Usual, Seen: action(ev), Bits: math.Round(b*10) / 10,
			}})
		}
	}
	d.judgeType(ev, a)
}

// judgeCredential looks up the credential that was used.
func (d *Detector) judgeCredential(ev *nhi.Event) {
	if d.inv == nil || ev.Credential == "" {
		return
	}
	c, ok := d.inv.Credential(ev.Credential)
	if !ok {
		return
	}
	if c.Leaked {
		d.exact("DET-02", "leaked")
	}
	switch {
	case c.State.Dead():
		d.exact("DET-03", string(c.State))
	case !c.Expires.IsZero() && ev.Time.After(c.Expires):
		d.exact("DET-03", "expired "+c.Expires.UTC().Format(time.DateOnly))
	}
}

// exact notes a hit of a rule that needs no history.
func (d *Detector) exact(id, seen string) {
	r := d.rules.byID[id]
	d.hits = append(d.hits, hit{rule: r, dim: r.dim, bits: r.Bits, feature: nhi.Feature{Name: r.Feature, Usual: r.Usual, Seen: seen, Bits: r.Bits}})
}

// settled is how many events of one sort make a habit.
const settled = 30

// judgeType notices a static key in the hands of an identity that has moved
// to credentials that die by themselves.
func (d *Detector) judgeType(ev *nhi.Event, a *actor) {
	if credentialType(ev) != static {
		return
	}
	if a.Federated-a.StaticLast >= settled && a.Federated >= 20*a.Static {
		d.exact("DET-05", "static key")
	}
}

// judgeHabits compares the window with what windows of this identity usually
// hold.
func (d *Detector) judgeHabits(ev *nhi.Event, score *surprise.Score, a *actor, w *windowState, at int64) {
	if ev.Principal.Platform {
		return
	}
	limit := 20.0
	switch {
	case a.Windows < 4:
		limit = 0 // there is no habit yet
	case !score.Established || a.Windows < 12:
		limit = 8
	}
	so := w.strongest(ev.Credential)
	if w.set(actions, surprise.HashPair(ev.Service, ev.Operation)) {
		d.breadth(so, w.count(actions), a.Usual[habitActions], 6, limit, "different actions")
	}
	if ev.Resource != "" && w.set(resources, surprise.Hash(ev.Resource)) {
		d.breadth(so, w.count(resources), a.Usual[habitResources], 12, limit, "different resources")
	}
	if ev.Status == nhi.Failure {
		w.denied++
		d.breadth(so, int(w.denied), a.Usual[habitDenied], 4, limit, "refused or failed calls")
	}
	if n := a.DayNew + a.DayOld; a.Day == at/day && n >= 6 && score.NewAction {
		b := min(limit, tail(float64(n), max(1.5, float64(a.Usual[habitNew]))))
		d.breadthHit(b, "actions never called before within two days", int(n), a.Usual[habitNew])
	}
	d.judgeSleep(a, at)
}

// breadth judges one count of a window against its usual maximum.
func (d *Detector) breadth(so *[dimensions]hit, n int, usual float32, floor, limit float64, of string) {
	if float64(n) <= floor {
		return
	}
	b := min(limit, tail(float64(n), max(floor/2, float64(usual))))
	if b > so[volume].bits+0.05 {
		d.breadthHit(b, of, n, usual)
	}
}

func (d *Detector) breadthHit(b float64, of string, n int, usual float32) {
	if b < notable {
		return
	}
	d.hits = append(d.hits, hit{rule: d.rules.byID["DET-14"], dim: volume, bits: b, feature: nhi.Feature{
		Name: "breadth", Usual: fmt.Sprintf("up to %.0f", usual), Seen: fmt.Sprintf("%d %s", n, of), Bits: math.Round(b*10) / 10,
	}})
}

// countNew counts an action that the identity never called before.
func (a *actor) countNew(number int64) {
	if today := number * window / day; today != a.Day {
		if len(a.stories()) == 0 {
			// A day late, so that a search does not excuse its own second day.
			a.Usual[habitNew] = max(a.Usual[habitNew], a.Pending)
			a.Pending = a.DayNew + a.DayOld
		}
		if a.DayOld = 0; today == a.Day+1 {
			a.DayOld = a.DayNew
		}
		a.Day, a.DayNew = today, 0
	}
	a.DayNew++
}

// tail is -log2 of the chance that a count of which the mean is known only to
// a factor (negative binomial, shape two) reaches k.
func tail(k, mean float64) float64 {
	if k <= mean {
		return 0
	}
	p := 2 / (2 + mean)
	return max(0, -k*math.Log2(1-p)-math.Log2(1+k*p)-1)
}

// judgeSleep notices an identity that comes back after a pause that does not
// fit its rhythm. Who was active on a few days only has no rhythm, and a job
// that runs every quarter sleeps for three months.
func (d *Detector) judgeSleep(a *actor, at int64) {
	pause := at - a.Last
	if a.Days < 20 || pause < 30*day {
		return
	}
	usual := max(10*day, 3*a.Longest)
	b := 3 + 2.5*math.Log2(float64(pause)/float64(usual))
	if b = min(b, 12); b < notable {
		return
	}
	r := d.rules.byID["DET-17"]
	d.hits = append(d.hits, hit{rule: r, dim: when, bits: b, feature: nhi.Feature{
		Name: r.Feature, Usual: fmt.Sprintf("pauses of at most %d days", a.Longest/day), Seen: fmt.Sprintf("%d days of silence", pause/day), Bits: math.Round(b*10) / 10,
	}})
}
