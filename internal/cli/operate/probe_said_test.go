package operate

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
)

func TestAProbeThatFoundAWayAroundSaysHowToCloseIt(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	var out, words bytes.Buffer
	std := command.Std{In: strings.NewReader(""), Out: &out, Err: &words, Getenv: func(string) string { return "" }}
	code := command.Run(t.Context(), "test", []string{"probe", "gate", "--url", srv.URL, "--no-server"}, std, func(a *command.App) *cobra.Command {
		root := &cobra.Command{Use: "muster", SilenceErrors: true, SilenceUsage: true}
		root.AddCommand(Probe(a))
		return root
	})
	if code != command.Found || !strings.Contains(words.String(), "let only the proxy reach it") || !strings.Contains(words.String(), "muster point set gate --assert\n") {
		t.Errorf("%d\n%s%s", code, &out, &words)
	}
}
