package cli

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
)

var (
	sourceFormats = []string{"cloudtrail", "scanner", "text"}
	dialects      = []string{"authzen", "nginx", "caddy", "traefik", "haproxy", "envoy"}
	modes         = []string{"observe", "enforce"}
)

var enrolledColumns = []column[client.Enrolled]{
	{head: "ID", of: func(e client.Enrolled) string { return e.ID }},
	{head: "KEY", of: func(e client.Enrolled) string { return e.Key }},
}

var sourceColumns = []column[client.Source]{
	{head: "ID", of: func(s client.Source) string { return s.ID }},
	{head: "NAME", of: func(s client.Source) string { return s.Name }},
	{head: "FORMAT", of: func(s client.Source) string { return s.Format }},
	{head: "ACCOUNTS", of: func(s client.Source) string { return strings.Join(s.Accounts, ",") }},
	{head: "CREATED", of: func(s client.Source) string { return when(s.Created) }},
	{head: "DISABLED", of: func(s client.Source) string { return yes(s.Disabled) }},
}

func (a *app) source() *cobra.Command {
	return a.group("source", "Who may report logs and leaks", `
muster source add cloudtrail --account 210987654321
muster source list`, a.sourceAdd(), a.sourceList(), a.applyCommand("source", "trust.yaml", "trust"))
}

