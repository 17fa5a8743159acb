package author

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/cli/command"
)

// TestNobodyBelievesThatWhatIsLeftOutWasTried has policies and tests beside the parts
// of a library.
func TestNobodyBelievesThatWhatIsLeftOutWasTried(t *testing.T) {
	files := map[string]string{
		"policies/a.cedar": reports, "tests/a.yaml": passing, "extra.cedar": reports, "team/x.cedar": reports, "team/tests/x.yaml": "",
		".git/x.cedar": reports, "team/README.md": "",
	}
	_, _, errs, _ := run(t, files, "", "test", ".")
	_, _, pushed, _ := run(t, files, "", "push", ".", "--server", "http://127.0.0.1:9")
	for name, told := range map[string]bool{"extra.cedar": true, "team/x.cedar": true, "team/tests/x.yaml": true, "policies/a.cedar": false, "tests/a.yaml": false, ".git/x.cedar": false, "team/README.md": false} {
		if strings.Contains(errs, "left out: "+name+";") != told {
			t.Errorf("%s is said to be left out: %v, want %v: %s", name, !told, told, errs)
		}
		if strings.Contains(pushed, "left out: "+name+";") != told {
			t.Errorf("push says that %s is left out: %v, want %v: %s", name, !told, told, pushed)
		}
	}
	for n := range 2 * maxLeftOut {
		files[fmt.Sprintf("many/%d.cedar", n)] = reports
	}
	if _, _, errs, _ = run(t, files, "", "test", "."); strings.Count(errs, "left out: ") != maxLeftOut+1 || !strings.Contains(errs, "left out: 13 more") {
		t.Errorf("without end: %s", errs)
	}
}

// TestAProblemSaysInWhichOfTwoFoldersItIs reads two libraries, one of them wrong.
func TestAProblemSaysInWhichOfTwoFoldersItIs(t *testing.T) {
	for name, c := range map[string]struct{ file, text string }{
		"a grant":          {"grants/x.yaml", "grants:\n  - id: x\n    template: nothing\n"},
		"a file's name":    {"policies/x.txt", ""},
		"a file's content": {"policies/x.cedar", "permit ("},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"old/policies/README.md": "", "new/policies/a.cedar": reports, "new/tests/a.yaml": passing, "old/" + c.file: c.text}
			code, _, errs, _ := run(t, files, "", "test", "new", "old")
			if code == 0 || !strings.Contains(errs, "old/"+c.file) && !strings.Contains(errs, "old: ") {
				t.Errorf("exit status %d: %s", code, errs)
			}
		})
	}
}

// TestTestsBesidePoliciesAreRun has one at each depth, and one that fails.
func TestTestsBesidePoliciesAreRun(t *testing.T) {
	files := map[string]string{
		"policies/a.cedar": reports, "tests/a.yaml": passing, "policies/tests/b.yaml": passing,
		"policies/team/x/tests/y/c.yaml": strings.Replace(passing, "deny", "allow", 1),
	}
	code, out, errs, folder := run(t, files, "", "test", ".")
	if code != command.Found || !strings.HasPrefix(out, "policies/team/x/tests/y/c.yaml:2: reports write: want allow, got deny") || !strings.HasPrefix(errs, "2 of 3 cases pass") {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	if _, _, errs := again(t, folder, "", "push", ".", "--server", "http://127.0.0.1:9"); strings.Contains(errs, "c.yaml") {
		t.Errorf("push leaves them out or refuses them: %s", errs)
	}
}
