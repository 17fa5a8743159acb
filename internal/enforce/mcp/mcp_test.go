package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

var routes = enforcetest.Routes{
	{Host: "tools.example", Path: "/mcp", Methods: map[string]nhi.ActionClass{"POST": nhi.Read, "GET": nhi.Read, "DELETE": nhi.Write}, Resource: "tools/transport"},
	{Host: "tools.example", Path: "/mcp/tools", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "tools/list"},
	{Host: "tools.example", Path: "/mcp/tools/{tool}", Methods: map[string]nhi.ActionClass{"CALL": nhi.Write}, Resource: "tools/any"},
	{Host: "tools.example", Path: "/mcp/tools/search", Methods: map[string]nhi.ActionClass{"CALL": nhi.Read}, Resource: "tools/search"},
	{Host: "tools.example", Path: "/mcp/prompts/{name}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "tools/prompts"},
	{Host: "tools.example", Path: "/mcp/resources", Methods: map[string]nhi.ActionClass{"READ": nhi.Read}, Resource: "tools/resources"},
}

// listed are the routes with the lists, and with what a server may ask of its
// client.
var listed = enforce.NewRoutes(append(slices.Clone(routes),
	nhi.Route{Host: "tools.example", Path: "/mcp/prompts", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "tools/list"},
	nhi.Route{Host: "tools.example", Path: "/mcp/resources", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "tools/list"},
	nhi.Route{Host: "tools.example", Path: "/mcp/resources/templates", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "tools/list"},
	nhi.Route{Host: "tools.example", Path: "/mcp/client/roots", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "client/roots"},
	nhi.Route{Host: "tools.example", Path: "/mcp/client/sampling", Methods: map[string]nhi.ActionClass{"CREATEMESSAGE": nhi.Write}, Resource: "client/sampling"},
))

// A judge allows what its table says by resource, and denies the rest.
type judge struct {
	mu      sync.Mutex // guards asked
	asked   []nhi.Question
	answers map[string]nhi.Decision
	panics  bool
	tried   []nhi.Question
}

// Try implements enforce.Trier.
func (j *judge) Try(questions []nhi.Question) []nhi.Decision {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tried = append(j.tried, questions...)
	if j.panics {
		panic("as told")
	}
	out := make([]nhi.Decision, len(questions))
	for i, q := range questions {
		if d, ok := j.answers[q.Resource]; ok {
			out[i] = d
		}
	}
	return out
}

func (j *judge) Decide(_ context.Context, q *nhi.Question) nhi.Decision {
	if j.panics {
		panic("as told")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, *q)
	if d, ok := j.answers[q.Resource]; ok && q.Subject.Identity != "" {
		d.ID = fmt.Sprintf("dec-%d", len(j.asked))
		return d
	}
	return nhi.Decision{ID: fmt.Sprintf("dec-%d", len(j.asked)), Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "no-permit", Effect: "forbid"}}}
}

var allow = nhi.Decision{Outcome: nhi.Allow}

// A bench is a gate before a server that notes what reaches it.
type bench struct {
	*Gate
	judge   *judge
	point   nhi.Point
	reached []string
	serve   http.HandlerFunc // the server; nil: it echoes
}

func newBench(open ...string) *bench {
	b := &bench{judge: &judge{answers: map[string]nhi.Decision{}}, point: nhi.Point{ID: "nhi_point", Name: "tools", Mode: nhi.Enforce, Percent: 100}}
	for _, resource := range open {
		b.judge.answers[resource] = allow
	}
	b.Gate = New(Config{Trier: b.judge, Judge: enforce.Judge{
		Routes: enforce.NewRoutes(routes), Decider: b.judge,
		Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: enforcetest.Robot, Method: "api-key"}}},
	}})
	return b
}

func request(body string) *http.Request {
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(body))
	r.Host, r.RemoteAddr = "tools.example", "198.51.100.9:5000"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Accept-Encoding", "gzip")
	r.Header.Set("Authorization", "Bearer good")
	return r
}

