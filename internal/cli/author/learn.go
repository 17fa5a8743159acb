package author

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy"
	grants "github.com/muster-id/muster/internal/policy/library"
	"github.com/muster-id/muster/internal/server/library"
	"github.com/muster-id/muster/internal/server/rehearsal"
)

var grantColumns = output.Columns[client.ProposedGrant]("name identity resource actions uses days granted last | first example")

// learning is what muster policy learn was told.
type learning struct{ data, since, identity, owner, write string }

func learn(a *command.App) *cobra.Command {
	var l learning
	return a.Command(command.Verb{
		Use: "learn [POLICIES...]", Short: "Propose grants from what identities really did",
		Long: "Read the decisions on record and propose grants that would have been enough for what was really done.\nWhat was refused, unusual, at risk or only asserted teaches nothing. Permits in force are named when\nnobody needed them. With --write what is missing is written into a library, grants and tests, and\nnever over a file that is there; read it before you push it. With --data it is done here, over the\nrecord in a data folder, and the permits are those of the policies that are given, files or folders.",
		Example: `
muster policy learn --since 30d
muster policy learn --owner team:payments --write proposal
muster policy learn --data /var/lib/muster policies/`,
		Args: cobra.ArbitraryArgs, Prints: output.Fields[client.Proposal](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&l.data, "data", "", "the data `folder` of a server, instead of a server")
			c.Flags().StringVar(&l.since, "since", "30d", "decisions from this `time` on, such as 36h, 7d or a date")
			c.Flags().StringVar(&l.identity, "identity", "", "only what the identity with this `id` did")
			c.Flags().StringVar(&l.owner, "owner", "", "only what identities of this `owner` did, such as team:payments")
			c.Flags().StringVar(&l.write, "write", "", "write what is missing into this `folder`")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			since, err := command.Since(l.since, time.Now())
			if err != nil {
				return command.UsageError{Err: err}
			}
			bar := a.Bar(0)
			told := func(p client.Proposal) error {
				bar.To(0, fmt.Sprintf("%d decisions", p.Decisions))
				return nil
			}
			var p client.Proposal
			if l.data != "" {
				p, err = l.offline(ctx, a, since, args, told)
			} else {
				p, err = l.remote(ctx, k, since, args, told)
			}
			bar.End()
			if err != nil {
				return err
			}
			return l.print(ctx, k, &p)
		},
	})
}

// permitsOf are the ids of the permits in files and folders.
func permitsOf(a *command.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	c, err := readCandidate(a, args)
	if err != nil {
		return nil, fmt.Errorf("learn: %w", err)
	}
	set, err := c.load(policy.DefaultSettings())
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range set.Policies() {
		if p.Effect == "permit" && !p.Guard {
			out = append(out, p.ID)
		}
	}
	return out, nil
}

func (l *learning) remote(ctx context.Context, k *command.Call, since time.Time, args []string, told func(client.Proposal) error) (client.Proposal, error) {
	if len(args) > 0 {
		return client.Proposal{}, command.Usagef("policies go with --data: a server looks at the permits in force")
	}
	remote, err := k.Client()
	if err != nil {
		return client.Proposal{}, err
	}
	return remote.LearnPolicies(ctx, client.LearnRequest{Since: since, Identity: l.identity, Owner: l.owner}, told)
}

func (l *learning) offline(ctx context.Context, a *command.App, since time.Time, args []string, told func(client.Proposal) error) (client.Proposal, error) {
	folder := filepath.Join(l.data, "decisions")
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return client.Proposal{}, errors.Join(fmt.Errorf("learn: %s is no data folder of a server: it holds no folder decisions", l.data), err)
	}
	if l.owner != "" {
		return client.Proposal{}, command.Usagef("--owner goes without --data: who owns whom is not in the record of decisions")
	}
	permits, err := permitsOf(a, args)
	if err != nil {
		return client.Proposal{}, err
	}
	return rehearsal.Learn(ctx, folder, since, permits, func(id nhi.ID) bool { return l.identity == "" || id == nhi.ID(l.identity) }, told)
}

