//go:build scale

package scale

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
)

// bareName is the variable that makes this test's program a bare server.
const bareName = "MUSTER_TEST_BARE_SERVER"

// A bare server is one that says yes to everything, over HTTP and gRPC: what
// a request costs before anybody decides anything.
type bareServer struct {
	auth.UnimplementedAuthorizationServer
}

func (bareServer) Check(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
	return &auth.CheckResponse{Status: &status.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}}}, nil
}

func (bareServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"decision":true}`)
}

// newBare starts a bare server in a process of its own.
func newBare(t *testing.T) *wired {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestBareServer$")
	cmd.Env = append(os.Environ(), bareName+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	at := strings.Fields(line)
	if err != nil || len(at) != 2 {
		t.Fatalf("the bare server says %q, %v", line, err)
	}
	return &wired{pid: cmd.Process.Pid, url: "http://" + at[0], envoy: at[1]}
}

// TestBareServer is that process; run by itself it has nothing to do.
func TestBareServer(t *testing.T) {
	if os.Getenv(bareName) == "" {
		t.Skip("it is the other end of TestADecisionOverTheWire")
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := grpc.NewServer()
	auth.RegisterAuthorizationServer(asked, bareServer{})
	go func() { _ = http.Serve(web, bareServer{}) }()
	go func() { _ = asked.Serve(envoy) }()
	fmt.Println(web.Addr(), envoy.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the one that started it is done
}
