package slack

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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
)

const (
	// MaxBody is the most that a request of Slack may have. It repeats the message
	// whose button was pressed.
	MaxBody = 128 << 10

	// skew is how far the time of a request may lie from ours
	// (https://docs.slack.dev/authentication/verifying-requests-from-slack).
	skew = 5 * time.Minute

	maxAnswer = 64 << 10 // of Slack's interface

	actApprove, actDeny, actOpen = "approve", "deny", "open"
)

// An Answer is a button that somebody pressed.
type Answer struct {
	User     string // id of the account in Slack
	Approval string // id of what was asked
	Yes      bool

	reply string // where to answer
}

// desk is what it takes to have people answer in Slack.
type desk struct {
	team   string
	secret []byte
	token  string
	api    string
}

var (
	// ErrNothing is of a request that is Slack's and asks for nothing: a button
	// that leads to the console.
	ErrNothing = errors.New("nothing is asked")

	accountName  = regexp.MustCompile(`^[A-Z0-9]{2,32}$`)
	approvalName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// Answers reports whether people may answer in this channel.
func (c *Channel) Answers() bool { return c.desk != nil }

// Read checks that a request comes from Slack and says what was pressed. header
// and body are the request's, body as it was sent. The error wraps nhi.ErrDenied
// when the signature is not Slack's, the request is more than five minutes old or
// the account is not one of the workspace, nhi.ErrInvalid when the rest is not
// understood, and is ErrNothing for a button that asks nothing.
func (c *Channel) Read(header http.Header, body []byte, now time.Time) (Answer, error) {
	if c.desk == nil || !c.desk.signed(header, body, now) {
		return Answer{}, fmt.Errorf("the request is not signed by Slack: %w", nhi.ErrDenied)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["payload"]) != 1 {
		return Answer{}, nhi.Invalidf("the body is not a form with one payload")
	}
	var pressed struct {
		Type string `json:"type"`
		User struct {
			ID   string `json:"id"`
			Team string `json:"team_id"`
		} `json:"user"`
		Reply   string `json:"response_url"`
		Actions []struct {
			ID    string `json:"action_id"`
			Value string `json:"value"`
		} `json:"actions"`
	}
	if err := json.Unmarshal([]byte(form["payload"][0]), &pressed); err != nil {
		return Answer{}, nhi.Invalidf("the payload is not what Slack sends when a button is pressed")
	}
	if pressed.Type != "block_actions" || len(pressed.Actions) != 1 {
		return Answer{}, nhi.Invalidf("a payload of the type %.40q with %d actions: want one pressed button", pressed.Type, len(pressed.Actions))
	}
	act := pressed.Actions[0]
	switch {
	case act.ID == actOpen:
		return Answer{}, ErrNothing
	case act.ID != actApprove && act.ID != actDeny || !approvalName.MatchString(act.Value):
		return Answer{}, nhi.Invalidf("the button %.40q is not one of ours", act.ID)
	case !accountName.MatchString(pressed.User.ID) || pressed.User.Team != c.desk.team:
		return Answer{}, fmt.Errorf("whoever pressed the button has no account of the workspace %s: %w", c.desk.team, nhi.ErrDenied)
	}
	a := Answer{User: pressed.User.ID, Approval: act.Value, Yes: act.ID == actApprove}
	if c.replies(pressed.Reply) {
		a.reply = pressed.Reply
	}
	return a, nil
}

// signed checks the signature of a request: HMAC-SHA256 over the version, the time
// and the body (https://docs.slack.dev/authentication/verifying-requests-from-slack).
func (d *desk) signed(header http.Header, body []byte, now time.Time) bool {
	stamps, signatures := header["X-Slack-Request-Timestamp"], header["X-Slack-Signature"]
	if len(stamps) != 1 || len(signatures) != 1 || len(stamps[0]) > 20 {
		return false
	}
	said, ok := strings.CutPrefix(signatures[0], "v0=")
	given, err := hex.DecodeString(said)
	if !ok || err != nil {
		return false
	}
	mac := hmac.New(sha256.New, d.secret)
	_, _ = fmt.Fprintf(mac, "v0:%s:", stamps[0]) // a hash never fails
	_, _ = mac.Write(body)
	if !hmac.Equal(given, mac.Sum(nil)) {
		return false
	}
	seconds, err := strconv.ParseInt(stamps[0], 10, 64)
	return err == nil && now.Sub(time.Unix(seconds, 0)).Abs() <= skew
}

// replies reports whether an address is one that Slack takes answers at: of the
// host of the incoming webhook.
func (c *Channel) replies(address string) bool {
	u, err := url.Parse(address)
	ours, failed := url.Parse(c.url)
	return err == nil && failed == nil && u.User == nil && u.Scheme == ours.Scheme && u.Host == ours.Host
}

// Email asks Slack for the address of an account: of a member of the workspace
// who is no guest, no program and not gone. The error wraps nhi.ErrDenied when
// the account is none of these or has no address.
func (c *Channel) Email(ctx context.Context, user string) (string, error) {
	var said struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
		User  struct {
			ID         string `json:"id"`
			Team       string `json:"team_id"`
			Deleted    bool   `json:"deleted"`
			Bot        bool   `json:"is_bot"`
			Workflow   bool   `json:"is_workflow_bot"`
			Guest      bool   `json:"is_restricted"`
			OneChannel bool   `json:"is_ultra_restricted"`
			Stranger   bool   `json:"is_stranger"`
			Invited    bool   `json:"is_invited_user"`
			Confirmed  *bool  `json:"is_email_confirmed"` // nil where Slack does not tell
			Profile    struct {
				Email string `json:"email"`
			} `json:"profile"`
		} `json:"user"`
	}
	form := url.Values{"user": {user}}
	if err := c.call(ctx, "users.info", form, &said); err != nil {
		return "", err
	}
	u := &said.User
	switch {
	case !said.OK:
		return "", fmt.Errorf("notify %s: Slack does not say who pressed the button%s: %w", c.name, word([]byte(said.Error)), nhi.ErrUnavailable)
	case u.ID != user || u.Team != c.desk.team || u.Deleted || u.Bot || u.Workflow || u.Guest || u.OneChannel || u.Stranger || u.Invited:
		return "", fmt.Errorf("the account %s is not a full member of the workspace: %w", user, nhi.ErrDenied)
	case u.Profile.Email == "" || u.Confirmed != nil && !*u.Confirmed:
		return "", fmt.Errorf("the account %s has no confirmed address (the app needs the scopes users:read and users:read.email): %w", user, nhi.ErrDenied)
	}
	return u.Profile.Email, nil
}

