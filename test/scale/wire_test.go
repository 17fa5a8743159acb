//go:build scale

package scale

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/muster-id/muster/client"
)

const (
	wireConnections = 8
	wireWarm        = 4_000
	wireRequests    = 40_000
	wirePolicies    = 1_000
)

// A wired is the real program in a process of its own, so that what it costs
// is told apart from what the clients cost.
type wired struct {
	url, ops, envoy string
	pid             int
	api             *client.Client
	identity        string
	key             string
}

// profiles is where the server's processor time goes: go test -tags scale -run
// DecisionOverTheWire ./test/scale -profiles DIR; then go tool pprof.
var profiles = flag.String("profiles", "", "`folder` for a profile of each way to ask")

func newWired(t *testing.T) *wired {
	t.Helper()
	at := newTarget(t)
	s := &wired{url: at.url, ops: at.ops, envoy: at.envoy, pid: at.pid, api: at.api}
	s.furnish(t)
	return s
}

// newTarget starts the real program in a process of its own.
func newTarget(t *testing.T) *target {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "muster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/muster").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	words, err := os.Create(filepath.Join(dir, "words"))
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	s := &target{data: filepath.Join(dir, "data")}
	cmd := exec.Command(program, "serve", "--data", s.data, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--ext-authz-listen", "127.0.0.1:0")
	cmd.Stderr = words
	cmd.Env = append(os.Environ(), "MUSTER_PPROF="+strconv.FormatBool(*profiles != ""))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	t.Cleanup(s.stop)
	s.pid = cmd.Process.Pid
	for limit := time.Now().Add(time.Minute); s.url == "" || s.ops == "" || s.envoy == ""; time.Sleep(20 * time.Millisecond) {
		said, _ := os.ReadFile(words.Name())
		for line := range strings.Lines(string(said)) {
			if _, url, ok := strings.Cut(strings.TrimSpace(line), " serves "); ok {
				s.url = url
			}
			if at, ok := strings.CutPrefix(strings.TrimSpace(line), "Envoy asks at "); ok {
				s.envoy = at
			}
			if at, ok := strings.CutPrefix(strings.TrimSpace(line), "health and metrics at "); ok {
				s.ops = at
			}
		}
		if time.Now().After(limit) {
			t.Fatalf("the server does not start: %s", said)
		}
	}
	token, err := os.ReadFile(filepath.Join(s.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	if s.api, err = client.New(s.url, strings.TrimSpace(string(token))); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *wired) send(t *testing.T, method, path string, request, reply any) {
	t.Helper()
	if err := s.api.Send(t.Context(), method, path, request, reply); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (s *wired) furnish(t *testing.T) {
	t.Helper()
	var who client.Identity
	s.send(t, http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "settler", Environment: "production", Owner: "team:payments"}, &who)
	var key client.NewCredential
	s.send(t, http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &key)
	s.identity, s.key = who.ID, key.Key
	var policies strings.Builder
	for i := range wirePolicies {
		fmt.Fprintf(&policies, "@id(\"grant-%d\") permit (principal, action, resource == Resource::\"service-%d/api\") when { context.country != \"XX\" };\n", i, i)
	}
	for name, body := range map[string]string{
		"resources.yaml": "- {id: service-7/api, environment: production, sensitivity: 1}\n",
		"routes.yaml":    "- {host: api.example.com, path: \"/payments/{id}\", methods: {GET: read}, resource: service-7/api}\n",
		"policies.cedar": policies.String(),
	} {
		if err := s.api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(body), nil); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *wired) point(t *testing.T, dialect string) string {
	t.Helper()
	var enrolled client.Enrolled
	s.send(t, http.MethodPost, "/v1/points", client.EnrollPoint{Name: dialect, Dialect: dialect}, &enrolled)
	enforce := "enforce"
	s.send(t, http.MethodPatch, "/v1/points/"+dialect, client.SetPoint{Mode: &enforce}, nil)
	return enrolled.Key
}

// spent is the processor time of the server's process, in ticks of 10 ms.
func (s *wired) spent(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// drive asks n times in all, on every connection at once, and returns how long
// each answer took.
func drive(t *testing.T, n int, ask []func() error) []time.Duration {
	t.Helper()
	took := make([][]time.Duration, len(ask))
	var asking sync.WaitGroup
	for i, one := range ask {
		asking.Go(func() {
			for range n / len(ask) {
				began := time.Now()
				if err := one(); err != nil {
					t.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	asking.Wait()
	return slices.Sorted(slices.Values(slices.Concat(took...)))
}

// overHTTP asks over one connection of its own.
func overHTTP(method, url string, header map[string]string, body, want string) func() error {
	c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}
	return func() error {
		r, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			return err
		}
		for name, value := range header {
			r.Header[name] = []string{value}
		}
		res, err := c.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			return fmt.Errorf("%s: %d %s %w", url, res.StatusCode, text, err)
		}
		return nil
	}
}

func (s *wired) overGRPC(t *testing.T, key string) func() error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.envoy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	envoy := auth.NewAuthorizationClient(conn)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "muster-point-authorization", "Bearer "+key)
	request := &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: "203.0.113.7", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 40000}}}}},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Id: "1", Method: "GET", Scheme: "https", Host: "api.example.com", Path: "/payments/17", Protocol: "HTTP/2",
			Headers: map[string]string{
				":authority": "api.example.com", ":method": "GET", ":path": "/payments/17", ":scheme": "https", "authorization": "Bearer " + s.key,
				"user-agent": "settler/1.4", "accept": "*/*", "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https", "x-request-id": "7e0a3b0e-0000-4000-8000-000000000000",
			},
		}},
	}}
	return func() error {
		response, err := envoy.Check(ctx, request)
		if err == nil && response.GetOkResponse() == nil {
			err = fmt.Errorf("denied: %s", response.GetDeniedResponse().GetBody())
		}
		return err
	}
}

