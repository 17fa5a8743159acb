// Package promotion brings policies into force by gates, and back by itself.
//
//	checked, tests pass -> shadow -> 1 % -> 10 % -> 50 % -> everybody, watched -> done
//
// In the shadow the new policies are tried on what was decided, after the answer.
// In a stage they decide for a share of the principals, and whoever is in a share
// stays in it while it grows. A gate opens when its time has passed and the new
// policies denied nothing new that nobody has explained; [Tally.Next] says what is
// still missing. So a difference never brings a promotion on: it holds it up.
//
// [Tally.Add] takes what [Pair.Compare] made of a decision. It rolls back when
// attested identities, at no risk and at their usual work, were denied what the
// former policies allow, and enough different ones were: see [Settings]. It never
// counts denials as such. A thief may be denied as often as he likes, by the one
// identity that he stole; what is contained or revoked is denied by both policies
// alike; a step-up denies nothing; and what a person has explained was meant.
//
// Policies that err hold a gate only when they err for an attested identity of ours:
// else whoever can send a request could keep policies out of force for ever. The
// errors of others are counted and shown. They cost no safety, because an error
// denies or leaves a permit out, and what that newly denies is unexplained.
package promotion

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/muster-id/muster/internal/nhi"
)

// Bounds on what is kept: new policies may deny everything to everybody.
const (
	maxDenials   = 500
	maxExplained = 250 // of those, how many may be listed when one more is explained already
	maxWitnesses = 100 // who proved themselves
	maxEach      = 8   // different things that one of them is witness of
	// MaxAcknowledged bounds what can be explained in one promotion.
	MaxAcknowledged = 200
)

// A key is whom something was denied, what, and by which policies: all that an
// explanation may name. So what is explained hides nothing that is not, whichever
// came first.
type key struct {
	identity nhi.ID
	action   nhi.ActionClass
	resource string
	policies string
}

func keyOf(d *nhi.PromotionDenial) key {
	return key{d.Identity, d.Action, d.Resource, together(d.Policies)}
}

// together is policies in one string, in whatever order they are named.
func together(policies []string) string {
	return fmt.Sprintf("%q", slices.Sorted(slices.Values(policies)))
}

// A Tally is a promotion and what it found. It is safe for concurrent use.
type Tally struct {
	mu        sync.Mutex // guards what follows
	p         nhi.Promotion
	denials   map[key]*nhi.PromotionDenial
	witnesses map[string][]nhi.PromotionWitness // by whoever proved themselves, none twice
	changed   bool
}

// New returns the Tally of a promotion with what it found so far.
func New(p nhi.Promotion, found nhi.PromotionFound) *Tally {
	t := &Tally{p: p, denials: map[key]*nhi.PromotionDenial{}, witnesses: map[string][]nhi.PromotionWitness{}}
	for _, d := range found.Denials {
		t.denials[keyOf(&d)] = &d
	}
	for _, w := range found.Witnesses {
		t.keep(&w)
	}
	return t
}

// Add takes what was made of a decision, and says why the promotion must be rolled
// back; empty: it need not.
func (t *Tally) Add(d *nhi.Decision, c *Comparison) (why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.p.Running() {
		return ""
	}
	t.changed = true
	if !c.Answered {
		t.p.Unanswered++
		return ""
	}
	t.p.Judged++
	if c.Attested {
		if t.p.Errors += int64(c.Errors); c.Errors > 0 {
			t.p.Erred = d.ID
		}
	} else {
		t.p.ErrorsUnproven += int64(c.Errors)
	}
	switch c.Kind {
	case NewlyAllowed:
		t.p.Allowed++
	case NewlyStepUp:
		t.p.StepUp++
	case NewlyDenied:
		t.p.Denied++
		t.deny(d, c)
	}
	return t.witness(d, c)
}

// Recall is Add for a decision of before a restart, which may have been added by
// then: only whether it is evidence counts, and that not twice.
func (t *Tally) Recall(d *nhi.Decision, c *Comparison) (why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.p.Running() || !c.Answered {
		return ""
	}
	return t.witness(d, c)
}

// Enough is what Add said last, of the evidence that there is.
func (t *Tally) Enough() (why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.p.Running() {
		return ""
	}
	return t.enough()
}

