package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

func TestAnExplanationSaysWhatWasTrueAndWhatWouldUnlockIt(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), map[string]string{"pay.cedar": `@id("fresh") @text("Payments want a fresh attestation.") @stepup("reattest")
forbid (principal, action, resource == Resource::"payments")
when { resource.sensitivity >= 1 && (context.country == "DE" || context.rate > 5) }
unless { context has attestation && context.attestation.age <= 300 };`})
	q := usual()
	q.Resource, q.Known.Sensitivity, q.Known.Country, q.Known.RateHundreds = "payments", 1, "NL", 9
	q.Known.Attestation = &nhi.Attestation{Method: "oidc", At: q.At.Add(-412 * time.Second), Level: 1}
	got := set.Explain(q)
	if got.Ruling.Outcome != nhi.StepUp || len(got.Policies) != 1 {
		t.Fatalf("%+v", got)
	}
	age := []Input{{"context.attestation.age", "412", "token"}}
	want := Explained{
		ID: "fresh", Effect: "forbid", StepUp: nhi.StepReattest, Position: "pay.cedar:1", Text: "Payments want a fresh attestation.", Matched: true,
		Parts: []Part{
			{"scope", 0, "", `resource == Resource::"payments"`, IsTrue, []Input{{"resource", `Resource::"payments"`, "point"}}},
			{"when", 0, "and", `resource.sensitivity >= 1 && (context.country == "DE" || context.rate > 5)`, IsTrue, nil},
			{"when", 1, "", `resource.sensitivity >= 1`, IsTrue, []Input{{"resource.sensitivity", "1", "inventory"}}},
			{"when", 1, "or", `context.country == "DE" || context.rate > 5`, IsTrue, nil},
			{"when", 2, "", `context.country == "DE"`, IsFalse, []Input{{"context.country", `"NL"`, "geography"}}},
			{"when", 2, "", `context.rate > 5`, IsTrue, []Input{{"context.rate", "9", "detector"}}},
			{"unless", 0, "and", `context has attestation && context.attestation.age <= 300`, IsFalse, nil},
			{"unless", 1, "", `context has attestation`, IsTrue, nil},
			{"unless", 1, "", `context.attestation.age <= 300`, IsFalse, age},
		},
	}
	got.Policies[0].Parts[7].Values = nil // the whole record
	if diff := cmp.Diff(want, got.Policies[0]); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	unlock := []Unlock{{
		Policy: "fresh", StepUp: nhi.StepReattest, Words: StepUpWords(nhi.StepReattest),
		Ways: [][]Change{
			{{"resource.sensitivity >= 1", false, []Input{{"resource.sensitivity", "1", "inventory"}}}},
			{{"context.rate > 5", false, []Input{{"context.rate", "9", "detector"}}}},
			{{"context.attestation.age <= 300", true, age}},
		},
	}}
	if diff := cmp.Diff(unlock, got.Unlock); diff != "" {
		t.Errorf("unlock (-want +got):\n%s", diff)
	}
	for _, want := range []Input{{"context.purpose", "", ""}, {"context.credential.state", `"active"`, "inventory"}, {"principal.risk", "0", "detector"}} {
		i := slices.IndexFunc(got.Inputs, func(i Input) bool { return i.Name == want.Name })
		if (i >= 0) != (want.From != "") || i >= 0 && got.Inputs[i].From != want.From {
			t.Errorf("input %s is not as wanted in %+v", want.Name, got.Inputs)
		}
	}
}

func TestADenialWithoutAPermitShowsTheNearestOnes(t *testing.T) {
	settings := DefaultSettings()
	settings.RequireGrant = true
	set := mustLoad(t, settings, map[string]string{"x.cedar": `
@id("far") permit (principal in Identity::"nhi_other", action == Action::"admin", resource == Resource::"elsewhere") when { context.rate > 999999 };
@id("near") permit (principal, action, resource) when { context.country == "XX" };
@id("scope") permit (principal, action, resource == Resource::"elsewhere");`})
	got := set.Explain(usual())
	if got.Ruling.Outcome != nhi.Deny || len(got.Policies) != 2 || got.Policies[0].ID != "near" || got.Policies[1].ID != "scope" || got.Policies[0].Matched {
		t.Fatalf("%+v", got.Policies)
	}
	if ways := got.Unlock[0].Ways; len(ways) != 1 || ways[0][0].Text != `context.country == "XX"` || !ways[0][0].Want {
		t.Errorf("unlock %+v", got.Unlock)
	}
}

func TestEveryAttributeHasAProvenance(t *testing.T) {
	q := usual()
	q.Known.Attestation = &nhi.Attestation{Device: nhi.Device{ID: "d"}, At: q.At}
	q.Known.Approval, q.Known.Purpose = &nhi.Approval{Expires: q.At}, "x"
	for _, in := range mustLoad(t, DefaultSettings(), nil).Explain(q).Inputs {
		name := in.Name
		if _, ok := provenances[name]; !ok || in.From == "" {
			t.Errorf("nobody says where %s comes from", name)
		}
	}
}

