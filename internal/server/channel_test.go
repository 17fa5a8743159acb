package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/muster-id/muster/client"
)

// A chat keeps what is posted to it and answers as it is told.
type chat struct {
	*httptest.Server
	mu     sync.Mutex // guards what follows
	status int
	got    string
}

func newChat(t *testing.T) *chat {
	t.Helper()
	c := &chat{status: http.StatusOK}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.status == http.StatusOK {
			c.got += string(body) + "\n"
		}
		w.WriteHeader(c.status)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *chat) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// holds reports whether one message has all words.
func (c *chat) holds(words ...string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for message := range strings.Lines(c.got) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(message, w)
		}
		if all {
			return true
		}
	}
	return false
}

func TestAChannelThatIsConfiguredWhileRunningTellsOfTheActAndOfItsUndoing(t *testing.T) {
	r, change := configurable(t, "")
	room := newChat(t)
	file := filepath.Join(t.TempDir(), "slack.url")
	if err := os.WriteFile(file, []byte(room.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	change("notify: [{name: room, slack: {url_file: " + file + "}}]\n")
	_, cred := r.furnish()
	reply := r.post(r.source("forum", "text"), "oops "+cred.Key)[0]
	r.until("the containment to be told", func() bool {
		return room.holds("critical: Leaked key", "settler ("+cred.Identity+")", "team:payments", "muster action undo "+reply.Action.ID, r.URL()+"/findings?id="+reply.Finding)
	})
	if _, err := r.api.UndoAction(t.Context(), reply.Action.ID, client.ActOn{Reason: "it was a drill"}); err != nil {
		t.Fatal(err)
	}
	r.until("the undoing to be told", func() bool {
		return room.holds("medium: Containment undone", cred.Identity, "team:payments", "it was a drill", "was undone by")
	})
}

func TestAChannelThatFailsIsAmongTheChecksUntilItWorksAgain(t *testing.T) {
	r, change := configurable(t, "")
	room, other := newChat(t), newChat(t)
	room.answer(http.StatusForbidden)
	file := filepath.Join(t.TempDir(), "slack.url")
	if err := os.WriteFile(file, []byte(room.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	change("notify: [{name: room, slack: {url_file: " + file + "}}]\n")
	test := func() client.ChannelTest {
		t.Helper()
		got, err := r.api.TestChannel(t.Context(), "room")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := test(); got.Delivered || !strings.Contains(got.Error, "403") {
		t.Errorf("the test says %+v", got)
	}
	if text := readyz(t, r); !strings.HasPrefix(text, "ready\n") || !strings.Contains(text, "notices: degraded: people are not told by slack:room since") {
		t.Errorf("readyz says\n%s", text)
	}
	// Another URL in the same file: the configuration itself does not change.
	if err := os.WriteFile(file, []byte(other.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	change("notify: [{name: room, slack: {url_file: " + file + "}}]\n")
	if got := test(); !got.Delivered || !other.holds("A test of this channel") {
		t.Errorf("the test says %+v", got)
	}
	if text := readyz(t, r); !strings.Contains(text, "\nnotices: ok\n") {
		t.Errorf("readyz says\n%s", text)
	}
	if _, err := r.api.TestChannel(t.Context(), "nobody"); !client.IsNotFound(err) {
		t.Errorf("a test of a channel that is not there: %v", err)
	}
}
