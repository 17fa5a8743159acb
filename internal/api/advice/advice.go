// Package advice says for people what to do about a refusal. Policies say what
// would have to be different about a request, in Cedar; whose turn it is then, and
// by which command, depends on the guard, or on the reason when no policy gave it.
package advice

import (
	"slices"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

// guardAdvice says for people what to do about the refusal of a guard that no
// step-up unlocks, by the guard's id.
var guardAdvice = map[string]string{
	"unknown-subject":          "present a key or token that Muster knows: muster credential create or register, or, for a platform's tokens, a rule by muster source apply trust.yaml",
	"identity-quarantined":     "have the quarantine taken back once its cause is dealt with: muster action list, then muster action undo ID",
	"identity-inactive":        "ask as an identity that is active: muster identity show says what state this one is in",
	"credential-suspended":     "use another credential, or take back what suspended this one: muster action list, then muster action undo ID",
	"credential-revoked":       "use another credential: what is revoked stays revoked",
	"credential-expired":       "use a credential that has not expired",
	"credential-unknown-state": "use another credential: muster credential list says which are active",
	"unowned-issue":            "name an owner: muster identity set-owner NAME team:...",
	"unowned-admin":            "name an owner: muster identity set-owner NAME team:...",
	"unowned-sensitive":        "name an owner: muster identity set-owner NAME team:...",
	"risk-too-high":            "deal with what makes it a risk: muster finding list --identity NAME",
	"environment-crossing":     "use an identity of the same side; which environments are production is in the settings of the server",
}

// reasonAdvice says the same of reasons that no policy gave.
var reasonAdvice = map[string]string{
	"route-none":           "say where such requests lead, if they should pass: muster resource show routes, add host, path and method, then muster resource apply routes.yaml; a path that can be read in two ways, and a resource that the point does not guard, are refused like this, too",
	"resource-none":        "name a resource: muster resource show resources says which are declared",
	"action-unknown":       "name the action by a word that is known, or give the route a class: read, list, write, delete, admin, issue, exchange or assume",
	"facts-stale":          "have the server follow its database again: /readyz?verbose says why it does not",
	"state-none":           "let the point reach its server once: its log and /readyz?verbose say why it does not",
	"lease-none":           "bring the server back, or the network to it: /readyz?verbose of the point says since when; in an emergency, muster point break-glass --help",
	"dead":                 "use another credential, or take back what suspended this one: muster action list, then muster action undo ID",
	"log-unavailable":      "make it possible to record decisions again: /readyz?verbose names the cause, often a full disk",
	"approval-unasked":     "answer what waits already: muster approval list --filter state:pending",
	"approval-unavailable": "send the request again, so that people are asked anew",
	"internal-error":       "look for its id in the log of the server",
}

// Put puts words for people into what would unlock d: those of guards
// instead of none, where to say yes, and a line for what no policy says.
func Put(d *nhi.Decision, unlock []client.Unlock) []client.Unlock {
	for i := range unlock {
		u := &unlock[i]
		u.Ways = shortest(u.Ways)
		if words, ok := guardAdvice[u.Policy]; ok && u.StepUp == "" {
			u.Words = words
		} else if u.StepUp == string(nhi.StepApprove) {
			u.Words += ": muster approval list --filter state:pending, or the page Approvals of the console"
		}
	}
	for i := range d.Reasons {
		r := &d.Reasons[i]
		known := slices.ContainsFunc(unlock, func(u client.Unlock) bool { return u.Policy == r.Policy })
		if words, ok := reasonAdvice[r.Policy]; ok && !known && r.Position == "" {
			unlock = append(unlock, client.Unlock{Policy: r.Policy, Words: words, Ways: [][]client.UnlockChange{}})
		}
	}
	return unlock
}

// shortest leaves out what a way before it, which has fewer changes, does alone.
func shortest(ways [][]client.UnlockChange) [][]client.UnlockChange {
	out := ways[:0]
	for _, way := range ways {
		has := func(c client.UnlockChange) bool {
			return slices.ContainsFunc(way, func(d client.UnlockChange) bool { return d.Text == c.Text && d.Want == c.Want })
		}
		if !slices.ContainsFunc(out, func(before []client.UnlockChange) bool {
			return !slices.ContainsFunc(before, func(c client.UnlockChange) bool { return !has(c) })
		}) {
			out = append(out, way)
		}
	}
	return out
}
