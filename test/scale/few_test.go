//go:build !scale

package scale

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/server"
)

// identities of the test of facts; three times as many credentials.
const identities = 4_000

// The small share of the load: calls a second, and what changes meanwhile.
const (
	loadTime        = 2 * time.Second
	loadReload      = 300 * time.Millisecond
	loadCredentials = 30
	loadPolicies    = 60
	loadBatches     = 10
	loadForward     = 60
	loadEnvoy       = 30
)

// newTarget starts a server in this process, where the race detector can see it.
func newTarget(t *testing.T) *target {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	c := config.Default()
	c.Listen, c.OpsListen, c.ExtAuthzListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	srv, err := server.New(t.Context(), server.Settings{Data: data, Config: c, Version: "load"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := srv.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop := func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.New(srv.URL(), strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	return &target{pid: os.Getpid(), url: srv.URL(), ops: srv.OpsURL(), envoy: srv.ExtAuthz(), data: data, api: api, stop: stop}
}

// measure measures this process: the callers' share is in it.
func (l *load) measure(t *testing.T) measurement {
	t.Helper()
	return measurement{cpu: cpu(), resident: float64(resident(t) >> 20), heap: float64(heap() >> 20)}
}

func (l *load) report(t *testing.T, lasted time.Duration, before, after measurement, behind float64, v *verdict) {
	t.Helper()
	t.Logf("%d questions in %v, %v of processor in process %d, %.0f to %.0f MB resident, %.0f to %.0f MB of heap, learning %.0f behind: %+v", v.records, lasted.Round(time.Millisecond),
		after.cpu-before.cpu, l.pid, before.resident, after.resident, before.heap, after.heap, behind, *v)
}
