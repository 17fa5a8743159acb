package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/output"
)

const DefaultServer = "http://127.0.0.1:8700"

// A Remote is the server that a command talks to.
type Remote struct {
	app       *App
	Server    string // as given; see [Remote.Address]
	TokenFile string
	DryRun    bool
}

// NewRemote returns a remote for a command that speaks with a server only when
// it is told to.
func (a *App) NewRemote() *Remote { return &Remote{app: a} }

// ServerFlag gives a command the flags that name a server and its token.
func (r *Remote) ServerFlag(cmd *cobra.Command, name, doc string) {
	cmd.Flags().StringVar(&r.Server, name, "", doc)
	cmd.Flags().StringVar(&r.TokenFile, "token-file", "", "`file` that holds the token; else the token itself in MUSTER_TOKEN")
}

// DryRunFlag gives a command --dry-run.
func (r *Remote) DryRunFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "show what would be sent, and send nothing")
}

// Address is the server that is meant: the flag, MUSTER_SERVER, or this host.
func (r *Remote) Address() string {
	if r.Server != "" {
		return r.Server
	}
	if env := r.app.Std.Getenv("MUSTER_SERVER"); env != "" {
		return env
	}
	return DefaultServer
}

// Token reads the token from its file or the environment.
func (r *Remote) Token() (string, error) {
	if r.TokenFile == "" {
		if env := strings.TrimSpace(r.app.Std.Getenv("MUSTER_TOKEN")); env != "" {
			return env, nil
		}
		return "", Usagef("no token: use --token-file DATA/admin.token, where DATA is the folder of `muster serve`, or put it into MUSTER_TOKEN")
	}
	f, err := os.Open(r.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || len(text) > MaxSecret || strings.ContainsAny(token, " \t\r\n") {
		return "", Usagef("%s does not hold a token, which is one word", r.TokenFile)
	}
	return token, nil
}

// Client returns a client of the server, with the token.
func (r *Remote) Client() (*client.Client, error) {
	token, err := r.Token()
	if err != nil {
		return nil, err
	}
	c, err := client.New(r.Address(), token)
	if err != nil {
		return nil, UsageError{err}
	}
	return c, nil
}

// AsSource returns a client whose token is a source's key. Asking first spares a
// long upload that ends in a refusal.
func (r *Remote) AsSource(ctx context.Context, format string) (*client.Client, error) {
	c, err := r.Client()
	if err != nil {
		return nil, err
	}
	var me client.Me
	if err := c.Get(ctx, "/v1/me", nil, &me); err != nil {
		return nil, err
	}
	if me.Kind != "source" {
		return nil, Usagef("this token is not a source's key: get one with `muster source add %s`, and give it in MUSTER_TOKEN or --token-file", format)
	}
	return c, nil
}

// Get reads one thing.
func (r *Remote) Get(ctx context.Context, path string, query url.Values, reply any) error {
	c, err := r.Client()
	if err != nil {
		return err
	}
	return c.Get(ctx, path, query, reply)
}

// Show reads one thing and prints it.
func Show[T any](ctx context.Context, k *Call, path string, columns []output.Column[T]) (T, error) {
	var v T
	if err := k.Get(ctx, path, nil, &v); err != nil {
		return v, err
	}
	return v, output.One(k.Out, v, columns)
}

// Send writes. With --dry-run it prints the request instead, which must hold
// no secret, and returns false.
func Send[T any](ctx context.Context, k *Call, method, path string, request any) (v T, sent bool, err error) {
	if k.DryRun {
		return v, false, k.Plan(method, path, request)
	}
	c, err := k.Client()
	if err != nil {
		return v, false, err
	}
	err = c.Send(ctx, method, path, request, &v)
	return v, err == nil, err
}

// Change sends and prints what became of it. told, which may be nil, is for
// words that belong to the answer.
func Change[T any](ctx context.Context, k *Call, method, path string, request any, columns []output.Column[T], told func(T)) error {
	v, sent, err := Send[T](ctx, k, method, path, request)
	if !sent {
		return err
	}
	if told != nil {
		told(v)
	}
	return output.One(k.Out, v, columns)
}

// Plan prints a request that is not sent. It must hold no secret.
func (r *Remote) Plan(method, path string, body any) error {
	err := r.app.JSON(struct {
		Method string `json:"method"`
		URL    string `json:"url"`
		Body   any    `json:"body,omitempty"`
	}{method, strings.TrimRight(r.Address(), "/") + path, body})
	r.app.Say("dry run: nothing was sent")
	return err
}

// JSON prints a value as JSON whatever was asked for.
func (a *App) JSON(v any) error {
	return (&output.Form{Out: a.Std.Out, Format: "json", Terminal: Terminal(a.Std.Out)}).Object(v)
}

// Pages prints a list to its end, or to limit if that is not 0.
func Pages[T any](ctx context.Context, k *Call, path string, query url.Values, limit int, columns []output.Column[T]) error {
	items, of, err := Read[T](ctx, k, path, query, limit)
	if err != nil {
		return err
	}
	if of != "" {
		k.Say("these are %d of %s; --limit 0 lists all", len(items), of)
	}
	return output.List(k.Out, items, columns)
}

// LimitFlag gives a list --limit, 0 for all.
func LimitFlag(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", 0, "how many at most; 0 means all")
}

// Newest prints what happened most recently, up to limit. A filter may make the
// server's pages short, so it reads on until there are enough.
func Newest[T any](ctx context.Context, k *Call, path string, query url.Values, limit int, columns []output.Column[T]) error {
	_, err := newest(ctx, k, path, query, limit, columns)
	return err
}

// Latest is Newest of what the server has in memory. When that is all there is, it
// says where the rest can be read.
func Latest[T any](ctx context.Context, k *Call, path string, query url.Values, limit int, columns []output.Column[T], rest string) error {
	n, err := newest(ctx, k, path, query, limit, columns)
	if err == nil && n < cmp.Or(limit, newestItems) {
		k.Say("%s", rest)
	}
	return err
}

// newestItems is how many are read of the newest when nobody says.
const newestItems = 50

func newest[T any](ctx context.Context, k *Call, path string, query url.Values, limit int, columns []output.Column[T]) (n int, err error) {
	if limit < 0 || limit > maxPage {
		return 0, Usagef("--limit %d: want 1 to %d", limit, maxPage)
	}
	items, _, err := Read[T](ctx, k, path, query, cmp.Or(limit, newestItems))
	if err != nil {
		return 0, err
	}
	return len(items), output.List(k.Out, items, columns)
}

// A Narrowing is what a list's --filter and --order say.
type Narrowing struct{ Filter, Order string }

// FilterFlag gives a list --filter, in the language of docs/reference/filter.md.
func (n *Narrowing) FilterFlag(c *cobra.Command, example string) {
	c.Flags().StringVarP(&n.Filter, "filter", "f", "", "`terms` that must all hold, such as '"+example+"'; see /docs/reference/filter")
}

// OrderFlag gives a list --order by one of the fields. A server lists none
// otherwise.
func (n *Narrowing) OrderFlag(c *cobra.Command, fields ...string) {
	c.Flags().StringVar(&n.Order, "order", "", "`field` to order by, - before it for the largest or newest first: "+strings.Join(fields, ", "))
	words := fields
	for _, f := range fields {
		words = append(words, "-"+f)
	}
	Completes(c, "order", words...)
}

// Of adds what the flags say to a query.
func (n *Narrowing) Of(query url.Values) url.Values {
	query.Set("filter", n.Filter)
	query.Set("order", n.Order)
	return query
}

// NewestFlag gives a list whose newest entries matter --limit.
func NewestFlag(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", 0, "how many at most, up to 500; 0 means the newest 50")
}

// maxPage is how many items the server puts on one page at most.
const maxPage = 500

// Given leaves out what was not asked for.
func Given(query url.Values) url.Values {
	out := url.Values{}
	for k, v := range query {
		if v[0] != "" {
			out[k] = v
		}
	}
	return out
}

// Read reads a list to its end, or to limit if that is not 0. When the limit cut
// it, of says how many there are: 1234, or 10000+ where nobody counted further.
func Read[T any](ctx context.Context, k *Call, path string, query url.Values, limit int) (items []T, of string, err error) {
	c, err := k.Client()
	if err != nil {
		return nil, "", err
	}
	if limit < 0 {
		return nil, "", Usagef("--limit %d: want 0 for all, or more", limit)
	}
	for token := ""; ; {
		q := Given(query)
		q.Set("limit", strconv.Itoa(maxPage))
		if limit > 0 {
			q.Set("limit", strconv.Itoa(min(maxPage, limit-len(items))))
		}
		if token != "" {
			q.Set("page_token", token)
		}
		var page client.Page[T]
		if err := c.Get(ctx, path, q, &page); err != nil {
			return nil, "", err
		}
		items = append(items, page.Items...)
		if page.Next == "" || (limit > 0 && len(items) >= limit) {
			return items, total(&page, len(items)), nil
		}
		if page.Next == token { // an empty page may have a next one: the filter matched nothing of it
			return nil, "", errors.New("the server's list does not come to an end")
		}
		token = page.Next
	}
}

// total says how many rows a list has of which a page is the last that was
// read; empty when that was all.
func total[T any](page *client.Page[T], read int) string {
	switch {
	case page.Next == "":
		return ""
	case page.AtLeast || page.Total <= read:
		return strconv.Itoa(max(page.Total, read)) + "+"
	}
	return strconv.Itoa(page.Total)
}

// Watch prints one topic of the live stream, with the filter keep, until ctx
// ends or limit things were printed; 0 means no limit. Only the list itself
// understands --filter and --order.
func Watch[T any](ctx context.Context, k *Call, topic string, limit int, keep func(T) bool, columns []output.Column[T]) error {
	for _, flag := range []string{"filter", "order"} {
		if k.Cmd.Flags().Changed(flag) {
			return Usagef("--%s narrows the list and not --watch: use --jq or the other flags with it", flag)
		}
	}
	c, err := k.Client()
	if err != nil {
		return err
	}
	enough := errors.New("enough")
	rows, n := output.Follow(k.Out, columns), 0
	err = c.Stream(ctx, client.StreamQuery{Topics: []string{topic}}, func(ev client.Event) error {
		switch ev.Name {
		case "hello":
			k.Say("watching; Ctrl-C ends it")
		case "dropped":
			k.Say("this reader is too slow: %s", output.Visible(string(ev.Data)))
		case topic:
			var v T
			if err := json.Unmarshal(ev.Data, &v); err != nil {
				return fmt.Errorf("the live stream is not what a Muster server sends: %w", err)
			}
			if !keep(v) {
				return nil
			}
			if err := rows.Add(v); err != nil {
				return err
			}
			if n++; n == limit {
				return enough
			}
		}
		return nil
	})
	if errors.Is(err, enough) || ctx.Err() != nil {
		return nil
	}
	return err
}

// The documents that are applied as a whole, by the word that names them.
var DocumentNames = map[string]string{
	"routes": "routes.yaml", "resources": "resources.yaml", "trust": "trust.yaml", "policies": "policies.cedar",
}

// DocumentOf says which document a file is.
func DocumentOf(file, as string) (string, error) {
	word := as
	if word == "" {
		base := file[strings.LastIndexByte(file, '/')+1:]
		word, _, _ = strings.Cut(base, ".")
	}
	if name := DocumentNames[word]; name != "" {
		return name, nil
	}
	words := slices.Sorted(maps.Keys(DocumentNames))
	if as != "" {
		return "", OneOf("--as", as, words)
	}
	return "", Usagef("%s: the name does not say which document it is; say --as %s", file, strings.Join(words, "|"))
}

const MaxDocument = 8 << 20

// Apply sends a file as a document.
func (k *Call) Apply(ctx context.Context, file, name string) error {
	body, err := k.ReadFile(file, MaxDocument)
	if err != nil {
		return err
	}
	path := "/v1/documents/" + name
	if k.DryRun {
		return k.Plan(http.MethodPut, path, string(body))
	}
	c, err := k.Client()
	if err != nil {
		return err
	}
	var doc client.Document
	if err := c.Do(ctx, http.MethodPut, path, "text/plain", bytes.NewReader(body), &doc); err != nil {
		return fmt.Errorf("apply %s: %w", file, err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		k.Say("%s is in force, and empty", name)
	} else {
		k.Say("%s is in force", name)
	}
	if k.Out.Structured() {
		return k.Out.Object(doc)
	}
	return nil
}

// Document prints a document as it is in force.
func (k *Call) Document(ctx context.Context, name string) error {
	var doc client.Document
	if err := k.Get(ctx, "/v1/documents/"+name, nil, &doc); err != nil {
		return err
	}
	if k.Out.Structured() {
		return k.Out.Object(doc)
	}
	if doc.Updated.IsZero() {
		k.Say("%s was never applied", name)
		return nil
	}
	text := doc.Body
	if k.Out.Terminal {
		text = output.VisibleLines(text)
	}
	_, err := io.WriteString(k.Std.Out, text)
	return err
}

// ReadFile reads a file, or standard input for -, of limit bytes at most.
func (a *App) ReadFile(name string, limit int64) ([]byte, error) {
	in := a.Std.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is over %s", name, output.Size(limit))
	}
	return data, nil
}
