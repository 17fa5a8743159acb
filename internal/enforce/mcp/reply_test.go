package mcp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

const listing = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

// says is a server that replies with a text of a media type.
func says(media, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = io.WriteString(w, text)
	}
}

func stream(events ...string) string {
	return "event: message\ndata: " + strings.Join(events, "\n\nevent: message\ndata: ") + "\n\n"
}

// messages are what a client reads from a stream.
func messages(t *testing.T, body string) (out []string) {
	t.Helper()
	for event := range strings.SplitSeq(body, "\n\n") {
		for line := range strings.SplitSeq(event, "\n") {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				out = append(out, data)
			}
		}
	}
	return out
}

// laxly is what a client reads from a stream that takes for the end of a line all
// that str.splitlines of Python does, and that does not look at the events' names.
func laxly(body string) (out []string) {
	body = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\x1c", "\n", "\x1d", "\n", "\x1e", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(body)
	var data []string
	for line := range strings.SplitSeq(body, "\n") {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "" && data != nil:
			out, data = append(out, strings.Join(data, "\n")), nil
		case name == "data":
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
	return out
}

// broken reports whether a reply was cut off, and does it.
func (b *bench) cut(r *http.Request) (w *httptest.ResponseRecorder, cut bool) {
	w = httptest.NewRecorder()
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				panic(v)
			}
			cut = true
		}
	}()
	return b.into(w, r), false
}

func opened() *http.Request {
	r := request("")
	r.Method, r.Body, r.ContentLength = http.MethodGet, http.NoBody, 0
	r.Header.Del("Content-Type")
	r.Header.Set("Mcp-Session-Id", "s-1")
	return r
}

func tool(name string) string {
	return fmt.Sprintf(`{"name":%q,"description":"d","inputSchema":{"type":"object"}}`, name)
}

func result(id, members string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"result":{` + members + `}}`
}

// seen are the names in a list.
func seen(t *testing.T, message string) (names []string, cursor string) {
	t.Helper()
	var got struct {
		Result struct {
			Tools, Prompts []struct{ Name string }
			NextCursor     string
		}
	}
	if err := json.Unmarshal([]byte(message), &got); err != nil {
		t.Fatalf("%s: %v", message, err)
	}
	for _, item := range append(got.Result.Tools, got.Result.Prompts...) {
		names = append(names, item.Name)
	}
	return names, got.Result.NextCursor
}

func TestAListShowsWhatItsCallerMayUse(t *testing.T) {
	all := result("1", `"tools":[`+tool("search")+","+tool("delete_file")+","+tool("a/../search")+`],"nextCursor":"p2","_meta":{"x":1}`)
	for name, tt := range map[string]struct {
		media, text string
		tools       nhi.Decision // on any other tool than search
		want        []string
	}{
		"in JSON":                       {"application/json", all, nhi.Decision{}, []string{"search"}},
		"in JSON with a charset":        {"application/json; charset=utf-8", all, nhi.Decision{}, []string{"search"}},
		"in a stream":                   {"text/event-stream", stream(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`, all), nhi.Decision{}, []string{"search"}},
		"what a step-up would unlock":   {"application/json", all, nhi.Decision{Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: nhi.StepApprove}}}, []string{"search", "delete_file"}},
		"what would only be let pass":   {"application/json", all, nhi.Decision{Outcome: nhi.Deny, WouldRefuse: true}, []string{"search"}},
		"in a batch, as a list":         {"application/json", "[" + all + "]", nhi.Decision{}, []string{"search"}},
		"in JSON with space":            {"application/json", " \n" + strings.ReplaceAll(all, ",", " ,\n ") + "\n", nhi.Decision{}, []string{"search"}},
		"in a stream with other breaks": {"text/event-stream", "\xef\xbb\xbfid: 7\r\n: hello\r\ndata: " + strings.Replace(all, ",", ",\rdata:", 1) + "\r\n\r\n", nhi.Decision{}, []string{"search"}},
	} {
		b := newBench("tools/list", "tools/search")
		b.judge.answers["tools/any"] = tt.tools
		b.serve = says(tt.media, tt.text)
		w := b.do(request(listing))
		text := w.Body.String()
		if strings.HasPrefix(tt.media, "text/") {
			texts := messages(t, text)
			text = texts[len(texts)-1]
		}
		names, cursor := seen(t, strings.Trim(text, "[]\n"))
		if w.Code != 200 || !slices.Equal(names, tt.want) || cursor != "p2" || !strings.Contains(text, `"_meta":{"x":1}`) || !strings.Contains(text, `"inputSchema":{"type":"object"}`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if len(b.judge.asked) != 1 || len(b.judge.tried) != 2 || !b.judge.tried[0].Trial || b.judge.tried[1].Operation != "CALL /mcp/tools/delete_file" {
			t.Errorf("%s: decided %d times, tried %+v", name, len(b.judge.asked), b.judge.tried)
		}
		if w.Header().Get("Content-Length") != "" {
			t.Errorf("%s: the length is that of the server", name)
		}
	}
}

