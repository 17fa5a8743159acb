package extauthz

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/muster-id/muster/internal/nhi"
)

// serve puts a bench on a port of loopback, until the test ends.
func serve(t testing.TB, b *bench, certificate *tls.Config, limit time.Duration) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(b.Service, certificate, limit)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		s.Stop(ended)
		serving.Wait()
	})
	return s, l.Addr().String()
}

func dial(t testing.TB, address string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// outgoing is the context of a client that has a minute and a key.
func outgoing(t testing.TB, key string) context.Context {
	c, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(c, Metadata, "Bearer "+key)
}

func TestAClientOfThePublishedTypesIsAnswered(t *testing.T) {
	b := newBench(nil)
	_, address := serve(t, b, nil, callLimit)
	client := auth.NewAuthorizationClient(dial(t, address, insecure.NewCredentials()))
	response, err := client.Check(outgoing(t, b.key), request())
	if got := tell(t, response, err); got.status != 200 || got.headers["muster-identity"] != string(robot) {
		t.Errorf("%+v", got)
	}
	response, err = client.Check(outgoing(t, "x"), request())
	if got := tell(t, response, err); got.status != 401 {
		t.Errorf("a wrong key: %+v", got)
	}
}

func TestTheSameCertificateServesOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	model := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"muster.example"}}
	der, err := x509.CreateCertificate(rand.Reader, model, model, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	b := newBench(nil)
	_, address := serve(t, b, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, callLimit)
	client := auth.NewAuthorizationClient(dial(t, address, credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "muster.example"})))
	response, err := client.Check(outgoing(t, b.key), request())
	if got := tell(t, response, err); got.status != 200 {
		t.Errorf("%+v", got)
	}
	plain := auth.NewAuthorizationClient(dial(t, address, insecure.NewCredentials()))
	if _, err := plain.Check(outgoing(t, b.key), request()); status.Code(err) != codes.Unavailable {
		t.Errorf("without TLS: %v", err)
	}
}

// A blob is sent and received as it is, whatever the method's types are.
type blob struct{}

func (blob) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (blob) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}
func (blob) Name() string { return "proto" }

func TestWhatIsNoCheckIsAnErrorAndNeverAnAllow(t *testing.T) {
	b := newBench(nil)
	_, address := serve(t, b, nil, callLimit)
	conn := dial(t, address, insecure.NewCredentials())
	huge := request()
	of(huge).Body = strings.Repeat("x", MaxMessage)
	if _, err := auth.NewAuthorizationClient(conn).Check(outgoing(t, b.key), huge); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("an oversized message: %v", err)
	}
	for name, tt := range map[string]struct {
		method string
		body   []byte
		want   codes.Code
	}{
		"bytes that are no message": {auth.Authorization_Check_FullMethodName, []byte{0xff, 0xff, 0xff}, codes.Internal},
		"a method that is not ours": {"/envoy.service.auth.v2.Authorization/Check", nil, codes.Unimplemented},
	} {
		var reply []byte
		err := conn.Invoke(outgoing(t, b.key), tt.method, &tt.body, &reply, grpc.ForceCodec(blob{}))
		if status.Code(err) != tt.want || len(reply) != 0 {
			t.Errorf("%s: %v, %d bytes", name, err, len(reply))
		}
	}
	if asked := b.decider.Asked(); len(asked) != 0 {
		t.Errorf("the decider was asked %d times", len(asked))
	}
}

func TestACallWhoseMessageNeverComesIsEnded(t *testing.T) {
	b := newBench(nil)
	_, address := serve(t, b, nil, 50*time.Millisecond)
	conn := dial(t, address, insecure.NewCredentials())
	c := outgoing(t, b.key)
	stream, err := conn.NewStream(c, &grpc.StreamDesc{ClientStreams: true}, auth.Authorization_Check_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&auth.CheckResponse{}); err == nil {
		t.Error("a call without a message was answered")
	} else if c.Err() != nil {
		t.Errorf("the client gave up first: %v", err)
	}
}

func TestCallsBeyondTheLimitOfAConnectionWait(t *testing.T) {
	b := newBench(nil)
	_, address := serve(t, b, nil, time.Hour)
	conn := dial(t, address, insecure.NewCredentials())
	c, cancel := context.WithCancel(outgoing(t, b.key))
	for range MaxCalls { // calls that never send their message
		if _, err := conn.NewStream(c, &grpc.StreamDesc{ClientStreams: true}, auth.Authorization_Check_FullMethodName); err != nil {
			t.Fatal(err)
		}
	}
	short, end := context.WithTimeout(outgoing(t, b.key), 100*time.Millisecond)
	defer end()
	if _, err := auth.NewAuthorizationClient(conn).Check(short, request()); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("one call more: %v", err)
	}
	other := auth.NewAuthorizationClient(dial(t, address, insecure.NewCredentials()))
	response, err := other.Check(outgoing(t, b.key), request())
	if got := tell(t, response, err); got.status != 200 {
		t.Errorf("another connection: %+v", got)
	}
	cancel()
	response, err = auth.NewAuthorizationClient(conn).Check(outgoing(t, b.key), request())
	if got := tell(t, response, err); got.status != 200 {
		t.Errorf("once the others are gone: %+v", got)
	}
}

// A slow decider says when it is asked and answers when it is told.
type slow struct{ asked, answer chan struct{} }

func (s slow) Decide(context.Context, *nhi.Question) nhi.Decision {
	close(s.asked)
	<-s.answer
	return nhi.Decision{ID: "late", Outcome: nhi.Allow}
}

func TestAStopAnswersWhatWasAskedAndTakesNoMore(t *testing.T) {
	b := newBench(nil)
	held := slow{make(chan struct{}), make(chan struct{})}
	b.judge.Decider = held
	server, address := serve(t, b, nil, callLimit)
	conn := dial(t, address, insecure.NewCredentials())
	probe := healthpb.NewHealthClient(conn)
	checked, err := probe.Check(outgoing(t, ""), &healthpb.HealthCheckRequest{Service: "envoy.service.auth.v3.Authorization"})
	if err != nil || checked.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", checked, err)
	}
	var asking, stopping sync.WaitGroup
	asking.Go(func() {
		response, err := auth.NewAuthorizationClient(conn).Check(outgoing(t, b.key), request())
		if err != nil || response.GetOkResponse() == nil {
			t.Errorf("the call that was being answered: %v, %v", response, err)
		}
	})
	<-held.asked
	stopping.Go(func() { server.Stop(context.Background()) })
	late := auth.NewAuthorizationClient(dial(t, address, insecure.NewCredentials()))
	for { // the listener closes soon; until then a call would wait for the decider
		if c, err := net.DialTimeout("tcp", address, time.Second); err != nil {
			break
		} else {
			_ = c.Close()
		}
	}
	if _, err := late.Check(outgoing(t, b.key), request()); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after the stop: %v", err)
	}
	close(held.answer)
	asking.Wait()
	stopping.Wait()
}
