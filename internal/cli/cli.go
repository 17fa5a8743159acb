// Package cli is the command line: one file for each noun, and rooms for
// nouns that belong together. A verb turns arguments into calls of the server
// package or of a remote server's API, and answers into text; what all of them
// promise about output, exit status, errors and secrets is kept by the frame,
// package [command].
package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/author"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/cli/operate"
	"github.com/muster-id/muster/internal/cli/people"
)

// Run runs one command line and returns the exit status. It blocks until the
// command is done or ctx ends.
func Run(ctx context.Context, version string, args []string, std command.Std) int {
	return command.Run(ctx, version, args, std, func(a *command.App) *cobra.Command { return (&app{a}).root() })
}

// System connects to the process's own streams and environment.
func System() command.Std { return command.System() }

// An app has a method for each command.
type app struct{ *command.App }

func (a *app) root() *cobra.Command {
	root := a.Group("muster", "Zero trust for non-human identities", `
muster demo                      a living fictional company in your browser
muster scan .                    find leaked keys in a folder
muster replay trail/*.json.gz    what would have been noticed in your own logs
muster serve --data /var/lib/muster`)
	root.Long = "Muster gives every non-human identity the zero-trust treatment that people already get:\nit knows who exists, verifies who calls, decides what they may do, watches what is normal,\nand contains what is not."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	a.DebugFlag(root)
	in := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	in("start", "Start here:", a.demo(), a.scan(), a.replay(), a.serve(), a.login())
	in("know", "Know and verify:", a.inventory(), a.identity(), a.credential(), a.source(), a.point(), a.search())
	in("decide", "Decide and watch:", a.resource(), author.Policy(a.App), a.decide(), a.finding())
	in("act", "Act and prove:", a.action(), people.Approval(a.App), operate.Notify(a.App), a.audit())
	in("people", "Who uses Muster itself:", people.Person(a.App), people.Token(a.App))
	in("tool", "The tool itself:", operate.Config(a.App), operate.Backup(a.App), operate.Restore(a.App), operate.Doctor(a.App), operate.Version(a.App), a.man(root))
	root.SetCompletionCommandGroupID("tool")
	root.SetHelpCommandGroupID("tool")
	root.AddCommand(a.openapi())
	return root
}