func TestPromptsAndResourcesAreListedAsTheyAreDecided(t *testing.T) {
	for _, tt := range []struct{ method, text, want string }{
		{"prompts/list", `"prompts":[{"name":"review"},{"name":"../tools/wipe"}]`, `"prompts":[{"name":"review"}]`},
		{"resources/list", `"resources":[{"uri":"file:///a","name":"a"}]`, `"resources":[{"uri":"file:///a","name":"a"}]`},
		{"resources/templates/list", `"resourceTemplates":[{"uriTemplate":"file:///{p}","name":"a"}]`, `"resourceTemplates":[{"uriTemplate":"file:///{p}","name":"a"}]`},
		{"tools/list", `"tools":[]`, `"tools":[]`},
	} {
		for _, open := range []bool{true, false} {
			b := newBench("tools/list")
			b.c.Judge.Routes = listed
			want := tt.want
			if open {
				b.judge.answers["tools/prompts"], b.judge.answers["tools/resources"] = allow, allow
			} else {
				member, _, _ := strings.Cut(tt.want, ":")
				want = member + ":[]"
			}
			b.serve = says("application/json", result("1", tt.text))
			w := b.do(request(`{"jsonrpc":"2.0","id":1,"method":"` + tt.method + `"}`))
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s, open %v: %d %s, want %s", tt.method, open, w.Code, w.Body, want)
			}
		}
	}
}

func TestAPointThatObservesPassesListsAsTheyAre(t *testing.T) {
	for _, text := range []string{result("1", `"tools":[`+tool("delete_file")+`]`), result("1", `"tools":"none"`), `{"jsonrpc":"2.0","id":1,"result":{"tools":[7]}}`, "<html>", `{"a":1,"a":2}`} {
		for _, media := range []string{"application/json", "text/event-stream"} {
			b := newBench("tools/list")
			b.point.Mode = nhi.Observe
			body := text
			if media == "text/event-stream" {
				body = ": hi\n\n" + stream(text) + "event: other\ndata: x\n\n"
			}
			b.serve = says(media, body)
			if w := b.do(request(listing)); w.Code != 200 || w.Body.String() != body {
				t.Errorf("%s: %d %s, want it as it is", media, w.Code, w.Body)
			}
		}
	}
}

