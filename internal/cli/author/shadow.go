package author

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var (
	shadowColumns      = output.Columns[client.Shadow]("running author started files judged changed newly_denied newly_step_up newly_allowed | unanswered dropped unkept errors digest")
	wouldChangeColumns = output.Columns[client.ShadowDifference]("at kind identity name action resource before after decision=id | policies reason")
)

const shadowPath = "/v1/policies/shadow"

func shadows(a *command.App) *cobra.Command {
	return a.Group("shadow", "Policies that are tried on live decisions, and change none", `
muster policy shadow start policies.cedar
muster policy shadow status
muster policy shadow stop`, shadowStart(a), shadowStatus(a), shadowStop(a))
}

func shadowStart(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "start CANDIDATE...", Short: "Put policies into the shadow of those in force",
		Long: "Have policies, files or folders, tried on every decision after it was answered and put on record, until\nthey are stopped, also after a restart of the server. No answer changes, and none waits. They take the\nplace of what is in the shadow; what that counted is forgotten.",
		Example: `
muster policy shadow start policies.cedar
muster policy shadow start policies/ --dry-run`,
		Args: cobra.MinimumNArgs(1), Prints: output.Fields[client.Shadow](), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			c, err := readCandidate(a, args)
			if err != nil {
				return fmt.Errorf("shadow: %w", err)
			}
			if len(c.policies) == 0 {
				return command.Usagef("there is no policy there; policies are in files that end in .cedar")
			}
			return command.Change(ctx, k, http.MethodPut, shadowPath, client.StartShadow{Files: c.policies}, shadowColumns, nil)
		},
	})
}

func shadowStatus(a *command.App) *cobra.Command {
	var q client.ShadowQuery
	kinds := []string{"newly-denied", "newly-step-up", "newly-allowed"}
	return a.Command(command.Verb{
		Use: "status", Short: "Show what the policies in the shadow would have changed so far",
		Long: "Show what the policies in the shadow would have changed since they were started, and the newest of those\ndecisions. The exit status is 1 when there are any.",
		Example: `
muster policy shadow status
muster policy shadow status --identity billing-export --kind newly-denied`,
		Prints: output.Fields[client.Shadow](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&q.Identity, "identity", "", "only decisions about this `identity`, by name or id")
			c.Flags().StringVar(&q.Resource, "resource", "", "only decisions about this `resource`")
			c.Flags().StringVar(&q.Kind, "kind", "", "only differences of this `kind`: newly-denied, newly-step-up, newly-allowed")
			c.Flags().IntVar(&q.Limit, "limit", 0, "how many decisions at most, up to 500; 0 means the newest 50")
			command.Completes(c, "kind", kinds...)
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if q.Kind != "" {
				if err := command.OneOf("--kind", q.Kind, kinds); err != nil {
					return err
				}
			}
			if err := k.Resolve(ctx, command.Identity, &q.Identity); err != nil {
				return err
			}
			remote, err := k.Client()
			if err != nil {
				return err
			}
			s, err := remote.GetShadow(ctx, q)
			if err != nil {
				return err
			}
			return printShadow(k, &s)
		},
	})
}

func printShadow(k *command.Call, s *client.Shadow) error {
	if s.Started.IsZero() {
		k.Say("nothing was ever in the shadow; `muster policy shadow start` puts policies there")
	}
	if err := output.One(k.Out, *s, shadowColumns); err != nil {
		return err
	}
	if !k.Out.Structured() && k.Out.Format != "csv" && len(s.Differences) > 0 {
		fmt.Fprintln(k.Std.Out)
		if err := output.List(k.Out, s.Differences, wouldChangeColumns); err != nil {
			return err
		}
	}
	if s.Changed > 0 {
		return command.ErrFound
	}
	return nil
}

func shadowStop(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "stop", Short: "End the shadow; what it counted stays until the next", Example: `muster policy shadow stop`,
		Prints: output.Fields[client.Shadow](), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Change(ctx, k, http.MethodDelete, shadowPath, nil, shadowColumns, nil)
		},
	})
}
