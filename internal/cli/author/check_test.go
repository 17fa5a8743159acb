package author

import (
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/cli/command"
)

func TestCheckReadsAFolderAsPushDoes(t *testing.T) {
	files := map[string]string{"policies/a.cedar": reports, "grants/g.yaml": "grants:\n  - id: g\n    template: grant\n    with: {principal: \"environment:production\", resource: ledger, until: 2027-01-31}\n"}
	if code, out, errs, _ := run(t, files, "", "check", "."); code != command.Clean || out != "" || errs != "nothing to object to\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	files["grants/g.yaml"] = strings.Replace(files["grants/g.yaml"], "template: grant", "template: grand", 1)
	if code, _, errs, _ := run(t, files, "", "check", "."); code != command.WrongUse || !strings.Contains(errs, "grants/g.yaml") {
		t.Errorf("a grant of no template: %d %q", code, errs)
	}
	loose := map[string]string{"x/a.cedar": reports, "x/deep/b.cedar": strings.Replace(reports, "reports-only-read", "b", 1) + "nonsense", "empty/readme.md": "-"}
	if code, out, _, _ := run(t, loose, "", "check", "x"); code != command.WrongUse || !strings.HasPrefix(out, "x/deep/b.cedar:5") {
		t.Errorf("a folder that is no library: %d %q", code, out)
	}
	if code, _, errs, _ := run(t, loose, "", "check", "empty"); code != command.WrongUse || !strings.Contains(errs, "no policy in empty") {
		t.Errorf("a folder without policies: %d %q", code, errs)
	}
	if code, _, errs, _ := run(t, loose, "", "apply", "x"); code != command.WrongUse || !strings.Contains(errs, "muster policy push") {
		t.Errorf("a folder is applied: %d %q", code, errs)
	}
	if code, _, errs, _ := run(t, nil, reports, "check", "-"); code != command.Clean || errs != "nothing to object to\n" {
		t.Errorf("standard input: %d %q", code, errs)
	}
}

func TestAMisspeltAttributeIsOneProblemAndNotOneForEachAction(t *testing.T) {
	files := map[string]string{"a.cedar": "@id(\"a\") forbid (principal, action, resource) when { context.atestation };"}
	code, out, _, _ := run(t, files, "", "check", "a.cedar")
	if want := "a.cedar:1:1: policy \"a\": attribute `atestation` in context not found\n"; code != command.WrongUse || out != want {
		t.Errorf("%d\n%swant\n%s", code, out, want)
	}
}

func TestWhatATemplateWritesIsInTheOneForm(t *testing.T) {
	code, text, errs, _ := run(t, nil, "", "template", "render", "attestation-age", "--id", "fresh")
	if code != command.Clean {
		t.Fatalf("%d %s", code, errs)
	}
	if code, _, errs, _ := run(t, map[string]string{"fresh.cedar": text}, "", "fmt", "--check", "."); code != command.Clean || errs != "1 file is in the one form already\n" {
		t.Errorf("%d %q", code, errs)
	}
}

func TestAMisspeltParameterIsNamedBeforeTheOneThatIsMissing(t *testing.T) {
	code, _, errs, _ := run(t, nil, "", "template", "render", "time-window", "--id", "a", "--set", "form=08:00", "--set", "to=18:00")
	if code != command.WrongUse || !strings.Contains(errs, `no parameter "form"`) || !strings.Contains(errs, "from") {
		t.Errorf("%d %q", code, errs)
	}
}