func TestAListThatCannotBeUnderstoodDoesNotPass(t *testing.T) {
	good := tool("search")
	long := strings.TrimSuffix(strings.Repeat(good+",", maxItems+1), ",")
	for name, text := range map[string]string{
		"no list":                            result("1", `"tool":[]`),
		"a list in other letters":            result("1", `"Tools":[`+tool("delete_file")+`]`),
		"a list in other letters beside it":  result("1", `"tools":[],"TOOLS":[`+tool("delete_file")+`]`),
		"a result in other letters":          `{"jsonrpc":"2.0","id":1,"Result":{"tools":[` + tool("delete_file") + `]}}`,
		"two results":                        `{"jsonrpc":"2.0","id":1,"result":{"tools":[]},"result":{"tools":[` + tool("delete_file") + `]}}`,
		"two lists":                          result("1", `"tools":[],"tools":[`+tool("delete_file")+`]`),
		"a list that is none":                result("1", `"tools":{"0":`+tool("delete_file")+`}`),
		"a tool that is none":                result("1", `"tools":["delete_file"]`),
		"a tool without a name":              result("1", `"tools":[{"title":"delete_file"}]`),
		"a tool with two names":              result("1", `"tools":[{"name":"search","name":"delete_file"}]`),
		"a tool with a name in capitals too": result("1", `"tools":[{"name":"search","Name":"delete_file"}]`),
		"a tool whose name is a number":      result("1", `"tools":[{"name":7}]`),
		"more tools than anybody has":        result("1", `"tools":[`+long+`]`),
		"a text":                             `"delete_file"`,
		"no JSON":                            "<html>",
		"half a message":                     `{"jsonrpc":"2.0","id":1,"result":{"tools":[` + tool("delete_file"),
		"a deep one":                         result("1", `"tools":[{"name":"delete_file","x":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`}]`),
	} {
		b := newBench("tools/list", "tools/search")
		b.serve = says("application/json", text)
		w, cut := b.cut(request(listing))
		if cut || w.Code != http.StatusBadGateway || strings.Contains(w.Body.String(), "delete_file") || one(t, w).Error == nil {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		b.serve = says("text/event-stream", stream(strings.ReplaceAll(text, "\n", "")))
		if w, cut := b.cut(request(listing)); !cut || strings.Contains(w.Body.String(), "delete_file") {
			t.Errorf("%s, in a stream: cut off %v, %s", name, cut, w.Body)
		}
	}
	b := newBench("tools/list", "tools/search")
	b.c.Trier = nil
	b.serve = says("application/json", result("1", `"tools":[`+good+`]`))
	if w := b.do(request(listing)); w.Code != http.StatusBadGateway {
		t.Errorf("nobody says what of a list the caller may use: %d %s", w.Code, w.Body)
	}
}

func TestARepliesFormDoesNotHideAList(t *testing.T) {
	hidden := result("1", `"tools":[`+tool("delete_file")+`]`)
	b := newBench("tools/list")
	b.serve = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("the server may compress what has to be read")
		}
		w.Header().Set("Content-Encoding", "gzip")
		says("application/json", hidden)(w, r)
	}
	if w := b.do(request(listing)); w.Code != http.StatusBadGateway || w.Header().Get("Content-Encoding") != "" || strings.Contains(w.Body.String(), "delete_file") {
		t.Errorf("a reply that says it is compressed: %d %s", w.Code, w.Body)
	}
	for name, text := range map[string]string{
		"a list under another form": stream(strings.Replace(hidden, `"id":1`, `"id":1.0`, 1)),
		"a list under another id":   stream(strings.Replace(hidden, `"id":1`, `"id":2`, 1)),
		"a list of an earlier time": stream(hidden),
		"lines that end otherwise":  "data: " + hidden + "\r\r",
		"data in parts":             "data: " + strings.Replace(hidden, ",", ",\ndata: ", 3) + "\n\n",
		"a field without a space":   "data:" + hidden + "\n\n",
		"a batch in a stream":       stream("[" + hidden + "]"),
		"an event of another sort":  "event: other\ndata: " + hidden + "\n\n",
		"an event that never ends":  "data: " + hidden + "\n",
	} {
		for _, r := range []*http.Request{request(listing), opened()} {
			b := newBench("tools/list", "tools/transport")
			b.serve = says("text/event-stream", text)
			if w, _ := b.cut(r); strings.Contains(w.Body.String(), "delete_file") {
				t.Errorf("%s, %s: %s", name, r.Method, w.Body)
			}
		}
	}
}

// What one client takes for JSON and another for a text is looked at by neither.
func TestAReplyIsPlainlyOfOneMediaType(t *testing.T) {
	hidden := result("1", `"tools":[`+tool("delete_file")+`]`)
	for _, types := range [][]string{
		{"text/plain", "application/json"}, {"application/json", "text/plain"}, {"text/plain, application/json"}, {"application/json;;;"}, {"application/json; charset"},
		{"Application/JSON;"}, {"application/json, text/event-stream"}, {"text/event-stream,"}, {"application/problem+json"}, {" application/json"},
	} {
		b := newBench("tools/list")
		b.serve = func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = types
			_, _ = io.WriteString(w, hidden)
		}
		if w, _ := b.cut(request(listing)); strings.Contains(w.Body.String(), "delete_file") {
			t.Errorf("%q: %d %s", types, w.Code, w.Body)
		}
	}
	b := newBench("tools/list")
	b.serve = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"session not found"}}`)
	}
	if w := b.do(request(listing)); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "session not found") {
		t.Errorf("what went wrong: %d %s", w.Code, w.Body)
	}
}

