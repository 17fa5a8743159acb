package cli

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/audit"
)

var entryColumns = []column[client.Entry]{
	{head: "SEQ", of: func(e client.Entry) string { return strconv.FormatUint(e.Seq, 10) }},
	{head: "AT", of: func(e client.Entry) string { return when(e.At) }},
	{head: "ACTOR", of: func(e client.Entry) string { return e.Actor }},
	{head: "ACT", of: func(e client.Entry) string { return e.Act }},
	{head: "TARGET", of: func(e client.Entry) string { return e.Target }},
	{head: "OUTCOME", of: func(e client.Entry) string { return e.Outcome }},
	{head: "REASON", of: func(e client.Entry) string { return e.Reason }},
	{head: "DETAIL", of: func(e client.Entry) string { return string(e.Detail) }, wide: true},
}

func (a *app) audit() *cobra.Command {
	return a.group("audit", "Who did what, provably", `
muster audit list
muster audit checkpoint > checkpoint.json
muster audit verify --data /var/lib/muster --against checkpoint.json`, a.auditList(), a.auditVerify(), a.auditCheckpoint())
}

func (a *app) auditList() *cobra.Command {
	var o *output
	var r *remote
	var before uint64
	var limit int
	c := a.command(verb{
		use: "list", short: "List acts, the newest first",
		example: `
muster audit list
muster audit list --before 120 --limit 20 -o json`,
		run: func(ctx context.Context, _ []string) error {
			q := url.Values{}
			if before > 0 {
				q.Set("before", strconv.FormatUint(before, 10))
			}
			items, err := newest[client.Entry](ctx, r, "/v1/audit", q, limit)
			if err != nil {
				return err
			}
			return list(o, items, entryColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	limitFlag(c, &limit)
	c.Flags().Uint64Var(&before, "before", 0, "only entries with a smaller number")
	return c
}

func (a *app) auditCheckpoint() *cobra.Command {
	var r *remote
	c := a.command(verb{
		use: "checkpoint", short: "Sign where the audit log stands now, and print the signature",
		long:    "Sign where the audit log stands now. Kept somewhere else, the signature shows later whether the\nlog was cut off behind it or written anew: `muster audit verify --against`.",
		example: `muster audit checkpoint > checkpoint-$(date +%F).json`,
		run: func(ctx context.Context, _ []string) error {
			var signed json.RawMessage
			if sent, err := r.send(ctx, http.MethodPost, "/v1/audit/checkpoint", nil, &signed); err != nil || !sent {
				return err
			}
			return (&output{app: a, format: "json"}).object(signed)
		},
	})
	r = a.writes(c)
	return c
}

// A proof is what verifying an audit log came to.
type proof struct {
	OK          bool       `json:"ok"`
	Records     uint64     `json:"records"`
	Entries     uint64     `json:"entries"`
	Checkpoints uint64     `json:"checkpoints"`
	Signed      uint64     `json:"signed"`
	Unsigned    uint64     `json:"unsigned"`
	SignedAt    *time.Time `json:"signed_at,omitempty"`
	KeyID       string     `json:"key_id,omitempty"`
	Fault       *fault     `json:"fault,omitempty"`
}

type fault struct {
	Kind   string `json:"kind"`
	Seq    uint64 `json:"seq"`
	Until  uint64 `json:"until,omitempty"`
	Reason string `json:"reason"`
}

var proofColumns = []column[proof]{
	{head: "INTACT", of: func(p proof) string { return yes(p.OK) }},
	{head: "ENTRIES", of: func(p proof) string { return strconv.FormatUint(p.Entries, 10) }},
	{head: "CHECKPOINTS", of: func(p proof) string { return strconv.FormatUint(p.Checkpoints, 10) }},
	{head: "PROVEN UP TO", of: func(p proof) string { return "record " + strconv.FormatUint(p.Signed, 10) }},
	{head: "NOT YET SIGNED", of: func(p proof) string { return strconv.FormatUint(p.Unsigned, 10) }},
	{head: "SIGNED AT", of: func(p proof) string { return whenever(p.SignedAt) }},
	{head: "KEY", of: func(p proof) string { return p.KeyID }, wide: true},
	{head: "FAULT", of: func(p proof) string {
		if p.Fault == nil {
			return ""
		}
		return fmt.Sprintf("record %d: %s: %s", p.Fault.Seq, p.Fault.Kind, p.Fault.Reason)
	}, wide: true},
}

func (a *app) auditVerify() *cobra.Command {
	var o *output
	var data, against, key string
	c := a.command(verb{
		use: "verify [FOLDER]", short: "Prove that the audit log was not changed, without a server",
		long: "Check every record of an audit log, the chain of their hashes and every signature. The folder is\n<data>/audit, or a copy of it; the server may run. Take --key and --against from somewhere that\nwhoever could write the folder could not: only then a log that was replaced as a whole, or cut\noff at its end, is seen. The exit status is 1 when the log is damaged.",
		example: `
muster audit verify --data /var/lib/muster
muster audit verify --data /var/lib/muster --against checkpoint.json --key audit.pub
muster audit verify ./copy-of-audit -o json`,
		args: cobra.MaximumNArgs(1),
		run: func(ctx context.Context, args []string) error {
			folder := filepath.Join(data, "audit")
			switch {
			case len(args) == 1 && data == "":
				folder = args[0]
			case len(args) == 1 || data == "":
				return usagef("which log? Give --data DIR of the server, or the folder of the log")
			}
			return a.verify(ctx, o, folder, against, key)
		},
	})
	o = a.output(c)
	c.Flags().StringVar(&data, "data", "", "data folder of the server")
	c.Flags().StringVar(&against, "against", "", "file of a checkpoint that was kept elsewhere")
	c.Flags().StringVar(&key, "key", "", "file of the public keys; else audit.pub in the folder itself")
	return c
}

func (a *app) verify(ctx context.Context, o *output, folder, against, key string) error {
	if info, err := os.Stat(folder); err != nil {
		return fmt.Errorf("verify: %w", err)
	} else if !info.IsDir() {
		return usagef("%s is not a folder", folder)
	}
	if key == "" {
		key = filepath.Join(folder, audit.KeyFile)
		a.say("the public key comes from the folder itself; --key FILE proves more")
	}
	keys, err := audit.ReadKeys(key)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var kept *audit.Checkpoint
	if against != "" {
		c, err := audit.ReadCheckpoint(against)
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		kept = &c
	}
	return a.prove(ctx, o, folder, keys, kept)
}

func (a *app) prove(ctx context.Context, o *output, folder string, keys []crypto.PublicKey, kept *audit.Checkpoint) error {
	report, err := audit.Verify(ctx, folder, keys, kept)
	p := proof{
		OK: err == nil, Records: report.Records, Entries: report.Entries, Checkpoints: report.Checkpoints, Signed: report.Signed, Unsigned: report.Unsigned,
		KeyID: report.Last.KeyID,
	}
	if at := report.Last.At; !at.IsZero() {
		p.SignedAt = &at
	}
	var bad *audit.Fault
	if errors.As(err, &bad) {
		p.Fault = &fault{Kind: string(bad.Kind), Seq: bad.Seq, Until: bad.Until, Reason: bad.Reason}
	} else if err != nil {
		return fmt.Errorf("verify %s: %w", folder, err)
	}
	if err := one(o, p, proofColumns); err != nil {
		return err
	}
	if p.Fault != nil {
		a.say("%s is damaged: record %d: %s: %s", folder, bad.Seq, bad.Kind, visible(bad.Reason))
		return errFound
	}
	return nil
}
