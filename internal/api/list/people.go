package list

import (
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
)

// People are the persons who ever signed in.
var People = frame.NewTable("people", "name", "part of name, e-mail address, id or issuer",
	func(p *client.Person) string { return p.ID },
	func(p *client.Person) []string { return []string{p.Name, p.Email, p.ID, p.Issuer} },
	frame.Text("id", "id of the person", func(p *client.Person) string { return p.ID }),
	frame.Text("name", "name, as the provider says", func(p *client.Person) string { return p.Name }).Ordered(),
	frame.Text("email", "verified address", func(p *client.Person) string { return p.Email }).Ordered(),
	frame.Text("issuer", "the provider", func(p *client.Person) string { return p.Issuer }),
	frame.Texts("group", "a group, as the provider says", func(p *client.Person) []string { return p.Groups }),
	frame.Texts("role", "a role that is held, assigned or by group", func(p *client.Person) []string { return rolesOf(p.Roles) }),
	frame.Texts("team", "a team that a role is narrowed to", func(p *client.Person) []string { return teamsOf(p.Roles) }),
	frame.Flag("disabled", "may do nothing", func(p *client.Person) bool { return p.Disabled }),
	frame.Time("created", "first sign-in", func(p *client.Person) time.Time { return p.Created }).Ordered(),
	frame.Time("signed_in", "last sign-in", func(p *client.Person) time.Time { return p.SignedIn }).Ordered(),
)

// Tokens are the operator tokens.
var Tokens = frame.NewTable("tokens", "-created", "part of name, id or identity",
	func(t *client.Token) string { return t.ID },
	func(t *client.Token) []string { return []string{t.Name, t.ID, t.Identity} },
	frame.Text("id", "id of the token", func(t *client.Token) string { return t.ID }),
	frame.Text("name", "name", func(t *client.Token) string { return t.Name }).Ordered(),
	frame.Text("identity", "id of its identity in the inventory", func(t *client.Token) string { return t.Identity }),
	frame.Text("person", "id of who made it", func(t *client.Token) string { return t.Person }),
	frame.Text("parent", "id of the token that made it", func(t *client.Token) string { return t.Parent }),
	frame.Texts("role", "a role that it holds", func(t *client.Token) []string { return rolesOf(t.Roles) }),
	frame.Texts("team", "a team that a role is narrowed to", func(t *client.Token) []string { return teamsOf(t.Roles) }),
	frame.Texts("right", "a right that it is narrowed to", func(t *client.Token) []string { return t.Rights }),
	frame.Flag("loopback", "good on the server's own host only", func(t *client.Token) bool { return t.Loopback }),
	frame.Time("created", "when it was made", func(t *client.Token) time.Time { return t.Created }).Ordered(),
	frame.Time("expires", "when it ends", func(t *client.Token) time.Time { return t.Expires }).Ordered(),
	frame.Time("used", "last use; absent when never", func(t *client.Token) time.Time { return some(t.Used) }).Ordered(),
	frame.Time("revoked", "when it was revoked; absent when it was not", func(t *client.Token) time.Time { return some(t.Revoked) }),
)

// Sessions are somebody's own browsers.
var Sessions = frame.NewTable("sessions", "-created", "part of address or id",
	func(s *client.Session) string { return s.ID },
	func(s *client.Session) []string { return []string{s.Address, s.ID} },
	frame.Text("id", "id of the session", func(s *client.Session) string { return s.ID }),
	frame.Text("address", "where it began", func(s *client.Session) string { return s.Address }),
	frame.Time("created", "when it began", func(s *client.Session) time.Time { return s.Created }).Ordered(),
	frame.Time("used", "last use", func(s *client.Session) time.Time { return s.Used }).Ordered(),
)

func rolesOf(roles []client.Role) []string {
	return frame.Each(roles, func(r client.Role) string { return r.Role })
}

func teamsOf(roles []client.Role) []string {
	var out []string
	for _, r := range roles {
		if r.Team != "" {
			out = append(out, r.Team)
		}
	}
	return out
}

func some(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
