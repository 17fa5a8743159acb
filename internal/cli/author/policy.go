// Package author is the room of the commands by which people write policies:
// check and apply them, and have them written from templates. [Policy] makes
// them; package cli lists it.
package author

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy"
)

// Policy is `muster policy`.
func Policy(a *command.App) *cobra.Command {
	return a.Group("policy", "Who may do what, in Cedar", `
muster policy check policies.cedar
muster policy apply policies.cedar
muster policy push policies-repository
muster policy history
muster policy template list`, check(a), test(a), formats(a), diff(a), simulate(a), shadows(a), apply(a), push(a), promotions(a), learn(a), pull(a), history(a), show(a), rollback(a), confirm(a), withdraw(a), download(a), verify(a), templates(a))
}

var problemColumns = output.Columns[policy.Problem]("file line column policy warning reason")

func check(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "check FILE...|DIR", Short: "Check policies against the schema, without a server",
		Long: "Check Cedar policies as a server would before it takes them: syntax, schema and the rules of the\nhouse. A folder that holds policies/ or grants/ is checked as push reads it; of another one its policies\nare. Problems are printed as file:line:column, and make the exit status 2.",
		Example: `
muster policy check policies.cedar
muster policy check policies-repository
muster policy check policies/*.cedar -o json`,
		Args: cobra.MinimumNArgs(1), Prints: output.Fields[policy.Problem](),
		Run: func(_ context.Context, k *command.Call, args []string) error {
			problems, err := problemsOf(a, args)
			if err != nil {
				return err
			}
			if err := printProblems(a, k.Out, problems); err != nil {
				return err
			}
			return wrong(problems)
		},
	})
}

func printProblems(a *command.App, o *output.Form, problems []policy.Problem) error {
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

// problemsOf reads files, "-" and folders, and says what is wrong with them.
func problemsOf(a *command.App, args []string) ([]policy.Problem, error) {
	c := &candidate{policies: map[string]string{}, tests: map[string]string{}}
	var problems []policy.Problem
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case err != nil || !info.IsDir(): // "-", or what reading it says
			if err := c.read(a, arg, c.policies); err != nil {
				return nil, fmt.Errorf("check: %w", err)
			}
			continue
		case isLibrary(arg):
			_, found, err := readLibrary(arg)
			if err != nil {
				return nil, fmt.Errorf("check %s: %w", arg, err)
			}
			problems = append(problems, within(arg, found)...)
			leftOut(a, arg)
			continue
		}
		before := len(c.policies)
		if err := c.folder(a, arg); err != nil {
			return nil, fmt.Errorf("check: %w", err)
		}
		if len(c.policies) == before {
			return nil, command.Usagef("there is no policy in %s; policies are in files that end in .cedar", arg)
		}
	}
	if len(c.policies) == 0 {
		return problems, nil
	}
	return append(problems, policy.Check(c.policies)...), nil
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

func apply(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "apply FILE", Short: "Put policies into force beside the guards",
		Long: "Put a file of Cedar policies into force, instead of the one before; the built-in guards stay.\nA wrong file is refused with line and reason, and nothing changes.",
		Example: `
muster policy apply policies.cedar
muster policy apply policies.cedar --dry-run`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Document](), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
				return command.Usagef("%s is a folder: muster policy push puts one into force", args[0])
			}
			if args[0] != "-" { // standard input can be read only once
				problems, err := problemsOf(a, args)
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

func show(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "show [DIGEST]", Short: "Print policies.cedar as it is in force, or a snapshot with all its files",
		Example: `
muster policy show > policies.cedar
muster policy show 5f0c21aa90b4`,
		Args: cobra.MaximumNArgs(1), Prints: output.Fields[client.SnapshotDetail](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			if len(args) == 1 {
				return showSnapshot(ctx, k, args[0])
			}
			return k.Document(ctx, command.DocumentNames["policies"])
		},
	})
}
