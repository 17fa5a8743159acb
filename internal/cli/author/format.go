package author

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/format"
)

// A formatted is one file that was, or would be, written anew.
type formatted struct {
	File string `json:"file"`
}

var formattedColumns = output.Columns[formatted]("file")

func formats(a *command.App) *cobra.Command {
	var check bool
	return a.Command(command.Verb{
		Use: "fmt FILE...|DIR", Short: "Write policies in the one form, comments kept",
		Long: "Write files of policies in one canonical form, in place, and print the names of those that changed.\nOnly white space moves: every word and every comment stays. A folder stands for all policies in it,\n- for standard input, which is printed formatted.",
		Example: `
muster policy fmt .
muster policy fmt --check policies/
cat policies.cedar | muster policy fmt -`,
		Args: cobra.MinimumNArgs(1), Prints: output.Fields[formatted](),
		Flags: func(c *cobra.Command) {
			c.Flags().BoolVar(&check, "check", false, "change nothing, and exit with 1 when a file would change")
		},
		Run: func(_ context.Context, k *command.Call, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return formatInput(a, check)
			}
			c, err := readFiles(a, args)
			if err != nil {
				return fmt.Errorf("fmt: %w", err)
			}
			changed, err := formatFiles(c.policies, check)
			if err != nil {
				return err
			}
			if len(changed) == 0 && k.Out.Format == "table" {
				a.Say("%s in the one form already", output.Count(len(c.policies), "file is", "files are"))
				return nil
			}
			if err := output.List(k.Out, changed, formattedColumns); err != nil {
				return err
			}
			if check && len(changed) > 0 {
				a.Say("%s not in the one form; run muster policy fmt", output.Count(len(changed), "file is", "files are"))
				return command.ErrFound
			}
			return nil
		},
	})
}

// formatFiles formats all files before it writes one: a file that is wrong
// leaves all as they are.
func formatFiles(files map[string]string, check bool) ([]formatted, error) {
	texts := map[string]string{}
	changed := []formatted{}
	for _, name := range names(files) {
		text, err := format.Text(name, files[name])
		if err != nil {
			return nil, unreadable(err)
		}
		if text != files[name] {
			texts[name] = text
			changed = append(changed, formatted{name})
		}
	}
	if check {
		return changed, nil
	}
	for _, f := range changed {
		if err := replace(f.File, texts[f.File]); err != nil {
			return nil, fmt.Errorf("fmt %s: %w", f.File, err)
		}
	}
	return changed, nil
}

func unreadable(err error) error {
	var bad policy.Problems
	if errors.As(err, &bad) {
		return wrong(bad)
	}
	return err
}

// replace writes a file anew, so that it is never seen half written.
func replace(name, text string) (err error) {
	name, err = filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".muster-fmt-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func formatInput(a *command.App, check bool) error {
	body, err := a.ReadFile("-", command.MaxDocument)
	if err != nil {
		return fmt.Errorf("fmt: %w", err)
	}
	text, err := format.Text("standard input", string(body))
	if err != nil {
		return unreadable(err)
	}
	if check {
		if text != string(body) {
			return command.ErrFound
		}
		return nil
	}
	_, err = io.WriteString(a.Std.Out, text)
	return err
}
