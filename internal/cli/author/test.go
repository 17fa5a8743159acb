package author

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy/suite"
)

var failureColumns = output.Columns[suite.Failure]("file line name want got reason")

func test(a *command.App) *cobra.Command {
	var coverage bool
	var guards guarding
	return a.Command(command.Verb{
		Use: "test DIR|FILE...", Short: "Run the tests beside policies, without a server",
		Long: "Ask policies every case of their tests, without a server: those of the files and folders given,\nbeside the built-in guards. Tests are YAML in a folder named tests, or files that are named; of a\nfolder with policies or grants, a library, those in its own folder tests, as push takes them. See\n/docs/reference/policy-tests. For a case that is answered otherwise than it says, what happened\nand why is printed. The exit status is 1 when a case fails.",
		Example: `
muster policy test .
muster policy test policies.cedar tests/reports.yaml
muster policy test . --coverage -o json --jq .coverage.missed`,
		Args: cobra.MinimumNArgs(1), Prints: output.Fields[suite.Report](),
		Flags: func(c *cobra.Command) {
			c.Flags().BoolVar(&coverage, "coverage", false, "also print which policies determine the answer to no case")
			guards.flag(c)
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			settings, err := guards.settings()
			if err != nil {
				return err
			}
			c, err := readCandidate(a, args)
			if err != nil {
				return fmt.Errorf("test: %w", err)
			}
			suites, err := c.suites()
			if err != nil {
				return err
			}
			if len(suites) == 0 {
				return command.Usagef("there are no tests; write some into a folder named tests, see /docs/reference/policy-tests")
			}
			set, err := c.load(settings)
			if err != nil {
				return err
			}
			report, err := suite.Run(ctx, set, suites...)
			if err != nil {
				return err
			}
			return printTests(a, k.Out, &report, coverage)
		},
	})
}

func printTests(a *command.App, o *output.Form, r *suite.Report, coverage bool) error {
	var err error
	switch {
	case o.Structured():
		err = o.Object(r)
	case o.Format == "csv":
		err = output.List(o, r.Failures, failureColumns)
	default:
		err = printFailures(a, r, coverage)
	}
	if err != nil {
		return err
	}
	a.Say("%d of %s pass; %d of %s determine one", r.Passed, output.Count(r.Cases, "case", "cases"), r.Coverage.Determined, output.Count(r.Coverage.Policies, "policy", "policies"))
	if r.Failed > 0 {
		return command.ErrFound
	}
	return nil
}

func printFailures(a *command.App, r *suite.Report, coverage bool) error {
	for _, f := range r.Failures {
		if err := lines(a, f.String()); err != nil {
			return err
		}
		for _, why := range f.Why {
			if err := lines(a, "    "+why); err != nil {
				return err
			}
		}
	}
	if more := r.Failed - len(r.Failures); more > 0 {
		a.Say("and %d more fail", more)
	}
	if !coverage {
		return nil
	}
	for _, m := range r.Coverage.Missed {
		if err := lines(a, fmt.Sprintf("%s: policy %q determines the answer to no case", m.Position, m.ID)); err != nil {
			return err
		}
	}
	return nil
}
