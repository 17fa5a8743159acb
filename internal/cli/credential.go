package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-id/muster/client"
)

var credentialColumns = []column[client.Credential]{
	{head: "ID", of: func(c client.Credential) string { return c.ID }},
	{head: "KIND", of: func(c client.Credential) string { return c.Kind }},
	{head: "PUBLIC ID", of: func(c client.Credential) string { return c.PublicID }},
	{head: "STATE", of: func(c client.Credential) string { return c.State }},
	{head: "EXPIRES", of: func(c client.Credential) string { return whenever(c.Expires) }},
	{head: "LAST USED", of: func(c client.Credential) string { return whenever(c.LastUsed) }},
	{head: "REASON", of: func(c client.Credential) string { return c.Reason }, wide: true},
	{head: "CONSUMER", of: func(c client.Credential) string { return c.Consumer }, wide: true},
	{head: "RECOGNISABLE", of: func(c client.Credential) string { return yes(c.Known) }, wide: true},
	{head: "IDENTITY", of: func(c client.Credential) string { return c.Identity }, wide: true},
	{head: "CREATED", of: func(c client.Credential) string { return whenever(c.Created) }, wide: true},
}

func (a *app) credential() *cobra.Command {
	return a.group("credential", "The keys that prove identities", `
muster credential create --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge
muster credential list --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge`,
		a.credentialList(), a.credentialShow(), a.credentialCreate(), a.credentialRegister(), a.credentialPin(), a.credentialUnpin())
}

