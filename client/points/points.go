// Package points holds what a server says about enforcement points and their
// break-glass codes, and what is sent to change them. Package client has the calls,
// and gives each of these types its own name.
package points

import "time"

// Point is an enforcement point.
type Point struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Dialect     string    `json:"dialect" enum:"authzen,nginx,caddy,traefik,haproxy,envoy,proxy,kubernetes"`
	Mode        string    `json:"mode" enum:"observe,enforce"`
	Percent     int       `json:"percent"`
	Sources     []string  `json:"sources"`
	Resources   []string  `json:"resources"`
	Created     time.Time `json:"created"`
	Disabled    bool      `json:"disabled"`
	Assert      bool      `json:"assert" doc:"what it lets through carries a signed assertion of the decision"`
	WouldRefuse uint64    `json:"would_refuse" doc:"what it let pass as it only observes, since the server started; the record of decisions has all"`
	// LastCall is when it last asked; nil: never.
	LastCall *time.Time `json:"last_call,omitempty" doc:"when it last asked; not there: never"`
	// Connection and what follows are of a point that decides away from the server
	// (muster point run). Connection is empty when none of its processes asked for
	// news since the server started.
	Connection string     `json:"connection,omitempty" enum:"connected,away" doc:"of a point that decides away from the server; not there: none of its processes asked for news since the server started"`
	Lag        uint64     `json:"lag,omitempty" doc:"changes that it is behind"`
	Lease      float64    `json:"lease,omitempty" doc:"seconds until its lease is over, after which it denies what is sensitive"`
	Heard      *time.Time `json:"heard,omitempty" doc:"when it asked for news last"`
	Unreported uint64     `json:"unreported,omitempty" doc:"decisions that it has made and not reported"`
	ETag       string     `json:"etag" doc:"for If-Match"`
}

// EnrollPoint asks for a new enforcement point; it starts observing.
type EnrollPoint struct {
	Name      string   `json:"name" minLength:"1" maxLength:"100"`
	Dialect   string   `json:"dialect,omitempty" enum:"authzen,nginx,caddy,traefik,haproxy,envoy,proxy,kubernetes" default:"nginx"`
	Sources   []string `json:"sources,omitempty" maxItems:"64" doc:"addresses or prefixes it speaks from; none means loopback"`
	Resources []string `json:"resources,omitempty" maxItems:"1000"`
	Assert    bool     `json:"assert,omitempty" doc:"sign an assertion of each decision, which the application can check"`
}

// SetPoint changes a point; absent fields stay.
type SetPoint struct {
	Mode      *string   `json:"mode,omitempty" enum:"observe,enforce"`
	Percent   *int      `json:"percent,omitempty" minimum:"0" maximum:"100"`
	Dialect   *string   `json:"dialect,omitempty" enum:"authzen,nginx,caddy,traefik,haproxy,envoy,proxy,kubernetes"`
	Sources   *[]string `json:"sources,omitempty"`
	Resources *[]string `json:"resources,omitempty"`
	Disabled  *bool     `json:"disabled,omitempty"`
	Assert    *bool     `json:"assert,omitempty" doc:"sign an assertion of each decision, which the application can check"`
}

// ProbePoint says which request a probe will send past a point.
type ProbePoint struct {
	Host   string `json:"host" minLength:"1" maxLength:"300" doc:"as the application will get it"`
	Target string `json:"target" minLength:"1" maxLength:"2048" pattern:"^/" doc:"path and query, still encoded"`
}

// PointProbe is what a probe sends: an assertion by the point's own key that is
// over, and holds at no time.
type PointProbe struct {
	Assertion string `json:"assertion" doc:"a decision assertion for GET that ended before it was issued"`
}

// GlassHolder is a person who keeps a half of a code.
type GlassHolder struct {
	Person string    `json:"person" doc:"id of the person"`
	Name   string    `json:"name"`
	Since  time.Time `json:"since"`
}

// GlassCode is a code that opens a point while its server is away, without its
// halves, which the server does not have.
type GlassCode struct {
	Serial  string        `json:"serial"`
	Point   string        `json:"point" doc:"id of the point"`
	State   string        `json:"state" enum:"half,ready,used,withdrawn,expired" doc:"half: one person has one, and it opens nothing"`
	Created time.Time     `json:"created"`
	Expires time.Time     `json:"expires"`
	Holders []GlassHolder `json:"holders"`
	Opened  *time.Time    `json:"opened,omitempty" doc:"when it opened its point, by the point's clock"`
	Until   *time.Time    `json:"until,omitempty" doc:"until when it was opened"`
	Ended   *time.Time    `json:"ended,omitempty" doc:"when it was over, or closed by hand; absent while the point is open, or has not told"`
	Closed  *time.Time    `json:"closed,omitempty" doc:"since when the server knows that it opens nothing any more"`
	Reason  string        `json:"reason,omitempty" doc:"why it was used"`
	Allowed int64         `json:"allowed" doc:"requests that only the code let pass, at least"`
}

// GlassHalf is the reply to somebody who takes a half. It is shown once.
type GlassHalf struct {
	ID   string    `json:"id" doc:"serial of the code"`
	Half string    `json:"half" doc:"28 letters and digits in groups of four; kept nowhere"`
	Code GlassCode `json:"code"`
}

// GlassCodes are the codes of a point, the newest first.
type GlassCodes struct {
	Codes []GlassCode `json:"codes"`
}
