// Package envoy keeps the listener where Envoy asks: it takes the address when
// the server starts, puts the ext_authz service on it, stops it with the other
// listeners, and says how it is.
//
// The address that nobody chose may be taken, by a second server on the same
// machine or by something else. Then the rest of the server works, nobody is
// answered here, so every proxy that asks here denies, and the state says so.
// An address that somebody chose must be free.
package envoy

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/enforce/extauthz"
	"github.com/muster-id/muster/internal/health"
)

// A Listener is the address and what answers on it. The nil Listener is off.
type Listener struct {
	address string // as configured
	net     net.Listener
	taken   error // why there is no net
	server  *extauthz.Server
}

// Listen takes the address that c names. It returns nil when that is off.
func Listen(ctx context.Context, c *config.Config) (*Listener, error) {
	if !c.ServesEnvoy() {
		return nil, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.ExtAuthzListen)
	if err != nil && c.ExtAuthzListen != config.DefaultExtAuthz {
		return nil, fmt.Errorf("listen on %s for ext_authz: %w", c.ExtAuthzListen, err)
	}
	if err != nil {
		slog.Warn("ext_authz: the address is taken; nobody is answered there", "address", c.ExtAuthzListen, "error", err)
	}
	return &Listener{address: c.ExtAuthzListen, net: l, taken: err}, nil
}

// Answer says what to answer with, and with which certificate. On this machine
// alone it needs none. It is called before Serve.
func (l *Listener) Answer(service *extauthz.Service, certificate *tls.Config) {
	if l == nil {
		return
	}
	if config.Loopback(l.address) {
		certificate = nil
	}
	l.server = extauthz.NewServer(service, certificate)
}

// Addr is where it listens; empty when it does not.
func (l *Listener) Addr() string {
	if l == nil || l.net == nil {
		return ""
	}
	return l.net.Addr().String()
}

// Serve answers until Stop. It returns at once when there is no listener.
func (l *Listener) Serve() error {
	if l.Addr() == "" {
		return nil
	}
	if err := l.server.Serve(l.net); err != nil {
		return fmt.Errorf("answer ext_authz on %s: %w", l.address, err)
	}
	return nil
}

// Stop takes no new calls and waits for those that are being answered, until
// ctx ends.
func (l *Listener) Stop(ctx context.Context) {
	if l.Addr() != "" {
		l.server.Stop(ctx)
	}
}

// Close gives the address back. It may be called after Stop, and without Serve.
func (l *Listener) Close() error {
	if l.Addr() == "" {
		return nil
	}
	return l.net.Close()
}

// Check is its line in /readyz?verbose; none when it is off.
func (l *Listener) Check() []health.Check {
	if l == nil {
		return nil
	}
	return []health.Check{{Name: "ext_authz", State: func(context.Context) health.State {
		if l.taken != nil {
			return health.Degraded("nobody is answered on "+l.address+", so every proxy that asks there denies: "+l.taken.Error(),
				"stop what uses the address, or set ext_authz_listen to another, or to off; then restart the server")
		}
		return health.OK()
	}}}
}
