// Package e2e_test meets the product as its users do: each .txtar file here is
// a session at a shell, with the real program, a real server on ports of its
// own and real files. `go test ./test/e2e -run 'TestScripts/scan'` plays one;
// -update rewrites the expected output in it.
//
// Beside the commands of testscript a script may use:
//
//	status N PROGRAM ARGS...   run it; its exit status must be N
//	capture NAME               put what was just printed into a variable
//	serve DATA [ARGS...]       start a server and wait until it is ready; sets
//	                           MUSTER_SERVER, OPS, and MUSTER_TOKEN to the
//	                           first administrator's
//	halt                       end it as an operator would, and wait
//	database NAME              the address of an empty database in PostgreSQL
//	plant KIND FILE            write a file with a fresh secret: aws, github, pem
//	embed FILE VALUE           write a file with a value in the middle of code
//	trail FILE quiet|theft     write a CloudTrail in the form the name says:
//	                           .json, .ndjson, each with or without .gz
//	forge KEY                  set FORGED to KEY with another secret and a good checksum
//	hostile FOLDER             a file in it whose name attacks terminals
//	world FOLDER KEY           an account whose every text attacks: exports, log, tree with KEY
//	besiege METHOD PATH BODY   send each attack as NAME in BODY; it is taken or refused clearly
//	answers PATH...            each answers 200 with JSON; NAME in it is each attack in turn
//	page PATH...               the same for HTML, which must not give it back as markup
//	harmless N PROGRAM ARGS... status, and nothing printed attacks terminal, eye or spreadsheet
//	exactly FILE               the printable attacks stand in the JSON array, once, unchanged
//	receiver CONFIG            start receivers of webhooks, mail and chat, and write the configuration for them
//	accuse                     report the key of every identity of the world as leaked
//	delivered                  wait for mail and chat about each of them; all must be harmless
//	noticed TEXT               wait for a notice with TEXT; all notices must be harmless
//	field FILE NAME            print one field of a JSON object
//	ask METHOD PATH KEY        ask the point whose key is POINT, as nginx does, with curl
//	eventually PROGRAM ARGS... run it until it prints something
//	watching PROGRAM ARGS...   run it in the background, once it says that it watches;
//	watched 0|interrupt        wait for its end, or interrupt it; it must exit with 0
//	perm FILE MODE             the permissions must be so
//	absent TEXT FOLDER         TEXT must stand in no file of the folder
//	copy FOLDER NEW            copy a folder; append FILE TEXT: add a line
//	cut FILE BYTES             take bytes off the end
//	flip FILE TEXT             change one bit of TEXT where it stands first
//
// Secrets are made when a script runs; the repository holds none.
package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/muster-id/muster/internal/cli"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

func TestMain(m *testing.M) {
	natstest.Main()
	testscript.Main(m, map[string]func(){"muster": muster})
}

// muster is cmd/muster in this binary.
func muster() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, "v0.0.0-test", os.Args[1:], cli.System()))
}

func want(ts *testscript.TestScript, neg bool, args []string, least int, usage string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "status N PROGRAM ARGS...")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != n {
		ts.Fatalf("exit status %d, want %d", got, n)
	}
}

func capture(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "capture NAME")
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if value == "" || value == "null" {
		ts.Fatalf("nothing was printed that %s could be", args[0])
	}
	ts.Setenv(args[0], value)
}

// A running is a server in the background of one script.
type running struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer // complete once done is closed
	done chan struct{}
	err  error
}

const patience = 60 * time.Second

func serve(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "serve DATA [ARGS...]")
	data := ts.MkAbs(args[0])
	line := append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--ext-authz-listen", "127.0.0.1:0"}, args[1:]...)
	program, err := lookPath(ts, "muster")
	ts.Check(err)
	cmd := exec.Command(program, line...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "HOME="+ts.MkAbs("."), "NO_COLOR=1")
	for _, variable := range ts.Value(groundKey{}).(ground)(data) {
		cmd.Env = append(cmd.Env, variable)
		name, value, _ := strings.Cut(variable, "=")
		ts.Setenv(name, value) // commands that work on the folder of a server at rest find the same state
	}
	words, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	r := &running{cmd: cmd, log: &bytes.Buffer{}, done: make(chan struct{})}
	addresses := make(chan [2]string, 1)
	go r.follow(words, addresses)
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended long ago
		<-r.done
		if r.log.Len() > 0 {
			ts.Logf("[server]\n%s", r.log)
		}
	})
	select {
	case <-r.done:
		ts.Fatalf("the server ended: %v\n%s", r.err, r.log)
	case <-time.After(patience):
		ts.Fatalf("the server does not say where it serves")
	case at := <-addresses:
		ts.Setenv("MUSTER_SERVER", at[0])
		ts.Setenv("OPS", at[1])
	}
	ready(ts, ts.Getenv("OPS")+"/readyz")
	ts.Setenv("MUSTER_TOKEN", strings.TrimSpace(ts.ReadFile(filepath.Join(data, "admin.token"))))
	ts.Setenv("server", strconv.Itoa(cmd.Process.Pid))
	servers.Lock()
	servers.of[cmd.Process.Pid] = r
	servers.Unlock()
}

// follow reads what the server says, and waits for its end.
func (r *running) follow(words io.Reader, addresses chan<- [2]string) {
	defer close(r.done)
	lines := bufio.NewScanner(words)
	var at [2]string
	for lines.Scan() {
		fmt.Fprintln(r.log, lines.Text())
		if _, url, ok := strings.Cut(lines.Text(), " serves "); ok && at[0] == "" {
			at[0] = url
		}
		if url, ok := strings.CutPrefix(lines.Text(), "health and metrics at "); ok {
			at[1] = url
			addresses <- at
		}
	}
	r.err = r.cmd.Wait()
}

// ready waits until an address answers 200.
func ready(ts *testscript.TestScript, url string) {
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := http.Get(url)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-deadline:
			ts.Fatalf("%s is not ready: %v", url, err)
		case <-tick.C:
		}
	}
}

func halt(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, "halt")
	pid, err := strconv.Atoi(ts.Getenv("server"))
	ts.Check(err)
	servers.Lock()
	r := servers.of[pid]
	servers.Unlock()
	ts.Check(r.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-r.done:
	case <-time.After(patience):
		ts.Fatalf("the server does not stop")
	}
	if r.err != nil {
		ts.Fatalf("the server did not stop cleanly: %v\n%s", r.err, r.log)
	}
}

// lookPath finds a program in the script's PATH, not the test's.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, name); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not in PATH: %w", name, exec.ErrNotFound)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

func perm(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "perm FILE MODE")
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

func absent(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "absent TEXT FOLDER")
	if len(args[0]) < 8 {
		ts.Fatalf("%q is too short to be looked for", args[0])
	}
	read := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[1]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		if bytes.Contains(data, []byte(args[0])) {
			return fmt.Errorf("it stands in %s", path)
		}
		return nil
	}))
	if read == 0 {
		ts.Fatalf("%s has no files", args[1])
	}
}

func cut(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "cut FILE BYTES")
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	path := only(ts, args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, max(0, info.Size()-n)))
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "flip FILE TEXT")
	path := only(ts, args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	i := bytes.Index(data, []byte(args[1]))
	if i < 0 {
		ts.Fatalf("%s does not hold %q", path, args[1])
	}
	data[i] ^= 1
	ts.Check(os.WriteFile(path, data, 0o600))
}

// only is the one file that matches a pattern.
func only(ts *testscript.TestScript, pattern string) string {
	files, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("%s matches %d files, want 1", pattern, len(files))
	}
	return files[0]
}
