package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

// afresh is what Cedar says of q, whatever is remembered.
func afresh(s *Set, q *nhi.Question) nhi.Ruling {
	action, _ := request.ActionIndex(q.Action)
	e := newEvaluation(s)
	e.Ask(s.request, q, action)
	return e.evaluate(action)
}

// remembers reports whether the ruling on q is known.
func remembers(s *Set, q *nhi.Question) bool {
	action, _ := request.ActionIndex(q.Action)
	e := newEvaluation(s)
	e.Ask(s.request, q, action)
	known, ok := s.rulings.Look(e.Key())
	return ok && known.sees&e.Fleeting() == 0
}

// alike makes random questions more alike, so that many have one key.
func alike(r *rand.Rand, q *nhi.Question) *nhi.Question {
	k := &q.Known
	k.Identity, k.IdentityState, k.Owned = true, nhi.Active, true
	k.Credential, k.CredentialState, q.Subject.Assurance, q.Subject.SenderBound, q.Subject.Asserted = true, nhi.CredentialActive, 3, true, false
	k.Sensitivity, k.Country, k.IdentityEnvironment, q.Subject.Credential, k.Purpose = 1+r.IntN(2)*2, "DE", nhi.Environment{Name: "prod", Class: nhi.Production}, "crd_1", ""
	k.Resource, k.ASN, k.NewNetwork, k.NewAction = true, uint32(r.IntN(2)*8), false, false
	k.Risk, k.Surprise, k.RateHundreds = r.IntN(60), r.IntN(300), r.IntN(300)
	q.Subject.Identity, q.Resource = nhi.ID(fmt.Sprint("nhi_", r.IntN(30))), fmt.Sprint("r", r.IntN(30)) // most of them are not named
	if r.IntN(3) > 0 {
		k.Attestation = nil
	}
	if r.IntN(3) > 0 {
		k.Approval, q.Subject.Actors = nil, nil
	}
	return q
}

func TestARememberedRulingIsTheOneThatCedarGives(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	hits, asked := 0, 0
	for range 40 {
		text := randomPolicies(r, 1+r.IntN(20))
		set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": text})
		for range 200 {
			q := alike(r, randomQuestion(r))
			if asked++; remembers(set, q) {
				hits++
			}
			if diff := cmp.Diff(afresh(set, q), set.Evaluate(q)); diff != "" {
				t.Fatalf("seed %d, question %+v: (-Cedar +remembered):\n%s\n%s", seed, q, diff, text)
			}
		}
	}
	if hits < asked/20 || hits == asked {
		t.Errorf("seed %d: %d of %d rulings were remembered", seed, hits, asked)
	}
}

func TestWhatIsHardlyEverTheSameIsAskedAgain(t *testing.T) {
	set := mustLoad(t, Settings{RequireGrant: true, RiskDeny: 100, SurpriseStepUp: 1000}, map[string]string{"x.cedar": `
@id("young") permit (principal, action == Action::"read", resource) when { context has attestation && context.attestation.age <= 60 };
@id("approved") permit (principal, action == Action::"delete", resource) when { context has approval && context.approval.left > 0 };
@id("early") permit (principal, action == Action::"list", resource) when { context.now < datetime("2026-01-01") };
@id("alone") permit (principal, action == Action::"admin", resource) when { context.delegation.depth == 0 };
@id("any") permit (principal, action == Action::"write", resource);`})
	for _, tt := range []struct {
		name          string
		action        nhi.ActionClass
		before, after func(*nhi.Question)
		remembered    bool // the ruling before
	}{
		{"an attestation grows old", nhi.Read, func(q *nhi.Question) { q.Known.Attestation = &nhi.Attestation{At: q.At} },
			func(q *nhi.Question) { q.Known.Attestation, q.At = &nhi.Attestation{At: q.At}, q.At.Add(time.Hour) }, false},
		{"an attestation goes", nhi.Read, func(q *nhi.Question) { q.Known.Attestation = &nhi.Attestation{At: q.At} }, func(*nhi.Question) {}, false},
		{"an approval goes", nhi.Delete, func(q *nhi.Question) { q.Known.Approval = &nhi.Approval{Expires: q.At.Add(time.Hour)} }, func(*nhi.Question) {}, false},
		{"time goes on", nhi.List, func(q *nhi.Question) { q.At = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) },
			func(q *nhi.Question) { q.At = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }, false},
		{"somebody acts for it", nhi.Admin, func(*nhi.Question) {}, func(q *nhi.Question) { q.Subject.Actors = []nhi.ID{"nhi_b"} }, true},
	} {
		before, after := usual(), usual()
		for _, q := range []*nhi.Question{before, after} {
			q.Action, q.Known.Attestation, q.Known.Approval, q.Subject.Actors = tt.action, nil, nil, nil
			q.Subject.Assurance, q.Subject.SenderBound = nhi.AssuranceAttested, true
		}
		tt.before(before)
		tt.after(after)
		if got := set.Evaluate(before); got.Outcome != nhi.Allow {
			t.Errorf("%s: first it is %s: %v", tt.name, got.Outcome, policies(got))
		}
		if got := remembers(set, before); got != tt.remembered {
			t.Errorf("%s: remembered: %v", tt.name, got)
		}
		if got := set.Evaluate(after); got.Outcome == nhi.Allow {
			t.Errorf("%s: it is still allowed", tt.name)
		}
	}
	q := usual()
	q.Action, q.Known.Attestation = nhi.Write, &nhi.Attestation{At: q.At}
	if set.Evaluate(q); !remembers(set, q) {
		t.Error("what no policy that was asked can see keeps a ruling from being remembered")
	}
}

func TestAppendingToARulingLeavesTheNextAsItWas(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), nil)
	q := usual()
	q.Known.IdentityState = nhi.Quarantined
	want := afresh(set, q)
	for range 3 {
		got := set.Evaluate(q)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		_ = append(got.Reasons, nhi.Reason{Policy: "mine"})
		_ = append(got.StepUp, nhi.StepApprove)
		if all := got.Reasons[:cap(got.Reasons)]; len(all) != len(want.Reasons) {
			t.Fatalf("a list has room for %d more", len(all)-len(want.Reasons))
		}
	}
}

// TestAnUnnamedCredentialIsNoNamedOne: what stands for a credential that no
// policy names must not be what a policy names.
func TestAnUnnamedCredentialIsNoNamedOne(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": `
@id("empty") forbid (principal, action, resource) when { context has credential && context.credential == Credential::"" };`})
	if got := set.Evaluate(usual()); got.Outcome != nhi.Allow {
		t.Errorf("%s: %v", got.Outcome, policies(got))
	}
}
