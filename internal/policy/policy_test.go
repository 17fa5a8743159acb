package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
)

// usual is a question that every guard lets pass: an owned workload reads
// something of its own environment with a plain key.
func usual() *nhi.Question {
	return &nhi.Question{
		Subject: nhi.Attested{
			Identity: nhi.IdentityID("muster", "", "payments"), Credential: nhi.NewCredentialID("muster", "", "k1"),
			Method: "api-key",
		},
		Action: nhi.Read, Resource: "payments/api", At: time.Unix(1_780_000_000, 0),
		Known: nhi.Known{
			Identity: true, Kind: nhi.KindWorkload, IdentityState: nhi.Active, Owned: true,
			IdentityEnvironment: nhi.Environment{Name: "prod", Class: nhi.Production},
			Credential:          true, CredentialState: nhi.CredentialActive,
			Resource: true, Sensitivity: 2, ResourceEnvironment: nhi.Environment{Name: "prod", Class: nhi.Production},
		},
	}
}

func mustLoad(t testing.TB, settings Settings, files map[string]string) *Set {
	t.Helper()
	s, err := Load(settings, files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func policies(r nhi.Ruling) []string {
	var out []string
	for _, reason := range r.Reasons {
		out = append(out, reason.Policy)
	}
	return out
}

func TestGuards(t *testing.T) {
	type change = func(*nhi.Question)
	sensitivity := func(n int) change { return func(q *nhi.Question) { q.Known.Sensitivity = n } }
	bound := func(q *nhi.Question) { q.Subject.SenderBound, q.Subject.Assurance = true, nhi.AssuranceAttested }
	unowned := func(q *nhi.Question) { q.Known.Owned = false }
	act := func(a nhi.ActionClass) change { return func(q *nhi.Question) { q.Action = a } }
	set := mustLoad(t, DefaultSettings(), nil)
	for _, tt := range []struct {
		name    string
		changes []change
		want    nhi.Outcome
		because []string
	}{
		{"a usual request is allowed", nil, nhi.Allow, []string{"base-permit"}},
		{"a stranger is denied", []change{func(q *nhi.Question) { q.Known.Identity = false }}, nhi.Deny, []string{"unknown-subject"}},
		{"a quarantined identity is denied", []change{func(q *nhi.Question) { q.Known.IdentityState = nhi.Quarantined }}, nhi.Deny, []string{"identity-quarantined"}},
		{"a quarantined identity is denied though bound", []change{bound, func(q *nhi.Question) { q.Known.IdentityState = nhi.Quarantined }}, nhi.Deny, []string{"identity-quarantined"}},
		{"a dormant identity is allowed", []change{func(q *nhi.Question) { q.Known.IdentityState = nhi.Dormant }}, nhi.Allow, []string{"base-permit"}},
		{"a retired identity is denied", []change{func(q *nhi.Question) { q.Known.IdentityState = nhi.Retired }}, nhi.Deny, []string{"identity-inactive"}},
		{"an identity of unknown state is denied", []change{func(q *nhi.Question) { q.Known.IdentityState = "asleep" }}, nhi.Deny, []string{"identity-inactive"}},
		{"a suspended credential is denied", []change{func(q *nhi.Question) { q.Known.CredentialState = nhi.CredentialSuspended }}, nhi.Deny, []string{"credential-suspended"}},
		{"a revoked credential is denied", []change{func(q *nhi.Question) { q.Known.CredentialState = nhi.CredentialRevoked }}, nhi.Deny, []string{"credential-revoked"}},
		{"a revoked token is denied", []change{bound, func(q *nhi.Question) { q.Known.Credential, q.Known.CredentialState, q.Known.Revoked = false, "", true }}, nhi.Deny, []string{"credential-revoked"}},
		{"an expired credential is denied", []change{func(q *nhi.Question) { q.Known.Expired = true }}, nhi.Deny, []string{"credential-expired"}},
		{"a credential of unknown state is denied", []change{func(q *nhi.Question) { q.Known.CredentialState = "odd" }}, nhi.Deny, []string{"credential-unknown-state"}},
		{"a token has no stored credential and is allowed", []change{bound, func(q *nhi.Question) { q.Known.Credential, q.Known.CredentialState = false, "" }}, nhi.Allow, []string{"base-permit"}},
		{"a narrowed key alone must be bound", []change{func(q *nhi.Question) { q.Known.CredentialState = nhi.CredentialNarrowed }}, nhi.StepUp, []string{"consumer-missing"}},
		{"a narrowed key with its consumer is allowed", []change{func(q *nhi.Question) {
			q.Known.CredentialState, q.Known.Pinned, q.Known.ConsumerProven = nhi.CredentialNarrowed, true, true
		}}, nhi.Allow, []string{"base-permit"}},
		{"a pinned key alone must be bound", []change{func(q *nhi.Question) { q.Known.Pinned = true }}, nhi.StepUp, []string{"consumer-missing"}},
		{"a pinned key with its consumer is allowed", []change{func(q *nhi.Question) { q.Known.Pinned, q.Known.ConsumerProven = true, true }}, nhi.Allow, []string{"base-permit"}},
		{"an unowned identity reads what is not sensitive", []change{unowned}, nhi.Allow, []string{"base-permit"}},
		{"an unowned identity is issued nothing", []change{unowned, act(nhi.Issue)}, nhi.Deny, []string{"unowned-issue"}},
		{"an unowned identity exchanges nothing", []change{unowned, act(nhi.Exchange)}, nhi.Deny, []string{"unowned-issue"}},
		{"an owned identity is issued credentials", []change{act(nhi.Issue)}, nhi.Allow, []string{"base-permit"}},
		{"an unowned identity administers nothing", []change{unowned, act(nhi.Admin)}, nhi.Deny, []string{"unowned-admin"}},
		{"an owned identity administers", []change{act(nhi.Admin)}, nhi.Allow, []string{"base-permit"}},
		{"an unowned identity reaches nothing sensitive", []change{unowned, bound, sensitivity(3)}, nhi.Deny, []string{"unowned-sensitive"}},
		{"an owned bound identity reaches sensitive resources", []change{bound, sensitivity(4)}, nhi.Allow, []string{"base-permit"}},
		{"production does not cross to non-production", []change{func(q *nhi.Question) { q.Known.ResourceEnvironment.Class = nhi.Nonproduction }}, nhi.Deny, []string{"environment-crossing"}},
		{"non-production does not cross to production", []change{func(q *nhi.Question) { q.Known.IdentityEnvironment.Class = nhi.Nonproduction }}, nhi.Deny, []string{"environment-crossing"}},
		{"an unknown environment is no crossing", []change{func(q *nhi.Question) { q.Known.ResourceEnvironment.Class = nhi.ClassUnknown }}, nhi.Allow, []string{"base-permit"}},
		{"risk 80 is allowed", []change{func(q *nhi.Question) { q.Known.Risk = 80 }}, nhi.Allow, []string{"base-permit"}},
		{"risk 81 is denied", []change{func(q *nhi.Question) { q.Known.Risk = 81 }}, nhi.Deny, []string{"risk-too-high"}},
		{"a static key at sensitivity 3 must be bound", []change{sensitivity(3)}, nhi.StepUp, []string{"assurance-too-low"}},
		{"a short-lived bearer at sensitivity 3 is allowed", []change{sensitivity(3), func(q *nhi.Question) { q.Subject.Assurance = nhi.AssuranceShort }}, nhi.Allow, []string{"base-permit"}},
		{"a new network must be bound", []change{func(q *nhi.Question) { q.Known.NewNetwork = true }}, nhi.StepUp, []string{"new-network"}},
		{"a stolen key used for what its owner never did must be bound", []change{func(q *nhi.Question) { q.Known.NewAction = true }}, nhi.StepUp, []string{"new-action"}},
		{"a bound caller may do something new", []change{bound, func(q *nhi.Question) { q.Known.NewAction = true }}, nhi.Allow, []string{"base-permit"}},
		{"a short-lived credential may do something new", []change{func(q *nhi.Question) { q.Known.NewAction, q.Subject.Assurance = true, nhi.AssuranceShort }}, nhi.Allow, []string{"base-permit"}},
		{"an asserted subject has no secret to judge", []change{func(q *nhi.Question) {
			q.Known.NewAction, q.Known.Credential, q.Subject.Credential, q.Subject.Asserted = true, false, "", true
		}}, nhi.Allow, []string{"base-permit"}},
		{"a bound caller may come from a new network", []change{bound, func(q *nhi.Question) { q.Known.NewNetwork = true }}, nhi.Allow, []string{"base-permit"}},
		{"a new country must be bound", []change{func(q *nhi.Question) { q.Known.NewCountry = true }}, nhi.StepUp, []string{"new-country"}},
		{"a bound caller may come from a new country", []change{bound, func(q *nhi.Question) { q.Known.NewCountry = true }}, nhi.Allow, []string{"base-permit"}},
		{"12.9 bits of surprise are allowed", []change{func(q *nhi.Question) { q.Known.Surprise = 129 }}, nhi.Allow, []string{"base-permit"}},
		{"13 bits of surprise must be bound", []change{func(q *nhi.Question) { q.Known.Surprise = 130 }}, nhi.StepUp, []string{"surprising"}},
		{"a bound caller may surprise", []change{bound, func(q *nhi.Question) { q.Known.Surprise = 900 }}, nhi.Allow, []string{"base-permit"}},
		{"several step-ups are one step-up with every reason", []change{sensitivity(3), func(q *nhi.Question) { q.Known.NewNetwork, q.Known.Surprise = true, 200 }}, nhi.StepUp, []string{"assurance-too-low", "new-network", "surprising"}},
		{"a denial beside a step-up is a denial", []change{func(q *nhi.Question) { q.Known.NewNetwork, q.Known.Risk = true, 99 }}, nhi.Deny, []string{"new-network", "risk-too-high"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := usual()
			for _, c := range tt.changes {
				c(q)
			}
			got := set.Evaluate(q)
			if got.Outcome != tt.want {
				t.Errorf("outcome = %q, want %q (%v)", got.Outcome, tt.want, got.Reasons)
			}
			if diff := cmp.Diff(tt.because, policies(got)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if wantSteps := tt.want == nhi.StepUp; wantSteps != (len(got.StepUp) > 0) {
				t.Errorf("step-up kinds = %v for outcome %s", got.StepUp, got.Outcome)
			}
			if got.Errors != 0 || got.Digest != set.Digest() {
				t.Errorf("errors = %d, digest = %s", got.Errors, got.Digest)
			}
		})
	}
}

func TestEveryGuardHasATestCase(t *testing.T) {
	// The table above names guards by what they did; a new guard without a
	// case would be a rule nobody has seen bite.
	covered := "unknown-subject identity-quarantined identity-inactive credential-suspended credential-revoked credential-expired " +
		"credential-unknown-state consumer-missing unowned-issue unowned-admin unowned-sensitive environment-crossing risk-too-high " +
		"assurance-too-low new-network new-country new-action surprising base-permit"
	for _, p := range mustLoad(t, DefaultSettings(), nil).Policies() {
		if !strings.Contains(covered, p.ID) {
			t.Errorf("guard %s has no case in TestGuards", p.ID)
		}
		if !p.Guard || p.Position == "" || !strings.HasSuffix(p.Text, ".") {
			t.Errorf("guard %s is described as %+v", p.ID, p)
		}
	}
}

func TestTheNumbersOfGuardsAreSettings(t *testing.T) {
	s := DefaultSettings()
	s.RiskDeny, s.SurpriseStepUp, s.SensitivityOwned, s.SensitivityBound = 10, 55, 1, 5
	set := mustLoad(t, s, nil)
	q := usual()
	q.Known.Risk, q.Known.Surprise, q.Known.Owned, q.Known.Sensitivity = 11, 55, false, 1
	got := set.Evaluate(q)
	if diff := cmp.Diff([]string{"risk-too-high", "surprising", "unowned-sensitive"}, policies(got)); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	for _, r := range got.Reasons {
		if r.Policy == "surprising" && !strings.Contains(r.Text, "5.5 bits") {
			t.Errorf("text does not show the effective number: %s", r.Text)
		}
		if r.Policy == "risk-too-high" && !strings.Contains(r.Text, "above 10") {
			t.Errorf("text does not show the effective number: %s", r.Text)
		}
	}
	if set.Digest() == mustLoad(t, DefaultSettings(), nil).Digest() {
		t.Error("other numbers, same digest")
	}
	q = usual()
	q.Known.Sensitivity = 4
	if got := set.Evaluate(q); got.Outcome != nhi.Allow {
		t.Errorf("sensitivity_bound 5 still stops a static key: %v", got.Reasons)
	}
}

func TestSettingsOutOfRangeAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"risk_deny":         func(s *Settings) { s.RiskDeny = 101 },
		"surprise_step_up":  func(s *Settings) { s.SurpriseStepUp = -1 },
		"sensitivity_owned": func(s *Settings) { s.SensitivityOwned = 6 },
		"sensitivity_bound": func(s *Settings) { s.SensitivityBound = -1 },
	} {
		s := DefaultSettings()
		change(&s)
		if _, err := Load(s, nil); !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("Load with a wrong %s: error %v", name, err)
		}
	}
}

