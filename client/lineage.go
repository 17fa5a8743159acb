package client

import "time"

// Lineage follows one identity from where it comes from to what it can reach.
// It holds what is known; an empty list means that nothing is.
type Lineage struct {
	Identity  string     `json:"identity"`
	Origin    []Origin   `json:"origin" doc:"what tells where it comes from, the oldest first"`
	StoredIn  []StoredIn `json:"stored_in" doc:"where its secrets were seen, the newest first"`
	Consumers []Consumer `json:"consumers" doc:"who uses its credentials"`
	Reaches   []Reach    `json:"reaches" doc:"what it may touch and what it did"`
}

// Origin is one thing that tells where an identity comes from.
type Origin struct {
	Kind   string     `json:"kind" enum:"provider,owner,log,muster"`
	Name   string     `json:"name"`
	Detail string     `json:"detail"`
	At     *time.Time `json:"at,omitempty"`
}

// StoredIn is a place where a secret of an identity was seen.
type StoredIn struct {
	Place      Place     `json:"place"`
	Credential string    `json:"credential"`
	Rule       string    `json:"rule"`
	Verdict    string    `json:"verdict" doc:"confirmed: the secret itself was proven"`
	At         time.Time `json:"at"`
}

// Consumer is somebody or something that uses an identity's credentials.
type Consumer struct {
	Kind       string     `json:"kind" enum:"pinned,seen,learned" doc:"pinned: a credential works only for it; seen: in recent decisions; learned: usual for the identity"`
	Name       string     `json:"name" doc:"name of the identity, or program and network"`
	Identity   string     `json:"identity,omitempty"`
	Credential string     `json:"credential,omitempty"`
	Country    string     `json:"country,omitempty"`
	LastUsed   *time.Time `json:"last_used,omitempty"`
	Count      int        `json:"count,omitempty" doc:"recent decisions"`
}

// Reach is one resource with what is granted on it and what was used.
type Reach struct {
	Resource string   `json:"resource"`
	Service  string   `json:"service"`
	Admin    bool     `json:"admin"`
	Grants   []string `json:"grants" doc:"the grants that say so"`
	Granted  []string `json:"granted" doc:"actions; empty when a point's policy decides"`
	Used     []Used   `json:"used"`
}

// Used is an action that was really used.
type Used struct {
	Action   string     `json:"action"`
	LastUsed *time.Time `json:"last_used,omitempty" doc:"absent when it is only known to be usual"`
	Count    int        `json:"count,omitempty" doc:"recent decisions"`
}

// Search asks what a text names: a pasted key, an ARN, an id, a public id, a
// fingerprint or the beginning of a name. The text is neither kept nor logged.
type Search struct {
	Text  string `json:"text" minLength:"1" maxLength:"16384"`
	Limit int    `json:"limit,omitempty" minimum:"1" maximum:"50" default:"20"`
}

// SearchResult is what a text names, the surest first.
type SearchResult struct {
	Results []Found `json:"results"`
	Secret  bool    `json:"secret" doc:"the text looks like a secret; if nothing was found, it is not one that is known here"`
}

// Found is one thing that a text names.
type Found struct {
	Kind   string `json:"kind" enum:"identity,credential,finding,action,decision,point,source"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	Detail string `json:"detail"`
	Exact  bool   `json:"exact" doc:"the text is its id, name or value, not only the beginning of one"`
}

// View is a page of the console with its filter, saved under a name by one
// person for themselves.
type View struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Page    string    `json:"page"`
	Query   string    `json:"query"`
	Updated time.Time `json:"updated"`
	ETag    string    `json:"etag" doc:"for If-Match"`
}

// PutView writes a view.
type PutView struct {
	Name  string `json:"name" minLength:"1" maxLength:"100"`
	Page  string `json:"page" pattern:"^[a-z-]{1,40}$" doc:"such as identities"`
	Query string `json:"query" maxLength:"4096" doc:"what the page's address has behind its question mark"`
}
