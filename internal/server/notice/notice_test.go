package notice

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/notify/email"
	"github.com/muster-id/muster/internal/notify/slack"
	"github.com/muster-id/muster/internal/notify/webhook"
)

// file writes text into a file of its own.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const secret = "whsec_b25seSBhIHRlc3QsIHRoaXJ0eS10d28gYnl0ZXMhISE="

func mail(server string) email.Settings {
	return email.Settings{Server: server, From: "muster@kestrel.example", To: []string{"ops@kestrel.example"}}
}

func TestEveryKindOfReceiverBecomesAChannel(t *testing.T) {
	routes, err := Routes([]config.Receiver{
		{Settings: webhook.Settings{Name: "hook", URL: "https://x.example/h", SecretFile: file(t, secret), Severity: nhi.High}},
		{Settings: webhook.Settings{Name: "people"}, Email: mail("smtp.kestrel.example:587")},
		{Settings: webhook.Settings{Name: "room"}, Slack: slack.Settings{URLFile: file(t, "https://hooks.slack.com/services/x\n")}},
	}, "https://muster.example")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range routes {
		names = append(names, r.Channel.Name()+" "+string(r.Least))
	}
	if diff := cmp.Diff([]string{"webhook:hook high", "email:people ", "slack:room "}, names); diff != "" {
		t.Error(diff)
	}
}

func TestAFileThatCannotBeUsedNamesTheReceiverAndTheKeyAndNoSecret(t *testing.T) {
	signing := mail("smtp.kestrel.example:587")
	signing.Username = "muster"
	for _, tt := range []struct {
		want     string
		receiver config.Receiver
	}{
		{"secret_file", config.Receiver{Settings: webhook.Settings{Name: "a", URL: "https://x.example/h", SecretFile: "/nowhere/hook"}}},
		{"email.password_file", config.Receiver{Settings: webhook.Settings{Name: "a"}, Email: func() email.Settings { s := signing; s.PasswordFile = "/nowhere/password"; return s }()}},
		{"email.password_file", config.Receiver{Settings: webhook.Settings{Name: "a"}, Email: func() email.Settings { s := signing; s.PasswordFile = file(t, "\nhush"); return s }()}},
		{"email.ca_file", config.Receiver{Settings: webhook.Settings{Name: "a"}, Email: func() email.Settings { s := mail("a.example:25"); s.CAFile = file(t, "hush"); return s }()}},
		{"url_file", config.Receiver{Settings: webhook.Settings{Name: "a"}, Slack: slack.Settings{URLFile: file(t, "http://hooks.example/hush")}}},
		{"url_file", config.Receiver{Settings: webhook.Settings{Name: "a"}, Slack: slack.Settings{URLFile: file(t, strings.Repeat("h", maxFile+1))}}},
	} {
		_, err := Routes([]config.Receiver{tt.receiver}, "")
		if err == nil || !strings.Contains(err.Error(), "notify[0] (a)") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("Routes = %v, want an error about %s", err, tt.want)
		}
	}
}

func TestATestSaysWhatTheReceiverAnswered(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusForbidden)
	room := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer room.Close()
	const nobody = "127.0.0.1:1" // listens there
	routes, err := Routes([]config.Receiver{
		{Settings: webhook.Settings{Name: "room", Severity: nhi.Critical}, Slack: slack.Settings{URLFile: file(t, room.URL)}},
		{Settings: webhook.Settings{Name: "people"}, Email: mail(nobody)},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	d := Desk{notify.NewRouter(nil, routes)}
	if s := d.State(t.Context()); s != health.OK() {
		t.Errorf("state %v before anything was sent", s)
	}
	for name, want := range map[string]string{"room": "403", "people": "refused"} {
		got, err := d.Test(t.Context(), "person:1", name)
		if err != nil || got.Delivered || !strings.Contains(got.Error, want) {
			t.Errorf("Test(%s) = %+v, %v, want %q", name, got, err, want)
		}
	}
	s := d.State(t.Context())
	if s.Level != health.LevelDegraded || !strings.Contains(s.Why, "email:people since") || !strings.Contains(s.Why, "slack:room since") || !strings.Contains(s.Cure, "muster notify test") {
		t.Errorf("state %v", s)
	}
	status.Store(http.StatusOK)
	got, err := d.Test(t.Context(), "person:1", "room")
	if err != nil || !got.Delivered || got.Channel != "slack:room" {
		t.Errorf("Test = %+v, %v", got, err)
	}
	all, err := d.Channels(t.Context())
	if err != nil || len(all) != 2 || all[1].Name != "room" || all[1].Kind != "slack" || all[1].Sent != 1 || all[1].FailingSince != nil || all[1].LastSent == nil || all[0].FailingSince == nil {
		t.Errorf("channels %+v, %v", all, err)
	}
	if _, err := d.Test(context.Background(), "person:1", "nobody"); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("Test = %v, want ErrNotFound", err)
	}
}
