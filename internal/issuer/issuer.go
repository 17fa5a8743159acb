// Package issuer gives attested workloads credentials that die in minutes.
//
// A workload shows what its platform gave it (an OpenID Connect token) and a
// proof that it holds a key, and gets an access token that only works with
// that key: token exchange (RFC 8693) with DPoP (RFC 9449). Whoever steals the
// token without the key holds nothing; who steals the platform's token is
// asked for its network and behaviour by the decision that precedes every
// issue.
//
// The order of an exchange is fixed, and each step can only take away:
//
//  1. the form, strictly: each parameter once, nothing read from the query;
//  2. the subject token, by the trust rules (Subjects);
//  3. the rate limit of the identity that it proved;
//  4. the proof of possession, once;
//  5. audience and scope: what was asked for and the rule allows, never more;
//  6. the decision (action issue): unowned, quarantined or risky identities
//     are refused here, and so is whatever looks unlike them;
//  7. the audit log, before the token leaves: a token that exists has a record.
//
// The signing keys are ES256: one signs, the next one is published a day before
// it does, the previous one verifies what it signed. They are at rest only
// sealed. Tokens are not stored. What is stored is what was revoked.
//
// What a token looks like is a [Format], a leaf folder such as issuer/jwt.
package issuer

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// Where the handler serves, below the issuer's URL.
const (
	DiscoveryPath  = "/.well-known/openid-configuration"
	MetadataPath   = "/.well-known/oauth-authorization-server" // RFC 8414: the same document
	KeysPath       = "/oauth2/jwks"
	TokenPath      = "/oauth2/token"
	RevokePath     = "/oauth2/revoke"
	IntrospectPath = "/oauth2/introspect"
)

// Resource is what a decision about an issue is asked about.
const Resource = "muster/issuer"

// A Subject is who a subject token proved to be, and what its trust rule
// allows to be issued.
type Subject struct {
	Attested  nhi.Attested
	Rule      string
	Audiences []string      // besides Muster's own points
	Scopes    []string      // the most that can be asked for
	Purposes  []string      // of which one can be asked for
	Bearer    bool          // tokens without a key are allowed
	TTL       time.Duration // zero: the default
}

// Subjects verifies subject tokens.
type Subjects interface {
	// VerifySubject may wait a few seconds for the keys of the token's issuer.
	// The error wraps nhi.ErrDenied when the token proves nothing and
	// nhi.ErrBusy when that cannot be found out right now.
	VerifySubject(ctx context.Context, token string, now time.Time) (Subject, error)
}

// A Decider answers whether an identity may be issued something. It never
// fails and it sets the subject to the identity that lives on after a merge.
type Decider interface {
	Decide(ctx context.Context, question *nhi.Question) nhi.Decision
}

// An Act is something the issuer did, for the audit log. It holds no secret.
type Act struct {
	Name     string // token.issue, token.revoke, issuer.rotate
	Actor    string // identity, or who administers
	Target   string // jti, kid
	Identity nhi.ID
	Detail   map[string]any
}

// ActIssue is the name of the act of issuing a token.
const ActIssue = "token.issue"

// Audit keeps acts for good.
type Audit interface {
	// Append returns when the act is durable. An error refuses what the act
	// is about.
	Append(ctx context.Context, act Act) error
}

// Revocations keeps what was revoked.
type Revocations interface {
	// Revoke returns when every later decision of this process knows.
	Revoke(ctx context.Context, revocation nhi.Revocation) error
}

// Status is what decisions know. It reads memory only.
type Status interface {
	Identity(id nhi.ID) (nhi.Identity, bool)
	Revoked(attested nhi.Attested) bool
}

// Points authenticates the enforcement points that may introspect.
type Points interface {
	Authenticate(authorization string, remote netip.AddrPort) (nhi.Point, error)
}

// A Format is a kind of credential that can be issued.
type Format struct {
	Name string
	Doc  string
	Typ  string // of the JWS header
	// Mint makes the credential of a grant. It checks nothing: all is decided.
	Mint func(signer *jose.Signer, grant *Grant) (string, error)
}

// A Grant is everything that a credential says.
type Grant struct {
	Issuer      string
	Subject     string // SPIFFE id: spiffe://<trust domain>/nhi/<id>
	Identity    nhi.ID
	Environment string
	Rule        string
	Method      string           // how the subject was attested
	Attestation *nhi.Attestation // what was proven of it; nil: nothing but the identity
	Purpose     string           // what it is for; empty: nothing in particular
	Audience    string
	Scope       string // space-separated; empty: none
	JKT         string // thumbprint of the key that it is bound to
	Bearer      bool   // bound to no key, by the rule's leave
	ID          string // jti
	IssuedAt    time.Time
	NotBefore   time.Time
	Expires     time.Time
}