func (b *bench) do(r *http.Request) *httptest.ResponseRecorder {
	return b.into(httptest.NewRecorder(), r)
}

func (b *bench) into(w *httptest.ResponseRecorder, r *http.Request) *httptest.ResponseRecorder {
	asking := enforce.Asking{Point: &b.point, Header: r.Header, Original: enforce.Original{
		Method: r.Method, Scheme: "https", Host: r.Host, Target: r.URL.RequestURI(), Address: netip.MustParseAddr("198.51.100.9"),
	}}
	b.Serve(w, r, &asking, func(w http.ResponseWriter, r *http.Request, v *enforce.Verdict) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ContentLength >= 0 && int64(len(body)) != r.ContentLength {
			panic("the length of the body is wrong")
		}
		b.reached = append(b.reached, string(body))
		if v.Outcome != nhi.Allow {
			panic("carried without leave")
		}
		if b.serve != nil {
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			b.serve(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain") // or it would be asking something itself
		_, _ = w.Write(body)
	})
	return w
}

type reply struct {
	ID    any `json:"id"`
	Error *struct {
		Code    int
		Message string
		Data    data
	}
}

func one(t *testing.T, w *httptest.ResponseRecorder) reply {
	t.Helper()
	var got reply
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return got
}

func call(id int, tool, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, tool, arguments)
}

func TestOneToolPassesAndAnotherDoesNot(t *testing.T) {
	b := newBench("tools/search")
	body := call(1, "search", `{"query":"x"}`)
	if w := b.do(request(body)); w.Code != 200 || w.Body.String() != body {
		t.Errorf("search: %d %s", w.Code, w.Body)
	}
	w := b.do(request(call(2, "delete_file", `{"path":"/etc"}`)))
	got := one(t, w)
	if w.Code != 200 || got.ID != float64(2) || got.Error.Code != codeDenied || got.Error.Data.Decision != "dec-2" || got.Error.Data.Outcome != nhi.Deny || !slices.Equal(got.Error.Data.Reasons, []string{"no-permit"}) {
		t.Errorf("delete_file: %d %s", w.Code, w.Body)
	}
	if len(b.reached) != 1 || b.reached[0] != body {
		t.Errorf("the server got %q", b.reached)
	}
	asked := b.judge.asked
	want := []string{"CALL /mcp/tools/search", "CALL /mcp/tools/delete_file"}
	if got := []string{asked[0].Operation, asked[1].Operation}; !slices.Equal(got, want) {
		t.Errorf("asked about %q, want %q", got, want)
	}
	if asked[0].Subject.Identity != enforcetest.Robot || asked[0].Action != nhi.Read || asked[1].Action != nhi.Write || asked[0].Host != "tools.example" {
		t.Errorf("asked %+v", asked)
	}
}

