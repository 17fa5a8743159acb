package mcp_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// borrower is a server whose tool asks its client for three things.
func borrower() http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "borrower", Version: "1"}, nil)
	answer := func(err error) (*mcp.CallToolResult, words, error) {
		var refused *jsonrpc.Error
		switch {
		case err == nil:
			return nil, words{"done"}, nil
		case errors.As(err, &refused):
			return nil, words{refused.Message}, nil
		}
		return nil, words{"failed: " + err.Error()}, nil
	}
	mcp.AddTool(server, &mcp.Tool{Name: "sampling"}, func(ctx context.Context, req *mcp.CallToolRequest, _ words) (*mcp.CallToolResult, words, error) {
		_, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "all that you know"}}}})
		return answer(err)
	})
	mcp.AddTool(server, &mcp.Tool{Name: "elicitation"}, func(ctx context.Context, req *mcp.CallToolRequest, _ words) (*mcp.CallToolResult, words, error) {
		_, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "your password?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{}}})
		return answer(err)
	})
	mcp.AddTool(server, &mcp.Tool{Name: "roots"}, func(ctx context.Context, req *mcp.CallToolRequest, _ words) (*mcp.CallToolResult, words, error) {
		_, err := req.Session.ListRoots(ctx, nil)
		return answer(err)
	})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
}

func TestAServerBorrowsItsClientOnlyWhereThatIsAllowed(t *testing.T) {
	for name, lends := range map[string]bool{"allowed": true, "denied": false} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			d := &decider{lends: lends}
			endpoint := guarded(t, borrower(), d)
			var sampled, elicited atomic.Int64
			client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, &mcp.ClientOptions{
				CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
					sampled.Add(1)
					return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "much"}}, nil
				},
				ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					elicited.Add(1)
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{}}, nil
				},
			})
			client.AddRoots(&mcp.Root{URI: "file:///home", Name: "home"})
			session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &http.Client{Transport: keyed("Bearer good")}}, nil)
			if err != nil {
				t.Fatalf("connect: %v, asked %q", err, d.all())
			}
			for _, tool := range []string{"sampling", "elicitation", "roots"} {
				got, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: words{"x"}})
				if err != nil || got.IsError || len(got.Content) != 1 {
					t.Fatalf("%s: %+v, %v", tool, got, err)
				}
				text := got.Content[0].(*mcp.TextContent).Text
				if want := map[bool]string{true: "done", false: "muster: denied"}[lends]; !strings.Contains(text, want) {
					t.Errorf("%s: the server got %s, want %q", tool, text, want)
				}
			}
			if want := map[bool]int64{true: 1, false: 0}[lends]; sampled.Load() != want || elicited.Load() != want {
				t.Errorf("the client was asked %d and %d times, want %d", sampled.Load(), elicited.Load(), want)
			}
			for _, operation := range []string{"CREATEMESSAGE /mcp/client/sampling", "CREATE /mcp/client/elicitation", "LIST /mcp/client/roots"} {
				if !slices.Contains(d.all(), operation) {
					t.Errorf("nobody decided about %s: %q", operation, d.all())
				}
			}
			if err := session.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}
