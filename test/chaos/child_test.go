// Package chaos breaks a real server on purpose: it kills the process at random
// moments and looks whether what was acknowledged is there afterwards, and it
// plants secrets in everything that comes in and looks for them everywhere.
package chaos

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
)

// muster is the program under test; TestMain builds it.
var muster string

// builtVariable names the program for a test that starts itself once more.
const builtVariable = "CHAOS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	natstest.Main()
	// What runs side by side here waits most of the time, for leases and facts to
	// grow old: more of it at a time than there are processors costs nobody.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err)
		}
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "muster-chaos-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		muster = filepath.Join(dir, "muster")
		if built := os.Getenv(builtVariable); built != "" { // this is a test that runs once more
			muster = built
			return m.Run()
		}
		if err := os.Chmod(dir, 0o711); err != nil { // some children run as another user
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if out, err := exec.Command("go", "build", "-o", muster, "../../cmd/muster").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build muster: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// A child is a server in a process of its own.
type child struct {
	cmd   *exec.Cmd
	out   *lines
	ended chan error
	data  string
	url   string
	ops   string
	env   []string // where the state and the stream are, if not in data

	settings string              // more lines of the configuration
	user     *syscall.Credential // whose process it is; nil: ours
}

// lines is what a child wrote; it may be read while the child writes.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// free returns an address on loopback that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts a server on a data folder and waits until it is ready. The
// addresses are those of c, so that a server comes back where it was.
func (c *child) start(t *testing.T) {
	t.Helper()
	c.out, c.ended = &lines{}, make(chan error, 1)
	c.cmd = c.command(t)
	c.cmd.Env = append(os.Environ(), c.env...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }() // ends with the process
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	c.await(t)
}

// command is how the server is started.
func (c *child) command(t *testing.T) *exec.Cmd {
	t.Helper()
	_, listen, _ := strings.Cut(c.url, "://")
	_, ops, _ := strings.Cut(c.ops, "://")
	cmd := exec.Command(muster, "serve", "--debug", "--data", c.data, "--config", c.configure(t), "--listen", listen, "--ops-listen", ops, "--ext-authz-listen", "off")
	if c.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user}
		cmd.Dir = "/"
	}
	return cmd
}

// configure writes the configuration. A server that runs takes most of it up.
func (c *child) configure(t *testing.T) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(c.data), "muster.yaml")
	text := c.settings
	if !strings.Contains(text, "journal_reserve") {
		text += "journal_reserve: 4194304\n"
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return path
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// reload writes the configuration anew and tells the server.
func (c *child) reload(t *testing.T) {
	t.Helper()
	c.configure(t)
	if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// await waits until the server is ready.
func (c *child) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.ops+"/readyz", nil); err == nil {
			if res, err := http.DefaultClient.Do(req); err == nil {
				res.Body.Close()
				if res.StatusCode == http.StatusOK {
					return
				}
			}
		}
		select {
		case err := <-c.ended:
			t.Fatalf("the server ended before it was ready: %v\n%s", err, c.out)
		case <-ctx.Done():
			t.Fatalf("the server is not ready after a minute:\n%s", c.out)
		case <-tick.C:
		}
	}
}

// kill ends the server as the power going out does.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill: %v", err)
	}
	<-c.ended
}

// stop ends the server as an administrator does.
func (c *child) stop(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stop: %v", err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			t.Errorf("a server that was told to stop ended with %v:\n%s", err, c.out)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("the server does not stop:\n%s", c.out)
	}
}

// operator is a client with the first administrator's token.
func (c *child) operator(t *testing.T) *client.Client {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(c.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return c.as(t, strings.TrimSpace(string(token)))
}

func (c *child) as(t *testing.T, key string) *client.Client {
	t.Helper()
	api, err := client.New(c.url, key)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func newChild(t *testing.T) *child {
	t.Helper()
	return &child{data: filepath.Join(t.TempDir(), "data"), url: "http://" + free(t), ops: "http://" + free(t)}
}
