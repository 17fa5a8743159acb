package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/server/offline"
)

var replayColumns = output.Columns[offline.ReplayFinding]("first_seen severity score rule sentence | identity credential")

var actorColumns = output.Columns[offline.Actor]("actor=name account events failed last_seen countries | first_seen actions identity")

// A delivered is what a server acknowledged of one file.
type delivered struct {
	File string `json:"file"`
	client.Received
}

var deliveredColumns = output.Columns[delivered]("file events unparsable refused known_before=duplicate | sightings")

func (a *app) replay() *cobra.Command {
	var format string
	r := a.NewRemote()
	return a.Command(command.Verb{
		Use: "replay FILE...", Short: "Learn from log files and say what was unusual in them",
		Long: "Read activity logs in their order, plain or gzip (- is standard input), learn what is normal for\neach identity, and print who acted and what would have been found. It needs no server and keeps nothing,\nunless --to names one: then the files are sent there. Sending a file again changes nothing.\nThe exit status is 1 when something was found.",
		Example: `
muster replay trail/*.json.gz
muster replay trail.json -o json --jq '.findings[].sentence'
MUSTER_TOKEN=$(cat trail.key) muster replay trail/*.json.gz --to https://muster.example.com`,
		Args: cobra.MinimumNArgs(1), Prints: slices.Concat(output.Fields[offline.ReplayReport](), output.Fields[delivered]()),
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&format, "format", "cloudtrail", "`kind` of log: cloudtrail")
			command.Completes(c, "format", "cloudtrail")
			r.ServerFlag(c, "to", "send the files to the server at this `address` instead, as a source")
			r.DryRunFlag(c)
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			if r.Server != "" {
				return a.deliver(ctx, k.Out, r, format, args)
			}
			if r.DryRun {
				return command.Usagef("--dry-run says what --to would send; without --to nothing is sent anyway")
			}
			return a.runReplay(ctx, k.Out, format, args)
		},
	})
}

// inputs opens every file before any is read, so that a misspelt name is told
// at once. total is the size of all, 0 when nobody knows.
func (a *app) inputs(names []string) (files []offline.ReplayFile, total int64, closeAll func(), err error) {
	var opened []*os.File
	closeAll = func() {
		for _, f := range opened {
			_ = f.Close() // only read from
		}
	}
	known := true
	for _, name := range names {
		if name == "-" {
			known = false
			files = append(files, offline.ReplayFile{Name: "standard input", Reader: a.Std.In})
			continue
		}
		f, err := openFile(name)
		if err != nil {
			closeAll()
			return nil, 0, nil, err
		}
		opened = append(opened, f)
		info, err := f.Stat()
		known = known && err == nil && info.Mode().IsRegular()
		if known {
			total += info.Size()
		}
		files = append(files, offline.ReplayFile{Name: name, Reader: f})
	}
	if !known {
		total = 0
	}
	return files, total, closeAll, nil
}

// toldPieces is how many unparsable pieces are told of one by one.
const toldPieces = 5

func (a *app) runReplay(ctx context.Context, o *output.Form, format string, names []string) error {
	files, total, closeAll, err := a.inputs(names)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	defer closeAll()
	bar := a.Bar(total)
	for i := range files {
		files[i].Reader = bar.Reader(files[i].Reader)
	}
	pieces, first := 0, ""
	report, err := offline.Replay(ctx, offline.ReplaySettings{Format: format, Unparsable: func(u activity.Unparsable) {
		if pieces++; pieces == 1 {
			first = u.Error()
		}
		if pieces <= toldPieces {
			bar.End()
			a.Say("%s", output.Visible(u.Error()))
		}
	}}, files)
	bar.End()
	if err != nil {
		return command.InputError{Err: fmt.Errorf("replay: %w", err)}
	}
	if report.Events == 0 && pieces > 0 {
		return command.InputError{Err: fmt.Errorf("replay: %s; is it %s at all?", first, format)}
	}
	if err := printReplay(o, report); err != nil {
		return err
	}
	if more := len(report.Actors) - shownActors; more > 0 && !o.Structured() {
		a.Say("%d more acted; -o json lists all", more)
	}
	a.Say("%s of %s in %.1f s, %s unparsable, %s", output.Count(report.Events, "event", "events"), output.Count(report.Identities, "identity", "identities"),
		report.Seconds, strconv.Itoa(report.Unparsable), output.Count(len(report.Findings), "finding", "findings"))
	if len(report.Findings) > 0 {
		return command.ErrFound
	}
	return nil
}

