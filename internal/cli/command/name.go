package command

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

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
)

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
// anything else is looked up, exactly, in the fields that may be its name. A
// name of several is refused, with the ids of the first few, and one of nobody
// with the way to find it. The empty word stays empty. It asks the server, with
// --dry-run as well.
func (k *Call) ID(ctx context.Context, n Noun, word string) (string, error) {
	if word == "" || strings.HasPrefix(word, n.Prefix) {
		return word, nil
	}
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
		switch len(page.Items) {
		case 0:
			continue
		case 1:
			return page.Items[0].ID, nil
		}
		var which []string
		for _, i := range page.Items {
			which = append(which, strings.TrimSpace(i.ID+" "+i.Environment.Name))
		}
		return "", Usagef("several are called %s: %s; give the id", strconv.Quote(output.Visible(word)), output.Visible(strings.Join(which, ", ")))
	}
	return "", fmt.Errorf("no %s is called %s; `muster search` finds parts of names", n.Word, strconv.Quote(output.Visible(word)))
}

// quoted is a text as one value of a filter.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
