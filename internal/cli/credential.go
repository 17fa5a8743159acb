package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/output"
)

var credentialColumns = output.Columns[client.Credential]("id kind public_id state expires last_used | reason consumer recognisable=known identity created")

func (a *app) credential() *cobra.Command {
	return a.group("credential", "The keys that prove identities", `
muster credential create --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge
muster credential list --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge`,
		a.credentialList(), a.credentialShow(), a.credentialCreate(), a.credentialRegister(), a.credentialPin(), a.credentialUnpin())
}

func (a *app) credentialList() *cobra.Command {
	var identity string
	return a.command(verb{
		use: "list --identity ID", short: "List the credentials of an identity",
		example: `
muster credential list --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge
muster credential list --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --json id,state`,
		prints: output.Fields[client.Credential](), talks: reads,
		flags: func(c *cobra.Command) { identityFlag(c, &identity) },
		run: func(ctx context.Context, k *call, _ []string) error {
			var d client.IdentityDetail
			if err := k.get(ctx, "/v1/identities/"+url.PathEscape(identity), nil, &d); err != nil {
				return err
			}
			return output.List(k.out, d.Credentials, credentialColumns)
		},
	})
}

func identityFlag(c *cobra.Command, identity *string) {
	c.Flags().StringVar(identity, "identity", "", "`id` of the identity")
	required(c, "identity")
}

func (a *app) credentialShow() *cobra.Command {
	return a.command(verb{
		use: "show ID", short: "Show one credential",
		example: `
muster credential show crd_gezdgnbvgy3tqojqgezdgnbvgy
muster credential show crd_gezdgnbvgy3tqojqgezdgnbvgy --jq .state`,
		args: cobra.ExactArgs(1), prints: output.Fields[client.Credential](), talks: reads,
		run: func(ctx context.Context, k *call, args []string) error {
			_, err := show(ctx, k, "/v1/credentials/"+url.PathEscape(args[0]), credentialColumns)
			return err
		},
	})
}

func (a *app) credentialCreate() *cobra.Command {
	var identity string
	var expires time.Duration
	return a.command(verb{
		use: "create --identity ID", short: "Create an API key and show it for the only time",
		long: "Create an API key. Muster keeps what is needed to check it and to recognise it when it leaks,\nnever the key itself: it is shown now and never again.",
		example: `
muster credential create --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --expires-in 24h
muster credential create --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --jq .key > app.key`,
		prints: output.Fields[client.NewCredential](), talks: writes,
		flags: func(c *cobra.Command) {
			identityFlag(c, &identity)
			c.Flags().DurationVar(&expires, "expires-in", 0, "how `long` it lives, like 24h; 0 means until it is revoked")
		},
		run: func(ctx context.Context, k *call, _ []string) error {
			if expires < 0 || expires%time.Second != 0 {
				return usagef("--expires-in %s: want whole seconds, and not negative", expires)
			}
			in := client.CreateCredential{ExpiresIn: int64(expires / time.Second)}
			return change(ctx, k, http.MethodPost, "/v1/identities/"+url.PathEscape(identity)+"/credentials", in,
				output.Columns[client.NewCredential]("id identity key"), func(client.NewCredential) { a.shownOnce() })
		},
	})
}

var registeredKinds = []string{"registered-key", "aws-access-key"}

func (a *app) credentialRegister() *cobra.Command {
	var identity string
	var in client.RegisterCredential
	return a.command(verb{
		use: "register --identity ID", short: "Register an existing key, read from standard input",
		long: "Register a key that somebody else issued, so that it is recognised when it leaks. The value is\nread from standard input, never from an argument, and is not kept. Of an AWS access key, give\nthe secret as the value and the access key id as --public-id.",
		example: `
muster credential register --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge < partner.key
pass aws/ci | muster credential register --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --kind aws-access-key --public-id AKIA...`,
		prints: output.Fields[client.Credential](), talks: writes,
		flags: func(c *cobra.Command) {
			identityFlag(c, &identity)
			c.Flags().StringVar(&in.Kind, "kind", registeredKinds[0], "`kind`: "+strings.Join(registeredKinds, ", "))
			c.Flags().StringVar(&in.PublicID, "public-id", "", "the `part` of it that is no secret")
			completes(c, "kind", registeredKinds...)
		},
		run: func(ctx context.Context, k *call, _ []string) error {
			if err := oneOf("--kind", in.Kind, registeredKinds); err != nil {
				return err
			}
			value, err := a.secret("key: ")
			if err != nil {
				return err
			}
			in.Value = value
			if k.dryRun {
				in.Value = fmt.Sprintf("(%d characters, not shown)", len(value))
			}
			return change(ctx, k, http.MethodPost, "/v1/identities/"+url.PathEscape(identity)+"/credentials/register", in, credentialColumns, nil)
		},
	})
}

// secret reads a secret from standard input, unseen when that is a terminal.
func (a *app) secret(prompt string) (string, error) {
	var text []byte
	var err error
	if f, ok := a.std.In.(*os.File); ok && terminal(f) {
		fmt.Fprint(a.std.Err, prompt)
		text, err = term.ReadPassword(int(f.Fd()))
		a.say("")
	} else {
		text, err = io.ReadAll(io.LimitReader(a.std.In, maxSecret+1))
	}
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case value == "":
		return "", usagef("standard input is empty: pipe the key into it")
	case len(text) > maxSecret:
		return "", usagef("standard input is over %s: that is no key", output.Size(maxSecret))
	}
	return value, nil
}

func (a *app) credentialPin() *cobra.Command {
	var consumer string
	return a.command(verb{
		use: "pin ID --consumer ID", short: "Bind a credential to the one workload that may use it",
		long:    "Bind a credential to one consumer. From then on a request must carry that workload's own token\nbeside the key (Muster-Attestation); the key alone, wherever it was stolen, is not enough.",
		example: `muster credential pin crd_gezdgnbvgy3tqojqgezdgnbvgy --consumer nhi_mzxw6ytboi2dgnbvgy3tqobzge`,
		args:    cobra.ExactArgs(1), prints: output.Fields[client.Credential](), talks: writes,
		flags: func(c *cobra.Command) {
			c.Flags().StringVar(&consumer, "consumer", "", "`id` of the identity that uses it")
			required(c, "consumer")
		},
		run: func(ctx context.Context, k *call, args []string) error { return k.pin(ctx, args[0], consumer) },
	})
}

func (a *app) credentialUnpin() *cobra.Command {
	return a.command(verb{
		use: "unpin ID", short: "Lift the pin of a credential", example: `muster credential unpin crd_gezdgnbvgy3tqojqgezdgnbvgy`,
		args: cobra.ExactArgs(1), prints: output.Fields[client.Credential](), talks: writes,
		run: func(ctx context.Context, k *call, args []string) error { return k.pin(ctx, args[0], "") },
	})
}

func (k *call) pin(ctx context.Context, id, consumer string) error {
	return change(ctx, k, http.MethodPut, "/v1/credentials/"+url.PathEscape(id)+"/pin", client.PinCredential{Consumer: consumer}, credentialColumns, nil)
}
