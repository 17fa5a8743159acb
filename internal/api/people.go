package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
)

func toRole(g access.Grant) client.Role {
	return client.Role{Role: string(g.Role), Team: g.Team, Environment: g.Environment}
}

// people are the routes about who uses Muster itself.
func (s *server) people(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/me", "get-me", "access", "Say who calls, and what the caller may do"),
		func(ctx context.Context, _ *struct{}) (*body[client.Me], error) {
			c := callerOf(ctx)
			return &body[client.Me]{client.Me{
				Kind: c.Kind, Name: c.Name, Roles: list(c.Grants, toRole), Rights: list(c.Permits.Rights(), func(r access.Right) string { return string(r) }),
				Expires: c.Expires.UTC(), Demo: s.Demo, Version: s.Version,
			}}, nil
		})
	o := op(http.MethodGet, "/v1/signin", "get-signin", "access", "Say how a person can sign in; needs no sign-in")
	o.Security = []map[string][]string{{}}
	huma.Register(h, o, func(ctx context.Context, _ *struct{}) (*body[client.SignIn], error) {
		in, err := s.Access.SignIn(ctx)
		if err != nil {
			return nil, fail(err)
		}
		return &body[client.SignIn]{in}, nil
	})
}
