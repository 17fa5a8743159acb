package mcp

import (
	"bytes"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/nhi"
)

// The codes of errors. The last two are ours, of those that JSON-RPC 2.0 leaves
// to servers.
const (
	codeParse    = -32700
	codeInvalid  = -32600
	codeInternal = -32603
	codeDenied   = -32090
	codeStepUp   = -32091
)

// data is what an error says besides.
type data struct {
	Decision string      `json:"decision,omitempty"`
	Outcome  nhi.Outcome `json:"outcome"`
	Reasons  []string    `json:"reasons"`
	// Unlock is the challenge that would let the call pass (RFC 9470).
	Unlock string `json:"unlock,omitempty"`
	Task   *task  `json:"task,omitempty"`
}

// A task is the approval that the caller can wait for.
type task struct {
	ID     string            `json:"id"`
	Status nhi.ApprovalState `json:"status"`
}

// problem is an error of JSON-RPC. Without an id it is about the whole body.
func problem(id jsontext.Value, code int, text string, more *data) jsontext.Value {
	if id == nil {
		id = jsontext.Value("null")
	}
	type failure struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    *data  `json:"data,omitempty"`
	}
	out, err := json.Marshal(struct {
		Version string         `json:"jsonrpc"`
		ID      jsontext.Value `json:"id"`
		Error   failure        `json:"error"`
	}{"2.0", id, failure{code, text, more}})
	if err != nil { // texts that are no UTF-8, which reasons are not
		return jsontext.Value(`{"jsonrpc":"2.0","id":null,"error":{"code":-32090,"message":"muster: denied"}}`)
	}
	return out
}

// refusal is the error for whoever waits for a reply.
func (m *message) refusal() jsontext.Value {
	v := m.verdict
	more := data{Decision: v.Decision, Outcome: v.Outcome, Reasons: v.Reasons, Unlock: v.Challenge}
	if more.Reasons == nil {
		more.Reasons = []string{}
	}
	code, text := codeDenied, "muster: denied by "+strings.Join(v.Reasons, ", ")
	if v.Outcome == nhi.StepUp {
		code, text = codeStepUp, "muster: step-up by "+strings.Join(v.Reasons, ", ")
	}
	if v.Task != "" {
		more.Task = &task{v.Task, nhi.ApprovalPending}
		text += "; people were asked to approve it as " + v.Task
	}
	return problem(m.id, code, text, &more)
}

// refuse answers a request whose only message does not pass. One whose caller
// can do something about it, and one that nobody waits for, is refused by
// status; else the error says it all, as the transport wants.
func refuse(w http.ResponseWriter, m *message, batch bool) {
	body, status := m.refusal(), http.StatusOK
	switch {
	case m.verdict.Challenge != "":
		w.Header().Set("WWW-Authenticate", m.verdict.Challenge)
		status = http.StatusUnauthorized
	case m.id == nil || m.method == "":
		status = http.StatusForbidden
	}
	if batch && status == http.StatusOK {
		body = join([]jsontext.Value{body})
	}
	w.Header().Set("Muster-Decision", m.verdict.Decision)
	write(w, status, body)
}

// refuseAll answers a batch of which nothing passes.
func refuseAll(w http.ResponseWriter, p *posted) {
	refusals := p.refusals()
	first := p.messages[0].verdict
	if len(refusals) == 0 || first.Subject == nil && first.Challenge != "" { // nobody proved anything, for none of them
		refuse(w, &p.messages[0], false)
		return
	}
	write(w, http.StatusOK, join(refusals))
}

func join(values []jsontext.Value) []byte {
	parts := make([][]byte, len(values))
	for i := range values {
		parts[i] = values[i]
	}
	return append(append([]byte("["), bytes.Join(parts, []byte(","))...), ']')
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(body)
}

// A merger adds refusals to a server's reply to the rest of a batch: to a stream
// as its first events, to a list as its last elements. A reply that is no
// success is about the whole request, and stays as it is.
type merger struct {
	http.ResponseWriter
	refusals []jsontext.Value
	state    merging
	kept     bytes.Buffer
	long     bool // the reply is longer than can be kept
}

// merging is what a merger does with a reply.
type merging int

const (
	waiting merging = iota // for the header
	passing                // the reply goes on as it comes
	keeping                // it is kept to its end
)

// Unwrap is for http.ResponseController.
func (m *merger) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// WriteHeader sees which sort of reply it is.
func (m *merger) WriteHeader(status int) {
	if status < 200 {
		m.ResponseWriter.WriteHeader(status)
		return
	}
	if m.state != waiting {
		return
	}
	media, _, _ := mime.ParseMediaType(m.Header().Get("Content-Type"))
	stream := media == "text/event-stream" && m.Header().Get("Content-Encoding") == ""
	if status/100 == 2 && len(m.refusals) > 0 && !stream {
		m.state = keeping
		return
	}
	m.state = passing
	if status/100 != 2 || len(m.refusals) == 0 {
		m.ResponseWriter.WriteHeader(status)
		return
	}
	m.Header().Del("Content-Length")
	m.ResponseWriter.WriteHeader(status)
	for _, refusal := range m.refusals {
		_, _ = m.ResponseWriter.Write([]byte("event: message\ndata: " + string(escaped(refusal)) + "\n\n"))
	}
}

// Write passes the reply on, or keeps it until its end.
func (m *merger) Write(b []byte) (int, error) {
	if m.state == waiting {
		m.WriteHeader(http.StatusOK)
	}
	if m.state == passing {
		return m.ResponseWriter.Write(b)
	}
	if m.kept.Len()+len(b) > maxReply {
		m.long = true
		return len(b), nil
	}
	return m.kept.Write(b)
}

// FlushError passes on what is not kept.
func (m *merger) FlushError() error {
	if m.state == waiting {
		m.WriteHeader(http.StatusOK)
	}
	if m.state == keeping {
		return nil
	}
	return http.NewResponseController(m.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (m *merger) Flush() { _ = m.FlushError() }

// finish writes what was kept, with the refusals.
func (m *merger) finish() {
	if m.state == waiting {
		m.WriteHeader(http.StatusOK)
	}
	if m.state != keeping {
		return
	}
	var replies []jsontext.Value
	text := jsontext.Value(bytes.TrimSpace(m.kept.Bytes()))
	fits := !m.long && m.Header().Get("Content-Encoding") == ""
	switch {
	case fits && len(text) == 0:
	case fits && text.Kind() == '[' && json.Unmarshal(text, &replies) == nil:
	case fits && text.Kind() == '{' && text.IsValid():
		replies = append(replies, text)
	default:
		m.Header().Del("Content-Encoding")
		m.Header().Del("Content-Length")
		write(m.ResponseWriter, http.StatusBadGateway, problem(nil, codeInternal, "muster: the server's reply to the rest of the batch cannot be read", nil))
		return
	}
	m.Header().Del("Content-Length")
	write(m.ResponseWriter, http.StatusOK, join(append(replies, m.refusals...)))
}
