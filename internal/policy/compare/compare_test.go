package compare

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

func load(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, err := policy.Load(policy.DefaultSettings(), map[string]string{"x.cedar": text})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestWhatIsWrittenIsComparedPolicyByPolicy(t *testing.T) {
	for _, tt := range []struct {
		name, before, after string
		want                []string // change, access, what
	}{
		{"nothing", `@id("a") forbid (principal, action, resource);`, `@id("a") forbid (principal, action, resource);`, []string{}},
		{"only the form", `@id("a") forbid(principal,action,resource)when{context.newAgent};`, "// why\n\n@id(\"a\")\nforbid (principal, action, resource)\nwhen { context.newAgent };", []string{}},
		{"a permit that came", ``, `@id("a") @text("A.") permit (principal, action, resource);`, []string{"added", "more", "A."}},
		{"a permit that went", `@id("a") @text("A.") permit (principal, action, resource);`, ``, []string{"removed", "less", "A."}},
		{"a forbid that came", ``, `@id("a") @text("A.") forbid (principal, action, resource);`, []string{"added", "less", "A."}},
		{"a forbid that went", `@id("a") @text("A.") forbid (principal, action, resource);`, ``, []string{"removed", "more", "A."}},
		{
			"a head that is wider", `@id("a") @text("A.") permit (principal is Role in Identity::"x", action == Action::"read", resource == Resource::"r");`,
			`@id("a") @text("A.") permit (principal in Identity::"x", action in [Action::"read", Action::"list"], resource);`,
			[]string{
				"changed", "more", `principal: wider: principal in Identity::"x", was principal is Role in Identity::"x"`,
				`action: wider: action in [Action::"read", Action::"list"], was action == Action::"read"`, `resource: wider: any resource, was resource == Resource::"r"`,
			},
		},
		{
			"a head that is narrower, of a forbid", `@id("a") @text("A.") forbid (principal, action in [Action::"any"], resource);`, `@id("a") @text("A.") forbid (principal is Agent, action in [Action::"read"], resource);`,
			[]string{"changed", "more", `principal: narrower: principal is Agent, was any principal`, `action: narrower: action in [Action::"read"], was action in [Action::"any"]`},
		},
		{
			"a head that is another", `@id("a") @text("A.") permit (principal in Identity::"x", action, resource);`, `@id("a") @text("A.") permit (principal in Identity::"y", action, resource);`,
			[]string{"changed", "either", `principal: other than before: principal in Identity::"y", was principal in Identity::"x"`},
		},
		{
			"conditions", `@id("a") @text("A.") permit (principal, action, resource) when { context.senderBound && context.newAgent } unless { context.newCountry };`,
			`@id("a") @text("A.") permit (principal, action, resource) when { context.senderBound } unless { context.newCountry };`,
			[]string{"changed", "more", "no longer: when context.newAgent"},
		},
		{
			"one more way around a forbid", `@id("a") @text("A.") forbid (principal, action, resource) unless { context.senderBound };`,
			`@id("a") @text("A.") forbid (principal, action, resource) unless { context.senderBound || context.asserted };`,
			[]string{"changed", "more", "now: unless context.asserted"},
		},
		{
			"effect and step-up", `@id("a") @text("A.") @stepup("bind") forbid (principal, action, resource);`, `@id("a") @text("A.") permit (principal, action, resource);`,
			[]string{"changed", "either", "it is a permit, and was a forbid", "step-up: none, was bind"},
		},
		{"only the words", `@id("a") @text("A.") forbid (principal, action, resource);`, `@id("a") @text("B.") forbid (principal, action, resource);`, []string{"changed", "none", "text: B."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes := Policies(load(t, tt.before), load(t, tt.after))
			got := []string{}
			for _, c := range changes {
				got = append(append(got, c.Change, string(c.Access)), c.What...)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequestsShowWhatIsNewlyAllowedAndDenied(t *testing.T) {
	before := load(t, `@id("vault") forbid (principal, action, resource == Resource::"vault") unless { context.senderBound };`)
	after := load(t, `@id("vault") @text("Not the vault.") forbid (principal, action in [Action::"write", Action::"delete"], resource == Resource::"vault");
@id("agents") @stepup("approve") forbid (principal is Agent, action == Action::"delete", resource) unless { context has approval };`)
	w := Representative()
	for _, s := range []*policy.Set{before, after} {
		w.Add(Named(s))
	}
	got, err := Requests(t.Context(), before, after, w)
	if err != nil || got.Cut || got.Requests != w.size() || got.Changed != got.Denied+got.StepUp+got.Allowed || got.Denied == 0 || got.StepUp == 0 || got.Allowed == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	find := func(kind, resource string) *Example {
		i := slices.IndexFunc(got.Examples, func(e Example) bool { return e.Kind == kind && e.Resource == resource })
		if i < 0 {
			t.Fatalf("no example %s %s in %+v", kind, resource, got.Examples)
		}
		return &got.Examples[i]
	}
	if e := find("newly-allowed", "vault"); e.Before != "deny" || e.After != "allow" || e.Action == "write" {
		t.Errorf("%+v", e)
	}
	if e := find("newly-denied", "vault"); e.Reason != "Not the vault." || !slices.Contains(e.Policies, "vault") || !strings.Contains(e.How, "bound") {
		t.Errorf("%+v", e)
	}
	if e := find("newly-step-up", "some resource of sensitivity 0"); e.Identity != "nhi_some_agent" || e.After != "step-up(approve)" {
		t.Errorf("%+v", e)
	}
	same, err := Requests(t.Context(), after, after, w)
	if err != nil || same.Changed != 0 || len(same.Examples) != 0 {
		t.Errorf("a set beside itself: %+v, %v", same, err)
	}
}

func TestALargeWorldIsAskedInPartAndEvenly(t *testing.T) {
	w := Representative()
	for i := range 3000 {
		w.Where = append(w.Where, Somewhere(strings.Repeat("x", i%7)+string(rune('a'+i%26)), i%5))
	}
	before, after := load(t, ""), load(t, `@id("d") forbid (principal is CIJob, action == Action::"admin", resource);`)
	got, err := Requests(t.Context(), before, after, w)
	if err != nil || !got.Cut || got.Requests > MaxRequests || got.Requests < MaxRequests/2 || got.Denied < got.Requests/200 {
		t.Errorf("%d requests of %d, %d denied, %v", got.Requests, w.size(), got.Denied, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Requests(ctx, before, after, w); !errors.Is(err, context.Canceled) {
		t.Errorf("an end of the context: %v", err)
	}
}

func TestAQuestionOfATestBecomesPartOfTheWorld(t *testing.T) {
	w := &World{}
	q := nhi.Question{Subject: nhi.Attested{Identity: "nhi_x"}, Resource: "r", Known: nhi.Known{Identity: true, Kind: nhi.KindAgent, Sensitivity: 2, NewNetwork: true}}
	w.Question("a test", &q)
	w.Question("a test", &q)
	if len(w.Who) != 1 || len(w.Where) != 1 || len(w.How) != 2 {
		t.Fatalf("%+v", w)
	}
	got, how := w.request(0)
	if how != "a test" || got.Subject.Identity != "nhi_x" || got.Resource != "r" || got.Known.Kind != nhi.KindAgent || !got.Known.NewNetwork || got.Known.Sensitivity != 2 || got.Action != nhi.Read {
		t.Errorf("%+v", got)
	}
}
