package detect

import (
	"math"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/useragent"
)

// memoryOfSigns is how long signs of a person add up.
const memoryOfSigns = hour

// The signs of a person that are found by code; those that are lists of
// operations or words stand in the rule.
const (
	signConsole uint32 = 1 << iota // a console or browser session
	signTool                       // a person's tool where a library is usual
	signPlace                      // from a provider it was never used from
	signTypos                      // several calls that fail as mistyped ones do
	signListed                     // the first of the rule's own signs; more follow
)

// judgeHuman adds up signs that a person sits behind a non-human identity.
// Each sign counts once an hour. None of them says anything about an identity
// that people use by habit, or about one that is a person's by its type.
func (d *Detector) judgeHuman(ev *nhi.Event, score *surprise.Score, a *actor, at int64) {
	r := d.rules.byID["DET-20"]
	found, name := d.signs(r, ev, score, a)
	if found == 0 || person(ev) || a.Consoles*20 > a.Events {
		return
	}
	if at-a.Human > memoryOfSigns {
		a.Signs = 0
	}
	if a.Signs|found == a.Signs && len(a.stories()) > 0 {
		return
	}
	a.Signs |= found
	a.Human = at
	b := 0.0
	for i, w := range r.weights {
		if a.Signs&(1<<i) != 0 {
			b += w
		}
	}
	if a.Events < settled || !score.Established {
		b = min(b, r.Young) // who it belongs to is not known yet
	}
	if b < 8 {
		return
	}
	d.hits = append(d.hits, hit{rule: r, dim: human, bits: b, feature: nhi.Feature{
		Name: r.Feature, Usual: r.Usual, Seen: name, Bits: math.Round(b*10) / 10,
	}})
}

// signs returns the signs that an event shows, and the name of the strongest.
func (d *Detector) signs(r *Rule, ev *nhi.Event, score *surprise.Score, a *actor) (found uint32, name string) {
	strongest := -1.0
	add := func(sign uint32, i int, what string) {
		found |= sign
		if w := r.weights[i]; w > strongest {
			strongest, name = w, what
		}
	}
	if ev.Principal.Interactive && ev.Status == nhi.Success {
		add(signConsole, 0, "a console or browser session")
	}
	if score.NewAgent {
		family := useragent.Family(ev.Agent)
		if useragent.Human(family) {
			add(signTool, 1, family)
		}
		low := strings.ToLower(ev.Agent)
		for i, s := range r.Signs {
			for _, word := range s.Agents {
				if strings.Contains(low, word) {
					add(signListed<<i, 4+i, s.Name)
				}
			}
		}
	}
	if score.NewASN && found != 0 {
		add(signPlace, 2, "")
	}
	if typo(ev) && a.win.open && a.win.denied >= 2 {
		add(signTypos, 3, "mistyped calls")
	}
	if score.NewAction {
		for i, s := range r.Signs {
			for _, op := range s.Operations {
				if op == ev.Operation {
					add(signListed<<i, 4+i, action(ev))
				}
			}
		}
	}
	return found, name
}

// typo reports whether a call failed as calls do that a person types.
func typo(ev *nhi.Event) bool {
	return ev.Status == nhi.Failure && (strings.HasPrefix(ev.Error, "NoSuch") || strings.HasPrefix(ev.Error, "Validation") ||
		strings.HasPrefix(ev.Error, "InvalidParameter") || strings.HasPrefix(ev.Error, "MalformedQuery") || strings.HasSuffix(ev.Error, "NotFoundException"))
}

// person reports whether the principal is a person's by its type.
func person(ev *nhi.Event) bool {
	switch ev.Principal.Type {
	case "Root", "SAMLUser", "IdentityCenterUser", "Directory":
		return true
	}
	return strings.HasPrefix(ev.Principal.Name, "AWSReservedSSO_")
}
