// Package demo shows the product at work: a server, a company that uses it,
// and thieves who try to abuse what leaks from that company.
//
// Everything is real but the company. A [Stage] starts a server in a temporary
// folder, on loopback, and fills it through the same doors that an
// administrator uses: IAM's export files through the importer, CloudTrail
// through the receiver of logs, routes, resources and trust as documents, points
// and keys through the interface. Requests enter through an edge, a reverse
// proxy that asks forward-auth about each of them as nginx does; each simulated
// network has a door of its own there. What got through is counted at the
// upstream behind the edge, where it did its work or did not. Nothing in the
// server knows that this is a demonstration, except that the console says so.
//
// A story ([Stage.Play]) is one leak. A workload works with a static key; the
// key is committed to a repository; a thief drawn from the world's seed uses it
// while the workload goes on and somebody scans the repository; the proof of the
// leak contains the key; everybody tries again. The [Report] counts who got
// through.
//
// [Run] is `muster demo`: the whole company, background traffic, and a story
// every twenty seconds. [Story] is `muster demo --story`.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server"
	"github.com/muster-id/muster/internal/server/offline"
	"github.com/muster-id/muster/internal/world"
)

// Settings say what is demonstrated.
type Settings struct {
	Seed    uint64
	NoOpen  bool      // do not open a browser
	Out     io.Writer // what people read; nil: nowhere
	Version string    // of the program

	company world.Settings // zero: the whole company
	records int            // of its history; 0: 300,000
}

// A StageSettings says what a Stage is built of. The zero value is the whole
// company on ports that the system chooses.
type StageSettings struct {
	World   world.Settings // Start is the present unless it is set
	Records int            // of history; 0: 300,000
	Listen  string         // main listener; empty: any port on loopback
	Ops     string         // operations listener; empty: any port on loopback
	Version string
}

// A Stage is a running server with a company around it. Its methods may be
// used from several goroutines.
type Stage struct {
	server   string // base URL of Muster
	api      *client.Client
	scanner  *client.Client // with the key of whoever scans repositories
	logs     *client.Client // with the key of the company's log source
	asking   string         // key of the point that asks by AuthZEN
	world    *world.World
	cluster  *cluster
	edge     *edge
	upstream *upstream
	records  int
	folder   string

	stop  context.CancelFunc
	ended chan error // of the server, once
	once  sync.Once
	err   error
}

