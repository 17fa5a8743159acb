package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
)

// signals are the routes about shared signals. Streams themselves are managed by
// their receivers, at /ssf/.
func (s *server) signals(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/signals/streams", "list-signal-streams", "sources", "List the streams of shared signals and what waits in each"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.SignalStream], error) {
			q, err := s.Read(list.SignalStreams.Language, in.ListQuery)
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.SignalStreams, s.Signals.Streams), func(v client.SignalStream) client.SignalStream {
				v.Description, v.Reason, v.Error = s.Clean(v.Description), s.Clean(v.Reason), s.Clean(v.Error)
				return v
			})
		})
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/signals/peers", "list-signal-peers", "sources", "List the peers whose shared signals are heard, and how each does"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.SignalPeer], error) {
			q, err := s.Read(list.SignalPeers.Language, in.ListQuery)
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.SignalPeers, s.Signals.Peers), func(v client.SignalPeer) client.SignalPeer {
				v.Error = s.Clean(v.Error)
				return v
			})
		})
}