// shownActors is how many of those who acted a table tells of.
const shownActors = 20

// printReplay prints who acted and what was unusual. CSV is one table, so it is
// of the findings.
func printReplay(o *output.Form, r offline.ReplayReport) error {
	switch {
	case o.Structured():
		return o.Object(r)
	case o.Format == "csv":
		return output.List(o, r.Findings, replayColumns)
	}
	shown := r.Actors[:min(len(r.Actors), shownActors)]
	if err := output.List(o, shown, actorColumns); err != nil || len(r.Findings) == 0 {
		return err
	}
	fmt.Fprintln(o.Out)
	return output.List(o, r.Findings, replayColumns)
}

// deliver sends files to a server, one after the other, and prints what it
// acknowledged.
func (a *app) deliver(ctx context.Context, o *output.Form, r *command.Remote, format string, names []string) error {
	files, total, closeAll, err := a.inputs(names)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	defer closeAll()
	if r.DryRun {
		for _, f := range files {
			if err := r.Plan(http.MethodPost, "/receive/logs/"+format, "content of "+f.Name); err != nil {
				return err
			}
		}
		return nil
	}
	c, err := r.AsSource(ctx, format)
	if err != nil {
		return err
	}
	bar := a.Bar(total)
	rows := output.Follow(o, deliveredColumns)
	refused := 0
	for _, f := range files {
		reply, err := a.deliverOne(ctx, c, format, f, bar)
		bar.End()
		if err != nil {
			return command.InputError{Err: fmt.Errorf("replay %s: %w", f.Name, err)}
		}
		if reply.Events+reply.Refused == 0 && reply.Unparsable > 0 {
			return command.InputError{Err: fmt.Errorf("replay %s: nothing in it is a record; is it %s at all?", f.Name, format)}
		}
		refused += reply.Refused
		if err := rows.Add(delivered{f.Name, reply}); err != nil {
			return err
		}
	}
	if refused > 0 {
		a.Say("%s about accounts that this source may not speak for; see `muster source list`", output.Count(refused, "record was refused: it is", "records were refused: they are"))
	}
	return nil
}

// attempts is how often a file is sent before giving up. The server recognises
// what it has already taken in.
const attempts = 4

func (a *app) deliverOne(ctx context.Context, c *client.Client, format string, f offline.ReplayFile, bar *output.Bar) (client.Received, error) {
	seeker, again := f.Reader.(io.Seeker)
	before := bar.Done
	for n := 1; ; n++ {
		reply, err := c.ReceiveLogs(ctx, format, bar.Reader(f.Reader))
		if err == nil || !again || n == attempts || !passing(err) {
			return reply, err
		}
		if _, seek := seeker.Seek(0, io.SeekStart); seek != nil {
			return reply, err // a pipe: what was read is gone
		}
		bar.Done = before
		a.Say("%s: %s; trying again", output.Visible(f.Name), output.Visible(err.Error()))
		select {
		case <-ctx.Done():
			return reply, ctx.Err()
		case <-time.After(time.Duration(n) * time.Second):
		}
	}
}

// passing reports whether an error may be gone in a moment.
func passing(err error) bool {
	var refused *client.Error
	if errors.As(err, &refused) {
		return refused.Status == http.StatusTooManyRequests || refused.Status >= 500
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "connection reset")
}
