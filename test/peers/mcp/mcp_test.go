// Package mcp_test has the published client and server of the Model Context
// Protocol meet through Muster's proxy. It is a module of its own, so that the
// product does not depend on them.
package mcp_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	gate "github.com/muster-id/muster/internal/enforce/mcp"
	"github.com/muster-id/muster/internal/enforce/proxy"
	"github.com/muster-id/muster/internal/nhi"
)

// A decider denies the tool remove, and what servers ask of their clients unless
// it is told otherwise. It remembers what it was asked.
type decider struct {
	lends bool       // clients do what servers ask of them
	mu    sync.Mutex // guards asked
	asked []string
}

func (d *decider) denies(q *nhi.Question) bool {
	return q.Resource == "" || q.Resource == "tools/remove" || q.Resource == "tools/client" && !d.lends || q.Subject.Identity == ""
}

// Try implements enforce.Trier.
func (d *decider) Try(questions []nhi.Question) []nhi.Decision {
	out := make([]nhi.Decision, len(questions))
	for i := range questions {
		if out[i].Outcome = nhi.Allow; d.denies(&questions[i]) {
			out[i].Outcome = nhi.Deny
		}
	}
	return out
}

func (d *decider) Decide(_ context.Context, q *nhi.Question) nhi.Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, q.Operation)
	if d.denies(q) {
		return nhi.Decision{ID: "dec-no", Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "agents-remove-nothing", Effect: "forbid"}}}
	}
	return nhi.Decision{ID: "dec-yes", Outcome: nhi.Allow}
}

func (d *decider) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked)
}

func class(method string, c nhi.ActionClass) map[string]nhi.ActionClass {
	return map[string]nhi.ActionClass{method: c}
}

// routes of an endpoint at a host.
func routes(host string) enforcetest.Routes {
	return enforcetest.Routes{
		{Host: host, Path: "/mcp", Methods: map[string]nhi.ActionClass{"POST": nhi.Read, "GET": nhi.Read, "DELETE": nhi.Write}, Resource: "tools/transport"},
		{Host: host, Path: "/mcp/server", Methods: class("DISCOVER", nhi.Read), Resource: "tools/transport"},
		{Host: host, Path: "/mcp/tools", Methods: class("LIST", nhi.List), Resource: "tools/list"},
		{Host: host, Path: "/mcp/tools/{tool}", Methods: class("CALL", nhi.Read), Resource: "tools/any"},
		{Host: host, Path: "/mcp/tools/remove", Methods: class("CALL", nhi.Delete), Resource: "tools/remove"},
		{Host: host, Path: "/mcp/prompts/{name}", Methods: class("GET", nhi.Read), Resource: "tools/prompts"},
		{Host: host, Path: "/mcp/client/sampling", Methods: class("CREATEMESSAGE", nhi.Write), Resource: "tools/client"},
		{Host: host, Path: "/mcp/client/elicitation", Methods: class("CREATE", nhi.Write), Resource: "tools/client"},
		{Host: host, Path: "/mcp/client/roots", Methods: class("LIST", nhi.List), Resource: "tools/client"},
		{Host: host, Path: "/mcp/resources", Methods: class("READ", nhi.Read), Resource: "tools/resources"},
	}
}

type words struct {
	Text string `json:"text"`
}

// application is an MCP server of three tools, and how often each ran.
func application(t *testing.T, stateless, asJSON bool) (http.Handler, func(tool string) int) {
	server := mcp.NewServer(&mcp.Implementation{Name: "files", Version: "1"}, nil)
	var mu sync.Mutex // guards ran
	ran := map[string]int{}
	for _, name := range []string{"echo", "remove"} {
		mcp.AddTool(server, &mcp.Tool{Name: name, Description: "a tool"}, func(_ context.Context, _ *mcp.CallToolRequest, in words) (*mcp.CallToolResult, words, error) {
			mu.Lock()
			defer mu.Unlock()
			ran[name]++
			return nil, in, nil
		})
	}
	mcp.AddTool(server, &mcp.Tool{Name: "slow", Description: "tells how far it is"}, func(ctx context.Context, req *mcp.CallToolRequest, in words) (*mcp.CallToolResult, words, error) {
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: 0.5})
		return nil, in, err
	})
	server.AddPrompt(&mcp.Prompt{Name: "review"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Description: "look closely"}, nil
	})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: stateless, JSONResponse: asJSON})
	return handler, func(tool string) int {
		mu.Lock()
		defer mu.Unlock()
		return ran[tool]
	}
}

