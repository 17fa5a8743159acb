package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
)

// ChannelPath is the part of a path that names a channel.
type ChannelPath struct {
	Name string `path:"name" maxLength:"64" doc:"of the receiver in the configuration"`
}

// channels are the routes about how people are told.
func (s *server) channels(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/channels", "list-channels", "operations", "List the channels of notices and how each does"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.Channel], error) {
			q, err := s.Read(list.Channels.Language, in.ListQuery)
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.Channels, s.Channels.Channels), func(c client.Channel) client.Channel {
				c.Error = s.Clean(c.Error)
				return c
			})
		})
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/channels/{name}/test", "test-channel", "operations", "Send a test notice by one channel and say what its receiver answered"),
		func(ctx context.Context, in *ChannelPath) (*frame.Body[client.ChannelTest], error) {
			all, err := s.Channels.Channels(ctx)
			if err != nil {
				return nil, frame.Fail(err)
			}
			if !slices.ContainsFunc(all, func(c client.Channel) bool { return c.Name == in.Name }) {
				return nil, frame.Fail(frame.NotFound("channel", in.Name))
			}
			if err := s.Act(ctx, "channel.test", in.Name, ""); err != nil {
				return nil, frame.Fail(err)
			}
			result, err := s.Channels.Test(ctx, frame.CallerOf(ctx).Actor(), in.Name)
			if err != nil {
				return nil, frame.Fail(err)
			}
			result.Error = s.Clean(result.Error)
			return &frame.Body[client.ChannelTest]{Body: result}, nil
		})
}
