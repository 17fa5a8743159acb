// Package agent is the second composition root: an enforcement point away from
// the server. It answers proxies and services as the server does (forward-auth,
// AuthZEN evaluations, Envoy's ext_authz), with the same parts, from facts of its
// own:
//
//	server --signed messages--> [state] -> facts, policies, keys
//	request -> point -> attest -> decision -> allow | step-up | deny
//	                                  |
//	                                  +-> journal --batches--> server
//
// The state is what the server last signed (package feed). It is on disk before
// anybody is told that the point has it, so a point that starts without its server
// goes on from there. The first server it meets is the one it believes from then
// on: the key that signed the first message is kept beside the state.
//
// What a point may allow by itself depends on whether it can be told to stop:
//
//   - With a lease, it decides as the server would. A lease lasts five seconds from
//     before the question that renewed it, by the point's own clock, whatever the
//     system says about the time; a machine that slept has none.
//   - Without one, what has sensitivity 2 or more is denied ("lease-none"), and
//     what has less is decided by what is known. Past the maximum age the reason
//     "facts-stale" comes to it.
//   - What is revoked stays revoked, with a lease and without.
//
// People cannot be asked from here: what needs their approval is denied
// ("approval-unreachable"). Nothing is known here of what is normal for an
// identity, so surprise is 0 and nothing is new.
//
// Two people can open a point that its server left alone, by a break-glass code:
// for an hour at most, once, and loudly (package breakglass). The point tells the
// server when it is back.
//
// Decisions are recorded as at the server, and wait for the disk where they do
// there. They are sent to the server in their order until it says that it has
// them, however long that takes.
package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/certs"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/authzen"
	"github.com/muster-id/muster/internal/enforce/extauthz"
	"github.com/muster-id/muster/internal/enforce/forwardauth"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
)

// Settings say what an Agent runs on.
type Settings struct {
	Name   string // of the point, as it was enrolled
	Server string // URL; plain HTTP only on loopback
	Key    string // of the point: a secret
	Data   string // folder; made if it is not there
	// Addresses to listen on. An empty ExtAuthz answers no Envoy.
	Listen, OpsListen, ExtAuthz string
	// Certificate is for listeners that other machines can reach. Nil means none:
	// then the addresses must be of loopback, which the caller has checked.
	Certificate certs.Source
	Roots       *x509.CertPool // that the server's certificate comes from; nil: the system's
	Reserve     int64          // bytes kept for decisions when the disk is full; 0: 64 MB
}

// An Agent is a point that decides by itself, built and listening. Requests are
// answered once Run is called.
type Agent struct {
	set    Settings
	keyID  string // of its key: public
	server *url.URL
	http   *http.Client

	main, ops, envoy net.Listener

	facts    *facts.Facts
	brain    *brain
	lease    lease
	disk     *disk
	instance string
	journal  *journal.Journal
	log      *logbook.Log
	decided  chan struct{} // a decision is in the journal
	shipping shipping
	service  *decision.Service
	health   health.Register
	status   status
	glass    glass

	// The follower's own.
	state feed.State
	whole bool // the next question asks for a snapshot

	handler http.Handler
	grpc    *extauthz.Server
	close   []func() error // in the order of opening
}

// New builds an Agent, reads the state that it had, and binds its listeners. The
// caller must Run or Close it.
func New(ctx context.Context, s Settings) (_ *Agent, err error) {
	a := &Agent{set: s, facts: facts.New(), instance: feed.NewInstance(), decided: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.server, err = address(s.Server); err != nil {
		return nil, err
	}
	parsed, err := key.Parse(s.Key)
	if err != nil || parsed.Kind != key.Point {
		return nil, nhi.Invalidf("that is not the key of a point, which begins with muster_pnt_")
	}
	a.keyID = parsed.ID
	a.http = newClient(s.Roots)
	for _, step := range []func(context.Context) error{a.open, a.compose, a.bind} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// address checks the address of the server.
func address(server string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(server, "/"))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, nhi.Invalidf("server address %q: want a URL such as https://muster.example.com", server)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, nhi.Invalidf("server address %q: plain HTTP is for loopback only; use https", server)
	}
	return u, nil
}

func (a *Agent) onClose(f func() error) { a.close = append(a.close, f) }

