// Package api is the management interface: REST under /v1 with an OpenAPI 3.1
// description, live streams by server-sent events, and the receivers that take
// logs and texts in.
//
// A request passes three doors. The gate says who calls: an operator (token or
// session), a source, or nobody (401). The rule of the route says which right it
// needs and where (rights.go): who lacks it is refused (403), and what lies
// outside a caller's scope does not exist for it (404). The handler then calls
// one domain and maps what comes back to the types of package client; nothing
// else in the product knows HTTP status codes (see problem.go) or those types
// (see mapping.go).
//
// Standards keep their own shapes and are not served here: AuthZEN and
// forward-auth by enforce, OAuth by issuer.
package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/respond"
	"github.com/muster-id/muster/internal/store/desk"
)

// A Caller is who sent a request.
type Caller struct {
	Kind     string // operator, session, source
	Name     string
	Identity nhi.ID
	Source   nhi.Source // of a source
	Expires  time.Time
	Person   string // id of the person behind it, if there is one
	Token    string // key id of the operator token behind it, if there is one
	Grants   []access.Grant
	Permits  access.Permits
}

// Operator reports whether the caller is a person or their token.
func (c Caller) Operator() bool { return c.Kind == "operator" || c.Kind == "session" }

// Actor is how the audit log names the caller.
// What a person is called is up to the provider, so the id speaks; a token's
// name is ours.
func (c Caller) Actor() string {
	if c.Person != "" && c.Token == "" {
		return "person:" + c.Person
	}
	return c.Kind + ":" + c.Name
}

// Gate says who calls.
type Gate interface {
	// Authenticate returns an error wrapping nhi.ErrDenied when nobody it knows
	// calls, or when a browser was tricked into calling.
	Authenticate(r *http.Request) (Caller, error)
}

// Access enrols points and sources and signs people in.
type Access interface {
	EnrollPoint(ctx context.Context, by string, p client.EnrollPoint) (client.Enrolled, error)
	SetPoint(ctx context.Context, by, id string, p client.SetPoint) (nhi.Point, error)
	Points(ctx context.Context) ([]nhi.Point, error)
	// WouldRefuse counts what a point let pass while it observed.
	WouldRefuse(point nhi.ID) uint64
	AddSource(ctx context.Context, by string, s client.AddSource) (client.Enrolled, error)
	Sources(ctx context.Context) ([]nhi.Source, error)
	NewLink(ctx context.Context, by Caller) (string, time.Time, error)
	// SignIn says how a person can sign in.
	SignIn(ctx context.Context) (client.SignIn, error)
	People
}

// People keeps who uses Muster: persons, their sessions and operator tokens.
type People interface {
	People(ctx context.Context) ([]client.Person, error)
	SetPerson(ctx context.Context, by, id string, change client.SetPerson) (client.Person, error)
	Tokens(ctx context.Context) ([]client.Token, error)
	CreateToken(ctx context.Context, by Caller, n client.CreateToken) (client.NewToken, error)
	RevokeToken(ctx context.Context, by, id string) error
	Sessions(ctx context.Context, person string) ([]client.Session, error)
	EndSession(ctx context.Context, by, person, id string) error
}

// Intake takes in what the world reports.
type Intake interface {
	// Import reads IAM's export files and applies them as a whole.
	Import(ctx context.Context, by string, files map[string]io.Reader) (client.ImportResult, error)
	// Logs reads activity; what it counts is durable.
	Logs(ctx context.Context, source nhi.Source, format string, body io.Reader) (client.Received, error)
	// Text looks for secrets in text and keeps nothing of it but sightings.
	Text(ctx context.Context, source nhi.Source, contentType string, body io.Reader) ([]client.SightingReply, error)
	// Sighting responds to a reported leak.
	Sighting(ctx context.Context, source nhi.Source, s client.ReportSighting) (client.SightingReply, error)
	// Evaluate is the server's half of a blind fingerprint.
	Evaluate(ctx context.Context, source nhi.Source, blinded [][]byte) (client.EvaluatedFingerprints, error)
}

// Decisions is what was decided.
type Decisions interface {
	Recent(f DecisionFilter, limit int) []nhi.Decision
	Decision(id string) (nhi.Decision, bool)
	Rates(minutes int) []client.Rate
	// Subscribe delivers decisions as they are made until cancel is called. A
	// reader that falls behind loses some; dropped counts them.
	Subscribe() (decisions <-chan nhi.Decision, dropped func() uint64, cancel func())
}

// DecisionFilter narrows a list of decisions; zero fields do not.
type DecisionFilter struct {
	Outcome  nhi.Outcome
	Identity nhi.ID
	Point    nhi.ID
	Before   time.Time
	Within   func(nhi.ID) bool // whose decisions; nil: everybody's
}

// Findings is what was found and done.
type Findings interface {
	Findings(ctx context.Context, f FindingFilter) ([]nhi.Finding, int, error)
	Finding(ctx context.Context, id string) (nhi.Finding, error)
	Action(ctx context.Context, id string) (nhi.Action, error)
	// Sightings returns where a credential was seen, the newest first.
	Sightings(ctx context.Context, id nhi.CredentialID) ([]nhi.Sighting, error)
	Recent(ctx context.Context, within nhi.Scopes, limit int) ([]nhi.Action, error)
}

// FindingFilter narrows a list of findings; zero fields do not.
type FindingFilter struct {
	Status     nhi.FindingStatus
	Identity   nhi.ID
	Credential nhi.CredentialID
	Within     nhi.Scopes // nil: everywhere
	Skip       int
	Limit      int
}