// Open starts a server in a temporary folder and enrols everything that a
// story needs; the inventory is not imported yet (see Import). It blocks until
// the server answers. ctx bounds the life of the Stage, too; the caller must
// Close it.
func Open(ctx context.Context, set StageSettings) (_ *Stage, err error) {
	table, err := geo.Default()
	if err != nil {
		return nil, fmt.Errorf("load the table of networks: %w", err)
	}
	if set.World.Start.IsZero() {
		set.World.Start = time.Now().UTC()
	}
	if set.Records == 0 {
		set.Records = 300_000
	}
	s := &Stage{records: set.Records, stop: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.folder, err = os.MkdirTemp("", "muster-demo-"); err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	if s.world, err = world.New(set.World, table); err != nil {
		return nil, err
	}
	if err := s.serve(ctx, &set); err != nil {
		return nil, err
	}
	if s.cluster, err = newCluster(); err != nil {
		return nil, err
	}
	if s.upstream, err = newUpstream(); err != nil {
		return nil, err
	}
	return s, s.enrol(ctx)
}

// serve starts the server.
func (s *Stage) serve(ctx context.Context, set *StageSettings) error {
	cfg := config.Default()
	cfg.Listen, cfg.OpsListen, cfg.ExtAuthzListen = "127.0.0.1:0", "127.0.0.1:0", config.Off
	if set.Listen != "" {
		cfg.Listen = set.Listen
	}
	if set.Ops != "" {
		cfg.OpsListen = set.Ops
	}
	cfg.JournalReserve = 16 << 20 // the folder may lie in memory
	for _, a := range s.world.Accounts {
		cfg.Environments = append(cfg.Environments, inventory.EnvironmentRule{
			Name: a.Environment.Name, Class: a.Environment.Class, Provider: "aws", Accounts: []string{a.ID},
		})
	}
	data := filepath.Join(s.folder, "data")
	srv, err := server.New(ctx, server.Settings{Data: data, Config: cfg, Version: set.Version, Demo: true})
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.server = srv.URL()
	running, stop := context.WithCancel(ctx)
	s.stop, s.ended = stop, make(chan error, 1)
	go func() { s.ended <- srv.Run(running) }() // ends with Close
	token, err := os.ReadFile(s.TokenFile())
	if err != nil {
		return fmt.Errorf("read the administrator's token: %w", err)
	}
	if s.api, err = client.New(s.server, strings.TrimSpace(string(token))); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return wait(ready, srv.OpsURL()+"/readyz")
}

// URL is where the server answers.
func (s *Stage) URL() string { return s.server }

// API is a client with the administrator's token.
func (s *Stage) API() *client.Client { return s.api }

// World is the company.
func (s *Stage) World() *world.World { return s.world }

// TokenFile is the file of the administrator's token.
func (s *Stage) TokenFile() string { return filepath.Join(s.folder, "data", "admin.token") }

// DataFolder is the server's folder.
func (s *Stage) DataFolder() string { return filepath.Join(s.folder, "data") }

// Close stops everything and removes the folder. It blocks until the server
// has stopped; calling it again returns the same error.
func (s *Stage) Close() error {
	s.once.Do(func() {
		if s.edge != nil {
			s.edge.close()
		}
		s.stop()
		if s.ended != nil {
			s.err = <-s.ended
		}
		if s.cluster != nil {
			s.cluster.close()
		}
		if s.upstream != nil {
			s.upstream.close()
		}
		if s.folder != "" {
			s.err = errors.Join(s.err, os.RemoveAll(s.folder))
		}
	})
	return s.err
}

// failed returns an error if the server has ended by itself.
func (s *Stage) failed() error {
	select {
	case err := <-s.ended:
		s.ended <- err
		return errors.Join(errors.New("the server ended"), err)
	default:
		return nil
	}
}

// enrol makes the points and sources that the company uses.
func (s *Stage) enrol(ctx context.Context) error {
	accounts := make([]string, 0, len(s.world.Accounts))
	for _, a := range s.world.Accounts {
		accounts = append(accounts, a.ID)
	}
	var err error
	if s.logs, err = s.source(ctx, client.AddSource{Name: "organisation-trail", Format: "cloudtrail", Accounts: accounts}); err != nil {
		return err
	}
	if s.scanner, err = s.source(ctx, client.AddSource{Name: "repository-scanner", Format: "scanner"}); err != nil {
		return err
	}
	edge, err := s.point(ctx, "edge", nhi.DialectNginx)
	if err != nil {
		return err
	}
	if s.edge, err = newEdge(s.server, edge, s.upstream); err != nil {
		return err
	}
	s.asking, err = s.point(ctx, "data-platform", nhi.DialectAuthZEN)
	return err
}

func (s *Stage) source(ctx context.Context, ask client.AddSource) (*client.Client, error) {
	var made client.Enrolled
	if err := s.api.Send(ctx, http.MethodPost, "/v1/sources", ask, &made); err != nil {
		return nil, fmt.Errorf("add the source %s: %w", ask.Name, err)
	}
	return client.New(s.server, made.Key)
}

// point enrols a point and makes it enforce.
func (s *Stage) point(ctx context.Context, name string, dialect nhi.Dialect) (string, error) {
	var made client.Enrolled
	if err := s.api.Send(ctx, http.MethodPost, "/v1/points", client.EnrollPoint{Name: name, Dialect: string(dialect)}, &made); err != nil {
		return "", fmt.Errorf("enroll the point %s: %w", name, err)
	}
	mode := string(nhi.Enforce)
	if err := s.api.Send(ctx, http.MethodPatch, "/v1/points/"+made.ID, client.SetPoint{Mode: &mode}, nil); err != nil {
		return "", fmt.Errorf("let the point %s enforce: %w", name, err)
	}
	return made.Key, nil
}

// report scans a folder as `muster scan --report-to` does, and returns what
// the server answered to each secret.
func (s *Stage) report(ctx context.Context, folder string) ([]client.SightingReply, error) {
	var replies []client.SightingReply
	_, err := offline.Scan(ctx, offline.ScanSettings{Path: folder, Reporter: &offline.Reporter{
		Client: s.scanner, Replied: func(_ leak.Record, r client.SightingReply) { replies = append(replies, r) },
	}})
	return replies, err
}

// freeOr returns the address if nobody listens there, else one with any port.
func freeOr(ctx context.Context, address string) string {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close()
	return address
}
