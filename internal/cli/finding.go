package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/list"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/cli/operate"
	"github.com/muster-id/muster/internal/output"
)

var (
	statuses = []string{"open", "acknowledged", "resolved", "dismissed"}
	outcomes = []string{"allow", "deny", "step-up"}
)

var findingColumns = output.Columns[client.Finding]("id severity status detected=detected_at title sentence | rule score identity name owner credential count reach place=place.name line=place.line measure=action.measure action=action.id done=action.status")

var featureColumns = output.Columns[client.Feature]("feature=name usual seen bits")

func (a *app) finding() *cobra.Command {
	return a.Group("finding", "What is wrong", `
muster finding list --status open
muster finding ack 4f1c2a9be07d --reason "asked the team"`,
		a.findingList(), a.findingShow(),
		a.findingSet("ack", "Say that you are looking into a finding", "acknowledged"),
		a.findingSet("resolve", "Say that a finding is dealt with", "resolved"),
		a.findingSet("dismiss", "Say that a finding is none", "dismissed"))
}

func (a *app) findingList() *cobra.Command {
	var status, identity, credential string
	var limit int
	var live bool
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "list", Short: "List findings, the worst and newest first",
		Example: `
muster finding list --status open
muster finding list --filter 'severity:high,critical environment:prod' --order -at
muster finding list --watch -o json
muster finding list --json id,severity,sentence`,
		Prints: output.Fields[client.Finding](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			narrow.FilterFlag(c, "status:open severity:high,critical")
			narrow.OrderFlag(c, "severity", "at")
			f.StringVar(&status, "status", "", "only this `status`: "+strings.Join(statuses, ", "))
			command.NameFlag(c, &identity, "identity", command.Identity, "only those about the identity with this `id` or name")
			command.NameFlag(c, &credential, "credential", command.Credential, "only those about the credential with this `id` or public id")
			f.BoolVar(&live, "watch", false, "print what is found from now on")
			command.LimitFlag(c, &limit)
			command.Completes(c, "status", statuses...)
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if err := errors.Join(k.Resolve(ctx, command.Identity, &identity), k.Resolve(ctx, command.Credential, &credential)); err != nil {
				return err
			}
			if live {
				return command.Watch(ctx, k, "finding", limit, func(f client.Finding) bool {
					return (status == "" || f.Status == status) && (identity == "" || f.Identity == identity) && (credential == "" || f.Credential == credential)
				}, findingColumns)
			}
			return command.Pages(ctx, k, "/v1/findings", narrow.Of(url.Values{"status": {status}, "identity": {identity}, "credential": {credential}}), limit, findingColumns)
		},
	})
}

func (a *app) findingShow() *cobra.Command {
	return a.Command(command.Verb{
		Use: "show ID", Short: "Show one finding with its reasons", Example: `muster finding show 4f1c2a9be07d`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Finding](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			f, err := command.Show(ctx, k, "/v1/findings/"+url.PathEscape(args[0]), findingColumns)
			if err != nil {
				return err
			}
			return more(k, f.Features, featureColumns)
		},
	})
}

// more prints a table below the thing it belongs to.
func more[T any](k *command.Call, items []T, columns []output.Column[T]) error {
	if k.Out.Structured() || k.Out.Format == "csv" || len(items) == 0 {
		return nil
	}
	fmt.Fprintln(k.Std.Out)
	return output.List(k.Out, items, columns)
}

func (a *app) findingSet(use, short, status string) *cobra.Command {
	var reason string
	return a.Command(command.Verb{
		Use: use + " ID", Short: short, Example: `muster finding ` + use + ` 4f1c2a9be07d --reason "the team knows"`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Finding](), Talks: command.Writes,
		Flags: func(c *cobra.Command) { reasonFlag(c, &reason) },
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			return command.Change(ctx, k, http.MethodPatch, "/v1/findings/"+url.PathEscape(args[0]), client.SetFinding{Status: status, Reason: reason}, findingColumns, nil)
		},
	})
}

func reasonFlag(c *cobra.Command, reason *string) {
	c.Flags().StringVar(reason, "reason", "", "why, in a few `words`; they go into the audit log")
}

var actionColumns = output.Columns[client.Action]("id at measure status credential identity actor undoable | reason finding undone=undone_at undone_by")

func (a *app) action() *cobra.Command {
	return a.Group("action", "What was done about it", `
muster action list
muster action undo 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11 --reason "it was a drill"`,
		a.actionList(),
		a.actionDo("undo", "Undo an action: what it changed is as it was before"),
		a.actionDo("approve", "Carry out a proposed action"))
}

