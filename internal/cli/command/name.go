package command

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/output"
)

// A Noun is something that people call by a name and the server by an id.
type Noun struct {
	Word   string   // singular, for people
	Prefix string   // of an id
	List   string   // path of its list
	Fields []string // of the filter language that may be the name, the commonest first
}

// What may be named on the command line.
var (
	Identity   = Noun{"identity", "nhi_", "/v1/identities", []string{"name", "path", "native"}}
	Credential = Noun{"credential", "crd_", "/v1/credentials", []string{"public_id"}}
	Point      = Noun{"point", "nhi_", "/v1/points", []string{"name"}}
)

// nounFlag marks a flag that names something.
const nounFlag = "muster_noun"

// NameFlag gives a command a flag that names something. A shell completes it;
// [Call.Resolve] makes an id of it.
func NameFlag(c *cobra.Command, at *string, flag string, n Noun, doc string) {
	c.Flags().StringVar(at, flag, "", doc)
	if err := c.Flags().SetAnnotation(flag, nounFlag, []string{n.Word}); err != nil {
		panic(err) // a flag that is not there: any test of the command finds it
	}
}

// completeNames has a shell complete what names something.
func (k *Call) completeNames(argument *Noun) {
	if argument != nil {
		k.Cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return k.suggest(cmd.Context(), *argument, begun)
		}
	}
	k.Cmd.Flags().VisitAll(func(f *pflag.Flag) {
		for _, n := range []Noun{Identity, Credential, Point} {
			if !slices.Contains(f.Annotations[nounFlag], n.Word) {
				continue
			}
			err := k.Cmd.RegisterFlagCompletionFunc(f.Name, func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
				return k.suggest(cmd.Context(), n, begun)
			})
			if err != nil {
				panic(err) // as above
			}
		}
	})
}

// suggestWithin is how long somebody who pressed Tab waits.
const suggestWithin = 2 * time.Second

// suggest returns names that begin so, with what tells them apart. A server that
// does not answer suggests nothing: a shell has no place for an error.
func (k *Call) suggest(ctx context.Context, n Noun, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, suggestWithin)
	defer cancel()
	query := url.Values{"limit": {"50"}}
	if begun != "" {
		if strings.ContainsAny(begun, "\"\\*:, \t") {
			return nil, cobra.ShellCompDirectiveNoFileComp // the filter language has no beginning of a quoted text
		}
		query.Set("filter", n.Fields[0]+":"+begun+"*")
	}
	var page client.Page[map[string]any]
	if k.Get(ctx, n.List, query, &page) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveError
	}
	var out []cobra.Completion
	for _, item := range page.Items {
		name, _ := item[n.Fields[0]].(string)
		about, _ := item["kind"].(string)
		if name != "" && name == output.Visible(name) { // what a shell would have to show as it is
			out = append(out, cobra.CompletionWithDesc(name, about))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// Resolve replaces each word by the id of what it names; see [Call.ID].
func (k *Call) Resolve(ctx context.Context, n Noun, words ...*string) error {
	for _, w := range words {
		id, err := k.ID(ctx, n, *w)
		if err != nil {
			return err
		}
		*w = id
	}
	return nil
}

// ID returns the id of what a person named: an id is returned as it is, and
// anything else is looked up, exactly, in all fields that may be its name. A
// name of several is refused, with the ids of the first few, and one of nobody
// with the way to find it: whoever may choose the name of one thing must not get
// what was meant for another by the name that this has in another field. The
// empty word stays empty. It asks the server, with --dry-run as well.
func (k *Call) ID(ctx context.Context, n Noun, word string) (string, error) {
	if word == "" || strings.HasPrefix(word, n.Prefix) {
		return word, nil
	}
	id, which := "", map[string]string{}
	for _, field := range n.Fields {
		var page client.Page[struct {
			ID          string `json:"id"`
			Environment struct {
				Name string `json:"name"`
			} `json:"environment"`
		}]
		query := url.Values{"filter": {field + ":" + quoted(word)}, "limit": {"4"}}
		if err := k.Get(ctx, n.List, query, &page); err != nil {
			return "", err
		}
		for _, i := range page.Items {
			id = i.ID
			which[i.ID] = strings.TrimSpace(i.ID + " " + i.Environment.Name)
		}
	}
	switch len(which) {
	case 0:
		return "", fmt.Errorf("no %s is called %s; `muster search` finds parts of names", n.Word, strconv.Quote(output.Visible(word)))
	case 1:
		return id, nil
	}
	all := slices.Sorted(maps.Values(which))
	return "", Usagef("several are called %s: %s; give the id", strconv.Quote(output.Visible(word)), output.Visible(strings.Join(all, ", ")))
}

// quoted is a text as one value of a filter.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
