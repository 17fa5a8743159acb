package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify/slack"
	"github.com/muster-id/muster/internal/server/panel"
	storeaccess "github.com/muster-id/muster/internal/store/access"
)

// A workspace plays Slack: the incoming webhook, who has an account, and where
// replies go.
type workspace struct {
	*httptest.Server
	t      *testing.T
	secret string
	mu     sync.Mutex // guards what follows
	posted []string
	told   []string
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{t: t, secret: "8f742231b10e8888abcd99yyyzzz85a5"}
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/users.info" {
			user := r.FormValue("user") // U + the name
			fmt.Fprintf(out, `{"ok":true,"user":{"id":%q,"team_id":"T0AC","profile":{"email":"%s@example.com"}}}`, user, strings.ToLower(user[1:]))
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if strings.HasPrefix(r.URL.Path, "/reply/") {
			w.told = append(w.told, string(body))
		} else {
			w.posted = append(w.posted, string(body))
		}
	}))
	t.Cleanup(w.Close)
	return w
}

// receiver is the entry of the configuration.
func (w *workspace) receiver(c *config.Config) {
	w.t.Helper()
	dir := w.t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			w.t.Fatal(err)
		}
		return path
	}
	r := config.Receiver{Slack: slack.Settings{
		URLFile: file("url", w.URL+"/services/T0AC/B0/hush"), SigningSecretFile: file("secret", w.secret), TokenFile: file("token", "not-a-token"), Workspace: "T0AC", API: w.URL + "/api",
	}}
	r.Name = "room"
	c.Notify = append(c.Notify, r)
}

// press has an account press a button and returns the status and the reply.
func (w *workspace) press(r *running, account, button, approval string) (int, string) {
	w.t.Helper()
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "user": map[string]any{"id": account, "team_id": "T0AC"}, "response_url": w.URL + "/reply/1",
		"actions": []any{map[string]any{"action_id": button, "value": approval}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	body := url.Values{"payload": {string(payload)}}.Encode()
	req, err := http.NewRequest(http.MethodPost, r.URL()+panel.ChatPath+"room", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(w.secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	req.Header = http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(mac.Sum(nil))},
	}
	w.mu.Lock()
	before := len(w.told)
	w.mu.Unlock()
	status, _ := do(w.t, req)
	if status != http.StatusOK {
		return status, ""
	}
	said := ""
	r.until("a reply in chat", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.told) > before {
			said = w.told[len(w.told)-1]
		}
		return said != ""
	})
	return status, said
}

func TestAPersonAnswersInChatAsInTheConsole(t *testing.T) {
	w := newWorkspace(t)
	r, point, key := asking(t, t.TempDir(), w.receiver)
	ada := r.by("ada", "Ada@Example.com", nil, access.Grant{Role: access.Responder})
	r.knock(point, key)
	a := r.pending()
	r.until("the buttons in chat", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, m := range w.posted {
			if strings.Contains(m, `"action_id":"approve","value":"`+a.ID+`"`) {
				return true
			}
		}
		return false
	})
	if status, said := w.press(r, "UADA", "approve", a.ID); status != http.StatusOK || !strings.Contains(said, "ada said yes: settler asks to read payments/api") || !strings.Contains(said, `"replace_original":true`) {
		t.Fatalf("%d %s", status, said)
	}
	if got := r.knock(point, key); got != http.StatusOK {
		t.Fatalf("after the yes in chat: %d", got)
	}
	after, err := r.api.GetApproval(t.Context(), a.ID)
	if err != nil || len(after.Votes) != 1 || after.Votes[0].Person != ada.Person || after.Votes[0].Comment != "in slack:room" {
		t.Errorf("on record is %+v, %v", after, err)
	}
	if _, said := w.press(r, "UADA", "deny", a.ID); !strings.Contains(said, "was not taken") || strings.Contains(said, `"replace_original":true`) {
		t.Errorf("an answer to what is settled: %s", said)
	}
}

func TestAnAccountInChatIsNobodyByItself(t *testing.T) {
	w := newWorkspace(t)
	r, point, key := asking(t, t.TempDir(), w.receiver)
	responder := access.Grant{Role: access.Responder}
	r.send(http.MethodPut, "/v1/identities/"+key.Identity+"/owner", map[string]string{"owner": "bob@example.com"}, nil)
	r.by("bob", "bob@example.com", nil, responder)                                                                 // answers for the identity
	r.by("eve", "eve@example.com", nil, access.Grant{Role: access.Analyst})                                        // may not respond
	r.by("tim", "tim@example.com", nil, access.Grant{Role: access.Responder, Scope: nhi.Scope{Team: "elsewhere"}}) // may, elsewhere
	gone := r.by("dis", "dis@example.com", nil, responder)                                                         // is disabled
	r.by("twin", "two@example.com", nil, responder)                                                                // has an address with somebody else
	r.by("twins", "TWO@example.com", nil, responder)                                                               //
	r.by("kim", "\u212aim@example.com", nil, responder)                                                            // has another's address but for a sign that folds to k
	old := r.by("old", "old@example.com", nil, responder)                                                          // signed in long ago
	off := true
	if _, err := r.access.SetPerson(t.Context(), gone.Person, access.PersonChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	if _, err := storeaccess.New(r.db).SaveSignIn(t.Context(), access.Person{
		ID: old.Person, Issuer: "https://id.example.com", Subject: "old", Name: "old", Email: "old@example.com", SignedIn: time.Now().Add(-13 * time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	r.knock(point, key)
	a := r.pending()
	for account, why := range map[string]string{
		"UBOB": "you answer for the identity", "UEVE": "may not answer", "UTIM": "may not answer", "UDIS": "no role", "UTWO": "two people", "UOLD": "has not signed in", "UNOBODY": "sign in to the console once", "UKIM": "sign in to the console once",
	} {
		if status, said := w.press(r, account, "approve", a.ID); status != http.StatusOK || !strings.Contains(said, why) {
			t.Errorf("%s: %d %s, want %q", account, status, said, why)
		}
	}
	if after, err := r.api.GetApproval(t.Context(), a.ID); err != nil || len(after.Votes) != 0 || after.State != "pending" {
		t.Errorf("on record is %+v, %v", after, err)
	}
	w.secret = "another secret than the app's own"
	if status, _ := w.press(r, "UBOB", "deny", a.ID); status != http.StatusUnauthorized {
		t.Errorf("a request that Slack did not sign: %d", status)
	}
}
