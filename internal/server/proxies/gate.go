// Package proxies keeps the proxies of a server: for each of the configuration's
// proxies a listener, the handler of package enforce/proxy with the decisions of
// this process behind it, and the certificate. It takes the addresses when the
// server starts, follows a reload without giving an address up, lets running
// requests end at the stop, and says how each proxy is.
//
// A reload that changes a proxy puts a new one behind the same listener. What
// the old one carries may end within its drain time; then it is cut. One whose
// settings and authorities are as before is left alone, but for its
// certificate, which is read again.
package proxies

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/certs"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/mcp"
	"github.com/muster-id/muster/internal/enforce/proxy"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
)

// Deps are what every proxy asks.
type Deps struct {
	Judge    enforce.Judge
	Trier    enforce.Trier // what lists of a protocol are filtered by
	Facts    *facts.Facts
	Changed  func() <-chan struct{} // closed at the next change of the facts
	Asserter *enforce.Asserter
	Log      *slog.Logger
}

// Gates are all proxies of a server. The zero value has none.
type Gates struct {
	deps Deps
	base context.Context // lives as long as the process

	mu      sync.Mutex // guards the rest
	doors   []*door
	stopped bool

	running sync.WaitGroup // servers and their drains
	failed  chan error
	ended   chan struct{} // closed by Stop
}

// A door is an address and what is behind it now.
type door struct {
	settings proxy.Settings
	print    [sha256.Size]byte // of the files that only a new proxy reads again
	net      *shared
	now      *generation
}

// A generation is a proxy between two reloads that change it.
type generation struct {
	handler     *proxy.Handler
	server      *http.Server
	listener    net.Listener
	certificate *certs.Files // nil: plain
	unwatch     context.CancelFunc
}

// Listen takes the addresses that c names.
func Listen(ctx context.Context, c *config.Config) (*Gates, error) {
	g := &Gates{failed: make(chan error, 1), ended: make(chan struct{})}
	for _, s := range c.Proxies {
		l, err := listen(ctx, &s)
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		g.doors = append(g.doors, &door{settings: s, net: l})
	}
	return g, nil
}

func listen(ctx context.Context, s *proxy.Settings) (*shared, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for the proxy %s: %w", s.Listen, s.Point, err)
	}
	return share(l), nil
}

// Open makes the proxies. It is called once, before Serve.
func (g *Gates) Open(ctx context.Context, d Deps) error {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deps, g.base = d, context.WithoutCancel(ctx)
	for _, one := range g.doors {
		var err error
		if one.print, err = prints(&one.settings); err != nil {
			return fmt.Errorf("proxy %s: %w", one.settings.Point, err)
		}
		if one.now, err = g.build(one.settings); err != nil {
			return fmt.Errorf("proxy %s: %w", one.settings.Point, err)
		}
	}
	return nil
}

// build makes a proxy without starting it.
func (g *Gates) build(s proxy.Settings) (*generation, error) {
	c := proxy.Config{
		Judge: g.deps.Judge, Point: g.point(s.Point), Standing: standing{g.point(s.Point), g.deps.Facts, g.deps.Judge.Verifier, g.deps.Changed}, Asserter: g.deps.Asserter, Log: g.deps.Log,
	}
	if s.Protocol == proxy.MCP {
		c.Protocol = mcp.New(mcp.Config{Judge: g.deps.Judge, Trier: g.deps.Trier, Point: c.Point, Log: g.deps.Log})
	}
	handler, err := proxy.New(s, c)
	if err != nil {
		return nil, err
	}
	n := &generation{handler: handler, server: proxy.Server(s, handler, g.deps.Log)}
	if s.TLS.Cert == "" {
		return n, nil
	}
	if n.certificate, err = certs.OpenFiles(certs.FileSettings{Cert: s.TLS.Cert, Key: s.TLS.Key}); err != nil {
		return nil, err
	}
	n.server.TLSConfig, err = proxy.ServerTLS(s, n.certificate.Certificate)
	return n, err
}

// point finds the point of a name among the facts, again for every request.
func (g *Gates) point(name string) func() (nhi.Point, bool) {
	return func() (nhi.Point, bool) { return g.deps.Facts.PointNamed(name) }
}

// start puts n behind the door. The caller holds g.mu.
func (g *Gates) start(d *door, n *generation) {
	ctx, cancel := context.WithCancel(g.base)
	n.unwatch, n.listener = cancel, d.net.view()
	d.now = n
	g.running.Go(func() { n.handler.Watch(ctx) })
	limited := proxy.Limit(n.listener, d.settings)
	g.running.Go(func() {
		var err error
		if n.certificate != nil {
			err = n.server.ServeTLS(limited, "", "")
		} else {
			err = n.server.Serve(limited)
		}
		if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			g.fail(fmt.Errorf("proxy on %s: %w", d.settings.Listen, err))
		}
	})
}

func (g *Gates) fail(err error) {
	select {
	case g.failed <- err:
	default: // one is told already
	}
}

// retire lets a proxy end what it carries, for as long as it may.
func (n *generation) retire(ctx context.Context, drain time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	_ = n.server.Shutdown(ctx) // what is not done by then is cut below
	n.handler.Cut()            // upgraded connections are nobody's but the handler's
	_ = n.server.Close()
	n.unwatch()
	n.handler.Close()
}

// Serve answers until Stop, or until a listener fails.
func (g *Gates) Serve() error {
	g.mu.Lock()
	if !g.stopped {
		for _, d := range g.doors {
			g.start(d, d.now)
		}
	}
	g.mu.Unlock()
	select {
	case <-g.ended:
		return nil
	case err := <-g.failed:
		return err
	}
}

