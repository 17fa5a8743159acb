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

// alike is a question that the guards let pass, but for a few fields that it has
// from q, so that many have one key.
func alike(r *rand.Rand, q *nhi.Question) *nhi.Question {
	env := func() nhi.Environment {
		return nhi.Environment{Name: pickOne(r, "prod", "prod", "test", "other"), Class: nhi.Production}
	}
	out := &nhi.Question{Action: q.Action, At: q.At, Subject: nhi.Attested{Credential: pickOne[nhi.CredentialID](r, "crd_1", "crd_1", "crd_2", "crd_3"), Assurance: nhi.AssuranceAttested, SenderBound: true}, Known: nhi.Known{
		Identity: true, Kind: pickOne(r, nhi.KindWorkload, nhi.KindWorkload, nhi.KindRole), IdentityState: nhi.Active, Owned: true, IdentityEnvironment: env(), Credential: true, CredentialState: nhi.CredentialActive,
		Resource: true, Sensitivity: 1 + r.IntN(2)*2, ResourceEnvironment: env(), Country: "DE", ASN: uint32(r.IntN(2) * 8),
	}}
	if r.IntN(3) > 0 {
		out = mixed(r, out, q)
	}
	k := &out.Known
	if r.IntN(3) == 0 {
		k.Attestation, k.Approval, out.Subject.Actors = q.Known.Attestation, q.Known.Approval, q.Subject.Actors
	}
	if r.IntN(3) > 0 { // about the times that policies name, in UTC and in Tokyo, and when clocks are set
		turn := pickOne(r, time.Time{}, time.Date(1972, 1, 7, 0, 44, 30, 0, time.UTC), time.Date(2025, 10, 4, 15, 30, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 6, 3, 15, 0, 0, 0, time.UTC), time.Date(2025, 6, 3, 15, 40, 0, 0, time.UTC))
		out.At = turn.Add(pickOne(r, 0, -time.Millisecond, time.Millisecond, time.Duration(r.IntN(120)-60)*time.Second, time.Duration(r.IntN(5)-2)*time.Minute))
	}
	if r.IntN(2) == 0 {
		k.Attestation = &nhi.Attestation{
			At: out.At.Add(-time.Duration(pickOne(r, 0, 2, 3, 39, 40, 41, 50, 60, 70, 101)) * time.Second), Method: pickOne(r, "DE", "DE", ""), Level: nhi.EvidenceLevel(2 + r.IntN(2)),
			Device: pickOne(r, nhi.Device{}, nhi.Device{}, nhi.Device{ID: "d"}, nhi.Device{ID: "d", Attested: true}), Selectors: pickOne(r, nil, nil, nil, []string{"a:b"}),
		}
		k.Attestation.At = k.Attestation.At.Add(pickOne(r, 0, 0, time.Millisecond, -time.Millisecond))
		if r.IntN(20) == 0 { // older than a Duration can tell
			k.Attestation.At = time.Time{}
		}
	}
	for _, n := range []*int{&k.Risk, &k.Surprise, &k.RateHundreds} { // near what policies name, and elsewhere
		*n = pickOne(r, 20, 20, 20, r.IntN(70), 0, 2, 3, 4, 7, 39, 40, 41)
	}
	k.Surprise = pickOne(r, k.Surprise, k.Surprise, 99, 100, 101)
	out.Subject.Identity, out.Resource = nhi.ID(fmt.Sprint("nhi_", r.IntN(30))), fmt.Sprint("r", r.IntN(30)) // most of them are not named
	return out
}

func TestARememberedRulingIsTheOneThatCedarGives(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	hits, asked := 0, 0
	for range 100 {
		text := randomPolicies(r, 1+r.IntN(pickOne(r, 4, 20)))
		set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": text})
		for range 150 {
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
@id("machine") permit (principal, action == Action::"exchange", resource) when { context has device && context.device.attested };
@id("deep") permit (principal, action == Action::"assume", resource) when { context.delegation.actors.isEmpty() };
@id("round") permit (principal, action == Action::"issue", resource) when { context.now.toTime() < duration("12h") };
@id("any") permit (principal, action == Action::"write", resource);`})
	for _, tt := range []struct {
		name          string
		action        nhi.ActionClass
		before, after func(*nhi.Question)
		remembered    bool // the ruling before
	}{
		{"an attestation grows old", nhi.Read, func(q *nhi.Question) { q.Known.Attestation = &nhi.Attestation{At: q.At} },
			func(q *nhi.Question) { q.Known.Attestation, q.At = &nhi.Attestation{At: q.At}, q.At.Add(time.Hour) }, true},
		{"an attestation goes", nhi.Read, func(q *nhi.Question) { q.Known.Attestation = &nhi.Attestation{At: q.At} }, func(*nhi.Question) {}, true},
		{"a device goes", nhi.Exchange, func(q *nhi.Question) {
			q.Known.Attestation = &nhi.Attestation{At: q.At, Device: nhi.Device{ID: "d", Attested: true}}
		},
			func(q *nhi.Question) { q.Known.Attestation = &nhi.Attestation{At: q.At} }, true},
		{"an approval goes", nhi.Delete, func(q *nhi.Question) { q.Known.Approval = &nhi.Approval{Expires: q.At.Add(time.Hour)} }, func(*nhi.Question) {}, false},
		{"time goes on", nhi.List, func(q *nhi.Question) { q.At = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) },
			func(q *nhi.Question) { q.At = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }, true},
		{"the day goes on", nhi.Issue, func(q *nhi.Question) { q.At = time.Date(2025, 1, 1, 11, 0, 0, 0, time.UTC) },
			func(q *nhi.Question) { q.At = time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC) }, false},
		{"somebody acts for it", nhi.Admin, func(*nhi.Question) {}, func(q *nhi.Question) { q.Subject.Actors = []nhi.ID{"nhi_b"} }, true},
		{"somebody acts for it, who may matter", nhi.Assume, func(*nhi.Question) {}, func(q *nhi.Question) { q.Subject.Actors = []nhi.ID{"nhi_b"} }, true},
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
