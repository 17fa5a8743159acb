package slack

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
)

// A room is a receiver of incoming webhooks that answers as it is told.
type room struct {
	*httptest.Server
	mu     sync.Mutex // guards what follows
	status int
	header http.Header
	said   string
	got    [][]byte
}

func open(t *testing.T) *room {
	t.Helper()
	r := &room{status: http.StatusOK, said: "ok"}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, body)
		for k, v := range r.header {
			w.Header()[k] = v
		}
		w.WriteHeader(r.status)
		_, _ = io.WriteString(w, r.said)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *room) answer(status int, said string, header http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.said, r.header = status, said, header
}

func (r *room) last(t *testing.T) message {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		t.Fatal("nothing was posted")
	}
	var m message
	if err := json.Unmarshal(r.got[len(r.got)-1], &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func channel(t *testing.T, url string) *Channel {
	t.Helper()
	c, err := New("ops", Settings{}, Files{URL: []byte(url + "/services/T000/B000/hush\n")}, "https://muster.example")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// leak is a notice of which every text is name.
func leak(name string) nhi.Notice {
	data, err := json.Marshal(map[string]any{
		"finding": name, "rule": name, "title": name, "sentence": name, "identity": name, "name": name, "credential": name, "owner": name,
		"place": nhi.Place{Kind: name, Name: name, Commit: name, Line: 7}, "by": name, "reason": name,
		"action": map[string]any{"id": name, "measure": name, "status": "done", "undo": name},
	})
	if err != nil {
		panic(err)
	}
	return nhi.Notice{ID: "n", Topic: "credential.contained", Severity: nhi.Critical, At: time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC), Data: data}
}

func TestAMessageSaysEverythingAndLeadsToTheConsole(t *testing.T) {
	r := open(t)
	n := leak("x")
	n.Data = []byte(`{"finding":"fnd_a","rule":"leak-confirmed","title":"Leaked key","sentence":"It lies open.","identity":"nhi_a","name":"settlement",
		"credential":"crd_a","owner":"mara@kestrel.example","place":{"kind":"file","name":"a.env","line":7},"action":{"id":"act-1","measure":"suspend","status":"done","undo":"muster action undo act-1"}}`)
	if err := channel(t, r.URL).Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	m := r.last(t)
	got := map[string]string{}
	for _, b := range m.Blocks {
		for i := 0; i+1 < len(b.Fields); i += 2 {
			got[b.Fields[i].Text] = b.Fields[i+1].Text
		}
	}
	for label, want := range map[string]string{
		"*Who*": "settlement (nhi_a)", "*Owner*": "mara@kestrel.example", "*What*": "crd_a", "*Where*": "file a.env, line 7", "*Why*": "rule leak-confirmed",
		"*What was done*": "suspend, as action act-1", "*How to undo*": "muster action undo act-1", "*When*": "2026-03-01 06:00:00 UTC",
	} {
		if got[label] != want {
			t.Errorf("%s: %q, want %q", label, got[label], want)
		}
	}
	last := m.Blocks[len(m.Blocks)-1]
	if m.Text != "critical: Leaked key" || m.Blocks[0].Text.Text != m.Text || m.Blocks[1].Text.Text != "It lies open." ||
		len(last.Elements) != 1 || last.Elements[0].URL != "https://muster.example/findings?id=fnd_a" {
		t.Errorf("message %+v", m)
	}
}

// labels are the only texts that Slack reads as markup.
var labels = regexp.MustCompile(`^\*(Who|Owner|What|Where|Why|What was done|How to undo|When)\*$`)

// control is what Slack reads in a text: mentions and links are in angle
// brackets, and an ampersand begins one of three escapes.
var control = regexp.MustCompile(`[<>]|&(?:[^agl]|$)|(?i:(?:^|[^\w.+'-])@(?:here|channel|everyone))|://`)

// within checks a message against the published limits of blocks, and that
// nothing foreign is read as markup.
func within(t *testing.T, what string, m message) {
	t.Helper()
	if len(m.Blocks) > 50 || len(m.Text) > 3000 || m.LinkNames || m.Mrkdwn || m.UnfurlLinks || m.UnfurlMedia || m.Parse != "none" {
		t.Errorf("%.60q: %d blocks, settings %+v", what, len(m.Blocks), m)
	}
	check := func(x text, limit int) {
		switch {
		case x.Text == "" || len([]rune(x.Text)) > limit:
			t.Errorf("%.60q: a text of %d characters, want 1 to %d", what, len([]rune(x.Text)), limit)
		case x.Type == "mrkdwn" && labels.MatchString(x.Text):
			return
		case x.Type != "plain_text" || x.Emoji == nil || *x.Emoji:
			t.Errorf("%.60q: %.60q is a %s, in which Slack reads markup", what, x.Text, x.Type)
		}
		if c := control.FindString(x.Text); c != "" || strings.ContainsFunc(x.Text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%.60q: %q in %.200q", what, c, x.Text)
		}
	}
	check(text{Type: "plain_text", Text: m.Text, Emoji: &no}, 300)
	for _, b := range m.Blocks {
		limit := 3000
		if b.Type == "header" {
			limit = 150
		}
		if b.Text != nil {
			check(*b.Text, limit)
		}
		if len(b.Fields) > 10 || len(b.Elements) > 25 {
			t.Errorf("%.60q: %d fields", what, len(b.Fields))
		}
		for _, f := range b.Fields {
			check(f, 2000)
		}
		for _, e := range b.Elements {
			if !strings.HasPrefix(e.URL, "https://muster.example/") || len(e.URL) > 3000 || len(e.Text.Text) > 75 {
				t.Errorf("%.60q: a button leads to %q", what, e.URL)
			}
		}
	}
}

func TestMentionAndLinkInjectionThroughEveryText(t *testing.T) {
	r := open(t)
	c := channel(t, r.URL)
	for _, attack := range []string{
		"<!channel>", "<!here|x>", "<@U012AB3CD>", "<#C012AB3CD>", "<!subteam^S012>", "@here", "@CHANNEL look", "@everyone", "<https://evil.example|your bank>",
		"https://evil.example/login", "www.evil.example", "mailto:a@evil.example", "*bold* _it_ ~no~ `code` ```block```", "> quote", ":skull:", "&lt;!channel&gt;", "&amp;lt;!channel&amp;gt;", "&",
		"\x1b[2J\x07", "\u202egnp.exe", "two\r\nlines", "p\u0430ypal", `"}],"text":"<!channel>"`, "", "\xff", strings.Repeat("A", 64<<10), strings.Repeat("&", 64<<10), strings.Repeat("\u202e", 64<<10), strings.Repeat("<!channel>", 5000),
	} {
		if err := c.Send(t.Context(), leak(attack)); err != nil {
			t.Fatalf("%.60q: %v", attack, err)
		}
		within(t, attack, r.last(t))
	}
}

func FuzzRender(f *testing.F) {
	for _, seed := range []string{"<!channel>", "&&&", "@here", "\xff", "https://x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		m, err := notify.Words(leak(name), "https://muster.example")
		if err != nil {
			t.Fatal(err)
		}
		within(t, name, render(&m, true))
	})
}

