package mcp

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// A posted is what the body of a request holds.
type posted struct {
	messages []message
	batch    bool
	calls    []enforce.Call
}

// A message is one request, notification or response (JSON-RPC 2.0).
type message struct {
	raw     jsontext.Value // as it came
	id      jsontext.Value // nil: nobody waits for a reply
	method  string
	name    string           // of what is called, where it has one
	call    int              // of posted.calls
	verdict *enforce.Verdict // on that call
}

// envelope are the members that a message may have.
type envelope struct {
	Version string         `json:"jsonrpc"`
	ID      jsontext.Value `json:"id"`
	Method  *string        `json:"method"`
	Params  jsontext.Value `json:"params"`
	Result  jsontext.Value `json:"result"`
	Error   jsontext.Value `json:"error"`
}

// parse reads a body that was sent to an endpoint.
func parse(body []byte, target string) (posted, error) {
	if enforce.TooDeep(body, maxDepth) {
		return posted{}, errJSON
	}
	text := jsontext.Value(bytes.TrimSpace(body))
	if !text.IsValid() { // names that occur twice and broken UTF-8 as well
		return posted{}, errJSON
	}
	sent := posted{batch: text.Kind() == '['}
	raws := []jsontext.Value{text}
	if sent.batch {
		raws = nil
		if json.Unmarshal(text, &raws) != nil || len(raws) == 0 || len(raws) > maxBatch {
			return posted{}, errBatch
		}
	}
	endpoint := endpointOf(target)
	ids, transport := make(map[string]bool), -1
	for _, raw := range raws {
		m, params, err := single(raw)
		if err != nil {
			return posted{}, err
		}
		if m.id != nil && m.method != "" {
			id, ok := meaning(m.id)
			if !ok {
				return posted{}, errID
			}
			if ids[id] {
				return posted{}, errBatch
			}
			ids[id] = true
		}
		if rides(m.method) {
			if transport < 0 {
				transport = len(sent.calls)
				sent.calls = append(sent.calls, enforce.Call{Method: http.MethodPost, Path: pathOf(target)})
			}
			m.call = transport
		} else {
			call, name, err := named(endpoint, m.method, params)
			if err != nil {
				return posted{}, err
			}
			m.call, m.name = len(sent.calls), name
			sent.calls = append(sent.calls, call)
		}
		sent.messages = append(sent.messages, m)
	}
	return sent, nil
}

// single reads one message and checks that it is of one kind.
func single(raw jsontext.Value) (message, jsontext.Value, error) {
	var e envelope
	if json.Unmarshal(raw, &e, json.RejectUnknownMembers(true)) != nil || e.Version != "2.0" {
		return message{}, nil, errMessage
	}
	m := message{raw: raw, id: e.ID}
	kind := e.ID.Kind()
	if e.ID != nil && kind != '"' && kind != '0' || len(e.ID) > 256 {
		return message{}, nil, errMessage
	}
	answered := e.Result != nil || e.Error != nil
	switch {
	case e.Method == nil: // a response, of one sort
		if e.Params != nil || (e.Result != nil) == (e.Error != nil) || e.ID == nil {
			return message{}, nil, errMessage
		}
		return m, nil, nil
	case answered, *e.Method == "":
		return message{}, nil, errMessage
	case e.ID == nil && !strings.HasPrefix(*e.Method, "notifications/"):
		// A call that nobody waits for would be a call all the same.
		return message{}, nil, errMessage
	case e.ID != nil && strings.HasPrefix(*e.Method, "notifications/"):
		return message{}, nil, errMessage
	}
	m.method = *e.Method
	return m, e.Params, nil
}

// rides reports whether a message calls for nothing and goes under the
// transport: a response, a notification, the beginning and the sign of life.
func rides(method string) bool {
	return method == "" || method == "initialize" || method == "ping" || strings.HasPrefix(method, "notifications/")
}

// naming are the methods whose calls have a name, and the member it is in.
var naming = map[string]string{"tools/call": "name", "prompts/get": "name"}

// meaning is what an id says, in whichever way it is written. To some programs "1"
// is 1, so it is here. A number that is not whole, or that some programs round, means
// nothing for sure; nor does null.
func meaning(id jsontext.Value) (text string, ok bool) {
	switch id.Kind() {
	case '"':
		err := json.Unmarshal(id, &text)
		return text, err == nil
	case '0':
		n, err := strconv.ParseInt(string(id), 10, 64)
		const exact = 1<<53 - 1
		ok = err == nil && -exact <= n && n <= exact && string(id) == strconv.FormatInt(n, 10)
		return string(id), ok
	}
	return string(id), false
}

// disguised reports whether a method is one that is known here, but for capitals
// or signs that do not count to every server: its name would go unread, and the list
// that it asks for would pass whole.
func disguised(method string) bool {
	if _, known := plainly[method]; known {
		return false
	}
	_, known := bare[letters(method)]
	return known
}

