package author

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/policy"
	policylibrary "github.com/muster-id/muster/internal/policy/library"
	"github.com/muster-id/muster/internal/policy/suite"
	"github.com/muster-id/muster/internal/server/library"
)

// maxCandidate bounds the files of one candidate.
const maxCandidate = 20_000

// A candidate is policies that are not in force, and their tests.
type candidate struct {
	policies map[string]string // Cedar by file name
	tests    map[string]string
}

// isPolicy and isTest say what a file is by its name: tests are YAML in a folder
// named tests.
func isPolicy(name string) bool { return strings.HasSuffix(name, ".cedar") }

func isTest(name string) bool {
	return (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")) && slices.Contains(strings.Split(filepath.ToSlash(name), "/"), "tests")
}

// readCandidate reads files and folders. A file that is named is what its ending
// says. A folder that holds policies/ or grants/ is a library, and read as push reads
// it, with what its grants amount to, and what else lies there is said to be left out;
// of another one its policies and tests are read, and nothing hidden.
func readCandidate(a *command.App, args []string) (*candidate, error) {
	return readWith(a, args, (*candidate).layout)
}

// readFiles is readCandidate for whoever wants files as they lie there.
func readFiles(a *command.App, args []string) (*candidate, error) {
	return readWith(a, args, (*candidate).folder)
}

func readWith(a *command.App, args []string, folder func(*candidate, *command.App, string) error) (*candidate, error) {
	out := &candidate{policies: map[string]string{}, tests: map[string]string{}}
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			if err := folder(out, a, arg); err != nil {
				return nil, err
			}
			continue
		}
		into := out.policies
		if !isPolicy(arg) {
			into = out.tests
		}
		if err := out.read(a, arg, into); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// isLibrary reports whether a folder is laid out as push wants it.
func isLibrary(folder string) bool {
	for _, part := range []string{policylibrary.Policies, policylibrary.Grants} {
		if info, err := os.Stat(filepath.Join(folder, part)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// layout reads a folder that may be a library.
func (c *candidate) layout(a *command.App, folder string) error {
	if !isLibrary(folder) {
		return c.folder(a, folder)
	}
	read, problems, err := readLibrary(folder)
	if err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	if read == nil {
		return wrong(within(folder, problems))
	}
	leftOut(a, folder)
	return errors.Join(c.take(folder, read.Policies(), c.policies), c.take(folder, read.TestFiles(), c.tests))
}

// within returns problems of a folder with its name: there may be two of them.
func within(folder string, problems []policy.Problem) []policy.Problem {
	out := slices.Clone(problems)
	for i := range out {
		out[i].File = filepath.Join(folder, filepath.FromSlash(out[i].File))
	}
	return out
}

// maxLeftOut bounds the files that are named as left out.
const maxLeftOut = 10

// leftOut says which policies and tests lie in a folder that is a library, and belong
// to no part of it: nobody must believe that they were tried.
func leftOut(a *command.App, folder string) {
	var out []string
	parts := []string{policylibrary.Policies, policylibrary.Grants, policylibrary.Tests, policylibrary.Generated}
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		name, outside := filepath.Rel(folder, path)
		name = filepath.ToSlash(name)
		switch {
		case outside != nil || err != nil: // what nobody can read is no part of it either
			return fs.SkipDir
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || slices.Contains(parts, name+"/")):
			return fs.SkipDir
		case !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), ".") || name == library.File:
		case isPolicy(name) || isTest(name):
			out = append(out, path)
		}
		return nil
	})
	for _, path := range out[:min(len(out), maxLeftOut)] {
		a.Say("left out: %s; %s holds a library, of which push takes %s and what is in policies, grants and tests", output.Visible(path), output.Visible(folder), library.File)
	}
	if more := len(out) - maxLeftOut; more > 0 {
		a.Say("left out: %d more", more)
	}
}

