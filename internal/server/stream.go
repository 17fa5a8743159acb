package server

import (
	"context"
	"path/filepath"

	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/nats"
)

// openStream opens the stream in the data folder, or on the servers that the
// configuration names. Servers that are away do not keep us from starting:
// decisions need none.
func (s *Server) openStream(ctx context.Context) (err error) {
	c := &s.settings.Config
	set := nats.Settings{Settings: stream.Settings{MaxAge: c.Retention.Age, MaxBytes: c.Retention.Bytes}}
	if len(c.Stream.URLs) > 0 {
		s.stream, err = nats.Connect(ctx, c.Stream, set)
	} else {
		s.stream, err = nats.Open(ctx, filepath.Join(s.settings.Data, "stream"), set)
	}
	if err != nil {
		return err
	}
	s.onClose(s.stream.Close)
	return nil
}

// streamState tells whether events can be taken in.
func (s *Server) streamState(context.Context) health.State {
	const meanwhile = "events are refused and wait at their senders, decisions go on"
	if err := s.stream.Health(); err != nil {
		if len(s.settings.Config.Stream.URLs) > 0 {
			return health.Failed(err.Error(), meanwhile) // it says what to do
		}
		return health.Failed(err.Error(), meanwhile+"; make room on the disk, and restart the server if that is not enough")
	}
	if why := s.stream.Degraded(); why != "" {
		return health.Degraded(why, "nothing is lost yet")
	}
	return health.OK()
}
