package email

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the template
	"encoding/hex"
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
)

//go:embed notice.html
var page string

var asHTML = template.Must(template.New("notice").Parse(page))

// subjectLimit is the most characters of a subject.
const subjectLimit = 200

// compose writes the message to one recipient.
func (c *Channel) compose(m *notify.Message, n nhi.Notice, to string) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := msg.FromFormat(c.from.Name, c.from.Address); err != nil {
		return nil, fmt.Errorf("write the sender: %w", err)
	}
	if err := msg.To(to); err != nil {
		return nil, fmt.Errorf("write the recipient: %w", err)
	}
	_, domain, _ := strings.Cut(c.from.Address, "@")
	msg.Subject(subject(m))
	msg.SetMessageIDWithValue(token(n.ID) + "@" + domain)
	msg.SetDateWithValue(time.Now())
	// Nobody's out-of-office should answer (RFC 3834, section 5), and a mail
	// program can sort by the list (RFC 2919) and join what is about one finding.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	msg.SetGenHeader("List-Id", "Muster <notices.muster."+domain+">")
	if m.Finding != "" {
		msg.SetGenHeader("References", "<"+token(m.Finding)+"@"+domain+">")
	}
	var html bytes.Buffer
	if err := asHTML.Execute(&html, m); err != nil {
		return nil, fmt.Errorf("write notice %s: %w", n.ID, err)
	}
	msg.SetBodyString(gomail.TypeTextPlain, plain(m))
	msg.AddAlternativeString(gomail.TypeTextHTML, html.String())
	return msg, nil
}

func subject(m *notify.Message) string {
	s := "[Muster] " + m.Severity + ": " + m.Title
	if m.Name != "" {
		s += " - " + m.Name
	}
	// Words has made every line end visible; this is the last door.
	return notify.Text(strings.Join(strings.Fields(s), " "), subjectLimit)
}

// plain is the message as text.
func plain(m *notify.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\r\n", m.Severity, m.Title)
	if m.Sentence != "" {
		fmt.Fprintf(&b, "\r\n%s\r\n", m.Sentence)
	}
	b.WriteString("\r\n")
	for _, f := range m.Facts {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Label, f.Value)
	}
	if m.Link != "" {
		fmt.Fprintf(&b, "\r\nOpen in Muster: %s\r\n", m.Link)
	}
	return b.String()
}

var plainToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// token is an id as it may stand in a Message-ID (RFC 5322, section 3.6.4): the
// same for the same id.
func token(id string) string {
	if plainToken.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}
