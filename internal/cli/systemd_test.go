package cli

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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
