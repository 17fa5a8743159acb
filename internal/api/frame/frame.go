// Package frame is what every route of the management interface stands in. The
// gate says who calls; the rule of the route says which right it needs and
// where (rights.go). Around a handler stand one form of refusal, the memory of
// repeated requests, the reading of lists and their page tokens, the mapping to
// the types of package client, and the description in OpenAPI. The routes
// themselves are in package api.
package frame

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/respond"
	"github.com/muster-id/muster/internal/store/desk"
	"github.com/muster-id/muster/internal/usage"
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
	First    bool   // the first administrator
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
	// Away fills in how a point is doing that decides away from the server.
	Away(point *client.Point)
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
	// Preview says what Import would change, and changes nothing.
	Preview(ctx context.Context, files map[string]io.Reader) (client.ImportPreview, error)
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
	// Decision returns an error wrapping nhi.ErrNotFound for one that is not on
	// record.
	Decision(ctx context.Context, id string) (nhi.Decision, error)
	// Older returns some of the decisions on record that were made before the
	// one with this id, or at this time when that is not on record, and not
	// before since; the newest first. None means that there are none.
	Older(ctx context.Context, id string, at, since time.Time) ([]nhi.Decision, error)
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
	Gate      Gate
	Access    Access
	Intake    Intake
	Decisions Decisions
	// Explain has the policies in force judge a question; nil: nothing is judged
	// again.
	Explain    func(*nhi.Question) client.Explanation
	Findings   Findings
	Documents  Documents
	State      State
	Mind       Mind
	Operations Operations
	Backups    Backups
	Channels   Channels
	Signals    Signals
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
	Lists Lists
	// Approvals are what people are asked.
	Approvals Approvals
	Glass     Glass
	Probes    Probes
	Rehearsal Rehearsal
	Library   Library
	Usage     Usage
	// Stale is how old a request of another process must be to count as dead;
	// 0 when there is no other process.
	Stale time.Duration
	// MaxReplies is how many requests with a key are remembered of one caller;
	// 0: desk.MaxReplies.
	MaxReplies int

	// CutOff is told of each reader of the live stream that was too slow; may be
	// nil.
	CutOff func()

	Version string
	Demo    bool
}

// A Frame is safe for concurrent use.
type Frame struct {
	Deps
	Key   []byte         // signs page tokens
	locks [64]sync.Mutex // each held while one of some things is changed
	large waiting        // requests with a key that wait in files
}

// New returns the frame of an interface that serves d.
func New(d Deps) *Frame {
	if d.Clean == nil { // refuse and hide rather than show
		d.Clean = func(string) string { return "" }
	}
	return &Frame{Deps: d, Key: NewKey(d.PageKey)}
}

// Plain refuses names that hold a secret, or what cannot be seen, such as an
// escape sequence or a mark of direction: they would be stored and shown.
func (s *Frame) Plain(fields ...string) error {
	for _, f := range fields {
		if s.Clean(f) != f {
			return nhi.Invalidf("one of the names holds a secret; give it another name, and consider the secret lost")
		}
		if at := strings.IndexFunc(f, func(r rune) bool { return !unicode.IsPrint(r) }); at >= 0 {
			r, _ := utf8.DecodeRuneInString(f[at:])
			return nhi.Invalidf("one of the names holds %U, which cannot be seen; leave it out", r)
		}
	}
	return nil
}

// Act records what the caller just did to target.
func (s *Frame) Act(ctx context.Context, act, target, reason string) error {
	return s.Acts.Record(context.WithoutCancel(ctx), nhi.Act{At: time.Now(), Actor: CallerOf(ctx).Actor(), Act: act, Target: target, Reason: reason, Outcome: "done"})
}

// Patience gives an upload more time than other requests have.
func Patience(w http.ResponseWriter, d time.Duration) {
	c, until := http.NewResponseController(w), time.Now().Add(d)
	// A server that cannot keeps its own limits.
	_, _ = c.SetReadDeadline(until), c.SetWriteDeadline(until.Add(time.Minute))
}

// limits on what is read; handlers of files have their own.
const (
	MaxBody     = 1 << 20
	MaxDocument = 8 << 20
	MaxImport   = 512 << 20
	MaxLogs     = 1 << 30
	MaxText     = 1 << 20

	UploadTime = 15 * time.Minute
)