// Stop takes no new connections and waits until what is carried has ended, at
// most until ctx ends; then it is cut.
func (g *Gates) Stop(ctx context.Context) {
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		return
	}
	g.stopped = true
	close(g.ended)
	doors := g.doors
	g.mu.Unlock()
	var ending sync.WaitGroup
	for _, d := range doors {
		_ = d.net.Close()
		if d.now != nil && d.now.unwatch != nil {
			ending.Go(func() { d.now.retire(ctx, d.settings.WithDefaults().Timeouts.Drain) })
		}
	}
	ending.Wait()
	g.running.Wait()
}

// Close gives the addresses back. It may be called after Stop and without
// Serve.
func (g *Gates) Close() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, d := range g.doors {
		if err := d.net.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Addrs is where each proxy listens, by the name of its point.
func (g *Gates) Addrs() map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make(map[string]string, len(g.doors))
	for _, d := range g.doors {
		out[d.settings.Point] = d.net.raw.Addr().String()
	}
	return out
}

// Take is a reload.Part.
func (g *Gates) Take(ctx context.Context, next *config.Config) (commit func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	plan := make([]change, 0, len(next.Proxies))
	defer func() {
		if err != nil {
			for _, c := range plan {
				c.abandon()
			}
		}
	}()
	for _, s := range next.Proxies {
		c := change{settings: s, door: g.at(s.Listen, s.Point)}
		if c.print, err = prints(&s); err != nil {
			return nil, fmt.Errorf("proxy %s: %w", s.Point, err)
		}
		if c.door == nil {
			if c.fresh, err = listen(ctx, &s); err != nil {
				return nil, err
			}
		}
		plan = append(plan, c)
		if c.door != nil && c.print == c.door.print && reflect.DeepEqual(s, c.door.settings) {
			continue
		}
		if plan[len(plan)-1].next, err = g.build(s); err != nil {
			return nil, fmt.Errorf("proxy %s: %w", s.Point, err)
		}
	}
	return func() { g.commit(plan) }, nil
}

// A change is what a reload does with one proxy.
type change struct {
	settings proxy.Settings
	print    [sha256.Size]byte
	door     *door       // that is there; nil: a new one
	fresh    *shared     // listener of a new one
	next     *generation // nil: the proxy stays
}

func (c *change) abandon() {
	if c.fresh != nil {
		_ = c.fresh.Close()
	}
}

// at returns the door of an address. Where the system chooses the port, the
// point tells which it is.
func (g *Gates) at(listen, point string) *door {
	_, port, _ := net.SplitHostPort(listen)
	for _, d := range g.doors {
		if d.settings.Listen == listen && (port != "0" || d.settings.Point == point) {
			return d
		}
	}
	return nil
}

func (g *Gates) commit(plan []change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		for _, c := range plan {
			c.abandon()
		}
		return
	}
	doors := make([]*door, 0, len(plan))
	for _, c := range plan {
		d := c.door
		if d == nil {
			d = &door{net: c.fresh}
		}
		doors = append(doors, d)
		if c.next == nil {
			if f := d.now.certificate; f != nil {
				if err := f.Reload(); err != nil {
					g.deps.Log.Error("the certificate of a proxy stays as it was", "point", d.settings.Point, "error", err)
				}
			}
			continue
		}
		old, drain := d.now, d.settings.WithDefaults().Timeouts.Drain
		d.settings, d.print = c.settings, c.print
		g.start(d, c.next)
		g.replaced(old, drain)
	}
	for _, d := range g.doors {
		if !slices.Contains(doors, d) {
			_ = d.net.Close()
			g.replaced(d.now, d.settings.WithDefaults().Timeouts.Drain)
		}
	}
	g.doors = doors
}

// replaced retires a proxy in the background. Stop waits for it. The caller
// holds g.mu.
func (g *Gates) replaced(old *generation, drain time.Duration) {
	if old == nil || old.unwatch == nil {
		return
	}
	_ = old.listener.Close() // from here on the next one accepts
	g.running.Go(func() {
		ctx, cancel := context.WithCancel(g.base)
		defer cancel()
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-g.ended:
				cancel()
			case <-stop:
			}
		}()
		old.retire(ctx, drain)
	})
}

// Checks are the lines in /readyz?verbose, one for all proxies.
func (g *Gates) Checks() []health.Check {
	return []health.Check{{Name: "proxies", State: func(context.Context) health.State { return g.state(time.Now()) }}}
}

func (g *Gates) state(now time.Time) health.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.doors {
		name := d.settings.Point
		switch p, ok := g.deps.Facts.PointNamed(name); {
		case !ok:
			return health.Degraded("the proxy on "+d.settings.Listen+" refuses everything: no point "+name+" is enrolled", "muster point enroll "+name+" --dialect proxy")
		case p.Dialect != nhi.DialectProxy:
			return health.Degraded("the proxy on "+d.settings.Listen+" refuses everything: the point "+name+" has the dialect "+string(p.Dialect), "muster point set "+name+" --dialect proxy")
		}
		if d.now != nil && d.now.certificate != nil {
			if s := d.now.certificate.State(now); s.Level != health.LevelOK {
				return health.Degraded("proxy "+name+": "+s.Why, s.Cure)
			}
		}
	}
	return health.OK()
}

// prints tells whether the files that a proxy reads once are others than
// before. The listener's own certificate is not among them.
func prints(s *proxy.Settings) ([sha256.Size]byte, error) {
	h := sha256.New()
	for _, file := range []string{s.TLS.ClientCA, s.Upstream.TLS.CA, s.Upstream.TLS.Cert, s.Upstream.TLS.Key} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return [sha256.Size]byte{}, nhi.Invalidf("%v", err)
		}
		sum := sha256.Sum256(text)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
