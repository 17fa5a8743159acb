package slack

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

const hush = "8f742231b10e8888abcd99yyyzzz85a5"

// answering is a channel where people answer; slack plays Slack.
func answering(t *testing.T, slack string) *Channel {
	t.Helper()
	c, err := New("ops", Settings{SigningSecretFile: "a", TokenFile: "b", Workspace: "T0AC", API: slack + "/api"},
		Files{URL: []byte(slack + "/services/T0AC/B000/hush"), SigningSecret: []byte(hush + "\n"), Token: []byte("xoxb-not-a-token\n")}, "https://muster.example")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signed is what Slack sends with a body.
func signed(body []byte, secret string, at time.Time) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	return http.Header{"X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(mac.Sum(nil))}}
}

func press(t *testing.T, edit func(map[string]any)) []byte {
	t.Helper()
	p := map[string]any{
		"type": "block_actions", "user": map[string]any{"id": "U1", "team_id": "T0AC"}, "response_url": "https://elsewhere.example/x",
		"actions": []any{map[string]any{"action_id": "approve", "value": "apr_1"}}, "token": "old", "message": map[string]any{"text": "x"},
	}
	if edit != nil {
		edit(p)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(url.Values{"payload": {string(b)}}.Encode())
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// The example of Slack's documentation on verifying requests.
func TestASignatureIsSlacksOwn(t *testing.T) {
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	d := desk{secret: []byte("8f742231b10e8888abcd99yyyzzz85a5")}
	h := http.Header{"X-Slack-Request-Timestamp": {"1531420618"}, "X-Slack-Signature": {"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"}}
	if !d.signed(h, []byte(body), time.Unix(1531420618, 0)) {
		t.Error("the example of the documentation is refused")
	}
}

func TestAPressedButtonIsRead(t *testing.T) {
	c := answering(t, "https://hooks.example")
	body := press(t, func(p map[string]any) { p["response_url"] = "https://hooks.example/actions/1" })
	a, err := c.Read(signed(body, hush, noon), body, noon.Add(time.Minute))
	if err != nil || a != (Answer{User: "U1", Approval: "apr_1", Yes: true, reply: "https://hooks.example/actions/1"}) {
		t.Errorf("%+v, %v", a, err)
	}
	body = press(t, func(p map[string]any) {
		p["actions"] = []any{map[string]any{"action_id": "deny", "value": "apr_1"}}
	})
	if a, err = c.Read(signed(body, hush, noon), body, noon); err != nil || a.Yes || a.reply != "" {
		t.Errorf("a no, with an address for the reply that is not Slack's: %+v, %v", a, err)
	}
	body = press(t, func(p map[string]any) { p["actions"] = []any{map[string]any{"action_id": "open"}} })
	if _, err = c.Read(signed(body, hush, noon), body, noon); !errors.Is(err, ErrNothing) {
		t.Errorf("the button to the console: %v", err)
	}
}

func TestWhatSlackDidNotSendIsRefused(t *testing.T) {
	c := answering(t, "https://hooks.example")
	body := press(t, nil)
	good := signed(body, hush, noon)
	twice := good.Clone()
	twice.Add("X-Slack-Signature", good.Get("X-Slack-Signature"))
	for name, tt := range map[string]struct {
		header http.Header
		body   []byte
		now    time.Time
	}{
		"no signature":             {http.Header{}, body, noon},
		"another secret":           {signed(body, hush[1:], noon), body, noon},
		"no secret":                {signed(body, "", noon), body, noon},
		"another body":             {good, bytes.Replace(body, []byte("apr_1"), []byte("apr_2"), 1), noon},
		"replayed later":           {good, body, noon.Add(skew + time.Second)},
		"from the future":          {good, body, noon.Add(-skew - time.Second)},
		"two signatures":           {twice, body, noon},
		"a signature of version 1": {http.Header{"X-Slack-Request-Timestamp": good["X-Slack-Request-Timestamp"], "X-Slack-Signature": {"v1" + good.Get("X-Slack-Signature")[2:]}}, body, noon},
		"half of the signature":    {http.Header{"X-Slack-Request-Timestamp": good["X-Slack-Request-Timestamp"], "X-Slack-Signature": {good.Get("X-Slack-Signature")[:35]}}, body, noon},
	} {
		if _, err := c.Read(tt.header, tt.body, tt.now); !errors.Is(err, nhi.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := channel(t, "https://hooks.example").Read(signed(body, "", noon), body, noon); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("a channel where nobody answers: %v", err)
	}
}

func TestAnAccountOfAnotherWorkspaceAnswersNothing(t *testing.T) {
	c := answering(t, "https://hooks.example")
	body := press(t, func(p map[string]any) { p["user"] = map[string]any{"id": "U1", "team_id": "T0EVIL"} })
	if _, err := c.Read(signed(body, hush, noon), body, noon); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("got %v", err)
	}
}

func TestAPayloadThatIsNotOneButtonIsNotUnderstood(t *testing.T) {
	c := answering(t, "https://hooks.example")
	for name, edit := range map[string]func(map[string]any){
		"another type":      func(p map[string]any) { p["type"] = "view_submission" },
		"two actions":       func(p map[string]any) { p["actions"] = append(p["actions"].([]any), p["actions"].([]any)[0]) },
		"no action":         func(p map[string]any) { p["actions"] = nil },
		"an unknown button": func(p map[string]any) { p["actions"] = []any{map[string]any{"action_id": "drop", "value": "apr_1"}} },
		"a path as value":   func(p map[string]any) { p["actions"] = []any{map[string]any{"action_id": "deny", "value": "../x"}} },
	} {
		body := press(t, edit)
		if _, err := c.Read(signed(body, hush, noon), body, noon); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "payload=", "payload={}&payload={}", "payload=[", "%zz"} {
		body := []byte(text)
		if _, err := c.Read(signed(body, hush, noon), body, noon); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOnlyAFullMemberOfTheWorkspaceHasAnAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		said string
		want error
	}{
		"a member":               {`{"ok":true,"user":{"id":"U1","team_id":"T0AC","is_email_confirmed":true,"profile":{"email":"ada@example.com"}}}`, nil},
		"one who left":           {`{"ok":true,"user":{"id":"U1","team_id":"T0AC","deleted":true,"profile":{"email":"ada@example.com"}}}`, nhi.ErrDenied},
		"a guest":                {`{"ok":true,"user":{"id":"U1","team_id":"T0AC","is_restricted":true,"profile":{"email":"ada@example.com"}}}`, nhi.ErrDenied},
		"a guest of one channel": {`{"ok":true,"user":{"id":"U1","team_id":"T0AC","is_ultra_restricted":true,"profile":{"email":"ada@example.com"}}}`, nhi.ErrDenied},
		"a program":              {`{"ok":true,"user":{"id":"U1","team_id":"T0AC","is_bot":true,"profile":{"email":"ada@example.com"}}}`, nhi.ErrDenied},
		"a stranger":             {`{"ok":true,"user":{"id":"U1","team_id":"T0AC","is_stranger":true,"profile":{"email":"ada@example.com"}}}`, nhi.ErrDenied},
		"of another workspace":   {`{"ok":true,"user":{"id":"U1","team_id":"T0EVIL","profile":{"email":"ada@example.com"}}}`, nhi.ErrDenied},
		"somebody else":          {`{"ok":true,"user":{"id":"U2","team_id":"T0AC","profile":{"email":"ada@example.com"}}}`, nhi.ErrDenied},
		"not confirmed":          {`{"ok":true,"user":{"id":"U1","team_id":"T0AC","is_email_confirmed":false,"profile":{"email":"ada@example.com"}}}`, nhi.ErrDenied},
		"no address":             {`{"ok":true,"user":{"id":"U1","team_id":"T0AC","profile":{}}}`, nhi.ErrDenied},
		"the app may not":        {`{"ok":false,"error":"missing_scope"}`, nhi.ErrUnavailable},
		"no JSON":                {`<html>`, nhi.ErrUnavailable},
	} {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/users.info" || r.FormValue("user") != "U1" || r.Header.Get("Authorization") != "Bearer xoxb-not-a-token" {
				t.Errorf("asked %s %v", r.URL, r.Form)
			}
			fmt.Fprint(w, tt.said)
		}))
		got, err := answering(t, api.URL).Email(t.Context(), "U1")
		api.Close()
		if !errors.Is(err, tt.want) || (err == nil) != (got == "ada@example.com") || err != nil && strings.Contains(err.Error(), "xoxb") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestSettingsToAnswerAreWholeOrNotThere(t *testing.T) {
	whole := Settings{URLFile: "u", SigningSecretFile: "s", TokenFile: "t", Workspace: "T0AC"}
	if err := whole.Validate(); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*Settings){
		"no workspace":       func(s *Settings) { s.Workspace = "" },
		"no token":           func(s *Settings) { s.TokenFile = "" },
		"no secret":          func(s *Settings) { s.SigningSecretFile = "" },
		"no webhook":         func(s *Settings) { s.URLFile = "" },
		"a workspace's name": func(s *Settings) { s.Workspace = "kestrel" },
		"plain http":         func(s *Settings) { s.API = "http://slack.example/api" },
	} {
		s := whole
		if edit(&s); !errors.Is(s.Validate(), nhi.ErrInvalid) {
			t.Errorf("%s: %v", name, s.Validate())
		}
	}
}

