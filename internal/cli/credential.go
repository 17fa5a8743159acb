package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var credentialColumns = output.Columns[client.Credential]("id kind public_id state expires last_used | reason consumer recognisable=known identity created")

func (a *app) credential() *cobra.Command {
	return a.Group("credential", "The keys that prove identities", `
muster credential create --identity settler
muster credential list --identity settler`,
		a.credentialList(), a.credentialShow(), a.credentialCreate(), a.credentialRegister(), a.credentialPin(), a.credentialUnpin())
}

func (a *app) credentialList() *cobra.Command {
	var identity string
	var limit int
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "list", Short: "List credentials",
		Example: `
muster credential list --filter 'static:true last_used<90d' --order last_used
muster credential list --identity settler
muster credential list --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --json id,state`,
		Prints: output.Fields[client.Credential](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			narrow.FilterFlag(c, "static:true last_used<90d")
			narrow.OrderFlag(c, "id", "created", "expires", "last_used")
			command.NameFlag(c, &identity, "identity", command.Identity, "only those of the identity with this `id` or name")
			command.LimitFlag(c, &limit)
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if err := k.Resolve(ctx, command.Identity, &identity); err != nil {
				return err
			}
			if identity == "" {
				return command.Pages(ctx, k, "/v1/credentials", narrow.Of(url.Values{}), limit, credentialColumns)
			}
			// Asking first tells an identity that is not there from one without credentials.
			if err := k.Get(ctx, "/v1/identities/"+url.PathEscape(identity), nil, nil); err != nil {
				return err
			}
			narrow.Filter = strings.TrimSpace("identity:" + strconv.Quote(identity) + " " + narrow.Filter)
			return command.Pages(ctx, k, "/v1/credentials", narrow.Of(url.Values{}), limit, credentialColumns)
		},
	})
}

func identityFlag(c *cobra.Command, identity *string) {
	command.NameFlag(c, identity, "identity", command.Identity, "`id` or name of the identity")
	command.Required(c, "identity")
}

func (a *app) credentialShow() *cobra.Command {
	return a.Command(command.Verb{
		Use: "show ID", Short: "Show one credential, by its id or public id",
		Example: `
muster credential show AKIAIOSFODNN7EXAMPLE
muster credential show crd_gezdgnbvgy3tqojqgezdgnbvgy --jq .state`,
		Args: cobra.ExactArgs(1), Names: &command.Credential, Prints: output.Fields[client.Credential](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			id, err := k.ID(ctx, command.Credential, args[0])
			if err != nil {
				return err
			}
			_, err = command.Show(ctx, k, "/v1/credentials/"+url.PathEscape(id), credentialColumns)
			return err
		},
	})
}

func (a *app) credentialCreate() *cobra.Command {
	var identity string
	var expires time.Duration
	return a.Command(command.Verb{
		Use: "create --identity ID", Short: "Create an API key and show it for the only time",
		Long: "Create an API key. Muster keeps what is needed to check it and to recognise it when it leaks,\nnever the key itself: it is shown now and never again.",
		Example: `
muster credential create --identity settler --expires-in 24h
muster credential create --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --jq .key > app.key`,
		Prints: output.Fields[client.NewCredential](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			identityFlag(c, &identity)
			c.Flags().DurationVar(&expires, "expires-in", 0, "how `long` it lives, like 24h; 0 means until it is revoked")
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if expires < 0 || expires%time.Second != 0 {
				return command.Usagef("--expires-in %s: want whole seconds, and not negative", expires)
			}
			if err := k.Resolve(ctx, command.Identity, &identity); err != nil {
				return err
			}
			in := client.CreateCredential{ExpiresIn: int64(expires / time.Second)}
			return command.Change(ctx, k, http.MethodPost, "/v1/identities/"+url.PathEscape(identity)+"/credentials", in,
				output.Columns[client.NewCredential]("id identity key"), func(client.NewCredential) { a.shownOnce() })
		},
	})
}

var registeredKinds = []string{"registered-key", "aws-access-key"}

