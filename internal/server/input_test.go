package server

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// endless yields n bytes of one character.
type endless struct {
	c byte
	n int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := int(min(e.n, int64(len(p))))
	for i := range p[:n] {
		p[i] = e.c
	}
	e.n -= int64(n)
	return n, nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestALineWithoutEndCostsNoMemory(t *testing.T) {
	r := start(t, t.TempDir())
	logs := r.source("trail", "cloudtrail", account)
	before := heap()
	peak := before
	var got client.Received
	var err error
	watched := &watching{Reader: &endless{'a', 48 << 20}, every: 12 << 20, look: func() { peak = max(peak, heap()) }}
	if got, err = logs.ReceiveLogs(t.Context(), "cloudtrail", io.MultiReader(watched, strings.NewReader("\n"), trail(event{id: "1", user: "u"}))); err != nil {
		t.Fatal(err)
	}
	if got.Unparsable != 1 || got.Events != 1 {
		t.Errorf("received %+v, want the line as one piece and the event behind it", got)
	}
	if grown := int64(peak) - int64(before); grown > 24<<20 {
		t.Errorf("a line of 48 MB made the heap grow by %d MB", grown>>20)
	}
}

// watching looks around every so many bytes.
type watching struct {
	io.Reader
	every, next, at int64
	look            func()
}

func (w *watching) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if w.at += int64(n); w.at >= w.next {
		w.next += w.every
		w.look()
	}
	return n, err
}

func TestABombIsDefused(t *testing.T) {
	r := start(t, t.TempDir())
	logs := r.source("trail", "cloudtrail", account)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.Copy(z, &endless{'[', 4 << 20}); err != nil { // deep as well
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := logs.ReceiveLogs(t.Context(), "cloudtrail", &bomb); err == nil && got.Events != 0 {
		t.Errorf("received %+v", got)
	}
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	for _, path := range []string{"/v1/identities", "/v1/points", "/v1/sources"} {
		err := r.api.Do(t.Context(), http.MethodPost, path, "application/json", strings.NewReader(deep), nil)
		if s := status(err); s != http.StatusBadRequest && s != http.StatusUnprocessableEntity {
			t.Errorf("deep JSON to %s: %v", path, err)
		}
	}
	door := r.source("forum", "text")
	for name, body := range map[string]io.Reader{"deep": strings.NewReader(deep), "invalid UTF-8": strings.NewReader("{\"text\":\"\xff\xfe\"}"), "too large": &endless{'a', 2 << 20}} {
		err := door.Do(t.Context(), http.MethodPost, "/receive/text", "application/json", body, nil)
		if s := status(err); s == http.StatusInternalServerError || err == nil && name != "invalid UTF-8" {
			t.Errorf("%s to the door for texts: %v", name, err)
		}
	}
	err := r.api.Do(t.Context(), http.MethodPut, "/v1/documents/routes.yaml", "text/plain", &endless{'a', 9 << 20}, nil)
	if status(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("a document of 9 MB: %v, want 413", err)
	}
}

func TestSecretsInWhatIAMExportsAreNotKept(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	secret := key.Mint(key.API).Reveal()
	text := fmt.Sprintf(`{"UserDetailList":[{"UserName":"u","UserId":%q,"Path":"/","Arn":"arn:aws:iam::%s:user/u","CreateDate":"2024-01-01T00:00:00Z",
		"Tags":[{"Key":"token","Value":%q},{"Key":"owner","Value":%q}],
		"UserPolicyList":[{"PolicyName":"p","PolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:UserAgent":%q}}}]}}]}]}`,
		userID("u"), account, secret, secret, secret)
	if _, err := r.api.ImportAWS(t.Context(), map[string]io.Reader{"authorization-details": strings.NewReader(text)}); err != nil {
		t.Fatal(err)
	}
	var d client.IdentityDetail
	r.get("/v1/identities/"+string(awsID("u")), &d)
	if strings.Contains(fmt.Sprintf("%+v", d), secret) {
		t.Error("the secret is shown")
	}
	if len(d.Grants) == 0 || !strings.Contains(d.Grants[0].Document, "s3:*") {
		t.Errorf("the rest of the policy is gone: %+v", d.Grants)
	}
	r.halt()
	if where := search(t, data, secret); where != "" {
		t.Errorf("the secret is in %s", where)
	}
}

func TestWhatPeopleWriteIsCleanedBeforeItIsKept(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	_, cred := r.furnish()
	reply := r.post(r.source("forum", "text"), "oops "+cred.Key)
	other := key.Mint(key.API).Reveal()
	r.send(http.MethodPost, "/v1/actions/"+reply[0].Action.ID+"/undo", map[string]string{"reason": "it was " + other}, nil)
	r.send(http.MethodPatch, "/v1/findings/"+reply[0].Finding, client.SetFinding{Status: string(nhi.Dismissed), Reason: "see " + other}, nil)
	ci := r.source("ci", "scanner")
	r.report(ci, client.ReportSighting{
		Rule: "r " + other, Provider: other, Kind: other, PublicID: other,
		Place: client.Place{Kind: other, Name: "https://x.example/?token=" + other, Commit: other},
	})
	r.halt()
	if where := search(t, data, other); where != "" {
		t.Errorf("the secret is in %s", where)
	}
}
