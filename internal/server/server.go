// Package server is the composition root: it builds every part, joins the
// interfaces that they ask for, runs them and stops them. It decides nothing
// itself. Rooms of its own hold the larger parts: intake, document, and offline,
// which composes the commands that need no server.
//
// The order of a start says what depends on what:
//
//	keys -> store -> audit, journal, stream -> facts (one snapshot of the store)
//	-> policies, trust, issuer -> decisions -> points -> interface -> listeners
//
// After that the learner follows the stream and the journal from where it
// stopped, the router delivers notices, and a heartbeat tells the facts that
// they are current. A stop goes the other way: listeners first, so nothing new
// is acknowledged, then the learner saves, then the files are closed.
//
// The data folder holds the key file (keys.json), the database (muster.db), and
// a folder each for the audit log, the decision journal, the stream and what was
// learned. One process at a time uses it.
package server

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	handbook "github.com/muster-id/muster/docs"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/builtin"
	"github.com/muster-id/muster/internal/certs"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/console"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/approval"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/authzen"
	"github.com/muster-id/muster/internal/enforce/extauthz"
	"github.com/muster-id/muster/internal/enforce/forwardauth"
	"github.com/muster-id/muster/internal/enforce/kubernetes"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/issuer/jwt"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/learning"
	"github.com/muster-id/muster/internal/manual"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/respond"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/server/cluster"
	"github.com/muster-id/muster/internal/server/document"
	"github.com/muster-id/muster/internal/server/edge"
	"github.com/muster-id/muster/internal/server/envoy"
	"github.com/muster-id/muster/internal/server/intake"
	"github.com/muster-id/muster/internal/server/library"
	"github.com/muster-id/muster/internal/server/measure"
	"github.com/muster-id/muster/internal/server/notice"
	"github.com/muster-id/muster/internal/server/panel"
	"github.com/muster-id/muster/internal/server/proxies"
	"github.com/muster-id/muster/internal/server/recall"
	"github.com/muster-id/muster/internal/server/rehearsal"
	"github.com/muster-id/muster/internal/server/reload"
	"github.com/muster-id/muster/internal/server/scribe"
	"github.com/muster-id/muster/internal/server/signal"
	"github.com/muster-id/muster/internal/server/view"
	"github.com/muster-id/muster/internal/store"
	kept "github.com/muster-id/muster/internal/store/activity"
	storeapproval "github.com/muster-id/muster/internal/store/approval"
	"github.com/muster-id/muster/internal/store/desk"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storeissuer "github.com/muster-id/muster/internal/store/issuer"
	storenotify "github.com/muster-id/muster/internal/store/notify"
	storerespond "github.com/muster-id/muster/internal/store/respond"
	"github.com/muster-id/muster/internal/stream/nats"
	"github.com/muster-id/muster/internal/telemetry"
	"github.com/muster-id/muster/internal/usage"
)

// Settings say what a server runs on.
type Settings struct {
	Data    string // folder; made if it is not there
	Config  config.Config
	Version string
	Demo    bool // labels the console; nothing on the decision path knows
	// RenewToken makes a new first administrator token when no operator token
	// is alive: for whoever owns the data folder and has lost the way in.
	RenewToken bool
	// Reload reads the configuration anew, as Config was read: when ConfigFile
	// or a file that it names changes, and when Again says so. nil: it never
	// changes.
	Reload     func() (config.Config, error)
	ConfigFile string
	Again      <-chan os.Signal
	// Tracing follows requests; nil: nobody does. Its owner stops it after Run.
	Tracing *telemetry.Tracing
}

