// Package people is the room of the commands about who uses Muster itself:
// persons who sign in with the organisation's provider, what they are asked to
// approve, and the operator tokens of programs. Each noun is a function that makes its commands; package
// cli lists them.
package people

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var roles = []string{"viewer", "analyst", "responder", "admin", "auditor"}

var personColumns = output.Columns[client.Person]("id name email roles disabled signed_in | groups assigned issuer created")

// Person is `muster person`.
func Person(a *command.App) *cobra.Command {
	return a.Group("person", "Who signs in, and what they may do", `
muster person list
muster person set-role ada@example.com analyst --team payments
muster person disable ada@example.com`, list(a), show(a), setRole(a), able(a, true), able(a, false))
}

func list(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "list", Short: "List everybody who ever signed in", Example: `muster person list -o wide`, Prints: output.Fields[client.Person](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Pages(ctx, k, "/v1/people", nil, 0, personColumns)
		},
	})
}

func show(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "show PERSON", Short: "Show a person with their roles and where these come from",
		Long:    "Show a person, by id or by the address that their provider has verified.",
		Example: `muster person show ada@example.com -o yaml`, Args: cobra.ExactArgs(1), Prints: output.Fields[client.Person](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			p, err := find(ctx, k, args[0])
			if err != nil {
				return err
			}
			return output.One(k.Out, p, personColumns)
		},
	})
}

// find finds a person by id or verified address. Names are up to the people
// themselves, so none is taken for one.
func find(ctx context.Context, k *command.Call, ref string) (client.Person, error) {
	all, _, err := command.Read[client.Person](ctx, k, "/v1/people", nil, 0)
	if err != nil {
		return client.Person{}, err
	}
	var found []client.Person
	for _, p := range all {
		if p.ID == ref || access.SameAddress(p.Email, ref) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return client.Person{}, command.Usagef("nobody with this id or verified address ever signed in: %s; muster person list shows who did", output.Visible(ref))
	}
	return client.Person{}, command.Usagef("%d people have the address %s: give the id, which muster person list shows", len(found), output.Visible(ref))
}

// change sends a change of a person. Whoever is named by address is looked up,
// for a dry run too.
func change(ctx context.Context, k *command.Call, ref string, set client.SetPerson) error {
	if !strings.HasPrefix(ref, "per_") {
		p, err := find(ctx, k, ref)
		if err != nil {
			return err
		}
		ref = p.ID
	}
	return command.Change[client.Person](ctx, k, http.MethodPut, "/v1/people/"+url.PathEscape(ref), set, personColumns, nil)
}

func setRole(a *command.App) *cobra.Command {
	var scope client.Role
	return a.Command(command.Verb{
		Use: "set-role PERSON ROLE...", Short: "Assign roles to a person, instead of those assigned before",
		Long: "Assign roles to a person: viewer, analyst, responder, admin, auditor, or none. --team and\n--environment narrow all of them. They replace what was assigned here before; roles that follow from\ngroups stay, and change in the configuration. It holds at once, in sessions that are open too;\nwhoever gains rights signs in again.",
		Example: `
muster person set-role ada@example.com admin
muster person set-role ada@example.com analyst --team payments --environment production
muster person set-role ada@example.com none`,
		Args: cobra.MinimumNArgs(2), Complete: append(slices.Clone(roles), "none"), Prints: output.Fields[client.Person](), Talks: command.Writes,
		Flags: func(c *cobra.Command) { scopeFlags(c, &scope) },
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			given, err := rolesOf(args[1:], scope)
			if err != nil {
				return err
			}
			return change(ctx, k, args[0], client.SetPerson{Roles: &given})
		},
	})
}

func scopeFlags(c *cobra.Command, scope *client.Role) {
	c.Flags().StringVar(&scope.Team, "team", "", "only identities that this `team` owns")
	c.Flags().StringVar(&scope.Environment, "environment", "", "only identities of this `environment`")
}

// rolesOf are roles by their words, each within scope; none is the empty list.
func rolesOf(words []string, scope client.Role) ([]client.Role, error) {
	out := []client.Role{}
	if len(words) == 1 && words[0] == "none" {
		return out, nil
	}
	for _, w := range words {
		if err := command.OneOf("role", w, roles); err != nil {
			return nil, err
		}
		out = append(out, client.Role{Role: w, Team: scope.Team, Environment: scope.Environment})
	}
	return out, nil
}

func able(a *command.App, disable bool) *cobra.Command {
	v := command.Verb{
		Use: "enable PERSON", Short: "Let a person in again", Example: `muster person enable ada@example.com`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Person](), Talks: command.Writes,
	}
	if disable {
		v.Use, v.Short, v.Example = "disable PERSON", "Take every right from a person at once", `muster person disable ada@example.com`
		v.Long = "Take every right from a person at once: sessions end, and tokens that the person made allow\nnothing. The last administrator cannot be disabled."
	}
	v.Run = func(ctx context.Context, k *command.Call, args []string) error {
		return change(ctx, k, args[0], client.SetPerson{Disabled: &disable})
	}
	return a.Command(v)
}
