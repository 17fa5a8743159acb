package nats

import (
	"log/slog"
	"testing"
	"time"
)

// eventually waits until ok, which a slow machine may take a while for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(90 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s did not happen", what)
		}
	}
}

func connect(t testing.TB, out Outside, set Settings) *Stream {
	t.Helper()
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Connect(t.Context(), out, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