// A Server is everything, built and listening. Requests are answered once Run
// is called.
type Server struct {
	settings Settings
	url      string // public
	listener net.Listener
	ops      net.Listener
	envoy    *envoy.Listener // nil: off
	gates    *proxies.Gates

	operating *http.Server // on ops
	operated  chan error   // why it ended
	probed    atomic.Pointer[http.Handler]

	keys       *seal.Keys
	auditor    crypto.Signer // of the audit log
	certs      certs.Source  // nil without TLS
	challenges net.Listener  // of the authority, over HTTP; may be nil
	db         *store.DB
	audit      *audit.Log
	journal    *journal.Journal
	stream     *nats.Stream
	table      *geo.Table
	facts      *facts.Facts
	recall     *recall.Keeper
	log        *logbook.Log
	decider    counting
	prober     proxies.Prober
	desk       *approval.Desk
	approvals  *storeapproval.Store
	library    *library.Library
	documents  *document.Documents
	voting     *panel.Panel
	rehearsal  *rehearsal.Stage
	outcomes   *measure.Outcomes
	issuing    *issuer.Keys
	asserting  *issuer.Keys
	intake     *intake.Intake
	learner    *learning.Learner
	book       *view.Doorbook
	router     *notify.Router
	health     *health.Register
	reloader   *reload.Reloader
	cutOff     atomic.Uint64 // readers of the live stream that were too slow
	answered   atomic.Int64  // nanoseconds that the store took at the last heartbeat
	clock      health.Clock
	appends    measure.Appends
	refusals   measure.Refusals
	changed    *view.Wakeup
	respond    *respond.Service
	access     *access.Service
	signals    *signal.Room
	backups    *backups
	acts       *scribe.Recorder
	routes     *enforce.Routes
	edge       *edge.Hub // points that decide away from here
	scanner    *leak.Scanner
	handler    http.Handler
	ending     chan struct{} // closed when the stop begins: streams end then

	close []func() error // in the order of opening
}

// New builds a server and binds its listeners. The caller must Run or Close
// it.
func New(ctx context.Context, s Settings) (_ *Server, err error) {
	if err := s.Config.Check(); err != nil {
		return nil, err
	}
	srv := &Server{settings: s, appends: measure.NewAppends(), refusals: measure.NewRefusals(), outcomes: measure.NewOutcomes(), changed: view.NewWakeup(), health: &health.Register{}, reloader: newReloader(s.Config), facts: facts.New(), ending: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
	}()
	for _, step := range []func(context.Context) error{srv.bind, srv.open, srv.certificate, srv.compose, srv.settle} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return srv, nil
}

// bind takes the addresses before anything else, because the public URL may
// depend on a port that the system chooses.
func (s *Server) bind(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.settings.Config.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.settings.Config.Listen, err)
	}
	s.listener = l
	s.onClose(func() error { return ignoreClosed(l.Close()) })
	o, err := lc.Listen(ctx, "tcp", s.settings.Config.OpsListen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.settings.Config.OpsListen, err)
	}
	s.ops = o
	s.onClose(func() error { return ignoreClosed(o.Close()) })
	s.answer()
	if s.envoy, err = envoy.Listen(ctx, &s.settings.Config); err != nil {
		return err
	}
	s.onClose(func() error { return ignoreClosed(s.envoy.Close()) })
	if s.gates, err = proxies.Listen(ctx, &s.settings.Config); err != nil {
		return err
	}
	s.onClose(s.gates.Close)
	s.url = strings.TrimSuffix(s.settings.Config.PublicURL, "/")
	if s.url == "" {
		scheme := "http"
		if s.settings.Config.TLS.On() {
			scheme = "https"
		}
		s.url = scheme + "://" + l.Addr().String()
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Server) onClose(f func() error) { s.close = append(s.close, f) }

