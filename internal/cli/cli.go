// Package cli is the command line: it turns arguments into calls of the server
// package or of a remote server's API, and answers into text.
//
// It keeps a few promises, the same for every command:
//
//   - Data goes to standard output, words to standard error, so a pipe carries
//     only data. -o chooses table, wide, json, yaml or csv; --json picks fields,
//     --jq filters. A list is one array, one thing is one object; what has no
//     known end (scan, --watch) is JSON Lines.
//   - The exit status is 0 when all was done and clean, 1 when something was
//     found or denied, 2 for wrong use, 3 when it could not be done (see
//     status).
//   - An error is one line that says what to do next; --debug shows the chain.
//   - Names come from outside and may be hostile; package output makes them
//     harmless.
//   - A write has --dry-run, which shows what would be sent and sends nothing.
//     A secret is read from a file, the environment or standard input, never
//     from an argument, which other users of the machine can see.
//
// A command is a verb value: what people read, and a function. Environment
// variables (MUSTER_SERVER, MUSTER_TOKEN, NO_COLOR) are read here and nowhere
// below.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/output"
)

// Std is what a command line is connected to.
type Std struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
}

// System connects to the process's own streams and environment.
func System() Std { return Std{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv} }

// The exit statuses.
const (
	clean     = 0
	found     = 1 // something was found or denied
	wrongUse  = 2
	couldNot  = 3
	maxSecret = 16 << 10 // bytes read as a token or key
)

// Run runs one command line and returns the exit status. It blocks until the
// command is done or ctx ends.
func Run(ctx context.Context, version string, args []string, std Std) int {
	a := &app{std: std, version: version, args: args}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	cmd, err := root.ExecuteContextC(ctx)
	return a.finish(cmd, err)
}

// An app is one command line being run.
type app struct {
	std     Std
	version string
	args    []string
	debug   bool
	ran     bool // a command began: what failed before that is wrong use
}

// errFound ends a command that did its work and found something.
var errFound = errors.New("something was found")

// A usageError is a command line that cannot be right.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// A documentError is about a file that was written for us, such as policies:
// wrong use, but of the file and not of the command line.
type documentError struct{ error }

func (e documentError) Unwrap() error { return e.error }

// An inputError is about the content of a file that was to be taken in, which
// is no fault of the command line, also when a server says it.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// status is the one table from errors to exit statuses.
func (a *app) status(err error) int {
	var usage usageError
	var document documentError
	var input inputError
	var refused *client.Error
	switch {
	case err == nil:
		return clean
	case errors.Is(err, errFound):
		return found
	case errors.As(err, &usage) || errors.As(err, &document) || !a.ran:
		return wrongUse
	case errors.As(err, &input):
		return couldNot
	case errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusUnprocessableEntity):
		return wrongUse
	}
	return couldNot
}

// finish says in one line what went wrong and what to do next.
func (a *app) finish(cmd *cobra.Command, err error) int {
	code := a.status(err)
	if code == clean || code == found {
		return code
	}
	line := output.Visible(err.Error())
	for _, kind := range []string{" (invalid)", ": invalid", ": conflict"} { // they end many messages and tell people nothing
		line = strings.TrimSuffix(line, kind)
	}
	var usage usageError
	switch {
	case errors.As(err, &usage) || !a.ran:
		line += fmt.Sprintf("; see `%s --help`", cmd.CommandPath())
	case errors.Is(err, syscall.ECONNREFUSED):
		line += "; is `muster serve` running there? --server URL names another one"
	case errors.Is(err, context.Canceled):
		line = "interrupted"
	}
	fmt.Fprintf(a.std.Err, "muster: %s\n", line)
	if a.debug {
		a.chain(err, "  ")
	}
	return code
}

// chain prints an error and what it wraps, one a line.
func (a *app) chain(err error, indent string) {
	fmt.Fprintf(a.std.Err, "%s%T: %s\n", indent, err, output.Visible(err.Error()))
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			a.chain(inner, indent+"  ")
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			a.chain(inner, indent+"  ")
		}
	}
}

// say prints words for people, one line. Hostile text in args must have gone
// through output.Visible.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.std.Err, format+"\n", args...) }

// terminal reports whether a stream is one.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A verb describes one command.
type verb struct {
	use, short, long string
	example          string
	args             cobra.PositionalArgs // nil means none
	complete         []cobra.Completion   // what the arguments may be
	prints           []string             // fields of the data it prints; nil when it prints none
	talks            talk
	flags            func(c *cobra.Command) // may be nil
	run              func(ctx context.Context, c *call, args []string) error
}

// A talk says how a command speaks with a server.
type talk int

const (
	alone  talk = iota
	reads       // asks
	writes      // changes something, so it has --dry-run
)

