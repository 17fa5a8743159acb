package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
)

var importColumns = []column[client.ImportResult]{
	{head: "IDENTITIES", of: func(r client.ImportResult) string { return strconv.Itoa(r.Identities) }},
	{head: "CREDENTIALS", of: func(r client.ImportResult) string { return strconv.Itoa(r.Credentials) }},
	{head: "GRANTS", of: func(r client.ImportResult) string { return strconv.Itoa(r.Grants) }},
	{head: "OWNERS", of: func(r client.ImportResult) string { return strconv.Itoa(r.Owners) }},
	{head: "CHANGED", of: func(r client.ImportResult) string { return strconv.Itoa(r.Changed) }},
	{head: "RETIRED", of: func(r client.ImportResult) string { return strconv.Itoa(r.Retired) }},
	{head: "PROBLEMS", of: func(r client.ImportResult) string { return strconv.Itoa(len(r.Problems)) }},
}

func (a *app) inventory() *cobra.Command {
	var o *output
	var r *remote
	files := map[string]*string{"authorization-details": new(string), "access-keys": new(string), "credential-report": new(string)}
	c := a.command(verb{
		use: "aws --authorization-details FILE", short: "Import what IAM tells about an AWS account",
		long: "Import the export files of one AWS account: identities, access keys, grants and owner tags.\nAll of them are applied, or none. Importing again updates what changed and retires what is gone.",
		example: `
aws iam get-account-authorization-details > details.json
aws iam list-access-keys --user-name ci > keys.json
muster inventory import aws --authorization-details details.json --access-keys keys.json
muster inventory import aws --authorization-details details.json --credential-report report.csv`,
		run: func(ctx context.Context, _ []string) error { return a.importAWS(ctx, o, r, files) },
	})
	o, r = a.output(c), a.writes(c)
	for name, doc := range map[string]string{
		"authorization-details": "output of `aws iam get-account-authorization-details`",
		"access-keys":           "output of `aws iam list-access-keys`, of one or several users",
		"credential-report":     "output of `aws iam get-credential-report`, or its CSV content",
	} {
		c.Flags().StringVar(files[name], name, "", strings.ReplaceAll(doc, "`", ""))
	}
	required(c, "authorization-details")
	imports := a.group("import", "Take in what a provider tells", `muster inventory import aws --authorization-details details.json`, c)
	return a.group("inventory", "Take in who exists", `muster inventory import aws --authorization-details details.json`, imports)
}

func (a *app) importAWS(ctx context.Context, o *output, r *remote, files map[string]*string) error {
	readers, total := map[string]io.Reader{}, int64(0)
	bar := a.progress(0)
	for form, name := range files {
		if *name == "" {
			continue
		}
		f, err := os.Open(*name)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		if info.IsDir() {
			return usagef("--%s %s: that is a folder, not a file", form, *name)
		}
		total += info.Size()
		readers[form] = bar.reader(f)
	}
	bar.total = total
	const path = "/v1/inventory/imports/aws"
	if r.dryRun {
		sent := map[string]string{}
		for form := range readers {
			sent[form] = "content of " + *files[form]
		}
		return r.plan(http.MethodPost, path, sent)
	}
	c, err := r.client()
	if err != nil {
		return err
	}
	if err := c.Get(ctx, "/v1/me", nil, nil); err != nil {
		return err
	}
	result, err := c.ImportAWS(ctx, readers)
	bar.end()
	if err != nil {
		return inputError{fmt.Errorf("import: %w", named(err, files))}
	}
	for _, p := range result.Problems {
		a.say("left out: %s", visible(inFile(p, files)))
	}
	return one(o, result, importColumns)
}

// named puts the file's own name where the server, which does not know it,
// says the form.
func named(err error, files map[string]*string) error {
	var refused *client.Error
	if !errors.As(err, &refused) {
		return err
	}
	told := *refused
	told.Detail = inFile(told.Detail, files)
	return &told
}

func inFile(text string, files map[string]*string) string {
	for form, name := range files {
		if rest, ok := strings.CutPrefix(text, form+":"); ok && *name != "" {
			return *name + ":" + rest
		}
	}
	return text
}