// plainly are the methods that are known here, and bare what is left of them without
// signs.
var plainly, bare = func() (plainly, bare map[string]struct{}) {
	plainly, bare = map[string]struct{}{}, map[string]struct{}{}
	known := slices.Concat(slices.Collect(maps.Keys(lists)), slices.Collect(maps.Keys(naming)), []string{"resources/read", "initialize", "ping"})
	for _, method := range known {
		plainly[method], bare[letters(method)] = struct{}{}, struct{}{}
	}
	return plainly, bare
}()

// letters are those of s, as small ones.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// named returns what a call is looked up by, and its name.
func named(endpoint, method string, params jsontext.Value) (call enforce.Call, name string, err error) {
	about, verb, ok := cutLast(method)
	if !ok || disguised(method) || !word(verb) || strings.ContainsFunc(about, func(r rune) bool { return r != '/' && r != '_' && r != '-' && !word(string(r)) }) {
		return enforce.Call{}, "", errName
	}
	members, err := object(params)
	if err != nil {
		return enforce.Call{}, "", err
	}
	call = enforce.Call{Method: strings.ToUpper(verb), Path: endpoint + "/" + about}
	if member := naming[method]; member != "" {
		if at := members[member]; at.Kind() != '"' || json.Unmarshal(at, &name) != nil || name == "" || len(name) > 256 {
			return enforce.Call{}, "", errName
		}
		call.Path, call.Named = call.Path+"/"+name, true
	}
	if call.Digest, err = digest(members); err != nil {
		return enforce.Call{}, "", errJSON
	}
	return call, name, nil
}

// object returns the members of the parameters. Two that differ only in the
// case of their letters are one to some programs.
func object(params jsontext.Value) (map[string]jsontext.Value, error) {
	members := map[string]jsontext.Value{}
	if params == nil {
		return members, nil
	}
	if params.Kind() != '{' || json.Unmarshal(params, &members) != nil || len(members) > 64 {
		return nil, errParams
	}
	for name := range members {
		for _, known := range [...]string{"name", "arguments", "uri", "_meta"} {
			if name != known && strings.EqualFold(name, known) {
				return nil, errParams
			}
		}
	}
	return members, nil
}

// digest is that of the parameters without the progress token.
func digest(members map[string]jsontext.Value) (string, error) {
	if meta := members["_meta"]; meta.Kind() == '{' {
		var inner map[string]jsontext.Value
		if err := json.Unmarshal(meta, &inner); err != nil {
			return "", err
		}
		if delete(inner, "progressToken"); len(inner) == 0 {
			delete(members, "_meta")
		} else if members["_meta"], _ = json.Marshal(inner); members["_meta"] == nil {
			return "", errJSON
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return "", err
	}
	return enforce.Digest(text)
}

func cutLast(method string) (about, verb string, ok bool) {
	at := strings.LastIndexByte(method, '/')
	if at <= 0 || len(method) > 128 {
		return "", "", false
	}
	return method[:at], method[at+1:], true
}

// word reports whether s is one of letters.
func word(s string) bool {
	for _, c := range []byte(s) {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return s != "" && len(s) <= 24
}

// agrees checks the headers by which programs between caller and server may
// route a call that they do not read.
func (p *posted) agrees(header http.Header) error {
	for name, of := range map[string]func(*message) string{
		"Mcp-Method": func(m *message) string { return m.method },
		"Mcp-Name":   func(m *message) string { return m.name },
	} {
		for _, said := range header[name] {
			if p.batch || len(p.messages) != 1 || said != of(&p.messages[0]) {
				return errHeader
			}
		}
	}
	return nil
}

// settle gives each message the verdict on its call. It returns that of the
// first which passes, nil when none does.
func (p *posted) settle(verdicts []enforce.Verdict) (passed *enforce.Verdict) {
	for i := range p.messages {
		m := &p.messages[i]
		m.verdict = &verdicts[m.call]
		if passed == nil && m.verdict.Outcome == nhi.Allow {
			passed = m.verdict
		}
	}
	return passed
}

// left returns what of a body passes, as it came, and how many messages that is.
func (p *posted) left() (body []byte, n int) {
	var parts [][]byte
	for i := range p.messages {
		if p.messages[i].verdict.Outcome == nhi.Allow {
			parts = append(parts, p.messages[i].raw)
		}
	}
	if !p.batch {
		return parts[0], 1
	}
	return append(append([]byte("["), bytes.Join(parts, []byte(","))...), ']'), len(parts)
}

// refusals are the errors for those who wait for a reply to what was refused.
func (p *posted) refusals() (out []jsontext.Value) {
	for i := range p.messages {
		if m := &p.messages[i]; m.verdict.Outcome != nhi.Allow && m.method != "" && m.id != nil {
			out = append(out, m.refusal())
		}
	}
	return out
}
