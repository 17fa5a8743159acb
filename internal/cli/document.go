package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

func (a *app) resource() *cobra.Command {
	return a.Group("resource", "What is guarded: routes, resources and trust", `
muster resource apply resources.yaml
muster resource apply routes.yaml
muster resource show routes`, a.applyCommand("resource", "resources.yaml", ""), a.resourceShow())
}

// applyCommand applies a file as a whole. as is the document when the file's
// name does not say.
func (a *app) applyCommand(noun, example, as string) *cobra.Command {
	return a.Command(command.Verb{
		Use: "apply FILE", Short: "Apply a file as a whole; a wrong one changes nothing",
		Long: "Put a file into force: routes.yaml, resources.yaml, trust.yaml or policies.cedar. Its name says\nwhich, or --as. A wrong file is refused with line and reason, and the old one stays.",
		Example: fmt.Sprintf(`
muster %s apply %s
muster %[1]s apply %s --dry-run
muster %[1]s apply generated.yaml --as trust`, noun, example, example),
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Document](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&as, "as", as, "which `document` it is: routes, resources, trust or policies")
			command.Completes(c, "as", "routes", "resources", "trust", "policies")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			name, err := command.DocumentOf(args[0], as)
			if err != nil {
				return err
			}
			return k.Apply(ctx, args[0], name)
		},
	})
}

func (a *app) resourceShow() *cobra.Command {
	return a.Command(command.Verb{
		Use: "show routes|resources|trust", Short: "Print a file as it is in force",
		Example: `
muster resource show routes
muster resource show resources > resources.yaml`,
		Args: cobra.ExactArgs(1), Complete: []string{"routes", "resources", "trust"}, Prints: output.Fields[client.Document](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			name, err := command.DocumentOf("", args[0])
			if err != nil {
				return command.Usagef("there is no file %q; choose routes, resources or trust", args[0])
			}
			return k.Document(ctx, name)
		},
	})
}
