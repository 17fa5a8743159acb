package slack

import (
	"regexp"
	"strings"

	"github.com/muster-id/muster/internal/notify"
)

// Slack's limits, in characters; bytes are counted, of which there are never
// fewer. A message may have 50 blocks, and a section 10 fields.
const (
	headerLimit  = 150
	textLimit    = 3000
	fieldLimit   = 2000
	factsAtOnce  = 5 // a label and a value each
	summaryLimit = 300
)

// message is the body of a request to an incoming webhook.
type message struct {
	Text        string  `json:"text"` // for notifications, where blocks are not shown
	Blocks      []block `json:"blocks"`
	LinkNames   bool    `json:"link_names"`
	Mrkdwn      bool    `json:"mrkdwn"`
	Parse       string  `json:"parse"`
	UnfurlLinks bool    `json:"unfurl_links"`
	UnfurlMedia bool    `json:"unfurl_media"`
}

type block struct {
	Type     string   `json:"type"`
	Text     *text    `json:"text,omitempty"`
	Fields   []text   `json:"fields,omitempty"`
	Elements []button `json:"elements,omitempty"`
}

type text struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji,omitempty"`    // of plain_text
	Verbatim *bool  `json:"verbatim,omitempty"` // of mrkdwn
}

type button struct {
	Type     string   `json:"type"`
	Text     text     `json:"text"`
	URL      string   `json:"url,omitempty"`
	ActionID string   `json:"action_id"`
	Value    string   `json:"value,omitempty"`
	Style    string   `json:"style,omitempty"`
	Confirm  *confirm `json:"confirm,omitempty"`
}

// confirm is what Slack asks before it sends a press on.
type confirm struct {
	Title   text `json:"title"`
	Text    text `json:"text"`
	Confirm text `json:"confirm"`
	Deny    text `json:"deny"`
}

var no, yes = false, true

// foreign is text that Slack shows as it is, of at most limit bytes.
func foreign(s string, limit int) text {
	return text{Type: "plain_text", Text: fit(s, limit), Emoji: &no}
}

// label is text of our own.
func label(s string) text { return text{Type: "mrkdwn", Text: "*" + s + "*", Verbatim: &yes} }

// own is plain text of our own.
func own(s string) text { return text{Type: "plain_text", Text: s, Emoji: &no} }

// answers are the buttons by which people say yes and no.
func answers(approval string) []button {
	ask := func(what, verb string) *confirm {
		return &confirm{Title: own(what), Text: own("It is on record with your name."), Confirm: own(verb), Deny: own("Back")}
	}
	return []button{
		{Type: "button", Text: own("Approve"), ActionID: actApprove, Value: approval, Style: "primary", Confirm: ask("Let this request pass once?", "Approve")},
		{Type: "button", Text: own("Deny"), ActionID: actDeny, Value: approval, Style: "danger", Confirm: ask("Refuse this request?", "Deny")},
	}
}

// render makes blocks of a message: a header, the sentence, a row for each fact
// and the buttons, those for an answer only where people may answer.
func render(m *notify.Message, answered bool) message {
	head := m.Title
	if m.Severity != "" {
		head = m.Severity + ": " + m.Title
	}
	title := foreign(head, headerLimit)
	out := message{Text: fit(head, summaryLimit), Parse: "none", Blocks: []block{{Type: "header", Text: &title}}}
	if m.Sentence != "" {
		t := foreign(m.Sentence, textLimit)
		out.Blocks = append(out.Blocks, block{Type: "section", Text: &t})
	}
	for facts := m.Facts; len(facts) > 0; {
		n := min(factsAtOnce, len(facts))
		rows := block{Type: "section"}
		for _, f := range facts[:n] {
			rows.Fields = append(rows.Fields, label(f.Label), foreign(f.Value, fieldLimit))
		}
		out.Blocks = append(out.Blocks, rows)
		facts = facts[n:]
	}
	var buttons []button
	if answered && approvalName.MatchString(m.Approval) {
		buttons = answers(m.Approval)
	}
	if m.Link != "" {
		buttons = append(buttons, button{Type: "button", Text: own("Open in Muster"), URL: m.Link, ActionID: actOpen})
	}
	if len(buttons) > 0 {
		out.Blocks = append(out.Blocks, block{Type: "actions", Elements: buttons})
	}
	return out
}

// crowds are words that call everybody. What stands before them tells them from
// an address of mail.
var crowds = regexp.MustCompile(`(?i)(^|[^\w.+'-])@(here|channel|everyone|group|all)`)

// fit escapes text (https://docs.slack.dev/messaging/formatting-message-text)
// and cuts it so that what remains is at most limit bytes with all escapes
// whole. Slack refuses empty texts.
func fit(s string, limit int) string {
	const cut = "…"
	var out strings.Builder
	for _, r := range crowds.ReplaceAllString(s, "${1}(at)$2") {
		piece := string(r)
		switch r {
		case '&':
			piece = "&amp;"
		case '<':
			piece = "&lt;"
		case '>':
			piece = "&gt;"
		}
		if out.Len()+len(piece) > limit-len(cut) {
			return out.String() + cut
		}
		out.WriteString(piece)
	}
	if out.Len() == 0 {
		return "-"
	}
	return out.String()
}
