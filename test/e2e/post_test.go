package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/html"
)

// A post is a mail server of one script.
type post struct{ *mailbox }

// A letter is what it took, as one text: who gets it, an empty line, the
// message.
type letter struct {
	*mailbox
	to []string
}

func (p post) NewSession(*smtp.Conn) (smtp.Session, error) { return &letter{mailbox: p.mailbox}, nil }

func (l *letter) Reset()                               { l.to = nil }
func (l *letter) Logout() error                        { return nil }
func (l *letter) Mail(string, *smtp.MailOptions) error { return nil }
func (l *letter) Rcpt(to string, _ *smtp.RcptOptions) error {
	l.to = append(l.to, to)
	return nil
}

func (l *letter) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err == nil {
		l.take(append([]byte(strings.Join(l.to, ",")+"\n\n"), raw...))
	}
	return err
}

// take keeps what came.
func (m *mailbox) take(body []byte) {
	m.mu.Lock()
	m.got = append(m.got, body)
	m.mu.Unlock()
	select {
	case m.more <- struct{}{}:
	default: // somebody will look soon
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// openPost starts a mail server and returns its address.
func openPost(ts *testscript.TestScript, box *mailbox) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	s := smtp.NewServer(post{box})
	s.Domain, s.ErrorLog, s.MaxMessageBytes = "localhost", silent{}, 1<<20
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(l) })
	ts.Defer(func() { _ = s.Close(); running.Wait() })
	return l.Addr().String()
}

// accuse reports the key of every identity of the hostile world as leaked, at a
// place with a hostile name where that is taken.
func accuse(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, "accuse")
	for i, name := range attacks {
		status, answer := 0, []byte(nil)
		for _, place := range []string{name, "plain"} {
			body, err := json.Marshal(map[string]any{"rule": "claimed", "provider": "aws", "public_id": hostileKey(i), "place": map[string]any{"kind": "repository", "name": place}})
			ts.Check(err)
			if status, _, answer = call(ts, http.MethodPost, "/v1/sightings", string(body)); status/100 == 2 {
				break
			}
		}
		if status/100 != 2 {
			ts.Fatalf("the key of %q cannot be reported: %d %s", name, status, answer)
		}
	}
}

// hostileKey is the public id of the key of the i-th identity of the world.
func hostileKey(i int) string { return fmt.Sprintf("AKIAQ3EGRZ4KHOSTI%03d", i) }

// delivered waits until each hostile identity has been told of by mail and by
// chat, and looks at all that came there.
func delivered(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, "delivered")
	for kind, look := range map[string]func(*testscript.TestScript, []byte) string{"mail": lookAtMail, "chat": lookAtChat} {
		kept, ok := mailboxes.Load(ts.MkAbs(kind))
		if !ok {
			ts.Fatalf("there is no receiver of %s", kind)
		}
		all := kept.(*mailbox).await(ts, kind, func(all [][]byte) string {
			text := ""
			for _, body := range all {
				text += look(ts, body)
			}
			for i := range attacks {
				if !strings.Contains(text, hostileKey(i)) {
					return hostileKey(i)
				}
			}
			return ""
		})
		_, err := fmt.Fprintf(ts.Stdout(), "%s: %d\n", kind, len(all))
		ts.Check(err)
	}
}

// await returns all that came once missing finds that nothing is missing.
func (m *mailbox) await(ts *testscript.TestScript, what string, missing func([][]byte) string) [][]byte {
	deadline := time.After(patience)
	for {
		m.mu.Lock()
		all := slices.Clone(m.got)
		m.mu.Unlock()
		lacks := missing(all)
		if lacks == "" {
			return all
		}
		select {
		case <-m.more:
		case <-deadline:
			ts.Fatalf("none of %d by %s holds %q: %.2000q", len(all), what, lacks, all)
		}
	}
}

// The headers and elements that our mail has, and nothing else.
var (
	mailHeaders  = []string{"Auto-Submitted", "Content-Type", "Date", "From", "List-Id", "Message-Id", "Mime-Version", "References", "Subject", "To", "X-Auto-Response-Suppress"}
	mailElements = []string{"html", "head", "meta", "title", "style", "body", "h1", "p", "table", "tbody", "tr", "th", "td", "a"}
	mailPeople   = []string{"security@kestrel.example", "mara@kestrel.example"}
)

// lookAtMail fails when a message is not ours alone, and returns its text.
func lookAtMail(ts *testscript.TestScript, body []byte) string {
	to, raw, _ := bytes.Cut(body, []byte("\n\n"))
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	ts.Check(err)
	for name, values := range m.Header {
		if !slices.Contains(mailHeaders, name) || len(values) != 1 {
			ts.Fatalf("a header %s: %q", name, values)
		}
	}
	if !slices.Contains(mailPeople, string(to)) || m.Header.Get("To") != "<"+string(to)+">" || len(raw) > 64<<10 {
		ts.Fatalf("%d bytes to %q: %q", len(raw), to, m.Header.Get("To"))
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	ts.Check(err)
	if len([]rune(subject)) > 200 {
		ts.Fatalf("the subject has %d characters", len([]rune(subject)))
	}
	_, with, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	ts.Check(err)
	text := subject + "\n"
	for parts := multipart.NewReader(m.Body, with["boundary"]); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		data, err := io.ReadAll(quotedprintable.NewReader(part))
		ts.Check(err)
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/html") {
			text += lookAtHTML(ts, data)
		} else {
			text += strings.Replace(string(data), ts.Getenv("MUSTER_SERVER"), "", 1)
		}
	}
	lookAtText(ts, "mail", strings.ReplaceAll(text, "\r", ""))
	return text
}