// open opens everything that lies in the data folder.
func (s *Server) open(ctx context.Context) error {
	data := s.settings.Data
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := errors.Join(health.Writable(data), unfinished(data)); err != nil {
		return err
	}
	// The store locks the folder, so it comes before everything that writes.
	err := s.openStore(ctx)
	if err != nil {
		return err
	}
	if err := s.openKeys(ctx); err != nil {
		return err
	}
	if s.scanner, err = leak.NewScanner(); err != nil {
		return fmt.Errorf("load the leak rules: %w", err)
	}
	reserve := s.settings.Config.JournalReserve
	if s.audit, err = audit.Open(filepath.Join(data, "audit"), s.auditor, audit.Settings{Reserve: reserve / 4, Wrote: s.appends.Of("audit"), Clean: scribe.Cleaner(s.scanner.RedactString)}); err != nil {
		return err
	}
	s.onClose(s.audit.Close)
	if s.journal, err = journal.Open(filepath.Join(data, "decisions"), journal.Settings{Reserve: reserve, SegmentAge: segmentAge, Wrote: s.appends.Of("decisions"), Lost: func(n int) { s.log.Lost(n) }}); err != nil {
		return err
	}
	s.onClose(s.journal.Close)
	s.clock.Watch(s.audit.Latest)
	s.clock.Watch(s.journal.Latest)
	if err := s.openStream(ctx); err != nil {
		return err
	}
	if s.table, err = geo.Default(); err != nil {
		return fmt.Errorf("load the table of networks: %w", err)
	}
	return nil
}

// compose joins the parts.
func (s *Server) compose(ctx context.Context) error {
	oprf, err := fingerprint.NewEvaluator(s.keys.Derive("fingerprint", 32), 1)
	if err != nil {
		return fmt.Errorf("open the fingerprint key: %w", err)
	}
	settings := inventorySettings(&s.settings.Config)
	inv, err := inventory.New(storeinventory.New(s.db), oprf, settings)
	if err != nil {
		return err
	}
	s.db.OnCommit(s.follow)
	if err := s.recalls(ctx, &settings, inv); err != nil {
		return err
	}
	s.facts.Heartbeat(time.Now())
	acts := &scribe.Recorder{Log: s.audit}
	s.acts, s.backups = acts, &backups{server: s}
	found := storerespond.New(s.db)
	known := &view.Known{Facts: s.facts, Ask: func(id nhi.ID) (nhi.Identity, error) { return inv.Identity(context.WithoutCancel(ctx), id) }}
	s.respond = respond.New(found, inv, acts, view.Judge{Known: known, Learner: func() *learning.Learner { return s.learner }}, s.scanner.RedactString)
	mind := learning.NewMind(baseline.Settings{Places: s.table, Established: s.settings.Config.Learning, MayTestify: s.mayTestify}, known)
	if err := s.learning(ctx, mind, known, inv, found); err != nil {
		return err
	}
	s.intake = intake.New(intake.Deps{
		DB: s.db, Stream: s.stream, Inventory: inv, Respond: s.respond, OPRF: oprf, Scanner: s.scanner, Keys: s.keys, Acts: acts,
		Leaked:  func(id nhi.CredentialID) { known.Learn(id) },
		Sources: func(ctx context.Context) ([]nhi.Source, error) { return s.access.Sources(ctx) },
		Living: func(id nhi.ID) bool {
			i, ok := s.facts.Identity(id)
			return ok && !i.Shadow
		},
	})
	docs, err := s.deciding(ctx, inv, acts, mind)
	if err != nil {
		return err
	}
	return s.serving(ctx, inv, acts, docs, found, mind)
}

// follow is the hook of every commit: decisions first, then whoever watches.
func (s *Server) follow(changes []nhi.Change) {
	if err := s.facts.Apply(changes); err != nil {
		slog.Error("decisions can no longer follow the changes; they will deny as the facts grow old", "error", err)
	}
	if s.desk != nil {
		s.desk.Apply(changes)
	}
	if s.edge != nil {
		s.edge.Follow(changes)
	}
	s.changed.Ring()
	s.signals.Wake()
	for i := range changes {
		if c := &changes[i]; s.router != nil && (c.Subject == nhi.SubjectFinding || c.Subject == nhi.SubjectAction || c.Subject == nhi.SubjectApproval) {
			s.router.Wake() // where there is a finding or an act, there may be a notice
			break
		}
	}
}