type callerKey struct{}

// WithCaller returns a context whose requests c sends.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who sent the request that ctx belongs to.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

type Body[T any] struct{ Body T }

// Operation describes a route; every route has an id, a summary and a tag.
func Operation(method, path, id, tag, summary string) huma.Operation {
	o := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag}, MaxBodyBytes: MaxBody, BodyReadTimeout: 30 * time.Second}
	if method == http.MethodPost && !strings.Contains(path, "/undo") {
		o.DefaultStatus = http.StatusCreated
	}
	return o
}

// Mind is what the installation thinks of one identity, and why.
type Mind interface {
	// Learned returns how the identity usually behaves.
	Learned(id nhi.ID) client.Learned
	// Risk explains the risk of the identity and of those of its credentials
	// that are at risk, by the findings that are open now.
	Risk(ctx context.Context, i nhi.Identity) (client.Risk, error)
}

// Operations is how the process and what reports to it do.
type Operations interface {
	// Health asks every part of the process how it is; it takes two seconds at
	// most.
	Health(ctx context.Context) client.Health
	// SourceHealth returns what was heard of a source since the process started.
	SourceHealth(id nhi.ID) client.SourceHealth
}

// Library is the policies, and their history.
type Library interface {
	// Snapshots returns the history, the newest first.
	Snapshots(ctx context.Context) ([]nhi.Snapshot, error)
	// Waiting returns what waits for a second administrator, the oldest first.
	Waiting(ctx context.Context) ([]nhi.Snapshot, error)
	// Show maps an entry of the history.
	Show(nhi.Snapshot) client.Snapshot
	// Snapshot finds by a digest or its beginning. The error wraps nhi.ErrNotFound
	// when nothing has it.
	Snapshot(ctx context.Context, digest string) (client.SnapshotDetail, error)
	// BundleOf signs a snapshot. The error wraps nhi.ErrConflict for one that was
	// never in force.
	BundleOf(ctx context.Context, digest string) ([]byte, error)
	Policies(ctx context.Context) ([]client.Policy, error)
	SigningKey() (client.SigningKey, error)
	Librarian
	Promoter
}

// Promoter has policies come into force by gates.
type Promoter interface {
	// Promotion returns the one under way, or the last one; it names identities by
	// their ids alone.
	Promotion(ctx context.Context) (client.Promotion, error)
	// Promote takes a step: pause, resume, advance or abort. The error wraps
	// nhi.ErrConflict when none is under way, or it cannot be taken now.
	Promote(ctx context.Context, by Caller, step, reason string) error
	Acknowledge(ctx context.Context, by Caller, a nhi.Acknowledgement) error
}

// Librarian changes the policies.
type Librarian interface {
	// Put puts files into force, or has them wait for a second administrator.
	Put(ctx context.Context, by Caller, p client.PutSnapshot) (client.Snapshot, error)
	Activate(ctx context.Context, by Caller, digest, note string) (client.Snapshot, error)
	// Confirm wraps nhi.ErrDenied when it is not the caller's to say.
	Confirm(ctx context.Context, by Caller, digest string) (client.Snapshot, error)
	// Withdraw wraps nhi.ErrConflict for what does not wait.
	Withdraw(ctx context.Context, by Caller, digest, why string) (client.Snapshot, error)
}

// Channels are the ways by which people are told.
type Channels interface {
	Channels(ctx context.Context) ([]client.Channel, error)
	// Test sends a test by the channel of a name and waits for the receiver. It
	// wraps nhi.ErrNotFound when there is none.
	Test(ctx context.Context, by, name string) (client.ChannelTest, error)
}

// Signals are shared signals, told and heard.
type Signals interface {
	Streams(ctx context.Context) ([]client.SignalStream, error)
	Peers(ctx context.Context) ([]client.SignalPeer, error)
}

// Backups writes the whole installation.
type Backups interface {
	// Backup writes a backup that only recipients can read. It returns before
	// the first byte, with an error wrapping nhi.ErrInvalid, if one of them is
	// none.
	Backup(ctx context.Context, to io.Writer, recipients []string) error
}

