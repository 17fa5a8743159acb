package author

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/decision/propose"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy"
	grants "github.com/muster-id/muster/internal/policy/library"
	"github.com/muster-id/muster/internal/server/library"
)

var grantColumns = output.Columns[propose.Grant]("identity resource actions uses days granted last | first example")

// learning is what muster policy learn was told.
type learning struct{ data, since, identity, write string }

func learn(a *command.App) *cobra.Command {
	var l learning
	return a.Command(command.Verb{
		Use: "learn --data DIR [POLICIES...]", Short: "Propose grants from what identities really did",
		Long: "Read the decisions on record in a data folder, also beside the server that writes it, and propose grants\nthat would have been enough for what was really done. What was refused, unusual, at risk or only asserted\nteaches nothing. Permits of the policies that are given, files or folders, are named when nobody needed\nthem. With --write what is missing is written into a library, grants and tests, and never over a file\nthat is there; read it before you push it.",
		Example: `
muster policy learn --data /var/lib/muster --since 30d
muster policy learn --data /var/lib/muster policies/ --write proposal`,
		Args: cobra.ArbitraryArgs, Prints: output.Fields[propose.Proposal](),
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&l.data, "data", "", "the data `folder` of a server")
			c.Flags().StringVar(&l.since, "since", "30d", "decisions from this `time` on, such as 36h, 7d or a date")
			c.Flags().StringVar(&l.identity, "identity", "", "only what the identity with this `id` did")
			c.Flags().StringVar(&l.write, "write", "", "write what is missing into this `folder`")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			since, err := command.Since(l.since, time.Now())
			if err != nil {
				return command.UsageError{Err: err}
			}
			if info, err := os.Stat(filepath.Join(l.data, "decisions")); l.data == "" || err != nil || !info.IsDir() {
				return command.Usagef("name the data folder of a server: --data DIR, with a folder decisions in it")
			}
			permits, err := permitsOf(a, args)
			if err != nil {
				return err
			}
			p, err := l.study(ctx, a, since, permits)
			if err != nil {
				return err
			}
			return l.print(ctx, k, p)
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

func (l *learning) study(ctx context.Context, a *command.App, since time.Time, permits []string) (*propose.Proposal, error) {
	study := propose.New(propose.Settings{})
	bar, n := a.Bar(0), 0
	defer bar.End()
	for d, err := range logbook.Since(ctx, filepath.Join(l.data, "decisions"), since) {
		if err != nil {
			return nil, fmt.Errorf("learn: %w", err)
		}
		if n++; n%10_000 == 0 {
			bar.To(0, fmt.Sprintf("%d decisions", n))
		}
		if l.identity == "" || d.Identity == nhi.ID(l.identity) {
			study.Add(&d)
		}
	}
	return study.Proposal(permits), nil
}

func (l *learning) print(ctx context.Context, k *command.Call, p *propose.Proposal) error {
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
func learned(ctx context.Context, p *propose.Proposal) (map[string]string, int, error) {
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
		var actions []string
		for _, action := range g.Actions {
			actions = append(actions, string(action))
		}
		sum := sha256.Sum256([]byte(g.Resource))
		one := grants.Grant{ID: fmt.Sprintf("learned/%s/%x", g.Identity, sum[:6]), Template: "grant", With: map[string]string{
			"principal": string(g.Identity), "resource": g.Resource, "actions": strings.Join(actions, ","),
		}}
		text, err := library.Render(one.Template, one.ID, one.With)
		if err != nil || !strings.Contains(text, "principal in Identity::"+policy.Quote(string(g.Identity))) || !strings.Contains(text, "resource == Resource::"+policy.Quote(g.Resource)) {
			left++
			continue
		}
		list.Grants = append(list.Grants, one)
		for _, action := range actions {
			tests.Tests = append(tests.Tests, learnedTest{
				Name: fmt.Sprintf("%s may %s %s", g.Identity, action, g.Resource), Principal: map[string]string{"id": string(g.Identity)},
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
