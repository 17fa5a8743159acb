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

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var entryColumns = output.Columns[client.Entry]("seq at actor act target outcome reason | detail")

func (a *app) audit() *cobra.Command {
	return a.Group("audit", "Who did what, provably", `
muster audit list
muster audit checkpoint > checkpoint.json
muster audit verify --data /var/lib/muster --against checkpoint.json`, a.auditList(), a.auditVerify(), a.auditCheckpoint())
}

func (a *app) auditList() *cobra.Command {
	var before uint64
	var limit int
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "list", Short: "List acts, the newest first",
		Example: `
muster audit list
muster audit list --filter 'act:credential.* at>7d'
muster audit list --before 120 --limit 20 -o json`,
		Prints: output.Fields[client.Entry](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			command.NewestFlag(c, &limit)
			narrow.FilterFlag(c, "actor:operator:* at>7d")
			c.Flags().Uint64Var(&before, "before", 0, "only entries with a smaller number")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			q := url.Values{}
			if before > 0 {
				q.Set("before", strconv.FormatUint(before, 10))
			}
			return command.Newest(ctx, k, "/v1/audit", narrow.Of(q), limit, entryColumns)
		},
	})
}

func (a *app) auditCheckpoint() *cobra.Command {
	return a.Command(command.Verb{
		Use: "checkpoint", Short: "Sign where the audit log stands now, and print the signature",
		Long:    "Sign where the audit log stands now. Kept somewhere else, the signature shows later whether the\nlog was cut off behind it or written anew: `muster audit verify --against`.",
		Example: `muster audit checkpoint > checkpoint-$(date +%F).json`,
		Talks:   command.Writes,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			signed, sent, err := command.Send[json.RawMessage](ctx, k, http.MethodPost, "/v1/audit/checkpoint", nil)
			if !sent {
				return err
			}
			return a.JSON(signed)
		},
	})
}

// A proof is what verifying an audit log came to.
type proof struct {
	OK bool `json:"ok"`
	audit.Report
	Fault *fault `json:"fault,omitempty"`
}

type fault struct {
	Kind   string `json:"kind"`
	Seq    uint64 `json:"seq"`
	Until  uint64 `json:"until,omitempty"`
	Reason string `json:"reason"`
}

var proofColumns = append(output.Columns[proof]("intact=ok entries checkpoints proven_up_to=signed not_yet_signed=unsigned signed_at=last.at | key=last.key_id"), output.Column[proof]{
	Head: "FAULT", Wide: true, Of: func(p proof) string {
		if p.Fault == nil {
			return ""
		}
		return fmt.Sprintf("record %d: %s: %s", p.Fault.Seq, p.Fault.Kind, p.Fault.Reason)
	},
})

func (a *app) auditVerify() *cobra.Command {
	var data, against, key string
	return a.Command(command.Verb{
		Use: "verify [FOLDER]", Short: "Prove that the audit log was not changed, without a server",
		Long: "Check every record of an audit log, the chain of their hashes and every signature. The folder is\n<data>/audit, or a copy of it; the server may run. Take --key and --against from somewhere that\nwhoever could write the folder could not: only then a log that was replaced as a whole, or cut\noff at its end, is seen. The exit status is 1 when the log is damaged.",
		Example: `
muster audit verify --data /var/lib/muster
muster audit verify --data /var/lib/muster --against checkpoint.json --key audit.pub
muster audit verify ./copy-of-audit -o json`,
		Args: cobra.MaximumNArgs(1), Prints: output.Fields[proof](),
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&data, "data", "", "data `folder` of the server")
			c.Flags().StringVar(&against, "against", "", "`file` of a checkpoint that was kept elsewhere")
			c.Flags().StringVar(&key, "key", "", "`file` of the public keys; else audit.pub in the folder itself")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			folder := filepath.Join(data, "audit")
			switch {
			case len(args) == 1 && data == "":
				folder = args[0]
			case len(args) == 1 || data == "":
				return command.Usagef("which log? Give --data DIR of the server, or the folder of the log")
			}
			return a.verify(ctx, k.Out, folder, against, key)
		},
	})
}

func (a *app) verify(ctx context.Context, o *output.Form, folder, against, key string) error {
	if info, err := os.Stat(folder); err != nil {
		return fmt.Errorf("verify: %w", err)
	} else if !info.IsDir() {
		return command.Usagef("%s is not a folder", folder)
	}
	if key == "" {
		key = filepath.Join(folder, audit.KeyFile)
		a.Say("the public key comes from the folder itself; --key FILE proves more")
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

func (a *app) prove(ctx context.Context, o *output.Form, folder string, keys []crypto.PublicKey, kept *audit.Checkpoint) error {
	report, err := audit.Verify(ctx, folder, keys, kept)
	p := proof{OK: err == nil, Report: report}
	var bad *audit.Fault
	if errors.As(err, &bad) {
		p.Fault = &fault{Kind: string(bad.Kind), Seq: bad.Seq, Until: bad.Until, Reason: bad.Reason}
	} else if err != nil {
		return fmt.Errorf("verify %s: %w", folder, err)
	}
	if err := output.One(o, p, proofColumns); err != nil {
		return err
	}
	if p.Fault != nil {
		a.Say("%s is damaged: record %d: %s: %s", folder, bad.Seq, bad.Kind, output.Visible(bad.Reason))
		return command.ErrFound
	}
	return nil
}
