package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
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

// personTag is the tag of what people may change of a person.
func personTag(p client.Person) string { return frame.Tag("person", p.ID, p.Assigned, p.Disabled) }

func tagPerson(p client.Person) client.Person {
	p.ETag = personTag(p)
	return p
}

// tagToken adds the tag of what a token is and whether it lives.
func tagToken(t client.Token) client.Token {
	t.ETag = frame.Tag("token", t.ID, t.Name, t.Roles, t.Rights, t.Expires.UnixMicro(), t.Revoked != nil)
	return t
}

func (s *server) persons(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/people", "list-people", "access", "List everybody who ever signed in"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.Person], error) {
			q, err := s.Read(list.People.Language, in.ListQuery)
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.People, s.Access.People), tagPerson)
		})
	huma.Register(h, frame.Operation(http.MethodPut, "/v1/people/{id}", "set-person", "access", "Assign roles to a person, or disable them; it holds at once"),
		s.setPerson)
}

func (s *server) setPerson(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
	frame.IfMatch
	Body client.SetPerson
}) (*frame.Tagged[client.Person], error) {
	var p client.Person
	err := s.Changing("person"+in.ID, func() (err error) {
		if err := matches(ctx, in.IfMatch, "person", in.ID, s.Access.People, list.People.ID, personTag); err != nil {
			return err
		}
		p, err = s.Access.SetPerson(ctx, frame.CallerOf(ctx).Actor(), in.ID, in.Body)
		return err
	})
	if err != nil {
		return nil, frame.Fail(err)
	}
	p = tagPerson(p)
	return &frame.Tagged[client.Person]{ETag: p.ETag, Body: p}, nil
}

// matches checks the condition of a change of one of all.
func matches[T any](ctx context.Context, m frame.IfMatch, what, id string, all func(context.Context) ([]T, error), of func(*T) string, tag func(T) string) error {
	if m.Match == "" {
		return nil
	}
	rows, err := all(ctx)
	if err != nil {
		return err
	}
	for i := range rows {
		if of(&rows[i]) == id {
			return m.Check(tag(rows[i]))
		}
	}
	return frame.NotFound(what, id)
}

func (s *server) sessions(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/sessions", "list-sessions", "access", "List the browsers that are signed in as you"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.Session], error) {
			q, err := s.Read(list.Sessions.Language, in.ListQuery, frame.CallerOf(ctx).Person)
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.Sessions, s.ownSessions), func(v client.Session) client.Session { return v })
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

// ownSessions are those of the person who calls; who is none has none.
func (s *server) ownSessions(ctx context.Context) ([]client.Session, error) {
	if id := frame.CallerOf(ctx).Person; id != "" {
		return s.Access.Sessions(ctx, id)
	}
	return nil, nil
}

func (s *server) tokens(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/tokens", "list-tokens", "access", "List operator tokens, the newest first"),
		func(ctx context.Context, in *OnlyList) (*pageOf[client.Token], error) {
			q, err := s.Read(list.Tokens.Language, in.ListQuery)
			return frame.Serve(ctx, q, err, frame.Whole(s.Frame, list.Tokens, s.Access.Tokens), tagToken)
		})
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/tokens", "create-token", "access", "Make an operator token and show its key for the only time"),
		func(ctx context.Context, in *frame.Body[client.CreateToken]) (*frame.Tagged[client.NewToken], error) {
			if err := s.Plain(in.Body.Name, in.Body.Owner); err != nil {
				return nil, frame.Fail(err)
			}
			t, err := s.Access.CreateToken(ctx, frame.CallerOf(ctx), in.Body)
			if err != nil {
				return nil, frame.Fail(err)
			}
			t.Token = tagToken(t.Token)
			return &frame.Tagged[client.NewToken]{ETag: t.ETag, Body: t}, nil
		})
	huma.Register(h, frame.Operation(http.MethodDelete, "/v1/tokens/{id}", "revoke-token", "access", "Revoke an operator token, at once"),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64"`
			frame.IfMatch
		}) (*struct{}, error) {
			return nil, frame.Fail(s.Changing("token"+in.ID, func() error {
				tag := func(t client.Token) string { return tagToken(t).ETag }
				if err := matches(ctx, in.IfMatch, "token", in.ID, s.Access.Tokens, list.Tokens.ID, tag); err != nil {
					return err
				}
				return s.Access.RevokeToken(ctx, frame.CallerOf(ctx).Actor(), in.ID)
			}))
		})
}
