// Package command is the frame of the command line: what a verb is, how it
// speaks with a server, how its answer becomes text and its error one line.
// The verbs themselves are in package cli and its rooms.
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
// A command is a [Verb] value: what people read, and a function. Environment
// variables (MUSTER_SERVER, MUSTER_TOKEN, NO_COLOR) are read here and nowhere
// below.
package command

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
	Clean     = 0
	Found     = 1 // something was found or denied
	WrongUse  = 2
	CouldNot  = 3
	MaxSecret = 16 << 10 // bytes read as a token or key
)

// Run runs one command line and returns the exit status. It blocks until the
// command is done or ctx ends.
func Run(ctx context.Context, version string, args []string, std Std, build func(*App) *cobra.Command) int {
	a := &App{Std: std, Version: version, args: args}
	root := build(a)
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	cmd, err := root.ExecuteContextC(ctx)
	return a.finish(cmd, err)
}

// An App is one command line being run.
type App struct {
	Std     Std
	Version string
	args    []string
	Debug   bool
	ran     bool // a command began: what failed before that is wrong use
}

// ErrFound ends a command that did its work and found something.
var ErrFound = errors.New("something was found")

// A UsageError is a command line that cannot be right.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Usagef makes a [UsageError].
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// A DocumentError is about a file that was written for us, such as policies:
// wrong use, but of the file and not of the command line.
type DocumentError struct{ Err error }

func (e DocumentError) Error() string { return e.Err.Error() }
func (e DocumentError) Unwrap() error { return e.Err }

// An InputError is about the content of a file that was to be taken in, which
// is no fault of the command line, also when a server says it.
type InputError struct{ Err error }

func (e InputError) Error() string { return e.Err.Error() }
func (e InputError) Unwrap() error { return e.Err }

// status is the one table from errors to exit statuses.
func (a *App) status(err error) int {
	var usage UsageError
	var document DocumentError
	var input InputError
	var refused *client.Error
	switch {
	case err == nil:
		return Clean
	case errors.Is(err, ErrFound):
		return Found
	case errors.As(err, &usage) || errors.As(err, &document) || !a.ran:
		return WrongUse
	case errors.As(err, &input):
		return CouldNot
	case errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusUnprocessableEntity):
		return WrongUse
	}
	return CouldNot
}

// finish says in one line what went wrong and what to do next.
func (a *App) finish(cmd *cobra.Command, err error) int {
	code := a.status(err)
	if code == Clean || code == Found {
		return code
	}
	line := output.Visible(err.Error())
	for _, kind := range []string{" (invalid)", ": invalid", ": conflict"} { // they end many messages and tell people nothing
		line = strings.TrimSuffix(line, kind)
	}
	var usage UsageError
	var refused *client.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		line += "; give a token with --token-file FILE or MUSTER_TOKEN"
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound && lists(cmd) != "":
		line += fmt.Sprintf("; `%s` shows what there is", lists(cmd))
	case errors.As(err, &usage) || !a.ran:
		line += fmt.Sprintf("; see `%s --help`", cmd.CommandPath())
	case errors.Is(err, syscall.ECONNREFUSED):
		line += "; is `muster serve` running there? --server URL names another one"
	case errors.Is(err, context.Canceled):
		line = "interrupted"
	}
	fmt.Fprintf(a.Std.Err, "muster: %s\n", line)
	if a.Debug {
		a.chain(err, "  ")
	}
	return code
}

// lists is the command beside cmd that lists what cmd is about, empty for none.
func lists(cmd *cobra.Command) string {
	if cmd.Parent() != nil {
		for _, beside := range cmd.Parent().Commands() {
			if name := beside.Name(); beside != cmd && (name == "list" || name == "history") {
				return beside.CommandPath()
			}
		}
	}
	return ""
}

