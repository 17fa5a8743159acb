package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/seal/agefile"
	"github.com/muster-id/muster/internal/server"
	"github.com/muster-id/muster/internal/server/archive"
	"github.com/muster-id/muster/internal/store"
)

// A place is where an installation's rows lie.
type place struct {
	data  string
	store config.Store
}

func (p *place) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.data, "data", "", "data `folder`")
	f.StringVar(&p.store.URL, "store-url", "", "`URL` of a database in PostgreSQL; otherwise SQLite in the data folder")
	f.StringVar(&p.store.PasswordFile, "store-password-file", "", "`file` of the database's password")
}

func (p *place) open(version string) func(context.Context, string) (*store.DB, error) {
	return func(ctx context.Context, dir string) (*store.DB, error) {
		return server.OpenStore(ctx, dir, p.store, version)
	}
}

// A copied is a backup that was written.
type copied struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// Backup is `muster backup`.
func Backup(a *command.App) *cobra.Command {
	var at place
	var pass phrase
	var file string
	var recipients []string
	return a.Command(command.Verb{
		Use: "backup -f FILE", Short: "Write the whole installation into one encrypted file",
		Long: "Write the whole installation into one file: database, keys, audit log, decisions and what was\nlearned. It is encrypted to age recipients, or to a passphrase. Of a running server it is made over\nits interface, which needs an administrator; with --data of one that is stopped.",
		Example: `
muster backup -f muster.backup --recipient age1...
muster backup -f muster.backup --passphrase-file phrase
muster backup -f muster.backup --passphrase-stdin < phrase
muster backup -f muster.backup --recipient age1... --data /var/lib/muster`,
		Talks: command.Reads, Prints: output.Fields[copied](),
		Flags: func(c *cobra.Command) {
			at.flags(c)
			c.Flags().StringVarP(&file, "file", "f", "", "`file` to write; it must not be there")
			c.Flags().StringArrayVar(&recipients, "recipient", nil, "age `recipient` who can read it, age1...; may be repeated")
			pass.flags(c, "encrypts the backup")
			command.Required(c, "file")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			lock := agefile.Lock{Recipients: recipients}
			var err error
			if lock.Passphrase, err = pass.text(a.Std.In); err != nil {
				return err
			}
			if err := lock.Check(); err != nil {
				return command.Usagef("%v: say --recipient, --passphrase-file or --passphrase-stdin", err)
			}
			bar := a.Bar(0)
			defer bar.End()
			n, err := create(file, func(w io.Writer) error {
				w = &progress{w: w, bar: bar}
				if at.data != "" {
					return offline(ctx, a.Version, &at, w, lock)
				}
				c, err := k.Client()
				if err != nil {
					return err
				}
				return online(ctx, c, w, lock)
			})
			if err != nil {
				return err
			}
			bar.End()
			return output.One(k.Out, copied{file, n}, output.Columns[copied]("file bytes"))
		},
	})
}

// A phrase is where the passphrase of a backup comes from: a file, as it is
// written for the key file too, or standard input. It is never an argument,
// which everybody on the machine could read.
type phrase struct {
	file  string
	stdin bool
}

func (p *phrase) flags(c *cobra.Command, does string) {
	c.Flags().StringVar(&p.file, "passphrase-file", "", "`file` of the passphrase that "+does)
	c.Flags().BoolVar(&p.stdin, "passphrase-stdin", false, "read the passphrase that "+does+" from standard input, up to its end")
}

func (p *phrase) set() bool { return p.file != "" || p.stdin }

// text is the passphrase, empty when none is set.
func (p *phrase) text(in io.Reader) (string, error) {
	read := func() (*seal.Passphrase, error) { return seal.ReadPassphrase(p.file) }
	switch {
	case !p.set():
		return "", nil
	case p.stdin && p.file != "":
		return "", command.Usagef("one passphrase is enough: say --passphrase-file or --passphrase-stdin")
	case p.stdin:
		read = func() (*seal.Passphrase, error) { return seal.PassphraseFrom(in) }
	}
	text, err := read()
	if err != nil {
		return "", err
	}
	return text.Text(), nil
}

type progress struct {
	w   io.Writer
	bar *output.Bar
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.bar.To(p.bar.Done+int64(n), output.Size(p.bar.Done+int64(n)))
	return n, err
}