// Some clients end lines where the standard does not, and some decode what the
// standard says is UTF-8 by what the server says it is.
func TestAServerCannotHideAnEventFromClientsThatReadLinesOtherwise(t *testing.T) {
	const asks = `data: {"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}`
	const note = `{"jsonrpc":"2.0","method":"notifications/x"}`
	hides := func(name, media, text string) {
		t.Helper()
		for _, enforces := range []bool{true, false} {
			b := newBench("tools/transport")
			if !enforces {
				b.point.Mode = nhi.Observe
			}
			b.serve = says(media, text)
			w, _ := b.cut(opened())
			read := laxly(w.Body.String())
			asked := len(read) > 1 || slices.ContainsFunc(read, func(s string) bool { return strings.HasPrefix(s, `{"jsonrpc":"2.0","id"`) })
			passes := strings.Contains(w.Body.String(), "createMessage")
			if enforces && (asked || passes && strings.Contains(media, "charset")) {
				t.Errorf("%s: the client gets %q", name, w.Body)
			} else if !passes && !enforces {
				t.Errorf("%s: at a point that observes the client gets %q", name, w.Body)
			}
		}
	}
	for name, end := range map[string]string{"next line": "\u0085", "line separator": "\u2028", "paragraph separator": "\u2029", "vertical tab": "\v", "form feed": "\f", "file separator": "\x1c", "group separator": "\x1d", "record separator": "\x1e"} {
		for where, text := range map[string]string{
			"in an id":      "id: 1" + end + asks + end + end + "\ndata: " + note + "\n\n",
			"in a name":     "event: message" + end + asks + end + end + "\ndata: " + note + "\n\n",
			"in an id only": "id: 1" + end + asks + end + end + "\n\n",
			"in a comment":  ":" + end + asks + end + end + "\ndata: " + note + "\n\n",
			"in a text":     `data: {"jsonrpc":"2.0","method":"notifications/x","params":{"x":"` + end + strings.ReplaceAll(asks, `"`, `\"`) + end + end + "\"}}\n\n",
		} {
			hides(name+" "+where, "text/event-stream", text)
		}
	}
	utf7 := `data: {"jsonrpc":"2.0","method":"notifications/x","params":{"x":"+AAoACg-` + strings.ReplaceAll(asks, `"`, "+ACI-") + `+AAoACg-"}}` + "\n\n"
	for _, parameter := range []string{"; charset=utf-7", "; charset=\"UTF-7\"", "; charset*=utf-8''utf-7", "; charset*0=utf-7", "; x=\"; charset=utf-7\"", "; charset=utf-8; charset=utf-7", "; charset=utf-16", "; Charset=utf-7"} {
		hides(parameter, "text/event-stream"+parameter, utf7)
	}
	for _, parameter := range []string{"", "; charset=utf-8", `; charset="UTF-8"`} {
		b := newBench("tools/transport")
		b.serve = says("text/event-stream"+parameter, "id: a/1~\ndata: "+note+"\n\n")
		if w := b.do(opened()); w.Code != 200 || w.Body.String() != "id: a/1~\ndata: "+note+"\n\n" {
			t.Errorf("%s: %d %q", parameter, w.Code, w.Body)
		}
	}
}

func TestTextsOfAStreamKeepTheirMeaning(t *testing.T) {
	text := "a\u0085b\u2028c\u2029d\u007fe\u0091f\u00e9\u20ac\U0001f600"
	b := newBench("tools/search")
	b.serve = says("text/event-stream", stream(result("1", `"x":"`+text+`"`)))
	w := b.do(request(call(1, "search", "{}")))
	var got struct{ Result struct{ X string } }
	if texts := messages(t, w.Body.String()); len(texts) != 1 || json.Unmarshal([]byte(texts[0]), &got) != nil || got.Result.X != text {
		t.Errorf("%q became %q", text, w.Body)
	}
	if strings.ContainsFunc(strings.ReplaceAll(w.Body.String(), "\n", ""), func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 }) {
		t.Errorf("signs pass that end a line to some: %q", w.Body)
	}
}

func TestALongEventIsNotKeptInMemory(t *testing.T) {
	e, events := events{longest: 1 << 20}, 0
	pass := func(e *event) error { events++; return nil }
	for _, text := range []string{"data: " + strings.Repeat("a", 1<<19) + "\n\n", "data: b\n\n"} {
		if err := e.add([]byte(text), pass); err != nil {
			t.Fatal(err)
		}
		if cap(e.raw) > keptBuffer || cap(e.next.data) > keptBuffer {
			t.Errorf("after %d bytes, %d and %d are kept", len(text), cap(e.raw), cap(e.next.data))
		}
	}
	if events != 2 {
		t.Errorf("%d events", events)
	}
}

