package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/seal/unlock"
	"github.com/muster-id/muster/internal/store/sqlite"
)

// A keyFile is a key file as it is printed.
type keyFile struct {
	seal.State
	By string `json:"by"` // by what it is sealed
}

var keyColumns = output.Columns[keyFile]("path sealed by versions current")

// Keys is `muster config keys`: how the key file is sealed, and by what.
func Keys(a *command.App) *cobra.Command {
	return a.Group("keys", "Seal, unseal and rotate the key file of a stopped server", `
muster config keys status --data /var/lib/muster
muster config keys seal --data /var/lib/muster --config /etc/muster/muster.yaml
muster config keys rotate --data /var/lib/muster --config /etc/muster/muster.yaml`, keysStatus(a), keysSeal(a), keysUnseal(a), keysRotate(a))
}

func keysStatus(a *command.App) *cobra.Command {
	var data string
	return a.Command(command.Verb{
		Use: "status --data DIR", Short: "Say how the key file is sealed", Prints: output.Fields[keyFile](),
		Long:    "Say how the key file is sealed, without opening it. The server may run.",
		Example: `muster config keys status --data /var/lib/muster -o json`,
		Flags:   func(c *cobra.Command) { dataFlag(c, &data) },
		Run:     func(_ context.Context, k *command.Call, _ []string) error { return told(k, data) },
	})
}

func dataFlag(c *cobra.Command, data *string) {
	c.Flags().StringVar(data, "data", "", "data `folder` of the server")
	command.Required(c, "data")
}

func told(k *command.Call, data string) error {
	s, err := seal.Inspect(filepath.Join(data, "keys.json"))
	if err != nil {
		return err
	}
	f := keyFile{State: s}
	if s.Sealed {
		f.By = seal.Label(s.Wrapping)
	}
	return output.One(k.Out, f, keyColumns)
}

// change opens the key file of a stopped server by a configuration, changes it
// and prints what it is then.
func change(a *command.App, use, short, long, example string, more func(*cobra.Command), do func(context.Context, *seal.Keys, []seal.Wrapper) error) *cobra.Command {
	var data, file string
	var stdin bool
	return a.Command(command.Verb{
		Use: use, Short: short, Long: long, Example: example, Prints: output.Fields[keyFile](),
		Flags: func(c *cobra.Command) {
			dataFlag(c, &data)
			c.Flags().StringVar(&file, "config", "", "YAML `file` of settings; keys.unlock says what opens the key file")
			c.Flags().BoolVar(&stdin, "passphrase-stdin", false, "read a passphrase from standard input, up to its end, and use it instead of keys.unlock")
			if more != nil {
				more(c)
			}
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) (err error) {
			cfg, err := config.Load(file)
			if err != nil {
				return command.DocumentError{Err: err}
			}
			if _, err := seal.Inspect(filepath.Join(data, "keys.json")); err != nil {
				return err // also when there is none: a command makes no keys
			}
			release, err := sqlite.Lock(data)
			if err != nil {
				return fmt.Errorf("the keys of a server are changed while it is stopped: %w", err)
			}
			defer func() { err = errors.Join(err, release()) }()
			wrappers, err := openers(a.Std.In, stdin, cfg.Keys.Unlock)
			if err != nil {
				return err
			}
			keys, err := seal.Open(ctx, filepath.Join(data, "keys.json"), wrappers...)
			if err != nil {
				return err
			}
			if err := do(ctx, keys, wrappers); err != nil {
				return err
			}
			return told(k, data)
		},
	})
}

// openers are what opens the key file.
func openers(in io.Reader, stdin bool, set unlock.Settings) ([]seal.Wrapper, error) {
	if !stdin {
		return set.Wrappers()
	}
	p, err := seal.PassphraseFrom(in)
	if err != nil {
		return nil, err
	}
	return []seal.Wrapper{p}, nil
}

func keysSeal(a *command.App) *cobra.Command {
	var next string
	return change(a, "seal --data DIR --config FILE", "Seal the key file, or seal it by something else",
		"Seal the key file by what keys.unlock of the configuration says. To change what seals it, --to names\na configuration with the new keys.unlock: the one of --config opens it, the other one seals it.\nNothing in the database is encrypted anew.",
		`
muster config keys seal --data /var/lib/muster --config /etc/muster/muster.yaml
muster config keys seal --data /var/lib/muster --config old.yaml --to new.yaml
muster config keys seal --data /var/lib/muster --passphrase-stdin < phrase`,
		func(c *cobra.Command) {
			c.Flags().StringVar(&next, "to", "", "YAML `file` whose keys.unlock seals it from now on")
		},
		func(ctx context.Context, keys *seal.Keys, by []seal.Wrapper) error {
			if next != "" {
				cfg, err := config.Load(next)
				if err != nil {
					return command.DocumentError{Err: err}
				}
				if by, err = cfg.Keys.Unlock.Wrappers(); err != nil {
					return err
				}
			}
			if len(by) == 0 {
				return command.Usagef("the configuration has no keys.unlock: it says by what the key file is to be sealed; or say --passphrase-stdin")
			}
			return keys.Rewrap(ctx, by[0])
		})
}

func keysUnseal(a *command.App) *cobra.Command {
	return change(a, "unseal --data DIR --config FILE", "Leave the key file in clear again",
		"Leave the key file in clear again, readable by its owner only. Remove keys.unlock from the\nconfiguration afterwards.",
		`muster config keys unseal --data /var/lib/muster --config /etc/muster/muster.yaml`, nil,
		func(ctx context.Context, keys *seal.Keys, _ []seal.Wrapper) error { return keys.Rewrap(ctx, nil) })
}

func keysRotate(a *command.App) *cobra.Command {
	return change(a, "rotate --data DIR", "Make a new key that seals from now on",
		"Make a new key that seals from now on. What older keys sealed still opens: they stay in the file.",
		`
muster config keys rotate --data /var/lib/muster
muster config keys rotate --data /var/lib/muster --config /etc/muster/muster.yaml`, nil,
		func(_ context.Context, keys *seal.Keys, _ []seal.Wrapper) error { return keys.Rotate() })
}
