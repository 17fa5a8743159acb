// Package pgtest starts private PostgreSQL servers for tests, from the
// programs that are installed on the machine. They run as an ordinary user,
// listen on a Unix socket in a folder of their own and nowhere else, and end
// with the test process however that ends.
//
// [Database] gives a fresh database in a server that all tests of the process
// share; it has fsync off. [New] starts a server of the test's own, which
// it may kill.
//
// Where the programs are missing a test is skipped, and says what to install,
// but never in CI: there, or with MUSTER_NEED_POSTGRES set, it fails.
package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// patience is how long a server may take to start or to stop.
const patience = 30 * time.Second

// A Cluster is one private server and its data.
type Cluster struct {
	dir     string // data, socket and log lie in it
	bin     string
	durable bool

	mu  sync.Mutex // guards what follows
	cmd *exec.Cmd  // nil while the server is down
}

// Bin returns the folder of the newest installed server's programs, or "".
func Bin() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int { return release(b) - release(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0])
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

func release(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// Need skips t when PostgreSQL is not installed, or fails it where that must
// not be.
func Need(t testing.TB) string {
	t.Helper()
	bin := Bin()
	if bin != "" {
		return bin
	}
	const text = "PostgreSQL's programs are not installed; on Debian: apt-get install postgresql"
	if os.Getenv("CI") != "" || os.Getenv("MUSTER_NEED_POSTGRES") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// shared is the server that the tests of a process use together.
var shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
	count   atomic.Uint64
}

// Database returns the address of a fresh database in the shared server. It
// stays until the process ends.
func Database(t testing.TB) string {
	t.Helper()
	bin := Need(t)
	shared.once.Do(func() { shared.cluster, shared.err = start(bin, false) })
	if shared.err != nil {
		t.Fatalf("start PostgreSQL: %v", shared.err)
	}
	name := fmt.Sprintf("test%d", shared.count.Add(1))
	shared.cluster.Create(t, name)
	return shared.cluster.URL(name)
}

// Copy returns the address of a copy of a database that [Database] made and
// that nobody is connected to any more.
func Copy(t testing.TB, from string) string {
	t.Helper()
	u, err := url.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test%d", shared.count.Add(1))
	shared.cluster.Exec(t, "postgres", `CREATE DATABASE "`+name+`" TEMPLATE "`+strings.TrimPrefix(u.Path, "/")+`"`)
	return shared.cluster.URL(name)
}

// New starts a server for this test alone. What a durable one acknowledges
// survives a loss of power; what any acknowledges survives Kill.
func New(t testing.TB, durable bool) *Cluster {
	t.Helper()
	c, err := start(Need(t), durable)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(c.Stop)
	return c
}

// template is the data folder that every server of the process begins with.
var template = sync.OnceValues(func() (string, error) {
	bin := Bin()
	dir, err := folder()
	if err != nil {
		return "", err
	}
	data := filepath.Join(dir, "data")
	cmd := ordinary(exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "muster", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--wal-segsize=4", "--no-sync", "--no-instructions"))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	return data, nil
})

// folder makes a folder that the server's user owns and that disappears with
// this process, after the servers in it were stopped.
func folder() (string, error) {
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return "", err
	}
	if id := credential(); id != nil {
		if err := os.Chown(dir, int(id.Uid), int(id.Gid)); err != nil {
			return "", err
		}
	}
	const watch = `cat >/dev/null
		if pid=$(head -n1 "$1/data/postmaster.pid" 2>/dev/null); then
			kill -QUIT "$pid"
			while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
		fi
		rm -rf "$1"`
	cmd := exec.Command("sh", "-c", watch, "sh", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The other end closes when this process ends, by whatever.
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	held.Store(dir, in)
	go func() { _ = cmd.Wait() }()
	return dir, nil
}

// held keeps the pipes to the watchers open.
var held sync.Map

// ordinary runs a command as a user without privileges, as PostgreSQL wants.
func ordinary(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(), Setpgid: true}
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	return cmd
}

// credential is nobody's when this process is root's, else nil.
func credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	id := &syscall.Credential{Uid: 65534, Gid: 65534}
	if u, err := user.Lookup("nobody"); err == nil {
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		id.Uid, id.Gid = uint32(uid), uint32(gid)
	}
	return id
}

