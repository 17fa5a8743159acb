package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy"
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

func (a *app) policy() *cobra.Command {
	return a.Group("policy", "Who may do what, in Cedar", `
muster policy check policies.cedar
muster policy apply policies.cedar`, a.policyCheck(), a.policyApply(), a.policyShow())
}

var problemColumns = output.Columns[policy.Problem]("file line column policy warning reason")

func (a *app) policyCheck() *cobra.Command {
	return a.Command(command.Verb{
		Use: "check FILE...", Short: "Check policies against the schema, without a server",
		Long: "Check Cedar policies as a server would before it takes them: syntax, schema and the rules of the\nhouse. Problems are printed as file:line:column, and make the exit status 2.",
		Example: `
muster policy check policies.cedar
muster policy check policies/*.cedar -o json`,
		Args: cobra.MinimumNArgs(1), Prints: output.Fields[policy.Problem](),
		Run: func(_ context.Context, k *command.Call, args []string) error {
			problems, err := a.check(args)
			if err != nil {
				return err
			}
			if err := a.printProblems(k.Out, problems); err != nil {
				return err
			}
			return wrong(problems)
		},
	})
}

func (a *app) printProblems(o *output.Form, problems []policy.Problem) error {
	if o.Structured() || o.Format == "csv" {
		return output.List(o, problems, problemColumns)
	}
	for _, p := range problems {
		text := p.String()
		if p.Warning {
			text += " (warning)"
		}
		if _, err := fmt.Fprintln(a.Std.Out, output.Visible(text)); err != nil {
			return err
		}
	}
	if len(problems) == 0 {
		a.Say("nothing to object to")
	}
	return nil
}

func (a *app) check(names []string) ([]policy.Problem, error) {
	files := map[string]string{}
	for _, name := range names {
		body, err := a.ReadFile(name, command.MaxDocument)
		if err != nil {
			return nil, fmt.Errorf("check: %w", err)
		}
		files[name] = string(body)
	}
	return policy.Check(files), nil
}

// wrong is the error of policies that a server would refuse.
func wrong(problems []policy.Problem) error {
	problems = slices.DeleteFunc(slices.Clone(problems), func(p policy.Problem) bool { return p.Warning })
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return command.DocumentError{Err: fmt.Errorf("%s", problems[0])}
	}
	return command.DocumentError{Err: fmt.Errorf("%s, and %d more", problems[0], len(problems)-1)}
}

func (a *app) policyApply() *cobra.Command {
	return a.Command(command.Verb{
		Use: "apply FILE", Short: "Put policies into force beside the guards",
		Long: "Put a file of Cedar policies into force, instead of the one before; the built-in guards stay.\nA wrong file is refused with line and reason, and nothing changes.",
		Example: `
muster policy apply policies.cedar
muster policy apply policies.cedar --dry-run`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Document](), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			if args[0] != "-" { // standard input can be read only once
				problems, err := a.check(args)
				if err == nil {
					err = wrong(problems)
				}
				if err != nil {
					return err
				}
			}
			return k.Apply(ctx, args[0], command.DocumentNames["policies"])
		},
	})
}

func (a *app) policyShow() *cobra.Command {
	return a.Command(command.Verb{
		Use: "show", Short: "Print the policies that are in force", Example: `muster policy show > policies.cedar`,
		Prints: output.Fields[client.Document](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return k.Document(ctx, command.DocumentNames["policies"])
		},
	})
}