func TestZeroSettingsAreStricterThanTheDefaults(t *testing.T) {
	if got := mustLoad(t, Settings{}, nil).Evaluate(usual()); got.Outcome == nhi.Allow {
		t.Error("zero settings allow a plain key")
	}
}

func TestWithoutAGrantNothingIsAllowed(t *testing.T) {
	s := DefaultSettings()
	s.RequireGrant = true
	grants := map[string]string{"grants.cedar": `
@id("payments-reads")
permit (principal in Identity::"` + string(usual().Subject.Identity) + `", action == Action::"read", resource == Resource::"payments/api");`}
	q := usual()
	if got := mustLoad(t, s, nil).Evaluate(q); got.Outcome != nhi.Deny || policies(got)[0] != "no-permit" {
		t.Errorf("without grants: %+v", got)
	}
	set := mustLoad(t, s, grants)
	if got := set.Evaluate(q); got.Outcome != nhi.Allow {
		t.Errorf("with its grant: %+v", got)
	}
	q.Action = nhi.Write
	if got := set.Evaluate(q); got.Outcome != nhi.Deny {
		t.Errorf("beyond its grant: %+v", got)
	}
	// A step-up is no promise where no permit would match.
	q.Known.NewNetwork = true
	if got := set.Evaluate(q); got.Outcome != nhi.Deny {
		t.Errorf("step-up promised without a permit: %+v", got)
	}
}