func (l *learning) print(ctx context.Context, k *command.Call, p *client.Proposal) error {
	var err error
	if k.Out.Structured() {
		err = k.Out.Object(p)
	} else {
		err = output.List(k.Out, p.Grants, grantColumns)
	}
	if err != nil {
		return err
	}
	k.Say("%s taught something, of %s: %d were refused, %d unusual or at risk, %d only asserted", output.Count(p.Taught, "decision", "decisions"), output.Count(p.Decisions, "decision", "decisions"), p.Tried, p.Unusual, p.Asserted)
	for _, id := range p.Unused {
		k.Say("permit %s allowed nothing", output.Visible(id))
	}
	if l.write == "" {
		return nil
	}
	files, left, err := learned(ctx, p)
	if err != nil {
		return err
	}
	for _, name := range []string{learnedGrants, learnedTests} { // both or none
		if _, err := os.Lstat(filepath.Join(l.write, name)); err == nil {
			return fmt.Errorf("learn: %s exists: move it away, or name another folder: %w", output.Visible(filepath.Join(l.write, name)), nhi.ErrConflict)
		}
	}
	for _, name := range []string{learnedGrants, learnedTests} {
		path := filepath.Join(l.write, name)
		if err := writeNew(path, files[name]); err != nil {
			return fmt.Errorf("learn: %w", err)
		}
		k.Say("wrote %s", output.Visible(path))
	}
	if left > 0 {
		k.Say("%s left out: their names cannot stand in a grant", output.Count(uint64(left), "grant was", "grants were"))
	}
	return nil
}

const (
	learnedGrants = grants.Grants + "learned.yaml"
	learnedTests  = grants.Tests + "learned.yaml"
)

// A learnedTest is what a written grant must answer.
type learnedTest struct {
	Name      string            `yaml:"name"`
	Principal map[string]string `yaml:"principal"`
	Action    string            `yaml:"action"`
	Resource  map[string]string `yaml:"resource"`
	Expect    string            `yaml:"expect"`
}

// learned are the files of the grants that are missing, which were checked and
// tested as a server would, and how many were left out. A name is hostile text: one
// that a template would take for more than itself is left out.
func learned(ctx context.Context, p *client.Proposal) (map[string]string, int, error) {
	var list struct {
		Grants []grants.Grant `yaml:"grants"`
	}
	var tests struct {
		Tests []learnedTest `yaml:"tests"`
	}
	left := 0
	for _, g := range p.Grants {
		if g.Granted {
			continue
		}
		sum := sha256.Sum256([]byte(g.Resource))
		one := grants.Grant{ID: fmt.Sprintf("learned/%s/%x", g.Identity, sum[:6]), Template: "grant", With: map[string]string{
			"principal": g.Identity, "resource": g.Resource, "actions": strings.Join(g.Actions, ","),
		}}
		text, err := library.Render(one.Template, one.ID, one.With)
		if err != nil || !strings.Contains(text, "principal in Identity::"+policy.Quote(g.Identity)) || !strings.Contains(text, "resource == Resource::"+policy.Quote(g.Resource)) || !survives(one) {
			left++
			continue
		}
		list.Grants = append(list.Grants, one)
		for _, action := range g.Actions {
			tests.Tests = append(tests.Tests, learnedTest{
				Name: fmt.Sprintf("%s may %s %s", g.Identity, action, g.Resource), Principal: map[string]string{"id": g.Identity},
				Action: action, Resource: map[string]string{"id": g.Resource}, Expect: "allow",
			})
		}
	}
	if len(list.Grants) == 0 {
		return nil, left, fmt.Errorf("learn: there is nothing to write: no grant is missing: %w", nhi.ErrNotFound)
	}
	files := map[string]string{}
	for name, of := range map[string]any{learnedGrants: list, learnedTests: tests} {
		text, err := yaml.Marshal(of)
		if err != nil {
			return nil, left, err
		}
		files[name] = string(text)
	}
	return files, left, passes(ctx, files)
}

// survives reports whether a grant is the same when it is read from a file again: a
// name may look like something else in YAML, a number for one.
func survives(g grants.Grant) bool {
	text, err := yaml.Marshal(g)
	if err != nil {
		return false
	}
	var again grants.Grant
	return yaml.Unmarshal(text, &again) == nil && again.ID == g.ID && maps.Equal(again.With, g.With)
}

// passes checks and tests a library.
func passes(ctx context.Context, files map[string]string) error {
	read, problems := library.Read(files)
	if read == nil {
		return wrong(problems)
	}
	settings := policy.DefaultSettings()
	settings.RequireGrant = true // else the base permit would pass the tests alone
	set, err := policy.Load(settings, read.Policies())
	if err != nil {
		return err
	}
	failed, err := library.RunTests(ctx, read, set)
	if err != nil {
		return err
	}
	return wrong(slices.Clone(failed))
}

// writeNew writes a file that is not there.
func writeNew(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
