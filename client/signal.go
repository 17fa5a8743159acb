package client

import (
	"context"
	"iter"
	"time"
)

// SignalStream is the path of shared signals to one receiver.
type SignalStream struct {
	ID           string     `json:"id"`
	Receiver     string     `json:"receiver" doc:"identity of the source that receives"`
	Name         string     `json:"name" doc:"of that source"`
	Delivery     string     `json:"delivery" enum:"push,poll"`
	Endpoint     string     `json:"endpoint" doc:"where events are pushed to, or polled"`
	Events       []string   `json:"events"`
	Description  string     `json:"description,omitempty" doc:"as the receiver wrote it"`
	Status       string     `json:"status" enum:"enabled,paused,disabled"`
	Reason       string     `json:"reason,omitempty" doc:"of the status"`
	Waiting      int        `json:"waiting" doc:"events that the receiver has not acknowledged"`
	Lost         int64      `json:"lost" doc:"events that were dropped because nobody took them"`
	Created      time.Time  `json:"created"`
	FailingSince *time.Time `json:"failing_since,omitempty" doc:"since when no push gets through"`
	Error        string     `json:"error,omitempty" doc:"of the last push"`
}

// SignalPeer is a transmitter that Muster listens to. The numbers count since
// the process started.
type SignalPeer struct {
	Name         string     `json:"name"`
	Issuer       string     `json:"issuer"`
	Delivery     string     `json:"delivery" enum:"push,poll"`
	Subjects     []string   `json:"subjects" doc:"issuers, accounts and domains that it may speak about"`
	Applied      uint64     `json:"applied" doc:"signals that had their effect"`
	Repeated     uint64     `json:"repeated" doc:"signals that had been heard before"`
	Ignored      uint64     `json:"ignored" doc:"events that are not understood, or about nobody here"`
	Refused      uint64     `json:"refused" doc:"signals that were forged, foreign, malformed or not for us"`
	Status       string     `json:"status,omitempty" doc:"of the stream, as the peer told it last"`
	LastHeard    *time.Time `json:"last_heard,omitempty"`
	FailingSince *time.Time `json:"failing_since,omitempty" doc:"since when it cannot be polled"`
	Error        string     `json:"error,omitempty" doc:"the last thing that failed or was refused"`
}

// ListSignalStreams reads one page of the streams of shared signals.
func (c *Client) ListSignalStreams(ctx context.Context, q ListQuery) (Page[SignalStream], error) {
	return read[Page[SignalStream]](ctx, c, "/v1/signals/streams", values(q))
}

// SignalStreams goes through the streams of shared signals.
func (c *Client) SignalStreams(ctx context.Context, q ListQuery) iter.Seq2[SignalStream, error] {
	return pages[SignalStream](ctx, c, "/v1/signals/streams", values(q))
}

// ListSignalPeers reads one page of the peers that Muster listens to.
func (c *Client) ListSignalPeers(ctx context.Context, q ListQuery) (Page[SignalPeer], error) {
	return read[Page[SignalPeer]](ctx, c, "/v1/signals/peers", values(q))
}

// SignalPeers goes through the peers that Muster listens to.
func (c *Client) SignalPeers(ctx context.Context, q ListQuery) iter.Seq2[SignalPeer, error] {
	return pages[SignalPeer](ctx, c, "/v1/signals/peers", values(q))
}
