package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

// minds are the routes that explain what is thought of an identity.
func (s *server) minds(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/identities/{id}/normal", "get-normal", "identities", "Show what was learned about how it behaves"),
		func(ctx context.Context, in *IdentityPath) (*frame.Body[client.Learned], error) {
			i, err := s.Inventory.Identity(ctx, nhi.ID(in.ID))
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Learned]{Body: s.Mind.Learned(i.ID)}, nil
		})
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/identities/{id}/risk", "get-risk", "identities", "Explain its risk term by term"),
		func(ctx context.Context, in *IdentityPath) (*frame.Body[client.Risk], error) {
			i, err := s.Inventory.Identity(ctx, nhi.ID(in.ID))
			if err != nil {
				return nil, frame.Fail(err)
			}
			risk, err := s.Mind.Risk(ctx, i)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Risk]{Body: risk}, nil
		})
}