// chain prints an error and what it wraps, one a line.
func (a *App) chain(err error, indent string) {
	fmt.Fprintf(a.Std.Err, "%s%T: %s\n", indent, err, output.Visible(err.Error()))
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

// Say prints words for people, one line. Hostile text in args must have gone
// through output.Visible.
func (a *App) Say(format string, args ...any) { fmt.Fprintf(a.Std.Err, format+"\n", args...) }

// Terminal reports whether a stream is one.
func Terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A Verb describes one command.
type Verb struct {
	Use, Short, Long string
	Example          string
	Args             cobra.PositionalArgs // nil means none
	Complete         []cobra.Completion   // what the arguments may be
	Names            *Noun                // what the first argument names; a shell completes it
	Prints           []string             // fields of the data it prints; nil when it prints none
	Talks            Talk
	Flags            func(c *cobra.Command) // may be nil
	Run              func(ctx context.Context, k *Call, args []string) error
}

// A Talk says how a command speaks with a server.
type Talk int

const (
	Alone  Talk = iota
	Reads       // asks
	Writes      // changes something, so it has --dry-run
)

// A Call is one run of a command.
type Call struct {
	*App
	*Remote
	Out *output.Form
	Cmd *cobra.Command
}

// Command makes a command of a verb.
func (a *App) Command(v Verb) *cobra.Command {
	k := &Call{App: a, Remote: &Remote{app: a}, Out: &output.Form{Format: "table"}}
	c := &cobra.Command{
		Use: v.Use, Short: v.Short, Long: v.Long, Example: indented(v.Example), ValidArgs: v.Complete, DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			fits := v.Args
			if fits == nil {
				fits = cobra.NoArgs
			}
			if fits(cmd, args) != nil {
				if len(args) == 0 {
					return Usagef("something is missing: want `%s`", cmd.UseLine())
				}
				return Usagef("%s do not fit: want `%s`", output.Count(len(args), "argument", "arguments"), cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.ran = true
			if err := k.Out.Check(); err != nil {
				return UsageError{err}
			}
			return v.Run(cmd.Context(), k, args)
		},
	}
	if v.Complete == nil {
		c.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	}
	k.Cmd = c
	k.flags(v)
	k.completeNames(v.Names)
	return c
}

// flags gives a command the flags that its verb needs.
func (k *Call) flags(v Verb) {
	if v.Prints != nil {
		k.Out.Known, k.Out.Out, k.Out.Terminal = v.Prints, k.Std.Out, Terminal(k.Std.Out)
		k.Out.Colour = k.Out.Terminal && k.Std.Getenv("NO_COLOR") == "" && k.Std.Getenv("TERM") != "dumb"
		f := k.Cmd.Flags()
		f.StringVarP(&k.Out.Format, "output", "o", "table", "`form` of the output: "+strings.Join(output.Formats, ", "))
		f.StringSliceVar(&k.Out.Pick, "json", nil, "print only these `fields`, as JSON: id,name")
		f.StringVar(&k.Out.Filter, "jq", "", "print what this jq `expression` makes of the JSON")
		Completes(k.Cmd, "output", output.Formats...)
	}
	if v.Talks != Alone {
		k.ServerFlag(k.Cmd, "server", "`address` of the server; MUSTER_SERVER, else "+DefaultServer)
	}
	if v.Talks == Writes {
		k.DryRunFlag(k.Cmd)
	}
	if v.Flags != nil {
		v.Flags(k.Cmd)
	}
}

// DebugFlag gives the root the flag that shows every layer of an error.
func (a *App) DebugFlag(root *cobra.Command) {
	root.PersistentFlags().BoolVar(&a.Debug, "debug", false, "show every layer of an error")
}

// Bar is the progress of long work, drawn only on a terminal.
func (a *App) Bar(total int64) *output.Bar {
	return &output.Bar{W: a.Std.Err, On: Terminal(a.Std.Err), Total: total}
}

// Completes makes a flag complete to some words.
func Completes(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a flag that is not there: any test of the command finds it
	}
}

// Required makes a command ask for flags.
func Required(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // as above
		}
	}
}

// OneOf checks a word that must be one of a few.
func OneOf(what, word string, words []string) error {
	if slices.Contains(words, word) {
		return nil
	}
	return Usagef("%s %s: want one of %s", what, word, strings.Join(words, ", "))
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}

// Group makes a noun of its verbs. Alone it prints its help; with a verb that
// does not exist it suggests one that does.
func (a *App) Group(use, short, example string, verbs ...*cobra.Command) *cobra.Command {
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
	return Usagef("there is no command %q in %q%s", name, group.CommandPath(), hint)
}
