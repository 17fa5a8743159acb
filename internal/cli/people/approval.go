package people

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var (
	approvalColumns = output.Columns[client.Approval]("id state name action resource sensitivity needed expires | operation purpose address country network agent identity point=point_name asked settled decision used cancelled_by")
	voteColumns     = output.Columns[client.Vote]("name yes comment at | person")
	becauseColumns  = output.Columns[client.Reason]("policy effect where=position because=text")
)

// Approval is `muster approval`.
func Approval(a *command.App) *cobra.Command {
	return a.Group("approval", "What identities ask people to allow, once", `
muster approval list --filter state:pending
muster approval show apr_mzxw6ytboi2dgnbvgy3tqobzge
muster approval approve apr_mzxw6ytboi2dgnbvgy3tqobzge --comment "spoke with the team on call"`,
		approvalList(a), approvalShow(a),
		approvalAnswer(a, "approve", "Say yes to what an identity asks"),
		approvalAnswer(a, "deny", "Say no to what an identity asks; one no is enough"),
		approvalCancel(a))
}

func approvalList(a *command.App) *cobra.Command {
	var limit int
	var live bool
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "list", Short: "List what people were asked to approve, the newest first",
		Example: `
muster approval list --filter state:pending
muster approval list --filter 'resource:ledger at>7d' -o json
muster approval list --watch`,
		Prints: output.Fields[client.Approval](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			command.NewestFlag(c, &limit)
			narrow.FilterFlag(c, "state:pending at>7d")
			c.Flags().BoolVar(&live, "watch", false, "print what is asked and answered from now on")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if live {
				return command.Watch(ctx, k, "approval", limit, func(client.Approval) bool { return true }, approvalColumns)
			}
			return command.Newest(ctx, k, "/v1/approvals", narrow.Of(url.Values{}), limit, approvalColumns)
		},
	})
}

func approvalShow(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "show ID", Short: "Show what is asked, why, and who said what", Example: `muster approval show apr_mzxw6ytboi2dgnbvgy3tqobzge`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Approval](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			v, err := command.Show(ctx, k, "/v1/approvals/"+url.PathEscape(args[0]), approvalColumns)
			if err != nil || k.Out.Structured() || k.Out.Format == "csv" {
				return err
			}
			if len(v.Reasons) > 0 {
				fmt.Fprintln(k.Std.Out)
				if err := output.List(k.Out, v.Reasons, becauseColumns); err != nil {
					return err
				}
			}
			if len(v.Votes) == 0 {
				return nil
			}
			fmt.Fprintln(k.Std.Out)
			return output.List(k.Out, v.Votes, voteColumns)
		},
	})
}

func approvalAnswer(a *command.App, use, short string) *cobra.Command {
	var in client.Answer
	return a.Command(command.Verb{
		Use: use + " ID", Short: short,
		Long:    short + ". Only people may: with a token this works for the first\nadministrator only, because any other may be a program's. Everybody else signs in to the console.",
		Example: `muster approval ` + use + ` apr_mzxw6ytboi2dgnbvgy3tqobzge --comment "spoke with the team on call"`,
		Args:    cobra.ExactArgs(1), Prints: output.Fields[client.Approval](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&in.Comment, "comment", "", "why, in a few `words`; they go into the audit log")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			return command.Change(ctx, k, http.MethodPost, "/v1/approvals/"+url.PathEscape(args[0])+"/"+use, in, approvalColumns, nil)
		},
	})
}

func approvalCancel(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "cancel ID", Short: "Close what waits for people, or was approved and not used", Example: `muster approval cancel apr_mzxw6ytboi2dgnbvgy3tqobzge`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Approval](), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			return command.Change(ctx, k, http.MethodPost, "/v1/approvals/"+url.PathEscape(args[0])+"/cancel", nil, approvalColumns, nil)
		},
	})
}