// Settings are what an installation may want to change. Zero values stand for
// the defaults.
type Settings struct {
	TTL   time.Duration `yaml:"ttl"`   // of tokens; 5m, at most 15m
	Rate  float64       `yaml:"rate"`  // exchanges a second and identity; 5
	Burst int           `yaml:"burst"` // and at once; 30
}

const (
	defaultTTL = 5 * time.Minute
	maxTTL     = 15 * time.Minute
	backdate   = 30 * time.Second // of nbf, for verifiers whose clocks are behind
)

// Config is what a Service needs.
type Config struct {
	Issuer      string // public URL without a trailing slash: iss, and where clients come
	TrustDomain string // of SPIFFE ids; empty: the issuer's host
	Keys        *Keys
	Format      *Format
	Subjects    Subjects
	Decider     Decider
	Audit       Audit
	Revocations Revocations
	Status      Status
	Points      Points
	// Admin names the administrator who sends a request, if one does. Nil:
	// nobody revokes but holders.
	Admin func(*http.Request) (name string, ok bool)
	// Unproven is told of a request whose sender did not prove what was
	// claimed, with the OAuth error code that is the answer. It must not block.
	// Nil: nobody is told.
	Unproven func(r *http.Request, code string)
	Settings Settings
	Log      *slog.Logger // nil: none
}

// A Service issues tokens. It is safe for concurrent use.
type Service struct {
	c         Config
	limits    *limits
	replay    *jose.ReplayCache
	discovery []byte
}

// New returns a Service. The error wraps nhi.ErrInvalid.
func New(c Config) (*Service, error) {
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(c.Issuer, "/"):
		return nil, nhi.Invalidf("issuer %q is not an absolute URL without query, fragment and trailing slash", c.Issuer)
	case c.Settings.TTL < 0 || c.Settings.TTL > maxTTL:
		return nil, nhi.Invalidf("issuer ttl %v is over %v", c.Settings.TTL, maxTTL)
	case c.Settings.Rate < 0 || c.Settings.Burst < 0:
		return nil, nhi.Invalidf("issuer rate and burst must not be negative")
	}
	if c.TrustDomain == "" {
		c.TrustDomain = strings.ToLower(u.Hostname())
	}
	if c.Settings.TTL == 0 {
		c.Settings.TTL = defaultTTL
	}
	if c.Settings.Rate == 0 {
		c.Settings.Rate = 5
	}
	if c.Settings.Burst == 0 {
		c.Settings.Burst = 30
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{c: c, limits: newLimits(c.Settings.Rate, c.Settings.Burst), replay: jose.NewReplayCache(0, 0)}
	s.discovery = s.describe()
	return s, nil
}

// Handler serves the paths above.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+DiscoveryPath, s.serveDiscovery)
	mux.HandleFunc("GET "+MetadataPath, s.serveDiscovery)
	mux.HandleFunc("GET "+KeysPath, s.serveKeys)
	mux.HandleFunc(TokenPath, s.safely(s.serveToken))
	mux.HandleFunc(RevokePath, s.safely(s.serveRevoke))
	mux.HandleFunc(IntrospectPath, s.safely(s.serveIntrospect))
	return mux
}

// safely makes a handler POST only, and an error out of a panic.
func (s *Service) safely(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				// The value may hold anything, so it is not logged.
				s.c.Log.Error("panic in the issuer", "path", r.URL.Path)
				writeError(w, &oauthError{Status: http.StatusInternalServerError, Code: "server_error"})
			}
		}()
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			writeError(w, &oauthError{Status: http.StatusMethodNotAllowed, Code: "invalid_request", Description: "use POST"})
			return
		}
		if err := serve(w, r); err != nil {
			s.c.Log.Warn("issuer refused", "path", r.URL.Path, "error", err)
			if s.c.Unproven != nil && unproven(err) {
				s.c.Unproven(r, asOAuth(err).Code)
			}
			writeError(w, asOAuth(err))
		}
	}
}

// SPIFFE is how the tokens of this issuer name an identity.
func (s *Service) SPIFFE(id nhi.ID) string { return s.spiffe(id) }

// spiffe is the SPIFFE id of an identity in this trust domain.
func (s *Service) spiffe(id nhi.ID) string {
	return "spiffe://" + s.c.TrustDomain + "/nhi/" + string(id)
}
