package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/enforce/mcp"
	"github.com/muster-id/muster/internal/nhi"
)

// byTool allows one resource.
type byTool string

func (b byTool) Decide(_ context.Context, q *nhi.Question) nhi.Decision {
	if q.Resource == string(b) {
		return nhi.Decision{ID: "dec-yes", Outcome: nhi.Allow}
	}
	return nhi.Decision{ID: "dec-no", Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "no-permit", Effect: "forbid"}}}
}

func TestTheProxyLooksIntoCallsOfTools(t *testing.T) {
	tools := enforcetest.Routes{
		{Host: "tools.example", Path: "/mcp/tools/search", Methods: map[string]nhi.ActionClass{"CALL": nhi.Read}, Resource: "tools/search"},
		{Host: "tools.example", Path: "/mcp/tools/{tool}", Methods: map[string]nhi.ActionClass{"CALL": nhi.Write}, Resource: "tools/any"},
		{Host: "tools.example", Path: "/mcp", Methods: map[string]nhi.ActionClass{"POST": nhi.Read, "GET": nhi.Read}, Resource: "tools/transport"},
	}
	var mu sync.Mutex // guards reached
	var reached []string
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Authorization") != "" || r.Header.Get("Muster-Identity") != string(enforcetest.Robot) {
			t.Errorf("the application got %v, %v", r.Header, err)
		}
		mu.Lock()
		reached = append(reached, r.Header.Get("Muster-Decision")+" "+string(body))
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `[{"jsonrpc":"2.0","id":1,"result":{}}]`)
	})
	st := put(t, app, func(s *script) {
		s.settings.Protocol = MCP
		s.config.Protocol = mcp.New(mcp.Config{Judge: enforce.Judge{
			Routes: enforce.NewRoutes(tools), Decider: byTool("tools/search"),
			Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: enforcetest.Robot}}},
		}})
	})
	post := func(method, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+st.address+"/mcp", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "tools.example"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer good")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock() // the application is done with this request
		defer mu.Unlock()
		return res.StatusCode, string(text)
	}
	const search, remove = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}`, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"remove"}}`
	status, text := post("POST", "["+remove+","+search+"]")
	var replies []struct{ ID int }
	if err := json.Unmarshal([]byte(text), &replies); err != nil || status != 200 || len(replies) != 2 || replies[0].ID != 1 || replies[1].ID != 2 {
		t.Errorf("%d %s: %v", status, text, err)
	}
	if len(reached) != 1 || reached[0] != "dec-yes ["+search+"]" {
		t.Errorf("the application got %q", reached)
	}
	for name, try := range map[string][2]string{"a call that is denied": {"POST", remove}, "no call": {"POST", "x"}, "the stream": {"GET", ""}, "another verb": {"PATCH", search}} {
		if status, text := post(try[0], try[1]); len(reached) != 1 || status == 200 && !strings.Contains(text, `"error"`) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if asked := st.decider.Asked(); len(asked) != 0 {
		t.Errorf("requests were decided about as a whole, too: %+v", asked)
	}
}

func TestAProxyThatCannotLookIntoItsProtocolIsNotMade(t *testing.T) {
	settings := Settings{Point: "edge", Listen: "127.0.0.1:0", Upstream: Upstream{URLs: []string{"http://127.0.0.1:1"}}}
	for protocol, gate := range map[string]Protocol{MCP: nil, "grpc": nil, HTTP: mcp.New(mcp.Config{})} {
		settings.Protocol = protocol
		if _, err := New(settings, Config{Protocol: gate}); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("protocol %s: %v", protocol, err)
		}
	}
}
