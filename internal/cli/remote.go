package cli

import (
	"bytes"
	"context"
	"encoding/json"
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

const defaultServer = "http://127.0.0.1:8700"

// A remote is the server that a command talks to.
type remote struct {
	app       *app
	server    string
	tokenFile string
	dryRun    bool
}

// remote gives a command the flags that say which server, and who asks.
func (a *app) remote(cmd *cobra.Command) *remote {
	r := &remote{app: a}
	r.serverFlag(cmd, "server", "`address` of the server; MUSTER_SERVER, else "+defaultServer)
	return r
}

func (r *remote) serverFlag(cmd *cobra.Command, name, doc string) {
	cmd.Flags().StringVar(&r.server, name, "", doc)
	cmd.Flags().StringVar(&r.tokenFile, "token-file", "", "`file` that holds the token; else the token itself in MUSTER_TOKEN")
}

// writes is remote for a command that changes something.
func (a *app) writes(cmd *cobra.Command) *remote {
	r := a.remote(cmd)
	r.dryRunFlag(cmd)
	return r
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

// source returns a client whose token is a source's key. Asking first spares a
// long upload that ends in a refusal.
func (r *remote) source(ctx context.Context, format string) (*client.Client, error) {
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

// send writes. With --dry-run it prints the request instead and returns false.
func (r *remote) send(ctx context.Context, method, path string, request, reply any) (bool, error) {
	if r.dryRun {
		return false, r.plan(method, path, request)
	}
	c, err := r.client()
	if err != nil {
		return false, err
	}
	return true, c.Send(ctx, method, path, request, reply)
}

// plan prints a request that is not sent. It must hold no secret.
func (r *remote) plan(method, path string, body any) error {
	o := &output{app: r.app, format: "json"}
	err := o.object(struct {
		Method string `json:"method"`
		URL    string `json:"url"`
		Body   any    `json:"body,omitempty"`
	}{method, strings.TrimRight(r.address(), "/") + path, body})
	r.app.say("dry run: nothing was sent")
	return err
}

// pages reads a list to its end, or to limit if that is not 0. more says that
// the limit cut it.
func pages[T any](ctx context.Context, r *remote, path string, query url.Values, limit int) (items []T, more bool, err error) {
	c, err := r.client()
	if err != nil {
		return nil, false, err
	}
	if limit < 0 {
		return nil, false, usagef("--limit %d: want 0 for all, or more", limit)
	}
	for token := ""; ; {
		q := url.Values{"limit": {strconv.Itoa(500)}}
		if limit > 0 {
			q.Set("limit", strconv.Itoa(min(500, limit-len(items))))
		}
		for k, v := range query {
			if v[0] != "" {
				q[k] = v
			}
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
func watch[T any](ctx context.Context, r *remote, o *output, topic string, limit int, keep func(T) bool, columns []column[T]) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	enough := errors.New("enough")
	rows, n := follow(o, columns), 0
	err = c.Stream(ctx, []string{topic}, func(ev client.Event) error {
		switch ev.Name {
		case "hello":
			r.app.say("watching; Ctrl-C ends it")
		case "dropped":
			r.app.say("this reader is too slow: %s", visible(string(ev.Data)))
		case topic:
			var v T
			if err := json.Unmarshal(ev.Data, &v); err != nil {
				return fmt.Errorf("the live stream is not what a Muster server sends: %w", err)
			}
			if !keep(v) {
				return nil
			}
			if err := rows.add(v); err != nil {
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
	words := make([]string, 0, len(documentNames))
	for w := range documentNames {
		words = append(words, w)
	}
	slices.Sort(words)
	if as != "" {
		return "", usagef("--as %s: want one of %s", as, strings.Join(words, ", "))
	}
	return "", usagef("%s: the name does not say which document it is; say --as %s", file, strings.Join(words, "|"))
}

const maxDocument = 8 << 20

// apply sends a file as a document.
func (r *remote) apply(ctx context.Context, o *output, file, name string) error {
	body, err := r.app.readFile(file, maxDocument)
	if err != nil {
		return err
	}
	path := "/v1/documents/" + name
	if r.dryRun {
		return r.plan(http.MethodPut, path, string(body))
	}
	c, err := r.client()
	if err != nil {
		return err
	}
	var doc client.Document
	if err := c.Do(ctx, http.MethodPut, path, "text/plain", bytes.NewReader(body), &doc); err != nil {
		return fmt.Errorf("apply %s: %w", file, err)
	}
	r.app.say("%s is in force", name)
	if o.structured() {
		return o.object(doc)
	}
	return nil
}

// document prints a document as it is in force.
func (r *remote) document(ctx context.Context, o *output, name string) error {
	var doc client.Document
	if err := r.get(ctx, "/v1/documents/"+name, nil, &doc); err != nil {
		return err
	}
	if o.structured() {
		return o.object(doc)
	}
	if doc.Updated.IsZero() {
		r.app.say("%s was never applied", name)
		return nil
	}
	text := doc.Body
	if terminal(r.app.std.Out) {
		text = visibleLines(text)
	}
	_, err := io.WriteString(r.app.std.Out, text)
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
		return nil, fmt.Errorf("%s is over %s", name, size(limit))
	}
	return data, nil
}
