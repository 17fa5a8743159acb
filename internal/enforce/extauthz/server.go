package extauthz

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"
)

// Limits of the server. A proxy keeps few connections with many calls on each.
const (
	MaxMessage = 256 << 10 // bytes of a CheckRequest: headers of 60 KB, Envoy's limit, fit four times
	MaxCalls   = 1024      // at once on one connection
	maxHeaders = 16 << 10  // bytes of a call's own metadata
	handshake  = 10 * time.Second
	callLimit  = 10 * time.Second // from the first byte of a call to its reply
	pingFloor  = 5 * time.Second  // who pings more often is cut off
)

// A Server puts a Service on the wire, and beside it the standard health
// service (grpc.health.v1), which tells a proxy's health checks whether the
// server takes calls and nothing else.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
}

// NewServer returns a Server for service. Without a certificate it speaks
// plain HTTP/2, which is for loopback alone.
func NewServer(service *Service, certificate *tls.Config) *Server {
	return newServer(service, certificate, callLimit)
}

func newServer(service *Service, certificate *tls.Config, limit time.Duration) *Server {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxConcurrentStreams(MaxCalls), grpc.MaxHeaderListSize(maxHeaders), grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingFloor, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		// A goroutine that has answered once has the stack for it.
		grpc.NumStreamWorkers(uint32(2 * runtime.GOMAXPROCS(0))),
		// A call whose message never comes would hold its place for ever. The
		// context before ends with the call, and its end stops the clock.
		grpc.InTapHandle(func(ctx context.Context, _ *tap.Info) (context.Context, error) {
			ctx, cancel := context.WithTimeout(ctx, limit)
			_ = cancel
			return ctx, nil
		}),
	}
	if certificate != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(certificate)))
	}
	s := &Server{grpc: grpc.NewServer(options...), health: health.NewServer()}
	auth.RegisterAuthorizationServer(s.grpc, service)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.health.SetServingStatus(auth.Authorization_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	return s
}

// Serve answers calls on l until Stop. It blocks, closes l, and returns nil
// after a Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Stop takes no new calls, tells health checks so, and waits for those that are
// being answered until ctx ends; then they are cut.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	cut := context.AfterFunc(ctx, s.grpc.Stop)
	defer cut()
	s.grpc.GracefulStop()
}
