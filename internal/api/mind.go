package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

// Mind is what the installation thinks of one identity, and why.
type Mind interface {
	// Learned returns how the identity usually behaves.
	Learned(id nhi.ID) client.Learned
	// Risk explains the risk of the identity and of those of its credentials
	// that are at risk, by the findings that are open now.
	Risk(ctx context.Context, i nhi.Identity) (client.Risk, error)
}

// minds are the routes that explain what is thought of an identity.
func (s *server) minds(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/identities/{id}/normal", "get-normal", "identities", "Show what was learned about how it behaves"),
		func(ctx context.Context, in *IdentityPath) (*body[client.Learned], error) {
			i, err := s.Inventory.Identity(ctx, nhi.ID(in.ID))
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Learned]{s.Mind.Learned(i.ID)}, nil
		})
	huma.Register(h, op(http.MethodGet, "/v1/identities/{id}/risk", "get-risk", "identities", "Explain its risk term by term"),
		func(ctx context.Context, in *IdentityPath) (*body[client.Risk], error) {
			i, err := s.Inventory.Identity(ctx, nhi.ID(in.ID))
			if err != nil {
				return nil, fail(err)
			}
			risk, err := s.Mind.Risk(ctx, i)
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Risk]{risk}, nil
		})
}
