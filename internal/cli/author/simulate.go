package author

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/server/rehearsal"
)

var (
	groupColumns      = output.Columns[client.SimulationGroup]("name newly_denied newly_step_up newly_allowed examples")
	identityColumns   = output.Columns[client.SimulationGroup]("identity=name name=title newly_denied newly_step_up newly_allowed examples")
	simulationColumns = output.Columns[client.Simulation]("decisions judged unanswered changed newly_denied newly_step_up newly_allowed errors from until seconds")
)

// simulating is what muster policy simulate was told.
type simulating struct {
	guards               guarding
	since, data, against string
}

func simulate(a *command.App) *cobra.Command {
	var s simulating
	return a.Command(command.Verb{
		Use: "simulate CANDIDATE...", Short: "Say what policies would have changed about decisions that were made",
		Long: "Try policies, files or folders, on decisions that are on record, and count those that would have come\nout differently: by identity, resource, owner and policy, with the ids of examples for\n`muster decide explain`. The server compares them with its policies in force and lives on meanwhile.\nWith --data it is done here, over the record in a data folder, and compared with what was decided,\nor with --against. Decisions of which it is not on record what policies read are counted apart.\nThe exit status is 1 when a decision would change.",
		Example: `
muster policy simulate policies.cedar --since 7d
muster policy simulate policies/ --since 2026-11-01 -o json --jq '.examples[].id'
muster policy simulate policies.cedar --data /var/lib/muster`,
		Args: cobra.MinimumNArgs(1), Prints: output.Fields[client.Simulation](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&s.since, "since", "", "decisions from this `time` on, such as 36h, 7d or a date; without it all on record")
			c.Flags().StringVar(&s.data, "data", "", "the data `folder` of a server, instead of a server")
			c.Flags().StringVar(&s.against, "against", "", "with --data: compare with the policies in this `file` or folder, instead of with what was decided")
			s.guards.flag(c)
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			since, err := command.Since(s.since, time.Now())
			if err != nil {
				return command.UsageError{Err: err}
			}
			if s.data == "" && (s.against != "" || s.guards.config != "") {
				return command.Usagef("--against and --config go with --data: a server compares with what is in force")
			}
			c, err := readCandidate(a, args)
			if err != nil {
				return fmt.Errorf("simulate: %w", err)
			}
			var r client.Simulation
			bar := a.Bar(0)
			told := func(r client.Simulation) {
				bar.To(0, fmt.Sprintf("%d decisions, %d would change", r.Decisions, r.Changed))
			}
			if s.data != "" {
				r, err = s.offline(ctx, a, c, since, told)
			} else {
				r, err = s.remote(ctx, k, c, since, told)
			}
			bar.End()
			if err != nil {
				return err
			}
			return printSimulation(k, &r)
		},
	})
}

func (s *simulating) remote(ctx context.Context, k *command.Call, c *candidate, since time.Time, told func(client.Simulation)) (client.Simulation, error) {
	remote, err := k.Client()
	if err != nil {
		return client.Simulation{}, err
	}
	return remote.SimulatePolicies(ctx, client.SimulateRequest{Files: c.policies, Since: since}, func(r client.Simulation) error {
		told(r)
		return nil
	})
}

func (s *simulating) offline(ctx context.Context, a *command.App, c *candidate, since time.Time, told func(client.Simulation)) (client.Simulation, error) {
	if info, err := os.Stat(filepath.Join(s.data, "decisions")); err != nil || !info.IsDir() {
		return client.Simulation{}, errors.Join(fmt.Errorf("simulate: %s is no data folder of a server: it holds no folder decisions", s.data), err)
	}
	settings, err := s.guards.settings()
	if err != nil {
		return client.Simulation{}, err
	}
	set, err := c.load(settings)
	if err != nil {
		return client.Simulation{}, err
	}
	var base *policy.Set
	if s.against != "" {
		other, err := readCandidate(a, []string{s.against})
		if err != nil {
			return client.Simulation{}, fmt.Errorf("simulate: %w", err)
		}
		if base, err = other.load(settings); err != nil {
			return client.Simulation{}, err
		}
	}
	return rehearsal.Offline(ctx, s.data, set, base, since, told)
}

func printSimulation(k *command.Call, r *client.Simulation) error {
	if k.Out.Structured() || k.Out.Format == "csv" {
		if err := output.One(k.Out, *r, simulationColumns); err != nil {
			return err
		}
	} else if err := printGroups(k, r); err != nil {
		return err
	}
	k.Say("%d of %s would change: %d newly denied, %d newly stepped up, %d newly allowed", r.Changed, output.Count(r.Judged, "decision", "decisions"), r.Denied, r.StepUp, r.Allowed)
	if r.Unanswered > 0 {
		k.Say("%s could not be tried: what policies read is not on record", output.Count(r.Unanswered, "more decision", "more decisions"))
	}
	if r.Errors > 0 {
		k.Say("policies of the candidate erred %s; an erring forbid denies", output.Count(r.Errors, "time", "times"))
	}
	if r.Changed > 0 {
		return command.ErrFound
	}
	return nil
}

func printGroups(k *command.Call, r *client.Simulation) error {
	first := true
	for _, g := range []struct {
		head    string
		list    []client.SimulationGroup
		columns []output.Column[client.SimulationGroup]
	}{{"identity", r.Identities, identityColumns}, {"resource", r.Resources, named("RESOURCE")}, {"owner", r.Owners, named("OWNER")}, {"policy", r.Policies, named("POLICY")}} {
		if len(g.list) == 0 {
			continue
		}
		if !first {
			fmt.Fprintln(k.Std.Out)
		}
		first = false
		if err := output.List(k.Out, g.list, g.columns); err != nil {
			return err
		}
	}
	return nil
}

// named are the columns of a group under another heading.
func named(head string) []output.Column[client.SimulationGroup] {
	out := append([]output.Column[client.SimulationGroup]{}, groupColumns...)
	out[0].Head = head
	return out
}