func TestALimitedChannelIsLeftAloneAsLongAsSlackAsks(t *testing.T) {
	r := open(t)
	r.answer(http.StatusTooManyRequests, "", http.Header{"Retry-After": {"120"}})
	err := channel(t, r.URL).Send(t.Context(), leak("x"))
	if later := (*notify.Later)(nil); !errors.As(err, &later) || later.After != 2*time.Minute {
		t.Errorf("Send = %v, want Later after two minutes", err)
	}
	r.answer(http.StatusTooManyRequests, "", http.Header{"Retry-After": {"99999999999999999999"}})
	err = channel(t, r.URL).Send(t.Context(), leak("x"))
	if later := (*notify.Later)(nil); !errors.As(err, &later) || later.After <= 0 || later.After > 24*time.Hour {
		t.Errorf("Send = %v, want a bounded pause", err)
	}
}

func TestAnAnswerSaysWhetherToTryAgain(t *testing.T) {
	r := open(t)
	for _, tt := range []struct {
		status int
		said   string
		gone   bool
	}{
		{http.StatusNotFound, "no_service", true}, {http.StatusGone, "channel_is_archived", true}, {http.StatusBadRequest, "invalid_blocks", true},
		{http.StatusForbidden, "action_prohibited", false}, {http.StatusInternalServerError, "rollup_error", false}, {http.StatusBadGateway, "<html>\x1b[2J", false},
	} {
		r.answer(tt.status, tt.said, nil)
		err := channel(t, r.URL).Send(t.Context(), leak("x"))
		if err == nil || errors.Is(err, notify.ErrGone) != tt.gone || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%d %s: Send = %v, gone %v", tt.status, tt.said, err, tt.gone)
		}
		if tt.status < 500 && !strings.Contains(err.Error(), tt.said) {
			t.Errorf("%v does not tell %s", err, tt.said)
		}
	}
}

func TestARedirectDoesNotCarryTheNoticeElsewhere(t *testing.T) {
	other, r := open(t), open(t)
	r.answer(http.StatusTemporaryRedirect, "", http.Header{"Location": {other.URL}})
	if err := channel(t, r.URL).Send(t.Context(), leak("x")); err == nil || len(other.got) != 0 {
		t.Errorf("Send = %v; the other receiver got %d", err, len(other.got))
	}
}

func TestAFailureDoesNotTellTheURL(t *testing.T) {
	c := channel(t, "http://127.0.0.1:1") // nobody listens there
	if err := c.Send(t.Context(), leak("x")); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("Send = %v, want an error without the path", err)
	}
}

func TestABadURLIsRefusedAndNotTold(t *testing.T) {
	for _, url := range []string{"", "hush", "http://hooks.slack.com/services/hush", "https://u:hush@hooks.slack.com/x", "https://hooks.slack.com/hush\nhttps://b", "ftp://hooks.slack.com/hush", "https:///hush", "%zz://hush"} {
		if _, err := New("ops", Settings{}, Files{URL: []byte(url)}, ""); !errors.Is(err, nhi.ErrInvalid) || strings.Contains(err.Error(), "hush") {
			t.Errorf("New(%q) = %v, want ErrInvalid without the URL", url, err)
		}
	}
}
