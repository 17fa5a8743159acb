package nhi

import (
	"hash/fnv"
	"time"
)

// A Mode says whether a point refuses or only tells what it would refuse.
type Mode string

// The modes of a point. The zero Mode observes: a new point never breaks
// traffic by surprise.
const (
	Observe Mode = "observe"
	Enforce Mode = "enforce"
)

// A Dialect says which headers carry the original request.
type Dialect string

// The header dialects.
const (
	DialectAuthZEN Dialect = "authzen"
	DialectNginx   Dialect = "nginx"
	DialectCaddy   Dialect = "caddy"
	DialectTraefik Dialect = "traefik"
	DialectHAProxy Dialect = "haproxy"
	DialectEnvoy   Dialect = "envoy"
	// DialectProxy is Muster's own proxy: it sees the request itself and asks
	// in no words.
	DialectProxy Dialect = "proxy"
	// DialectKubernetes is an API server, which asks by webhook.
	DialectKubernetes Dialect = "kubernetes"
)

// A Point is an enrolled enforcement point: where a decision bites. It is an
// identity itself and proves itself with its own key.
type Point struct {
	ID        ID        `json:"id"`
	Name      string    `json:"name"`
	KeyID     string    `json:"key_id"`
	Verifier  []byte    `json:"verifier"`
	Dialect   Dialect   `json:"dialect"`
	Mode      Mode      `json:"mode"`
	Percent   int       `json:"percent"`             // share of callers that enforce bites, 0 to 100
	Sources   []string  `json:"sources,omitempty"`   // addresses and prefixes that may speak for it; empty: loopback
	Resources []string  `json:"resources,omitempty"` // what it guards; empty: everything
	Created   time.Time `json:"created"`
	Disabled  bool      `json:"disabled,omitempty"`
	// Assert says that what it lets through carries a signed assertion of the
	// decision, which the application can check.
	Assert bool `json:"assert,omitempty"`
	// Glass are the codes that open the point while the server is gone.
	Glass []GlassCode `json:"glass,omitempty"`
	// Called is when it last asked, as far as that was learned; zero: never. It
	// is read beside the point and is no part of what decisions know.
	Called time.Time `json:"-"`
}

// Enforces reports whether the point bites for an identity. The share is drawn by
// a hash of the identity, so that one caller always meets the same answer while
// the share is raised. A mode that is not known enforces.
func (p *Point) Enforces(who ID) bool {
	switch p.Mode {
	case Observe, "":
		return false
	case Enforce:
		if p.Percent >= 100 {
			return true
		}
		h := fnv.New32a()
		h.Write([]byte(who))
		return int(h.Sum32()%100) < p.Percent
	}
	return true
}

// A GlassCode opens a point once, when the server is gone: two people hold a half
// of it each, and here are the SHA-256 of both.
type GlassCode struct {
	Serial  string    `json:"serial"`
	First   []byte    `json:"first"`
	Second  []byte    `json:"second"`
	Expires time.Time `json:"expires"`
}

// A Source is an enrolled reporter: a log shipper, a scanner, a chat bridge.
// It may testify only about its declared accounts.
type Source struct {
	ID       ID        `json:"id"`
	Name     string    `json:"name"`
	Format   string    `json:"format"` // cloudtrail, scanner, text
	KeyID    string    `json:"key_id"`
	Verifier []byte    `json:"verifier"`
	Accounts []string  `json:"accounts,omitempty"`
	Created  time.Time `json:"created"`
	Disabled bool      `json:"disabled,omitempty"`
}

// MayTestify reports whether the source was declared for account. A receiver
// testifies about none.
func (s *Source) MayTestify(account string) bool {
	if s.Receives() {
		return false
	}
	for _, a := range s.Accounts {
		if a == account {
			return true
		}
	}
	return false
}

// FormatReceiver is the format of a source that reports nothing: it receives
// shared signals, and its accounts are those that it may hear about.
const FormatReceiver = "receiver"

// Receives reports whether the source receives signals instead of reporting.
func (s *Source) Receives() bool { return s.Format == FormatReceiver }