// Rehearsal tries policies before they are in force.
type Rehearsal interface {
	// Simulate tries a candidate on decisions that were made. progress is told how
	// far it is; its error ends the simulation. The error wraps nhi.ErrInvalid for
	// a candidate that is wrong, and nhi.ErrBusy while another one runs.
	Simulate(ctx context.Context, request client.SimulateRequest, progress func(client.Simulation) error) (client.Simulation, error)
	// Learn proposes grants from what was done; progress and errors are as with
	// Simulate.
	Learn(ctx context.Context, request client.LearnRequest, progress func(client.Proposal) error) (client.Proposal, error)
	// Shadow returns the one that was started last, and what the filter chooses of
	// its differences.
	Shadow(ctx context.Context, f nhi.ShadowFilter) (client.Shadow, error)
	StartShadow(ctx context.Context, by string, files map[string]string) (client.Shadow, error)
	StopShadow(ctx context.Context) (client.Shadow, error)
}

// Approvals are what people are asked to approve.
type Approvals interface {
	// Approval returns an error wrapping nhi.ErrNotFound when there is none.
	Approval(ctx context.Context, id string) (nhi.Approval, error)
	Approvals(ctx context.Context, p filter.Part) (filter.Slice[nhi.Approval], error)
	// Vote has a caller say yes or no. The error wraps nhi.ErrConflict when it
	// is too late or said already, and nhi.ErrDenied when the caller is no person
	// or it is not theirs to say.
	Vote(ctx context.Context, by Caller, id string, yes bool, comment string) (nhi.Approval, error)
	// Cancel closes what is open. The error wraps nhi.ErrConflict when it is not.
	Cancel(ctx context.Context, by Caller, id string) (nhi.Approval, error)
}

// Probes sign what is sent to an application past its point, to see whether it
// refuses it.
type Probes interface {
	// Probe signs an assertion that is over. The error wraps nhi.ErrNotFound when
	// there is no such point, by its id or its name.
	Probe(ctx context.Context, by Caller, point string, about client.ProbePoint) (client.PointProbe, error)
}

// Glass are the codes that open a point while the server is away. A point is
// named by its id or its name.
type Glass interface {
	// Take gives a caller a half of a code. The error wraps nhi.ErrDenied when the
	// caller is no person, and nhi.ErrConflict when they wait for somebody else.
	Take(ctx context.Context, by Caller, point string) (client.GlassHalf, error)
	Codes(ctx context.Context, point string) (client.GlassCodes, error)
	// Withdraw makes a code open nothing any more. The error wraps nhi.ErrConflict
	// when it is over.
	Withdraw(ctx context.Context, by Caller, point, serial string) (client.GlassCode, error)
}

// Lists are the lists that the store filters and orders.
type Lists interface {
	Findings(ctx context.Context, p filter.Part) (filter.Slice[nhi.Finding], error)
	Credentials(ctx context.Context, p filter.Part) (filter.Slice[nhi.Credential], error)
	// Actions returns up to limit actions behind a position, the newest first.
	Actions(ctx context.Context, behind filter.Position, limit int) ([]nhi.Action, error)
	// Rank is the place of a severity in the order of findings.
	Rank(s nhi.Severity) int
}

// Self is who a view, a live stream and the reply to a request with a key
// belong to. What a person is called is up to the provider, and two may be
// called the same: the id speaks.
func (c Caller) Self() string {
	if c.Person != "" && c.Token == "" {
		return "person:" + c.Person
	}
	if c.Identity != "" {
		return string(c.Identity)
	}
	return c.Kind + ":" + c.Name
}

// How many decisions a second a live stream shows: when its reader says nothing,
// and at most.
const (
	DefaultRate = 50
	MaxRate     = 500
)

// Usage is how much was done, and who was refused.
type Usage interface {
	// Rows answers a question; more says that rows follow.
	Rows(ctx context.Context, q usage.Query) (rows []usage.Row, more bool, err error)
	// Refusals returns what stands behind a row, the newest first; an empty id
	// stands in front of all.
	Refusals(ctx context.Context, at int64, id string, limit int) ([]usage.Refusal, error)
}
