//go:build scale

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rounds is how often the server is killed.
const rounds = 50

// approvalRounds is how often a server is killed around approvals.
const approvalRounds = 100

// signalRounds is how often a server is killed whose receiver is down.
const signalRounds = 40

// matrixRounds is how often something is killed in a house of many parts.
const matrixRounds = 20

// record writes the figures beside the documentation.
func record(t *testing.T, file, title, what, figures string) {
	t.Helper()
	commit, err := exec.CommandContext(t.Context(), "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("# %s\n\nMade by `go test -tags scale ./test/chaos` on %s, commit %s. %s\n\n%s.\n",
		title, time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(commit)), what, figures)
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "results", file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
