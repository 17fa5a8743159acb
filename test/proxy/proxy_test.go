// Package proxy_test puts real proxies in front of an application, each
// configured with exactly the lines of its guide, and lets clients attack: first
// with a real Muster behind them, then with one that is broken in every way a
// server can be. What counts is what reaches the application.
//
// It needs nginx, Caddy and HAProxy (scripts/need packages). Where one is
// missing its tests are skipped, unless MUSTER_NEED_PROXIES is set.
package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/docs"
	"github.com/muster-id/muster/internal/cli"
)

// TestMain is the program itself when it is called by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "muster" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, "v0.0.0-test", os.Args[1:], cli.System()))
}

const patience = 90 * time.Second

// free is an address on loopback that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// until waits for something that a program does after it was started.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// said is what a program wrote; it may be read while the program writes.
type said struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// start runs a program until the test ends. A program that ends by itself
// fails the test.
func start(t *testing.T, cmd *exec.Cmd) *said {
	t.Helper()
	out := &said{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		select {
		case <-ended:
			t.Errorf("%s ended by itself:\n%s", cmd.Path, out)
			return
		default:
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("%s does not stop", cmd.Path)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, out)
		}
	})
	return out
}

// A site is a place where a proxy is put up.
type site struct {
	dir     string // of the proxy alone
	address string // where it listens
	muster  string // whom it asks
	app     string // what it guards
	key     string // the point's
	tls     *front // nil: clients speak plain
}

// fence returns the first block of a language in a guide.
func fence(t *testing.T, page, language string) string {
	t.Helper()
	return fenceBelow(t, page, "", language)
}

// fenceBelow returns the first block of a language below a line of a guide.
func fenceBelow(t *testing.T, page, line, language string) string {
	t.Helper()
	source, err := fs.ReadFile(docs.Files, "guide/"+page)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(source), line)
	_, rest, opened := strings.Cut(text, "\n```"+language+"\n")
	body, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !opened || !closed {
		t.Fatalf("docs/guide/%s has no block of %s below %q", page, language, line)
	}
	return body + "\n"
}

// fill puts the addresses and files of a site where the guide has the reader's.
// Each must be there, or the guide says something else than what is tested.
func fill(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the guide has no %q any more:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A proxy is a real program and how it is put up as its guide says.
type proxy struct {
	name    string // of the program, and of its dialect
	command func(t *testing.T, s site, program string) *exec.Cmd
}

var proxies = []proxy{
	{"nginx", func(t *testing.T, s site, program string) *exec.Cmd {
		guide := fill(t, fence(t, "nginx.md", "nginx"), "127.0.0.1:8700", s.muster, "127.0.0.1:9000", s.app, "/etc/nginx/muster-point.conf", s.dir+"/muster-point.conf")
		if s.tls == nil {
			guide = fill(t, guide, "443 ssl;", s.address+";")
			write(t, s.dir, "muster-point.conf", fmt.Sprintf("proxy_set_header Muster-Point-Authorization \"Bearer %s\";\n", s.key))
		} else {
			guide = s.tls.nginx(t, s, guide)
		}
		temp := ""
		for _, part := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			temp += fmt.Sprintf("%s_temp_path %s/temp-%s;\n", part, s.dir, part)
		}
		conf := write(t, s.dir, "nginx.conf", "daemon off; worker_processes 1; pid "+s.dir+"/pid; error_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n"+temp+guide+"}\n")
		args := []string{"-e", "stderr", "-c", conf}
		if os.Getuid() == 0 { // or its workers could not enter the folder
			args = append(args, "-g", "user root;")
		}
		return exec.Command(program, args...)
	}},
	{"caddy", func(t *testing.T, s site, program string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(s.address)
		guide := fill(t, fence(t, "caddy.md", "caddyfile"), "127.0.0.1:8700", s.muster, "127.0.0.1:9000", s.app)
		if s.tls == nil {
			guide = fill(t, guide, "payments.example {", "http://payments.example:"+port+" {\n\tbind 127.0.0.1")
		} else {
			guide = s.tls.caddy(t, port, guide)
		}
		conf := write(t, s.dir, "Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n"+guide)
		cmd := exec.Command(program, "run", "--adapter", "caddyfile", "--config", conf)
		cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir, "MUSTER_POINT_KEY="+s.key)
		return cmd
	}},
	{"haproxy", func(t *testing.T, s site, program string) *exec.Cmd {
		write(t, s.dir, "muster-point.key", s.key+"\n")
		action, guide := fence(t, "haproxy.md", "lua"), fence(t, "haproxy.md", "haproxy")
		if s.tls == nil {
			guide = fill(t, guide, ":443 ssl crt /etc/haproxy/payments.pem", s.address)
		} else {
			action, guide = s.tls.haproxy(t, s, action, guide)
		}
		write(t, s.dir, "muster.lua", fill(t, action, "127.0.0.1:8700", s.muster, "/etc/haproxy", s.dir))
		conf := write(t, s.dir, "haproxy.cfg", fill(t, guide, "127.0.0.1:9000", s.app, "/etc/haproxy", s.dir))
		return exec.Command(program, "-db", "-f", conf)
	}},
}

