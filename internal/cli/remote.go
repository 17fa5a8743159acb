package cli

import (
	"bytes"
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

const defaultServer = "http://127.0.0.1:8700"

// A remote is the server that a command talks to.
type remote struct {
	app       *app
	server    string
	tokenFile string
	dryRun    bool
}

func (r *remote) serverFlag(cmd *cobra.Command, name, doc string) {
	cmd.Flags().StringVar(&r.server, name, "", doc)
	cmd.Flags().StringVar(&r.tokenFile, "token-file", "", "`file` that holds the token; else the token itself in MUSTER_TOKEN")
}

func (r *remote) dryRunFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "show what would be sent, and send nothing")
}

func (r *remote) address() string {
	if r.server != "" {
		return r.server
	}
	if env := r.app.std.Getenv("MUSTER_SERVER"); env != "" {
		return env
	}
	return defaultServer
}

func (r *remote) token() (string, error) {
	if r.tokenFile == "" {
		if env := strings.TrimSpace(r.app.std.Getenv("MUSTER_TOKEN")); env != "" {
			return env, nil
		}
		return "", usagef("no token: use --token-file DATA/admin.token, where DATA is the folder of `muster serve`, or put it into MUSTER_TOKEN")
	}
	f, err := os.Open(r.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || len(text) > maxSecret || strings.ContainsAny(token, " \t\r\n") {
		return "", usagef("%s does not hold a token, which is one word", r.tokenFile)
	}
	return token, nil
}

func (r *remote) client() (*client.Client, error) {
	token, err := r.token()
	if err != nil {
		return nil, err
	}
	c, err := client.New(r.address(), token)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// asSource returns a client whose token is a source's key. Asking first spares a
// long upload that ends in a refusal.
func (r *remote) asSource(ctx context.Context, format string) (*client.Client, error) {
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	var me client.Me
	if err := c.Get(ctx, "/v1/me", nil, &me); err != nil {
		return nil, err
	}
	if me.Kind != "source" {
		return nil, usagef("this token is not a source's key: get one with `muster source add %s`, and give it in MUSTER_TOKEN or --token-file", format)
	}
	return c, nil
}

// get reads one thing.
func (r *remote) get(ctx context.Context, path string, query url.Values, reply any) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	return c.Get(ctx, path, query, reply)
}

// show reads one thing and prints it.
func show[T any](ctx context.Context, k *call, path string, columns []output.Column[T]) (T, error) {
	var v T
	if err := k.get(ctx, path, nil, &v); err != nil {
		return v, err
	}
	return v, output.One(k.out, v, columns)
}

// send writes. With --dry-run it prints the request instead, which must hold
// no secret, and returns false.
func send[T any](ctx context.Context, k *call, method, path string, request any) (v T, sent bool, err error) {
	if k.dryRun {
		return v, false, k.plan(method, path, request)
	}
	c, err := k.client()
	if err != nil {
		return v, false, err
	}
	err = c.Send(ctx, method, path, request, &v)
	return v, err == nil, err
}

// change sends and prints what became of it. told, which may be nil, is for
// words that belong to the answer.
func change[T any](ctx context.Context, k *call, method, path string, request any, columns []output.Column[T], told func(T)) error {
	v, sent, err := send[T](ctx, k, method, path, request)
	if !sent {
		return err
	}
	if told != nil {
		told(v)
	}
	return output.One(k.out, v, columns)
}

// plan prints a request that is not sent. It must hold no secret.
func (r *remote) plan(method, path string, body any) error {
	err := r.app.json(struct {
		Method string `json:"method"`
		URL    string `json:"url"`
		Body   any    `json:"body,omitempty"`
	}{method, strings.TrimRight(r.address(), "/") + path, body})
	r.app.say("dry run: nothing was sent")
	return err
}

// json prints a value as JSON whatever was asked for.
func (a *app) json(v any) error {
	return (&output.Form{Out: a.std.Out, Format: "json", Terminal: terminal(a.std.Out)}).Object(v)
}

// pages prints a list to its end, or to limit if that is not 0.
func pages[T any](ctx context.Context, k *call, path string, query url.Values, limit int, columns []output.Column[T]) error {
	items, more, err := read[T](ctx, k, path, query, limit)
	if err != nil {
		return err
	}
	if more {
		k.say("there are more than %d; --limit 0 lists all", limit)
	}
	return output.List(k.out, items, columns)
}

func limitFlag(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", 0, "how many at most; 0 means all")
}

// newest prints a list that has no further pages: what happened most recently.
func newest[T any](ctx context.Context, k *call, path string, query url.Values, limit int, columns []output.Column[T]) error {
	if limit < 0 || limit > maxPage {
		return usagef("--limit %d: want 1 to %d", limit, maxPage)
	}
	q := given(query)
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var page client.Page[T]
	if err := k.get(ctx, path, q, &page); err != nil {
		return err
	}
	return output.List(k.out, page.Items, columns)
}

func newestFlag(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", 0, "how many at most, up to 500; 0 means the newest 50")
}

// maxPage is how many items the server puts on one page at most.
const maxPage = 500

// given leaves out what was not asked for.
func given(query url.Values) url.Values {
	out := url.Values{}
	for k, v := range query {
		if v[0] != "" {
			out[k] = v
		}
	}
	return out
}

// read reads a list to its end, or to limit if that is not 0. more says that
// the limit cut it.
func read[T any](ctx context.Context, k *call, path string, query url.Values, limit int) (items []T, more bool, err error) {
	c, err := k.client()
	if err != nil {
		return nil, false, err
	}
	if limit < 0 {
		return nil, false, usagef("--limit %d: want 0 for all, or more", limit)
	}
	for token := ""; ; {
		q := given(query)
		q.Set("limit", strconv.Itoa(maxPage))
		if limit > 0 {
			q.Set("limit", strconv.Itoa(min(maxPage, limit-len(items))))
		}
		if token != "" {
			q.Set("page_token", token)
		}
		var page client.Page[T]
		if err := c.Get(ctx, path, q, &page); err != nil {
			return nil, false, err
		}
		items = append(items, page.Items...)
		if page.Next == "" || (limit > 0 && len(items) >= limit) {
			return items, page.Next != "", nil
		}
		if page.Next == token || len(page.Items) == 0 {
			return nil, false, errors.New("the server's list does not come to an end")
		}
		token = page.Next
	}
}

// watch prints one topic of the live stream, with the filter keep, until ctx
// ends or limit things were printed; 0 means no limit.
func watch[T any](ctx context.Context, k *call, topic string, limit int, keep func(T) bool, columns []output.Column[T]) error {
	c, err := k.client()
	if err != nil {
		return err
	}
	enough := errors.New("enough")
	rows, n := output.Follow(k.out, columns), 0
	err = c.Stream(ctx, []string{topic}, func(ev client.Event) error {
		switch ev.Name {
		case "hello":
			k.say("watching; Ctrl-C ends it")
		case "dropped":
			k.say("this reader is too slow: %s", output.Visible(string(ev.Data)))
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
var documentNames = map[string]string{
	"routes": "routes.yaml", "resources": "resources.yaml", "trust": "trust.yaml", "policies": "policies.cedar",
}

// documentOf says which document a file is.
func documentOf(file, as string) (string, error) {
	word := as
	if word == "" {
		base := file[strings.LastIndexByte(file, '/')+1:]
		word, _, _ = strings.Cut(base, ".")
	}
	if name := documentNames[word]; name != "" {
		return name, nil
	}
	words := slices.Sorted(maps.Keys(documentNames))
	if as != "" {
		return "", oneOf("--as", as, words)
	}
	return "", usagef("%s: the name does not say which document it is; say --as %s", file, strings.Join(words, "|"))
}

const maxDocument = 8 << 20

// apply sends a file as a document.
func (k *call) apply(ctx context.Context, file, name string) error {
	body, err := k.readFile(file, maxDocument)
	if err != nil {
		return err
	}
	path := "/v1/documents/" + name
	if k.dryRun {
		return k.plan(http.MethodPut, path, string(body))
	}
	c, err := k.client()
	if err != nil {
		return err
	}
	var doc client.Document
	if err := c.Do(ctx, http.MethodPut, path, "text/plain", bytes.NewReader(body), &doc); err != nil {
		return fmt.Errorf("apply %s: %w", file, err)
	}
	k.say("%s is in force", name)
	if k.out.Structured() {
		return k.out.Object(doc)
	}
	return nil
}

// document prints a document as it is in force.
func (k *call) document(ctx context.Context, name string) error {
	var doc client.Document
	if err := k.get(ctx, "/v1/documents/"+name, nil, &doc); err != nil {
		return err
	}
	if k.out.Structured() {
		return k.out.Object(doc)
	}
	if doc.Updated.IsZero() {
		k.say("%s was never applied", name)
		return nil
	}
	text := doc.Body
	if k.out.Terminal {
		text = output.VisibleLines(text)
	}
	_, err := io.WriteString(k.std.Out, text)
	return err
}

// readFile reads a file, or standard input for -, of limit bytes at most.
func (a *app) readFile(name string, limit int64) ([]byte, error) {
	in := a.std.In
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
