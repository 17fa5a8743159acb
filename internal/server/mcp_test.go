package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/enforce/proxy"
)

const toolRoutes = `
- {host: tools.example, path: /mcp/tools/search, methods: {CALL: read}, resource: tools/search}
- {host: tools.example, path: "/mcp/tools/{tool}", methods: {CALL: delete}, resource: tools/files}
`

const toolPolicies = `
@id("deleting-is-approved") @stepup("approve")
forbid (principal, action == Action::"delete", resource == Resource::"tools/files") unless { context has approval };
`

// calls has an agent call a tool through a proxy of the server, and returns the
// error that it gets, if it does.
func (r *running) calls(point, key, tool, arguments string) (code int, task string) {
	r.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments)
	req, err := http.NewRequest(http.MethodPost, "http://"+r.Proxies()[point]+"/mcp", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host, req.Close = "tools.example", true
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	status, text := do(r.t, req)
	var reply struct {
		Error struct {
			Code int
			Data struct{ Task struct{ ID string } }
		}
	}
	if err := json.Unmarshal([]byte(text), &reply); err != nil || status != http.StatusOK {
		r.t.Fatalf("%s: %d %s", tool, status, text)
	}
	return reply.Error.Code, reply.Error.Data.Task.ID
}

func TestAPersonApprovesACallOfAToolWithItsArguments(t *testing.T) {
	t.Parallel()
	var ran atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ran.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}))
	t.Cleanup(app.Close)
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.Proxies = []proxy.Settings{{Point: "tools", Listen: "127.0.0.1:0", Protocol: proxy.MCP, Upstream: proxy.Upstream{URLs: []string{app.URL}}}}
	})
	_, key := r.furnish()
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "tools", Dialect: "proxy"}, nil)
	r.enforces("tools")
	r.put("resources.yaml", "- {id: tools/search, environment: production, sensitivity: 1}\n- {id: tools/files, environment: production, sensitivity: 1}\n")
	r.put("routes.yaml", toolRoutes)
	r.put("policies.cedar", toolPolicies)
	if code, _ := r.calls("tools", key.Key, "search", `{"q":"x"}`); code != 0 || ran.Load() != 1 {
		t.Fatalf("a tool that is allowed: error %d, ran %d times", code, ran.Load())
	}
	code, task := r.calls("tools", key.Key, "delete", `{"path":"/tmp/a"}`)
	if code != -32091 || !strings.HasPrefix(task, "apr_") || ran.Load() != 1 {
		t.Fatalf("before anybody approves: error %d, task %q, ran %d times", code, task, ran.Load())
	}
	if asked := r.pending(); asked.ID != task || asked.Operation != "CALL /mcp/tools/delete" {
		t.Fatalf("people are asked %+v", asked)
	}
	if _, err := r.api.Approve(t.Context(), task, client.Answer{}); err != nil {
		t.Fatal(err)
	}
	r.calls("tools", key.Key, key.Key, `{}`)
	if text := r.pending().Operation; strings.Contains(text, key.Key) {
		t.Errorf("a secret in place of a tool's name is shown to people: %s", text)
	}
	for _, tt := range []struct {
		name, arguments string
		tool            string
		passes          bool
	}{
		{"other arguments", `{"path":"/"}`, "delete", false},
		{"another tool of the same route", `{"path":"/tmp/a"}`, "shred", false},
		{"what was approved", `{ "path" : "/tmp/a" }`, "delete", true},
		{"the same once more", `{"path":"/tmp/a"}`, "delete", false},
	} {
		before := ran.Load()
		if code, _ := r.calls("tools", key.Key, tt.tool, tt.arguments); (code == 0) != tt.passes || (ran.Load() > before) != tt.passes {
			t.Errorf("%s: error %d, ran %d times more, want it to pass: %v", tt.name, code, ran.Load()-before, tt.passes)
		}
	}
}

func TestAnAgentSeesTheToolsThatItMayUseAndNothingIsRecordedForThat(t *testing.T) {
	t.Parallel()
	switched := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet { // a stream that goes on while the point changes
			const event = "data: " + `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"shred"}]}}` + "\n\n"
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-switched:
				_, _ = io.WriteString(w, event)
			case <-r.Context().Done():
			}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search"},{"name":"shred"},{"name":"delete"}]}}`)
	}))
	t.Cleanup(app.Close)
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.Proxies = []proxy.Settings{{Point: "tools", Listen: "127.0.0.1:0", Protocol: proxy.MCP, Upstream: proxy.Upstream{URLs: []string{app.URL}}}}
	})
	_, key := r.furnish()
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "tools", Dialect: "proxy"}, nil)
	r.put("resources.yaml", "- {id: tools/search, environment: production, sensitivity: 1}\n- {id: tools/files, environment: production, sensitivity: 1}\n- {id: tools/shred, environment: production, sensitivity: 1}\n")
	r.put("routes.yaml", toolRoutes+"- {host: tools.example, path: /mcp/tools, methods: {LIST: list}, resource: tools/search}\n- {host: tools.example, path: /mcp, methods: {GET: list}, resource: tools/search}\n- {host: tools.example, path: /mcp/tools/shred, methods: {CALL: delete}, resource: tools/shred}\n")
	r.put("policies.cedar", toolPolicies+`@id("nobody-shreds") forbid (principal, action, resource == Resource::"tools/shred");`)
	listed := func() string {
		req, err := http.NewRequest(http.MethodPost, "http://"+r.Proxies()["tools"]+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Host, req.Close = "tools.example", true
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+key.Key)
		status, text := do(t, req)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		return text
	}
	if got := listed(); !strings.Contains(got, "shred") {
		t.Errorf("a point that observes filters: %s", got)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Proxies()["tools"]+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "tools.example"
	req.Header.Set("Authorization", "Bearer "+key.Key)
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	events := bufio.NewReader(stream.Body)
	if first, err := events.ReadString('\n'); err != nil || !strings.Contains(first, "shred") {
		t.Errorf("a stream of a point that observes: %s: %v", first, err)
	}
	r.enforces("tools")
	close(switched)
	if rest, err := io.ReadAll(events); err != nil || strings.Contains(string(rest), "shred") || !strings.Contains(string(rest), `"tools":[]`) {
		t.Errorf("the stream goes on unfiltered when its point enforces: %s: %v", rest, err)
	}
	if got := listed(); strings.Contains(got, "shred") || !strings.Contains(got, "search") || !strings.Contains(got, "delete") {
		t.Errorf("the agent sees %s; want search, and delete, which a person may approve", got)
	}
	var made client.Page[client.Decision]
	r.get("/v1/decisions", &made)
	for _, d := range made.Items {
		if strings.HasPrefix(d.Operation, "CALL") {
			t.Errorf("a list is recorded as the call %s", d.Operation)
		}
	}
	var asked client.Page[client.Approval]
	if r.get("/v1/approvals", &asked); len(asked.Items) != 0 {
		t.Errorf("a list asks people: %+v", asked.Items)
	}
}
