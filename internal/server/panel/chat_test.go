package panel

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/notify/slack"
)

// Whoever reaches the server may send what is never signed, and slowly: that must
// not keep Slack from being heard.
func TestStrangersWhoSendSlowlyKeepNobodyFromAnsweringInChat(t *testing.T) {
	room, err := slack.New("room", slack.Settings{SigningSecretFile: "x", TokenFile: "x", Workspace: "T0AC"}, slack.Files{
		URL: []byte("http://127.0.0.1:1/services/T0AC"), SigningSecret: []byte("8f742231b10e8888abcd99"), Token: []byte("not-a-token"),
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	chat := NewChat(nil, func(string) (notify.Channel, bool) { return room, true }, nil)
	var strangers sync.WaitGroup
	defer strangers.Wait()
	for range atOnce {
		body, send := io.Pipe()
		strangers.Go(func() {
			chat.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, ChatPath+"room", body))
		})
		if _, err := send.Write([]byte("x")); err != nil { // it returns when the handler reads
			t.Fatal(err)
		}
		defer send.Close()
	}
	w := httptest.NewRecorder()
	chat.ServeHTTP(w, httptest.NewRequest(http.MethodPost, ChatPath+"room", strings.NewReader("payload=x")))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("beside %d strangers a request is answered %d, want %d: its signature was looked at", atOnce, w.Code, http.StatusUnauthorized)
	}
}
