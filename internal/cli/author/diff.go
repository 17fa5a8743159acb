package author

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy/compare"
	"github.com/muster-id/muster/internal/policy/suite"
)

// onServer is the word for the policies that are in force on the server.
const onServer = "server"

// A difference is what two sets of policies differ in.
type difference struct {
	Policies []compare.Change `json:"policies"`
	Requests *compare.Effects `json:"requests"`
}

// A changeLine is one line of what is different about a policy.
type changeLine struct{ change, policy, access, position, what string }

var (
	changeColumns = []output.Column[changeLine]{
		{Head: "CHANGE", Of: func(c changeLine) string { return c.change }},
		{Head: "POLICY", Of: func(c changeLine) string { return c.policy }},
		{Head: "ACCESS", Of: func(c changeLine) string { return c.access }},
		{Head: "WHERE", Of: func(c changeLine) string { return c.position }},
		{Head: "WHAT", Of: func(c changeLine) string { return c.what }},
	}
	effectColumns = output.Columns[compare.Example]("kind identity action resource how before after | policies reason")
)

func diff(a *command.App) *cobra.Command {
	var guards guarding
	return a.Command(command.Verb{
		Use: "diff A B", Short: "Say what differs between two sets of policies, and what that does",
		Long: "Compare two sets of policies: files, folders, or the word server for those in force there. First\nwhat is written, policy by policy, and whether a change can allow more or less; then what it does:\nboth are asked requests by every kind of identity, and by those that policies, tests and, with a\nserver, its inventory name, and those that are answered differently are shown. No difference\namong them is no proof that there is none. The exit status is 1 when the sets differ.",
		Example: `
muster policy diff server policies.cedar
muster policy diff policies.cedar new.cedar -o json --jq '.requests.examples[]'`,
		Args: cobra.ExactArgs(2), Complete: []string{onServer}, Prints: output.Fields[difference](), Talks: command.Reads, Flags: guards.flag,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			d, err := differ(ctx, k, &guards, args)
			if err != nil {
				return err
			}
			if err := printDifference(k, d); err != nil {
				return err
			}
			if len(d.Policies) > 0 || d.Requests.Changed > 0 {
				return command.ErrFound
			}
			return nil
		},
	})
}

func differ(ctx context.Context, k *command.Call, guards *guarding, args []string) (*difference, error) {
	settings, err := guards.settings()
	if err != nil {
		return nil, err
	}
	world := compare.Representative()
	sets := make([]*loaded, 2)
	for i, arg := range args {
		c := &candidate{}
		if arg == onServer {
			c, err = inForce(ctx, k)
			if err == nil {
				err = inventory(ctx, k, world)
			}
		} else {
			c, err = readCandidate(k.App, []string{arg})
		}
		if err != nil {
			return nil, fmt.Errorf("diff: %w", err)
		}
		if sets[i], err = c.compared(settings); err != nil {
			return nil, err
		}
		world.Add(compare.Named(sets[i].set))
		for _, s := range sets[i].suites {
			cases(world, s)
		}
	}
	out := &difference{Policies: compare.Policies(sets[0].set, sets[1].set)}
	out.Requests, err = compare.Requests(ctx, sets[0].set, sets[1].set, world)
	return out, err
}

// maxTried bounds the cases and identities that requests are made of: each is
// asked with each resource.
const maxTried = 50

// cases adds what the tests name.
func cases(w *compare.World, s *suite.Suite) {
	for i := range s.Cases[:min(len(s.Cases), maxTried)] {
		q := s.Cases[i].Question()
		w.Question("as in the test "+s.Cases[i].Name, &q)
	}
}

// inventory adds identities of the server, those with the highest risk first.
func inventory(ctx context.Context, k *command.Call, w *compare.World) error {
	c, err := k.Client()
	if err != nil {
		return err
	}
	page, err := c.ListIdentities(ctx, client.IdentityQuery{ListQuery: client.ListQuery{Order: "-risk", Limit: maxTried}})
	if err != nil {
		return err
	}
	for _, i := range page.Items {
		w.Add([]compare.Who{{
			ID: nhi.ID(i.ID), Known: true, Kind: nhi.Kind(i.Kind), State: nhi.State(i.State), Owned: i.Owner.Ref != "", Risk: i.Risk,
			Environment: nhi.Environment{Name: i.Environment.Name, Class: nhi.Class(i.Environment.Class)},
		}}, nil)
	}
	return nil
}

func printDifference(k *command.Call, d *difference) error {
	if k.Out.Structured() {
		return k.Out.Object(d)
	}
	if len(d.Policies) > 0 {
		if err := output.List(k.Out, changeLines(d.Policies), changeColumns); err != nil {
			return err
		}
	}
	if len(d.Requests.Examples) > 0 && k.Out.Format != "csv" {
		if len(d.Policies) > 0 {
			fmt.Fprintln(k.Std.Out)
		}
		if err := output.List(k.Out, d.Requests.Examples, effectColumns); err != nil {
			return err
		}
	}
	k.Say("%s; of %s %d are answered differently: %d newly denied, %d newly stepped up, %d newly allowed",
		output.Count(len(d.Policies), "policy differs", "policies differ"), output.Count(d.Requests.Requests, "representative request", "representative requests"),
		d.Requests.Changed, d.Requests.Denied, d.Requests.StepUp, d.Requests.Allowed)
	return nil
}

func changeLines(changes []compare.Change) []changeLine {
	var out []changeLine
	for _, c := range changes {
		line := changeLine{c.Change, c.Policy, string(c.Access), c.Position, ""}
		for _, what := range c.What {
			line.what = what
			out, line = append(out, line), changeLine{}
		}
	}
	return out
}