// A stream that ended well would be taken for the whole of it.
func TestAPanicWhileAReplyRunsDoesNotLookLikeItsEnd(t *testing.T) {
	list := result("1", `"tools":[`+tool("search")+`]`)
	for _, begun := range []bool{true, false} {
		b := newBench("tools/list", "tools/search")
		b.serve = func(w http.ResponseWriter, r *http.Request) {
			b.judge.panics = true
			text := "data: " + list + "\n\n"
			if begun {
				text = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n" + text
				says("text/event-stream", text)(w, r)
				return
			}
			says("application/json", list)(w, r)
		}
		w, cut := b.cut(request(listing))
		if cut != begun || strings.Contains(w.Body.String(), `"outcome"`) == begun || begun == (w.Code != http.StatusOK) || w.Header().Get("Content-Length") != "" {
			t.Errorf("begun %v: cut off %v, %d %v %s", begun, cut, w.Code, w.Header(), w.Body)
		}
	}
}

// absent is a client that hung up.
type absent struct{ http.ResponseWriter }

func (absent) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAClientThatHangsUpIsNotAReplyThatDoesNotPass(t *testing.T) {
	b := newBench()
	c := &conversation{gate: b.Gate, asking: &enforce.Asking{Point: &b.point}, verdict: &enforce.Verdict{}}
	s := screen{ResponseWriter: absent{httptest.NewRecorder()}, hearer: c, longest: 1000, events: events{longest: 1000}}
	s.Header().Set("Content-Type", "text/event-stream")
	if _, err := s.Write([]byte(": hello\n\n")); err != io.ErrClosedPipe || s.failed != nil || s.broken {
		t.Errorf("%v, failed %v, broken %v", err, s.failed, s.broken)
	}
}

// Each request that is refused would else hold the caller's reply up for itself.
func TestAServerThatDoesNotTakeRefusalsIsNotWaitedForAgainAndAgain(t *testing.T) {
	for _, media := range []string{"text/event-stream", "application/json"} {
		b := newBench("tools/transport", "tools/search")
		b.patience = 50 * time.Millisecond
		b.serve = func(w http.ResponseWriter, r *http.Request) {
			if len(b.reached) > 1 {
				<-r.Context().Done()
				return
			}
			asks := `{"jsonrpc":"2.0","id":1,"method":"roots/list"}`
			if media == "text/event-stream" {
				says(media, strings.Repeat("data: "+asks+"\n\n", 100)+"data: "+result("1", "")+"\n\n")(w, r)
				return
			}
			says(media, "["+strings.Repeat(asks+",", 99)+asks+"]")(w, r)
		}
		w, cut := b.cut(request(call(1, "search", "{}")))
		if streams := media == "text/event-stream"; cut != streams || streams != (w.Code == http.StatusOK) || len(b.reached) != 2 || strings.Contains(w.Body.String(), "roots") || strings.Contains(w.Body.String(), "result") {
			t.Errorf("%s: cut off %v, told %d times, %d %s", media, cut, len(b.reached)-1, w.Code, w.Body)
		}
	}
}

func TestAStreamFollowsThePoint(t *testing.T) {
	list := "data: " + result("1", `"tools":[`+tool("delete_file")+`]`) + "\n\n"
	for name, tt := range map[string]struct {
		header http.Header
		first  string
		cut    bool
	}{
		"of messages":    {http.Header{"Content-Type": {"text/event-stream"}}, list, false},
		"in JSON":        {http.Header{"Content-Type": {"application/json"}}, "[" + strings.TrimPrefix(list, "data: ") + ",", false},
		"compressed":     {http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"br"}}, list, true},
		"unclear":        {http.Header{"Content-Type": {"application/x-json"}}, list, true},
		"in another set": {http.Header{"Content-Type": {"text/event-stream; charset=utf-7"}}, list, true},
		"a long message": {http.Header{"Content-Type": {"text/event-stream"}}, ":" + strings.Repeat("a", 1<<16) + "\n\n" + list, true},
	} {
		b := newBench("tools/list", "tools/transport")
		b.longest = 1 << 15
		now := b.point
		now.Mode = nhi.Observe
		b.point.Mode = nhi.Observe
		b.c.Point = func() (nhi.Point, bool) { return now, true }
		b.serve = func(w http.ResponseWriter, r *http.Request) {
			for key, values := range tt.header {
				w.Header()[key] = values
			}
			_, _ = io.WriteString(w, tt.first)
			now.Mode = nhi.Enforce
			_, _ = io.WriteString(w, strings.ReplaceAll(strings.TrimPrefix(list, "data: "+map[bool]string{true: "", false: "-"}[name == "in JSON"]), "delete_file", "second_file")+map[bool]string{true: "]"}[name == "in JSON"])
		}
		w, cut := b.cut(request(listing))
		if text := w.Body.String(); cut != tt.cut || strings.Contains(text, "second_file") || strings.Contains(text, "delete_file") != (name != "in JSON") {
			t.Errorf("%s: cut off %v, %d %.300s", name, cut, w.Code, text)
		}
	}
	b := newBench("tools/list")
	b.point.Mode = nhi.Observe
	b.c.Point = func() (nhi.Point, bool) { return b.point, false }
	b.serve = says("text/event-stream", list)
	if w, _ := b.cut(request(listing)); strings.Contains(w.Body.String(), "delete_file") {
		t.Errorf("the point is none any more: %s", w.Body)
	}
}

