package cli

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/cli/command"
)

// listening is a service manager: it returns its environment and what it is
// told.
func listening(t *testing.T, watchdog string) (func(string) string, func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": watchdog}
	return func(name string) string { return env[name] }, func() string {
		buf := make([]byte, 512)
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("the manager was told nothing: %v", err)
		}
		return string(buf[:n])
	}
}

func TestTheServiceManagerIsToldOfStartAndLife(t *testing.T) {
	getenv, told := listening(t, "30000")
	m := managerOf(getenv)
	m.tell("READY=1")
	if got := told(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	var dead atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if dead.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { m.watch(ctx, srv.URL) })
	for range 3 {
		if got := told(); got != "WATCHDOG=1" {
			t.Errorf("told %q", got)
		}
	}
	dead.Store(true)
	cancel()
	watching.Wait()
}

func TestAProcessThatDoesNotAnswerGivesNoSignOfLife(t *testing.T) {
	getenv, told := listening(t, "3000")
	m := managerOf(getenv)
	var asked atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		if asked.Add(1) == 5 {
			cancel()
		}
	}))
	defer srv.Close()
	m.watch(ctx, srv.URL)
	m.tell("the first that it hears")
	if got := told(); got != "the first that it hears" {
		t.Errorf("told %q", got)
	}
}

func TestWithoutAManagerNobodyIsTold(t *testing.T) {
	m := managerOf(func(string) string { return "" })
	m.tell("READY=1")
	m.watch(t.Context(), "http://127.0.0.1:1") // returns at once
}

// TestTheUnitSaysWhatThisProgramTakes reads the unit that operators install:
// its command lines are this program's, and what tells systemd of start, life
// and secrets is in it.
func TestTheUnitSaysWhatThisProgramTakes(t *testing.T) {
	text, err := os.ReadFile("../../deploy/systemd/muster.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			unit[name] = value
		}
	}
	for _, name := range []string{"ExecStartPre", "ExecStart"} {
		program, call, _ := strings.Cut(unit[name], " ")
		a := &app{&command.App{Std: command.Std{Getenv: func(string) string { return "" }}}}
		cmd, rest, err := a.root().Find(strings.Fields(call))
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil || filepath.Base(program) != "muster" || cmd.HasSubCommands() {
			t.Errorf("%s=%s is not a command of this program: %v", name, unit[name], err)
		}
	}
	for name, want := range map[string]string{
		"Type": "notify", "WatchdogSec": "30", "LimitCORE": "0", "UMask": "0077", "StateDirectoryMode": "0700", "DynamicUser": "yes",
		"LoadCredential": "passphrase", "ProtectSystem": "strict", "NoNewPrivileges": "yes", "ExecReload": "/bin/kill -HUP $MAINPID",
	} {
		if unit[name] != want {
			t.Errorf("%s is %q, want %q", name, unit[name], want)
		}
	}
	// Who has systemd hears what that thinks of it, except that the program is
	// not installed here.
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal("systemd-analyze is missing: apt-get install systemd")
	}
	if err != nil {
		t.Skip("systemd-analyze is not installed: the unit was not read by systemd")
	}
	said, _ := exec.CommandContext(t.Context(), verify, "verify", "--man=no", "../../deploy/systemd/muster.service").CombinedOutput()
	for line := range strings.Lines(string(said)) {
		if strings.Contains(line, "muster.service") && !strings.Contains(line, "/usr/local/bin/muster is not executable") {
			t.Errorf("systemd says: %s", line)
		}
	}
}
