package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
)

func TestEveryCommandHasAManualPage(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "man1")
	if code, _, words := (shell{}).run(t, "man", folder); code != 0 {
		t.Fatalf("exit status %d: %s", code, words)
	}
	a := &app{&command.App{Std: command.Std{Getenv: func(string) string { return "" }}}}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		page, err := os.ReadFile(filepath.Join(folder, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(page), "\n.TH ") || !strings.Contains(string(page), "EXAMPLE") {
			t.Errorf("the page of %s has no title or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				walk(sub)
			}
		}
	}
	walk(a.root())
}

func TestTheCompletionScriptsAreWellFormed(t *testing.T) {
	for _, name := range []string{"bash", "zsh", "fish"} {
		code, script, words := (shell{}).run(t, "completion", name)
		if code != 0 || !strings.Contains(script, "muster") || words != "" {
			t.Errorf("%s: status %d, said %q, printed %d bytes", name, code, words, len(script))
		}
		program, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not installed: its script is not parsed", name)
			continue
		}
		cmd := exec.CommandContext(t.Context(), program, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s refuses its completion script: %v\n%s", name, err, out)
		}
	}
}
