package operate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

// ExportDecisions is the verb that writes decisions out of the record.
func ExportDecisions(a *command.App, columns []output.Column[client.Decision]) *cobra.Command {
	var since, until string
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "export", Short: "Write the decisions of a time, the newest first, one a line",
		Long: "Write the decisions of a time out of the record, the newest first: JSON Lines, or CSV with -o csv.\nNothing is kept in memory, so it may be as long as the record is. The audit log says that it was done.",
		Example: `
muster decide export --since 7d > decisions.jsonl
muster decide export --since 2026-11-01 --until 2026-11-08 -o csv > week.csv
muster decide export --since 30d --filter 'outcome:deny policy:credential-*' -o csv`,
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
			return export(ctx, k, client.DecisionQuery{ListQuery: client.ListQuery{Filter: narrow.Filter}, Since: from, Before: to}, columns)
		},
	})
}

// export writes file after file: each has as much as the server hands out at once.
// What is decided meanwhile is newer than the time that is asked for.
func export(ctx context.Context, k *command.Call, q client.DecisionQuery, columns []output.Column[client.Decision]) error {
	c, err := k.Client()
	if err != nil {
		return err
	}
	rows, n := output.Follow(k.Out, columns), 0
	for {
		next, err := exported(ctx, c, q, func(d client.Decision) error {
			n++
			return rows.Add(d)
		})
		if err != nil {
			return err
		}
		if next == "" || next == q.PageToken {
			k.Say("%d decisions", n)
			return nil
		}
		q.PageToken = next
	}
}

// exported reads one file and gives each decision to add.
func exported(ctx context.Context, c *client.Client, q client.DecisionQuery, add func(client.Decision) error) (next string, err error) {
	read, write := io.Pipe()
	done := make(chan struct{})
	go func() { // ends when all is read, or when read is closed below
		defer close(done)
		var failed error
		next, failed = c.ExportDecisions(ctx, "jsonl", q, write)
		write.CloseWithError(failed)
	}()
	lines := json.NewDecoder(read)
	for err == nil {
		var d client.Decision
		if err = lines.Decode(&d); err == nil {
			err = add(d)
		}
	}
	read.CloseWithError(err)
	<-done
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return next, err
}