// mayTestify lets a source teach only about the accounts declared for it, and
// our own decisions about everybody.
func (s *Server) mayTestify(ev *nhi.Event) bool {
	return ev.Format == "decision" || ev.Source != ""
}

func (s *Server) learning(ctx context.Context, mind *learning.Mind, known *view.Known, inv *inventory.Service, found *storerespond.Store) error {
	leaked, err := found.Leaked(ctx)
	if err != nil {
		return fmt.Errorf("read the confirmed leaks: %w", err)
	}
	known.Learn(leaked...)
	routes, err := notice.Routes(s.settings.Config.Notify, s.url)
	if err != nil {
		return err
	}
	s.router = notify.NewRouter(storenotify.New(s.db), routes)
	decided := make(chan struct{}, 1)
	s.learner = &learning.Learner{
		Mind: mind, Dir: s.settings.Data, DB: s.db, Stream: s.stream, Decisions: s.journal, Inventory: inv,
		Notices: respond.NoticesOf, Wake: s.router.Wake, Decided: decided, Counter: s.counter(),
	}
	s.log = logbook.New(scribe.Journal{To: s.journal, Wake: func() {
		select {
		case decided <- struct{}{}:
		default:
		}
	}}, s.settings.Config.Decisions.Recent)
	s.onClose(s.learner.Close)
	return s.learner.Load(ctx)
}

func (s *Server) deciding(ctx context.Context, inv *inventory.Service, acts *scribe.Recorder, mind *learning.Mind) (*document.Documents, error) {
	docs := &document.Documents{DB: s.db, Inventory: inv, Acts: acts, Clean: s.scanner.RedactString}
	var err error
	if docs.Policies, err = s.policies(ctx); err != nil {
		return nil, err
	}
	trust, err := docs.Body(ctx, document.TrustFile)
	if err != nil {
		return nil, err
	}
	if err := docs.Believe(trust, s.settings.Config.SVID); err != nil {
		return nil, err
	}
	// A crash may have come between the rules and what follows from them.
	if err := inv.MarkAttestable(ctx, docs.Trust.Identities()); err != nil {
		return nil, err
	}
	if err := s.asking(ctx); err != nil {
		return nil, err
	}
	service, err := decision.NewService(decision.Config{
		Approvals: s.desk,
		Facts:     s.facts, Policies: s.library.Holder(), InForce: inForce(s.library.Holder()), Log: s.log, Places: s.table, Pages: mind.Normal, Settings: s.settings.Config.Decisions,
		Behaviour: &decision.Scorer{Peers: mind.Normal.Prior, Names: mind.Normal},
	})
	if err != nil {
		return nil, err
	}
	s.decider = counting{service, s.outcomes, s.scanner.RedactString}
	s.follows(docs, inv, service)
	s.documents = docs
	return docs, nil
}

