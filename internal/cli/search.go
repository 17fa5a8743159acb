package cli

import (
	"context"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

var foundColumns = output.Columns[client.Found]("kind id name detail exact")

// maxArgument is how long what is searched for may be as an argument: names
// and ids are short.
const maxArgument = 1024

func (a *app) search() *cobra.Command {
	var limit int
	return a.Command(command.Verb{
		Use: "search [TEXT]", Short: "Find what a key, ARN, id, fingerprint or name belongs to",
		Long: "Find what a text names. A key that was found somewhere is read from standard input, never given\nas an argument; it is neither kept nor logged. The exit status is 1 when nothing was found.",
		Example: `
muster search settler
muster search arn:aws:iam::210987654321:user/ci
muster search < found-in-a-log.txt`,
		Args: cobra.MaximumNArgs(1), Prints: output.Fields[client.Found](), Talks: command.Reads,
		Flags: func(c *cobra.Command) { c.Flags().IntVar(&limit, "limit", 20, "how many at most, up to 50") },
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			if limit < 1 || limit > 50 {
				return command.Usagef("--limit %d: want 1 to 50", limit)
			}
			text, err := a.searched(args)
			if err != nil {
				return err
			}
			c, err := k.Client()
			if err != nil {
				return err
			}
			var result client.SearchResult
			if err := c.Send(ctx, http.MethodPost, "/v1/search", client.Search{Text: text, Limit: limit}, &result); err != nil {
				return err
			}
			if result.Secret && len(args) == 1 {
				k.Say("this looks like a secret, and other users of this machine see arguments: give it by standard input, and replace it")
			}
			if err := output.List(k.Out, result.Results, foundColumns); err != nil {
				return err
			}
			if len(result.Results) == 0 {
				k.Say("nothing here is called so")
				return command.ErrFound
			}
			return nil
		},
	})
}

// searched is what is to be found: the argument, else standard input.
func (a *app) searched(args []string) (string, error) {
	if len(args) == 0 {
		return a.secret("key, id or name: ")
	}
	text := strings.TrimSpace(args[0])
	if text == "" || len(text) > maxArgument {
		return "", command.Usagef("the text has %s: want 1 to %d", output.Count(len(text), "byte", "bytes"), maxArgument)
	}
	return text, nil
}
