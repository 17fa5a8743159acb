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