func TestAForbidThatErrsDenies(t *testing.T) {
	// Cedar skips an erring policy. Arithmetic overflow is an error that no
	// validator can exclude.
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": `
@id("overflow")
forbid (principal, action, resource) when { context.surprise * 9223372036854775807 > 5 };`})
	q := usual()
	q.Known.Surprise = 3
	got := set.Evaluate(q)
	want := []nhi.Reason{{Policy: "overflow", Position: "x.cedar:2", Text: "Policy overflow could not be evaluated, so it denies.", Effect: "error"}}
	if got.Outcome != nhi.Deny || got.Errors != 1 {
		t.Errorf("outcome %s with %d errors, want a denial with 1", got.Outcome, got.Errors)
	}
	if diff := cmp.Diff(want, got.Reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

func TestAForbidThatErrsIsNoStepUp(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": `
@id("overflow") @stepup("approve")
forbid (principal, action, resource) when { context.surprise * 9223372036854775807 > 5 };`})
	q := usual()
	q.Known.Surprise, q.Known.NewNetwork = 3, true
	if got := set.Evaluate(q); got.Outcome != nhi.Deny {
		t.Errorf("outcome = %s, want deny", got.Outcome)
	}
}

func TestAPermitThatErrsIsIgnoredAndCounted(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": `
@id("overflow")
permit (principal, action, resource) when { context.surprise * 9223372036854775807 > 5 };`})
	q := usual()
	q.Known.Surprise = 3
	got := set.Evaluate(q)
	if got.Outcome != nhi.Allow || got.Errors != 1 {
		t.Errorf("outcome %s with %d errors, want an allow with 1", got.Outcome, got.Errors)
	}
}

func TestPoliciesAreLimitedToWhatTheyName(t *testing.T) {
	id := string(usual().Subject.Identity)
	crd := string(usual().Subject.Credential)
	for _, tt := range []struct {
		name, policy string
		want         nhi.Outcome
	}{
		{"one identity", `forbid (principal in Identity::"` + id + `", action, resource);`, nhi.Deny},
		{"another identity", `forbid (principal in Identity::"nhi_other", action, resource);`, nhi.Allow},
		{"one environment", `forbid (principal in Environment::"prod", action, resource);`, nhi.Deny},
		{"resources of one environment", `forbid (principal, action, resource in Environment::"prod");`, nhi.Deny},
		{"another environment", `forbid (principal in Environment::"test", action, resource);`, nhi.Allow},
		{"a kind", `forbid (principal is Workload, action, resource);`, nhi.Deny},
		{"another kind", `forbid (principal is Role, action, resource);`, nhi.Allow},
		{"a kind in an environment", `forbid (principal is Workload in Environment::"prod", action, resource == Resource::"payments/api");`, nhi.Deny},
		{"an action", `forbid (principal, action in [Action::"write", Action::"read"], resource);`, nhi.Deny},
		{"any action", `forbid (principal, action in Action::"any", resource);`, nhi.Deny},
		{"another action", `forbid (principal, action in [Action::"write"], resource);`, nhi.Allow},
		{"one credential", `forbid (principal, action, resource) when { context.credential == Credential::"` + crd + `" };`, nhi.Deny},
		{"another credential", `forbid (principal, action, resource) when { context.credential == Credential::"crd_other" };`, nhi.Allow},
		{"an identity in a condition", `forbid (principal, action, resource) when { principal in [Identity::"` + id + `"] };`, nhi.Deny},
		{"another identity in a condition", `forbid (principal, action, resource) when { principal in [Identity::"nhi_other"] };`, nhi.Allow},
		{"an address range", `forbid (principal, action, resource) unless { context has address && context.address.isInRange(ip("10.0.0.0/8")) };`, nhi.Deny},
		{"a time", `forbid (principal, action, resource) when { context.now > datetime("2020-01-01") };`, nhi.Deny},
		{"an earlier time", `forbid (principal, action, resource) when { context.now < datetime("2020-01-01") };`, nhi.Allow},
		{"a whole context", `forbid (principal, action, resource) when { [context].contains(context) };`, nhi.Deny},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": "@id(\"x\")\n" + tt.policy})
			if got := set.Evaluate(usual()); got.Outcome != tt.want {
				t.Errorf("outcome = %s, want %s: %v", got.Outcome, tt.want, got.Reasons)
			}
		})
	}
}

func TestAWrongPolicyIsRefusedWithFileLineAndReason(t *testing.T) {
	deep := strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100)
	for _, tt := range []struct {
		name, text, want string
	}{
		{"syntax", "\n\npermit (principal, action resource);", `x.cedar:3:35: cannot be parsed: ")": exact got resource want ,`},
		{"no id", "permit (principal, action, resource);", `x.cedar:1:1: it has no @id("...")`},
		{"odd id", `@id("A B") permit (principal, action, resource);`, `its @id has other characters`},
		{"id of a guard", `@id("base-permit") permit (principal, action, resource);`, `policy "base-permit": the same @id is used at guards/permit.cedar:3`},
		{"an id twice", "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);", `x.cedar:2:1: policy "a": the same @id is used at x.cedar:1`},
		{"unknown attribute", `@id("a") permit (principal, action, resource) when { principal.colour == "red" };`, `attribute`},
		{"wrong type", `@id("a") permit (principal, action, resource) when { principal.risk == "high" };`, `policy "a"`},
		{"unknown action", `@id("a") permit (principal, action == Action::"explode", resource);`, `explode`},
		{"optional attribute without has", `@id("a") forbid (principal, action, resource) when { context.address.isLoopback() };`, `address`},
		{"unknown entity type", `@id("a") permit (principal is Robot, action, resource);`, `Robot`},
		{"an identity named by its kind", `@id("a") forbid (principal == Workload::"nhi_x", action, resource);`, `write principal in Identity::"nhi_x"`},
		{"an identity named by its kind in a condition", `@id("a") forbid (principal, action, resource) when { principal == Role::"nhi_x" };`, `which can change`},
		{"odd step-up", `@id("a") @stepup("beg") forbid (principal, action, resource);`, `@stepup is one of`},
		{"step-up on a permit", `@id("a") @stepup("bind") permit (principal, action, resource);`, `@stepup belongs on a forbid`},
		{"long text", `@id("a") @text("` + strings.Repeat("x", 501) + `") permit (principal, action, resource);`, `@text is over 500 bytes`},
		{"control character in text", `@id("a") @text("\n") permit (principal, action, resource);`, `control character`},
		{"deep nesting", `@id("a") permit (principal, action, resource) when { ` + deep + ` };`, `brackets are nested deeper than 64`},
		{"a long policy", `@id("a") permit (principal, action, resource) when { ` + strings.Repeat("true && ", 10_000) + `true };`, `a policy has more than 65536 bytes`},
		{"a large file", strings.Repeat("\n", clause.MaxFile+1), `at most 4194304 are allowed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(DefaultSettings(), map[string]string{"x.cedar": tt.text})
			if err == nil {
				t.Fatal("loaded")
			}
			if !errors.Is(err, nhi.ErrInvalid) {
				t.Errorf("error does not wrap ErrInvalid: %v", err)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "x.cedar:") {
				t.Errorf("error = %q, want %q in it", err, tt.want)
			}
		})
	}
}