func (a *app) credentialRegister() *cobra.Command {
	var identity string
	var in client.RegisterCredential
	return a.Command(command.Verb{
		Use: "register --identity ID", Short: "Register an existing key, read from standard input",
		Long: "Register a key that somebody else issued, so that it is recognised when it leaks. The value is\nread from standard input, never from an argument, and is not kept. Of an AWS access key, give\nthe secret as the value and the access key id as --public-id.",
		Example: `
muster credential register --identity settler < partner.key
pass aws/ci | muster credential register --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --kind aws-access-key --public-id AKIA...`,
		Prints: output.Fields[client.Credential](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			identityFlag(c, &identity)
			c.Flags().StringVar(&in.Kind, "kind", registeredKinds[0], "`kind`: "+strings.Join(registeredKinds, ", "))
			c.Flags().StringVar(&in.PublicID, "public-id", "", "the `part` of it that is no secret")
			command.Completes(c, "kind", registeredKinds...)
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if err := command.OneOf("--kind", in.Kind, registeredKinds); err != nil {
				return err
			}
			if err := k.Resolve(ctx, command.Identity, &identity); err != nil {
				return err
			}
			value, err := a.secret("key: ")
			if err != nil {
				return err
			}
			in.Value = value
			if k.DryRun {
				in.Value = fmt.Sprintf("(%d characters, not shown)", len(value))
			}
			return command.Change(ctx, k, http.MethodPost, "/v1/identities/"+url.PathEscape(identity)+"/credentials/register", in, credentialColumns, nil)
		},
	})
}

// secret reads a secret from standard input, unseen when that is a terminal.
func (a *app) secret(prompt string) (string, error) {
	var text []byte
	var err error
	if f, ok := a.Std.In.(*os.File); ok && command.Terminal(f) {
		fmt.Fprint(a.Std.Err, prompt)
		text, err = term.ReadPassword(int(f.Fd()))
		a.Say("")
	} else {
		text, err = io.ReadAll(io.LimitReader(a.Std.In, command.MaxSecret+1))
	}
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case value == "":
		return "", command.Usagef("standard input is empty: pipe the key into it")
	case len(text) > command.MaxSecret:
		return "", command.Usagef("standard input is over %s: that is no key", output.Size(command.MaxSecret))
	}
	return value, nil
}

func (a *app) credentialPin() *cobra.Command {
	var consumer string
	return a.Command(command.Verb{
		Use: "pin ID --consumer ID", Short: "Bind a credential to the one workload that may use it",
		Long:    "Bind a credential to one consumer. From then on a request must carry that workload's own token\nbeside the key (Muster-Attestation); the key alone, wherever it was stolen, is not enough.",
		Example: `muster credential pin crd_gezdgnbvgy3tqojqgezdgnbvgy --consumer settler`,
		Args:    cobra.ExactArgs(1), Names: &command.Credential, Prints: output.Fields[client.Credential](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			command.NameFlag(c, &consumer, "consumer", command.Identity, "`id` or name of the identity that uses it")
			command.Required(c, "consumer")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error { return pin(ctx, k, args[0], consumer) },
	})
}

func (a *app) credentialUnpin() *cobra.Command {
	return a.Command(command.Verb{
		Use: "unpin ID", Short: "Lift the pin of a credential", Example: `muster credential unpin crd_gezdgnbvgy3tqojqgezdgnbvgy`,
		Args: cobra.ExactArgs(1), Names: &command.Credential, Prints: output.Fields[client.Credential](), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, args []string) error { return pin(ctx, k, args[0], "") },
	})
}

func pin(ctx context.Context, k *command.Call, id, consumer string) error {
	if err := errors.Join(k.Resolve(ctx, command.Credential, &id), k.Resolve(ctx, command.Identity, &consumer)); err != nil {
		return err
	}
	return command.Change(ctx, k, http.MethodPut, "/v1/credentials/"+url.PathEscape(id)+"/pin", client.PinCredential{Consumer: consumer}, credentialColumns, nil)
}