func lookAtHTML(ts *testscript.TestScript, data []byte) string {
	text, links := "", 0
	z := html.NewTokenizer(bytes.NewReader(data))
	for z.Next() != html.ErrorToken {
		switch token := z.Token(); token.Type {
		case html.StartTagToken, html.SelfClosingTagToken:
			if !slices.Contains(mailElements, token.Data) {
				ts.Fatalf("an element %s in %s", token.Data, data)
			}
			for _, a := range token.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href" && !strings.HasPrefix(a.Val, ts.Getenv("MUSTER_SERVER")+"/") {
					ts.Fatalf("%s has %s=%q", token.Data, a.Key, a.Val)
				}
				if a.Key == "href" {
					links++
				}
			}
		case html.TextToken:
			text += token.Data
		case html.CommentToken:
			ts.Fatalf("a comment %q", token.Data)
		}
	}
	if links != 1 {
		ts.Fatalf("%d links in %s", links, data)
	}
	return text
}

// lookAtText fails when something is hidden in a text, can be clicked on, or
// pretends to be other letters.
func lookAtText(ts *testscript.TestScript, what, text string) {
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && hidden(r) }); i >= 0 {
		ts.Fatalf("%s shows %q as it is", what, text[max(0, i-40):min(len(text), i+20)])
	}
	for _, s := range []string{"://", "p\u0430ypal"} {
		if i := strings.Index(text, s); i >= 0 {
			ts.Fatalf("%s shows %q", what, text[max(0, i-40):min(len(text), i+40)])
		}
	}
}

// A chatText is a text object of Slack, or of a button.
type chatText struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji *bool  `json:"emoji"`
}

type chatMessage struct {
	Text        string `json:"text"`
	Mrkdwn      bool   `json:"mrkdwn"`
	LinkNames   bool   `json:"link_names"`
	UnfurlLinks bool   `json:"unfurl_links"`
	UnfurlMedia bool   `json:"unfurl_media"`
	Blocks      []struct {
		Type     string     `json:"type"`
		Text     *chatText  `json:"text"`
		Fields   []chatText `json:"fields"`
		Elements []struct {
			Text chatText `json:"text"`
			URL  string   `json:"url"`
		} `json:"elements"`
	} `json:"blocks"`
}

var (
	chatLabel   = regexp.MustCompile(`^\*[A-Z][a-z ]{1,20}\*$`)
	chatControl = regexp.MustCompile(`[<>]|&(?:[^agl]|$)|(?i:(?:^|[^\w.+'-])@(?:here|channel|everyone))`)
)

// lookAtChat fails when a message has something that Slack would obey, or
// exceeds its limits, and returns its text.
func lookAtChat(ts *testscript.TestScript, body []byte) string {
	var m chatMessage
	ts.Check(json.Unmarshal(body, &m))
	if len(m.Blocks) == 0 || len(m.Blocks) > 50 || m.Mrkdwn || m.LinkNames || m.UnfurlLinks || m.UnfurlMedia {
		ts.Fatalf("a message %s", body)
	}
	text := ""
	check := func(t chatText, limit int) {
		if t.Text == "" || len(t.Text) > limit || chatControl.MatchString(t.Text) {
			ts.Fatalf("a text of chat is %.300q (%d)", t.Text, len(t.Text))
		}
		if (t.Type != "plain_text" || t.Emoji == nil || *t.Emoji) && !(t.Type == "mrkdwn" && chatLabel.MatchString(t.Text)) {
			ts.Fatalf("Slack reads markup in %+v", t)
		}
		text += t.Text + "\n"
	}
	no := false
	check(chatText{Type: "plain_text", Text: m.Text, Emoji: &no}, 300)
	for _, b := range m.Blocks {
		if b.Text != nil {
			check(*b.Text, map[string]int{"header": 150, "section": 3000}[b.Type])
		}
		if len(b.Fields) > 10 || len(b.Elements) > 1 {
			ts.Fatalf("%d fields, %d elements", len(b.Fields), len(b.Elements))
		}
		for _, f := range b.Fields {
			check(f, 2000)
		}
		for _, e := range b.Elements {
			check(e.Text, 75)
			if !strings.HasPrefix(e.URL, ts.Getenv("MUSTER_SERVER")+"/") || len(e.URL) > 3000 {
				ts.Fatalf("a button leads to %q", e.URL)
			}
		}
	}
	lookAtText(ts, "chat", text)
	return text
}
