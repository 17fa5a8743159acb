package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// ListChannels reads one page of the channels of notices.
func (c *Client) ListChannels(ctx context.Context, q ListQuery) (Page[Channel], error) {
	return read[Page[Channel]](ctx, c, "/v1/channels", values(q))
}

// Channels goes through the channels of notices.
func (c *Client) Channels(ctx context.Context, q ListQuery) iter.Seq2[Channel, error] {
	return pages[Channel](ctx, c, "/v1/channels", values(q))
}

// TestChannel has the server send a test notice by one channel and waits for
// what its receiver says, half a minute at most.
func (c *Client) TestChannel(ctx context.Context, name string, options ...Option) (ChannelTest, error) {
	return write[ChannelTest](ctx, c, http.MethodPost, at("/v1/channels/", name, "/test"), nil, options)
}

// Channel is one way by which people are told, as the process that answers saw
// it since it started.
type Channel struct {
	Name         string     `json:"name" doc:"of the receiver in the configuration"`
	Kind         string     `json:"kind" enum:"webhook,email,slack"`
	Severity     string     `json:"severity,omitempty" doc:"the least severity that is sent; absent: all"`
	Sent         uint64     `json:"sent" doc:"notices that the receiver took, tests too"`
	Refused      uint64     `json:"refused" doc:"notices that were given up"`
	LastSent     *time.Time `json:"last_sent,omitempty" doc:"when the receiver last took one"`
	FailingSince *time.Time `json:"failing_since,omitempty" doc:"absent: the last attempt was good, or there was none"`
	Error        string     `json:"error,omitempty" doc:"what the last attempt ended with, when it failed"`
}

// ChannelTest is what a receiver said to a test notice.
type ChannelTest struct {
	Channel   string `json:"channel"`
	Delivered bool   `json:"delivered"`
	Error     string `json:"error,omitempty" doc:"why it was not delivered"`
}