func (s *Server) serving(ctx context.Context, inv *inventory.Service, acts *scribe.Recorder, docs *document.Documents, found *storerespond.Store, mind *learning.Mind) error {
	var err error
	if s.issuing, err = issuer.OpenKeys(ctx, storeissuer.New(s.db), s.keys); err != nil {
		return err
	}
	if err := s.restored(ctx, acts); err != nil {
		return err
	}
	if err := s.people(ctx, acts); err != nil {
		return err
	}
	points := enforce.NewPoints(s.facts)
	if s.edge, err = edge.Compose(ctx, edge.Parts{
		DB: s.db, Facts: s.facts, Points: points, Policies: s.library.Holder(), Keys: s.keys, Public: s.issuing.Public, Issuers: docs.Trust.Direct, Domains: docs.SVIDs.Set, URL: s.url, Data: s.settings.Data,
		Settings: func() decision.Settings { return s.reloader.Current().Decisions }, Journal: s.journal, Log: s.log, Clean: s.decider.cleanse, Count: s.outcomes.Count, Glass: s.glass(acts).Report,
	}); err != nil {
		return err
	}
	verifier := attest.New(attest.Deps{Credentials: s.facts, Keys: s.issuing, Issuer: s.url, Foreign: docs.Trust, Certificates: docs.SVIDs}, builtin.Methods...)
	tokens, err := issuer.New(issuer.Config{
		Issuer: s.url, Keys: s.issuing, Format: jwt.Format, Subjects: subjects{docs.Trust}, Decider: s.decider, Audit: scribe.Issuer{Acts: acts, Clock: &s.clock},
		Revocations: storeissuer.New(s.db), Status: s.facts, Points: points, Admin: s.admin, Log: slog.Default(),
		Unproven: func(r *http.Request, code string) {
			s.book.Refused(r, usage.Refusal{Kind: usage.FailedAuthentication, Reason: "the issuer refused: " + code})
		},
	})
	if err != nil {
		return err
	}
	if err := s.signalling(inv, docs, tokens.SPIFFE); err != nil {
		return err
	}
	reported := view.NewReporters(s.intake)
	s.book = view.NewDoorbook(s.db, s.scanner.RedactString)
	decisions := view.Decisions{Log: s.log, Past: logbook.NewPast(filepath.Join(s.settings.Data, "decisions"))}
	management, _, err := api.New(frame.Deps{
		CutOff: func() { s.cutOff.Add(1) },
		Gate:   gate{s.access, s.book}, Usage: view.Counted{DB: s.db}, Access: &enrolment{service: s.access, acts: acts, outcomes: s.outcomes, url: s.url, sso: s.ssoName(), away: s.edge.Away}, Intake: reported, Decisions: decisions, Explain: view.Explain(s.library.Holder()), Rehearsal: s.rehearses(s.library.Holder()), Approvals: s.panel(inv), Glass: s.glass(acts), Probes: &s.prober, Library: s.library, Findings: view.Findings{Store: found}, Known: s.facts,
		Documents: docs, Inventory: inv, Respond: s.respond, Acts: acts, Clean: s.scanner.RedactString, Version: s.settings.Version, Demo: s.settings.Demo,
		Mind: view.Minds{Mind: mind, Inventory: inv, Findings: found}, Operations: view.Operating{Reporters: reported, Register: s.health}, Backups: s.backups, Channels: notice.Desk{Router: s.router}, Signals: s.signals,
		PageKey: s.keys.Derive("page", 32), Desk: desk.New(s.db), Lists: view.Lists{Found: found, Held: storeinventory.New(s.db)}, Stale: s.stale(),
		State: &view.State{
			DB: s.db, Inventory: inv, Findings: found, Acts: s.audit, Log: s.log, Intake: s.intake, Mind: mind, Table: s.table, Changed: s.changed,
			Refused: s.outcomes.WouldRefuse,
		},
	})
	if err != nil {
		return fmt.Errorf("describe the management interface: %w", err)
	}
	mux := http.NewServeMux()
	if err := s.enforcing(ctx, mux, points, verifier, docs, acts, decisions); err != nil {
		return err
	}
	s.serveSignals(mux)
	return s.mount(mux, management, tokens.Handler(), acts)
}

