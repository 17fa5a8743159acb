package author

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/format"
	"github.com/muster-id/muster/internal/policy/template"
)

var (
	templateColumns  = output.Columns[template.Template]("name doc | version")
	parameterColumns = output.Columns[template.Parameter]("name kind required default doc")
)

// templates is `muster policy template`.
func templates(a *command.App) *cobra.Command {
	names := make([]string, 0, 16)
	for _, t := range template.All() {
		names = append(names, t.Name)
	}
	return a.Group("template", "Policies that are written for you", `
muster policy template list
muster policy template show time-window
muster policy template render time-window --id office-hours --set from=08:00 --set to=18:00 >> policies.cedar`,
		templateList(a), templateShow(a, names), templateRender(a, names))
}

func templateList(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "list", Short: "List the templates", Example: `muster policy template list -o json`, Prints: output.Fields[template.Template](),
		Run: func(_ context.Context, k *command.Call, _ []string) error {
			var all []template.Template
			for _, t := range template.All() {
				all = append(all, *t)
			}
			return output.List(k.Out, all, templateColumns)
		},
	})
}

func templateShow(a *command.App, names []string) *cobra.Command {
	return a.Command(command.Verb{
		Use: "show TEMPLATE", Short: "Show what a template wants to know", Example: `muster policy template show workload-location`,
		Args: cobra.ExactArgs(1), Complete: names, Prints: output.Fields[template.Parameter](),
		Run: func(_ context.Context, k *command.Call, args []string) error {
			t, err := template.ByName(args[0])
			if err != nil {
				return command.Usagef("%v", err)
			}
			a.Say("%s", t.Doc)
			return output.List(k.Out, t.Parameters, parameterColumns)
		},
	})
}

func templateRender(a *command.App, names []string) *cobra.Command {
	var id string
	var given []string
	return a.Command(command.Verb{
		Use: "render TEMPLATE --id ID [--set NAME=VALUE]...", Short: "Write a policy from a template",
		Long: "Write a policy from a template, for a file of your own. Nothing is changed on a server; apply the\nfile when it says what you want.",
		Example: `
muster policy template render approved-networks --id office --set networks=192.0.2.0/24 >> policies.cedar
muster policy template render attestation-age --id fresh --set resource=payments/api
muster policy template render grant --id reports --set principal=nhi_v6w2kopezgzwfpmsgulnrizwq4 --set resource=ledger --set until=2027-01-31`,
		Args: cobra.ExactArgs(1), Complete: names,
		Flags: func(c *cobra.Command) {
			c.Flags().StringVar(&id, "id", "", "the policy's own `name`, unlike any other")
			c.Flags().StringArrayVar(&given, "set", nil, "a parameter and its value, `NAME=VALUE`; see show")
			command.Completes(c, "set", settable()...)
		},
		Run: func(_ context.Context, _ *command.Call, args []string) error {
			t, err := template.ByName(args[0])
			if err != nil {
				return command.Usagef("%v", err)
			}
			values := map[string]string{}
			for _, g := range given {
				name, value, ok := strings.Cut(g, "=")
				if _, twice := values[name]; !ok || twice {
					return command.Usagef("--set %q: want NAME=VALUE, each name once", g)
				}
				values[name] = value
			}
			text, err := t.Render(id, values)
			if err != nil {
				return command.Usagef("%v", err)
			}
			// What only the engine knows, such as which time zones there are.
			if err := wrong(policy.Check(map[string]string{t.Name: text})); err != nil {
				return err
			}
			if text, err = format.Text(t.Name, text); err != nil { // so that fmt --check has nothing to object to
				return err
			}
			_, err = fmt.Fprint(a.Std.Out, text)
			return err
		},
	})
}

// settable are the beginnings of values for --set.
func settable() []string {
	var out []string
	for _, t := range template.All() {
		for _, p := range t.Parameters {
			out = append(out, p.Name+"=")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
