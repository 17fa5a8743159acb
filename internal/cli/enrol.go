package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/cli/operate"
	"github.com/muster-id/muster/internal/cli/people"
	"github.com/muster-id/muster/internal/output"
)

var (
	sourceFormats = []string{"cloudtrail", "scanner", "text", "receiver"}
	dialects      = []string{"authzen", "nginx", "caddy", "traefik", "haproxy", "envoy", "proxy", "kubernetes"}
	modes         = []string{"observe", "enforce"}
)

var (
	enrolledColumns = output.Columns[client.Enrolled]("id key")
	sourceColumns   = output.Columns[client.Source]("id name format accounts created disabled")
	pointColumns    = output.Columns[client.Point]("id name dialect mode percent would_refuse last_call connection disabled | lag lease heard unreported assert sources resources created")
)

func (a *app) source() *cobra.Command {
	return a.Group("source", "Who may report logs and leaks, and hear of signals", `
muster source add cloudtrail --account 210987654321
muster source list`, a.sourceAdd(), a.sourceList(), people.SignalPeers(a.App), people.SignalStreams(a.App), a.applyCommand("source", "trust.yaml", "trust"))
}

func (a *app) sourceAdd() *cobra.Command {
	var in client.AddSource
	return a.Command(command.Verb{
		Use: "add FORMAT", Short: "Add a source and show its key for the only time",
		Long: "Add a source of logs (cloudtrail), of leaks that a scan found (scanner), or of chat and forum\ntext (text). It reports with its own key, and logs only about the accounts declared for it. A receiver\nreports nothing: it hears shared signals about its accounts, each an account, environment:NAME, or *.",
		Example: `
muster source add cloudtrail --account 210987654321 -o json
muster source add cloudtrail --account 210987654321 --account 109876543210 --name main-trail
muster source add scanner --jq .key > scanner.key
muster source add receiver --name siem --account environment:prod -o json`,
		Args: cobra.ExactArgs(1), Complete: sourceFormats, Prints: output.Fields[client.Enrolled](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			c.Flags().StringSliceVar(&in.Accounts, "account", nil, "`account` that it may speak for; repeat for several")
			c.Flags().StringVar(&in.Name, "name", "", "what people call it")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			in.Format = args[0]
			if err := command.OneOf("source", in.Format, sourceFormats); err != nil {
				return err
			}
			if in.Format == "receiver" && len(in.Accounts) == 0 {
				return command.Usagef("a receiver hears only about accounts declared for it: give --account ID, environment:NAME or '*', once for each")
			}
			if in.Format == "cloudtrail" && len(in.Accounts) == 0 {
				return command.Usagef("a source of logs testifies only about accounts declared for it: give --account ID, once for each")
			}
			return command.Change(ctx, k, http.MethodPost, "/v1/sources", in, enrolledColumns, func(client.Enrolled) { a.shownOnce() })
		},
	})
}

func (a *app) shownOnce() { a.Say("keep the key now: it is not shown again") }

func (a *app) sourceList() *cobra.Command {
	return a.Command(command.Verb{
		Use: "list", Short: "List sources", Example: `muster source list`, Prints: output.Fields[client.Source](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Pages(ctx, k, "/v1/sources", nil, 0, sourceColumns)
		},
	})
}

func (a *app) point() *cobra.Command {
	return a.Group("point", "Where decisions bite", `
muster point enroll edge --dialect nginx --resource payments/api
muster point set edge --mode enforce --percent 100`, a.pointEnroll(), a.pointSet(), a.pointList(), operate.Probe(a.App), a.pointRun(), operate.BreakGlass(a.App), operate.Glass(a.App))
}