// enforcing puts up what enforcement points ask.
func (s *Server) enforcing(ctx context.Context, mux *http.ServeMux, points *enforce.Points, verifier *attest.Verifier, docs *document.Documents, acts *scribe.Recorder, decisions view.Decisions) error {
	s.routes = enforce.NewRoutes(s.facts)
	asserter, err := s.proxies(ctx, mux, verifier)
	if err != nil {
		return err
	}
	s.prober = proxies.Prober{Points: s.access.Points, Asserter: asserter, Record: acts.Record}
	forward := forwardauth.New(forwardauth.Config{Points: points, Routes: s.routes, Verifier: verifier, Decider: s.decider, Asserter: asserter, Tells: docs.SVIDs.Tells, Forwards: docs.SVIDs.Forwards, Log: slog.Default()})
	mux.Handle(forwardauth.Path, forward)
	mux.Handle(forwardauth.Path+"/", forward) // envoy repeats the request below it
	s.answerEnvoy(extauthz.Config{Points: points, Routes: s.routes, Verifier: verifier, Decider: s.decider, Asserter: asserter, Tells: docs.SVIDs.Tells, Forwards: docs.SVIDs.Forwards, Log: slog.Default()})
	cluster.Handle(mux, kubernetes.Config{
		Points: points, Routes: s.routes, Subjects: cluster.Subjects{Trust: docs.Trust, Identity: s.facts.Identity}, Decider: s.decider,
		BasePermit: policy.BasePermit, Log: slog.Default(),
	})
	zen := authzen.New(authzen.Config{
		Points: points, Decider: s.decider, Catalogue: view.Catalogue{Facts: s.facts}, Audit: acts, PublicURL: s.url,
		PageKey: s.keys.Derive("search", 32), Log: slog.Default(), Requests: s.requests(decisions),
	})
	mux.Handle("/access/", zen)
	mux.Handle(authzen.MetadataPath, zen)
	mux.Handle("/edge/", s.edge.Handler())
	return nil
}

// mount puts up what people and programs ask. Who is told of a change is told
// when the points away from here have it.
func (s *Server) mount(mux *http.ServeMux, management, oauth http.Handler, acts *scribe.Recorder) error {
	oauth, management = s.edge.Settled(oauth), s.edge.Settled(management)
	for _, path := range []string{"/oauth2/", issuer.DiscoveryPath, issuer.MetadataPath} {
		mux.Handle(path, oauth)
	}
	for _, path := range []string{"/v1/", "/receive/", "/openapi.json", "/openapi.yaml"} {
		mux.Handle(path, management)
	}
	mux.Handle("/v1/stream", s.endless(management))
	mux.Handle(panel.ChatPath, panel.NewChat(s.voting, s.router.Channel, s.access.People))
	mux.Handle("/signin", http.HandlerFunc(s.signIn))
	mux.HandleFunc("GET /signin/sso", s.beginSignOn)
	mux.HandleFunc("GET /signin/callback", func(w http.ResponseWriter, r *http.Request) { s.finishSignOn(w, r, acts) })
	pages, err := documentation()
	if err != nil {
		return err
	}
	mux.Handle(manual.Root, pages)
	mux.Handle(manual.Root+"/", pages)
	mux.Handle("/", console.Handler())
	s.handler = mux
	return nil
}

// documentation is the same for every server of the process.
var documentation = sync.OnceValues(func() (*manual.Manual, error) { return manual.New(handbook.Files) })

