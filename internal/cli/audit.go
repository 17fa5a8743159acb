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
	// Decisions is their journal; nil when only an audit log was verified.
	Decisions *decided `json:"decisions,omitempty"`
}

type fault struct {
	Kind   string `json:"kind"`
	Seq    uint64 `json:"seq"`
	Until  uint64 `json:"until,omitempty"`
	Reason string `json:"reason"`
}

// String is one line for a person.
func (f *fault) String() string {
	switch {
	case f == nil:
		return ""
	case f.Until > f.Seq:
		return fmt.Sprintf("records %d to %d: %s: %s", f.Seq, f.Until, f.Kind, f.Reason)
	}
	return fmt.Sprintf("record %d: %s: %s", f.Seq, f.Kind, f.Reason)
}

var (
	proofColumns = append(append([]output.Column[proof]{{Head: "INTACT", Of: func(p proof) string {
		if p.Fault != nil { // ok speaks of the decisions as well
			return "no"
		}
		return "yes"
	}}}, output.Columns[proof]("entries checkpoints proven_up_to=signed not_yet_signed=unsigned signed_at=last.at | key=last.key_id")...), output.Column[proof]{
		Head: "FAULT", Wide: true, Of: func(p proof) string { return p.Fault.String() },
	})
	decidedColumns = append(output.Columns[decided]("decisions_intact=ok decisions from until | first last"), output.Column[decided]{
		Head: "FAULT", Wide: true, Of: func(d decided) string { return d.Fault.String() },
	})
)

func (a *app) auditVerify() *cobra.Command {
	var data, against, key string
	return a.Command(command.Verb{
		Use: "verify [FOLDER]", Short: "Prove that the audit log and the decisions were not changed, without a server",
		Long: "Check every record of an audit log, the chain of their hashes and every signature. With --data\nevery recorded decision is checked as well: its checksum, the chain, the sequence, and that the\nserver itself removed what is no longer there. A FOLDER is an audit log alone, <data>/audit or a\ncopy of it. The server may run. Take --key and --against from somewhere that\nwhoever could write the folder could not: only then a log that was replaced as a whole, or cut\noff at its end, is seen. Decisions carry no signature: that the\nlatest of them were cut off does not show. The exit status is 1 when something is damaged.",
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
			return a.verify(ctx, k, data, folder, against, key)
		},
	})
}

func (a *app) verify(ctx context.Context, k *command.Call, data, folder, against, key string) error {
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
	var decisions *decided
	if data != "" {
		if decisions, err = verifyDecisions(ctx, data); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	return a.prove(ctx, k, folder, keys, kept, decisions)
}

func (a *app) prove(ctx context.Context, k *command.Call, folder string, keys []crypto.PublicKey, kept *audit.Checkpoint, decisions *decided) error {
	report, err := audit.Verify(ctx, folder, keys, kept)
	p := proof{OK: err == nil, Report: report, Decisions: decisions}
	var bad *audit.Fault
	if errors.As(err, &bad) {
		p.Fault = &fault{Kind: string(bad.Kind), Seq: bad.Seq, Until: bad.Until, Reason: bad.Reason}
	} else if err != nil {
		return fmt.Errorf("verify %s: %w", folder, err)
	}
	if decisions != nil && p.OK { // a damaged log is no witness
		if err := decisions.compare(ctx, folder); err != nil {
			return err
		}
	}
	p.OK = p.OK && (decisions == nil || decisions.OK)
	if err := output.One(k.Out, p, proofColumns); err != nil {
		return err
	}
	if decisions != nil {
		if err := more(k, []decided{*decisions}, decidedColumns); err != nil {
			return err
		}
	}
	if p.Fault != nil {
		a.Say("%s is damaged: %s", folder, output.Visible(p.Fault.String()))
	}
	if decisions != nil && decisions.Fault != nil {
		a.Say("the journal of decisions is damaged: %s", output.Visible(decisions.Fault.String()))
	}
	if !p.OK {
		return command.ErrFound
	}
	return nil
}
