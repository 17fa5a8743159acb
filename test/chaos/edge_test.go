package chaos

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
)

// A branch is a point that decides by itself, in a process of its own.
type branch struct {
	child  // data, url, ops and the process; nothing else of it
	server string
	key    string // of the point
	caller string // key of who asks
}

func (b *branch) start(t *testing.T) {
	t.Helper()
	file := filepath.Join(filepath.Dir(b.data), "point.key")
	if err := os.WriteFile(file, []byte(b.key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.out, b.ended = &lines{}, make(chan error, 1)
	b.cmd = exec.Command(muster, "point", "run", "branch", "--server", b.server, "--key-file", file, "--data", b.data,
		"--listen", strings.TrimPrefix(b.url, "http://"), "--ops-listen", strings.TrimPrefix(b.ops, "http://"))
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.out
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.ended <- b.cmd.Wait() }() // ends with the process
	t.Cleanup(func() { _ = b.cmd.Process.Kill() })
	b.await(t)
}

// ask asks about a request and returns the status, the decision's id when it
// passes, and why when not.
func (b *branch) ask(t *testing.T, uri string) (status int, decision, why string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/enforce/forward-auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"Muster-Point-Authorization": "Bearer " + b.key, "Authorization": "Bearer " + b.caller, "X-Original-Method": "GET", "X-Original-URI": uri,
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": "branch.example", "X-Forwarded-For": "203.0.113.7",
	} {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("ask the point: %v\n%s", err, b.out)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Muster-Decision"), string(body)
}

// until asks until the answer is this one.
func (b *branch) until(t *testing.T, uri string, status int, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, _, because := b.ask(t, uri)
		if got == status && strings.Contains(because, why) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is answered %d %s, want %d %s\n%s", uri, got, because, status, why, b.out)
		case <-tick.C:
		}
	}
}

// TestAPointGoesOnWhenItsServerIsKilledAndSoIsIt kills the server and then the
// point, and looks that the point goes on as far as it may, from its disk, and that
// the server has every decision that was answered once both are back.
func TestAPointGoesOnWhenItsServerIsKilledAndSoIsIt(t *testing.T) {
	c := newChild(t)
	c.settings = "decisions: {log_first: 1}\n" // an answer is on record first
	c.start(t)
	api := c.operator(t)
	send := func(method, path string, in, out any) {
		t.Helper()
		if err := api.Send(t.Context(), method, path, in, out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	for name, body := range map[string]string{
		"resources.yaml": "- {id: notes, environment: production, sensitivity: 1}\n- {id: money, environment: production, sensitivity: 2}\n",
		"routes.yaml":    "- {host: branch.example, path: /notes, methods: {GET: read}, resource: notes}\n- {host: branch.example, path: /money, methods: {GET: read}, resource: money}\n",
	} {
		if err := api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(body), nil); err != nil {
			t.Fatal(err)
		}
	}
	var point client.Enrolled
	send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "branch"}, &point)
	send(http.MethodPatch, "/v1/points/branch", client.SetPoint{Mode: new("enforce")}, nil)
	var who client.Identity
	send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "clerk", Environment: "production", Owner: "team:branch"}, &who)
	var key client.NewCredential
	send(http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &key)

	b := &branch{child: *newChild(t), server: c.url, key: point.Key, caller: key.Key}
	b.start(t)
	b.until(t, "/money", http.StatusOK, "")
	c.kill(t)
	b.until(t, "/money", http.StatusForbidden, "lease-none")
	answered := map[string]bool{}
	pass := func() {
		t.Helper()
		for range 25 {
			status, id, why := b.ask(t, "/notes")
			if status != http.StatusOK || id == "" {
				t.Fatalf("without its server the point answers %d %s\n%s", status, why, b.out)
			}
			answered[id] = true
		}
		if status, _, why := b.ask(t, "/money"); status != http.StatusForbidden || !strings.Contains(why, "lease-none") {
			t.Errorf("what is sensitive is answered %d %s", status, why)
		}
	}
	pass()
	for range 2 {
		b.kill(t)
		b.start(t)
		pass()
	}
	c.start(t)
	b.until(t, "/money", http.StatusOK, "")
	deadline := time.Now().Add(90 * time.Second)
	for missing := len(answered); missing > 0; {
		var page client.Page[client.Decision]
		if err := api.Get(t.Context(), "/v1/decisions?limit=500", nil, &page); err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, d := range page.Items {
			if seen[d.ID]++; d.PointName == "branch" && d.Reported {
				missing -= map[bool]int{true: 1}[answered[d.ID] && seen[d.ID] == 1]
			}
			if seen[d.ID] > 1 {
				t.Fatalf("decision %s is on record twice", d.ID)
			}
		}
		if missing > 0 {
			if missing = len(answered); time.Now().After(deadline) {
				t.Fatalf("some of %d answered decisions never reached the server\n%s", len(answered), b.out)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	b.stop(t)
	c.stop(t)
}
