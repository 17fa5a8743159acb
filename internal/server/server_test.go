package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/server/offline"
	"github.com/muster-id/muster/internal/store/enginetest"
)

// A running server for a test. It is stopped, and its stop checked, when the
// test ends.
type running struct {
	*Server
	t     *testing.T
	data  string
	api   *client.Client
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, data string, edit ...func(*config.Config)) *running {
	t.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.OpsListen, cfg.ExtAuthzListen, cfg.JournalReserve = "127.0.0.1:0", "127.0.0.1:0", config.Off, 1<<20
	for _, e := range edit {
		e(&cfg)
	}
	return startWith(t, data, func(s *Settings) { s.Config = cfg })
}

func startWith(t *testing.T, data string, edit func(*Settings)) *running {
	t.Helper()
	set := Settings{Data: data, Version: "test"}
	edit(&set)
	placeStore(t, &set)
	if there, err := os.ReadDir(data); set.Config.Store.URL == "" && len(there) == 0 && (err == nil || os.IsNotExist(err)) {
		enginetest.Fill(t, data) // what a server makes at its first start, and takes long for
	}
	ctx, cancel := context.WithCancel(t.Context())
	srv, err := New(ctx, set)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.New(srv.URL(), strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Server: srv, t: t, data: data, api: api, stop: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- srv.Run(ctx) }()
	t.Cleanup(func() { r.halt() })
	for deadline := time.Now().Add(time.Minute); srv.health.Report(ctx).Checks[0].Level == health.LevelFailed; {
		if time.Now().After(deadline) {
			t.Fatal("the server does not run")
		}
		time.Sleep(time.Millisecond)
	}
	return r
}

func (r *running) halt() {
	r.t.Helper()
	r.stop()
	if r.ended == nil {
		return
	}
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("stop: %v", err)
		}
	case <-time.After(30 * time.Second):
		r.t.Error("the server did not stop")
	}
	r.ended = nil
}

