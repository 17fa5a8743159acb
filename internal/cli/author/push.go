package author

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	policylibrary "github.com/muster-id/muster/internal/policy/library"
	"github.com/muster-id/muster/internal/server/library"
)

func push(a *command.App) *cobra.Command {
	var in client.PutSnapshot
	return a.Command(command.Verb{
		Use: "push DIR", Short: "Put a folder of policies into force, as a whole",
		Long: `Put a folder into force in place of all policies that are: policies.cedar, policies/**/*.cedar,
grants/**/*.yaml and tests/**/*.yaml, as it may lie in git; tests may lie beside policies, too, in folders
named tests. It is checked here and again by the server,
which also runs its tests; what is wrong is refused with file and line, and nothing changes. Policies and
tests that lie elsewhere in the folder are named, and left out. A permit that
names neither a principal nor a resource waits for a second administrator, who confirms it in the console.
With --staged it comes into force through the gates of a promotion: tried on live decisions, then for a growing share of
the principals, then for everybody; see muster policy promotion.`,
		Example: `
muster policy push policies-repository --note "reports only read"
muster policy push policies-repository --check
muster policy push policies-repository --staged
muster policy push policies-repository --onto 5f0c21aa90b4`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Snapshot](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&in.Note, "note", "", "what the change is for, in a `line`")
			c.Flags().StringVar(&in.Parent, "onto", "", "`digest` of what this is a change of; refused when something else is in force")
			c.Flags().BoolVar(&in.Staged, "staged", false, "have it come into force through the gates of a promotion")
			c.Flags().BoolVar(&in.DryRun, "check", false, "have the server check everything, and change nothing")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			files, err := folder(a, args[0])
			if err != nil {
				return err
			}
			in.Files = nil
			for _, name := range slices.Sorted(maps.Keys(files)) {
				in.Files = append(in.Files, client.LibraryFile{Name: name, Text: files[name]})
			}
			return command.Change(ctx, k, http.MethodPost, "/v1/snapshots", in, snapshotColumns, func(n client.Snapshot) { pushed(a, &n, in.DryRun) })
		},
	})
}

// folder reads a library, says what is doubtful about it and what lies beside it, and
// fails if something is wrong, as a server would.
func folder(a *command.App, dir string) (map[string]string, error) {
	read, problems, err := readLibrary(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		text := p.String()
		if p.Warning {
			text += " (warning)"
		}
		a.Say("%s", output.Visible(text))
	}
	if read == nil {
		return nil, wrong(problems)
	}
	leftOut(a, dir)
	return policylibrary.Source(read.Files()), nil
}

// pushed says what became of a push.
func pushed(a *command.App, n *client.Snapshot, check bool) {
	switch {
	case check && n.State == "waiting":
		a.Say("nothing to object to; it would wait for a second administrator")
	case check && n.State == "staged":
		a.Say("nothing to object to; it would go through the gates of a promotion")
	case check:
		a.Say("nothing to object to; nothing was changed")
	case n.State == "waiting":
		a.Say("it is NOT in force: it waits until %s for a second administrator, who signs in to the console and confirms %s on its page Policies", n.Expires.Format("2006-01-02 15:04 MST"), n.Digest[:12])
	case n.State == "staged":
		a.Say("%s is on its way into force, in the shadow at first: muster policy promotion status", n.Digest[:12])
	default:
		a.Say("%s is in force", n.Digest[:12])
	}
	for _, why := range n.Why {
		a.Say("%s", output.Visible(why))
	}
}

func pull(a *command.App) *cobra.Command {
	var digest string
	return a.Command(command.Verb{
		Use: "pull DIR", Short: "Write the policies in force into a folder",
		Long: "Write the library that is in force, or the one with a digest, into a folder: files that differ are\nwritten, and policies, grants and tests that it does not have are removed. Everything else in the folder stays.",
		Example: `
muster policy pull policies-repository
muster policy pull /tmp/before --snapshot 5f0c21aa90b4`,
		Args: cobra.ExactArgs(1), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&digest, "snapshot", "", "`digest` of another snapshot than the one in force")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			detail, err := snapshotOf(ctx, k, digest)
			if err != nil {
				return err
			}
			files := map[string]string{}
			for _, f := range detail.Contents {
				files[f.Name] = f.Text
			}
			written, removed, err := library.Write(args[0], files)
			if err != nil {
				return fmt.Errorf("pull: %w", err)
			}
			for _, name := range written {
				a.Say("wrote %s", output.Visible(name))
			}
			for _, name := range removed {
				a.Say("removed %s", output.Visible(name))
			}
			a.Say("%s has snapshot %s (%d)", output.Visible(args[0]), detail.Digest[:min(12, len(detail.Digest))], detail.Sequence)
			return nil
		},
	})
}