func TestButtonsToAnswerAreThereOnlyWherePeopleMay(t *testing.T) {
	r := open(t)
	n := leak("x")
	n.Data = []byte(`{"title":"Somebody has to approve a request","identity":"nhi_a","approval":{"id":"apr_1","what":"write x"}}`)
	if err := channel(t, r.URL).Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if b := r.last(t).Blocks; len(b[len(b)-1].Elements) != 1 {
		t.Errorf("nobody may answer here: %+v", b[len(b)-1])
	}
	if err := answering(t, r.URL).Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	b := r.last(t).Blocks
	e := b[len(b)-1].Elements
	if len(e) != 3 || e[0].ActionID != "approve" || e[0].Value != "apr_1" || e[0].Confirm == nil || e[1].ActionID != "deny" || e[1].Value != "apr_1" || e[2].URL == "" {
		t.Errorf("buttons %+v", e)
	}
}

func FuzzWhatIsPressed(f *testing.F) {
	f.Add("payload=" + url.QueryEscape(`{"type":"block_actions","user":{"id":"U1","team_id":"T0AC"},"actions":[{"action_id":"approve","value":"apr_1"}]}`))
	f.Add("payload=%7B%7D")
	c, err := New("ops", Settings{SigningSecretFile: "a", TokenFile: "b", Workspace: "T0AC"}, Files{URL: []byte("https://hooks.example/x"), SigningSecret: []byte(hush), Token: []byte("t")}, "")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a, err := c.Read(signed([]byte(body), hush, noon), []byte(body), noon)
		if err == nil && (!accountName.MatchString(a.User) || !approvalName.MatchString(a.Approval)) {
			t.Errorf("read %+v", a)
		}
	})
}
