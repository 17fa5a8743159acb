package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
)

// natsAt starts a NATS server at an address on loopback.
func natsAt(t *testing.T, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "outside", Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 40, MaxPayload: 4 << 20,
		NoSigs: true, DisableJetStreamBanner: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func (r *running) readyz() (int, string) {
	r.t.Helper()
	res, err := http.Get(r.OpsURL() + "/readyz?verbose")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestWhileTheStreamIsAwayDecisionsGoOnAndLogsWaitAtTheirSenders(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	r := start(t, t.TempDir(), func(c *config.Config) { c.Stream.URLs = []string{"nats://" + free.Addr().String()} })
	point, key := r.furnish()
	if status := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); status != http.StatusOK {
		t.Errorf("a decision without the stream = %d", status)
	}
	status, body := r.readyz()
	if status != http.StatusOK || !strings.Contains(body, "not connected to") || !strings.Contains(body, "start the servers") {
		t.Errorf("/readyz = %d, %s, want ready, and a word about the stream", status, body)
	}

	trailSource := r.source("trail", "cloudtrail", account)
	send := func() error {
		return trailSource.Do(t.Context(), http.MethodPost, "/receive/logs/cloudtrail", "application/json", trail(event{id: "1", user: "settler"}), nil)
	}
	var refused *client.Error
	if err := send(); !errors.As(err, &refused) || refused.Status != http.StatusTooManyRequests {
		t.Errorf("logs without the stream = %v, want 429", err)
	}
	natsAt(t, port)
	r.until("the stream", func() bool { return send() == nil })
	r.until("learning", func() bool { return r.learner.Err() == nil })
	r.until("health", func() bool { _, body := r.readyz(); return !strings.Contains(body, "not connected") })
}