func (a *app) credentialList() *cobra.Command {
	var o *output
	var r *remote
	var identity string
	c := a.command(verb{
		use: "list --identity ID", short: "List the credentials of an identity",
		example: `
muster credential list --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge
muster credential list --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --json id,state`,
		run: func(ctx context.Context, _ []string) error {
			var d client.IdentityDetail
			if err := r.get(ctx, "/v1/identities/"+url.PathEscape(identity), nil, &d); err != nil {
				return err
			}
			return list(o, d.Credentials, credentialColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	c.Flags().StringVar(&identity, "identity", "", "id of the identity")
	required(c, "identity")
	return c
}

func (a *app) credentialShow() *cobra.Command {
	var o *output
	var r *remote
	c := a.command(verb{
		use: "show ID", short: "Show one credential", args: cobra.ExactArgs(1),
		example: `
muster credential show crd_gezdgnbvgy3tqojqgezdgnbvgy
muster credential show crd_gezdgnbvgy3tqojqgezdgnbvgy --jq .state`,
		run: func(ctx context.Context, args []string) error {
			var out client.Credential
			if err := r.get(ctx, "/v1/credentials/"+url.PathEscape(args[0]), nil, &out); err != nil {
				return err
			}
			return one(o, out, credentialColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	return c
}

func (a *app) credentialCreate() *cobra.Command {
	var o *output
	var r *remote
	var identity string
	var expires time.Duration
	c := a.command(verb{
		use: "create --identity ID", short: "Create an API key and show it for the only time",
		long: "Create an API key. Muster keeps what is needed to check it and to recognise it when it leaks,\nnever the key itself: it is shown now and never again.",
		example: `
muster credential create --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --expires-in 24h
muster credential create --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --jq .key > app.key`,
		run: func(ctx context.Context, _ []string) error {
			if expires < 0 || expires%time.Second != 0 {
				return usagef("--expires-in %s: want whole seconds, and not negative", expires)
			}
			var out client.NewCredential
			in := client.CreateCredential{ExpiresIn: int64(expires / time.Second)}
			if sent, err := r.send(ctx, http.MethodPost, "/v1/identities/"+url.PathEscape(identity)+"/credentials", in, &out); err != nil || !sent {
				return err
			}
			a.say("keep the key now: it is not shown again")
			return one(o, out, []column[client.NewCredential]{
				{head: "ID", of: func(c client.NewCredential) string { return c.ID }},
				{head: "IDENTITY", of: func(c client.NewCredential) string { return c.Identity }},
				{head: "KEY", of: func(c client.NewCredential) string { return c.Key }},
			})
		},
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringVar(&identity, "identity", "", "id of the identity")
	c.Flags().DurationVar(&expires, "expires-in", 0, "how long it lives, like 24h; 0 means until it is revoked")
	required(c, "identity")
	return c
}

var registeredKinds = []string{"registered-key", "aws-access-key"}

func (a *app) credentialRegister() *cobra.Command {
	var o *output
	var r *remote
	var identity string
	var in client.RegisterCredential
	c := a.command(verb{
		use: "register --identity ID", short: "Register an existing key, read from standard input",
		long: "Register a key that somebody else issued, so that it is recognised when it leaks. The value is\nread from standard input, never from an argument, and is not kept. Of an AWS access key, give\nthe secret as the value and the access key id as --public-id.",
		example: `
muster credential register --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge < partner.key
pass aws/ci | muster credential register --identity nhi_mzxw6ytboi2dgnbvgy3tqobzge --kind aws-access-key --public-id AKIA...`,
		run: func(ctx context.Context, _ []string) error {
			if !slices.Contains(registeredKinds, in.Kind) {
				return usagef("--kind %s: want one of %s", in.Kind, strings.Join(registeredKinds, ", "))
			}
			path := "/v1/identities/" + url.PathEscape(identity) + "/credentials/register"
			value, err := a.secret("key: ")
			if err != nil {
				return err
			}
			if r.dryRun {
				in.Value = fmt.Sprintf("(%d characters, not shown)", len(value))
				return r.plan(http.MethodPost, path, in)
			}
			in.Value = value
			var out client.Credential
			if _, err := r.send(ctx, http.MethodPost, path, in, &out); err != nil {
				return err
			}
			return one(o, out, credentialColumns)
		},
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringVar(&identity, "identity", "", "id of the identity")
	c.Flags().StringVar(&in.Kind, "kind", registeredKinds[0], "kind: "+strings.Join(registeredKinds, ", "))
	c.Flags().StringVar(&in.PublicID, "public-id", "", "the part of it that is no secret")
	required(c, "identity")
	complete(c, "kind", registeredKinds...)
	return c
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
		return "", usagef("standard input is over %s: that is no key", size(maxSecret))
	}
	return value, nil
}

func (a *app) credentialPin() *cobra.Command {
	var o *output
	var r *remote
	var consumer string
	c := a.command(verb{
		use: "pin ID --consumer ID", short: "Bind a credential to the one workload that may use it",
		long:    "Bind a credential to one consumer. From then on a request must carry that workload's own token\nbeside the key (Muster-Attestation); the key alone, wherever it was stolen, is not enough.",
		example: `muster credential pin crd_gezdgnbvgy3tqojqgezdgnbvgy --consumer nhi_mzxw6ytboi2dgnbvgy3tqobzge`,
		args:    cobra.ExactArgs(1),
		run:     func(ctx context.Context, args []string) error { return a.pin(ctx, o, r, args[0], consumer) },
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringVar(&consumer, "consumer", "", "id of the identity that uses it")
	required(c, "consumer")
	return c
}

func (a *app) credentialUnpin() *cobra.Command {
	var o *output
	var r *remote
	c := a.command(verb{
		use: "unpin ID", short: "Lift the pin of a credential", args: cobra.ExactArgs(1),
		example: `muster credential unpin crd_gezdgnbvgy3tqojqgezdgnbvgy`,
		run:     func(ctx context.Context, args []string) error { return a.pin(ctx, o, r, args[0], "") },
	})
	o, r = a.output(c), a.writes(c)
	return c
}

func (a *app) pin(ctx context.Context, o *output, r *remote, id, consumer string) error {
	var out client.Credential
	path := "/v1/credentials/" + url.PathEscape(id) + "/pin"
	if sent, err := r.send(ctx, http.MethodPut, path, client.PinCredential{Consumer: consumer}, &out); err != nil || !sent {
		return err
	}
	return one(o, out, credentialColumns)
}
