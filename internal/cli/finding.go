package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
)

var findingColumns = []column[client.Finding]{
	{head: "ID", of: func(f client.Finding) string { return f.ID }},
	{head: "SEVERITY", of: func(f client.Finding) string { return f.Severity }},
	{head: "STATUS", of: func(f client.Finding) string { return f.Status }},
	{head: "DETECTED", of: func(f client.Finding) string { return when(f.DetectedAt) }},
	{head: "IDENTITY", of: func(f client.Finding) string {
		if f.Name != "" {
			return f.Name
		}
		return f.Identity
	}},
	{head: "TITLE", of: func(f client.Finding) string { return f.Title }},
	{head: "RULE", of: func(f client.Finding) string { return f.Rule }, wide: true},
	{head: "SCORE", of: func(f client.Finding) string { return strconv.FormatFloat(f.Score, 'f', 0, 64) }, wide: true},
	{head: "OWNER", of: func(f client.Finding) string { return f.Owner }, wide: true},
	{head: "CREDENTIAL", of: func(f client.Finding) string { return f.Credential }, wide: true},
	{head: "PLACE", of: func(f client.Finding) string { return place(f.Place) }, wide: true},
	{head: "ACTION", of: func(f client.Finding) string {
		if f.Action == nil {
			return ""
		}
		return f.Action.Measure + " " + f.Action.Status + " " + f.Action.ID
	}, wide: true},
	{head: "SENTENCE", of: func(f client.Finding) string { return f.Sentence }, wide: true},
}

func place(p *client.Place) string {
	switch {
	case p == nil:
		return ""
	case p.Line > 0:
		return p.Name + ":" + strconv.Itoa(p.Line)
	}
	return p.Name
}

var statuses = []string{"open", "acknowledged", "resolved", "dismissed"}

func (a *app) finding() *cobra.Command {
	return a.group("finding", "What is wrong", `
muster finding list --status open
muster finding ack fnd_mzxw6ytb --reason "asked the team"`,
		a.findingList(), a.findingShow(),
		a.findingSet("ack", "Say that you are looking into a finding", "acknowledged"),
		a.findingSet("resolve", "Say that a finding is dealt with", "resolved"),
		a.findingSet("dismiss", "Say that a finding is none", "dismissed"))
}

