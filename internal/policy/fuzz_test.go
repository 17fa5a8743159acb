package policy

import (
	"errors"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
)

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "permit (principal, action, resource);",
		`@id("a") @text("t") @stepup("bind") forbid (principal in Identity::"x", action in [Action::"read"], resource) when { context.risk > 3 } unless { true };`,
		`@id("a") permit (principal is Role, action, resource) when { context has address && context.address.isInRange(ip("10.0.0.0/8")) };`,
		"// c\n/* d */ @id(\"\\u{1F600}\")", `@id("a`, "((((((", `permit (principal, action, resource) when { if true then {a: [1, "b"]}.a else [!--1] };`,
		`@id("a") permit (principal, action, resource) when { "\"" like "*" };`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := map[string]string{"x.cedar": text}
		set, err := Load(DefaultSettings(), files)
		problems := Problems(Check(files)).errors()
		if (err == nil) != (len(problems) == 0) {
			t.Fatalf("Load says %v, Check says %v", err, problems)
		}
		if err != nil {
			if !errors.Is(err, nhi.ErrInvalid) {
				t.Fatalf("error does not wrap ErrInvalid: %v", err)
			}
			return
		}
		q := usual()
		want, reasons, errs := reference(set, q)
		got, gotReasons, gotErrs := sliced(set, q)
		if got != want || len(reasons) != len(gotReasons) || len(errs) != len(gotErrs) {
			t.Fatalf("sliced %v %v %v, full scan %v %v %v", got, gotReasons, gotErrs, want, reasons, errs)
		}
		if r := set.Evaluate(q); r.Outcome != nhi.Allow && r.Outcome != nhi.Deny && r.Outcome != nhi.StepUp {
			t.Fatalf("outcome %q", r.Outcome)
		}
	})
}
