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

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var importColumns = output.Columns[client.ImportResult]("identities credentials grants owners changed retired problems")

func (a *app) inventory() *cobra.Command {
	files := map[string]*string{"authorization-details": new(string), "access-keys": new(string), "credential-report": new(string)}
	c := a.Command(command.Verb{
		Use: "aws --authorization-details FILE", Short: "Import what IAM tells about an AWS account",
		Long: "Import the export files of one AWS account: identities, access keys, grants and owner tags.\nAll of them are applied, or none. Importing again updates what changed and retires what is gone.\nWith --dry-run the server says what would change and changes nothing; other writes wait for as\nlong as the import would take.",
		Example: `
aws iam get-account-authorization-details > details.json
aws iam list-access-keys --user-name ci > keys.json
muster inventory import aws --authorization-details details.json --access-keys keys.json --dry-run
muster inventory import aws --authorization-details details.json --access-keys keys.json
muster inventory import aws --authorization-details details.json --credential-report report.csv`,
		Prints: append(output.Fields[client.ImportResult](), "missing", "changes"), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.StringVar(files["authorization-details"], "authorization-details", "", "`file` with the output of aws iam get-account-authorization-details")
			f.StringVar(files["access-keys"], "access-keys", "", "`file` with the output of aws iam list-access-keys, of one or several users")
			f.StringVar(files["credential-report"], "credential-report", "", "`file` with the output of aws iam get-credential-report, or its CSV content")
			command.Required(c, "authorization-details")
			f.Lookup("dry-run").Usage = "show what would change, and change nothing"
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error { return importAWS(ctx, k, files) },
	})
	imports := a.Group("import", "Take in what a provider tells", `muster inventory import aws --authorization-details details.json`, c)
	return a.Group("inventory", "Take in who exists", `muster inventory import aws --authorization-details details.json`, imports)
}

func importAWS(ctx context.Context, k *command.Call, files map[string]*string) error {
	readers := map[string]io.Reader{}
	bar := k.Bar(0)
	for form, name := range files {
		if *name == "" {
			continue
		}
		f, err := openFile(*name)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			bar.Total += info.Size()
		}
		readers[form] = bar.Reader(f)
	}
	c, err := k.Client()
	if err != nil {
		return err
	}
	// Asking first spares a long upload that ends in a refusal.
	if err := c.Get(ctx, "/v1/me", nil, nil); err != nil {
		return err
	}
	if k.DryRun {
		return previewAWS(ctx, k, c, files, readers, bar)
	}
	result, err := c.ImportAWS(ctx, readers)
	bar.End()
	if err != nil {
		return command.InputError{Err: fmt.Errorf("import: %w", named(err, files))}
	}
	for _, p := range result.Problems {
		k.Say("left out: %s", output.Visible(inFile(p, files)))
	}
	return output.One(k.Out, result, importColumns)
}

// A difference is a line of what an import would change.
type difference struct {
	What string `json:"what"`
	client.Difference
	Missing string `json:"missing"`
}

var (
	differenceColumns = output.Columns[difference]("would_be=what new changed gone missing unchanged")
	plannedColumns    = append(output.Columns[client.Planned]("change what name | id identity"), output.Column[client.Planned]{
		Head: "DIFFERS IN", Of: func(p client.Planned) string { return strings.Join(p.Fields, ", ") },
	})
)

func previewAWS(ctx context.Context, k *command.Call, c *client.Client, files map[string]*string, readers map[string]io.Reader, bar *output.Bar) error {
	p, err := c.PreviewAWS(ctx, readers)
	bar.End()
	var refused *client.Error
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusMethodNotAllowed) {
		return errors.New("import: this server is of an older release and cannot say what an import would change; nothing was changed")
	}
	if err != nil {
		return command.InputError{Err: fmt.Errorf("import: %w", named(err, files))}
	}
	for _, problem := range p.Problems {
		k.Say("would be left out: %s", output.Visible(inFile(problem, files)))
	}
	k.Say("dry run: nothing was changed")
	if k.Out.Structured() {
		return k.Out.Object(p)
	}
	return errors.Join(output.List(k.Out, []difference{
		{"identities", p.Identities, strconv.Itoa(p.Missing)}, {"credentials", p.Credentials, ""}, {"grants", p.Grants, ""},
	}, differenceColumns), more(k, p.Changes, plannedColumns))
}

// openFile opens a file for reading, and nothing else that has a name.
func openFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return nil, errors.Join(err, fmt.Errorf("%s is a folder: name the files in it", name), f.Close())
	}
	return f, nil
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

var identityColumns = output.Columns[client.Identity]("id name kind environment=environment.name owner=owner.ref state risk last_seen | class=environment.class shadow attestable provider account native path owner_by=owner.source first_seen created")

var (
	states   = []string{"active", "dormant", "quarantined", "deprecated", "retired"}
	ownKinds = []string{"service-account", "workload", "ci-job", "agent"}
)

func (a *app) identity() *cobra.Command {
	return a.Group("identity", "The identities that are no people", `
muster identity list --unowned
muster identity create --name settler --environment prod --owner mara@example.com`,
		a.identityList(), a.identityShow(), a.identityCreate(), a.identityOwner())
}

