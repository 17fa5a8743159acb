package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/muster-id/muster/client"
)

// raw sends a request as it is, with the administrator's token and headers in
// pairs.
func (r *running) raw(method, path, body string, header ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(r.data, "admin.token"))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, string(text)
}

// identity makes an identity and a key of it.
func (r *running) identity(name string) (client.Identity, client.NewCredential) {
	r.t.Helper()
	var i client.Identity
	r.send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: name, Environment: "production"}, &i)
	var key client.NewCredential
	r.send(http.MethodPost, "/v1/identities/"+i.ID+"/credentials", client.CreateCredential{}, &key)
	return i, key
}

// A locked buffer holds what was logged.
type locked struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestSearchFindsWhatWasPastedAndKeepsNothingOfIt(t *testing.T) {
	logged := &locked{}
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	r := start(t, t.TempDir())
	r.imported()
	settler, key := r.identity("settler")
	const partner = "pt-live-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
	var registered client.Credential
	r.send(http.MethodPost, "/v1/identities/"+settler.ID+"/credentials/register", client.RegisterCredential{Kind: "registered-key", Value: partner}, &registered)
	var ci client.Page[client.Identity]
	r.get("/v1/identities?"+url.Values{"filter": {"name:settlement"}}.Encode(), &ci)
	if len(ci.Items) != 1 {
		t.Fatalf("imported %+v", ci)
	}
	for _, tt := range []struct{ what, text, kind, id string }{
		{"an issued key, by its verifier", key.Key, "credential", key.ID},
		{"an issued key within a line", "KEY=" + key.Key + " # do not commit", "credential", key.ID},
		{"a registered key, by its fingerprint", partner, "credential", registered.ID},
		{"an ARN", ci.Items[0].Path, "identity", ci.Items[0].ID},
		{"an access key id", accessKey, "identity", ci.Items[0].ID},
		{"the id of an identity", settler.ID, "identity", settler.ID},
		{"the id of a credential", key.ID, "credential", key.ID},
		{"a name", "settler", "identity", settler.ID},
		{"the beginning of a name", "settl", "identity", settler.ID},
	} {
		var got client.SearchResult
		r.send(http.MethodPost, "/v1/search", client.Search{Text: tt.text}, &got)
		if !slices.ContainsFunc(got.Results, func(f client.Found) bool { return f.Kind == tt.kind && f.ID == tt.id }) {
			t.Errorf("%s: found %+v", tt.what, got)
		}
	}
	stranger := forge(t, key.Key)
	var got client.SearchResult
	r.send(http.MethodPost, "/v1/search", client.Search{Text: stranger}, &got)
	if !got.Secret || slices.ContainsFunc(got.Results, func(f client.Found) bool { return strings.HasPrefix(f.Detail, "the value") }) {
		t.Errorf("a forged key: %+v", got)
	}
	var trail client.Page[client.Entry]
	r.get("/v1/audit?limit=500", &trail)
	entries, err := json.Marshal(trail)
	if err != nil {
		t.Fatal(err)
	}
	r.halt()
	for _, secret := range []string{key.Key, partner, stranger} {
		if strings.Contains(string(entries), secret) {
			t.Error("the audit log holds what was pasted")
		}
		if strings.Contains(logged.String(), secret) {
			t.Error("the log holds what was pasted")
		}
		if file := search(t, r.data, secret); file != "" {
			t.Errorf("%s holds what was pasted", file)
		}
	}
}