func (a *app) sourceAdd() *cobra.Command {
	var o *output
	var r *remote
	var in client.AddSource
	c := a.command(verb{
		use: "add FORMAT", short: "Add a source and show its key for the only time",
		long: "Add a source of logs (cloudtrail), of leaks that a scan found (scanner), or of chat and forum\ntext (text). It reports with its own key, and logs only about the accounts declared for it.",
		example: `
muster source add cloudtrail --account 210987654321 -o json
muster source add cloudtrail --account 210987654321 --account 109876543210 --name main-trail
muster source add scanner --jq .key > scanner.key`,
		args: cobra.ExactArgs(1), complete: sourceFormats,
		run: func(ctx context.Context, args []string) error {
			if in.Format = args[0]; !slices.Contains(sourceFormats, in.Format) {
				return usagef("there is no kind of source %q; choose %s", in.Format, strings.Join(sourceFormats, ", "))
			}
			if in.Format == "cloudtrail" && len(in.Accounts) == 0 {
				return usagef("a source of logs testifies only about accounts declared for it: give --account ID, once for each")
			}
			var out client.Enrolled
			if sent, err := r.send(ctx, http.MethodPost, "/v1/sources", in, &out); err != nil || !sent {
				return err
			}
			a.say("keep the key now: it is not shown again")
			return one(o, out, enrolledColumns)
		},
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringSliceVar(&in.Accounts, "account", nil, "account that it may speak for; repeat for several")
	c.Flags().StringVar(&in.Name, "name", "", "what people call it")
	return c
}

func (a *app) sourceList() *cobra.Command {
	var o *output
	var r *remote
	c := a.command(verb{
		use: "list", short: "List sources", example: `muster source list`,
		run: func(ctx context.Context, _ []string) error {
			items, _, err := pages[client.Source](ctx, r, "/v1/sources", nil, 0)
			if err != nil {
				return err
			}
			return list(o, items, sourceColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	return c
}

var pointColumns = []column[client.Point]{
	{head: "ID", of: func(p client.Point) string { return p.ID }},
	{head: "NAME", of: func(p client.Point) string { return p.Name }},
	{head: "DIALECT", of: func(p client.Point) string { return p.Dialect }},
	{head: "MODE", of: func(p client.Point) string { return p.Mode }},
	{head: "PERCENT", of: func(p client.Point) string { return strconv.Itoa(p.Percent) }},
	{head: "WOULD REFUSE", of: func(p client.Point) string { return strconv.FormatUint(p.WouldRefuse, 10) }},
	{head: "DISABLED", of: func(p client.Point) string { return yes(p.Disabled) }},
	{head: "SOURCES", of: func(p client.Point) string { return strings.Join(p.Sources, ",") }, wide: true},
	{head: "RESOURCES", of: func(p client.Point) string { return strings.Join(p.Resources, ",") }, wide: true},
	{head: "CREATED", of: func(p client.Point) string { return when(p.Created) }, wide: true},
}

func (a *app) point() *cobra.Command {
	return a.group("point", "Where decisions bite", `
muster point enroll edge --dialect nginx --resource payments/api
muster point set edge --mode enforce --percent 100`, a.pointEnroll(), a.pointSet(), a.pointList())
}

func (a *app) pointEnroll() *cobra.Command {
	var o *output
	var r *remote
	var in client.EnrollPoint
	c := a.command(verb{
		use: "enroll NAME", short: "Enroll an enforcement point and show its key for the only time",
		long: "Enroll an enforcement point: a proxy or service that asks before it lets a request through.\nIt starts in observe: it lets everything pass but what is revoked, suspended or quarantined, and\ncounts what it would have refused. `muster point set NAME --mode enforce` makes it bite.",
		example: `
muster point enroll edge --dialect nginx --source 10.0.0.0/24 --resource payments/api
muster point enroll edge -o json --jq .key > edge.key`,
		args: cobra.ExactArgs(1),
		run: func(ctx context.Context, args []string) error {
			in.Name = args[0]
			if !slices.Contains(dialects, in.Dialect) {
				return usagef("--dialect %s: want one of %s", in.Dialect, strings.Join(dialects, ", "))
			}
			var out client.Enrolled
			if sent, err := r.send(ctx, http.MethodPost, "/v1/points", in, &out); err != nil || !sent {
				return err
			}
			a.say("keep the key now: it is not shown again")
			a.say("the point only observes, so nothing is protected by it yet: muster point set %s --mode enforce", visible(in.Name))
			return one(o, out, enrolledColumns)
		},
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringVar(&in.Dialect, "dialect", "nginx", "which headers it speaks: "+strings.Join(dialects, ", "))
	c.Flags().StringSliceVar(&in.Sources, "source", nil, "address or prefix that it speaks from; none means this machine")
	c.Flags().StringSliceVar(&in.Resources, "resource", nil, "resource that it guards; none means all")
	complete(c, "dialect", dialects...)
	return c
}

func (a *app) pointSet() *cobra.Command {
	var o *output
	var r *remote
	var mode, dialect string
	var percent int
	var sources, resources []string
	var disable, enable bool
	c := a.command(verb{
		use: "set NAME", short: "Change an enforcement point",
		example: `
muster point set edge --mode enforce --percent 10
muster point set edge --percent 100
muster point set edge --mode observe
muster point set edge --disable`,
		args: cobra.ExactArgs(1),
		run:  nil,
	})
	changed := func(flag string) bool { return c.Flags().Changed(flag) }
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.ran = true
		var in client.SetPoint
		if changed("mode") {
			if in.Mode = &mode; !slices.Contains(modes, mode) {
				return usagef("--mode %s: want %s", mode, strings.Join(modes, " or "))
			}
		}
		if changed("percent") {
			if in.Percent = &percent; percent < 0 || percent > 100 {
				return usagef("--percent %d: want 0 to 100", percent)
			}
		}
		if changed("dialect") {
			if in.Dialect = &dialect; !slices.Contains(dialects, dialect) {
				return usagef("--dialect %s: want one of %s", dialect, strings.Join(dialects, ", "))
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
		if in == (client.SetPoint{}) {
			return usagef("nothing to change")
		}
		var out client.Point
		if sent, err := r.send(cmd.Context(), http.MethodPatch, "/v1/points/"+url.PathEscape(args[0]), in, &out); err != nil || !sent {
			return err
		}
		return one(o, out, pointColumns)
	}
	o, r = a.output(c), a.writes(c)
	f := c.Flags()
	f.StringVar(&mode, "mode", "", "observe: let pass and count; enforce: refuse")
	f.IntVar(&percent, "percent", 0, "share of requests that enforce applies to")
	f.StringVar(&dialect, "dialect", "", "which headers it speaks: "+strings.Join(dialects, ", "))
	f.StringSliceVar(&sources, "source", nil, "addresses or prefixes that it speaks from, instead of those before")
	f.StringSliceVar(&resources, "resource", nil, "resources that it guards, instead of those before")
	f.BoolVar(&disable, "disable", false, "refuse everything that it asks")
	f.BoolVar(&enable, "enable", false, "answer it again")
	c.MarkFlagsMutuallyExclusive("disable", "enable")
	complete(c, "mode", modes...)
	complete(c, "dialect", dialects...)
	return c
}

func (a *app) pointList() *cobra.Command {
	var o *output
	var r *remote
	c := a.command(verb{
		use: "list", short: "List enforcement points", example: `muster point list`,
		run: func(ctx context.Context, _ []string) error {
			items, _, err := pages[client.Point](ctx, r, "/v1/points", nil, 0)
			if err != nil {
				return err
			}
			for _, p := range items {
				if p.Mode == "observe" && !p.Disabled {
					a.say("%s is not protected: its point only observes", visible(p.Name))
				}
			}
			return list(o, items, pointColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	return c
}
