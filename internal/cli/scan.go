package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/server/offline"
)

var leakColumns = append([]output.Column[leak.Record]{
	{Head: "PLACE", Of: func(r leak.Record) string { return fmt.Sprintf("%s:%d:%d", r.File, r.Line, r.Column) }},
}, output.Columns[leak.Record]("rule provider public_id confidence | fingerprint end_line end_column")...)

func (a *app) scan() *cobra.Command {
	r := a.NewRemote()
	return a.Command(command.Verb{
		Use: "scan PATH", Short: "Find leaked keys in a folder or file",
		Long: "Find keys, tokens and private keys in a folder, a file, or standard input (-). It needs no server\nand sends nothing, unless --report-to names one: then each secret is proven there by a blind\nfingerprint, from which nobody can compute the secret, and what is confirmed is contained.\nThe exit status is 1 when something was found.",
		Example: `
muster scan .
muster scan ~/src -o json | jq .public_id
git diff | muster scan -
MUSTER_TOKEN=$(cat scanner.key) muster scan . --report-to https://muster.example.com`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[leak.Record](),
		Flags: func(c *cobra.Command) {
			r.ServerFlag(c, "report-to", "prove what is found to the server at this `address`, and have it contained")
			r.DryRunFlag(c)
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			return a.runScan(ctx, k.Out, r, args[0])
		},
	})
}

func (a *app) runScan(ctx context.Context, o *output.Form, r *command.Remote, path string) error {
	if path == "-" {
		if a.Std.In != os.Stdin {
			return fmt.Errorf("scan -: standard input is not a file of this process")
		}
		path = "/dev/stdin"
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	bar := a.Bar(0)
	rows, n, failed := output.Follow(o, leakColumns), 0, 0
	set := offline.ScanSettings{
		Path: path,
		Found: func(rec leak.Record) error {
			n++
			bar.End()
			return rows.Add(rec)
		},
		Progress: func(files, bytes int64) { bar.To(bytes, output.Count(files, "file", "files")+", "+output.Size(bytes)) },
		Failed: func(err error) {
			failed++
			bar.End()
			a.Say("not read: %s", output.Visible(err.Error()))
		},
	}
	if r.Server != "" && !r.DryRun {
		c, err := r.AsSource(ctx, "scanner")
		if err != nil {
			return err
		}
		set.Reporter = &offline.Reporter{Client: c, Replied: a.verdict}
	}
	sum, err := offline.Scan(ctx, set)
	bar.End()
	if err != nil {
		return fmt.Errorf("scan %s: %w", path, err)
	}
	a.Say("%s in %s, %s; not looked into: %s, %s, %s", output.Count(n, "secret", "secrets"), output.Count(sum.Files, "file", "files"), output.Size(sum.Bytes),
		output.Count(sum.Binaries, "binary", "binaries"), output.Count(sum.Links, "link", "links"), output.Count(sum.GitObjects, "git object store", "git object stores"))
	switch {
	case r.DryRun && r.Server != "":
		a.Say("dry run: nothing was sent to %s", r.Server)
	case n > 0 && r.Server == "":
		a.Say("next: --report-to URL has a server tell whose they are, and contains them")
	}
	if n > 0 {
		return command.ErrFound
	}
	if failed > 0 {
		return fmt.Errorf("scan %s: nothing was found, but %s could not be read", path, output.Count(failed, "file", "files"))
	}
	return nil
}

// verdict tells what a server made of one secret.
func (a *app) verdict(rec leak.Record, reply client.SightingReply) {
	words := []string{reply.Verdict}
	if reply.Credential != "" {
		words = append(words, "credential "+reply.Credential+" of "+reply.Identity)
	}
	if reply.Finding != "" {
		words = append(words, "finding "+reply.Finding)
	}
	if act := reply.Action; act != nil {
		words = append(words, "measure "+act.Measure+" "+act.Status)
		switch {
		case act.Status == "proposed":
			words = append(words, "approve with `muster action approve "+act.ID+"`")
		case act.Undoable:
			words = append(words, "undo with `muster action undo "+act.ID+"`")
		}
	}
	a.Say("%s", output.Visible(fmt.Sprintf("%s:%d: %s", rec.File, rec.Line, strings.Join(words, ", "))))
}
