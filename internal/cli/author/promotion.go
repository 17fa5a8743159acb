package author

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/client/policies"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
)

var (
	promotionColumns = output.Columns[client.Promotion]("gate percent author since judged newly_denied unexplained errors | paused erred digest former newly_step_up newly_allowed errors_unproven unanswered dropped threshold started ended why")
	denialColumns    = output.Columns[policies.PromotionDenial]("identity name action resource policies count decision explained | at decided reported reason")
)

const promotionPath = "/v1/policies/promotion"

func promotions(a *command.App) *cobra.Command {
	return a.Group("promotion", "Policies on their way into force by gates", `
muster policy promotion status
muster policy promotion acknowledge --policy no-exports --reason "the contract ended"
muster policy promotion abort --reason "the till stopped"`,
		promotionStatus(a), promotionAcknowledge(a),
		promotionStep(a, "pause", "Keep the promotion at its gate", "Keep the promotion at its gate until it is resumed. It is still rolled back by itself if it must be."),
		promotionStep(a, "resume", "Let a promotion go on that was paused", "Let a promotion go on that was paused. The time of its gate begins anew."),
		promotionStep(a, "advance", "Open the next gate before its time", "Open the next gate before its time. That is refused while somebody is newly denied something that nobody\nexplained and, where the configuration has promotion.required, to the author."),
		promotionStep(a, "abort", "End the promotion: the former policies are in force for everybody", "End the promotion. The former policies are in force for everybody, at once."))
}

func promotionStatus(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "status", Short: "Show the gate, what it waits for, and who is newly denied what",
		Long: "Show the promotion under way, or the last one: at which gate it stands, for how many of a hundred\nprincipals the new policies decide, what the next gate waits for, and who is newly denied what. The\nexit status is 1 when something of that is not explained, or the promotion was rolled back by itself.",
		Example: `
muster policy promotion status
muster policy promotion status -o json --jq .waits`,
		Prints: output.Fields[client.Promotion](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			remote, err := k.Client()
			if err != nil {
				return err
			}
			p, err := remote.GetPromotion(ctx)
			if err != nil {
				return err
			}
			return printPromotion(k, &p)
		},
	})
}

func printPromotion(k *command.Call, p *client.Promotion) error {
	if p.ID == "" {
		k.Say("there never was a promotion; `muster policy push --staged` begins one")
	}
	if err := output.One(k.Out, *p, promotionColumns); err != nil {
		return err
	}
	if !k.Out.Structured() && k.Out.Format != "csv" && len(p.Denials) > 0 {
		fmt.Fprintln(k.Std.Out)
		if err := output.List(k.Out, p.Denials, denialColumns); err != nil {
			return err
		}
	}
	for _, why := range p.Waits {
		k.Say("it waits: %s", output.Visible(why))
	}
	for _, h := range p.Holds {
		if h.Since != nil {
			k.Say("a person has had to act since %s (%s); it does not go on by itself", h.Since.Format("2006-01-02 15:04 MST"), h.Why)
		}
	}
	if p.Why != "" {
		k.Say("it ended: %s", output.Visible(p.Why))
	}
	if p.Running && p.Unexplained > 0 || p.Gate == string(nhi.PromotionRolledBack) {
		return command.ErrFound
	}
	return nil
}

func promotionStep(a *command.App, step, short, long string) *cobra.Command {
	var in client.ActOn
	return a.Command(command.Verb{
		Use: step, Short: short, Long: long, Example: "\nmuster policy promotion " + step + "\nmuster policy promotion " + step + ` --reason "as agreed"`,
		Args: cobra.NoArgs, Prints: output.Fields[client.Promotion](), Talks: command.Writes,
		Flags: func(c *cobra.Command) { c.Flags().StringVar(&in.Reason, "reason", "", "why, in a `line`") },
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Change(ctx, k, http.MethodPost, promotionPath+"/"+step, in, promotionColumns, nil)
		},
	})
}

func promotionAcknowledge(a *command.App) *cobra.Command {
	var in client.Acknowledge
	return a.Command(command.Verb{
		Use: "acknowledge", Short: "Say that what is newly denied was meant, and why",
		Long: "Explain what the policies on their way into force deny newly: all that a policy denies, or what fits\nthe identity, the action and the resource that are given. What is explained no longer holds the promotion\nup and never has it rolled back. It is on record who said so.",
		Example: `
muster policy promotion acknowledge --policy no-exports --reason "the contract ended"
muster policy promotion acknowledge --identity billing-export --resource ledger --reason "it moved"`,
		Args: cobra.NoArgs, Prints: output.Fields[client.Promotion](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&in.Policy, "policy", "", "what this `policy` denies, by its @id")
			c.Flags().StringVar(&in.Identity, "identity", "", "what is denied to this `identity`, by name or id")
			c.Flags().StringVar(&in.Action, "action", "", "only this `action`")
			c.Flags().StringVar(&in.Resource, "resource", "", "what is denied of this `resource`")
			c.Flags().StringVar(&in.Reason, "reason", "", "why it is meant, in a `line`")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if in.Reason == "" {
				return command.Usagef("say why it is meant: --reason LINE")
			}
			if err := k.Resolve(ctx, command.Identity, &in.Identity); err != nil {
				return err
			}
			return command.Change(ctx, k, http.MethodPost, promotionPath+"/acknowledgements", in, promotionColumns, nil)
		},
	})
}