func TestFacetsLineageAndCredentialsOfARunningServer(t *testing.T) {
	r := start(t, t.TempDir())
	r.imported()
	settler, key := r.identity("settler")
	r.post(r.source("chat", "text"), "see "+key.Key)
	var lineage client.Lineage
	r.until("the place where the key was seen", func() bool {
		r.get("/v1/identities/"+settler.ID+"/lineage", &lineage)
		return len(lineage.StoredIn) == 1
	})
	if lineage.Identity != settler.ID || lineage.StoredIn[0].Credential != key.ID || lineage.StoredIn[0].Verdict != "confirmed" || len(lineage.Origin) == 0 {
		t.Errorf("lineage is %+v", lineage)
	}
	var facets client.Facets
	r.get("/v1/identities/facets?"+url.Values{"filter": {"name:settler kind:service-account"}}.Encode(), &facets)
	count := map[string]int{}
	for _, f := range facets.Facets {
		for _, v := range f.Values {
			count[f.Field+":"+v.Value] = v.Count
		}
	}
	if facets.Total != 1 || count["kind:service-account"] != 1 || count["environment:production"] != 1 {
		t.Errorf("total %d, facets %v", facets.Total, count)
	}
	var page client.Page[client.Credential]
	r.get("/v1/credentials?"+url.Values{"filter": {"identity:" + settler.ID + " kind:api-key"}, "order": {"-created"}}.Encode(), &page)
	if len(page.Items) != 1 || page.Items[0].ID != key.ID || page.Total != 1 {
		t.Errorf("credentials are %+v", page)
	}
}

func TestAChangeOfWhatSomebodyElseChangedIs412(t *testing.T) {
	r := start(t, t.TempDir())
	r.furnish()
	settler, key := r.identity("settler2")
	r.post(r.source("chat", "text"), "see "+key.Key)
	r.until("a finding", func() bool { return len(r.findings("identity="+settler.ID)) == 1 })
	var points client.Page[client.Point]
	r.get("/v1/points", &points)
	finding := "/v1/findings/" + r.findings("identity=" + settler.ID)[0].ID
	for _, tt := range []struct{ what, read, method, path, one, two string }{
		{"owner", "/v1/identities/" + settler.ID, "PUT", "/v1/identities/" + settler.ID + "/owner", `{"owner":"team:a"}`, `{"owner":"team:b"}`},
		{"finding", finding, "PATCH", finding, `{"status":"acknowledged"}`, `{"status":"resolved"}`},
		{"point", "", "PATCH", "/v1/points/" + points.Items[0].ID, `{"mode":"enforce"}`, `{"mode":"observe"}`},
		{"document", "/v1/documents/resources.yaml", "PUT", "/v1/documents/resources.yaml", testResources + "\n", testResources + "# again\n"},
		{"view", "", "PUT", "/v1/views/mine", `{"name":"a","page":"identities","query":""}`, `{"name":"b","page":"identities","query":""}`},
	} {
		kind := []string{"Content-Type", "application/json"}
		if tt.what == "document" {
			kind[1] = "text/plain"
		}
		tag := ""
		if tt.read != "" {
			res, _ := r.raw("GET", tt.read, "")
			tag = res.Header.Get("ETag")
		} else {
			res, text := r.raw(tt.method, tt.path, tt.two, kind...)
			if tag = res.Header.Get("ETag"); res.StatusCode >= 300 {
				t.Fatalf("%s: %d %s", tt.what, res.StatusCode, text)
			}
		}
		if tag == "" {
			t.Errorf("%s has no tag", tt.what)
			continue
		}
		if res, text := r.raw(tt.method, tt.path, tt.one, append(kind, "If-Match", tag)...); res.StatusCode >= 300 || res.Header.Get("ETag") == tag {
			t.Errorf("%s with the tag that was read: %d %s", tt.what, res.StatusCode, text)
		}
		if res, text := r.raw(tt.method, tt.path, tt.two, append(kind, "If-Match", tag)...); res.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("%s with an old tag: %d %s", tt.what, res.StatusCode, text)
		}
	}
}

// secretOf returns the key or link that a reply shows.
func secretOf(reply string) string {
	var made struct{ Key, URL string }
	if json.Unmarshal([]byte(reply), &made) != nil || made.Key+made.URL == "" {
		return reply
	}
	return made.Key + made.URL
}
