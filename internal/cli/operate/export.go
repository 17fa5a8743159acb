package operate

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

// exportPage is how many decisions are in memory at a time.
const exportPage = 500

// ExportDecisions is the verb that writes decisions out of the record.
func ExportDecisions(a *command.App, columns []output.Column[client.Decision]) *cobra.Command {
	var since, until string
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "export", Short: "Write the decisions of a time, the newest first, one a line",
		Long: "Write the decisions of a time out of the record, the newest first: JSON Lines, or CSV with -o csv.\nNothing is kept in memory, so it may be as long as the record is.",
		Example: `
muster decide export --since 7d > decisions.jsonl
muster decide export --since 2026-11-01 --until 2026-11-08 -o csv > week.csv
muster decide export --since 30d --filter 'outcome:deny policy:guard-leaked' -o csv`,
		Prints: output.Fields[client.Decision](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			narrow.FilterFlag(c, "outcome:deny point:nhi_… resource:payments/api would_refuse:true")
			f.StringVar(&since, "since", "24h", "those of the last `time`, such as 36h or 7d, or from a date on")
			f.StringVar(&until, "until", "", "those before a `time`, in the same words; without it up to now")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			now := time.Now()
			from, err := command.Since(since, now)
			if err != nil {
				return err
			}
			to, err := command.Since(until, now)
			if err != nil || from.IsZero() {
				return command.Usagef("--since %.64q, --until %.64q: want a time such as 36h or 7d, or a date such as 2026-11-01", since, until)
			}
			if to.IsZero() {
				to = now
			}
			if !from.Before(to) {
				return command.Usagef("--since %.64q is not before --until %.64q", since, until)
			}
			if k.Out.Format == "table" || k.Out.Format == "wide" { // for machines
				k.Out.Format = "json"
			}
			query := url.Values{"since": {from.Format(time.RFC3339Nano)}, "before": {to.Format(time.RFC3339Nano)}, "limit": {strconv.Itoa(exportPage)}}
			return export(ctx, k, command.Given(narrow.Of(query)), columns)
		},
	})
}

// export writes page after page. What is decided meanwhile is newer than the
// time that is asked for.
func export(ctx context.Context, k *command.Call, query url.Values, columns []output.Column[client.Decision]) error {
	c, err := k.Client()
	if err != nil {
		return err
	}
	rows, n := output.Follow(k.Out, columns), 0
	for {
		var page client.Page[client.Decision]
		if err := c.Get(ctx, "/v1/decisions", query, &page); err != nil {
			return err
		}
		for i := range page.Items {
			if err := rows.Add(page.Items[i]); err != nil {
				return err
			}
		}
		n += len(page.Items)
		if page.Next == "" || page.Next == query.Get("page_token") {
			k.Say("%d decisions", n)
			return nil
		}
		query.Set("page_token", page.Next)
	}
}
