package people

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var (
	tokenColumns   = output.Columns[client.Token]("id name roles expires used revoked | rights loopback person parent identity created")
	createdColumns = output.Columns[client.NewToken]("id name expires key")
)

// Token is `muster token`.
func Token(a *command.App) *cobra.Command {
	return a.Group("token", "Keys of programs that use Muster itself", `
muster token create ci --role viewer --jq .key > ci.token
muster token list
muster token revoke ID`, tokenCreate(a), tokenList(a), tokenRevoke(a))
}

func tokenCreate(a *command.App) *cobra.Command {
	var in client.CreateToken
	var words []string
	var scope client.Role
	var life time.Duration
	return a.Command(command.Verb{
		Use: "create NAME", Short: "Make an operator token and show its key for the only time",
		Long: "Make an operator token. It never allows more than you hold, loses what you lose, is in the\ninventory like every other key, and expires: after 90 days, or --expires-in, at most a year. A token\nthat a token made makes none.",
		Example: `
muster token create ci --role viewer --jq .key > ci.token
muster token create bot --role responder --team payments --expires-in 168h
muster token create nightly --role auditor --right audit --loopback`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.NewToken](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.StringSliceVar(&words, "role", nil, "`role` that it has; repeat for several; none means yours")
			scopeFlags(c, &scope)
			f.StringSliceVar(&in.Rights, "right", nil, "of what the roles allow, only this `right`: read, triage, respond, administer, audit, report")
			f.StringVar(&in.Owner, "owner", "", "who answers for it: e-mail `address` or team:x")
			f.DurationVar(&life, "expires-in", 0, "how `long` it lives, such as 168h")
			f.BoolVar(&in.Loopback, "loopback", false, "good on the server's own host only")
			command.Completes(c, "role", roles...)
			command.Completes(c, "right", "read", "triage", "respond", "administer", "audit", "report")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			var err error
			if in.Roles, err = rolesOf(words, scope); err != nil {
				return err
			}
			if len(in.Roles) == 0 && (scope.Team != "" || scope.Environment != "") {
				return command.Usagef("--team and --environment narrow a role: say which one with --role")
			}
			in.Name, in.ExpiresIn = args[0], int64(life/time.Second)
			return command.Change(ctx, k, http.MethodPost, "/v1/tokens", in, createdColumns, func(client.NewToken) {
				a.Say("keep the key now: it is not shown again")
			})
		},
	})
}

func tokenList(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "list", Short: "List operator tokens, the newest first", Example: `muster token list -o wide`, Prints: output.Fields[client.Token](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Pages(ctx, k, "/v1/tokens", nil, 0, tokenColumns)
		},
	})
}

func tokenRevoke(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "revoke ID", Short: "Revoke an operator token, at once",
		Long:    "Revoke an operator token, with the tokens that it made and the sessions that began with it.",
		Example: `muster token revoke 4fk2hPzX91aQ`, Args: cobra.ExactArgs(1), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			path := "/v1/tokens/" + url.PathEscape(args[0])
			if k.DryRun {
				return k.Plan(http.MethodDelete, path, nil)
			}
			c, err := k.Client()
			if err != nil {
				return err
			}
			if err := c.Send(ctx, http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			k.Say("%s is revoked", output.Visible(args[0]))
			return nil
		},
	})
}