var identityColumns = []column[client.Identity]{
	{head: "ID", of: func(i client.Identity) string { return i.ID }},
	{head: "NAME", of: func(i client.Identity) string { return i.Name }},
	{head: "KIND", of: func(i client.Identity) string { return i.Kind }},
	{head: "ENVIRONMENT", of: func(i client.Identity) string { return i.Environment.Name }},
	{head: "OWNER", of: func(i client.Identity) string { return i.Owner.Ref }},
	{head: "STATE", of: func(i client.Identity) string { return i.State }},
	{head: "RISK", of: func(i client.Identity) string { return strconv.Itoa(i.Risk) }},
	{head: "LAST SEEN", of: func(i client.Identity) string { return whenever(i.LastSeen) }},
	{head: "CLASS", of: func(i client.Identity) string { return i.Environment.Class }, wide: true},
	{head: "SHADOW", of: func(i client.Identity) string { return yes(i.Shadow) }, wide: true},
	{head: "ATTESTABLE", of: func(i client.Identity) string { return yes(i.Attestable) }, wide: true},
	{head: "PROVIDER", of: func(i client.Identity) string { return i.Provider }, wide: true},
	{head: "ACCOUNT", of: func(i client.Identity) string { return i.Account }, wide: true},
	{head: "NATIVE ID", of: func(i client.Identity) string { return i.Native }, wide: true},
	{head: "PATH", of: func(i client.Identity) string { return i.Path }, wide: true},
	{head: "OWNER BY", of: func(i client.Identity) string { return i.Owner.Source }, wide: true},
	{head: "FIRST SEEN", of: func(i client.Identity) string { return whenever(i.FirstSeen) }, wide: true},
	{head: "CREATED", of: func(i client.Identity) string { return whenever(i.Created) }, wide: true},
}

var states = []string{"active", "dormant", "quarantined", "deprecated", "retired"}
var ownKinds = []string{"service-account", "workload", "ci-job", "agent"}

func (a *app) identity() *cobra.Command {
	return a.group("identity", "The identities that are no people", `
muster identity list --unowned
muster identity create --name settler --environment prod --owner mara@example.com`,
		a.identityList(), a.identityShow(), a.identityCreate(), a.identityOwner())
}

func (a *app) identityList() *cobra.Command {
	var o *output
	var r *remote
	var query, kind, environment, owner, state string
	var unowned, shadow bool
	var limit int
	c := a.command(verb{
		use: "list", short: "List identities",
		example: `
muster identity list
muster identity list --query payments --environment prod
muster identity list --unowned -o csv > unowned.csv
muster identity list --jq '[.[] | select(.risk > 50)] | length'`,
		run: func(ctx context.Context, _ []string) error {
			q := url.Values{"q": {query}, "kind": {kind}, "environment": {environment}, "owner": {owner}, "state": {state}}
			if unowned {
				q.Set("unowned", "true")
			}
			if shadow {
				q.Set("shadow", "true")
			}
			items, more, err := pages[client.Identity](ctx, r, "/v1/identities", q, limit)
			if err != nil {
				return err
			}
			if more {
				a.say("there are more than %d; --limit 0 lists all", limit)
			}
			return list(o, items, identityColumns)
		},
	})
	o, r = a.output(c), a.remote(c)
	f := c.Flags()
	f.StringVarP(&query, "query", "q", "", "words; each must begin a word of name, path, native id, account or owner")
	f.StringVar(&kind, "kind", "", "only this kind")
	f.StringVar(&environment, "environment", "", "only this environment")
	f.StringVar(&owner, "owner", "", "only those of this owner")
	f.StringVar(&state, "state", "", "only this state: "+strings.Join(states, ", "))
	f.BoolVar(&unowned, "unowned", false, "only those that nobody answers for")
	f.BoolVar(&shadow, "shadow", false, "only those seen acting that no inventory knows")
	f.IntVar(&limit, "limit", 0, "how many at most; 0 means all")
	complete(c, "state", states...)
	return c
}

func (a *app) identityShow() *cobra.Command {
	var o *output
	var r *remote
	c := a.command(verb{
		use: "show ID", short: "Show one identity with its credentials, grants, owners and what is normal for it",
		example: `
muster identity show nhi_mzxw6ytboi2dgnbvgy3tqobzge
muster identity show nhi_mzxw6ytboi2dgnbvgy3tqobzge -o json --jq .reach`,
		args: cobra.ExactArgs(1),
		run: func(ctx context.Context, args []string) error {
			var d client.IdentityDetail
			if err := r.get(ctx, "/v1/identities/"+url.PathEscape(args[0]), nil, &d); err != nil {
				return err
			}
			if o.structured() {
				return o.object(d)
			}
			return a.detail(o, d)
		},
	})
	o, r = a.output(c), a.remote(c)
	return c
}

