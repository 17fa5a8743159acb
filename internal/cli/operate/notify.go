package operate

import (
	"context"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var (
	channelColumns = output.Columns[client.Channel]("name kind severity sent refused last_sent failing_since error")
	testColumns    = output.Columns[client.ChannelTest]("channel delivered error")
)

// Notify is `muster notify`.
func Notify(a *command.App) *cobra.Command {
	return a.Group("notify", "How people are told: webhooks, mail, chat", `
muster notify list
muster notify test security`, notifyList(a), notifyTest(a))
}

func notifyList(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "list", Short: "List the channels of notices and how each does",
		Long:    "List the channels that the configuration names under notify, with what became of notices since\nthe server started.",
		Example: `muster notify list`, Prints: output.Fields[client.Channel](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, _ []string) error {
			return command.Pages(ctx, k, "/v1/channels", nil, 0, channelColumns)
		},
	})
}

func notifyTest(a *command.App) *cobra.Command {
	return a.Command(command.Verb{
		Use: "test CHANNEL", Short: "Send a test notice by one channel and say what its receiver answered",
		Long:    "Send a test notice from the server by one channel, whatever severity it asks for, and wait for the\nreceiver's answer. The exit status is 1 when it was not delivered.",
		Example: `muster notify test security`, Args: cobra.ExactArgs(1), Prints: output.Fields[client.ChannelTest](), Talks: command.Writes,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			failed := false
			err := command.Change(ctx, k, http.MethodPost, "/v1/channels/"+url.PathEscape(args[0])+"/test", nil, testColumns,
				func(r client.ChannelTest) { failed = !r.Delivered })
			if err == nil && failed {
				k.Say("it was not delivered; muster config explain notify says what each key means")
				return command.ErrFound
			}
			return err
		},
	})
}