// profile writes down where the server's processor time goes for some seconds,
// if that was asked for, and returns what waits for it.
func (s *wired) profile(t *testing.T, name string) func() {
	t.Helper()
	if *profiles == "" {
		return func() {}
	}
	var taking sync.WaitGroup
	taking.Go(func() {
		res, err := http.Get(s.ops + "/debug/pprof/profile?seconds=5")
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		taken, err := io.ReadAll(res.Body)
		if err == nil {
			err = os.WriteFile(filepath.Join(*profiles, strings.ReplaceAll(name, " ", "-")+".pprof"), taken, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return taking.Wait
}

// yardstick is what one raw ES256 signature costs here and now.
func yardstick(t *testing.T) time.Duration {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("yardstick"))
	const n = 20_000
	began := cpu()
	for range n {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			t.Fatal(err)
		}
	}
	return (cpu() - began) / n
}

// TestADecisionOverTheWire measures what an answer costs the whole server:
// connection, protocol, route, credential, decision over a thousand policies,
// surprise, journal and all that runs beside.
func TestADecisionOverTheWire(t *testing.T) {
	s := newWired(t)
	nginx, zen, envoy := s.point(t, "nginx"), s.point(t, "authzen"), s.point(t, "envoy")
	forward := map[string]string{
		"Muster-Point-Authorization": "Bearer " + nginx, "Authorization": "Bearer " + s.key, "User-Agent": "settler/1.4", "X-Original-Method": "GET",
		"X-Original-Uri": "/payments/17", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com", "X-Forwarded-For": "203.0.113.7",
	}
	asked := map[string]string{"Authorization": "Bearer " + zen, "Content-Type": "application/json"}
	question := `{"subject":{"type":"identity","id":"` + s.identity + `"},"action":{"name":"read"},"resource":{"type":"api","id":"service-7/api"},"context":{"ip":"203.0.113.7","user_agent":"settler/1.4"}}`
	var text strings.Builder
	stick := yardstick(t)
	fmt.Fprintf(&text, "%d requests on %d connections over loopback, %d policies, sensitivity 1, an API key, every answer an allow.\nProcessor time is the server's process alone; a bare server says yes to everything and shows what the transport costs. A raw ES256 signature took %v.\n\n", wireRequests, wireConnections, wirePolicies, stick.Round(100*time.Nanosecond))
	text.WriteString("| way | processor time a request | in yardsticks | p50 | p99 | requests a second |\n|---|---|---|---|---|---|\n")
	bare := newBare(t)
	bare.identity, bare.key = s.identity, s.key
	for _, way := range []struct {
		name string
		of   *wired
		ask  func(*wired) func() error
	}{
		{"forward-auth", s, func(s *wired) func() error {
			return overHTTP(http.MethodGet, s.url+"/enforce/forward-auth", forward, "", "")
		}},
		{"AuthZEN evaluation", s, func(s *wired) func() error {
			return overHTTP(http.MethodPost, s.url+"/access/v1/evaluation", asked, question, `"decision":true`)
		}},
		{"ext_authz", s, func(s *wired) func() error { return s.overGRPC(t, envoy) }},
		{"a bare HTTP server, asked as forward-auth", bare, func(s *wired) func() error {
			return overHTTP(http.MethodGet, s.url+"/enforce/forward-auth", forward, "", "")
		}},
		{"a bare HTTP server, asked by AuthZEN", bare, func(s *wired) func() error {
			return overHTTP(http.MethodPost, s.url+"/access/v1/evaluation", asked, question, `"decision":true`)
		}},
		{"a bare gRPC server", bare, func(s *wired) func() error { return s.overGRPC(t, envoy) }},
	} {
		var ask []func() error
		for range wireConnections {
			ask = append(ask, way.ask(way.of))
		}
		drive(t, wireWarm, ask)
		taken := func() {}
		if way.of == s {
			taken = s.profile(t, way.name)
		}
		before, began := way.of.spent(t), time.Now()
		took := drive(t, wireRequests, ask)
		wall, spent := time.Since(began), way.of.spent(t)-before
		taken()
		if t.Failed() {
			t.FailNow()
		}
		each := spent / time.Duration(len(took))
		fmt.Fprintf(&text, "| %s | %.1f us | %.2f | %v | %v | %.0f |\n", way.name, float64(each.Nanoseconds())/1e3, float64(each)/float64(stick),
			took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond), float64(len(took))/wall.Seconds())
	}
	write(t, "wire.md", "A decision over the wire", text.String())
}
