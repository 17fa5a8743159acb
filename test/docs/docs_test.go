// Package docs_test does what the documentation says: it plays every shell
// block of the tutorials, the guides and the reference, in the order of the
// page, with the real program in a folder of the page's own. A page that nobody
// can follow fails here.
//
// A comment before a block, which readers do not see, tells what a reader knows
// without being told:
//
//	<!-- test: file NAME -->           the block is this file
//	<!-- test: before COMMAND -->      do this first: what the reader has at home
//	<!-- test: serve [ARGS] -->        a server that the reader has running, with its administrator's token
//	<!-- test: receivers -->           a mail server and a channel of chat that the reader has
//	<!-- test: let TEXT = COMMAND -->  TEXT in this and later blocks stands for what COMMAND prints
//	<!-- test: status N -->            the block ends with this status
//	<!-- test: skip REASON -->         the block cannot be played here, because
//
// $ROOT is the folder of the source. `muster serve` goes to the background until
// the page starts it again or ends. The addresses that the documentation uses become free ports, and
// /var/lib/muster and /etc/muster folders of the page. The examples of
// reference/cli.md are checked where they are written, in package cli.
package docs_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/muster-id/muster/docs"
	"github.com/muster-id/muster/internal/cli"
)

// TestMain is the program itself when it is called by that name, and a second
// one that readers have at home: some-logs FILE writes a month of an account's
// CloudTrail.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "muster":
	case "some-logs":
		if err := someLogs(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	default:
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, "v0.0.0-test", os.Args[1:], cli.System()))
}