// A call is one run of a command.
type call struct {
	*app
	*remote
	out *output.Form
	cmd *cobra.Command
}

// command makes a command of a verb.
func (a *app) command(v verb) *cobra.Command {
	k := &call{app: a, remote: &remote{app: a}, out: &output.Form{Format: "table"}}
	c := &cobra.Command{
		Use: v.use, Short: v.short, Long: v.long, Example: indented(v.example), ValidArgs: v.complete, DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			fits := v.args
			if fits == nil {
				fits = cobra.NoArgs
			}
			if fits(cmd, args) != nil {
				return usagef("%s do not fit: want `%s`", output.Count(len(args), "argument", "arguments"), cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.ran = true
			if err := k.out.Check(); err != nil {
				return usageError{err}
			}
			return v.run(cmd.Context(), k, args)
		},
	}
	if v.complete == nil {
		c.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	}
	k.cmd = c
	k.flags(v)
	return c
}

// flags gives a command the flags that its verb needs.
func (k *call) flags(v verb) {
	if v.prints != nil {
		k.out.Known, k.out.Out, k.out.Terminal = v.prints, k.std.Out, terminal(k.std.Out)
		k.out.Colour = k.out.Terminal && k.std.Getenv("NO_COLOR") == "" && k.std.Getenv("TERM") != "dumb"
		f := k.cmd.Flags()
		f.StringVarP(&k.out.Format, "output", "o", "table", "`form` of the output: "+strings.Join(output.Formats, ", "))
		f.StringSliceVar(&k.out.Pick, "json", nil, "print only these `fields`, as JSON: id,name")
		f.StringVar(&k.out.Filter, "jq", "", "print what this jq `expression` makes of the JSON")
		completes(k.cmd, "output", output.Formats...)
	}
	if v.talks != alone {
		k.serverFlag(k.cmd, "server", "`address` of the server; MUSTER_SERVER, else "+defaultServer)
	}
	if v.talks == writes {
		k.dryRunFlag(k.cmd)
	}
	if v.flags != nil {
		v.flags(k.cmd)
	}
}

// bar is the progress of long work, drawn only on a terminal.
func (a *app) bar(total int64) *output.Bar {
	return &output.Bar{W: a.std.Err, On: terminal(a.std.Err), Total: total}
}

// completes makes a flag complete to some words.
func completes(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a flag that is not there: any test of the command finds it
	}
}

// required makes a command ask for flags.
func required(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // as above
		}
	}
}

// oneOf checks a word that must be one of a few.
func oneOf(what, word string, words []string) error {
	if slices.Contains(words, word) {
		return nil
	}
	return usagef("%s %s: want one of %s", what, word, strings.Join(words, ", "))
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}

// group makes a noun of its verbs. Alone it prints its help; with a verb that
// does not exist it suggests one that does.
func (a *app) group(use, short, example string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Example: indented(example), Args: cobra.ArbitraryArgs, DisableFlagsInUseLine: true, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noCommand(cmd, args[0])
			}
			a.ran = true
			return cmd.Help()
		},
	}
	c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// A flag that nobody knows, because its command is misspelt.
		words := slices.DeleteFunc(slices.Clone(a.args), func(w string) bool { return strings.HasPrefix(w, "-") })
		if depth := strings.Count(cmd.CommandPath(), " "); cmd.HasSubCommands() && depth < len(words) {
			return noCommand(cmd, words[depth])
		}
		return err
	})
	c.AddCommand(verbs...)
	return c
}

func noCommand(group *cobra.Command, name string) error {
	hint := ""
	if near := group.SuggestionsFor(name); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return usagef("there is no command %q in %q%s", name, group.CommandPath(), hint)
}

func (a *app) root() *cobra.Command {
	root := a.group("muster", "Zero trust for non-human identities", `
muster demo                      a living fictional company in your browser
muster scan .                    find leaked keys in a folder
muster replay trail/*.json.gz    what would have been noticed in your own logs
muster serve --data /var/lib/muster`)
	root.Long = "Muster gives every non-human identity the zero-trust treatment that people already get:\nit knows who exists, verifies who calls, decides what they may do, watches what is normal,\nand contains what is not."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.PersistentFlags().BoolVar(&a.debug, "debug", false, "show every layer of an error")
	in := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	in("start", "Start here:", a.demo(), a.scan(), a.replay(), a.serve(), a.login())
	in("know", "Know and verify:", a.inventory(), a.identity(), a.credential(), a.source(), a.point())
	in("decide", "Decide and watch:", a.resource(), a.policy(), a.decide(), a.finding())
	in("act", "Act and prove:", a.action(), a.audit())
	in("tool", "The tool itself:", a.versions())
	root.SetCompletionCommandGroupID("tool")
	root.SetHelpCommandGroupID("tool")
	root.AddCommand(a.openapi())
	return root
}