// deny keeps what was denied newly. It needs t.mu.
func (t *Tally) deny(d *nhi.Decision, c *Comparison) {
	now := nhi.PromotionDenial{Identity: d.Identity, Action: d.Action, Resource: d.Resource, Policies: c.Policies}
	k := keyOf(&now)
	n := t.denials[k]
	if n == nil {
		n = &now
		switch meant := t.explained(n) != nil; {
		case meant && len(t.denials) >= maxExplained:
			return // it must not take the place of what nobody has explained
		case len(t.denials) >= maxDenials:
			t.p.Unlisted++
			return
		}
		t.denials[k] = n
	}
	n.Count++
	n.Reason, n.Decision, n.At = c.Reason, d.ID, d.At.UTC()
	n.Decided, n.Reported = n.Decided || c.Decided, n.Reported || d.Reported
}

// witness keeps evidence. It needs t.mu.
func (t *Tally) witness(d *nhi.Decision, c *Comparison) string {
	denied, erred := c.Kind == NewlyDenied, c.Errors > 0
	if !c.Decided || !c.Counts || !denied && !erred || t.p.Gate == nhi.PromotionShadow {
		return ""
	}
	w := nhi.PromotionWitness{Identity: d.Identity, Action: d.Action, Resource: d.Resource, Policies: c.Policies, Decision: d.ID, At: d.At.UTC(), Erred: erred, Prover: c.Prover}
	if !erred && t.meant(&w) {
		return ""
	}
	if t.keep(&w) {
		t.changed = true
	}
	return t.enough()
}

// Who is who proved themselves, for a witness: whoever did is one, with however many
// identities.
func Who(w *nhi.PromotionWitness) string { return cmp.Or(w.Prover, string(w.Identity)) }

// keep keeps a witness beside what it is witness of already, so that what is explained
// later takes nothing else with it, and reports whether anything is new. Of whoever is
// witness of too much, what tells of other policies comes first. It needs t.mu.
func (t *Tally) keep(w *nhi.PromotionWitness) bool {
	who := Who(w)
	all := t.witnesses[who]
	if i := slices.IndexFunc(all, func(o nhi.PromotionWitness) bool {
		return alike(&o, w) && o.Action == w.Action && o.Resource == w.Resource && o.Identity == w.Identity
	}); i >= 0 {
		fresh := w.At.After(all[i].At)
		if fresh {
			all[i] = *w
		}
		return fresh
	}
	switch {
	case len(all) == 0 && len(t.witnesses) >= maxWitnesses:
		return false
	case len(all) < maxEach:
		t.witnesses[who] = append(all, *w)
		return true
	case slices.ContainsFunc(all, func(o nhi.PromotionWitness) bool { return alike(&o, w) }):
		return false
	}
	for i := range all {
		if slices.ContainsFunc(all[i+1:], func(o nhi.PromotionWitness) bool { return alike(&o, &all[i]) }) {
			all[i] = *w
			return true
		}
	}
	return false
}

// alike reports whether two witnesses tell of the same policies.
func alike(a, b *nhi.PromotionWitness) bool {
	return a.Erred == b.Erred && together(a.Policies) == together(b.Policies)
}

// enough says why the witnesses are enough; empty: they are not. It needs t.mu.
func (t *Tally) enough() string {
	if len(t.witnesses) == 0 || len(t.witnesses) < t.p.Plan.Threshold {
		return ""
	}
	what, last := "denied what they were allowed before", nhi.PromotionWitness{}
	for _, all := range t.witnesses {
		for _, w := range all {
			if w.Erred {
				what = "denied what they were allowed before, or met policies that could not be evaluated"
			}
			if w.At.After(last.At) || w.At.Equal(last.At) && w.Decision > last.Decision {
				last = w
			}
		}
	}
	return fmt.Sprintf("%d attested identities at their usual work were %s, the last at decision %s", len(t.witnesses), what, last.Decision)
}

func (t *Tally) meant(w *nhi.PromotionWitness) bool {
	return t.explained(&nhi.PromotionDenial{Identity: w.Identity, Action: w.Action, Resource: w.Resource, Policies: w.Policies}) != nil
}