// endless serves streams that would never end by themselves: they do when the
// server stops, so that nobody has to wait for an open console.
func (s *Server) endless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		go func() {
			select {
			case <-s.ending:
				cancel()
			case <-ctx.Done():
			}
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// settle finishes what a crash cut off, before anything is served.
func (s *Server) settle(ctx context.Context) error {
	if err := s.respond.Reconcile(ctx); err != nil {
		return err
	}
	s.register()
	return nil
}

// URL is how the world reaches the main listener.
func (s *Server) URL() string { return s.url }

// OpsURL is where health and metrics are.
func (s *Server) OpsURL() string { return "http://" + s.ops.Addr().String() }

// ExtAuthz is the address where Envoy asks; empty when nobody is answered.
func (s *Server) ExtAuthz() string { return s.envoy.Addr() }

// answerEnvoy puts ext_authz on its listener, with the certificate of the main
// one where others can reach it.
func (s *Server) answerEnvoy(c extauthz.Config) {
	var certificate *tls.Config
	if s.certs != nil {
		certificate = certs.Config(s.certs)
	}
	s.envoy.Answer(extauthz.New(c), certificate)
	s.health.Add(s.envoy.Check()...)
}

// geoAge is the age of the table of networks in seconds.
func (s *Server) geoAge() float64 { return time.Since(s.table.Built()).Seconds() }

const (
	beat     = 5 * time.Second
	shutdown = 10 * time.Second
)

// Run serves until ctx ends, then stops in order and closes everything. It
// returns nil after a clean stop.
func (s *Server) Run(ctx context.Context) error {
	// Uploads and streams give themselves more time than other requests have.
	main := &http.Server{
		Handler: s.settings.Tracing.Handler(s.refusals.Handler(s.handler)), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	main.RegisterOnShutdown(func() { close(s.ending) })
	operations := s.operations(s.metrics())
	s.probed.Store(&operations)
	s.health.Started() // whoever is ready can be measured
	inner, cancel := context.WithCancel(s.settings.Tracing.With(context.WithoutCancel(ctx)))
	defer cancel()
	failed := make(chan error, 16) // more than there are parts and listeners
	var listening, working sync.WaitGroup
	listening.Go(func() { failed <- s.serve(main) })
	listening.Go(func() { failed <- <-s.operated })
	for _, serve := range []func() error{s.envoy.Serve, s.gates.Serve} {
		listening.Go(func() {
			if err := serve(); err != nil {
				failed <- err
			}
		})
	}
	for _, part := range []func(context.Context) error{s.learner.Run, s.recall.Run, s.asks, s.library.Run, s.documents.Run, s.rehearsal.Shadows.Run, s.router.Run, s.signals.Run, s.book.Run, s.issuing.Run, s.asserting.Run, s.access.Run, s.reloader.Run, s.pulse, s.renew, s.db.Watch} {
		working.Go(func() {
			if err := part(inner); err != nil && !errors.Is(err, context.Canceled) {
				failed <- err
			}
		})
	}
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	s.health.Stopping()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
	defer done()
	// What is not answered after a while is cut.
	listening.Go(func() { s.envoy.Stop(stop) })
	listening.Go(func() { s.gates.Stop(stop) })
	if err := main.Shutdown(stop); err != nil {
		_ = main.Close()
	}
	_ = s.operating.Close()
	listening.Wait()
	cancel()
	working.Wait()
	if errors.Is(cause, http.ErrServerClosed) {
		cause = nil
	}
	return errors.Join(cause, s.Close())
}

// pulse tells the facts that they are current, gives the journals their
// reserve back when the disk has room again, and forgets what is too old.
func (s *Server) pulse(ctx context.Context) error {
	tick, hour := time.NewTicker(beat), time.NewTicker(time.Hour)
	defer tick.Stop()
	defer hour.Stop()
	revoked := storeissuer.New(s.db)
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-hour.C:
			s.compactUsage(ctx, now)
			s.forgetApprovals(ctx, now)
			if err := revoked.Prune(ctx, now.Add(-facts.Pruned)); err != nil {
				slog.Warn("expired revocations could not be forgotten; tried again in an hour", "error", err)
			}
			s.forgetChanges(ctx, now)
			s.forgetDecisions(ctx, now)
			if err := kept.Forget(ctx, s.db, now.Add(-s.reloader.Current().Retention.Age)); err != nil {
				slog.Warn("old pieces of logs could not be forgotten; tried again in an hour", "error", err)
			}
			if err := storerespond.Forget(ctx, s.db, now.Add(-s.reloader.Current().Retention.Age)); err != nil {
				slog.Warn("old sightings could not be forgotten; tried again in an hour", "error", err)
			}
		case now := <-tick.C:
			s.clock.Look(now)
			s.confirm(ctx, now)
			s.relieve()
		}
	}
}

// Close releases everything that is open, the newest first. Run calls it.
func (s *Server) Close() error {
	var errs []error
	for i := len(s.close) - 1; i >= 0; i-- {
		errs = append(errs, s.close[i]())
	}
	s.close = nil
	return errors.Join(errs...)
}
