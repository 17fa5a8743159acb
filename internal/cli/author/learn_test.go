package author

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/server/library"
)

const reader = "nhi_v6w2kopezgzwfpmsgulnrizwq4"

// recorded is a data folder in which somebody did something twice each.
func recorded(t *testing.T, resources ...string) string {
	t.Helper()
	data := t.TempDir()
	j, err := journal.Open(filepath.Join(data, "decisions"), journal.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	for i, resource := range append(resources, resources...) {
		d := nhi.Decision{
			ID: fmt.Sprintf("01900000-0000-7000-8000-%012x", i), At: time.Now(), Outcome: nhi.Allow, Policy: "0123", Identity: reader, Method: "token",
			Action: nhi.Read, Resource: resource, Reasons: []nhi.Reason{{Policy: "base-permit", Effect: "permit"}},
		}
		if err := j.AppendAsync(logbook.Append(nil, &d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWhatWasDoneBecomesGrantsThatPassTheirTests(t *testing.T) {
	data := recorded(t, "orders", "ledger")
	unused := "@id(\"nobody-needs-me\") permit (principal in Identity::\"nhi_x\", action, resource == Resource::\"x\");"
	code, out, errs, folder := run(t, map[string]string{"mine.cedar": unused}, "", "learn", "--data", data, "mine.cedar", "--write", "proposal")
	if code != command.Clean || !strings.Contains(out, "orders") || !strings.Contains(errs, "permit nobody-needs-me allowed nothing") || !strings.Contains(errs, "4 decisions taught") {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	written, err := os.ReadFile(filepath.Join(folder, "proposal", "grants", "learned.yaml"))
	if err != nil || !strings.Contains(string(written), "template: grant") {
		t.Fatalf("%s, %v", written, err)
	}
	code, _, errs = again(t, folder, "", "learn", "--data", data, "--write", "proposal")
	after, err := os.ReadFile(filepath.Join(folder, "proposal", "grants", "learned.yaml"))
	if code != command.CouldNot || !strings.Contains(errs, "exists") || err != nil || string(after) != string(written) {
		t.Errorf("a file that was there was written over: %d %s %v", code, errs, err)
	}
	if code, out, _ = again(t, folder, "", "learn", "--data", data, "--identity", "nhi_another", "--jq", ".decisions"); code != command.Clean || out != "0\n" {
		t.Errorf("%d %q", code, out)
	}
}

func TestANameThatWouldWidenAGrantIsLeftOut(t *testing.T) {
	data := recorded(t, "orders", "environment:production")
	code, out, errs, folder := run(t, nil, "", "learn", "--data", data, "--write", "proposal")
	written, err := os.ReadFile(filepath.Join(folder, "proposal", "grants", "learned.yaml"))
	if code != command.Clean || err != nil || strings.Contains(string(written), "environment:") || !strings.Contains(errs, "1 grant was left out") {
		t.Errorf("%d\n%s\n%s\n%s %v", code, out, errs, written, err)
	}
}

func TestLearningInAFolderNeedsOneOfAServer(t *testing.T) {
	if code, _, errs, _ := run(t, nil, "", "learn", "--data", "nowhere"); code != command.CouldNot || !strings.Contains(errs, "no data folder") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs, _ := run(t, nil, "", "learn", "--data", recorded(t, "orders"), "--owner", "team:payments"); code != command.WrongUse || !strings.Contains(errs, "--owner goes without --data") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestANameThatYAMLTakesForSomethingElseIsLeftOut(t *testing.T) {
	names := []string{".inf", "-.Inf", ".nan", "0x10", "1e3", "null", "~", "true", "2001-01-01", "1_000", "- x", "a: b", "*a", "!x", "{{.principal}}", `"; permit (principal, action, resource); //`, "orders"}
	data := recorded(t, slices.Clone(names)...)
	code, _, errs, folder := run(t, nil, "", "learn", "--data", data, "--write", "proposal")
	if code != command.Clean {
		t.Fatalf("%d %s", code, errs)
	}
	text, err := os.ReadFile(filepath.Join(folder, "proposal", "grants", "learned.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	read, problems := library.Read(map[string]string{"grants/learned.yaml": string(text)})
	if read == nil {
		t.Fatal(problems)
	}
	grants := 0
	for _, cedar := range read.Policies() {
		for line := range strings.Lines(cedar) {
			_, rest, there := strings.Cut(line, "resource == Resource::")
			if !there {
				continue
			}
			grants++
			if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(rest, policy.Quote(name)) }) {
				t.Errorf("a grant of what nobody did: %s", line)
			}
		}
	}
	if grants == 0 {
		t.Errorf("no grant in\n%s", text)
	}
}

func TestNeitherFileOfAProposalIsWrittenWhenOneIsThere(t *testing.T) {
	data := recorded(t, "orders")
	code, _, errs, folder := run(t, map[string]string{"proposal/tests/learned.yaml": "tests: []\n"}, "", "learn", "--data", data, "--write", "proposal")
	if _, err := os.Stat(filepath.Join(folder, "proposal", "grants", "learned.yaml")); code != command.CouldNot || !strings.Contains(errs, "exists") || err == nil {
		t.Errorf("%d %s: %v", code, errs, err)
	}
}
