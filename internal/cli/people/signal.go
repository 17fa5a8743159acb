package people

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var (
	peerColumns   = output.Columns[client.SignalPeer]("name delivery applied ignored refused last_heard failing_since error | issuer subjects repeated status")
	streamColumns = output.Columns[client.SignalStream]("id name delivery status waiting lost failing_since | receiver endpoint events description reason created error")
)

// SignalPeers is `muster source peers`.
func SignalPeers(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "peers", Short: "List the peers whose shared signals are heard",
		Long:    "List the transmitters of shared signals that the configuration names under signals.peers, with what\nbecame of their signals since the server started.",
		Example: `muster source peers`, Prints: output.Fields[client.SignalPeer](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Pages(ctx, k, "/v1/signals/peers", nil, 0, peerColumns)
		},
	})
}

// SignalStreams is `muster source streams`.
func SignalStreams(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "streams", Short: "List the streams of shared signals and what waits in each",
		Long:    "List the streams that receivers made for themselves at /ssf/, with what waits for them. A receiver is\na source of format receiver.",
		Example: `muster source streams`, Prints: output.Fields[client.SignalStream](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Pages(ctx, k, "/v1/signals/streams", nil, 0, streamColumns)
		},
	})
}
