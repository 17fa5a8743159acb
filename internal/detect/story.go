package detect

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// A story is what becomes one finding: everything unusual that an identity
// does with one credential until it is quiet again. Its fields are saved.
type story struct {
	Identity    nhi.ID
	Name        string // as the log says it, for want of an inventory
	Credential  nhi.CredentialID
	Window      int64 // number of the first window; part of the finding's id
	First       int64 // time of the first unusual event
	Last        int64 // time of the latest
	Detected    int64 // time of the event that made it a story
	Evidence    [dimensions]savedHit
	Bits        float64
	Count       int
	Succeeded   int
	Cited       []string
	Weight      float64 // of the gravest class of action
	Established bool
	Told        toldState
}

// A savedHit is a hit with its rule by id.
type savedHit struct {
	Rule    string
	Bits    float64
	Feature nhi.Feature
}

// toldState is what was last said about a story, to know when it is worth
// saying again.
type toldState struct {
	Bits  float64
	Count int
	Rule  string
}

// maxCited bounds how many events a finding names.
const maxCited = 20

// kindred is the family of findings about behaviour: the part of a finding's
// id that says which sort of story it is. The strongest rule may change while
// the story goes on; its id may not.
const kindred = "behaviour"

// fuse takes the event's hits into the window and the story.
func (d *Detector) fuse(ev *nhi.Event, a *actor, w *windowState, at int64) Verdict {
	if len(d.hits) == 0 {
		if sc := w.scope(ev.Credential, false); sc != nil {
			return Verdict{Bits: sc.bits(w.established)}
		}
		return Verdict{}
	}
	sc := w.scope(ev.Credential, true)
	strongest := 0.0
	for _, h := range d.hits {
		strongest = max(strongest, h.bits)
		if h.bits > sc.evidence[h.dim].bits+0.05 {
			sc.evidence[h.dim] = h
		}
	}
	s := d.story(a, ev.Credential, at)
	bits := sc.bits(w.established)
	unusual := strongest >= notable+1
	switch {
	case s == nil && bits >= d.set.Low && strongest >= notable:
		s = open(ev, w, sc, at)
		d.keep(a, s)
		unusual = true
	case s == nil && unusual:
		sc.cite(ev, at)
	}
	if s == nil {
		return Verdict{Bits: bits}
	}
	if unusual {
		d.extend(s, ev, w.established, sc, at)
	}
	return Verdict{Bits: max(bits, s.Bits)}
}

// bits sums the evidence up: what rests on the baseline, and what does not.
// An identity that is itself new cannot alarm by surprise alone.
func (s *scope) bits(established bool) float64 {
	sum := 0.0
	for dim := range learned {
		sum += s.evidence[dim].bits
	}
	sum = max(sum, s.loudest)
	if !established {
		sum = min(sum, 12)
	}
	for dim := learned; dim < dimensions; dim++ {
		sum += s.evidence[dim].bits
	}
	return sum
}

// cite remembers an unusual event in case that it becomes part of a story.
func (s *scope) cite(ev *nhi.Event, at int64) {
	if s.unusual == 0 || at < s.first {
		s.first = at
	}
	s.unusual++
	if len(s.cited) < maxCited && ev.ID != "" {
		s.cited = append(s.cited, ev.ID)
	}
}

// story returns the open story about a credential that an event of this time
// belongs to, or nil.
func (d *Detector) story(a *actor, c nhi.CredentialID, at int64) *story {
	quiet := d.set.Quiet.Microseconds()
	for _, s := range a.stories() {
		if s.Credential == c && at >= s.First-quiet && at <= s.Last+quiet {
			return s
		}
	}
	return nil
}

// maxStories bounds the open stories about one identity.
const maxStories = 8

// open begins a story with what the window holds.
func open(ev *nhi.Event, w *windowState, sc *scope, at int64) *story {
	s := &story{
		Identity: ev.Identity, Name: clip(nameOf(&ev.Principal)), Credential: ev.Credential, Window: int64(w.number),
		First: at, Last: at, Detected: at, Weight: 1,
	}
	if sc.unusual > 0 {
		s.First, s.Count = min(sc.first, at), sc.unusual
		s.Cited = slices.Clone(sc.cited)
		sc.unusual, sc.cited = 0, nil
	}
	return s
}

// keep adds an open story to an actor.
func (d *Detector) keep(a *actor, s *story) {
	x := a.further()
	if len(x.stories) >= maxStories {
		d.end(x.stories[0])
		x.stories = slices.Delete(x.stories, 0, 1)
	}
	d.list(a, s)
}

func (d *Detector) list(a *actor, s *story) {
	x := a.further()
	x.stories = append(x.stories, s)
	if !x.listed {
		x.listed = true
		d.telling = append(d.telling, a)
	}
}

