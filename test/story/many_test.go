//go:build scale

package story

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/demo"
)

// stories is how many are played.
const stories = 100

// record writes what became of every story beside the documentation.
func record(t *testing.T, reports []demo.Report) {
	t.Helper()
	commit, err := exec.CommandContext(t.Context(), "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %d drawn stories\n\nMade by `go test -tags scale ./test/story` on %s, commit %s, seed %d.\n\n", len(reports), time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(commit)), seed)
	b.WriteString("A mimic is whoever acts from the workload's own host with its usual operations; a thief is everybody else. Recovered, contained and alert are milliseconds: from a refusal of the workload to its success, from the proof of the leak to its containment, from the thief's first request to the first finding.\n\n")
	b.WriteString("| story | thief | deed | drift | pinned | thief got | mimic got | workload lost before, after | recovered | contained | alert |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	var thief, thiefGot, mimic, mimicGot, pinned, pinnedGot, work, lost int
	for _, r := range reports {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %v | %d of %d | %d of %d | %d, %d of %d | %.0f | %.0f | %.0f |\n", r.Story, r.Where, r.Deed, r.Drift, r.Pinned,
			r.ThiefSucceeded, r.ThiefRequests, r.MimicSucceeded, r.MimicRequests, r.WorkloadDenied, r.WorkloadDeniedAfter, r.WorkloadRequests, r.RecoveredMS, r.LeakToContainmentMS, r.FirstAlertMS)
		thief, thiefGot = thief+r.ThiefRequests, thiefGot+r.ThiefSucceeded
		work, lost = work+r.WorkloadRequests, lost+r.WorkloadDenied+r.WorkloadDeniedAfter
		if r.Pinned {
			pinned, pinnedGot = pinned+r.MimicRequests, pinnedGot+r.MimicSucceeded
		} else {
			mimic, mimicGot = mimic+r.MimicRequests, mimicGot+r.MimicSucceeded
		}
	}
	fmt.Fprintf(&b, "\nIn all: thieves got %d of %d requests through; workloads lost %d of %d; mimics got %d of %d through before and after containment, %d of %d where the key was pinned.\n",
		thiefGot, thief, lost, work, mimicGot, mimic, pinnedGot, pinned)
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "results", "stories.md"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