// explained returns what explains a denial; nil: nothing does. It needs t.mu.
func (t *Tally) explained(d *nhi.PromotionDenial) *nhi.Acknowledgement {
	for i := range t.p.Acknowledged {
		a := &t.p.Acknowledged[i]
		if (a.Policy == "" || slices.Contains(d.Policies, a.Policy)) && (a.Identity == "" || a.Identity == d.Identity) &&
			(a.Action == "" || a.Action == d.Action) && (a.Resource == "" || a.Resource == d.Resource) {
			return a
		}
	}
	return nil
}

// noPermit is the reason of whatever nothing permits: it names no policy.
const noPermit = "no-permit"

// Acknowledge explains differences, of now and from now on. The error wraps
// nhi.ErrInvalid when it would explain whatever may come.
func (t *Tally) Acknowledge(a nhi.Acknowledgement) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case a.Reason == "":
		return nhi.Invalidf("say why it is meant: give a reason")
	case a.Identity == "" && a.Resource == "" && (a.Policy == "" || a.Policy == noPermit):
		return nhi.Invalidf("name the policy that is meant to deny, an identity or a resource")
	case len(t.p.Acknowledged) >= MaxAcknowledged:
		return fmt.Errorf("%d differences of this promotion were explained one by one: explain them by policy, or abort it: %w", MaxAcknowledged, nhi.ErrConflict)
	}
	t.p.Acknowledged = append(slices.Clone(t.p.Acknowledged), a)
	for who, all := range t.witnesses {
		if all = slices.DeleteFunc(all, func(w nhi.PromotionWitness) bool { return !w.Erred && t.meant(&w) }); len(all) > 0 {
			t.witnesses[who] = all
		} else {
			delete(t.witnesses, who)
		}
	}
	if t.p.Unlisted > 0 {
		// What is not listed cannot be told apart: it is counted anew, for as long
		// as the gate lasts.
		t.p.Unlisted, t.p.Since = 0, a.At
		maps.DeleteFunc(t.denials, func(_ key, d *nhi.PromotionDenial) bool { return t.explained(d) != nil })
	}
	t.changed = true
	return nil
}

// Unexplained counts the newly denied that nobody explained.
func (t *Tally) Unexplained() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unexplained()
}

func (t *Tally) unexplained() int {
	n := int(t.p.Unlisted)
	for _, d := range t.denials {
		if t.explained(d) == nil {
			n++
		}
	}
	return n
}

// Change changes the promotion itself. change must not block; after an error nothing
// has changed.
func (t *Tally) Change(change func(*nhi.Promotion) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.p
	if err := change(&p); err != nil {
		return err
	}
	t.p, t.changed = p, true
	return nil
}

// Promotion returns the promotion as it is now.
func (t *Tally) Promotion() nhi.Promotion {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.p
}

// Dropped counts decisions that were too many.
func (t *Tally) Dropped(n int64) {
	if n == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.Dropped += n
	t.changed = true
}

// Found returns what was found: denials by identity, witnesses by [Who]; with it whether anything is new since
// it was asked last with settle.
func (t *Tally) Found(settle bool) (p nhi.Promotion, f nhi.PromotionFound, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.Denials, f.Witnesses = make([]nhi.PromotionDenial, 0, len(t.denials)), make([]nhi.PromotionWitness, 0, len(t.witnesses))
	for _, d := range t.denials {
		f.Denials = append(f.Denials, *d)
	}
	for _, all := range t.witnesses {
		f.Witnesses = append(f.Witnesses, all...)
	}
	slices.SortFunc(f.Denials, func(a, b nhi.PromotionDenial) int {
		return cmp.Or(cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Action, b.Action), slices.Compare(a.Policies, b.Policies))
	})
	slices.SortFunc(f.Witnesses, func(a, b nhi.PromotionWitness) int {
		return cmp.Or(cmp.Compare(Who(&a), Who(&b)), a.At.Compare(b.At), cmp.Compare(a.Decision, b.Decision))
	})
	changed = t.changed
	if settle {
		t.changed = false
	}
	return t.p, f, changed
}

// Explained returns what explains a denial; nil: nothing does.
func (t *Tally) Explained(d *nhi.PromotionDenial) *nhi.Acknowledgement {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.explained(d); a != nil {
		out := *a
		return &out
	}
	return nil
}