func (a *app) detail(o *output, d client.IdentityDetail) error {
	if err := one(o, d.Identity, identityColumns); err != nil || o.format == "csv" {
		return err
	}
	if len(d.Credentials) > 0 {
		fmt.Fprintln(a.std.Out)
		if err := list(o, d.Credentials, credentialColumns); err != nil {
			return err
		}
	}
	if len(d.Grants) > 0 {
		fmt.Fprintln(a.std.Out)
		if err := list(o, d.Grants, []column[client.Grant]{
			{head: "GRANT", of: func(g client.Grant) string { return g.Name }},
			{head: "KIND", of: func(g client.Grant) string { return g.Kind }},
			{head: "ADMIN", of: func(g client.Grant) string { return yes(g.Admin) }},
		}); err != nil {
			return err
		}
	}
	if len(d.Normal) > 0 {
		fmt.Fprintln(a.std.Out)
		if err := list(o, d.Normal, []column[client.Normal]{
			{head: "NORMAL", of: func(n client.Normal) string { return n.Feature }},
			{head: "USUAL", of: func(n client.Normal) string { return strings.Join(n.Usual, ", ") }},
		}); err != nil {
			return err
		}
	}
	if len(d.Reach) > 0 {
		fmt.Fprintln(a.std.Out)
		return list(o, d.Reach, []column[string]{{head: "REACHES", of: func(s string) string { return s }}})
	}
	return nil
}

func (a *app) identityCreate() *cobra.Command {
	var o *output
	var r *remote
	var in client.CreateIdentity
	c := a.command(verb{
		use: "create --name NAME --environment ENVIRONMENT", short: "Create an identity of Muster's own",
		example: `
muster identity create --name settler --environment prod --owner mara@example.com
muster identity create --name nightly --environment staging --owner team:payments --kind ci-job -o json`,
		run: func(ctx context.Context, _ []string) error {
			if !slices.Contains(ownKinds, in.Kind) {
				return usagef("--kind %s: want one of %s", in.Kind, strings.Join(ownKinds, ", "))
			}
			var out client.Identity
			if sent, err := r.send(ctx, http.MethodPost, "/v1/identities", in, &out); err != nil || !sent {
				return err
			}
			if in.Owner == "" {
				a.say("nobody answers for it yet: muster identity set-owner %s OWNER", out.ID)
			}
			return one(o, out, identityColumns)
		},
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringVar(&in.Name, "name", "", "what people call it")
	c.Flags().StringVar(&in.Environment, "environment", "", "environment it belongs to")
	c.Flags().StringVar(&in.Owner, "owner", "", "e-mail address or team:x that answers for it")
	c.Flags().StringVar(&in.Kind, "kind", ownKinds[0], "kind: "+strings.Join(ownKinds, ", "))
	required(c, "name", "environment")
	complete(c, "kind", ownKinds...)
	return c
}

func (a *app) identityOwner() *cobra.Command {
	var o *output
	var r *remote
	var owner string
	c := a.command(verb{
		use: "set-owner ID OWNER", short: "Say who answers for an identity",
		example: `
muster identity set-owner nhi_mzxw6ytboi2dgnbvgy3tqobzge mara@example.com
muster identity set-owner nhi_mzxw6ytboi2dgnbvgy3tqobzge team:payments`,
		args: cobra.RangeArgs(1, 2),
		run: func(ctx context.Context, args []string) error {
			if len(args) == 2 {
				owner = args[1]
			}
			if owner == "" {
				return usagef("who? Give an e-mail address or team:x")
			}
			var out client.Identity
			if sent, err := r.send(ctx, http.MethodPut, "/v1/identities/"+url.PathEscape(args[0])+"/owner", client.SetOwner{Owner: owner}, &out); err != nil || !sent {
				return err
			}
			return one(o, out, identityColumns)
		},
	})
	o, r = a.output(c), a.writes(c)
	c.Flags().StringVar(&owner, "owner", "", "the same as the second argument")
	return c
}