func (a *app) pointEnroll() *cobra.Command {
	var in client.EnrollPoint
	return a.Command(command.Verb{
		Use: "enroll NAME", Short: "Enroll an enforcement point and show its key for the only time",
		Long: "Enroll an enforcement point: a proxy or service that asks before it lets a request through.\nIt starts in observe: it lets everything pass but what is revoked, suspended or quarantined, and\ncounts what it would have refused. `muster point set NAME --mode enforce` makes it bite.",
		Example: `
muster point enroll edge --dialect nginx --source 10.0.0.0/24 --resource payments/api
muster point enroll edge -o json --jq .key > edge.key`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Enrolled](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			dialectFlag(c, &in.Dialect, "nginx")
			c.Flags().StringSliceVar(&in.Sources, "source", nil, "`address` or prefix that it speaks from; none means this machine")
			c.Flags().StringSliceVar(&in.Resources, "resource", nil, "`resource` that it guards; none means all")
			c.Flags().BoolVar(&in.Assert, "assert", false, "sign an assertion of each decision for the application to check")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			in.Name = args[0]
			if err := command.OneOf("--dialect", in.Dialect, dialects); err != nil {
				return err
			}
			return command.Change(ctx, k, http.MethodPost, "/v1/points", in, enrolledColumns, func(client.Enrolled) {
				a.shownOnce()
				a.Say("the point only observes, so nothing is protected by it yet: muster point set %s --mode enforce", output.Visible(in.Name))
			})
		},
	})
}

func dialectFlag(c *cobra.Command, dialect *string, usual string) {
	c.Flags().StringVar(dialect, "dialect", usual, "which `headers` it speaks: "+strings.Join(dialects, ", "))
	command.Completes(c, "dialect", dialects...)
}

func (a *app) pointSet() *cobra.Command {
	var mode, dialect string
	var percent int
	var sources, resources []string
	var disable, enable, assert bool
	return a.Command(command.Verb{
		Use: "set NAME", Short: "Change an enforcement point",
		Example: `
muster point set edge --mode enforce --percent 10
muster point set edge --percent 100
muster point set edge --mode observe
muster point set edge --disable`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Point](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.StringVar(&mode, "mode", "", "`observe`: let pass and count; enforce: refuse")
			f.IntVar(&percent, "percent", 0, "`share` of callers, in percent, that enforce applies to")
			dialectFlag(c, &dialect, "")
			f.StringSliceVar(&sources, "source", nil, "`addresses` or prefixes that it speaks from, instead of those before")
			f.StringSliceVar(&resources, "resource", nil, "`resources` that it guards, instead of those before")
			f.BoolVar(&disable, "disable", false, "refuse everything that it asks")
			f.BoolVar(&enable, "enable", false, "answer it again")
			f.BoolVar(&assert, "assert", false, "sign an `assertion` of each decision for the application to check; --assert=false: no more")
			c.MarkFlagsMutuallyExclusive("disable", "enable")
			command.Completes(c, "mode", modes...)
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			var in client.SetPoint
			changed := k.Cmd.Flags().Changed
			if changed("mode") {
				in.Mode = &mode
				if err := command.OneOf("--mode", mode, modes); err != nil {
					return err
				}
			}
			if changed("percent") {
				if in.Percent = &percent; percent < 0 || percent > 100 {
					return command.Usagef("--percent %d: want 0 to 100", percent)
				}
			}
			if changed("dialect") {
				in.Dialect = &dialect
				if err := command.OneOf("--dialect", dialect, dialects); err != nil {
					return err
				}
			}
			if changed("source") {
				in.Sources = &sources
			}
			if changed("resource") {
				in.Resources = &resources
			}
			if disable || enable {
				in.Disabled = &disable
			}
			if changed("assert") {
				in.Assert = &assert
			}
			if reflect.ValueOf(in).IsZero() {
				return command.Usagef("nothing to change")
			}
			return command.Change(ctx, k, http.MethodPatch, "/v1/points/"+url.PathEscape(args[0]), in, pointColumns, nil)
		},
	})
}

// instead says what a point that observes would have refused, and how to see it.
func instead(p *client.Point) string {
	if p.WouldRefuse == 0 {
		return ""
	}
	return fmt.Sprintf(", and would have refused %s since the server started: muster decide list --filter would_refuse:true --point %s", output.Count(p.WouldRefuse, "request", "requests"), output.Visible(p.Name))
}

func (a *app) pointList() *cobra.Command {
	return a.Command(command.Verb{
		Use: "list", Short: "List enforcement points", Example: `muster point list`, Prints: output.Fields[client.Point](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			items, _, err := command.Read[client.Point](ctx, k, "/v1/points", nil, 0)
			if err != nil {
				return err
			}
			for _, p := range items {
				if p.Mode == "observe" && !p.Disabled {
					a.Say("%s is not protected: its point only observes%s", output.Visible(p.Name), instead(&p))
				}
			}
			return output.List(k.Out, items, pointColumns)
		},
	})
}