// Ids that are written in two ways are one to whoever answers them.
func TestIdsAreComparedByWhatTheyMean(t *testing.T) {
	ask := func(id, method string) string { return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `"}` }
	for _, ids := range [][2]string{{`"\u0061"`, `"a"`}, {`1`, `1`}, {`1.0`, `1`}, {`1`, `1e0`}, {`10e-1`, `1`}, {`0`, `-0`}, {`"1"`, `1`}, {`9007199254740993`, `9007199254740992`}, {`"\/"`, `"/"`}} {
		b := newBench("tools/list", "tools/transport", "tools/search")
		b.serve = says("application/json", "["+result(ids[1], `"tools":[`+tool("delete_file")+`]`)+"]")
		if w, _ := b.cut(request("[" + ask(ids[0], "tools/list") + "," + ask(ids[1], "ping") + "]")); w.Code != http.StatusBadRequest || len(b.reached) != 0 {
			t.Errorf("%s and %s: %d %s", ids[0], ids[1], w.Code, w.Body)
		}
	}
	for _, ids := range [][2]string{{`"null"`, `null`}, {`"1.0"`, `1.0`}, {`1`, `1.0`}} { // as good as no reply to it
		b := newBench("tools/list", "tools/search")
		b.serve = says("application/json", result(ids[1], `"tools":[`+tool("delete_file")+`]`))
		if w := b.do(request(strings.Replace(call(1, "search", "{}"), `"id":1`, `"id":`+ids[0], 1))); strings.Contains(w.Body.String(), "delete_file") {
			t.Errorf("a list, asked as %s and answered as %s: %d %s", ids[0], ids[1], w.Code, w.Body)
		}
	}
	for _, ids := range [][2]string{{`"a"`, `"\u0061"`}, {`"\u0061"`, `"a"`}, {`1`, `"1"`}, {`"1"`, `1`}, {`-7`, `-7`}, {`""`, `""`}} {
		b := newBench("tools/list", "tools/search")
		b.serve = says("application/json", result(ids[1], `"content":[],"tools":["a"]`))
		if w := b.do(request(strings.Replace(call(1, "search", "{}"), `"id":1`, `"id":`+ids[0], 1))); w.Code != http.StatusOK {
			t.Errorf("a result of a tool, asked as %s and answered as %s: %d %s", ids[0], ids[1], w.Code, w.Body)
		}
		b.serve = says("application/json", result(ids[1], `"tool":[]`))
		if w := b.do(request(ask(ids[0], "tools/list"))); w.Code != http.StatusBadGateway {
			t.Errorf("no list, asked as %s and answered as %s: %d %s", ids[0], ids[1], w.Code, w.Body)
		}
	}
}

