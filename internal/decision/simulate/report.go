package simulate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Bounds on a report: a candidate may change every decision of millions of
// callers.
const (
	maxExamples = 20     // of each kind
	maxShown    = 50     // groups of each sort
	maxGroups   = 20_000 // of each sort, while counting
	maxIDs      = 3      // examples of a group
)

// A Report says what would change.
type Report struct {
	Decisions  uint64    `json:"decisions"` // that were looked at
	Judged     uint64    `json:"judged"`    // that could be asked again
	Unanswered uint64    `json:"unanswered"`
	Changed    uint64    `json:"changed"`
	Denied     uint64    `json:"newly_denied"`
	StepUp     uint64    `json:"newly_step_up"`
	Allowed    uint64    `json:"newly_allowed"`
	Errors     uint64    `json:"errors"`         // policies of the candidate that erred
	From       time.Time `json:"from,omitzero"`  // earliest decision that was looked at
	Until      time.Time `json:"until,omitzero"` // latest
	Seconds    float64   `json:"seconds"`        // it took, pauses and all
	Identities []Group   `json:"identities"`     // the most changed first
	Resources  []Group   `json:"resources"`      // likewise
	Owners     []Group   `json:"owners"`         // likewise
	Policies   []Group   `json:"policies"`       // of the candidate, that determined the new answers
	Cut        bool      `json:"cut"`            // there are more groups than are shown
	Examples   []Example `json:"examples"`       // the first of each kind
}

// A Group are the changed decisions that have something in common.
type Group struct {
	Name     string   `json:"name"`
	Denied   uint64   `json:"newly_denied"`
	StepUp   uint64   `json:"newly_step_up"`
	Allowed  uint64   `json:"newly_allowed"`
	Examples []string `json:"examples"` // ids of decisions
}

func (g *Group) changed() uint64 { return g.Denied + g.StepUp + g.Allowed }

// An Example is one decision that would change.
type Example struct {
	Kind     Kind      `json:"kind"`
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Identity nhi.ID    `json:"identity"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Before   string    `json:"before"`
	After    string    `json:"after"`
	Policies []string  `json:"policies"`
	Reason   string    `json:"reason"`
}

// A Tally counts differences. It is not for concurrent use.
type Tally struct {
	owner  func(nhi.ID) string
	r      Report
	groups [4]map[string]*Group // identities, resources, owners, policies
	kinds  map[Kind]int         // examples
}

// NewTally returns a Tally; owner may be nil, see [Options].
func NewTally(owner func(nhi.ID) string) *Tally {
	t := &Tally{owner: owner, kinds: map[Kind]int{}}
	for i := range t.groups {
		t.groups[i] = map[string]*Group{}
	}
	return t
}

// Add judges d and counts it.
func (t *Tally) Add(trial *Trial, d *nhi.Decision) {
	r := &t.r
	r.Decisions++
	if r.From.IsZero() || d.At.Before(r.From) {
		r.From = d.At
	}
	if d.At.After(r.Until) {
		r.Until = d.At
	}
	diff, v, errs := trial.Judge(d)
	r.Errors += uint64(errs)
	if v == Unanswered {
		r.Unanswered++
		return
	}
	if r.Judged++; v == Same {
		return
	}
	r.Changed++
	count(&r.Denied, &r.StepUp, &r.Allowed, diff.Kind)
	if t.kinds[diff.Kind]++; t.kinds[diff.Kind] <= maxExamples {
		r.Examples = append(r.Examples, Example{
			Kind: diff.Kind, ID: d.ID, At: d.At.UTC(), Identity: d.Identity, Action: string(d.Action), Resource: d.Resource,
			Before: diff.Before, After: diff.After, Policies: diff.Policies, Reason: diff.Reason,
		})
	}
	t.group(0, string(d.Identity), &diff)
	t.group(1, d.Resource, &diff)
	if t.owner != nil {
		t.group(2, cmp.Or(t.owner(d.Identity), "nobody"), &diff)
	}
	for _, id := range diff.Policies {
		t.group(3, id, &diff)
	}
}

func count(denied, stepUp, allowed *uint64, k Kind) {
	switch k {
	case NewlyDenied:
		*denied++
	case NewlyStepUp:
		*stepUp++
	case NewlyAllowed:
		*allowed++
	}
}

func (t *Tally) group(sort int, name string, diff *Difference) {
	g := t.groups[sort][name]
	if g == nil {
		if len(t.groups[sort]) >= maxGroups {
			t.r.Cut = true
			return
		}
		g = &Group{Name: name}
		t.groups[sort][name] = g
	}
	count(&g.Denied, &g.StepUp, &g.Allowed, diff.Kind)
	if len(g.Examples) < maxIDs {
		g.Examples = append(g.Examples, diff.Decision.ID)
	}
}

// Report returns what was counted so far.
func (t *Tally) Report() *Report {
	r := t.r
	r.Examples = slices.Clone(r.Examples)
	if r.Examples == nil {
		r.Examples = []Example{}
	}
	for i, list := range []*[]Group{&r.Identities, &r.Resources, &r.Owners, &r.Policies} {
		*list = most(t.groups[i])
		r.Cut = r.Cut || len(t.groups[i]) > maxShown
	}
	return &r
}

func (t *Tally) report(start time.Time) *Report {
	r := t.Report()
	r.Seconds = time.Since(start).Seconds()
	return r
}

// most returns the largest groups, the largest first.
func most(groups map[string]*Group) []Group {
	all := slices.SortedFunc(maps.Values(groups), func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.changed(), a.changed()), strings.Compare(a.Name, b.Name))
	})
	out := make([]Group, 0, min(len(all), maxShown))
	for _, g := range all[:min(len(all), maxShown)] {
		one := *g
		one.Examples = slices.Clone(g.Examples)
		out = append(out, one)
	}
	return out
}