func (r *running) send(method, path string, request, reply any) {
	r.t.Helper()
	if err := r.api.Send(context.Background(), method, path, request, reply); err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (r *running) put(name, body string) {
	r.t.Helper()
	if err := r.api.Do(context.Background(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(body), nil); err != nil {
		r.t.Fatalf("apply %s: %v", name, err)
	}
}

// get reads what must be there.
func (r *running) get(path string, reply any) {
	r.t.Helper()
	if err := r.api.Get(context.Background(), path, nil, reply); err != nil {
		r.t.Fatalf("GET %s: %v", path, err)
	}
}

// until waits for something that happens behind an answer, such as learning.
func (r *running) until(what string, there func() bool) {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		woken := r.changed.Next()
		if there() {
			return
		}
		select {
		case <-woken:
		case <-time.After(20 * time.Millisecond): // not everything is a change
		case <-limit:
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// as returns a client with another key.
func (r *running) as(key string) *client.Client {
	r.t.Helper()
	c, err := client.New(r.URL(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// source enrols a source.
func (r *running) source(name, format string, accounts ...string) *client.Client {
	r.t.Helper()
	var e client.Enrolled
	r.send(http.MethodPost, "/v1/sources", client.AddSource{Name: name, Format: format, Accounts: accounts}, &e)
	return r.as(e.Key)
}

// post hands a text in at the door for forums and chats.
func (r *running) post(door *client.Client, text string) []client.SightingReply {
	r.t.Helper()
	var page client.Page[client.SightingReply]
	if err := door.Do(r.t.Context(), http.MethodPost, "/receive/text", "text/plain", strings.NewReader(text), &page); err != nil {
		r.t.Fatalf("post a text: %v", err)
	}
	return page.Items
}

func (r *running) findings(query string) []client.Finding {
	r.t.Helper()
	var page client.Page[client.Finding]
	r.get("/v1/findings?"+query, &page)
	return page.Items
}

// acts returns how often each act is in the audit log.
func (r *running) acts() map[string]int {
	r.t.Helper()
	var page client.Page[client.Entry]
	r.get("/v1/audit?limit=500", &page)
	count := map[string]int{}
	for _, a := range page.Items {
		count[a.Act]++
	}
	return count
}

// ask is one forward-auth question in nginx's dialect.
func (r *running) ask(point, authorization, method, uri, address string, more ...string) int {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.URL()+"/enforce/forward-auth", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Original-Method", method)
	req.Header.Set("X-Original-URI", uri)
	req.Header.Set("X-Forwarded-Proto", "https")
	req.Header.Set("X-Forwarded-Host", "api.example.com")
	req.Header.Set("X-Forwarded-For", address)
	req.Header.Set("User-Agent", "curl/8.5.0")
	if point != "" {
		req.Header.Set("Muster-Point-Authorization", "Bearer "+point)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for i := 0; i+1 < len(more); i += 2 {
		req.Header.Set(more[i], more[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

const (
	testResources = "- {id: payments/api, environment: production, sensitivity: 1, region: eu-west-1}\n"
	testRoutes    = "- {host: api.example.com, path: \"/payments/{id}\", methods: {GET: read, POST: write}, resource: payments/api}\n"
)

// furnish gives a server a point that enforces, a resource and an identity
// with a key.
func (r *running) furnish() (point string, key client.NewCredential) {
	r.t.Helper()
	r.put("resources.yaml", testResources)
	r.put("routes.yaml", testRoutes)
	var enrolled client.Enrolled
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "edge"}, &enrolled)
	enforce := "enforce"
	r.send(http.MethodPatch, "/v1/points/edge", client.SetPoint{Mode: &enforce}, nil)
	var who client.Identity
	r.send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "settler", Environment: "production", Owner: "team:payments"}, &who)
	r.send(http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &key)
	return enrolled.Key, key
}

func TestALeakedKeyIsContainedUndoneAndProven(t *testing.T) {
	r := start(t, t.TempDir())
	point, key := r.furnish()
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Fatalf("the rightful key gets %d, want 200", got)
	}
	if got := r.ask("", "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusUnauthorized {
		t.Errorf("without a point: %d, want 401", got)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "settings.yaml"), []byte("api_key: "+key.Key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var source client.Enrolled
	r.send(http.MethodPost, "/v1/sources", client.AddSource{Format: "scanner", Name: "ci"}, &source)
	reporting, err := client.New(r.URL(), source.Key)
	if err != nil {
		t.Fatal(err)
	}
	rep := &offline.Reporter{Client: reporting}
	replies := collect(rep)
	if _, err := offline.Scan(t.Context(), offline.ScanSettings{Path: folder, Reporter: rep}); err != nil {
		t.Fatal(err)
	}
	if len(*replies) != 1 || (*replies)[0].Verdict != "confirmed" || (*replies)[0].Action == nil {
		t.Fatalf("replies: %+v", *replies)
	}
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got == http.StatusOK {
		t.Error("the leaked key still gets through after its containment was acknowledged")
	}
	r.send(http.MethodPost, "/v1/actions/"+(*replies)[0].Action.ID+"/undo", map[string]string{"reason": "test"}, nil)
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Errorf("after undo: %d, want 200", got)
	}
	var acts client.Page[client.Entry]
	if err := r.api.Get(t.Context(), "/v1/audit", nil, &acts); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range acts.Items {
		names = append(names, a.Act)
	}
	for _, want := range []string{"credential.suspend", "action.undo", "point.enroll"} {
		if !strings.Contains(strings.Join(names, " "), want) {
			t.Errorf("%s is not in the audit log: %v", want, names)
		}
	}
}

// collect gathers every answer to a report.
func collect(r *offline.Reporter) *[]client.SightingReply {
	var got []client.SightingReply
	r.Replied = func(_ leak.Record, reply client.SightingReply) { got = append(got, reply) }
	return &got
}

func TestARestartKeepsWhatWasAcknowledged(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	point, key := r.furnish()
	r.halt()
	r = start(t, data)
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Errorf("after a restart the key gets %d, want 200", got)
	}
	if got := r.ask(point, "Bearer "+key.Key[:len(key.Key)-7]+"000000", "GET", "/payments/1", "203.0.113.7"); got != http.StatusUnauthorized {
		t.Errorf("a key with a wrong checksum gets %d, want 401", got)
	}
}

func TestEverythingElseIs401(t *testing.T) {
	r := start(t, t.TempDir())
	for _, path := range []string{"/v1/overview", "/v1/identities", "/v1/stream", "/receive/logs/cloudtrail", "/receive/text", "/v1/me", "/access/v1/evaluation", "/enforce/forward-auth"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			w := httptest.NewRecorder()
			r.handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("{}")))
			if w.Code != http.StatusUnauthorized && w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
				t.Errorf("%s %s without a key: %d, want 401", method, path, w.Code)
			}
		}
	}
}

func TestReadinessNamesEachPart(t *testing.T) {
	r := start(t, t.TempDir())
	res, err := http.Get(r.OpsURL() + "/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	list, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		t.Errorf("readyz: %d %s", res.StatusCode, list)
	}
	for _, name := range []string{"store", "stream", "facts", "journal", "audit", "routes", "learning", "clock", "disk", "network data", "notices"} {
		if !strings.Contains(string(list), "\n"+name+": ") {
			t.Errorf("readyz does not name %s:\n%s", name, list)
		}
	}
	res, err = http.Get(r.OpsURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	for _, want := range []string{"muster_decisions_total", "muster_generation", "muster_events_total"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("metrics lack %s: %d %.300s", want, res.StatusCode, text)
		}
	}
}

func TestASecondServerOnTheSameFolderIsRefusedByName(t *testing.T) {
	data := t.TempDir()
	start(t, data)
	cfg := config.Default()
	cfg.Listen, cfg.OpsListen, cfg.ExtAuthzListen = "127.0.0.1:0", "127.0.0.1:0", config.Off
	_, err := New(t.Context(), Settings{Data: data, Config: cfg})
	if err == nil || !strings.Contains(err.Error(), data) {
		t.Errorf("second server: %v, want a refusal that names %s", err, data)
	}
}