func (a *app) actionList() *cobra.Command {
	var limit int
	var live bool
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "list", Short: "List actions, the newest first",
		Example: `
muster action list
muster action list --filter status:proposed --jq '.[].id'
muster action list --watch`,
		Prints: output.Fields[client.Action](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			command.NewestFlag(c, &limit)
			narrow.FilterFlag(c, "status:proposed at>7d")
			c.Flags().BoolVar(&live, "watch", false, "print what is done from now on")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if live {
				return command.Watch(ctx, k, "action", limit, func(client.Action) bool { return true }, actionColumns)
			}
			return command.Newest(ctx, k, "/v1/actions", narrow.Of(url.Values{}), limit, actionColumns)
		},
	})
}

func (a *app) actionDo(use, short string) *cobra.Command {
	var reason string
	return a.Command(command.Verb{
		Use: use + " ID", Short: short, Example: `muster action ` + use + ` 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Action](), Talks: command.Writes,
		Flags: func(c *cobra.Command) { reasonFlag(c, &reason) },
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			return command.Change(ctx, k, http.MethodPost, "/v1/actions/"+url.PathEscape(args[0])+"/"+use, client.ActOn{Reason: reason}, actionColumns, nil)
		},
	})
}

var decisionColumns = list.DecisionColumns

func (a *app) decide() *cobra.Command {
	return a.Group("decide", "What was allowed and refused, and why", `
muster decide list --outcome deny
muster decide list --watch
muster decide show 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11
muster decide explain 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11
muster decide export --since 7d`, a.decideList(), a.decideShow(), operate.ExplainDecision(a.App), operate.ExportDecisions(a.App, decisionColumns))
}

func (a *app) decideList() *cobra.Command {
	var outcome, identity, point, since string
	var limit int
	var live bool
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "list", Short: "List recent decisions, the newest first",
		Example: `
muster decide list --since 7d --outcome deny
muster decide list --outcome deny
muster decide list --filter 'outcome:deny country:NL,DE at>1h'
muster decide list --watch
muster decide list --identity settler -o json`,
		Prints: output.Fields[client.Decision](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			narrow.FilterFlag(c, "outcome:deny country:NL at>1h")
			f.StringVar(&outcome, "outcome", "", "only this `outcome`: "+strings.Join(outcomes, ", "))
			command.NameFlag(c, &identity, "identity", command.Identity, "only those about the identity with this `id` or name")
			command.NameFlag(c, &point, "point", command.Point, "only those of the point with this `id` or name")
			f.StringVar(&since, "since", "", "those of the last `time`, such as 36h or 7d, or from a date on, out of the record; without it the latest, out of memory")
			f.BoolVar(&live, "watch", false, "print decisions as they are made")
			command.NewestFlag(c, &limit)
			command.Completes(c, "outcome", outcomes...)
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if outcome != "" {
				if err := command.OneOf("--outcome", outcome, outcomes); err != nil {
					return err
				}
			}
			if err := errors.Join(k.Resolve(ctx, command.Identity, &identity), k.Resolve(ctx, command.Point, &point)); err != nil {
				return err
			}
			if live {
				return command.Watch(ctx, k, "decision", limit, func(d client.Decision) bool {
					return (outcome == "" || d.Outcome == outcome) && (identity == "" || d.Identity == identity) && (point == "" || d.Point == point)
				}, decisionColumns)
			}
			from, err := command.Since(since, time.Now())
			if err != nil {
				return err
			}
			query := narrow.Of(url.Values{"outcome": {outcome}, "identity": {identity}, "point": {point}, "since": {moment(from)}})
			if since == "" {
				return command.Latest(ctx, k, "/v1/decisions", query, limit, decisionColumns, "these are from memory, since the server started; --since 7d reads the record")
			}
			return command.Newest(ctx, k, "/v1/decisions", query, limit, decisionColumns)
		},
	})
}

func (a *app) decideShow() *cobra.Command {
	return a.Command(command.Verb{
		Use: "show ID", Short: "Show one decision with its reasons", Example: `muster decide show 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Decision](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			d, err := command.Show(ctx, k, "/v1/decisions/"+url.PathEscape(args[0]), decisionColumns)
			if err != nil {
				return err
			}
			if err := more(k, d.Reasons, output.Columns[client.Reason]("policy effect where=position because=text")); err != nil {
				return err
			}
			return more(k, d.Features, featureColumns)
		},
	})
}

// moment is a time as a query says it, empty for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}