// put puts a proxy up at a site and waits until it listens.
func (p proxy) put(t *testing.T, s site) site {
	t.Helper()
	program, err := exec.LookPath(p.name)
	if err != nil {
		program = "/usr/sbin/" + p.name
		if _, err := os.Stat(program); err != nil {
			if os.Getenv("MUSTER_NEED_PROXIES") != "" {
				t.Fatalf("%s is missing: run scripts/need packages", p.name)
			}
			t.Skipf("%s is not installed: scripts/need packages", p.name)
		}
	}
	s.dir, s.address = t.TempDir(), free(t)
	out := start(t, p.command(t, s, program))
	t.Cleanup(func() {
		if strings.Contains(out.String(), s.key) {
			t.Errorf("%s wrote the point's key into its log", p.name)
		}
	})
	until(t, p.name+" to listen", func() bool { return listens(s.address) })
	return s
}

// An app remembers what reached it.
type app struct {
	address string
	mu      sync.Mutex // guards seen
	seen    []*http.Request
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.address = l.Addr().String()
	srv := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.seen = append(a.seen, r)
		a.mu.Unlock()
		_, _ = fmt.Fprintf(w, "app got %d bytes", len(body))
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
	})
	return a
}

// take returns what reached the application since the last time.
func (a *app) take() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// An answer is what a client got; a connection that was cut is status 0.
type answer struct {
	status int
	header http.Header
	body   string
}

// send writes a request as it is, byte for byte, and reads the answer.
func send(t *testing.T, address, request string) answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	return sendOn(conn, request)
}

// sendOn is send on a connection, which it closes.
func sendOn(conn net.Conn, request string) answer {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		return answer{}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{}
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	return answer{res.StatusCode, res.Header, string(body)}
}

// A muster is the real program, furnished with routes and an identity that has
// a key.
type muster struct {
	address  string
	api      *client.Client
	identity string
	key      string
}

// newMuster starts one, with settings beside those that tests need.
func newMuster(t *testing.T, settings ...string) *muster {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	program := filepath.Join(dir, "muster")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	config := write(t, dir, "muster.yaml", "journal_reserve: 1048576\n"+strings.Join(settings, ""))
	out := start(t, exec.Command(program, "serve", "--data", data, "--config", config, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--ext-authz-listen", "off"))
	said := func(before string) string {
		_, rest, found := strings.Cut(out.String(), before)
		line, _, whole := strings.Cut(rest, "\n")
		if !found || !whole {
			return ""
		}
		return line
	}
	until(t, "the server", func() bool {
		res, err := http.Get(said("health and metrics at ") + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	url := said(" serves ")
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.New(url, strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	m := &muster{address: strings.TrimPrefix(url, "http://"), api: api}
	m.put(t, "resources.yaml", "- {id: payments/api, environment: production, sensitivity: 1}\n")
	m.put(t, "routes.yaml", "- {host: payments.example, path: \"/payments/{id}\", methods: {GET: read, POST: write}, resource: payments/api}\n")
	var who client.Identity
	m.send(t, http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "settler", Environment: "production", Owner: "team:payments"}, &who)
	var key client.NewCredential
	m.send(t, http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &key)
	m.identity, m.key = who.ID, key.Key
	return m
}

func (m *muster) put(t *testing.T, name, body string) {
	t.Helper()
	if err := m.api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(body), nil); err != nil {
		t.Fatal(err)
	}
}

func (m *muster) send(t *testing.T, method, path string, request, reply any) {
	t.Helper()
	if err := m.api.Send(t.Context(), method, path, request, reply); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// point enrolls one that enforces and returns its key.
func (m *muster) point(t *testing.T, dialect string) string {
	t.Helper()
	var enrolled client.Enrolled
	m.send(t, http.MethodPost, "/v1/points", client.EnrollPoint{Name: "edge-" + dialect, Dialect: dialect}, &enrolled)
	enforce := "enforce"
	m.send(t, http.MethodPatch, "/v1/points/edge-"+dialect, client.SetPoint{Mode: &enforce}, nil)
	return enrolled.Key
}