func (a *app) findingList() *cobra.Command {
	var o *output
	var r *remote
	var status, identity, credential string
	var limit int
	var live bool
	c := a.command(verb{
		use: "list", short: "List findings, the worst and newest first",
		example: `
muster finding list --status open
muster finding list --watch -o json
muster finding list --json id,severity,sentence`,
		run: func(ctx context.Context, _ []string) error {
			if live {
				return watch(ctx, r, o, "finding", limit, func(f client.Finding) bool {
					return (status == "" || f.Status == status) && (identity == "" || f.Identity == identity) && (credential == "" || f.Credential == credential)
				}, findingColumns)
			}
			items, more, err := pages[client.Finding](ctx, r, "/v1/findings", url.Values{"status": {status}, "identity": {identity}, "credential": {credential}}, limit)
			if err != nil {
				return err
			}
			if more {
				a.say("there are more than %d; --limit 0 lists all", limit)
			}
			return list(o, items, findingColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	f := c.Flags()
	f.StringVar(&status, "status", "", "only this status: "+strings.Join(statuses, ", "))
	f.StringVar(&identity, "identity", "", "only those about this identity")
	f.StringVar(&credential, "credential", "", "only those about this credential")
	f.IntVar(&limit, "limit", 0, "how many at most; 0 means all")
	f.BoolVar(&live, "watch", false, "print what is found from now on")
	complete(c, "status", statuses...)
	return c
}

func (a *app) findingShow() *cobra.Command {
	var o *output
	var r *remote
	c := a.command(verb{
		use: "show ID", short: "Show one finding with its reasons", args: cobra.ExactArgs(1),
		example: `muster finding show fnd_mzxw6ytb`,
		run: func(ctx context.Context, args []string) error {
			var f client.Finding
			if err := r.get(ctx, "/v1/findings/"+url.PathEscape(args[0]), nil, &f); err != nil {
				return err
			}
			if err := one(o, f, findingColumns); err != nil || o.structured() || o.format == "csv" || len(f.Features) == 0 {
				return err
			}
			fmt.Fprintln(a.std.Out)
			return list(o, f.Features, featureColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	return c
}

var featureColumns = []column[client.Feature]{
	{head: "FEATURE", of: func(f client.Feature) string { return f.Name }},
	{head: "USUAL", of: func(f client.Feature) string { return f.Usual }},
	{head: "SEEN", of: func(f client.Feature) string { return f.Seen }},
	{head: "BITS", of: func(f client.Feature) string { return strconv.FormatFloat(f.Bits, 'f', 1, 64) }},
}

func (a *app) findingSet(use, short, status string) *cobra.Command {
	var o *output
	var r *remote
	var reason string
	c := a.command(verb{
		use: use + " ID", short: short, args: cobra.ExactArgs(1),
		example: `muster finding ` + use + ` fnd_mzxw6ytb --reason "the team knows"`,
		run: func(ctx context.Context, args []string) error {
			var out client.Finding
			in := client.SetFinding{Status: status, Reason: reason}
			if sent, err := r.send(ctx, http.MethodPatch, "/v1/findings/"+url.PathEscape(args[0]), in, &out); err != nil || !sent {
				return err
			}
			return one(o, out, findingColumns)
		},
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringVar(&reason, "reason", "", "why; it goes into the audit log")
	return c
}

var actionColumns = []column[client.Action]{
	{head: "ID", of: func(x client.Action) string { return x.ID }},
	{head: "AT", of: func(x client.Action) string { return when(x.At) }},
	{head: "MEASURE", of: func(x client.Action) string { return x.Measure }},
	{head: "STATUS", of: func(x client.Action) string { return x.Status }},
	{head: "CREDENTIAL", of: func(x client.Action) string { return x.Credential }},
	{head: "IDENTITY", of: func(x client.Action) string { return x.Identity }},
	{head: "ACTOR", of: func(x client.Action) string { return x.Actor }},
	{head: "UNDOABLE", of: func(x client.Action) string { return yes(x.Undoable) }},
	{head: "REASON", of: func(x client.Action) string { return x.Reason }, wide: true},
	{head: "FINDING", of: func(x client.Action) string { return x.Finding }, wide: true},
	{head: "UNDONE", of: func(x client.Action) string { return whenever(x.UndoneAt) }, wide: true},
	{head: "UNDONE BY", of: func(x client.Action) string { return x.UndoneBy }, wide: true},
}

func (a *app) action() *cobra.Command {
	return a.group("action", "What was done about it", `
muster action list
muster action undo act_mzxw6ytb --reason "it was a drill"`,
		a.actionList(),
		a.actionDo("undo", "Undo an action: what it changed is as it was before"),
		a.actionDo("approve", "Carry out a proposed action"))
}

func (a *app) actionList() *cobra.Command {
	var o *output
	var r *remote
	var limit int
	var live bool
	c := a.command(verb{
		use: "list", short: "List actions, the newest first",
		example: `
muster action list
muster action list --jq '.[] | select(.status == "proposed").id'
muster action list --watch`,
		run: func(ctx context.Context, _ []string) error {
			if live {
				return watch(ctx, r, o, "action", limit, func(client.Action) bool { return true }, actionColumns)
			}
			items, err := newest[client.Action](ctx, r, "/v1/actions", nil, limit)
			if err != nil {
				return err
			}
			return list(o, items, actionColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	limitFlag(c, &limit)
	c.Flags().BoolVar(&live, "watch", false, "print what is done from now on")
	return c
}

func limitFlag(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", 0, "how many at most, up to 500; 0 means the newest 50")
}

// newest reads a list that has no further pages: what happened most recently.
func newest[T any](ctx context.Context, r *remote, path string, q url.Values, limit int) ([]T, error) {
	if limit < 0 || limit > 500 {
		return nil, usagef("--limit %d: want 1 to 500", limit)
	}
	query := url.Values{}
	for k, v := range q {
		if v[0] != "" {
			query[k] = v
		}
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var page client.Page[T]
	err := r.get(ctx, path, query, &page)
	return page.Items, err
}

func (a *app) actionDo(use, short string) *cobra.Command {
	var o *output
	var r *remote
	var reason string
	c := a.command(verb{
		use: use + " ID", short: short, args: cobra.ExactArgs(1),
		example: `muster action ` + use + ` act_mzxw6ytb`,
		run: func(ctx context.Context, args []string) error {
			body := struct {
				Reason string `json:"reason,omitempty"`
			}{reason}
			var out client.Action
			if sent, err := r.send(ctx, http.MethodPost, "/v1/actions/"+url.PathEscape(args[0])+"/"+use, body, &out); err != nil || !sent {
				return err
			}
			return one(o, out, actionColumns)
		},
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringVar(&reason, "reason", "", "why; it goes into the audit log")
	return c
}

var decisionColumns = []column[client.Decision]{
	{head: "AT", of: func(d client.Decision) string { return when(d.At) }},
	{head: "OUTCOME", of: func(d client.Decision) string { return d.Outcome }},
	{head: "IDENTITY", of: func(d client.Decision) string {
		if d.Name != "" {
			return d.Name
		}
		return d.Identity
	}},
	{head: "ACTION", of: func(d client.Decision) string { return d.Action }},
	{head: "RESOURCE", of: func(d client.Decision) string { return d.Resource }},
	{head: "FROM", of: func(d client.Decision) string { return strings.TrimSpace(d.Address + " " + d.Country) }},
	{head: "POLICY", of: func(d client.Decision) string { return policies(d) }},
	{head: "WOULD REFUSE", of: func(d client.Decision) string { return yes(d.WouldRefuse) }},
	{head: "ID", of: func(d client.Decision) string { return d.ID }},
	{head: "POINT", of: func(d client.Decision) string { return d.PointName }, wide: true},
	{head: "KEY ID", of: func(d client.Decision) string { return d.KeyID }, wide: true},
	{head: "ASSURANCE", of: func(d client.Decision) string { return strconv.Itoa(d.Assurance) }, wide: true},
	{head: "RISK", of: func(d client.Decision) string { return strconv.Itoa(d.Risk) }, wide: true},
	{head: "SURPRISE", of: func(d client.Decision) string { return strconv.FormatFloat(d.Surprise, 'f', 1, 64) + " bits" }, wide: true},
	{head: "NETWORK", of: func(d client.Decision) string { return d.Network }, wide: true},
	{head: "AGENT", of: func(d client.Decision) string { return d.Agent }, wide: true},
	{head: "GENERATION", of: func(d client.Decision) string { return strconv.FormatUint(d.Generation, 10) }, wide: true},
	{head: "MICROSECONDS", of: func(d client.Decision) string { return strconv.FormatFloat(d.Micros, 'f', 1, 64) }, wide: true},
}

func policies(d client.Decision) string {
	names := make([]string, 0, len(d.Reasons))
	for _, r := range d.Reasons {
		names = append(names, r.Policy)
	}
	return strings.Join(names, ",")
}

var outcomes = []string{"allow", "deny", "step-up"}

func (a *app) decide() *cobra.Command {
	return a.group("decide", "What was allowed and refused, and why", `
muster decide list --outcome deny
muster decide list --watch
muster decide show 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11`, a.decideList(), a.decideShow())
}

func (a *app) decideList() *cobra.Command {
	var o *output
	var r *remote
	var outcome, identity, point string
	var limit int
	var live bool
	c := a.command(verb{
		use: "list", short: "List recent decisions, the newest first",
		example: `
muster decide list --outcome deny
muster decide list --watch
muster decide list --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge -o json`,
		run: func(ctx context.Context, _ []string) error {
			if live {
				return watch(ctx, r, o, "decision", limit, func(d client.Decision) bool {
					return (outcome == "" || d.Outcome == outcome) && (identity == "" || d.Identity == identity) && (point == "" || d.Point == point)
				}, decisionColumns)
			}
			items, err := newest[client.Decision](ctx, r, "/v1/decisions", url.Values{"outcome": {outcome}, "identity": {identity}, "point": {point}}, limit)
			if err != nil {
				return err
			}
			return list(o, items, decisionColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	limitFlag(c, &limit)
	f := c.Flags()
	f.StringVar(&outcome, "outcome", "", "only this outcome: "+strings.Join(outcomes, ", "))
	f.StringVar(&identity, "identity", "", "only those about this identity")
	f.StringVar(&point, "point", "", "only those of the point with this id")
	f.BoolVar(&live, "watch", false, "print decisions as they are made")
	complete(c, "outcome", outcomes...)
	return c
}

func (a *app) decideShow() *cobra.Command {
	var o *output
	var r *remote
	c := a.command(verb{
		use: "show ID", short: "Show one decision with its reasons", args: cobra.ExactArgs(1),
		example: `muster decide show 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11`,
		run: func(ctx context.Context, args []string) error {
			var d client.Decision
			if err := r.get(ctx, "/v1/decisions/"+url.PathEscape(args[0]), nil, &d); err != nil {
				return err
			}
			if err := one(o, d, decisionColumns); err != nil || o.structured() || o.format == "csv" {
				return err
			}
			fmt.Fprintln(a.std.Out)
			if err := list(o, d.Reasons, []column[client.Reason]{
				{head: "POLICY", of: func(r client.Reason) string { return r.Policy }},
				{head: "EFFECT", of: func(r client.Reason) string { return r.Effect }},
				{head: "WHERE", of: func(r client.Reason) string { return r.Position }},
				{head: "BECAUSE", of: func(r client.Reason) string { return r.Text }},
			}); err != nil || len(d.Features) == 0 {
				return err
			}
			fmt.Fprintln(a.std.Out)
			return list(o, d.Features, featureColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	return c
}