// extend adds an event to a story and tells it again when that changes it.
func (d *Detector) extend(s *story, ev *nhi.Event, established bool, sc *scope, at int64) {
	s.First, s.Last = min(s.First, at), max(s.Last, at)
	s.Count++
	if len(s.Cited) < maxCited && ev.ID != "" {
		s.Cited = append(s.Cited, ev.ID)
	}
	if ev.Status == nhi.Success {
		s.Succeeded++
	}
	s.Weight = max(s.Weight, classWeight(ev.Class))
	s.Established = s.Established || established
	for dim, h := range sc.evidence {
		if h.rule != nil && h.bits > s.Evidence[dim].Bits {
			s.Evidence[dim] = savedHit{h.rule.ID, h.bits, h.feature}
		}
	}
	s.Bits = max(s.Bits, sc.bits(established), s.sum())
	t := &s.Told
	if s.Bits >= t.Bits+1 || s.Count >= 2*t.Count || s.top().Rule != t.Rule {
		d.tell(s)
	}
}

// sum adds up the evidence of the whole story. What an intruder does in one
// window and what in the next is one story.
func (s *story) sum() float64 {
	base, rest := 0.0, 0.0
	for dim, h := range s.Evidence {
		if dimension(dim) < learned {
			base += h.Bits
		} else {
			rest += h.Bits
		}
	}
	if !s.Established {
		base = min(base, 12)
	}
	return base + rest
}

// top returns the strongest evidence. Evidence that does not rest on the
// baseline names the story, since it says what is wrong and not only that
// something is new.
func (s *story) top() savedHit {
	var best savedHit
	rank := func(dim int, h savedHit) float64 {
		if dimension(dim) >= learned && h.Bits > 0 {
			return h.Bits + 20
		}
		return h.Bits
	}
	most := 0.0
	for dim, h := range s.Evidence {
		if r := rank(dim, h); r > most {
			most, best = r, h
		}
	}
	return best
}

// classWeight is how much graver an action is than looking at something.
func classWeight(c nhi.ActionClass) float64 {
	switch c {
	case nhi.Admin, nhi.Issue:
		return 1.15
	case nhi.Delete:
		return 1.1
	case nhi.Write, nhi.Exchange, nhi.Assume:
		return 1.05
	}
	return 1
}

// endStories ends the stories of an actor that have been quiet. It has some.
func (d *Detector) endStories(a *actor, at int64) {
	a.more.stories = slices.DeleteFunc(a.more.stories, func(s *story) bool {
		over := at-s.Last > d.set.Quiet.Microseconds() || at-s.First > d.set.Longest.Microseconds()
		if over {
			d.end(s)
		}
		return over
	})
}

// end tells a story for the last time if anything is left to tell.
func (d *Detector) end(s *story) {
	if s.Count != s.Told.Count || s.Bits != s.Told.Bits {
		d.tell(s)
	}
}

// tell makes the finding of a story and takes it into risk.
func (d *Detector) tell(s *story) {
	var who IdentityFacts
	if d.inv != nil {
		who, _ = d.inv.Identity(s.Identity)
	}
	if who.Name == "" {
		who.Name = s.Name
	}
	top := s.top()
	rule := d.rules.byID[top.Rule]
	s.Told = toldState{Bits: s.Bits, Count: s.Count, Rule: top.Rule}
	f := nhi.Finding{
		ID: nhi.FindingID(kindred, s.Identity, s.Credential, fmt.Sprint(s.Window)), Rule: top.Rule, Title: rule.Title,
		Severity: d.severity(s, rule, &who), Score: s.score(&who), Status: nhi.Open,
		Identity: s.Identity, Credential: s.Credential,
		FirstSeen: time.UnixMicro(s.First).UTC(), LastSeen: time.UnixMicro(s.Last).UTC(), DetectedAt: time.UnixMicro(s.Detected).UTC(),
		Events: slices.Clone(s.Cited), Count: s.Count, Features: s.features(),
		Sentence: d.sentence(s, &who), Owner: who.Owner, Reach: who.Reach,
	}
	d.ledger.Add(&f)
	d.findings = append(d.findings, f)
}

// score orders findings: 0 to 100, rising with the evidence, and with what
// the action and the identity can do. 13 bits are about 43, 30 about 73.
func (s *story) score(who *IdentityFacts) float64 {
	b := s.Bits * s.Weight
	if who.Admin {
		b *= 1.1
	}
	if who.Production {
		b *= 1.05
	}
	if s.Succeeded == 0 {
		b *= 0.9
	}
	return math.Round(1000*(1-math.Exp2(-b/16))) / 10
}

// severity is by the evidence, but never below what the naming rule demands.
// Critical is what has certainly gone wrong, or power taken against all habit.
func (d *Detector) severity(s *story, rule *Rule, who *IdentityFacts) nhi.Severity {
	by := nhi.Low
	switch {
	case s.Bits >= 2*d.set.Low && s.Weight >= 1.15 && s.Succeeded > 0 && (who.Admin || s.Bits >= 3*d.set.Low):
		by = nhi.Critical
	case s.Bits >= d.set.High:
		by = nhi.High
	case s.Bits >= d.set.Medium:
		by = nhi.Medium
	}
	if grade(rule.Severity) > grade(by) {
		return rule.Severity
	}
	return by
}