func (a *app) identityList() *cobra.Command {
	var query, kind, environment, owner, state string
	var unowned, shadow bool
	var limit int
	var narrow command.Narrowing
	return a.Command(command.Verb{
		Use: "list", Short: "List identities",
		Example: `
muster identity list
muster identity list --query payments --environment prod
muster identity list --unowned -o csv > unowned.csv
muster identity list --filter 'environment:prod -owner:* last_used<90d' --order -risk
muster identity list --jq '[.[] | select(.risk > 50)] | length'`,
		Prints: output.Fields[client.Identity](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			narrow.FilterFlag(c, "kind:iam-user -owner:* risk>=50")
			narrow.OrderFlag(c, "name", "risk", "last_used", "created")
			f.StringVarP(&query, "query", "q", "", "`words`; each must begin a word of name, path, native id, account or owner")
			f.StringVar(&kind, "kind", "", "only this `kind`")
			f.StringVar(&environment, "environment", "", "only this `environment`")
			f.StringVar(&owner, "owner", "", "only those of this `owner`")
			f.StringVar(&state, "state", "", "only this `state`: "+strings.Join(states, ", "))
			f.BoolVar(&unowned, "unowned", false, "only those that nobody answers for")
			f.BoolVar(&shadow, "shadow", false, "only those seen acting that no inventory knows")
			command.LimitFlag(c, &limit)
			command.Completes(c, "state", states...)
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			q := url.Values{"q": {query}, "kind": {kind}, "environment": {environment}, "owner": {owner}, "state": {state}}
			if unowned {
				q.Set("unowned", "true")
			}
			if shadow {
				q.Set("shadow", "true")
			}
			return command.Pages(ctx, k, "/v1/identities", narrow.Of(q), limit, identityColumns)
		},
	})
}

func (a *app) identityShow() *cobra.Command {
	return a.Command(command.Verb{
		Use: "show ID", Short: "Show one identity, by its id or name, with its credentials, grants, owners and what is normal for it",
		Example: `
muster identity show settler
muster identity show nhi_mzxw6ytboi2dgnbvgy3tqobzge -o json --jq .reach`,
		Args: cobra.ExactArgs(1), Names: &command.Identity, Prints: output.Fields[client.IdentityDetail](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			id, err := k.ID(ctx, command.Identity, args[0])
			if err != nil {
				return err
			}
			var d client.IdentityDetail
			if err := k.Get(ctx, "/v1/identities/"+url.PathEscape(id), nil, &d); err != nil {
				return err
			}
			if k.Out.Structured() {
				return k.Out.Object(d)
			}
			return errors.Join(
				output.One(k.Out, d.Identity, identityColumns),
				more(k, d.Credentials, credentialColumns),
				more(k, d.Grants, output.Columns[client.Grant]("grant=name kind admin")),
				more(k, d.Owners, output.Columns[client.OwnerEvidence]("owner source detail at")),
				more(k, d.Normal, output.Columns[client.Normal]("normal=feature usual")),
				more(k, d.Reach, []output.Column[string]{{Head: "REACHES", Of: func(s string) string { return s }}}),
			)
		},
	})
}

func (a *app) identityCreate() *cobra.Command {
	var in client.CreateIdentity
	return a.Command(command.Verb{
		Use: "create --name NAME --environment ENVIRONMENT", Short: "Create an identity of Muster's own",
		Example: `
muster identity create --name settler --environment prod --owner mara@example.com
muster identity create --name nightly --environment staging --owner team:payments --kind ci-job -o json`,
		Prints: output.Fields[client.Identity](), Talks: command.Writes,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.StringVar(&in.Name, "name", "", "what people call it")
			f.StringVar(&in.Environment, "environment", "", "`environment` it belongs to")
			f.StringVar(&in.Owner, "owner", "", "`e-mail` address or team:x that answers for it")
			f.StringVar(&in.Kind, "kind", ownKinds[0], "`kind`: "+strings.Join(ownKinds, ", "))
			command.Required(c, "name", "environment")
			command.Completes(c, "kind", ownKinds...)
		},
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			if err := command.OneOf("--kind", in.Kind, ownKinds); err != nil {
				return err
			}
			return command.Change(ctx, k, http.MethodPost, "/v1/identities", in, identityColumns, func(i client.Identity) {
				if in.Owner == "" {
					a.Say("nobody answers for it yet: muster identity set-owner %s OWNER", output.Visible(i.ID))
				}
			})
		},
	})
}

func (a *app) identityOwner() *cobra.Command {
	var owner string
	return a.Command(command.Verb{
		Use: "set-owner ID OWNER", Short: "Say who answers for an identity",
		Example: `
muster identity set-owner settler mara@example.com
muster identity set-owner nhi_mzxw6ytboi2dgnbvgy3tqobzge team:payments`,
		Args: cobra.RangeArgs(1, 2), Names: &command.Identity, Prints: output.Fields[client.Identity](), Talks: command.Writes,
		Flags: func(c *cobra.Command) { c.Flags().StringVar(&owner, "owner", "", "the same as the second argument") },
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			if len(args) == 2 {
				owner = args[1]
			}
			if owner == "" {
				return command.Usagef("who? Give an e-mail address or team:x")
			}
			id, err := k.ID(ctx, command.Identity, args[0])
			if err != nil {
				return err
			}
			return command.Change(ctx, k, http.MethodPut, "/v1/identities/"+url.PathEscape(id)+"/owner", client.SetOwner{Owner: owner}, identityColumns, nil)
		},
	})
}
