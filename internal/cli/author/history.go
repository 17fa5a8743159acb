package author

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy/bundle"
)

var (
	snapshotColumns = output.Columns[client.Snapshot]("sequence state digest author at note policies | parent files effective expires activated ended")
	manifestColumns = output.Columns[verified]("sequence digest created expires key | parent effective files")
)

const snapshots = "/v1/snapshots"

// snapshotOf reads the snapshot with a digest, or the one in force.
func snapshotOf(ctx context.Context, k *command.Call, digest string) (out client.SnapshotDetail, err error) {
	if digest == "" {
		var page client.Page[client.Snapshot]
		if err := k.Get(ctx, snapshots, url.Values{"filter": {"state:active"}, "limit": {"1"}}, &page); err != nil {
			return out, err
		}
		if len(page.Items) == 0 {
			return out, fmt.Errorf("the server has no snapshot in force")
		}
		digest = page.Items[0].Digest
	}
	return out, k.Get(ctx, snapshots+"/"+url.PathEscape(digest), nil, &out)
}

func history(a *command.App) *cobra.Command {
	var limit int
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "history", Short: "List what was put into force, by whom and when, the newest first",
		Example: `
muster policy history
muster policy history --filter state:waiting
muster policy history -o json --limit 5`,
		Prints: output.Fields[client.Snapshot](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			command.NewestFlag(c, &limit)
			narrow.FilterFlag(c, "state:past at>7d")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Newest(ctx, k, snapshots, narrow.Of(url.Values{}), limit, snapshotColumns)
		},
	})
}

// showSnapshot prints a snapshot and its files.
func showSnapshot(ctx context.Context, k *command.Call, digest string) error {
	detail, err := snapshotOf(ctx, k, digest)
	if err != nil {
		return err
	}
	if k.Out.Structured() {
		return k.Out.Object(detail)
	}
	if err := output.One(k.Out, detail.Snapshot, snapshotColumns); err != nil || k.Out.Format == "csv" {
		return err
	}
	for _, why := range detail.Why {
		k.Say("%s", output.Visible(why))
	}
	for _, f := range detail.Contents {
		text := f.Text
		if k.Out.Terminal {
			text = output.VisibleLines(text)
		}
		if _, err := fmt.Fprintf(k.Std.Out, "\n-- %s --\n%s", output.Visible(f.Name), text); err != nil {
			return err
		}
	}
	return nil
}

func rollback(a *command.App) *cobra.Command {
	var in client.ActOn
	return a.Command(command.Verb{
		Use: "rollback DIGEST", Short: "Put an older snapshot into force again",
		Long: "Put an older snapshot into force again. It becomes a new entry of the history, so this can be taken back\nin the same way; nothing is sent but the digest, of which 8 characters are enough.",
		Example: `
muster policy history
muster policy rollback 5f0c21aa90b4 --note "the new ones stopped the till"`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Snapshot](), Talks: command.Writes,
		Flags: func(c *cobra.Command) { c.Flags().StringVar(&in.Reason, "note", "", "why, in a `line`") },
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			return command.Change(ctx, k, http.MethodPost, snapshots+"/"+url.PathEscape(args[0])+"/activate", in, snapshotColumns, func(n client.Snapshot) { pushed(a, &n, false) })
		},
	})
}

func confirm(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "confirm DIGEST", Short: "Say whether a snapshot waits to be confirmed, and where that is done",
		Long: "Policies that open more than one person may wait for a second administrator. Only a person who is signed\nin confirms them, in the console: a token may be a program's, so this command cannot. It shows what waits and\nprints the address, and its exit status is 1 until the snapshot is in force.",
		Example: `
muster policy history --filter state:waiting
muster policy confirm 5f0c21aa90b4`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Snapshot](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			detail, err := snapshotOf(ctx, k, args[0])
			if err != nil {
				return err
			}
			if err := output.One(k.Out, detail.Snapshot, snapshotColumns); err != nil {
				return err
			}
			if detail.State == "active" {
				return nil
			}
			if detail.State != "waiting" {
				k.Say("it waits for nobody: it is %s", detail.State)
				return command.ErrFound
			}
			for _, why := range detail.Why {
				k.Say("%s", output.Visible(why))
			}
			k.Say("another administrator signs in and confirms it at %s/policies?snapshot=%s", strings.TrimSuffix(k.Address(), "/"), detail.Digest)
			return command.ErrFound
		},
	})
}

