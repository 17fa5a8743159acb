package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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

// lines is where a log goes that a test reads while it is written.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// A reply that does not pass becomes an answer of ours, also where the proxy still
// copies it: its client must not wait, nor see a connection that breaks.
func TestAReplyThatDoesNotPassIsAnsweredByTheProxy(t *testing.T) {
	tools := enforcetest.Routes{
		{Host: "tools.example", Path: "/mcp/tools", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "tools/search"},
	}
	var serve atomic.Pointer[http.HandlerFunc]
	var log lines
	st := put(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*serve.Load())(w, r) }), func(s *script) {
		s.settings.Protocol = MCP
		s.config.Protocol = mcp.New(mcp.Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Judge: enforce.Judge{
			Routes: enforce.NewRoutes(tools), Decider: byTool("tools/search"),
			Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: enforcetest.Robot}}},
		}})
	})
	const noList = `{"jsonrpc":"2.0","id":1,"result":{"tools":"secret"}}`
	says := func(media, coding, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			if coding != "" {
				w.Header().Set("Content-Encoding", coding)
			}
			_, _ = io.WriteString(w, text)
		}
	}
	for _, tt := range []struct {
		name   string
		serve  http.HandlerFunc
		breaks bool
		logged string
	}{
		{"a list that is refused", says("application/json", "", noList), false, "list"},
		{"a reply that is compressed", says("application/json", "gzip", noList), false, "compressed"},
		{"a long one that is compressed", says("application/json", "br", strings.Repeat("secret", 1<<19)), false, "compressed"},
		{"a media type that is unclear", says("application/problem+json", "", noList), false, "media type"},
		{"more than is kept", says("application/json", "", `{"jsonrpc":"2.0","id":1,"result":{"x":"`+strings.Repeat("secret", 3<<20)+`"}}`), false, "larger than"},
		{"one that never ends", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-json")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, false, "media type"},
		{"one with trailers", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			says("application/x-json", "", noList)(w, r)
			w.Header().Set("X-Sum", "secret")
		}, false, "media type"},
		{"a stream that is broken off", says("text/event-stream", "", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\ndata: "+noList+"\n\ndata: secret\n\n"), true, "list"},
	} {
		serve.Store(&tt.serve)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+st.address+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "tools.example"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer good")
		client := http.Client{Timeout: patience}
		res, err := client.Do(r)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			log.take()
			continue
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if (err != nil) != tt.breaks || !tt.breaks && (res.StatusCode != http.StatusBadGateway || !strings.Contains(string(text), `"error"`)) || strings.Contains(string(text), "secret") || res.Trailer.Get("X-Sum") != "" {
			t.Errorf("%s: %d %.300s: %v", tt.name, res.StatusCode, text, err)
		}
		if got := log.take(); strings.Count(got, "did not pass") != 1 || !strings.Contains(got, tt.logged) || strings.Contains(got, "secret") {
			t.Errorf("%s: the log says %q", tt.name, got)
		}
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
