package notify

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
)

// A Message is a notice in words, for channels that people read. Every text in
// it has passed [Text]: no character is hidden, nothing looks like an address
// to click on, and its length is bounded. A channel still escapes it for its
// own markup.
type Message struct {
	Title    string // what happened, in a few words: at most 120 characters
	Severity string // info, low, medium, high or critical
	Name     string // of the identity, when it is known: at most 80 characters
	Sentence string // what happened and why it matters: at most 1,200 characters
	Facts    []Fact // at most 10
	Link     string // the page of the console that shows it; empty when there is none
	Finding  string // its id, or empty
	Approval string // id of what people are asked to answer, or empty

	owner string // as the inventory has it, which is hostile text
}

// A Fact is one line of a message. Label is ours; Value is at most 400
// characters.
type Fact struct{ Label, Value string }

// Limits of the texts of a message, in characters.
const (
	titleLimit    = 120
	nameLimit     = 80
	sentenceLimit = 1200
	valueLimit    = 400
)

// The topics that channels put into words.
const (
	TopicUndone = "action.undone"
	TopicTest   = "channel.test"
	TopicAsked  = "approval.asked"
	TopicPolicy = "policy.waiting"
	// TopicRolledBack tells of policies that were rolled back by themselves.
	TopicRolledBack = "policy.rolled-back"
	// TopicHeld tells of policies on their way into force that wait for a person.
	TopicHeld = "policy.held"
)

// body is the data of every topic; what a topic has not is empty.
type body struct {
	Finding    string     `json:"finding"`
	Rule       string     `json:"rule"`
	Title      string     `json:"title"`
	Sentence   string     `json:"sentence"`
	Identity   string     `json:"identity"`
	Name       string     `json:"name"`
	Credential string     `json:"credential"`
	Owner      string     `json:"owner"`
	Place      *nhi.Place `json:"place"`
	Action     act        `json:"action"`
	By         string     `json:"by"`
	Reason     string     `json:"reason"`
	Approval   Asked      `json:"approval"`
}

// Asked is what the data of [TopicAsked] says of an approval.
type Asked struct {
	ID      string `json:"id"`
	What    string `json:"what"`
	From    string `json:"from"`
	Purpose string `json:"purpose"`
}

type act struct {
	ID      string `json:"id"`
	Measure string `json:"measure"`
	Status  string `json:"status"`
	Undo    string `json:"undo"`
}

// UnmarshalJSON reads an act, also from notices that an earlier release queued
// with the id alone.
func (a *act) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &a.ID)
	}
	type plain act
	return json.Unmarshal(data, (*plain)(a))
}

// Words puts a notice into words. console is the address of the console,
// without a slash at its end; when it is empty, there are no links.
func Words(n nhi.Notice, console string) (Message, error) {
	var b body
	if err := json.Unmarshal(n.Data, &b); err != nil {
		return Message{}, fmt.Errorf("read notice %s: %w", n.ID, err)
	}
	m := Message{
		Title: Text(b.Title, titleLimit), Severity: Text(string(n.Severity), 20), Sentence: Text(b.Sentence, sentenceLimit),
		Name: Text(b.Name, nameLimit), Finding: b.Finding, Approval: b.Approval.ID, owner: b.Owner,
	}
	if m.Title == "" {
		m.Title = Text(n.Topic, titleLimit)
	}
	for _, f := range []Fact{
		{"Who", who(b.Name, b.Identity)},
		{"Owner", b.Owner},
		{"What", b.Credential + b.Approval.What},
		{"Where", where(b.Place)},
		{"From", b.Approval.From},
		{"What for", b.Approval.Purpose},
		{"Why", b.why()},
		{"What was done", b.done(n.Topic)},
		{"How to undo", b.undo(n.Topic)},
		{"How to answer", b.answer()},
		{"When", n.At.UTC().Format("2006-01-02 15:04:05 UTC")},
	} {
		if f.Value != "" {
			m.Facts = append(m.Facts, Fact{f.Label, Text(f.Value, valueLimit)})
		}
	}
	switch {
	case console == "":
	case b.Approval.ID != "":
		m.Link = console + "/approvals?id=" + url.QueryEscape(cut(b.Approval.ID, 80))
	case b.Finding != "":
		m.Link = console + "/findings?id=" + url.QueryEscape(cut(b.Finding, 80))
	case b.Identity != "":
		m.Link = console + "/identities/" + url.PathEscape(cut(b.Identity, 80))
	default:
		m.Link = console + "/"
	}
	return m, nil
}

