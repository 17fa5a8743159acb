package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/server"
)

var leakColumns = []column[leak.Record]{
	{head: "PLACE", of: func(r leak.Record) string { return fmt.Sprintf("%s:%d:%d", r.File, r.Line, r.Column) }},
	{head: "RULE", of: func(r leak.Record) string { return r.Rule }},
	{head: "PROVIDER", of: func(r leak.Record) string { return r.Provider }},
	{head: "PUBLIC ID", of: func(r leak.Record) string { return r.PublicID }},
	{head: "CONFIDENCE", of: func(r leak.Record) string { return r.Confidence }},
	{head: "FINGERPRINT", of: func(r leak.Record) string { return r.Fingerprint }, wide: true},
	{head: "END", of: func(r leak.Record) string { return strconv.Itoa(r.EndLine) + ":" + strconv.Itoa(r.EndColumn) }, wide: true},
}

func (a *app) scan() *cobra.Command {
	var o *output
	r := &remote{app: a}
	c := a.command(verb{
		use: "scan PATH", short: "Find leaked keys in a folder or file",
		long: "Find keys, tokens and private keys in a folder, a file, or standard input (-). It needs no server\nand sends nothing, unless --report-to names one: then each secret is proven there by a blind\nfingerprint, from which nobody can compute the secret, and what is confirmed is contained.\nThe exit status is 1 when something was found.",
		example: `
muster scan .
muster scan ~/src -o json | jq .public_id
git diff | muster scan -
MUSTER_TOKEN=$(cat scanner.key) muster scan . --report-to https://muster.example.com`,
		args: cobra.ExactArgs(1),
		run:  func(ctx context.Context, args []string) error { return a.runScan(ctx, o, r, args[0]) },
	})
	o = a.output(c)
	r.serverFlag(c, "report-to", "prove what is found to the server at this `address`, and have it contained")
	r.dryRunFlag(c)
	return c
}

func (a *app) runScan(ctx context.Context, o *output, r *remote, path string) error {
	if path == "-" {
		if a.std.In != os.Stdin {
			return fmt.Errorf("scan -: standard input is not a file of this process")
		}
		path = "/dev/stdin"
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	bar := a.progress(0)
	rows, n, failed := follow(o, leakColumns), 0, 0
	set := server.ScanSettings{
		Path: path,
		Found: func(rec leak.Record) error {
			n++
			bar.end()
			return rows.add(rec)
		},
		Progress: func(files, bytes int64) { bar.to(bytes, count(files, "file", "files")+", "+size(bytes)) },
		Failed: func(err error) {
			failed++
			bar.end()
			a.say("not read: %s", visible(err.Error()))
		},
	}
	if r.server != "" && !r.dryRun {
		c, err := r.source(ctx, "scanner")
		if err != nil {
			return err
		}
		set.Reporter = &server.Reporter{Client: c, Replied: a.verdict}
	}
	sum, err := server.Scan(ctx, set)
	bar.end()
	if err != nil {
		return fmt.Errorf("scan %s: %w", path, err)
	}
	a.say("%s in %s, %s; not looked into: %s, %s, %s", count(n, "secret", "secrets"), count(sum.Files, "file", "files"), size(sum.Bytes),
		count(sum.Binaries, "binary", "binaries"), count(sum.Links, "link", "links"), count(sum.GitObjects, "git object store", "git object stores"))
	switch {
	case r.dryRun && r.server != "":
		a.say("dry run: nothing was sent to %s", r.server)
	case n > 0 && r.server == "":
		a.say("next: --report-to URL has a server tell whose they are, and contains them")
	}
	if n > 0 {
		return errFound
	}
	if failed > 0 {
		return fmt.Errorf("scan %s: nothing was found, but %s could not be read", path, count(failed, "file", "files"))
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
	a.say("%s", visible(fmt.Sprintf("%s:%d: %s", rec.File, rec.Line, strings.Join(words, ", "))))
}