// Documents are the files that are applied as a whole.
type Documents interface {
	// Apply checks a document and puts it into force, or returns an error that
	// names the line and changes nothing.
	Apply(ctx context.Context, by, name string, body []byte) error
	Document(ctx context.Context, name string) (client.Document, error)
}

// State is the state of the whole installation.
type State interface {
	// Overview counts what lies within some scopes; what belongs to none is 0
	// unless they are everywhere.
	Overview(ctx context.Context, within nhi.Scopes) (client.Overview, error)
	Normal(id nhi.ID) []client.Normal
	Audit(ctx context.Context, before uint64, limit int) ([]client.Entry, error)
	Checkpoint(ctx context.Context) (json.RawMessage, error)
	// Changes delivers what changes from now on, or from after a generation.
	Changes(ctx context.Context, after nhi.Generation, limit int) ([]nhi.Change, error)
	Generation() nhi.Generation
	// First is the number of the first change that is still kept.
	First() nhi.Generation
	// Woken returns a channel that is closed at the next change.
	Woken() <-chan struct{}
}

// Known is what decisions know of identities: kind, owner and environment. It
// reads memory only.
type Known interface {
	Identity(id nhi.ID) (nhi.Identity, bool)
}

// Acts records what people do through the interface, durably, before it
// returns.
type Acts interface {
	Record(ctx context.Context, act nhi.Act) error
}

// Deps are what the interface serves.
type Deps struct {
	Gate       Gate
	Access     Access
	Intake     Intake
	Decisions  Decisions
	Findings   Findings
	Documents  Documents
	State      State
	Mind       Mind
	Operations Operations
	Backups    Backups
	Known      Known
	Inventory  *inventory.Service
	Respond    *respond.Service
	Acts       Acts
	// Clean takes secrets out of text. What it would change is refused where
	// people name things.
	Clean func(string) string
	// PageKey signs page tokens, so that they live on in another process that
	// has the same. Without one they die with this process.
	PageKey []byte
	// Desk keeps saved views and the replies to requests with a key.
	Desk  *desk.Store
	Usage Usage
	Lists Lists
	// Stale is how old a request of another process must be to count as dead;
	// 0 when there is no other process.
	Stale time.Duration

	Version string
	Demo    bool
}

type server struct {
	Deps
	key   []byte         // signs page tokens
	locks [64]sync.Mutex // each held while one of some things is changed
	tails tails
}

// plain refuses names that hold a secret: they would be stored and shown.
func (s *server) plain(fields ...string) error {
	for _, f := range fields {
		if s.Clean(f) != f {
			return nhi.Invalidf("one of the names holds a secret; give it another name, and consider the secret lost")
		}
	}
	return nil
}

// act records what the caller just did to target.
func (s *server) act(ctx context.Context, act, target, reason string) error {
	return s.Acts.Record(context.WithoutCancel(ctx), nhi.Act{At: time.Now(), Actor: callerOf(ctx).Actor(), Act: act, Target: target, Reason: reason, Outcome: "done"})
}

// patience gives an upload more time than other requests have.
func patience(w http.ResponseWriter, d time.Duration) {
	c, until := http.NewResponseController(w), time.Now().Add(d)
	// A server that cannot keeps its own limits.
	_, _ = c.SetReadDeadline(until), c.SetWriteDeadline(until.Add(time.Minute))
}

// limits on what is read; handlers of files have their own.
const (
	maxBody   = 1 << 20
	maxImport = 512 << 20
	maxLogs   = 1 << 30
	maxText   = 1 << 20

	uploadTime = 15 * time.Minute
)

// New returns the handler of /v1, /receive and /openapi.json, and the
// description it serves, as YAML.
func New(d Deps) (http.Handler, []byte, error) {
	if d.Clean == nil { // refuse and hide rather than show
		d.Clean = func(string) string { return "" }
	}
	s := &server{Deps: d, key: newKey(d.PageKey)}
	mux := &gated{ServeMux: http.NewServeMux(), server: s}
	cfg := huma.DefaultConfig("Muster", "1")
	cfg.Info.Description = "The management interface of Muster: zero trust for non-human identities. Errors are problem details (RFC 9457). Lists have an order, a limit and a page_token."
	cfg.DocsPath = ""    // the framework's page loads scripts from elsewhere
	cfg.SchemasPath = "" // and its schema links would add a field to every body
	cfg.CreateHooks = nil
	cfg.OpenAPIPath = "/openapi"
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "an operator token, or the key of a source"},
		"session": {Type: "apiKey", In: "cookie", Name: "muster"},
	}
	cfg.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	cfg.Transformers = append(cfg.Transformers, s.withoutValues)
	h := humago.New(mux, cfg)
	s.identities(h)
	s.credentials(h)
	s.minds(h)
	s.health(h)
	s.findings(h)
	s.decisions(h)
	s.enrolment(h)
	s.people(h)
	s.intake(h)
	s.documents(h)
	s.overview(h)
	s.lineages(h)
	s.search(h)
	s.views(h)
	s.usage(h)
	mux.HandleFunc("GET /v1/stream", s.stream)
	mux.HandleFunc("POST /v1/backup", s.backup)
	mux.HandleFunc("POST /v1/inventory/imports/aws", s.importAWS)
	mux.HandleFunc("POST /receive/logs/{format}", s.receiveLogs)
	mux.HandleFunc("POST /receive/text", s.receiveText)
	if err := mux.check(); err != nil {
		return nil, nil, err
	}
	s.describe(h.OpenAPI())
	yaml, err := h.OpenAPI().YAML()
	if err != nil {
		return nil, nil, err
	}
	return s.guard(mux), yaml, nil
}

type callerKey struct{}

// callerOf returns who sent the request that ctx belongs to.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
