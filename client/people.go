package client

import "time"

// Role is a role that somebody holds, everywhere or within a scope.
type Role struct {
	Role        string `json:"role" enum:"viewer,analyst,responder,admin,auditor"`
	Team        string `json:"team,omitempty" maxLength:"100" doc:"only identities that this team owns"`
	Environment string `json:"environment,omitempty" maxLength:"100" doc:"only identities of this environment"`
}

// Me says who the caller is and what it may do.
type Me struct {
	Kind    string    `json:"kind" enum:"operator,session,source,point"`
	Name    string    `json:"name"`
	Person  string    `json:"person,omitempty" doc:"id of the person, when there is one"`
	Roles   []Role    `json:"roles"`
	Rights  []string  `json:"rights" doc:"every right that is held somewhere: read, triage, respond, administer, audit, report"`
	Expires time.Time `json:"expires"`
	Demo    bool      `json:"demo"`
	Version string    `json:"version"`
}

// SingleSignOn is where people of an organisation sign in.
type SingleSignOn struct {
	Name string `json:"name" doc:"what the button says"`
	URL  string `json:"url" doc:"where signing in begins; takes ?next=/path"`
}

// SignIn says how a person can sign in.
type SignIn struct {
	SSO                *SingleSignOn `json:"sso,omitempty"`
	FirstAdministrator bool          `json:"first_administrator" doc:"the token of the first administrator is alive: use muster login on the server itself"`
}

// Person is somebody who signed in with the organisation's provider.
type Person struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Email    string    `json:"email" doc:"empty unless the provider has verified it"`
	Issuer   string    `json:"issuer"`
	Groups   []string  `json:"groups" doc:"as the provider said at the last sign-in"`
	Assigned []Role    `json:"assigned" doc:"roles that an administrator gave"`
	Roles    []Role    `json:"roles" doc:"all roles: assigned, and by group or address"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	SignedIn time.Time `json:"signed_in"`
	ETag     string    `json:"etag" doc:"for If-Match"`
}

// SetPerson changes what a person may do; what is left out stays.
type SetPerson struct {
	Roles    *[]Role `json:"roles,omitempty" maxItems:"64" doc:"replaces the assigned roles"`
	Disabled *bool   `json:"disabled,omitempty"`
}

// Token is an operator token. Its key is shown once, when it is made.
type Token struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Identity string     `json:"identity" doc:"in the inventory"`
	Person   string     `json:"person,omitempty" doc:"who made it; it never allows more than that person"`
	Parent   string     `json:"parent,omitempty" doc:"the token that made it"`
	Roles    []Role     `json:"roles"`
	Rights   []string   `json:"rights" doc:"if any: of what the roles allow, only these"`
	Loopback bool       `json:"loopback" doc:"good on the server's own host only"`
	Created  time.Time  `json:"created"`
	Expires  time.Time  `json:"expires"`
	Used     *time.Time `json:"used,omitempty"`
	Revoked  *time.Time `json:"revoked,omitempty"`
	ETag     string     `json:"etag" doc:"for If-Match"`
}

// CreateToken asks for an operator token.
type CreateToken struct {
	Name      string   `json:"name" minLength:"1" maxLength:"64"`
	Owner     string   `json:"owner,omitempty" maxLength:"320" doc:"e-mail address or team:x"`
	ExpiresIn int64    `json:"expires_in,omitempty" minimum:"0" maximum:"31536000" doc:"seconds; 0 means 90 days"`
	Loopback  bool     `json:"loopback,omitempty"`
	Roles     []Role   `json:"roles,omitempty" maxItems:"64" doc:"none: your own"`
	Rights    []string `json:"rights,omitempty" maxItems:"6" doc:"of what the roles allow, only these"`
}

// NewToken is a token with its key, which is not shown again.
type NewToken struct {
	Token
	Key string `json:"key"`
}

// Session is a browser that is signed in as you.
type Session struct {
	ID      string    `json:"id"`
	Address string    `json:"address"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
}