func TestFileNamesThatAreRefused(t *testing.T) {
	for _, name := range []string{"", "guards/mine.cedar", "a\nb", strings.Repeat("n", 256)} {
		if _, err := Load(DefaultSettings(), map[string]string{name: ""}); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("name %q: error %v", name, err)
		}
	}
}

func TestAWrongSetNeverReplacesAGoodOne(t *testing.T) {
	h, err := NewHolder(DefaultSettings(), nil)
	if err != nil {
		t.Fatal(err)
	}
	before := h.Set()
	if err := h.Replace(map[string]string{"x.cedar": "nonsense"}); err == nil {
		t.Fatal("nonsense was put in force")
	}
	if h.Set() != before {
		t.Error("the old set is gone")
	}
	if err := h.Replace(map[string]string{"x.cedar": `@id("stop") forbid (principal, action, resource);`}); err != nil {
		t.Fatal(err)
	}
	if got := h.Evaluate(usual()); got.Outcome != nhi.Deny || got.Digest == before.Digest() {
		t.Errorf("the new set is not in force: %+v", got)
	}
}

func TestAnEmptyHolderDenies(t *testing.T) {
	var h Holder
	if got := h.Evaluate(usual()); got.Outcome != nhi.Deny || len(got.Reasons) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestAnUnknownActionIsDenied(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), nil)
	for _, a := range []nhi.ActionClass{"", "any", "explode"} {
		q := usual()
		q.Action = a
		if got := set.Evaluate(q); got.Outcome != nhi.Deny {
			t.Errorf("action %q: %s", a, got.Outcome)
		}
	}
}

func TestCheckWarnsOfTooManyUnscopedPolicies(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "@id(\"p%d\")\npermit (principal, action, resource) when { context.asn == %d };\n", i, i)
	}
	got := Check(map[string]string{"many.cedar": b.String()})
	if len(got) != 1 || !got[0].Warning || got[0].File != "many.cedar" {
		t.Fatalf("Check = %v", got)
	}
	if _, err := Load(DefaultSettings(), map[string]string{"many.cedar": b.String()}); err != nil {
		t.Errorf("a warning kept the set from loading: %v", err)
	}
	if got := Check(map[string]string{"ok.cedar": `@id("a") permit (principal, action, resource == Resource::"r");`}); got != nil {
		t.Errorf("Check of a good file = %v", got)
	}
}