// call asks Slack's interface for something.
func (c *Channel) call(ctx context.Context, method string, form url.Values, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.desk.api+"/"+method, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("notify %s: %w", c.name, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+c.desk.token)
	res, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("notify %s: Slack cannot be asked (%w): %w", c.name, err, nhi.ErrUnavailable)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil || len(body) > maxAnswer || res.StatusCode != http.StatusOK || json.Unmarshal(body, out) != nil {
		return fmt.Errorf("notify %s: Slack answers %d with something else than JSON: %w", c.name, res.StatusCode, nhi.ErrUnavailable)
	}
	return nil
}

// Reply tells people what became of an answer: all who see the message, whose
// buttons then go, when it is settled; else only whoever pressed. said is foreign
// text. It does nothing where Slack named no address to reply to.
func (c *Channel) Reply(ctx context.Context, a Answer, said string, settled bool) error {
	if a.reply == "" {
		return nil
	}
	shown := foreign(notify.Text(said, textLimit/4), textLimit)
	out := struct {
		message
		To      string `json:"response_type,omitempty"`
		Replace bool   `json:"replace_original"`
	}{message: message{Text: shown.Text, Parse: "none", Blocks: []block{{Type: "section", Text: &shown}}}, Replace: settled}
	if !settled {
		out.To = "ephemeral"
	}
	body, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode reply: %w", err)
	}
	return c.post(ctx, a.reply, body)
}
