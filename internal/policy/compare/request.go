package compare

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// Bounds on what is asked and shown.
const (
	MaxRequests = 200_000
	maxExamples = 40
	maxAlike    = 3 // examples of one kind by one policy
)

// A Who is an identity that requests are made by.
type Who struct {
	ID          nhi.ID
	Known       bool
	Kind        nhi.Kind
	State       nhi.State
	Owned       bool
	Risk        int
	Environment nhi.Environment
}

// A Where is a resource that requests are about.
type Where struct {
	Name                          string
	Labelled                      bool
	Sensitivity                   int
	Environment                   nhi.Environment
	Service, Region, Jurisdiction string
}

// A How are the circumstances of requests. Who and where its question says are
// not looked at.
type How struct {
	Name     string
	Question nhi.Question
}

// Someone is an owned, active workload that nothing is wrong with.
func Someone(id nhi.ID) Who {
	return Who{ID: id, Known: true, Kind: nhi.KindWorkload, State: nhi.Active, Owned: true, Environment: nhi.Environment{Class: nhi.ClassUnknown}}
}

// Somewhere is a resource that somebody labelled.
func Somewhere(name string, sensitivity int) Where {
	return Where{Name: name, Labelled: true, Sensitivity: sensitivity, Environment: nhi.Environment{Class: nhi.ClassUnknown}}
}

// A World is what requests are made of: each of Who does each action on each
// Where under each How.
type World struct {
	Who   []Who
	Where []Where
	How   []How
}

// Representative is a world that every set of policies is tried on: an identity
// of each kind, a resource of each sensitivity, and the circumstances that the
// built-in guards look at.
func Representative() *World {
	w := &World{}
	for _, kind := range []nhi.Kind{
		nhi.KindWorkload, nhi.KindUser, nhi.KindRole, nhi.KindServiceAccount, nhi.KindCIJob, nhi.KindAgent, nhi.KindService, nhi.KindUnknown,
	} {
		who := Someone(nhi.ID("nhi_some_" + cmp.Or(string(kind), "identity")))
		who.Kind = kind
		w.Who = append(w.Who, who)
	}
	for sensitivity := range nhi.MaxSensitivity + 1 {
		w.Where = append(w.Where, Somewhere(fmt.Sprintf("some resource of sensitivity %d", sensitivity), sensitivity))
	}
	at := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC) // a Monday
	add := func(name string, change func(q *nhi.Question)) {
		q := nhi.Question{At: at, Subject: nhi.Attested{Method: "token", Assurance: nhi.AssuranceShort}}
		change(&q)
		w.How = append(w.How, How{name, q})
	}
	add("with a token", func(*nhi.Question) {})
	add("with a static key", func(q *nhi.Question) {
		q.Subject.Method, q.Subject.Assurance = "api-key", nhi.AssuranceStatic
		q.Known.Credential, q.Known.CredentialState = true, nhi.CredentialActive
	})
	add("with a token bound to its key, attested a minute ago", func(q *nhi.Question) {
		q.Subject.SenderBound, q.Subject.Assurance = true, nhi.AssuranceAttested
		q.Known.Attestation = &nhi.Attestation{Method: "oidc", At: at.Add(-time.Minute), Level: nhi.EvidencePlatform}
	})
	add("from a network that is new", func(q *nhi.Question) { q.Known.NewNetwork = true })
	add("with an approval", func(q *nhi.Question) {
		q.Known.Approval = &nhi.Approval{ID: "apr_some", Expires: at.Add(time.Minute), Votes: []nhi.Vote{{Person: "per_1", Yes: true}, {Person: "per_2", Yes: true}}}
	})
	add("at night, on a Sunday", func(q *nhi.Question) { q.At = time.Date(2026, 1, 4, 2, 30, 0, 0, time.UTC) })
	return w
}

// Add adds to w what it has not got. The identity, resource and circumstances
// of a question are added by [World.Question].
func (w *World) Add(who []Who, where []Where) {
	for _, x := range who {
		if !slices.Contains(w.Who, x) {
			w.Who = append(w.Who, x)
		}
	}
	for _, x := range where {
		if !slices.Contains(w.Where, x) {
			w.Where = append(w.Where, x)
		}
	}
}

// Question adds the identity, the resource and the circumstances of q, which
// people know by this name.
func (w *World) Question(name string, q *nhi.Question) {
	k := &q.Known
	w.Add([]Who{{ID: q.Subject.Identity, Known: k.Identity, Kind: k.Kind, State: k.IdentityState, Owned: k.Owned, Risk: k.Risk, Environment: k.IdentityEnvironment}},
		[]Where{{Name: q.Resource, Labelled: k.Resource, Sensitivity: k.Sensitivity, Environment: k.ResourceEnvironment, Service: k.Service, Region: k.Region, Jurisdiction: k.Jurisdiction}})
	w.How = append(w.How, How{name, *q})
}

