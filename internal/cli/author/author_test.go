package author

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
)

// run runs `muster policy ...` in a folder that holds these files.
func run(t *testing.T, files map[string]string, in string, args ...string) (code int, out, errs string, folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs = again(t, folder, in, args...)
	return code, out, errs, folder
}

// again runs it in a folder that is there.
func again(t *testing.T, folder, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	t.Chdir(folder)
	var o, e bytes.Buffer
	std := command.Std{In: strings.NewReader(in), Out: &o, Err: &e, Getenv: func(string) string { return "" }}
	code = command.Run(context.Background(), "test", append([]string{"policy"}, args...), std, func(a *command.App) *cobra.Command {
		root := &cobra.Command{Use: "muster", SilenceErrors: true, SilenceUsage: true}
		root.AddCommand(Policy(a))
		return root
	})
	return code, o.String(), e.String()
}

const (
	reports = "@id(\"reports-only-read\")\n@text(\"The report job only reads.\")\nforbid (principal in Identity::\"nhi_reports\", action, resource)\nunless { action == Action::\"read\" };\n"
	passing = "tests:\n  - name: reports write\n    principal: {id: nhi_reports}\n    action: write\n    expect: deny\n    policies: [reports-only-read]\n"
)

func TestTestsPassOrSayWhyNot(t *testing.T) {
	files := map[string]string{"policies/a.cedar": reports, "policies/b.cedar": "@id(\"unused\") forbid (principal, action, resource) when { context.newAgent };", "tests/a.yaml": passing, "other.yaml": "not: ours"}
	code, out, errs, folder := run(t, files, "", "test", ".", "--coverage")
	if code != command.Clean || out != "policies/b.cedar:1: policy \"unused\" determines the answer to no case\n" || errs != "1 of 1 case pass; 1 of 2 policies determine one\n" {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	if err := os.WriteFile(filepath.Join(folder, "tests/a.yaml"), []byte(strings.Replace(passing, "deny", "allow", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ = again(t, folder, "", "test", ".")
	if code != command.Found || !strings.HasPrefix(out, "tests/a.yaml:2: reports write: want allow, got deny\n    reports-only-read (policies/a.cedar:1): forbid matches: The report job only reads.\n") {
		t.Errorf("%d\n%s", code, out)
	}
	code, out, _ = again(t, folder, "", "test", ".", "--jq", ".failures[0].got")
	if code != command.Found || out != "deny\n" {
		t.Errorf("%d %q", code, out)
	}
}

func TestWhatCannotBeTestedIsWrongUse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no tests", map[string]string{"a.cedar": reports}, "there are no tests"},
		{"no policies", map[string]string{"tests/a.yaml": passing}, "there is no policy there"},
		{"a wrong test", map[string]string{"a.cedar": reports, "tests/a.yaml": "tests:\n  - name: a\n    expect: perhaps\n"}, "tests/a.yaml:2:"},
		{"a wrong policy", map[string]string{"a.cedar": "permit (principal, action, resource);", "tests/a.yaml": passing}, "a.cedar:1:1: it has no @id"},
	} {
		code, out, errs, _ := run(t, tt.files, "", "test", ".")
		if code != command.WrongUse || out != "" || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: %d %s %s", tt.name, code, out, errs)
		}
	}
}

func TestFilesAreFormattedInPlace(t *testing.T) {
	loose := strings.ReplaceAll(reports, "\n", "  \n\n")
	code, out, errs, folder := run(t, map[string]string{"a.cedar": loose, "sub/b.cedar": reports, ".git/c.cedar": loose}, "", "fmt", "--check", ".")
	if code != command.Found || !strings.Contains(out, "a.cedar") || strings.Contains(out, "b.cedar") || !strings.Contains(errs, "1 file is not in the one form") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if body, err := os.ReadFile("a.cedar"); err != nil || string(body) != loose {
		t.Errorf("--check changed a file: %v", err)
	}
	if code, out, errs = again(t, folder, "", "fmt", "."); code != command.Clean || !strings.Contains(out, "a.cedar") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	body, err := os.ReadFile("a.cedar")
	info, statErr := os.Stat("a.cedar")
	if err != nil || statErr != nil || string(body) != reports || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v %v\n%s", err, statErr, info.Mode(), body)
	}
	if body, _ := os.ReadFile(".git/c.cedar"); string(body) != loose {
		t.Error("a hidden folder was written to")
	}
	if left, _ := filepath.Glob(".muster-fmt-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if code, _, _ = again(t, folder, "", "fmt", "--check", "."); code != command.Clean {
		t.Errorf("after formatting: %d", code)
	}
	if code, out, _ = again(t, folder, loose, "fmt", "-"); code != command.Clean || out != reports {
		t.Errorf("standard input: %d %s", code, out)
	}
}

func TestAFileThatIsNoCedarLeavesAllAsTheyAre(t *testing.T) {
	loose := " " + reports
	code, _, errs, _ := run(t, map[string]string{"a.cedar": loose, "b.cedar": "\npermit ("}, "", "fmt", ".")
	if body, err := os.ReadFile("a.cedar"); code != command.WrongUse || !strings.Contains(errs, "b.cedar:2:") || err != nil || string(body) != loose {
		t.Errorf("%d %s %v", code, errs, err)
	}
}

func TestADiffSaysWhatIsWrittenAndWhatItDoes(t *testing.T) {
	files := map[string]string{
		"a.cedar": reports, "b.cedar": strings.Replace(reports, `Action::"read"`, `Action::"list"`, 1), "c.cedar": "// only the form\n" + strings.ReplaceAll(reports, "\n", " "),
	}
	code, out, errs, folder := run(t, files, "", "diff", "a.cedar", "b.cedar")
	if code != command.Found || !strings.Contains(out, `now: unless action == Action::"list"`) || !strings.Contains(out, "newly-denied") || !strings.Contains(out, "nhi_reports") ||
		!strings.Contains(errs, "1 policy differs; of ") {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	if code, out, _ = again(t, folder, "", "diff", "a.cedar", "c.cedar"); code != command.Clean || out != "" {
		t.Errorf("only the form: %d %s", code, out)
	}
	if code, out, _ = again(t, folder, "", "diff", "a.cedar", "b.cedar", "--jq", ".policies[0].access"); code != command.Found || out != "either\n" {
		t.Errorf("%d %s", code, out)
	}
	if code, _, errs = again(t, folder, "", "diff", "a.cedar", "nowhere.cedar"); code != command.CouldNot || !strings.Contains(errs, "nowhere.cedar") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestASimulationNeedsADataFolderOrAServer(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"a.cedar", "--data", "nowhere"}, command.CouldNot, "no data folder of a server"},
		{[]string{"a.cedar", "--against", "a.cedar"}, command.WrongUse, "go with --data"},
		{[]string{"a.cedar", "--since", "yesterday"}, command.WrongUse, "--since is"},
	} {
		code, out, errs, _ := run(t, map[string]string{"a.cedar": reports}, "", append([]string{"simulate"}, tt.args...)...)
		if code != tt.code || out != "" || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: %d %s %s", tt.args, code, out, errs)
		}
	}
}
