package policy

import (
	"strings"
	"testing"
)

func TestDoubtfulPoliciesAreWarnedOf(t *testing.T) {
	const scoped = `(principal in Identity::"nhi_1", action == Action::"read", resource == Resource::"r")`
	for _, tt := range []struct{ name, text, want string }{
		{"approval that changes nothing", `@id("a") @stepup("approve") forbid (principal, action, resource) when { resource.sensitivity > 3 };`, "context has approval"},
		{"approval that does", `@id("a") @stepup("approve") forbid (principal, action, resource) unless { context has approval };`, ""},
		{"attestation that changes nothing", `@id("a") @stepup("reattest") forbid (principal, action, resource) when { resource.sensitivity > 3 };`, "attestation.age"},
		{"attestation that does", `@id("a") @stepup("reattest") forbid (principal, action, resource) unless { context.location has region };`, ""},
		{"bound that changes nothing", `@id("a") @stepup("bind") forbid (principal, action, resource) when { context.newNetwork };`, "context.senderBound"},
		{"bound that does", `@id("a") @stepup("bind") forbid (principal, action, resource) unless { context.credential.consumerProven };`, ""},
		{"narrow", `@id("a") @stepup("narrow") forbid (principal, action == Action::"write", resource);`, ""},
		{"everything to everybody", `@id("a") permit (principal, action, resource);`, "permits every identity"},
		{"everything to those who", `@id("a") permit (principal, action, resource) when { context.senderBound };`, ""},
		{"in the shadow of a forbid", `@id("a") forbid (principal, action, resource == Resource::"r"); @id("b") permit ` + scoped + `;`, `policy "a"`},
		{"not in the shadow of a step-up", `@id("a") @stepup("narrow") forbid (principal, action, resource == Resource::"r"); @id("b") permit ` + scoped + `;`, ""},
		{"not in the shadow of another action", `@id("a") forbid (principal, action == Action::"write", resource); @id("b") permit ` + scoped + `;`, ""},
		{"not in the shadow of another kind", `@id("a") forbid (principal is Role, action, resource == Resource::"r"); @id("b") permit ` + scoped + `;`, ""},
		{"permitted already", `@id("a") permit (principal in Identity::"nhi_1", action, resource); @id("b") permit ` + scoped + ` when { context.senderBound };`, "adds nothing"},
		{"twice the same", `@id("a") permit ` + scoped + ` when { context.asn == 5 }; @id("b") permit ` + scoped + ` when { context.asn == 5 };`, `the same as policy "a"`},
		{"nearly the same", `@id("a") permit ` + scoped + ` when { context.asn == 5 }; @id("b") permit ` + scoped + ` when { context.asn == 6 };`, ""},
		{"the two sides", `@id("a") permit ` + scoped + ` when { context.asn == 5 }; @id("b") permit ` + scoped + ` unless { context.asn == 5 };`, ""},
	} {
		var got []string
		for _, p := range Check(map[string]string{"x.cedar": tt.text}) {
			if !p.Warning {
				t.Errorf("%s: %s", tt.name, p)
			}
			got = append(got, p.String())
		}
		switch {
		case tt.want == "" && len(got) > 0, tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := Check(nil); len(got) > 0 {
		t.Errorf("the guards alone: %v", got)
	}
}
