package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

// source adds to a source how it does. Its last error may quote what it sent.
func (s *server) source(v nhi.Source) client.Source {
	out := frame.ToSource(v)
	out.Health = s.Operations.SourceHealth(v.ID)
	out.Health.Error = s.Clean(out.Health.Error)
	return out
}

// health is the route that tells how the process does.
func (s *server) health(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/health", "get-health", "operations", "Say how each part of this process does, and what to do about it"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Health], error) {
			return &frame.Body[client.Health]{Body: s.Operations.Health(ctx)}, nil
		})
}
