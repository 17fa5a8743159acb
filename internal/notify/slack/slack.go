// Package slack posts notices to a channel of Slack by an incoming webhook, as
// blocks (https://docs.slack.dev/reference/block-kit): a header, what happened,
// a row for each fact (who, where, why, what was done, how to undo) and a button
// that leads to the console.
//
// Names in a notice were chosen by strangers. Every foreign text is a plain_text
// object, which Slack shows as it is: no markup, no mention, no link, no emoji.
// It is escaped as Slack asks (&, < and >), words that call people are defused
// as well, and mrkdwn is used for our own labels only. The address of the
// webhook is a secret: it is read from a file and never told.
package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/telemetry"
)

// Settings say where the incoming webhook is, and whether people may answer.
type Settings struct {
	// URLFile is the file that holds the URL of the incoming webhook and nothing
	// else; whoever knows it can write to the channel, so only the server's user
	// may read it.
	URLFile string `yaml:"url_file" unit:"file" example:"/etc/muster/slack.url"`
	// SigningSecretFile is the file with the app's signing secret, by which Slack
	// proves that somebody pressed a button. With it, token_file and workspace, what
	// identities ask can be answered in Slack.
	SigningSecretFile string `yaml:"signing_secret_file" unit:"file" example:"/etc/muster/slack.secret"`
	// TokenFile is the file with the app's bot token (scopes users:read and
	// users:read.email), by which whoever pressed a button is looked up.
	TokenFile string `yaml:"token_file" unit:"file" example:"/etc/muster/slack.token"`
	// Workspace is the id of the workspace whose members may answer.
	Workspace string `yaml:"workspace" example:"T024BE7LD"`
	// API is where Slack's interface is; another one than Slack's own is for
	// companies that go out by a gateway.
	API string `yaml:"api" default:"https://slack.com/api" example:"https://slack.com/api"`
}

// Validate returns an error wrapping nhi.ErrInvalid when what it takes to answer
// is there in part.
func (s *Settings) Validate() error {
	if s.URLFile == "" {
		return nhi.Invalidf("slack: url_file is needed")
	}
	given := 0
	for _, v := range []string{s.SigningSecretFile, s.TokenFile, s.Workspace} {
		if v != "" {
			given++
		}
	}
	switch {
	case given != 0 && given != 3:
		return nhi.Invalidf("slack: to have people answer in Slack set signing_secret_file, token_file and workspace; without, none of them")
	case s.Workspace != "" && !accountName.MatchString(s.Workspace):
		return nhi.Invalidf("slack.workspace %.40q: want the id of a workspace, as T024BE7LD", s.Workspace)
	case s.API == "":
		return nil
	}
	u, err := url.Parse(s.API)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && (u.Scheme != "http" || !notify.Loopback(u.Hostname())) {
		return nhi.Invalidf("slack.api %.200q: want an https:// address; plain HTTP is for loopback only", s.API)
	}
	return nil
}

// ownAPI is Slack's.
const ownAPI = "https://slack.com/api"

// Files are what is in the files of the settings. New keeps what it needs.
type Files struct{ URL, SigningSecret, Token []byte }

// A Channel posts to one channel of Slack. It is safe for concurrent use.
type Channel struct {
	name    string
	url     string
	console string
	client  *http.Client
	desk    *desk // nil where nobody answers
}

const timeout = 20 * time.Second

// New returns the channel that is called name. console is the address of the
// console, without a slash at its end. The error wraps nhi.ErrInvalid and tells
// nothing of what is in the files.
func New(name string, s Settings, files Files, console string) (*Channel, error) {
	u, err := url.Parse(strings.TrimSpace(string(files.URL)))
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(strings.TrimSpace(string(files.URL)), " \r\n\t"):
		return nil, nhi.Invalidf("slack %s: url_file must hold one URL, as https://hooks.slack.com/services/...", name)
	case u.Scheme != "https" && (u.Scheme != "http" || !notify.Loopback(u.Hostname())):
		return nil, nhi.Invalidf("slack %s: the URL in url_file must begin with https://; plain HTTP is for loopback only", name)
	}
	c := &Channel{name: name, url: u.String(), console: console, client: &http.Client{
		Timeout:       timeout,
		Transport:     telemetry.Transport(nil, "slack"),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if s.SigningSecretFile == "" {
		return c, nil
	}
	secret, token := strings.TrimSpace(string(files.SigningSecret)), strings.TrimSpace(string(files.Token))
	switch {
	case len(secret) < 16 || strings.ContainsAny(secret, " \r\n\t"):
		return nil, nhi.Invalidf("slack %s: signing_secret_file must hold the signing secret of the app (Basic Information) and nothing else", name)
	case token == "" || strings.ContainsAny(token, " \r\n\t"):
		return nil, nhi.Invalidf("slack %s: token_file must hold the bot token of the app (OAuth & Permissions) and nothing else", name)
	}
	c.desk = &desk{team: s.Workspace, secret: []byte(secret), token: token, api: strings.TrimSuffix(s.API, "/")}
	if c.desk.api == "" {
		c.desk.api = ownAPI
	}
	return c, nil
}

// Name implements notify.Channel.
func (c *Channel) Name() string { return "slack:" + c.name }

// Send implements notify.Channel. Slack answers 429 with how long to wait, 404
// and 410 when the webhook or its channel is gone, and 400 when it does not
// understand the message, which trying again does not change.
func (c *Channel) Send(ctx context.Context, n nhi.Notice) error {
	m, err := notify.Words(n, c.console)
	if err != nil {
		return fmt.Errorf("notify %s: %w (%w)", c.name, err, notify.ErrGone)
	}
	body, err := json.Marshal(render(&m, c.Answers()))
	if err != nil {
		return fmt.Errorf("encode notice %s: %w", n.ID, err)
	}
	return c.post(ctx, c.url, body)
}

// post sends a message to an address that is a secret.
func (c *Channel) post(ctx context.Context, to string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("notify %s: the URL cannot be asked", c.name)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "muster")
	res, err := c.client.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return fmt.Errorf("notify %s: %w", c.name, err)
	}
	defer res.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // a word such as channel_not_found; none is no harm
	return c.verdict(res.StatusCode, res.Header.Get("Retry-After"), word(said))
}

func (c *Channel) verdict(status int, retry, said string) error {
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusTooManyRequests:
		seconds, err := strconv.Atoi(retry)
		if err != nil || seconds < 1 {
			seconds = 30
		}
		return &notify.Later{
			After: time.Duration(min(seconds, 24*3600)) * time.Second,
			Err:   fmt.Errorf("notify %s: Slack wants a pause of %d s", c.name, seconds),
		}
	case status == http.StatusNotFound || status == http.StatusGone || status == http.StatusBadRequest:
		return fmt.Errorf("notify %s: Slack answers %d%s; make a new webhook if it is gone: %w", c.name, status, said, notify.ErrGone)
	}
	return fmt.Errorf("notify %s: Slack answers %d%s", c.name, status, said)
}

var plainWord = regexp.MustCompile(`^[a-z_]{2,40}$`)

// word is Slack's reason, when it is a plain word.
func word(said []byte) string {
	if w := strings.TrimSpace(string(said)); plainWord.MatchString(w) {
		return " (" + w + ")"
	}
	return ""
}
