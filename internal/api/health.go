package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

// Operations is how the process and what reports to it do.
type Operations interface {
	// Health asks every part of the process how it is; it takes two seconds at
	// most.
	Health(ctx context.Context) client.Health
	// SourceHealth returns what was heard of a source since the process started.
	SourceHealth(id nhi.ID) client.SourceHealth
}

// source adds to a source how it does. Its last error may quote what it sent.
func (s *server) source(v nhi.Source) client.Source {
	out := toSource(v)
	out.Health = s.Operations.SourceHealth(v.ID)
	out.Health.Error = s.Clean(out.Health.Error)
	return out
}

// health is the route that tells how the process does.
func (s *server) health(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/health", "get-health", "operations", "Say how each part of this process does, and what to do about it"),
		func(ctx context.Context, _ *struct{}) (*body[client.Health], error) {
			return &body[client.Health]{s.Operations.Health(ctx)}, nil
		})
}
