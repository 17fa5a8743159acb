package mcp

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

const (
	maxItems   = 1000             // of a list
	maxAsked   = 1000             // requests of a server in one reply
	answerTime = 10 * time.Second // for telling a server what was refused, all of one reply together
)

// lists are the members of results that are lists, by the method that asks for
// them.
var lists = map[string]string{
	"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources", "resources/templates/list": "resourceTemplates",
}

// A told is a message of a server.
type told struct {
	raw    jsontext.Value // as it came, without space
	id     jsontext.Value // nil: nobody waits for a reply
	method string         // empty: it is a reply
	params jsontext.Value
	result jsontext.Value
}

// listen reads a message of a server. It is read more leniently than one of a
// client, but for what says which sort it is: a name in another spelling is one to
// some programs.
func listen(raw jsontext.Value) (*told, error) {
	var members map[string]jsontext.Value
	if raw.Kind() != '{' || json.Unmarshal(raw, &members) != nil || len(members) > 64 {
		return nil, errReplyForm
	}
	for name := range members {
		for _, known := range [...]string{"jsonrpc", "id", "method", "params", "result", "error"} {
			if name != known && strings.EqualFold(name, known) {
				return nil, errReplyForm
			}
		}
	}
	m := &told{raw: raw, id: members["id"], params: members["params"], result: members["result"]}
	if kind := m.id.Kind(); m.id != nil && kind != '"' && kind != '0' && kind != 'n' || len(m.id) > 256 {
		return nil, errReplyForm
	}
	if method, is := members["method"]; is && (method.Kind() != '"' || json.Unmarshal(method, &m.method) != nil || m.method == "") {
		return nil, errReplyForm
	}
	return m, nil
}

// A conversation is a request that is carried, and what its server says meanwhile.
type conversation struct {
	gate     *Gate
	request  *http.Request
	asking   *enforce.Asking
	verdict  *enforce.Verdict // that let the request through
	carry    enforce.Carry
	endpoint string
	awaited  map[string]string // ids of what is carried, and the member that is a list
	enforced bool              // the point bites for the caller, when the last message began
	asks     int               // requests of the server so far
	spent    time.Duration     // on telling the server what was refused
}

// converse carries a request and looks at the reply.
func (g *Gate) converse(w http.ResponseWriter, r *http.Request, asking *enforce.Asking, v *enforce.Verdict, awaited map[string]string, carry enforce.Carry) {
	r.Header.Del("Accept-Encoding") // the reply is read
	c := &conversation{
		gate: g, request: r, asking: asking, verdict: v, carry: carry, endpoint: endpointOf(asking.Original.Target), awaited: awaited,
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s := &screen{ResponseWriter: w, hearer: c, longest: g.longest, events: events{longest: g.longest}, refused: cancel}
	defer func() { c.end(s, recover()) }()
	carry(s, r.WithContext(ctx), v)
	s.finish()
}

// end is for a reply that is over, or was given up with a panic: so does whoever
// carries it when a part of it is not taken.
func (c *conversation) end(s *screen, panicked any) {
	if s.failed != nil {
		c.gate.c.Log.Warn("a reply of an MCP server did not pass", "point", c.asking.Point.Name, "error", s.failed)
	}
	switch {
	case s.broken: // the stream must not look as if it had ended well
		panic(http.ErrAbortHandler)
	case panicked == nil, panicked == http.ErrAbortHandler && s.failed != nil: // the client has our answer
	default:
		panic(panicked)
	}
}

// enforces implements hearer. A stream may go on for days, so the point is read anew.
func (c *conversation) enforces() bool {
	point, stands := c.asking.Point, true
	if c.gate.c.Point != nil {
		var now nhi.Point
		now, stands = c.gate.c.Point()
		point = &now
	}
	c.enforced = !stands || point.Enforces(c.verdict.Identity)
	return c.enforced
}

// hear implements hearer.
func (c *conversation) hear(m *told) (jsontext.Value, error) {
	switch {
	case m.method == "":
		return c.reply(m)
	case m.id == nil && !strings.HasPrefix(m.method, "notifications/"):
		return nil, errReplyForm // a request that nobody waits for is one all the same
	case m.id == nil, m.method == "ping":
		return m.raw, nil
	}
	if c.asks++; c.asks > maxAsked {
		return nil, errReplyMany
	}
	return c.asked(m)
}

// asked decides about what a server asks of its client. The server is told when
// that is refused: it waits.
func (c *conversation) asked(m *told) (jsontext.Value, error) {
	call, _, err := named(c.endpoint+"/client", m.method, m.params)
	if err != nil {
		call = enforce.Call{Err: err}
	}
	v := c.gate.c.Judge.JudgeLater(c.request.Context(), c.asking, c.verdict, &call)
	if v.Outcome == nhi.Allow {
		return m.raw, nil
	}
	text := "muster: denied"
	code := codeDenied
	if v.Outcome == nhi.StepUp {
		code, text = codeStepUp, "muster: step-up"
	}
	began := time.Now()
	c.answer(problem(m.id, code, text, &data{Decision: v.Decision, Outcome: v.Outcome, Reasons: []string{}}))
	if c.spent += time.Since(began); c.spent >= c.gate.patience {
		return nil, errReplyDeaf
	}
	return nil, nil
}

// answer tells the server something in the client's place, in the session of the
// client's request, whose reply waits meanwhile.
func (c *conversation) answer(message []byte) {
	ctx, cancel := context.WithTimeout(c.request.Context(), c.gate.patience-c.spent)
	defer cancel()
	defer func() {
		if recover() != nil { // the connection to the server broke
			c.gate.c.Log.Warn("an MCP server could not be told that it was refused", "point", c.asking.Point.Name)
		}
	}()
	r := c.request.Clone(ctx)
	r.Method, r.Body, r.ContentLength, r.TransferEncoding = http.MethodPost, io.NopCloser(bytes.NewReader(message)), int64(len(message)), nil
	for _, name := range [...]string{"Last-Event-Id", "Mcp-Method", "Mcp-Name", "Content-Length"} {
		r.Header.Del(name)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	c.carry(&nowhere{http.Header{}}, r, c.verdict)
}

// nowhere is where a reply goes that nobody reads.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header       { return n.header }
func (*nowhere) WriteHeader(int)             {}
func (*nowhere) Write(b []byte) (int, error) { return len(b), nil }

// reply takes from a list what the caller may not use.
func (c *conversation) reply(m *told) (jsontext.Value, error) {
	if !c.enforced {
		return m.raw, nil
	}
	id, clear := meaning(m.id)
	want, known := c.awaited[id]
	if !clear {
		want, known = "", false
	}
	if known && want == "" {
		return m.raw, nil
	}
	var members map[string]jsontext.Value
	if m.result.Kind() == '{' && json.Unmarshal(m.result, &members) != nil {
		return nil, errReplyForm
	}
	if want != "" && m.result != nil && members[want].Kind() != '[' {
		return nil, errReplyList
	}
	// A stream that goes on where another broke off has replies to earlier requests,
	// so lists are known by what they are.
	changed := false
	for _, member := range lists {
		for name := range members {
			if name != member && strings.EqualFold(name, member) {
				return nil, errReplyList
			}
		}
		if members[member].Kind() != '[' {
			continue
		}
		left, err := c.filter(member, members[member])
		if err != nil {
			return nil, err
		}
		members[member], changed = left, true
	}
	if !changed {
		return m.raw, nil
	}
	result, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return nil, errReplyList
	}
	return replaced(m.raw, result)
}

// replaced is a message with another result.
func replaced(raw, result jsontext.Value) (jsontext.Value, error) {
	var members map[string]jsontext.Value
	if json.Unmarshal(raw, &members) != nil {
		return nil, errReplyForm
	}
	members["result"] = result
	out, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return nil, errReplyForm
	}
	return out, nil
}