// take takes up files of a folder.
func (c *candidate) take(folder string, files, into map[string]string) error {
	if len(c.policies)+len(c.tests)+len(files) > maxCandidate {
		return fmt.Errorf("over %d files of policies and tests", maxCandidate)
	}
	for name, text := range files {
		into[filepath.Join(folder, filepath.FromSlash(name))] = text
	}
	return nil
}

// readLibrary reads a folder as a server would that is sent it. With a problem that
// is no warning there is no library.
func readLibrary(dir string) (*policylibrary.Library, []policy.Problem, error) {
	files, err := library.Folder(dir)
	if errors.Is(err, nhi.ErrInvalid) {
		return nil, nil, command.DocumentError{Err: err}
	}
	if err != nil {
		return nil, nil, err
	}
	read, problems := library.Read(files)
	return read, problems, nil
}

func (c *candidate) folder(a *command.App, folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != folder && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		case isPolicy(path):
			return c.read(a, path, c.policies)
		case isTest(path):
			return c.read(a, path, c.tests)
		}
		return nil
	})
}

func (c *candidate) read(a *command.App, name string, into map[string]string) error {
	if len(c.policies)+len(c.tests) >= maxCandidate {
		return fmt.Errorf("over %d files of policies and tests", maxCandidate)
	}
	body, err := a.ReadFile(name, command.MaxDocument)
	if err != nil {
		return err
	}
	into[name] = string(body)
	return nil
}

// load loads the policies of c beside the guards.
func (c *candidate) load(settings policy.Settings) (*policy.Set, error) {
	if len(c.policies) == 0 {
		return nil, command.Usagef("there is no policy there; policies are in files that end in .cedar")
	}
	set, err := policy.Load(settings, c.policies)
	var bad policy.Problems
	if errors.As(err, &bad) {
		return nil, wrong(bad)
	}
	return set, err
}

// A loaded candidate.
type loaded struct {
	set    *policy.Set
	suites []*suite.Suite
}

// compared loads a candidate that may be empty.
func (c *candidate) compared(settings policy.Settings) (*loaded, error) {
	set, err := policy.Load(settings, c.policies)
	var bad policy.Problems
	if errors.As(err, &bad) {
		return nil, wrong(bad)
	}
	if err != nil {
		return nil, err
	}
	suites, err := c.suites()
	return &loaded{set, suites}, err
}

// suites reads the tests of c, in the order of file names.
func (c *candidate) suites() ([]*suite.Suite, error) {
	var out []*suite.Suite
	for _, name := range names(c.tests) {
		s, err := suite.Parse(name, []byte(c.tests[name]))
		if err != nil {
			return nil, command.DocumentError{Err: err}
		}
		out = append(out, s)
	}
	return out, nil
}

func names(files map[string]string) []string {
	out := make([]string, 0, len(files))
	for name := range files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// A guarding says by which numbers the built-in guards are written.
type guarding struct{ config string }

func (g *guarding) flag(c *cobra.Command) {
	c.Flags().StringVar(&g.config, "config", "", "take the numbers of the built-in guards from this `file`, as a server does")
}

func (g *guarding) settings() (policy.Settings, error) {
	if g.config == "" {
		return policy.DefaultSettings(), nil
	}
	loaded, err := config.Load(g.config)
	if err != nil {
		return policy.Settings{}, command.DocumentError{Err: err}
	}
	return loaded.Guards, nil
}

// inForce reads the library that is in force on the server.
func inForce(ctx context.Context, k *command.Call) (*candidate, error) {
	detail, err := snapshotOf(ctx, k, "")
	if err != nil {
		return nil, err
	}
	out := &candidate{policies: map[string]string{}, tests: map[string]string{}}
	for _, f := range detail.Contents {
		switch {
		case isPolicy(f.Name):
			out.policies[f.Name] = f.Text
		case isTest(f.Name):
			out.tests[f.Name] = f.Text
		}
	}
	return out, nil
}

// lines prints text for people, each line made harmless.
func lines(a *command.App, text ...string) error {
	for _, line := range text {
		if _, err := fmt.Fprintln(a.Std.Out, output.Visible(line)); err != nil {
			return err
		}
	}
	return nil
}