func who(name, id string) string {
	if name == "" || id == "" {
		return name + id
	}
	return cut(name, 200) + " (" + id + ")"
}

func where(p *nhi.Place) string {
	if p == nil {
		return ""
	}
	s := cut(p.Name, 200)
	if p.Kind != "" {
		s = strings.TrimSpace(cut(p.Kind, 40) + " " + s)
	}
	if p.Commit != "" {
		s += ", commit " + cut(p.Commit, 64)
	}
	if p.Line > 0 {
		s += fmt.Sprintf(", line %d", p.Line)
	}
	return s
}

func (b *body) why() string {
	switch {
	case b.Reason != "":
		return b.Reason
	case b.Rule != "":
		return "rule " + b.Rule
	}
	return ""
}

func (b *body) done(topic string) string {
	switch {
	case b.Approval.ID != "" || topic == TopicPolicy || topic == TopicRolledBack || topic == TopicHeld:
		return "" // the sentence says it
	case topic == TopicTest:
		return "nothing: this is a test"
	case topic == TopicUndone:
		return fmt.Sprintf("action %s was undone by %s", cut(b.Action.ID, 80), cut(b.By, 120))
	case b.Action.ID == "":
		return "nothing was done by itself"
	case b.Action.Status == string(nhi.ActionProposed):
		return fmt.Sprintf("nothing yet: to %s it waits for a person (muster action approve %s)", cut(b.Action.Measure, 40), cut(b.Action.ID, 80))
	}
	return fmt.Sprintf("%s, as action %s", cut(b.Action.Measure, 40), cut(b.Action.ID, 80))
}

func (b *body) undo(topic string) string {
	if topic == TopicUndone || b.Action.Status == string(nhi.ActionProposed) {
		return ""
	}
	return b.Action.Undo
}

func (b *body) answer() string {
	if b.Approval.ID == "" {
		return ""
	}
	return fmt.Sprintf("on the console's page Approvals, or muster approval show %s", cut(b.Approval.ID, 80))
}

// OwnerAddress returns the e-mail address of the owner of the identity that the
// message is about, when the owner is one of a domain in domains. It accepts
// plain addresses only: letters, digits and ._+-' before the @. An owner may
// come from a tag that a stranger wrote, and whatever else an address can
// hold (comments, quotes, routes, more addresses) is refused.
func (m *Message) OwnerAddress(domains []string) (string, bool) {
	local, domain, ok := strings.Cut(m.owner, "@")
	if !ok || local == "" || len(local) > 64 || len(domain) > 253 || local[0] == '-' || local[0] == '.' ||
		strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return "", false
	}
	for _, r := range local {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._+-'", r) {
			return "", false
		}
	}
	for _, d := range domains {
		if strings.EqualFold(d, domain) {
			return local + "@" + strings.ToLower(domain), true
		}
	}
	return "", false
}

// Text makes foreign text safe to show to people, of at most limit characters:
// what is hidden, and letters of another script within a word, are written as
// escapes (see package output), and addresses of the web cannot be clicked on:
// "https://" becomes "https[:]//" and "www." "www[.]", as incident reports
// write them.
func Text(s string, limit int) string {
	s = cut(s, 4*limit) // escapes only make it longer
	return cut(inert.Replace(output.Unmixed(output.Visible(s))), limit)
}

var inert = strings.NewReplacer("://", "[:]//", "www.", "www[.]", "WWW.", "WWW[.]", "mailto:", "mailto[:]")

// cut shortens s to limit characters; the last one then is an ellipsis.
func cut(s string, limit int) string {
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == limit {
			return s[:i] + "…"
		}
	}
	return s
}