// filter returns those items of a list that their caller may use, or could after a
// step-up.
func (c *conversation) filter(member string, list jsontext.Value) (jsontext.Value, error) {
	var items []jsontext.Value
	if json.Unmarshal(list, &items) != nil || len(items) > maxItems {
		return nil, errReplyList
	}
	if len(items) == 0 {
		return list, nil
	}
	calls, err := c.calls(member, items)
	if err != nil {
		return nil, err
	}
	if c.gate.c.Trier == nil || c.verdict.Subject == nil {
		return nil, errReplyUntold
	}
	outcomes := c.gate.c.Judge.TryCalls(c.gate.c.Trier, c.asking, c.verdict.Subject, calls)
	if len(outcomes) != len(calls) {
		return nil, errReplyUntold
	}
	kept := make([]jsontext.Value, 0, len(items))
	for i := range items {
		if o := outcomes[min(i, len(outcomes)-1)]; o == nhi.Allow || o == nhi.StepUp {
			kept = append(kept, items[i])
		}
	}
	return join(kept), nil
}

// calls are what the use of each item is looked up by; one for all where names do
// not count.
func (c *conversation) calls(member string, items []jsontext.Value) ([]enforce.Call, error) {
	method := ""
	switch member {
	case "tools":
		method = "tools/call"
	case "prompts":
		method = "prompts/get"
	default:
		return []enforce.Call{{Method: "READ", Path: c.endpoint + "/resources"}}, nil
	}
	about, verb, _ := cutLast(method)
	calls := make([]enforce.Call, len(items))
	for i, item := range items {
		name, err := nameOf(item)
		if err != nil {
			return nil, err
		}
		calls[i] = enforce.Call{Method: strings.ToUpper(verb), Path: c.endpoint + "/" + about + "/" + name, Named: true}
	}
	return calls, nil
}

// nameOf reads the name of an item.
func nameOf(item jsontext.Value) (string, error) {
	var members map[string]jsontext.Value
	if item.Kind() != '{' || json.Unmarshal(item, &members) != nil {
		return "", errReplyList
	}
	for name := range members {
		if name != "name" && strings.EqualFold(name, "name") {
			return "", errReplyList
		}
	}
	var name string
	if at := members["name"]; at.Kind() != '"' || json.Unmarshal(at, &name) != nil || name == "" || len(name) > 256 {
		return "", errReplyList
	}
	return name, nil
}

// pathOf is where a request was sent to.
func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// endpointOf is the path below which the calls of a request lie.
func endpointOf(target string) string { return strings.TrimSuffix(pathOf(target), "/") }

// awaits are the ids of the messages that pass, and the lists that they ask for.
func (p *posted) awaits() map[string]string {
	out := map[string]string{}
	for i := range p.messages {
		if m := &p.messages[i]; m.verdict.Outcome == nhi.Allow && m.method != "" && m.id != nil {
			id, _ := meaning(m.id)
			out[id] = lists[m.method]
		}
	}
	return out
}