func someLogs(name string) error {
	start := time.Now().Add(-30 * 24 * time.Hour).UTC().Truncate(time.Hour)
	var records []map[string]any
	for i := range 30 * 24 {
		records = append(records, map[string]any{
			"eventVersion": "1.09", "eventTime": start.Add(time.Duration(i) * time.Hour).Format(time.RFC3339), "eventSource": "s3.amazonaws.com",
			"eventName": [...]string{"GetObject", "PutObject", "ListObjectsV2"}[i%3], "awsRegion": "eu-central-1", "sourceIPAddress": "3.120.10.20",
			"userAgent": "aws-sdk-go-v2/1.30.0 os/linux lang/go#1.26", "eventID": fmt.Sprintf("00000000-0000-4000-8000-%012d", i),
			"eventType": "AwsApiCall", "eventCategory": "Management", "recipientAccountId": "210987654321",
			"userIdentity": map[string]any{
				"type": "IAMUser", "principalId": "AIDATCPLM4VYSETTLEM01", "arn": "arn:aws:iam::210987654321:user/services/settlement",
				"accountId": "210987654321", "userName": "settlement",
			},
		})
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	return errors.Join(json.NewEncoder(z).Encode(map[string]any{"Records": records}), z.Close(), f.Close())
}

// A block is one fenced part of a page.
type block struct {
	line int
	info string
	body string
	told []string // the directives before it
}

var directive = regexp.MustCompile(`^<!-- test: (.*) -->$`)

// blocks reads the fences of a page.
func blocks(t *testing.T, page string, source []byte) []block {
	t.Helper()
	var all []block
	var open *block
	var told []string
	for n, line := range strings.Split(string(source), "\n") {
		mark := strings.HasPrefix(strings.TrimSpace(line), "```")
		switch d := directive.FindStringSubmatch(line); {
		case open != nil && mark:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.body += line + "\n"
		case mark:
			open = &block{line: n + 2, info: strings.Trim(strings.TrimSpace(line), "`"), told: told}
			told = nil
		case d != nil:
			told = append(told, d[1])
		case len(told) > 0 && strings.TrimSpace(line) != "":
			t.Fatalf("%s:%d: no block follows %q", page, n+1, told)
		}
	}
	if open != nil || len(told) > 0 {
		t.Fatalf("%s ends within a block, or after a directive", page)
	}
	return all
}

func TestTheDocumentationDoesWhatItSays(t *testing.T) {
	played := 0
	for _, folder := range []string{"tutorial", "guide", "reference"} {
		pages, err := fs.Glob(docs.Files, folder+"/*.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range pages {
			if name == "reference/cli.md" {
				continue
			}
			source, err := fs.ReadFile(docs.Files, name)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(strings.TrimSuffix(name, ".md"), func(t *testing.T) {
				p := newPage(t, name)
				for _, b := range blocks(t, name, source) {
					if p.play(b) {
						played++
					}
				}
			})
		}
	}
	if played < 20 {
		t.Errorf("only %d blocks were played: the pages are not what this test reads", played)
	}
}

// A page is one page being followed.
type page struct {
	t       *testing.T
	name    string
	folder  string
	root    string // of the source
	listen  string
	ops     string
	words   []string // old, new, old, new
	running *exec.Cmd
	log     bytes.Buffer
	ended   chan struct{}
}

func newPage(t *testing.T, name string) *page {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, name: name, folder: t.TempDir(), root: root, listen: free(t), ops: free(t)}
	bin := filepath.Join(p.folder, ".bin")
	self, err := os.Executable()
	if err == nil {
		err = os.Mkdir(bin, 0o755)
	}
	for _, program := range []string{"muster", "some-logs"} {
		if err == nil {
			err = os.Symlink(self, filepath.Join(bin, program))
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(p.folder, ".env"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.words = []string{
		"127.0.0.1:8700", p.listen, "127.0.0.1:8701", p.ops, "/var/lib/muster", p.folder + "/var-lib-muster", "/etc/muster", p.folder + "/etc-muster",
	}
	t.Cleanup(p.stop)
	return p
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// play follows one block and reports whether there was something to do.
func (p *page) play(b block) bool {
	p.t.Helper()
	at := fmt.Sprintf("%s:%d", p.name, b.line)
	status, file := 0, ""
	for _, told := range b.told {
		word, rest, _ := strings.Cut(told, " ")
		switch word {
		case "skip":
			if len(rest) < 10 {
				p.t.Errorf("%s: say why the block is not played", at)
			}
			return false
		case "file":
			file = rest
		case "before":
			p.shell(at, rest, 0)
		case "serve":
			p.serve(at, "muster serve --data .data "+rest)
			p.shell(at, "export MUSTER_TOKEN=$(cat .data/admin.token)", 0)
		case "receivers":
			p.receivers()
		case "let":
			text, command, ok := strings.Cut(rest, " = ")
			if !ok {
				p.t.Fatalf("%s: want `let TEXT = COMMAND`", at)
			}
			value := strings.TrimSpace(p.shell(at, command, 0))
			if value == "" || value == "null" {
				p.t.Fatalf("%s: %s printed nothing that %s could stand for", at, command, text)
			}
			p.words = append(p.words, text, value)
		case "status":
			n, err := strconv.Atoi(rest)
			if err != nil {
				p.t.Fatalf("%s: status %q", at, rest)
			}
			status = n
		default:
			p.t.Fatalf("%s: no directive is called %q", at, word)
		}
	}
	switch {
	case file != "":
		name := filepath.Join(p.folder, file)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(p.real(b.body)), 0o600); err != nil {
			p.t.Fatal(err)
		}
	case b.info == "yaml":
		var any any
		if err := yaml.Unmarshal([]byte(b.body), &any); err != nil {
			p.t.Errorf("%s: no YAML: %v", at, err)
		}
	case b.info == "" || slices.Contains([]string{"sh", "shell", "bash", "console"}, b.info):
		p.commands(at, b.body, status)
		return true
	}
	return false
}

// real puts the words of this run in the place of the page's.
func (p *page) real(text string) string {
	for i := len(p.words) - 2; i >= 0; i -= 2 {
		text = strings.ReplaceAll(text, p.words[i], p.words[i+1])
	}
	return text
}

var serving = regexp.MustCompile(`(?m)^muster serve(?:[^\n]*\\\n)*[^\n]*\n`)

// commands runs a block; a server in it goes to the background.
func (p *page) commands(at, body string, status int) {
	p.t.Helper()
	for {
		found := serving.FindStringIndex(body)
		if found == nil {
			break
		}
		if before := body[:found[0]]; strings.TrimSpace(before) != "" {
			p.shell(at, before, 0)
		}
		p.serve(at, body[found[0]:found[1]])
		body = body[found[1]:]
	}
	if strings.TrimSpace(body) != "" {
		p.shell(at, body, status)
	}
}

const patience = 2 * time.Minute

// shell runs a script in the page's folder. What it exports, later ones see.
func (p *page) shell(at, script string, status int) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	cmd := p.command(ctx, "set -eu -o pipefail\n. ./.env\ntrap 'export -p > .env' EXIT\n"+p.real(script))
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("%s: status %d (%v), want %d\n%s\nprinted: %.2000s\nsaid: %.2000s\nserver: %.4000s", at, got, err, status, script, out.String(), words.String(), p.log.String())
	}
	return out.String()
}

func (p *page) command(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = p.folder
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MUSTER_") }) // the tests' own, no reader's
	cmd.Env = append(cmd.Env, "ROOT="+p.root, "PATH="+filepath.Join(p.folder, ".bin")+":"+os.Getenv("PATH"), "HOME="+p.folder, "NO_COLOR=1", "MUSTER_SERVER=http://"+p.listen)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// serve starts a server in the place of the one that runs, and waits until it
// is ready.
func (p *page) serve(at, line string) {
	p.t.Helper()
	p.stop()
	line = strings.TrimSpace(p.real(line))
	if !strings.Contains(line, "--listen") {
		line += " --listen " + p.listen
	}
	if !strings.Contains(line, "--ops-listen") {
		line += " --ops-listen " + p.ops
	}
	if !strings.Contains(line, "--ext-authz-listen") {
		line += " --ext-authz-listen 127.0.0.1:0"
	}
	cmd := p.command(p.t.Context(), ". ./.env\nexec "+line)
	p.log.Reset()
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("%s: %v", at, err)
	}
	p.running, p.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) { defer close(ended); _ = cmd.Wait() }(p.ended) // ends in stop
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		select {
		case <-p.ended:
			p.t.Fatalf("%s: %s\nended: %s", at, line, p.log.String())
		case <-late:
			p.t.Fatalf("%s: %s\nis not ready after %v", at, line, patience)
		case <-tick.C:
		}
		if res, err := http.Get("http://" + p.ops + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
	}
}

// stop ends the server as its user would.
func (p *page) stop() {
	if p.running == nil {
		return
	}
	_ = p.running.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = syscall.Kill(-p.running.Process.Pid, syscall.SIGKILL)
		p.t.Errorf("%s: the server did not stop", p.name)
		<-p.ended
	}
	p.running = nil
}

func TestEveryFenceSaysWhatItHolds(t *testing.T) {
	known := []string{"", "sh", "shell", "bash", "console", "yaml", "json", "nginx", "cedar", "sql", "text", "http", "go", "caddyfile", "haproxy", "lua", "ini", "promql", "css", "ts"}
	err := fs.WalkDir(docs.Files, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".md" {
			return err
		}
		source, err := fs.ReadFile(docs.Files, name)
		if err != nil {
			return err
		}
		for _, b := range blocks(t, name, source) {
			if !slices.Contains(known, b.info) {
				t.Errorf("%s:%d: nobody knows the language %q", name, b.line, b.info)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
