package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
)

// A peer is a server in a process of its own on loopback, with one set of
// policies.
type peer struct {
	name   string
	pid    int
	url    string
	header http.Header
	body   func(*request) any
	allows string // what an answer holds that allows, and no other does
}

// programs are what is run: Muster and OPA are built, Cerbos comes from npm.
type programs struct {
	muster, opa, cerbos string
	without             string // why there is no Cerbos
}

func compile(t *testing.T, dir, out, what string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), out)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, what)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", what, err, said)
	}
	return path
}

// newPrograms makes ready what is to be run. Cerbos may be missing: npm has it
// for one platform, and npm may not be there.
func newPrograms(t *testing.T) programs {
	t.Helper()
	p := programs{
		muster: compile(t, "..", "muster", "./cmd/muster"),
		opa:    compile(t, ".", "opa", "github.com/open-policy-agent/opa"),
		cerbos: filepath.Join("cerbos", "node_modules", "@cerbos", "cerbos-linux-x64", "cerbos-linux-x64"),
	}
	if _, err := os.Stat(p.cerbos); err != nil {
		cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
		cmd.Dir = "cerbos"
		said, err := cmd.CombinedOutput()
		if err == nil {
			_, err = os.Stat(p.cerbos)
		}
		if err != nil {
			p.without = fmt.Sprintf("npm does not bring it: %v", err)
			t.Logf("\n\nCERBOS IS NOT MEASURED: %s\n%s\n", p.without, said)
		}
	}
	return p
}

// run starts a program and stops it at the end of the test, or earlier by stop.
// What it says can be read.
func run(t *testing.T, program string, args ...string) (pid int, said func() string, stop func()) {
	t.Helper()
	words, err := os.Create(filepath.Join(t.TempDir(), "words"))
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	said = func() string { b, _ := os.ReadFile(words.Name()); return string(b) }
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = words, words
	cmd.Env = append(os.Environ(), "CERBOS_NO_TELEMETRY=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var stopped bool
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
	}
	t.Cleanup(stop)
	return cmd.Process.Pid, said, stop
}

