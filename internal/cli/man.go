package cli

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/muster-id/muster/internal/cli/command"
)

// man writes the manual pages from the same words as --help.
func (a *app) man(root *cobra.Command) *cobra.Command {
	c := a.Command(command.Verb{
		Use: "man FOLDER", Short: "Write a manual page for each command", Args: cobra.ExactArgs(1),
		Long: "Write muster.1 and a page for each command into a folder, which is made if it is not there.",
		Example: `
muster man ~/.local/share/man/man1
muster man ./man1 && man ./man1/muster-serve.1`,
		Run: func(_ context.Context, _ *command.Call, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("make the folder of the manual pages: %w", err)
			}
			built := built()
			head := &doc.GenManHeader{Section: "1", Source: "Muster " + a.Version, Manual: "Muster", Date: &built}
			root.DisableAutoGenTag = true
			if err := doc.GenManTree(root, head, args[0]); err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			a.Say("wrote the manual pages to %s", args[0])
			return nil
		},
	})
	return c
}

// built is when the source of this program was committed, so that the pages of
// one version are the same bytes whenever they are written; now, if nobody
// knows.
func built() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if at, err := time.Parse(time.RFC3339, s.Value); err == nil && s.Key == "vcs.time" {
				return at
			}
		}
	}
	return time.Now()
}