// create makes a file all at once: what is there under its name is whole.
func create(file string, fill func(io.Writer) error) (n int64, err error) {
	if _, err := os.Lstat(file); err == nil {
		return 0, command.Usagef("%s is there already: choose another name", file)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".muster-backup-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // after a rename it is gone already
	err = fill(f)
	if info, e := f.Stat(); e == nil {
		n = info.Size()
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return n, os.Link(f.Name(), file) // fails if the name was taken meanwhile
}

func offline(ctx context.Context, version string, at *place, w io.Writer, lock agefile.Lock) error {
	if _, err := os.Stat(filepath.Join(at.data, "keys.json")); err != nil {
		return fmt.Errorf("%s is no data folder of a server: %w", at.data, err)
	}
	db, err := at.open(version)(ctx, at.data)
	if err != nil {
		return err
	}
	_, err = archive.Write(ctx, w, lock, archive.Source{Data: at.data, Store: db, Program: version})
	return errors.Join(err, db.Close())
}

// online asks a server. It never learns a passphrase: it encrypts to an
// identity that lives in this process, and the file is encrypted anew here.
func online(ctx context.Context, c *client.Client, w io.Writer, lock agefile.Lock) error {
	if lock.Passphrase == "" {
		_, err := c.MakeBackup(ctx, client.BackupRequest{Recipients: lock.Recipients}, w)
		return err
	}
	id, err := agefile.Temporary()
	if err != nil {
		return err
	}
	read, write := io.Pipe()
	failed := make(chan error, 1)
	go func() { // ends when the server's answer does, or read is closed
		_, err := c.MakeBackup(ctx, client.BackupRequest{Recipients: id.Recipients()}, write)
		failed <- err
		write.CloseWithError(err)
	}()
	err = again(read, w, id, lock)
	_ = read.Close()
	if cause := <-failed; cause != nil {
		return cause
	}
	return err
}

func again(from io.Reader, to io.Writer, id *agefile.Identity, lock agefile.Lock) error {
	plain, err := agefile.Decrypt(from, agefile.Key{Identity: id})
	if err != nil {
		return err
	}
	out, err := agefile.Encrypt(to, lock)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, plain)
	return errors.Join(err, out.Close())
}

// Restore is `muster restore`.
func Restore(a *command.App) *cobra.Command {
	var to place
	var pass phrase
	var identity, auditKey string
	return a.Command(command.Verb{
		Use: "restore FILE --data DIR", Short: "Bring an installation back from a backup",
		Long: "Bring an installation back into an empty folder, and into an empty database if --store-url names\none: that is also the way from SQLite to PostgreSQL. Everything is checked before anything is in\nplace. What was revoked or contained after the backup was made is as it was before: the server says\nso, and people must do it again.",
		Example: `
muster restore muster.backup --data /var/lib/muster --identity identity.txt
muster restore muster.backup --data /var/lib/muster --passphrase-file phrase --audit-key audit.pub
muster restore muster.backup --data /var/lib/muster --identity identity.txt \
    --store-url postgres://muster@db.example.com/muster --store-password-file password`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[archive.Restored](),
		Flags: func(c *cobra.Command) {
			to.flags(c)
			c.Flags().StringVar(&identity, "identity", "", "`file` of the age identity that reads the backup")
			pass.flags(c, "reads the backup")
			c.Flags().StringVar(&auditKey, "audit-key", "", "`file` of the public keys that must have signed the audit log, kept elsewhere")
			command.Required(c, "data")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) (err error) {
			if (identity == "") != pass.set() {
				return command.Usagef("say how the backup opens: --identity, --passphrase-file or --passphrase-stdin")
			}
			var key agefile.Key
			if identity != "" {
				key.Identity, err = agefile.ReadIdentity(identity)
			} else {
				key.Passphrase, err = pass.text(a.Std.In)
			}
			if err != nil {
				return err
			}
			target := archive.Target{Data: to.data, Open: to.open(a.Version)}
			if auditKey != "" {
				if target.AuditKeys, err = audit.ReadKeys(auditKey); err != nil {
					return err
				}
			}
			done, err := bringBack(ctx, a, args[0], key, target)
			if err != nil {
				return err
			}
			if err := output.One(k.Out, done, output.Columns[archive.Restored]("backup_at rows acts decisions learned generation from | program signed sealed restored_at")); err != nil {
				return err
			}
			a.Say("what was revoked, contained or changed after %s is as it was before: look through it again", output.When(done.BackupAt))
			if done.Sealed != "" {
				a.Say("the key file is sealed by %s: the server needs keys.unlock to start", output.Visible(done.Sealed))
			}
			return nil
		},
	})
}

func bringBack(ctx context.Context, a *command.App, file string, key agefile.Key, target archive.Target) (archive.Restored, error) {
	f, err := os.Open(file)
	if err != nil {
		return archive.Restored{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return archive.Restored{}, err
	}
	bar := a.Bar(info.Size())
	defer bar.End()
	return archive.Restore(ctx, bar.Reader(f), key, target)
}