// free returns an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await asks until the answer is good.
func await(t *testing.T, url string, said func() string) {
	t.Helper()
	limit := time.Now().Add(3 * time.Minute)
	for {
		res, err := http.Get(url)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(limit) {
			t.Fatalf("%s does not become ready: %v\n%s", url, err, said())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A home is a Muster server with the crowd in its inventory.
type home struct {
	peer
	api   *client.Client
	crowd []member
}

// newHome starts Muster. Guards alone permit nothing: only a grant does.
func newHome(t *testing.T, program string) *home {
	t.Helper()
	dir := t.TempDir()
	var config strings.Builder
	config.WriteString("guards: {require_grant: true}\nenvironments:\n")
	for i := range crowdEnvironments {
		name, class := environment(i)
		fmt.Fprintf(&config, "- {name: %s, class: %s, accounts: [none]}\n", name, class)
	}
	config.WriteString("- {name: production, class: production, accounts: [none]}\n- {name: nonproduction, class: nonproduction, accounts: [none]}\n")
	file, data, at, ops := filepath.Join(dir, "muster.yaml"), filepath.Join(dir, "data"), free(t), free(t)
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &home{peer: peer{name: "Muster", url: "http://" + at + "/access/v1/evaluation", body: (*request).asAuthZEN, allows: `"decision":true`}}
	pid, said, _ := run(t, program, "serve", "--data", data, "--config", file, "--listen", at, "--ops-listen", ops, "--ext-authz-listen", "off")
	h.pid = pid
	await(t, "http://"+ops+"/readyz", said)
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	if h.api, err = client.New("http://"+at, strings.TrimSpace(string(token))); err != nil {
		t.Fatal(err)
	}
	h.furnish(t)
	return h
}

func (h *home) furnish(t *testing.T) {
	t.Helper()
	for i := range crowdIdentities {
		m := member{known: true, owned: i%11 != 0}
		m.environment, m.class = environment(i % crowdEnvironments)
		asked := client.CreateIdentity{Name: fmt.Sprintf("member-%d", i), Environment: m.environment}
		if m.owned {
			asked.Owner = "team:bench"
		}
		var made client.Identity
		if err := h.api.Send(t.Context(), http.MethodPost, "/v1/identities", asked, &made); err != nil {
			t.Fatal(err)
		}
		m.id = made.ID
		h.crowd = append(h.crowd, m)
	}
	var resources strings.Builder
	for i := range crowdResources {
		r := resource(i)
		fmt.Fprintf(&resources, "- {id: %s, environment: %s, sensitivity: %d}\n", r.name, r.class, r.sensitivity)
	}
	h.apply(t, "resources.yaml", resources.String())
	var point client.Enrolled
	if err := h.api.Send(t.Context(), http.MethodPost, "/v1/points", client.EnrollPoint{Name: "bench", Dialect: "authzen"}, &point); err != nil {
		t.Fatal(err)
	}
	enforce := "enforce"
	if err := h.api.Send(t.Context(), http.MethodPatch, "/v1/points/bench", client.SetPoint{Mode: &enforce}, nil); err != nil {
		t.Fatal(err)
	}
	h.header = http.Header{"Authorization": {"Bearer " + point.Key}}
}

func (h *home) apply(t *testing.T, name, text string) {
	t.Helper()
	if err := h.api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(text), nil); err != nil {
		t.Fatal(err)
	}
}

// newOPA starts OPA with the guards and n grants. It is told no telemetry, no
// decision log; it answers with the reasons, as Muster does.
func newOPA(t *testing.T, program string, crowd []member, n int) (*peer, func()) {
	t.Helper()
	const base = "permit contains \"base-permit\"\n"
	if !strings.Contains(guards, base) {
		t.Fatal("guards.rego has no base permit to take out")
	}
	dir, at := t.TempDir(), free(t)
	files := map[string]string{"guards.rego": strings.Replace(guards, base, "", 1), "grants.rego": inRego(crowd, n)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pid, said, stop := run(t, program, "run", "--server", "--addr", at, "--log-level", "error", "--skip-version-check", filepath.Join(dir, "guards.rego"), filepath.Join(dir, "grants.rego"))
	await(t, "http://"+at+"/health", said)
	return &peer{name: "OPA", pid: pid, url: "http://" + at + "/v1/data/muster/ruling", body: (*request).asOPA, allows: `"outcome":"allow"`}, stop
}

// newCerbos starts Cerbos with the guards and n grants, without telemetry,
// without an audit log.
func newCerbos(t *testing.T, program string, crowd []member, n int) (*peer, func()) {
	t.Helper()
	files, err := inCerbos(crowd, n)
	if err != nil {
		t.Fatal(err)
	}
	dir, at := t.TempDir(), free(t)
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(t.TempDir(), "cerbos.yaml")
	text := fmt.Sprintf("server: {httpListenAddr: %q, grpcListenAddr: %q}\nstorage: {driver: disk, disk: {directory: %q, watchForChanges: false}}\ntelemetry: {disabled: true}\n", at, free(t), dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pid, said, stop := run(t, program, "server", "--log-level=error", "--config="+config)
	await(t, "http://"+at+"/_cerbos/health", said)
	return &peer{name: "Cerbos", pid: pid, url: "http://" + at + "/api/check/resources", body: (*request).asCerbos, allows: `"EFFECT_ALLOW"`}, stop
}

// encode writes the requests in the peer's own form.
func (p *peer) encode(t *testing.T, rs []request) [][]byte {
	t.Helper()
	out := make([][]byte, len(rs))
	for i := range rs {
		body, err := json.Marshal(p.body(&rs[i]))
		if err != nil {
			t.Fatal(err)
		}
		out[i] = body
	}
	return out
}

// ask sends one request and reports whether it is allowed.
func (p *peer) ask(ctx context.Context, c *http.Client, body []byte) (bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	for name, values := range p.header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := c.Do(r)
	if err != nil {
		return false, err
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return false, err
	}
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s: %d %.300s", p.name, res.StatusCode, text)
	}
	return bytes.Contains(text, []byte(p.allows)), nil
}

// spent is the processor time of the peer's process, in ticks of 10 ms.
func (p *peer) spent(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is the memory of the peer's process, in MB.
func (p *peer) resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kb >> 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