func TestEveryMethodIsLookedUp(t *testing.T) {
	for _, tt := range []struct{ message, want string }{
		{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`, "tools/transport"},
		{`{"jsonrpc":"2.0","id":"a","method":"ping"}`, "tools/transport"},
		{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, "tools/transport"},
		{`{"jsonrpc":"2.0","id":7,"result":{"roots":[]}}`, "tools/transport"},
		{`{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"x"}}`, "tools/transport"},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "tools/list"},
		{`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"review"}}`, "tools/prompts"},
		{`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}`, "tools/resources"},
		{`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"file:///x"}}`, ""},
		{`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}`, ""},
		{`{"jsonrpc":"2.0","id":1,"method":"something/new"}`, ""},
	} {
		b := newBench("tools/transport", "tools/list", "tools/prompts", "tools/resources")
		w := b.do(request(tt.message))
		if asked := b.judge.asked; len(asked) != 1 || asked[0].Resource != tt.want {
			t.Errorf("%s: asked %+v", tt.message, asked)
		}
		if passed := len(b.reached) == 1; passed != (tt.want != "") {
			t.Errorf("%s: %d %s", tt.message, w.Code, w.Body)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		b := newBench("tools/transport")
		r := request("")
		r.Method, r.Body, r.ContentLength = method, http.NoBody, 0
		if w := b.do(r); w.Code != 200 || b.judge.asked[0].Operation != method+" /mcp" {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
		closed := newBench()
		if w := closed.do(r); w.Code != 403 || len(closed.reached) != 0 {
			t.Errorf("%s that is denied: %d %s", method, w.Code, w.Body)
		}
	}
}

func TestABatchIsDecidedItemByItemAndKeepsItsOrder(t *testing.T) {
	a, bad, c, note := call(1, "search", `{"q":1}`), call(2, "delete_file", `{}`), `{"jsonrpc":"2.0","id":3,"method":"ping"}`, `{"jsonrpc":"2.0","method":"notifications/progress"}`
	b := newBench("tools/search", "tools/transport")
	w := b.do(request("[" + strings.Join([]string{a, bad, c, note}, ",") + "]"))
	if want := "[" + a + "," + c + "," + note + "]"; len(b.reached) != 1 || b.reached[0] != want {
		t.Fatalf("the server got %q, want %q", b.reached, want)
	}
	var got []reply
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got) != 4 || got[3].ID != float64(2) || got[3].Error == nil || got[3].Error.Code != codeDenied {
		t.Errorf("%d %s: %v", w.Code, w.Body, err)
	}
	if operations := len(b.judge.asked); operations != 3 { // two calls, and the transport once
		t.Errorf("asked %d times", operations)
	}
	whole := "[" + a + "," + c + "]"
	if w := b.do(request(whole)); w.Body.String() != whole {
		t.Errorf("a batch of which all passes: %s", w.Body)
	}
	closed := newBench()
	w = closed.do(request("[" + bad + "," + a + "]"))
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || len(got) != 2 || len(closed.reached) != 0 {
		t.Errorf("a batch of which nothing passes: %d %s", w.Code, w.Body)
	}
}

func TestRefusalsAreAddedToWhateverTheServerReplies(t *testing.T) {
	batch := "[" + call(1, "search", "{}") + "," + call(2, "delete_file", "{}") + "]"
	for _, tt := range []struct {
		name, media, body string
		status            int
		want              string // what the reply begins with
		code              int
		refused           bool
	}{
		{"a list", "application/json", `[{"jsonrpc":"2.0","id":1,"result":{}}]`, 200, `[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"error"`, 200, true},
		{"one object", "application/json", `{"jsonrpc":"2.0","id":1,"result":{}}`, 200, `[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"error"`, 200, true},
		{"nothing", "", "", 202, `[{"jsonrpc":"2.0","id":2,"error"`, 200, true},
		{"a stream", "text/event-stream", "event: message\ndata: {\"id\":1}\n\n", 200, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"error\"", 200, true},
		{"an error", "text/plain", "session not found", 404, "session not found", 404, false},
		{"no JSON", "application/json", "<html>", 200, `{"jsonrpc":"2.0","id":null,"error":{"code":-32603`, 502, false},
	} {
		b := newBench("tools/search")
		b.serve = func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("the server may compress what has to be read")
			}
			w.Header().Set("Content-Type", tt.media)
			w.Header().Set("Content-Length", fmt.Sprint(len(tt.body)))
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
			_ = http.NewResponseController(w).Flush()
		}
		w := b.do(request(batch))
		if w.Code != tt.code || !strings.HasPrefix(w.Body.String(), tt.want) || strings.Contains(w.Body.String(), `"id":2`) != tt.refused {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
		if tt.media == "text/event-stream" && !strings.HasSuffix(w.Body.String(), tt.body) {
			t.Errorf("%s: %s", tt.name, w.Body)
		}
	}
}

func TestAStepUpOfOneCallSpeaksRFC9470(t *testing.T) {
	b := newBench()
	b.judge.answers["tools/any"] = nhi.Decision{Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: nhi.StepBind}}, Reasons: []nhi.Reason{{Policy: "new-network"}}}
	w := b.do(request(call(1, "delete_file", "{}")))
	got := one(t, w)
	const challenge = `DPoP error="insufficient_user_authentication", acr_values="urn:muster:acr:bound"`
	if w.Code != 401 || w.Header().Get("WWW-Authenticate") != challenge || got.Error.Code != codeStepUp || got.Error.Data.Unlock != challenge || got.ID != float64(1) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	b.judge.answers["tools/any"] = nhi.Decision{Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: nhi.StepApprove, Value: "apr_1"}}}
	w = b.do(request(call(1, "delete_file", "{}")))
	if got := one(t, w); w.Code != 200 || got.Error.Code != codeStepUp || got.Error.Data.Task == nil || got.Error.Data.Task.ID != "apr_1" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWhoProvesNothingIsChallenged(t *testing.T) {
	batch := "[" + call(1, "search", "{}") + "," + call(2, "search", "{}") + "]"
	for name, edit := range map[string]func(*http.Request){
		"no credential":    func(r *http.Request) { r.Header.Del("Authorization") },
		"a wrong one":      func(r *http.Request) { r.Header.Set("Authorization", "Bearer bad") },
		"two of them":      func(r *http.Request) { r.Header.Add("Authorization", "Bearer good") },
		"a proof repeated": func(r *http.Request) { r.Header["Dpop"] = []string{"a", "b"} },
	} {
		for _, body := range []string{call(1, "search", "{}"), batch, `{"jsonrpc":"2.0","method":"notifications/initialized"}`} {
			b := newBench("tools/search", "tools/transport")
			r := request(body)
			edit(r)
			if w := b.do(r); w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "DPoP") || len(b.reached) != 0 {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		}
	}
}

func TestAnApprovalIsForTheArgumentsThatWereShown(t *testing.T) {
	target := func(params string) string {
		b := newBench("tools/any")
		b.do(request(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + params + `}`))
		if len(b.judge.asked) != 1 {
			t.Fatalf("%s: asked %+v", params, b.judge.asked)
		}
		return b.judge.asked[0].Target
	}
	first := target(`{"name":"pay","arguments":{"to":"a","amount":9007199254740993}}`)
	if !strings.HasPrefix(first, "/mcp/tools/pay?sha256=") || strings.Contains(first, "9007") {
		t.Errorf("target %s", first)
	}
	for _, same := range []string{
		`{ "arguments" : {"amount":9007199254740993,"\u0074o":"a"}, "name":"pay" }`,
		`{"name":"pay","arguments":{"to":"a","amount":9007199254740993},"_meta":{"progressToken":17}}`,
	} {
		if got := target(same); got != first {
			t.Errorf("%s is another call", same)
		}
	}
	for _, other := range []string{
		`{"name":"pay","arguments":{"to":"a","amount":9007199254740992}}`,
		`{"name":"pay","arguments":{"to":"b","amount":9007199254740993}}`,
		`{"name":"pay","arguments":{"to":"a","amount":9007199254740993},"_meta":{"account":"x"}}`,
		`{"name":"pay","arguments":{"to":"a","amount":9007199254740993},"more":1}`,
		`{"name":"pay"}`,
	} {
		if target(other) == first {
			t.Errorf("%s is the same call", other)
		}
	}
}

// TestAnApprovalIsForTheQueryThatWasShown: a server may read its account or its
// folder there, so what was approved for one is not approved for another.
func TestAnApprovalIsForTheQueryThatWasShown(t *testing.T) {
	seen := map[string]string{}
	for _, target := range []string{"/mcp", "/mcp?", "/mcp?root=/sandbox", "/mcp?root=/prod", "/mcp?sha256=0"} {
		b := newBench("tools/any")
		r := request(call(1, "pay", "{}"))
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
		r.URL.ForceQuery = strings.HasSuffix(target, "?")
		if w := b.do(r); w.Code != 200 || len(b.judge.asked) != 1 {
			t.Fatalf("%s: %d %s", target, w.Code, w.Body)
		}
		asked := b.judge.asked[0]
		if other, taken := seen[asked.Target]; taken {
			t.Errorf("an approval for %s is one for %s", other, target)
		}
		if seen[asked.Target] = target; strings.Contains(asked.Operation, "?") {
			t.Errorf("operation %s", asked.Operation)
		}
	}
}

// TestASlashAtTheEndOfTheEndpoint is another path to some programs: only where it has
// a route of its own is anything called there.
func TestASlashAtTheEndOfTheEndpoint(t *testing.T) {
	bodies := map[string]string{
		"POST": `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, "CALL": call(1, "search", "{}"),
		"GET": "", "both": "[" + call(1, "search", "{}") + "," + call(2, "search", "{}") + "]",
	}
	for _, tt := range []struct {
		route, target string
		passes        bool
	}{
		{"/mcp", "/mcp", true}, {"/mcp", "/mcp/", false}, {"/mcp/", "/mcp/", true}, {"/mcp/", "/mcp", false}, {"/mcp", "/mcp//", false},
		{"/", "/", true}, {"/mcp", "/", false},
	} {
		for name, body := range bodies {
			b := newBench("tools")
			endpoint := strings.TrimSuffix(tt.route, "/")
			b.c.Judge.Routes = enforce.NewRoutes(enforcetest.Routes{
				{Host: "tools.example", Path: tt.route, Methods: map[string]nhi.ActionClass{"POST": nhi.Read, "GET": nhi.Read}, Resource: "tools"},
				{Host: "tools.example", Path: endpoint + "/tools/{tool}", Methods: map[string]nhi.ActionClass{"CALL": nhi.Read}, Resource: "tools"},
			})
			r := request(body)
			if r.URL.Path = tt.target; name == "GET" {
				r.Method, r.ContentLength = "GET", 0
			}
			b.do(r)
			// A call alone at the endpoint without its slash needs no route for the transport.
			want := tt.passes || tt.target == "/mcp" && (name == "CALL" || name == "both")
			if got := len(b.reached) == 1; got != want {
				t.Errorf("%s at %s with a route for %s: it passes: %v, want %v", name, tt.target, tt.route, got, want)
			}
		}
	}
}

func TestWhatTwoProgramsReadDifferentlyReachesNobody(t *testing.T) {
	good := call(1, "search", `{"query":"x"}`)
	with := func(old, next string) func(*http.Request) *http.Request {
		return func(*http.Request) *http.Request { return request(strings.Replace(good, old, next, 1)) }
	}
	whole := func(body string) func(*http.Request) *http.Request {
		return func(*http.Request) *http.Request { return request(body) }
	}
	header := func(name string, values ...string) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request { r.Header[name] = values; return r }
	}
	for name, edit := range map[string]func(*http.Request) *http.Request{
		"two methods":                    with(`"method"`, `"method":"ping","method"`),
		"two methods, one escaped":       with(`"method"`, `"m\u0065thod":"ping","method"`),
		"a method in capitals beside it": with(`"method"`, `"Method":"ping","method"`),
		"a method in capitals":           with(`"method"`, `"Method"`),
		"two names of a tool":            with(`"name"`, `"name":"delete_file","name"`),
		"a name in capitals beside it":   with(`"name"`, `"Name":"delete_file","name"`),
		"two arguments":                  with(`"query"`, `"query":"y","query"`),
		"arguments in capitals":          with(`"arguments"`, `"ARGUMENTS":{},"arguments"`),
		"another member":                 with(`"id"`, `"extra":1,"id"`),
		"invalid UTF-8":                  with("search", "search\xff"),
		"half a surrogate":               with("search", `search\ud800`),
		"a byte order mark":              whole("\xef\xbb\xbf" + good),
		"UTF-16":                         whole("{\x00\"\x00}\x00"),
		"two bodies":                     whole(good + good),
		"a deep one":                     with(`"x"`, strings.Repeat("[", 200)+strings.Repeat("]", 200)),
		"a huge one":                     whole(good + strings.Repeat(" ", maxBody)),
		"a huge batch":                   whole("[" + strings.TrimSuffix(strings.Repeat(`{"jsonrpc":"2.0","method":"notifications/x"},`, maxBatch+1), ",") + "]"),
		"an empty batch":                 whole("[]"),
		"a batch in a batch":             whole("[[" + good + "]]"),
		"an id twice in a batch":         whole("[" + good + "," + good + "]"),
		"a call as a notification":       with(`"id":1,`, ""),
		"a notification that waits":      with("tools/call", "notifications/call"),
		"an id that is null":             with(`"id":1`, `"id":null`),
		"an id that is an object":        with(`"id":1`, `"id":{}`),
		"a long id":                      with(`"id":1`, `"id":"`+strings.Repeat("x", 300)+`"`),
		"a call that is a response":      with(`"id"`, `"result":{},"id"`),
		"another version":                with(`"2.0"`, `"1.0"`),
		"no version":                     with(`"jsonrpc":"2.0",`, ""),
		"a method without a slash":       with("tools/call", "toolscall"),
		"a method that is a path":        with("tools/call", "tools/call/../list"),
		"a method known in capitals":     with("tools/call", "tools/CALL"),
		"a method known with one":        with("tools/call", "Tools/call"),
		"a tool without a name":          with(`"name":"search",`, ""),
		"a tool whose name is a number":  with(`"search"`, `7`),
		"parameters in a list":           whole(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["search",{}]}`),
		"no content":                     whole(""),
		"another media type":             header("Content-Type", "text/plain"),
		"no media type":                  header("Content-Type"),
		"two media types":                header("Content-Type", "application/json", "text/plain"),
		"another charset":                header("Content-Type", "application/json; charset=utf-16"),
		"a compressed body":              header("Content-Encoding", "gzip"),
		"an upgrade to a websocket":      header("Upgrade", "websocket"),
		"a header for another call":      header("Mcp-Method", "ping"),
		"a header for another tool":      header("Mcp-Name", "delete_file"),
		"a call in a GET":                func(r *http.Request) *http.Request { r.Method = "GET"; return r },
		"another verb":                   func(r *http.Request) *http.Request { r.Method = "PUT"; return r },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench("tools/search", "tools/transport", "tools/any")
			b.judge.answers["tools/search"] = nhi.Decision{Outcome: nhi.Allow, WouldRefuse: true} // not even while the point observes
			w := b.do(edit(request(good)))
			if w.Code < 400 || w.Code > 499 || len(b.reached) != 0 {
				t.Errorf("%d %s reached %q", w.Code, w.Body, b.reached)
			}
			if got := one(t, w); got.Error == nil || got.Error.Data.Decision == "" {
				t.Errorf("%s", w.Body)
			}
			if asked := b.judge.asked; len(asked) != 1 || asked[0].Resource != "" {
				t.Errorf("the log says %+v", asked)
			}
		})
	}
}

func TestANameThatIsAPathLeadsNowhere(t *testing.T) {
	for _, tool := range []string{"../prompts/x", "a/../search", ".", "..", "/search", "search?x", "search#", "%73earch", "sea\\rch", "search;x", "sea\nrch", "a//b", "search/"} {
		b := newBench("tools/search", "tools/any", "tools/transport", "tools/prompts")
		if w := b.do(request(call(1, tool, "{}"))); len(b.reached) != 0 || one(t, w).Error == nil {
			t.Errorf("%q: %d %s", tool, w.Code, w.Body)
		}
	}
}

func TestHeadersThatAgreeAreHarmless(t *testing.T) {
	b := newBench("tools/search")
	r := request(call(1, "search", "{}"))
	r.Header.Set("Mcp-Method", "tools/call")
	r.Header.Set("Mcp-Name", "search")
	if w := b.do(r); w.Code != 200 || len(b.reached) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestDecisionsKeepTheirMeaning(t *testing.T) {
	enforcetest.Drive(t, func(t *testing.T, answer nhi.Decision, caller enforcetest.Caller) nhi.Outcome {
		b := newBench()
		decider := &enforcetest.Decider{Answer: answer}
		b.c.Judge.Decider = decider
		r := request(call(1, "search", "{}"))
		switch caller {
		case enforcetest.Unrouted:
			r = request(call(1, "sear/ch", "{}"))
		case enforcetest.Unproven:
			r.Header.Del("Authorization")
		}
		w := b.do(r)
		if len(b.reached) == 1 {
			return nhi.Allow
		}
		return one(t, w).Error.Data.Outcome
	}, enforcetest.Known, enforcetest.Unrouted, enforcetest.Unproven)
}

func TestAPanicDenies(t *testing.T) {
	b := newBench("tools/search")
	b.judge.panics = true
	if w := b.do(request(call(1, "search", "{}"))); w.Code != 403 || len(b.reached) != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("whoever carries cannot cut the connection")
		}
	}()
	b = newBench("tools/search")
	b.serve = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	b.do(request(call(1, "search", "{}")))
}

func TestTheCallerProvesItselfOnceForAllCalls(t *testing.T) {
	b := newBench("tools/search")
	verifier := &counting{}
	b.c.Judge.Verifier = verifier
	b.do(request("[" + call(1, "search", "{}") + "," + call(2, "search", "{}") + "," + call(3, "search", "{}") + "]"))
	if verifier.n != 1 || len(b.judge.asked) != 3 {
		t.Errorf("verified %d times for %d calls: a proof works once", verifier.n, len(b.judge.asked))
	}
	want := nhi.Evidence{Authorization: "Bearer good", Method: "POST", URL: "https://tools.example/mcp", Address: verifier.last.Address, At: verifier.last.At}
	if diff := cmp.Diff(want, verifier.last, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type counting struct {
	n    int
	last nhi.Evidence
}

func (c *counting) Verify(_ context.Context, e nhi.Evidence) (nhi.Attested, error) {
	c.n++
	c.last = e
	return nhi.Attested{Identity: enforcetest.Robot}, nil
}

// FuzzBodies holds that nothing but what was allowed reaches the server, and
// that it reads there as it was read here.
func FuzzBodies(f *testing.F) {
	f.Add(call(1, "search", `{"a":[1,2,{"b":null}]}`))
	f.Add("[" + call(1, "search", "{}") + "," + call(2, "delete_file", "{}") + `,{"jsonrpc":"2.0","method":"notifications/x"}]`)
	f.Add(`{"jsonrpc":"2.0","id":7,"result":{}}`)
	f.Fuzz(func(t *testing.T, body string) {
		b := newBench("tools/search")
		w := b.do(request(body))
		if w.Code != 200 && (w.Code < 400 || w.Code > 499) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, got := range b.reached {
			if got[0] != '[' {
				got = "[" + got + "]"
			}
			var messages []struct { // as a lax reader has it: the last of two names, in any case
				Method string
				Params struct{ Name string }
			}
			if err := json.Unmarshal([]byte(got), &messages); err != nil {
				t.Fatalf("%q reached the server: %v", got, err)
			}
			for _, m := range messages {
				if m.Method != "tools/call" || m.Params.Name != "search" {
					t.Fatalf("%q reached the server as %+v", got, m)
				}
			}
		}
	})
}