// actions are all classes of action.
var actions = []nhi.ActionClass{nhi.Read, nhi.List, nhi.Write, nhi.Delete, nhi.Admin, nhi.Issue, nhi.Exchange, nhi.Assume}

// size is how many requests the world is made of.
func (w *World) size() int { return len(w.Who) * len(w.Where) * len(w.How) * len(actions) }

// request makes the nth request.
func (w *World) request(n int) (q nhi.Question, how string) {
	action := actions[n%len(actions)]
	n /= len(actions)
	h := &w.How[n%len(w.How)]
	n /= len(w.How)
	where := &w.Where[n%len(w.Where)]
	who := &w.Who[n/len(w.Where)]
	q = h.Question
	q.Action, q.Subject.Identity, q.Resource = action, who.ID, where.Name
	k := &q.Known
	k.Identity, k.Kind, k.IdentityState, k.Owned, k.Risk, k.IdentityEnvironment = who.Known, who.Kind, who.State, who.Owned, who.Risk, who.Environment
	k.Resource, k.Sensitivity, k.ResourceEnvironment = where.Labelled, where.Sensitivity, where.Environment
	k.Service, k.Region, k.Jurisdiction = where.Service, where.Region, where.Jurisdiction
	return q, h.Name
}

// Effects say what two sets answer differently.
type Effects struct {
	Requests int       `json:"requests"` // that both were asked
	Cut      bool      `json:"cut"`      // there would have been more: only some of them were asked
	Changed  int       `json:"changed"`
	Denied   int       `json:"newly_denied"`
	StepUp   int       `json:"newly_step_up"`
	Allowed  int       `json:"newly_allowed"`
	Examples []Example `json:"examples"` // of each kind and policy some
}

// An Example is a request that the two sets answer differently.
type Example struct {
	Kind     string   `json:"kind"` // newly-denied, newly-step-up, newly-allowed
	Identity string   `json:"identity"`
	Action   string   `json:"action"`
	Resource string   `json:"resource"`
	How      string   `json:"how"` // the circumstances
	Before   string   `json:"before"`
	After    string   `json:"after"`
	Policies []string `json:"policies"` // that determined the new answer
	Reason   string   `json:"reason"`
}

// Requests asks both sets the requests of a world: all, or if there are over
// [MaxRequests] an even choice of them. The error is that of ctx.
func Requests(ctx context.Context, a, b *policy.Set, w *World) (*Effects, error) {
	out := &Effects{Examples: []Example{}}
	size := w.size()
	step := max(1, (size+MaxRequests-1)/MaxRequests)
	if out.Cut = step > 1; out.Cut {
		step |= 1 // so that it meets every action
	}
	shown := map[string]int{}
	for n := 0; n < size; n += step {
		if out.Requests++; out.Requests%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		q, how := w.request(n)
		before, after := a.Evaluate(&q), b.Evaluate(&q)
		kind := out.count(&before, &after)
		if kind == "" {
			continue
		}
		if len(out.Examples) >= maxExamples {
			continue
		}
		cause := kind
		if len(after.Reasons) > 0 {
			cause += " " + after.Reasons[0].Policy
		}
		if shown[cause]++; shown[cause] > maxAlike {
			continue
		}
		e := Example{
			Kind: kind, Identity: string(q.Subject.Identity), Action: string(q.Action), Resource: q.Resource, How: how,
			Before: answer(&before), After: answer(&after), Policies: []string{},
		}
		for i := range after.Reasons {
			e.Policies = append(e.Policies, after.Reasons[i].Policy)
		}
		if len(after.Reasons) > 0 {
			e.Reason = after.Reasons[0].Text
		}
		out.Examples = append(out.Examples, e)
	}
	return out, ctx.Err()
}

// count counts a difference and names its kind, empty when there is none.
func (e *Effects) count(before, after *nhi.Ruling) string {
	if before.Outcome == after.Outcome && slices.Equal(before.StepUp, after.StepUp) {
		return ""
	}
	e.Changed++
	switch after.Outcome {
	case nhi.Allow:
		e.Allowed++
		return "newly-allowed"
	case nhi.StepUp:
		e.StepUp++
		return "newly-step-up"
	}
	e.Denied++
	return "newly-denied"
}

func answer(r *nhi.Ruling) string {
	if len(r.StepUp) == 0 {
		return string(r.Outcome)
	}
	text := string(r.Outcome) + "("
	for i, k := range r.StepUp {
		if i > 0 {
			text += ", "
		}
		text += string(k)
	}
	return text + ")"
}