func TestADeepPolicyIsExplainedWithinBounds(t *testing.T) {
	deep := `context.rate * 9223372036854775807 > 5` // errs, so that nothing above it is decided
	for range 30 {
		deep = "(if " + deep + " then context.newNetwork else !context.newNetwork)"
	}
	wide := strings.Repeat("context.rate > 1 || ", 900) + "context.rate > 1"
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": fmt.Sprintf(`@id("deep") forbid (principal, action, resource) when { %s };
@id("wide") forbid (principal, action, resource) when { %s };`, deep, wide)})
	q := usual()
	q.Known.RateHundreds = 7
	got := set.Explain(q)
	if len(got.Policies) != 2 || !got.Policies[1].Cut || len(got.Policies[1].Parts) != maxParts || got.Policies[0].Parts[0].Truth != IsError {
		t.Fatalf("%d policies, cut %v", len(got.Policies), got.Policies[1].Cut)
	}
	for _, p := range got.Policies {
		for _, part := range p.Parts {
			if len(part.Text) > maxPartText+3 {
				t.Errorf("%d bytes of text", len(part.Text))
			}
		}
	}
}

// TestAnExplanationShowsTheCredentialThatWasPresented, though the policies cannot
// tell it from others that they do not name.
func TestAnExplanationShowsTheCredentialThatWasPresented(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": `@id("x") forbid (principal, action, resource) unless { context.credential == Credential::"crd_1" };`})
	q := usual()
	want := []Input{{"context.credential", `Credential::"` + string(q.Subject.Credential) + `"`, "token"}}
	got := set.Explain(q)
	if diff := cmp.Diff(want, got.Policies[0].Parts[0].Values); diff != "" || got.Policies[0].Parts[0].Truth != IsFalse {
		t.Errorf("the part is %s of (-want +got):\n%s", got.Policies[0].Parts[0].Truth, diff)
	}
}

// TestWhatErrsIsUnlockedFirst: nothing after it is reached, so nothing there helps.
func TestWhatErrsIsUnlockedFirst(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": `
@id("x") forbid (principal, action, resource) when { Credential::"crd_other".pinned && context.country == "DE" };`})
	q := usual()
	q.Known.Country = "NL"
	got := set.Explain(q)
	want := [][]Change{{{`Credential::"crd_other".pinned`, false, nil}}}
	if len(got.Unlock) != 1 || got.Ruling.Errors != 1 {
		t.Fatalf("got %+v", got)
	}
	if diff := cmp.Diff(want, got.Unlock[0].Ways); diff != "" {
		t.Errorf("ways (-want +got):\n%s", diff)
	}
}

func TestAnExplanationAgreesWithTheRulingAndItsWaysWork(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 2))
	denied, tried := 0, 0
	for range 60 {
		text := randomPolicies(r, 1+r.IntN(10))
		for i := range 6 {
			text += fmt.Sprintf("@id(\"c%d\") %s (principal, action, resource) %s { %s };\n", i, pickOne(r, "permit", "forbid"), pickOne(r, "when", "unless"), randomCondition(r, 3))
		}
		settings := DefaultSettings()
		settings.RequireGrant = r.IntN(2) == 0
		set, err := Load(settings, map[string]string{"x.cedar": text})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		for range 10 {
			q := randomQuestion(r)
			got := set.Explain(q)
			if diff := cmp.Diff(set.Evaluate(q), got.Ruling); diff != "" {
				t.Fatalf("seed %d: %s", seed, diff)
			}
			action, _ := request.ActionIndex(q.Action)
			x := newExplainer(set, q, action)
			determined := map[string]bool{}
			for _, reason := range got.Ruling.Reasons {
				determined[reason.Policy] = reason.Effect != effectError
			}
			for _, p := range got.Policies {
				if matched := determined[p.ID]; p.Matched != matched {
					t.Fatalf("seed %d: %s matched: %v, but the ruling is %+v\n%s", seed, p.ID, p.Matched, got.Ruling, text)
				}
			}
			if got.Ruling.Outcome != nhi.Allow {
				denied++
				if len(got.Unlock) == 0 {
					t.Fatalf("seed %d: nothing unlocks %+v", seed, got.Ruling)
				}
			}
			for _, u := range got.Unlock {
				for _, way := range u.Ways {
					tried++
					rule := set.byID[types.PolicyID(u.Policy)]
					if len(way) == 0 || x.matches(rule, way) != truthOf(rule.permit) || x.matches(rule, nil) == truthOf(rule.permit) {
						t.Fatalf("seed %d: %+v does not unlock %s\n%s", seed, way, u.Policy, text)
					}
				}
			}
		}
	}
	if denied == 0 || tried < 100 {
		t.Errorf("%d denied, %d ways tried", denied, tried)
	}
}

func FuzzExplain(f *testing.F) {
	f.Add(`@id("a") forbid (principal is Role, action, resource) when { if context has address then !(context.rate > 2) else principal.owned || context.newAction };`)
	f.Add(`@id("a") permit (principal in Identity::"x", action in [Action::"read"], resource) unless { {a: [1, "b"]}.a.contains(context.rate) };`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Load(Settings{RequireGrant: true}, map[string]string{"x.cedar": text})
		if err != nil {
			return
		}
		q := usual()
		if diff := cmp.Diff(set.Evaluate(q), set.Explain(q).Ruling); diff != "" {
			t.Fatal(diff)
		}
	})
}