func TestAListIsNotAskedForInAnotherSpelling(t *testing.T) {
	for _, method := range []string{"Tools/list", "prompts/List", "Prompts/list", "resources/LIST", "Resources/Templates/list", "resources/templates/List", "resources_templates/list", "prompts//list", "tools_/list", "-tools/list", "tools-/call", "Resources/Read"} {
		b := newBench("tools/list", "tools/search", "tools/any")
		all := enforcetest.Routes{{Host: "tools.example", Path: "/{any...}", Methods: map[string]nhi.ActionClass{"LIST": nhi.List, "CALL": nhi.Read, "READ": nhi.Read}, Resource: "tools/list"}}
		b.c.Judge.Routes = enforce.NewRoutes(all)
		if w := b.do(request(`{"jsonrpc":"2.0","id":1,"method":"` + method + `"}`)); w.Code != http.StatusBadRequest || len(b.reached) != 0 {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	b := newBench("tools/list")
	b.c.Judge.Routes = listed
	b.judge.answers["tools/prompts"] = allow
	b.serve = says("application/json", result("1", `"prompts":[]`))
	if w := b.do(request(`{"jsonrpc":"2.0","id":1,"method":"prompts/list"}`)); w.Code != http.StatusOK || len(b.reached) != 1 {
		t.Errorf("as it is spelled: %d %s", w.Code, w.Body)
	}
}

func TestAServerThatAsksWithoutEndIsCutOff(t *testing.T) {
	b := newBench("tools/transport")
	b.serve = func(w http.ResponseWriter, r *http.Request) {
		if len(b.reached) > 1 {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		says("text/event-stream", strings.Repeat("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"roots/list\"}\n\n", maxAsked+10))(w, r)
	}
	if _, cut := b.cut(opened()); !cut || len(b.judge.asked) != 1+maxAsked {
		t.Errorf("cut off %v after %d decisions", cut, len(b.judge.asked))
	}
}

func TestAResultOfAToolIsNotTakenForAList(t *testing.T) {
	own := result("1", `"content":[],"tools":["a","b"],"resources":[{"uri":"x"}]`)
	b := newBench("tools/search")
	b.serve = says("application/json", own)
	if w := b.do(request(call(1, "search", "{}"))); w.Body.String() != own {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestMessagesLongerThanCanBeKeptDoNotPass(t *testing.T) {
	const short = 1 << 16
	long := `{"jsonrpc":"2.0","id":1,"result":{"x":"` + strings.Repeat("a", short) + `"}}`
	for _, media := range []string{"application/json", "text/event-stream"} {
		text := long
		if media == "text/event-stream" {
			text = "data: " + long + "\n\n"
		}
		b := newBench("tools/search")
		b.longest = short
		b.serve = says(media, text)
		if w, cut := b.cut(request(call(1, "search", "{}"))); cut != (media == "text/event-stream") || w.Body.Len() > 1000 {
			t.Errorf("%s: cut off %v, %d bytes pass", media, cut, w.Body.Len())
		}
		b.point.Mode = nhi.Observe
		if w := b.do(request(call(1, "search", "{}"))); w.Body.String() != text {
			t.Errorf("%s: a point that observes passes %d bytes of %d", media, w.Body.Len(), len(text))
		}
	}
}

// What a server asks of its client, it asks of the agent behind it.
func TestWhatAServerAsksOfItsClientIsDecided(t *testing.T) {
	const sampling = `{"jsonrpc":"2.0","id":"s-1","method":"sampling/createMessage","params":{"messages":[]}}`
	const elicitation, roots = `{"jsonrpc":"2.0","id":2,"method":"elicitation/create","params":{}}`, `{"jsonrpc":"2.0","id":3,"method":"roots/list"}`
	const ping, note, done = `{"jsonrpc":"2.0","id":9,"method":"ping"}`, `{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`
	for name, r := range map[string]func() *http.Request{
		"while a call runs":   func() *http.Request { return request(call(1, "search", "{}")) },
		"on the GET's stream": opened,
	} {
		b := newBench("tools/search", "tools/transport", "client/roots")
		b.c.Judge.Routes = listed
		var told []string
		b.serve = func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), `"error"`) {
				told = append(told, string(body))
				if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer good" {
					t.Errorf("%s: the server is told by %s, %v", name, r.Method, r.Header)
				}
				w.WriteHeader(http.StatusAccepted)
				return
			}
			says("text/event-stream", stream(ping, sampling, note, roots, elicitation, done))(w, r)
		}
		w := b.do(r())
		if got := messages(t, w.Body.String()); !slices.Equal(got, []string{ping, note, roots, done}) {
			t.Errorf("%s: the client gets %q", name, got)
		}
		if len(told) != 2 || !strings.Contains(told[0], `"id":"s-1","error":{"code":-32090`) || !strings.Contains(told[1], `"id":2,"error"`) {
			t.Errorf("%s: the server is told %q", name, told)
		}
		var operations []string
		for _, q := range b.judge.asked[1:] {
			operations = append(operations, q.Operation)
			if q.Subject.Identity == "" || q.Point == "" {
				t.Errorf("%s: decided about %+v", name, q)
			}
		}
		if want := []string{"CREATEMESSAGE /mcp/client/sampling", "LIST /mcp/client/roots", "CREATE"}; !slices.Equal(operations, want) {
			t.Errorf("%s: decided about %q, want %q", name, operations, want)
		}
	}
}

func TestAServerCannotHideWhatItAsks(t *testing.T) {
	for name, text := range map[string]string{
		"as a notification":         `{"jsonrpc":"2.0","method":"sampling/createMessage","params":{}}`,
		"in other letters":          `{"jsonrpc":"2.0","id":1,"Method":"sampling/createMessage"}`,
		"in other letters beside":   `{"jsonrpc":"2.0","id":1,"result":{},"METHOD":"sampling/createMessage"}`,
		"as a reply":                `{"jsonrpc":"2.0","id":1,"result":{},"method":"sampling/createMessage"}`,
		"twice":                     `{"jsonrpc":"2.0","id":1,"method":"ping","method":"sampling/createMessage"}`,
		"with an id that is null":   `{"jsonrpc":"2.0","id":null,"method":"sampling/createMessage"}`,
		"with an id of an object":   `{"jsonrpc":"2.0","id":{},"method":"sampling/createMessage"}`,
		"in a list":                 `[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage"}]`,
		"in a list of lists":        `[[{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage"}]]`,
		"as a method in capitals":   `{"jsonrpc":"2.0","id":1,"method":"Sampling/CreateMessage"}`,
		"as a method that is a way": `{"jsonrpc":"2.0","id":1,"method":"sampling/../sampling/createMessage"}`,
		"as a ping that is more":    `{"jsonrpc":"2.0","id":1,"method":"ping/../sampling/createMessage"}`,
	} {
		for _, media := range []string{"application/json", "text/event-stream"} {
			b := newBench("tools/search")
			b.serve = func(w http.ResponseWriter, r *http.Request) {
				if len(b.reached) > 1 {
					w.WriteHeader(http.StatusAccepted)
					return
				}
				body := text
				if media == "text/event-stream" {
					body = stream(text)
				}
				says(media, body)(w, r)
			}
			if w, _ := b.cut(request(call(1, "search", "{}"))); strings.Contains(strings.ToLower(w.Body.String()), "createmessage") {
				t.Errorf("%s, %s: %d %s", name, media, w.Code, w.Body)
			}
		}
	}
}

func TestSignsOfLifeComeThrough(t *testing.T) {
	b := newBench("tools/transport")
	b.serve = says("text/event-stream", ": hello\n\nid: 4\ndata:\n\nretry: 500\n\nid: 5\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n")
	w := b.do(opened())
	if want := ":\n\nid: 4\ndata:\n\nretry: 500\n\nevent: message\nid: 5\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n"; w.Body.String() != want || !w.Flushed {
		t.Errorf("%q, flushed %v", w.Body, w.Flushed)
	}
}

// FuzzReplies holds that a lax client finds nothing in what passes that it may not
// have: no tool but search, and no request.
func FuzzReplies(f *testing.F) {
	f.Add("data: "+result("1", `"tools":[`+tool("search")+","+tool("delete_file")+`]`)+"\n\n", true)
	f.Add(stream(`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}`), true)
	f.Add("id: 1\u2028data: {\"id\":1,\"method\":\"roots/list\"}\u2028\u2028\n\n", true)
	f.Add("data: {\"x\":\"\u0085data: {\\\"id\\\":1}\u0085\u0085\"}\n\n", true)
	f.Add("[{},{\"result\":{\"tools\":[]}}]", false)
	f.Add("\xef\xbb\xbfdata:a\r\rid:1\n\nevent: x\ndata: {}\r\n\r\n", true)
	f.Fuzz(func(t *testing.T, text string, streams bool) {
		b := newBench("tools/list", "tools/search")
		media := "application/json"
		if streams {
			media = "text/event-stream"
		}
		b.serve = func(w http.ResponseWriter, r *http.Request) {
			if len(b.reached) > 1 {
				w.WriteHeader(http.StatusAccepted)
				return
			}
			w.Header().Set("Content-Type", media)
			for part := range slices.Chunk([]byte(text), 7) {
				_, _ = w.Write(part)
			}
		}
		w, _ := b.cut(request(listing))
		parts := []string{w.Body.String()}
		if streams {
			parts = append(messages(t, w.Body.String()), laxly(w.Body.String())...)
		}
		for _, part := range parts {
			if !strings.HasPrefix(strings.TrimSpace(part), "[") {
				part = "[" + part + "]"
			}
			var got []struct { // as a lax reader has it: the last of two names, in any case
				ID     json.RawMessage
				Method string
				Result struct{ Tools []struct{ Name string } }
			}
			_ = json.Unmarshal([]byte(part), &got) // what is no list of messages is left as far as it was read
			for _, m := range got {
				if m.ID != nil && m.Method != "" && m.Method != "ping" {
					t.Fatalf("a request passes: %q", w.Body)
				}
				for _, tool := range m.Result.Tools {
					if tool.Name != "search" {
						t.Fatalf("a tool passes: %q", w.Body)
					}
				}
			}
		}
	})
}
