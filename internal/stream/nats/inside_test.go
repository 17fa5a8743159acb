package nats

import (
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/muster-id/muster/internal/stream"
)

func TestABusyServerIsNotABrokenOne(t *testing.T) {
	busy := []server.HealthzError{{Type: server.HealthzErrorConn, Error: "startup did not complete"}}
	for _, tt := range []struct {
		name  string
		finds [][]server.HealthzError // look by look; the last one again and again
		want  error
	}{
		{"well", [][]server.HealthzError{nil}, nil},
		{"busy, then well", [][]server.HealthzError{busy, busy, nil}, nil},
		{"always busy", [][]server.HealthzError{busy}, stream.ErrUnavailable},
		{"broken", [][]server.HealthzError{{{Type: server.HealthzErrorStream, Error: "write failed"}}}, stream.ErrBroken},
		{"busy, then broken", [][]server.HealthzError{busy, {{Type: server.HealthzErrorJetStream, Error: "disabled"}}}, stream.ErrBroken},
	} {
		n := 0
		err := examine(func() []server.HealthzError {
			n++
			return tt.finds[min(n, len(tt.finds))-1]
		})
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil || errors.Is(err, stream.ErrBroken) != (tt.want == stream.ErrBroken) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}