// guarded puts the proxy before an application and returns its address.
func guarded(t *testing.T, app http.Handler, d *decider) string {
	origin := httptest.NewServer(app)
	t.Cleanup(origin.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	judge := enforce.Judge{
		Routes: enforce.NewRoutes(routes(host)), Decider: d,
		Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: enforcetest.Robot}}},
	}
	point := nhi.Point{ID: "nhi_point", Name: "tools", Dialect: nhi.DialectProxy, Mode: nhi.Enforce, Percent: 100}
	settings := proxy.Settings{Point: "tools", Listen: "127.0.0.1:0", Protocol: proxy.MCP, Upstream: proxy.Upstream{URLs: []string{origin.URL}}}
	handler, err := proxy.New(settings, proxy.Config{
		Judge: judge, Point: func() (nhi.Point, bool) { return point, true }, Protocol: gate.New(gate.Config{Judge: judge, Trier: d}),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := proxy.Server(settings, handler, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		handler.Cut()
		_ = server.Close()
		<-served
		handler.Close()
	})
	return "http://" + l.Addr().String() + "/mcp"
}

// keyed sends the agent's key with every request.
type keyed string

func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if k != "" {
		r.Header.Set("Authorization", string(k))
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestAnAgentUsesOneToolOfAServerAndNotAnother(t *testing.T) {
	for name, shape := range map[string]struct{ stateless, asJSON bool }{
		"sessions and streams": {}, "sessions and JSON": {asJSON: true}, "no sessions, streams": {stateless: true}, "no sessions, JSON": {stateless: true, asJSON: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			app, ran := application(t, shape.stateless, shape.asJSON)
			d := &decider{}
			endpoint := guarded(t, app, d)
			progress := make(chan struct{}, 16)
			client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, &mcp.ClientOptions{
				ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progress <- struct{}{} },
			})
			session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &http.Client{Transport: keyed("Bearer good")}}, nil)
			if err != nil {
				t.Fatalf("connect: %v, asked %q", err, d.all())
			}
			tools, err := session.ListTools(ctx, nil)
			if err != nil {
				t.Fatalf("tools/list: %v", err)
			}
			var names []string
			for _, tool := range tools.Tools {
				names = append(names, tool.Name)
			}
			if slices.Sort(names); !slices.Equal(names, []string{"echo", "slow"}) {
				t.Errorf("the agent sees the tools %q", names)
			}
			said, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: words{"good morning"}})
			if err != nil || said.IsError || ran("echo") != 1 {
				t.Fatalf("echo: %+v, %v, ran %d times", said, err, ran("echo"))
			}
			_, err = session.CallTool(ctx, &mcp.CallToolParams{Name: "remove", Arguments: words{"everything"}})
			var refused *jsonrpc.Error
			if !errors.As(err, &refused) || refused.Code != -32090 || !strings.Contains(refused.Message, "agents-remove-nothing") || !strings.Contains(string(refused.Data), `"decision":"dec-no"`) {
				t.Errorf("remove: %v", err)
			}
			if ran("remove") != 0 {
				t.Error("the tool that was refused ran")
			}
			if prompt, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: "review"}); err != nil || prompt.Description != "look closely" {
				t.Errorf("prompts/get: %v, %v", prompt, err)
			}
			if _, err := session.ListPrompts(ctx, nil); err == nil {
				t.Error("prompts/list has no route and passes")
			}
			if !shape.asJSON {
				params := &mcp.CallToolParams{Name: "slow", Arguments: words{"x"}}
				params.SetProgressToken("p-1")
				if _, err := session.CallTool(ctx, params); err != nil {
					t.Fatalf("slow: %v", err)
				}
				select {
				case <-progress:
				case <-ctx.Done():
					t.Error("the stream of a call does not come through")
				}
			}
			if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: words{"again"}}); err != nil || ran("echo") != 2 {
				t.Errorf("after a refusal the session is of no use: %v", err)
			}
			if err := session.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if asked := d.all(); !slices.Contains(asked, "CALL /mcp/tools/remove") || !slices.Contains(asked, "CALL /mcp/tools/echo") {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

func TestAnAgentWithoutAKeyDoesNotEvenConnect(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	app, _ := application(t, false, false)
	endpoint := guarded(t, app, &decider{})
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
	if session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &http.Client{Transport: keyed("")}}, nil); err == nil {
		_ = session.Close()
		t.Error("it connects")
	}
}