// open opens the data folder.
func (a *Agent) open(context.Context) error {
	if err := os.MkdirAll(a.set.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := health.Writable(a.set.Data); err != nil {
		return err
	}
	reserve := a.set.Reserve
	if reserve == 0 {
		reserve = 64 << 20
	}
	var err error
	// The journal locks the folder, so it comes before everything that writes.
	a.journal, err = journal.Open(filepath.Join(a.set.Data, "decisions"), journal.Settings{Reserve: reserve, SegmentAge: time.Hour, Lost: func(n int) { a.log.Lost(n) }})
	if err != nil {
		return err
	}
	a.onClose(a.journal.Close)
	a.log = logbook.New(recorder{a.journal, a.decided}, 0)
	a.glass.open(a.set.Data)
	a.log.NewTap()(a.glass.count)
	if err := a.shipping.open(a.set.Data, a.journal); err != nil {
		return err
	}
	a.disk, err = openDisk(filepath.Join(a.set.Data, "state"))
	if err != nil {
		return err
	}
	a.onClose(a.disk.Close)
	return nil
}

// compose joins the parts and goes on from the state on disk.
func (a *Agent) compose(context.Context) error {
	places, err := geo.Default()
	if err != nil {
		return fmt.Errorf("load the table of networks: %w", err)
	}
	scanner, err := leak.NewScanner()
	if err != nil {
		return fmt.Errorf("load the leak rules: %w", err)
	}
	a.brain = newBrain(a.facts, &a.lease)
	a.service, err = decision.NewService(decision.Config{Facts: a.facts, Policies: a.brain, InForce: a.brain.inForce, Log: a.log, Places: places, Glass: a.glass.code})
	if err != nil {
		return err
	}
	a.glass.clean = scanner.RedactString
	a.recall()
	decider := decision.Clean(a.service, scanner.RedactString)
	points, routes := enforce.NewPoints(a.facts), enforce.NewRoutes(a.facts)
	mux := http.NewServeMux()
	forward := forwardauth.New(forwardauth.Config{Points: points, Routes: routes, Verifier: a.brain, Decider: decider, Tells: a.brain.tells, Forwards: a.brain.forwards, Log: slog.Default()})
	mux.Handle(forwardauth.Path, forward)
	mux.Handle(forwardauth.Path+"/", forward) // envoy repeats the request below it
	zen := authzen.New(authzen.Config{Points: points, Decider: decider, PublicURL: a.set.Server, Issuer: a.brain.issuer, Log: slog.Default()})
	mux.Handle(authzen.EvaluationPath, zen)
	mux.Handle(authzen.EvaluationsPath, zen)
	a.handler = mux
	var certificate *tls.Config
	if a.set.Certificate != nil {
		certificate = certs.Config(a.set.Certificate)
	}
	a.grpc = extauthz.NewServer(extauthz.New(extauthz.Config{Points: points, Routes: routes, Verifier: a.brain, Decider: decider, Tells: a.brain.tells, Forwards: a.brain.forwards, Log: slog.Default()}), certificate)
	a.register(routes)
	return nil
}

// bind takes the addresses.
func (a *Agent) bind(ctx context.Context) error {
	var lc net.ListenConfig
	for _, l := range []struct {
		address string
		to      *net.Listener
	}{{a.set.Listen, &a.main}, {a.set.OpsListen, &a.ops}, {a.set.ExtAuthz, &a.envoy}} {
		if l.address == "" {
			continue
		}
		bound, err := lc.Listen(ctx, "tcp", l.address)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", l.address, err)
		}
		*l.to = bound
		a.onClose(func() error {
			if err := bound.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return nil
}

// URL is where proxies and services ask.
func (a *Agent) URL() string {
	if a.set.Certificate != nil {
		return "https://" + a.main.Addr().String()
	}
	return "http://" + a.main.Addr().String()
}

// OpsURL is where health is told.
func (a *Agent) OpsURL() string { return "http://" + a.ops.Addr().String() }

// ExtAuthz is the address where Envoy asks; empty when nobody is answered.
func (a *Agent) ExtAuthz() string {
	if a.envoy == nil {
		return ""
	}
	return a.envoy.Addr().String()
}

const shutdown = 10 * time.Second

// Run serves until ctx ends, then stops in order and closes everything. It
// returns nil after a clean stop.
func (a *Agent) Run(ctx context.Context) error {
	main := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	if a.set.Certificate != nil {
		main.TLSConfig = certs.Config(a.set.Certificate)
	}
	ops := &http.Server{Handler: a.operations(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	failed := make(chan error, 8) // more than there are parts and listeners
	var listening, working sync.WaitGroup
	listening.Go(func() {
		if main.TLSConfig != nil {
			failed <- main.ServeTLS(a.main, "", "")
		} else {
			failed <- main.Serve(a.main)
		}
	})
	listening.Go(func() { failed <- ops.Serve(a.ops) })
	if a.envoy != nil {
		listening.Go(func() {
			if err := a.grpc.Serve(a.envoy); err != nil {
				failed <- err
			}
		})
	}
	for _, part := range []func(context.Context) error{a.follow, a.ship, a.watchGlass} {
		working.Go(func() {
			if err := part(inner); err != nil && !errors.Is(err, context.Canceled) {
				failed <- err
			}
		})
	}
	a.health.Started()
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	a.health.Stopping()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
	defer done()
	if a.envoy != nil {
		listening.Go(func() { a.grpc.Stop(stop) })
	}
	if err := main.Shutdown(stop); err != nil {
		_ = main.Close()
	}
	_ = ops.Close()
	listening.Wait()
	cancel()
	working.Wait()
	if errors.Is(cause, http.ErrServerClosed) {
		cause = nil
	}
	return errors.Join(cause, a.Close())
}

// Close releases everything that is open, the newest first. Run calls it.
func (a *Agent) Close() error {
	var errs []error
	for i := len(a.close) - 1; i >= 0; i-- {
		errs = append(errs, a.close[i]())
	}
	a.close = nil
	return errors.Join(errs...)
}

// recorder is the journal as decisions use it. It wakes who sends them on.
type recorder struct {
	j    *journal.Journal
	wake chan struct{}
}

func (r recorder) Append(record []byte) error {
	_, err := r.j.Append(record)
	r.ring()
	return err
}

func (r recorder) AppendAsync(record []byte) error {
	err := r.j.AppendAsync(record)
	r.ring()
	return err
}

func (r recorder) ring() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