func start(bin string, durable bool) (*Cluster, error) {
	from, err := template()
	if err != nil {
		return nil, err
	}
	dir, err := folder()
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, bin: bin, durable: durable}
	if out, err := ordinary(exec.Command("cp", "-a", from, c.data())).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy the template: %w: %s", err, out)
	}
	return c, c.run()
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) run() error {
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	sync := "off"
	if c.durable {
		sync = "on"
	}
	cmd := ordinary(exec.Command(filepath.Join(c.bin, "postgres"), "-D", c.data(), "-k", c.dir, "-c", "listen_addresses=",
		"-c", "fsync="+sync, "-c", "full_page_writes="+sync, "-c", "shared_buffers=16MB", "-c", "max_connections=60",
		"-c", "autovacuum=off", "-c", "logging_collector=off", "-c", "max_wal_size=64MB", "-c", "min_wal_size=32MB"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd = cmd
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	return c.ready(ended)
}

// ready waits until the server takes connections.
func (c *Cluster) ready(ended <-chan struct{}) error {
	db, err := sql.Open("pgx", c.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("the server ended: %s", c.Log())
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", err, c.Log())
		}
	}
}

// Log returns the end of what the server wrote to its log.
func (c *Cluster) Log() string {
	f, err := os.Open(filepath.Join(c.dir, "log"))
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 4096 {
		_, _ = f.Seek(-4096, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	return string(bytes.TrimSpace(b))
}

// URL returns the address of a database of the server. It holds no password.
func (c *Cluster) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("muster"), Path: "/" + database, RawQuery: url.Values{"host": {c.dir}}.Encode()}
	return u.String()
}

// Create makes an empty database.
func (c *Cluster) Create(t testing.TB, database string) {
	t.Helper()
	c.Exec(t, "postgres", `CREATE DATABASE "`+database+`"`)
}

// Exec runs one statement as the owner of everything.
func (c *Cluster) Exec(t testing.TB, database, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("pgx", c.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Start starts a server that was stopped or killed.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	// After a kill, old sessions may hold the memory for a moment.
	until := time.Now().Add(patience)
	for {
		err := c.run()
		if err == nil {
			return
		}
		c.cmd = nil
		if time.Now().After(until) {
			t.Fatalf("start PostgreSQL again: %v", err)
		}
		runtime.Gosched()
	}
}

// Stop ends the server in an orderly way, as an administrator restarts it:
// sessions are cut off, commits are written.
func (c *Cluster) Stop() { c.end(syscall.SIGINT) }

// Kill ends the server and all its sessions with SIGKILL.
func (c *Cluster) Kill() { c.end(syscall.SIGKILL) }

func (c *Cluster) end(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return
	}
	pid := c.cmd.Process.Pid
	family := children(pid)
	_ = syscall.Kill(pid, sig)
	if sig == syscall.SIGKILL {
		for _, child := range family {
			_ = syscall.Kill(child, sig)
		}
	}
	until := time.Now().Add(patience)
	for syscall.Kill(pid, 0) == nil && time.Now().Before(until) {
		time.Sleep(5 * time.Millisecond) // the process table has no event to wait for
	}
	c.cmd = nil
}

// children returns the processes that pid started.
func children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, field := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(field); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// Freeze stops every process of the server without ending it, as a machine
// that hangs, until Thaw.
func (c *Cluster) Freeze() { c.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (c *Cluster) Thaw() { c.signal(syscall.SIGCONT) }

func (c *Cluster) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return
	}
	for _, pid := range append(children(c.cmd.Process.Pid), c.cmd.Process.Pid) {
		_ = syscall.Kill(pid, sig)
	}
}

// CPU is how much processor time the shared server has used; 0 while there is
// none.
func CPU() time.Duration {
	if shared.cluster == nil {
		return 0
	}
	return shared.cluster.CPU()
}

// CPU is how much processor time the server has used, to a hundredth of a
// second; 0 while it is down, and where the system does not tell.
func (c *Cluster) CPU() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return 0
	}
	main := strconv.Itoa(c.cmd.Process.Pid)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var ticks int64
	for _, file := range stats {
		text, _ := os.ReadFile(file)
		_, rest, ok := strings.Cut(string(text), ") ")
		f := strings.Fields(rest)
		if !ok || len(f) < 15 {
			continue
		}
		count := 0 // of utime, stime and those of children that ended
		switch {
		case filepath.Base(filepath.Dir(file)) == main:
			count = 4
		case f[1] == main:
			count = 2
		}
		for _, t := range f[11 : 11+count] {
			n, _ := strconv.ParseInt(t, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
