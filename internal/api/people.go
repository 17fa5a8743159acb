package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

func toRole(g access.Grant) client.Role {
	return client.Role{Role: string(g.Role), Team: g.Team, Environment: g.Environment}
}

// people are the routes about who uses Muster itself.
func (s *server) people(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/me", "get-me", "access", "Say who calls, and what the caller may do"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Me], error) {
			c := frame.CallerOf(ctx)
			return &frame.Body[client.Me]{Body: client.Me{
				Kind: c.Kind, Name: c.Name, Person: c.Person, Roles: frame.Each(c.Grants, toRole), Rights: frame.Each(c.Permits.Rights(), func(r access.Right) string { return string(r) }),
				Expires: c.Expires.UTC(), Demo: s.Demo, Version: s.Version,
			}}, nil
		})
	o := frame.Operation(http.MethodGet, "/v1/signin", "get-signin", "access", "Say how a person can sign in; needs no sign-in")
	o.Security = []map[string][]string{{}}
	huma.Register(h, o, func(ctx context.Context, _ *struct{}) (*frame.Body[client.SignIn], error) {
		in, err := s.Access.SignIn(ctx)
		if err != nil {
			return nil, frame.Fail(err)
		}
		return &frame.Body[client.SignIn]{Body: in}, nil
	})
	s.persons(h)
	s.sessions(h)
	s.tokens(h)
}

// ToRoles is what the client calls grants.
func ToRoles(grants []access.Grant) []client.Role { return frame.Each(grants, toRole) }

// Grants is the inverse of ToRoles.
func Grants(roles []client.Role) []access.Grant {
	return frame.Each(roles, func(r client.Role) access.Grant {
		return access.Grant{Role: access.Role(r.Role), Scope: nhi.Scope{Team: r.Team, Environment: r.Environment}}
	})
}

func (s *server) persons(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/people", "list-people", "access", "List everybody who ever signed in"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Page[client.Person]], error) {
			people, err := s.Access.People(ctx)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Page[client.Person]]{Body: client.Page[client.Person]{Items: people, Total: len(people)}}, nil
		})
	huma.Register(h, frame.Operation(http.MethodPut, "/v1/people/{id}", "set-person", "access", "Assign roles to a person, or disable them; it holds at once"),
		func(ctx context.Context, in *struct {
			ID   string `path:"id" maxLength:"64"`
			Body client.SetPerson
		}) (*frame.Body[client.Person], error) {
			p, err := s.Access.SetPerson(ctx, frame.CallerOf(ctx).Actor(), in.ID, in.Body)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Person]{Body: p}, nil
		})
}

func (s *server) sessions(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/sessions", "list-sessions", "access", "List the browsers that are signed in as you"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Page[client.Session]], error) {
			out := client.Page[client.Session]{Items: []client.Session{}}
			if id := frame.CallerOf(ctx).Person; id != "" {
				all, err := s.Access.Sessions(ctx, id)
				if err != nil {
					return nil, frame.Fail(err)
				}
				out.Items, out.Total = all, len(all)
			}
			return &frame.Body[client.Page[client.Session]]{Body: out}, nil
		})
	huma.Register(h, frame.Operation(http.MethodDelete, "/v1/sessions/{id}", "end-session", "access", "Sign one of your browsers out"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*struct{}, error) {
			c := frame.CallerOf(ctx)
			if c.Person == "" {
				return nil, frame.Fail(frame.NotFound("session", in.ID))
			}
			return nil, frame.Fail(s.Access.EndSession(ctx, c.Actor(), c.Person, in.ID))
		})
}

func (s *server) tokens(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/tokens", "list-tokens", "access", "List operator tokens, the newest first"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Page[client.Token]], error) {
			tokens, err := s.Access.Tokens(ctx)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Page[client.Token]]{Body: client.Page[client.Token]{Items: tokens, Total: len(tokens)}}, nil
		})
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/tokens", "create-token", "access", "Make an operator token and show its key for the only time"),
		func(ctx context.Context, in *frame.Body[client.CreateToken]) (*frame.Body[client.NewToken], error) {
			if err := s.Plain(in.Body.Name, in.Body.Owner); err != nil {
				return nil, frame.Fail(err)
			}
			t, err := s.Access.CreateToken(ctx, frame.CallerOf(ctx), in.Body)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.NewToken]{Body: t}, nil
		})
	huma.Register(h, frame.Operation(http.MethodDelete, "/v1/tokens/{id}", "revoke-token", "access", "Revoke an operator token, at once"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
		}) (*struct{}, error) {
			return nil, frame.Fail(s.Access.RevokeToken(ctx, frame.CallerOf(ctx).Actor(), in.ID))
		})
}
