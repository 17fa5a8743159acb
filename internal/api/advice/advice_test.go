package advice

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

func TestEveryGuardThatNoStepUpUnlocksHasAdvice(t *testing.T) {
	files, err := filepath.Glob("../../policy/guards/*.cedar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of guards, %v", len(files), err)
	}
	id, want := regexp.MustCompile(`^"([a-z-]+)"\)`), map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, guard := range strings.Split(string(text), "@id(")[1:] {
			if strings.Contains(guard, "forbid (") && !strings.Contains(guard, "@stepup(") {
				want[id.FindStringSubmatch(guard)[1]] = true
			}
		}
	}
	for guard := range want {
		if guardAdvice[guard] == "" {
			t.Errorf("nothing is said about how to unlock %s", guard)
		}
	}
	for guard := range guardAdvice {
		if !want[guard] {
			t.Errorf("there is no guard %s that is without a step-up", guard)
		}
	}
}

func TestAdviceSaysWhatToDoAndLeavesTheRestAsItIs(t *testing.T) {
	d := &nhi.Decision{Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "mine", Position: "a.cedar:1"}, {Policy: "lease-none"}, {Policy: "dead", Position: "a.cedar:9"}}}
	a, b := client.UnlockChange{Text: "a", Want: true}, client.UnlockChange{Text: "b"}
	got := Put(d, []client.Unlock{
		{Policy: "mine", Words: "have one of these come out differently", Ways: [][]client.UnlockChange{{a}, {b, a}, {b}}},
		{Policy: "unknown-subject", Words: "have one of these come out differently"},
		{Policy: "ask", StepUp: "approve", Words: "have it approved by people"},
	})
	want := []client.Unlock{
		{Policy: "mine", Words: "have one of these come out differently", Ways: [][]client.UnlockChange{{a}, {b}}},
		{Policy: "unknown-subject", Words: guardAdvice["unknown-subject"]},
		{Policy: "ask", StepUp: "approve", Words: "have it approved by people: muster approval list --filter state:pending, or the page Approvals of the console"},
		{Policy: "lease-none", Words: reasonAdvice["lease-none"], Ways: [][]client.UnlockChange{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