func withdraw(a *command.App) *cobra.Command {
	var in client.ActOn
	return a.Command(command.Verb{
		Use: "withdraw DIGEST", Short: "Take back what waits for a second administrator",
		Long: "Take back a snapshot that waits, so that nobody confirms it any more. What is in force stays.",
		Example: `
muster policy history --filter state:waiting
muster policy withdraw 5f0c21aa90b4 --note "not what was meant"`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Snapshot](), Talks: command.Writes,
		Flags: func(c *cobra.Command) { c.Flags().StringVar(&in.Reason, "note", "", "why, in a `line`") },
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			return command.Change(ctx, k, http.MethodPost, snapshots+"/"+url.PathEscape(args[0])+"/withdraw", in, snapshotColumns, func(n client.Snapshot) {
				a.Say("%s is withdrawn; what was in force is", n.Digest[:12])
			})
		},
	})
}

func download(a *command.App) *cobra.Command {
	var digest, keyFile string
	return a.Command(command.Verb{
		Use: "bundle FILE", Short: "Download the policies in force as a signed bundle",
		Long:    "Write the signed bundle of what is in force, or of an older snapshot, to a file, and with --key-to the\npublic key that it is signed with. A bundle of what is no longer in force has ended.",
		Example: `muster policy bundle policies.tar --key-to policies.pem`,
		Args:    cobra.ExactArgs(1), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&digest, "snapshot", "", "`digest` of another snapshot than the one in force")
			c.Flags().StringVar(&keyFile, "key-to", "", "write the public key to this `file`")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			detail, err := snapshotOf(ctx, k, digest)
			if err != nil {
				return err
			}
			c, err := k.Client()
			if err != nil {
				return err
			}
			var data bytes.Buffer
			if err := c.GetSnapshotBundle(ctx, detail.Digest, &data); err != nil {
				return err
			}
			if err := os.WriteFile(args[0], data.Bytes(), 0o644); err != nil {
				return err
			}
			if keyFile == "" {
				return nil
			}
			key, err := c.GetPolicyKey(ctx)
			if err != nil {
				return err
			}
			return os.WriteFile(keyFile, []byte(key.PEM), 0o644)
		},
	})
}

// verified is what a good bundle says.
type verified struct {
	Sequence  uint64    `json:"sequence"`
	Digest    string    `json:"digest"`
	Parent    string    `json:"parent,omitempty"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Effective string    `json:"effective"`
	Files     int       `json:"files"`
	Key       string    `json:"key"`
}

func verify(a *command.App) *cobra.Command {
	var keyFile string
	var at time.Time
	var seen uint64
	return a.Command(command.Verb{
		Use: "verify FILE --key FILE", Short: "Verify a signed bundle, without a server",
		Long: "Verify that a bundle is whole, signed with a key that you trust, in time and not older than one that\nwas seen, and that this release makes the same of it as the server did. The exit status is 1 when it\nis not to be used.",
		Example: `
muster policy verify policies.tar --key policies.pem
muster policy verify policies.tar --key policies.pem --seen 41 -o json`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[verified](),
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&keyFile, "key", "", "`file` of the public keys that are trusted, in PEM")
			c.Flags().TimeVar(&at, "at", time.Time{}, []string{time.RFC3339}, "`time` of the check, as in 2027-01-31T09:00:00Z; now if it is left out")
			c.Flags().Uint64Var(&seen, "seen", 0, "`sequence` of the newest bundle that was there")
			command.Required(c, "key")
		},
		Run: func(_ context.Context, k *command.Call, args []string) error {
			text, err := a.ReadFile(keyFile, command.MaxSecret)
			if err != nil {
				return err
			}
			keys, err := bundle.ParseKeys(text)
			if err != nil {
				return command.DocumentError{Err: fmt.Errorf("%s: %w", keyFile, err)}
			}
			data, err := a.ReadFile(args[0], bundle.MaxBundle)
			if err != nil {
				return err
			}
			b, err := bundle.Open(data, bundle.Trust{Keys: keys, Now: at, Leeway: time.Minute, Seen: bundle.Seen{Sequence: seen}})
			if err == nil {
				_, err = b.Load()
			}
			if err != nil {
				a.Say("%s: %s", output.Visible(args[0]), output.Visible(err.Error()))
				return command.ErrFound
			}
			m := &b.Manifest
			return output.One(k.Out, verified{m.Sequence, m.Digest, m.Parent, m.Created, m.Expires, m.Effective, len(m.Files), b.Key}, manifestColumns)
		},
	})
}
