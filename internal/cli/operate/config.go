package operate

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/output"
)

// Config is `muster config`: what a configuration says, means and gets wrong.
func Config(a *command.App) *cobra.Command {
	return a.Group("config", "Check, print and explain the configuration", `
muster config check /etc/muster/muster.yaml
muster config print /etc/muster/muster.yaml --effective
muster config explain guards.risk_deny
muster config schema > muster.schema.json`, configCheck(a), configPrint(a), configExplain(a), configSchema(a), Keys(a))
}

// A problem is a mistake as it is printed.
type problem struct {
	Where string `json:"where"`
	config.Problem
}

func configCheck(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "check FILE", Short: "Tell every mistake in a configuration file",
		Long: "Tell every mistake in a configuration file: keys that do not exist with the one that was\nprobably meant, values that do not fit, files that are named and cannot be used, and variables\nof the environment that set nothing. Exit status 1 when there is one.",
		Example: `
muster config check /etc/muster/muster.yaml
muster config check muster.yaml -o json`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[problem](),
		Run: func(_ context.Context, k *command.Call, args []string) error {
			found, err := config.Problems(args[0], os.Environ(), time.Now())
			if err != nil {
				return err
			}
			list := make([]problem, 0, len(found))
			for _, p := range found {
				list = append(list, problem{p.Where(), p})
			}
			if len(list) == 0 && !k.Out.Structured() {
				a.Say("%s has no mistakes", output.Visible(args[0]))
				return nil
			}
			if err := output.List(k.Out, list, output.Columns[problem]("where problem | key")); err != nil {
				return err
			}
			if len(list) > 0 {
				a.Say("%s", output.Count(len(list), "mistake", "mistakes"))
				return command.ErrFound
			}
			return nil
		},
	})
}

func configPrint(a *command.App) *cobra.Command {
	var effective bool
	return a.Command(command.Verb{
		Use: "print [FILE]", Short: "Print what is set, and where",
		Long: "Print the values of a configuration file and of the environment, each with where it comes\nfrom, as YAML that a server reads. --effective adds the defaults. Secrets are hidden.",
		Example: `
muster config print --effective
muster config print /etc/muster/muster.yaml --effective -o json`,
		Args: cobra.MaximumNArgs(1), Prints: output.Fields[config.Setting](),
		Flags: func(c *cobra.Command) { c.Flags().BoolVar(&effective, "effective", false, "print the defaults too") },
		Run: func(_ context.Context, k *command.Call, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			l, err := config.Read(file, k.Std.Getenv)
			if err == nil {
				err = l.Check()
			}
			if err != nil {
				return command.DocumentError{Err: err}
			}
			var list []config.Setting
			for _, s := range l.Config.Settings(l.From) {
				if effective || s.From != config.FromDefault {
					list = append(list, s)
				}
			}
			if k.Out.Format != "table" || k.Out.Structured() {
				return output.List(k.Out, list, output.Columns[config.Setting]("key value from | live"))
			}
			_, err = fmt.Fprint(k.Std.Out, "# yaml-language-server: $schema=./"+config.SchemaName+"\n"+output.VisibleLines(string(config.YAML(list))))
			return err
		},
	})
}

func configExplain(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "explain [KEY]", Short: "Say what a setting means",
		Long: "Say what a setting means, its type, default and variable, and whether a running server takes a\nchange up. Without a key it lists all.",
		Example: `
muster config explain guards.risk_deny
muster config explain risk_deny -o json
muster config explain`,
		Args: cobra.MaximumNArgs(1), Prints: output.Fields[config.Key](),
		Run: func(_ context.Context, k *command.Call, args []string) error {
			if len(args) == 0 {
				return output.List(k.Out, config.Keys(), output.Columns[config.Key]("key type unit default live | env example doc"))
			}
			key, err := config.Find(args[0])
			if err != nil {
				return command.UsageError{Err: err}
			}
			if k.Out.Structured() || k.Out.Format != "table" {
				return output.One(k.Out, key, output.Columns[config.Key]("key type unit default live env example doc"))
			}
			_, err = fmt.Fprint(k.Std.Out, explained(key))
			return err
		},
	})
}

func explained(k config.Key) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  %s\n\n", k.Path, strings.ReplaceAll(k.Doc, "`", ""))
	kind := k.Type
	if k.Unit != "" {
		kind += ", " + k.Unit
	}
	taken := "a restart"
	if k.Live {
		taken = "a reload (SIGHUP, or when the file changes)"
	}
	for _, line := range []struct{ name, value string }{
		{"type", kind}, {"one of", strings.Join(k.Enum, ", ")}, {"default", k.Default}, {"example", k.Example}, {"variable", k.Env}, {"taken up by", taken},
	} {
		if line.value != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", line.name, line.value)
		}
	}
	for _, other := range config.Keys() {
		if rest, below := strings.CutPrefix(other.Path, k.Path+"."); below && k.Section() && !strings.Contains(rest, ".") {
			fmt.Fprintf(&b, "  %s\n", other.Path)
		}
		if rest, below := strings.CutPrefix(other.Path, k.Path+"[]."); below && !strings.Contains(rest, ".") {
			fmt.Fprintf(&b, "  %s\n", other.Path)
		}
	}
	return b.String()
}

func configSchema(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "schema", Short: "Print the JSON Schema of the configuration, for editors",
		Long:    "Print the JSON Schema (draft 2020-12) of the configuration file. An editor with a YAML language\nserver completes and checks a file whose first line is\n  # yaml-language-server: $schema=./muster.schema.json",
		Example: `muster config schema > muster.schema.json`,
		Run: func(context.Context, *command.Call, []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = a.Std.Out.Write(schema)
			return err
		},
	})
}