var grades = []nhi.Severity{nhi.Info, nhi.Low, nhi.Medium, nhi.High, nhi.Critical}

func grade(s nhi.Severity) int { return slices.Index(grades, s) }

// features returns the reasons, the strongest first.
func (s *story) features() []nhi.Feature {
	var out []nhi.Feature
	for _, h := range s.ordered() {
		out = append(out, h.Feature)
	}
	return out
}

// ordered returns the evidence, the strongest first.
func (s *story) ordered() []savedHit {
	var out []savedHit
	for _, h := range s.Evidence {
		if h.Bits > 0 {
			out = append(out, h)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Bits > out[j].Bits })
	return out
}

// sentence says what happened and why it matters, in one breath.
func (d *Detector) sentence(s *story, who *IdentityFacts) string {
	var b strings.Builder
	b.WriteString(subject(s.Identity, who))
	parts := s.ordered()
	parts = parts[:min(3, len(parts))]
	for i, h := range parts {
		switch {
		case i > 0 && i == len(parts)-1:
			b.WriteString(" and")
		case i > 0:
			b.WriteString(",")
		}
		b.WriteString(" " + phrase(d.rules.byID[h.Rule].Phrase, &h.Feature))
	}
	calls := "1 unusual call"
	if s.Count != 1 {
		calls = fmt.Sprintf("%d unusual calls", s.Count)
	}
	if span := time.Duration(s.Last-s.First) * time.Microsecond; span >= time.Second {
		calls += " within " + span.Round(time.Second).String()
	}
	fmt.Fprintf(&b, " (%s). %s", calls, d.rules.byID[s.top().Rule].Why)
	return strings.TrimSpace(b.String())
}

// subject names an identity for people.
func subject(id nhi.ID, who *IdentityFacts) string {
	name := who.Name
	if name == "" {
		name = string(id)
	}
	var about []string
	if who.Admin {
		about = append(about, "administrator")
	}
	if who.Production {
		about = append(about, "production")
	}
	if len(about) > 0 {
		name += " (" + strings.Join(about, ", ") + ")"
	}
	return name
}

// phrase fills a rule's phrase. What stands in brackets is left out when the
// usual is not known.
func phrase(text string, f *nhi.Feature) string {
	if open := strings.IndexByte(text, '['); open >= 0 {
		if shut := strings.IndexByte(text[open:], ']'); shut > 0 {
			inside := text[open+1 : open+shut]
			if f.Usual == "" {
				inside = ""
			}
			text = text[:open] + inside + text[open+shut+1:]
		}
	}
	switch f.Name {
	case surprise.Class.String(): // a class is no call that has a name
		text = strings.Replace(text, "called {seen}", "made a {seen} call", 1)
	case surprise.Denied.String():
		text = strings.Replace(text, "called {seen}, which it never did", "was refused, which is not usual for it", 1)
	}
	what := f.Seen
	if what == "" {
		what = "something new"
	}
	return strings.NewReplacer("{seen}", clip(what), "{usual}", clip(f.Usual), "{feature}", f.Name).Replace(text)
}

// clip bounds outside text in a sentence.
func clip(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// shadow tells once of an identity that acts and is in no inventory.
func (d *Detector) shadow(ev *nhi.Event, a *actor, at int64) {
	if d.inv == nil || a.Told != 0 || ev.Principal.Platform {
		return
	}
	who, ok := d.inv.Identity(ev.Identity)
	if a.Told = 1; ok && !who.Shadow {
		return
	}
	r := d.rules.byID["DET-23"]
	if who.Name == "" {
		who.Name = clip(nameOf(&ev.Principal))
	}
	f := nhi.Feature{Name: r.Feature, Usual: r.Usual, Seen: seenAs(&ev.Principal), Bits: r.Bits}
	t := time.UnixMicro(at).UTC()
	d.findings = append(d.findings, nhi.Finding{
		ID: nhi.FindingID(r.ID, ev.Identity, "", ""), Rule: r.ID, Title: r.Title, Severity: r.Severity, Score: 5, Status: nhi.Open,
		Identity: ev.Identity, FirstSeen: t, LastSeen: t, DetectedAt: t, Events: cited(ev), Count: 1, Features: []nhi.Feature{f},
		Sentence: subject(ev.Identity, &who) + " " + phrase(r.Phrase, &f) + ". " + r.Why,
	})
}

func cited(ev *nhi.Event) []string {
	if ev.ID == "" {
		return nil
	}
	return []string{ev.ID}
}

// seenAs is how the log names a principal exactly.
func seenAs(p *nhi.Principal) string {
	for _, s := range []string{p.Subject, p.Path, p.Native, p.Name} {
		if s != "" {
			return s
		}
	}
	return p.Type
}

// nameOf is what people call a principal.
func nameOf(p *nhi.Principal) string {
	for _, s := range []string{p.Name, p.Subject, p.Path, p.Native} {
		if s != "" {
			return s
		}
	}
	return p.Type
}
