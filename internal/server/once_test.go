package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
)

// A writing is one request to a route that changes something, with what it
// changes.
type writing struct {
	route, path string
	by          *client.Client // nil: the administrator
	kind        string         // content type; empty: JSON
	body, other string         // a request, and another one to the same path
	again       string         // the same request in other bytes; empty: body
	shown       bool           // holds a secret, which is not shown again
	answer      bool           // its effect is its answer, which is another each time
	effect      func() string  // differs with each time it happens; nil: the acts of people in the audit log
}

// form is an upload with a boundary of its own.
func form(boundary, details string) string {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(boundary); err != nil {
		panic(err)
	}
	part, err := w.CreateFormFile("authorization-details", "details.json")
	if err == nil {
		_, err = io.WriteString(part, details)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // memory does not fail
	}
	return b.String()
}

// writes are requests to every route that writes.
func (h *household) writes() []writing {
	id := h.key.Identity
	session, other := h.browser(h.person), h.signed("bob")
	var token client.NewToken
	h.send(http.MethodPost, "/v1/tokens", client.CreateToken{Name: "doomed"}, &token)
	h.send(http.MethodPut, "/v1/views/gone", client.PutView{Name: "Gone", Page: "identities"}, nil)
	text := func(path string) func() string {
		return func() string { _, text := h.raw("GET", path, ""); return text }
	}
	reported := func() string { return fmt.Sprint(len(h.findings("limit=500")), text("/v1/sources")()) }
	past := h.pastSnapshot()
	return []writing{
		{route: "POST /v1/identities", body: `{"name":"once","environment":"production"}`, other: `{"name":"two","environment":"production"}`},
		{route: "PUT /v1/identities/{id}/owner", path: "/v1/identities/" + id + "/owner", body: `{"owner":"team:a"}`, other: `{"owner":"team:b"}`},
		{route: "POST /v1/identities/{id}/credentials", path: "/v1/identities/" + id + "/credentials", body: `{}`, other: `{"expires_in":60}`, shown: true},
		{
			route: "POST /v1/identities/{id}/credentials/register", path: "/v1/identities/" + id + "/credentials/register",
			body: `{"kind":"registered-key","value":"pt-live-1122334455667788990011223344"}`, other: `{"kind":"registered-key","value":"pt-live-5566778899001122334455667788"}`,
		},
		{route: "PUT /v1/credentials/{id}/pin", path: "/v1/credentials/" + h.key.ID + "/pin", body: `{"consumer":"` + id + `"}`, other: `{"consumer":""}`},
		{route: "PUT /v1/views/{id}", path: "/v1/views/mine", body: `{"name":"a","page":"identities","query":""}`, other: `{"name":"b","page":"identities","query":""}`, effect: text("/v1/views")},
		{route: "DELETE /v1/views/{id}", path: "/v1/views/gone", other: `{}`, effect: text("/v1/views")},
		{route: "PATCH /v1/findings/{id}", path: "/v1/findings/" + h.leaked.Finding, body: `{"status":"acknowledged"}`, other: `{"status":"open"}`},
		{route: "POST /v1/actions/{id}/approve", path: "/v1/actions/" + h.proposed.Action.ID + "/approve", body: `{"reason":"seen"}`, other: `{"reason":"heard"}`},
		{route: "POST /v1/actions/{id}/undo", path: "/v1/actions/" + h.leaked.Action.ID + "/undo", body: `{"reason":"a drill"}`, other: `{"reason":"a mistake"}`},
		{route: "POST /v1/approvals/{id}/approve", path: "/v1/approvals/" + h.asked("apr_1", id) + "/approve", body: `{"comment":"seen"}`, other: `{"comment":"heard"}`},
		{route: "POST /v1/approvals/{id}/deny", path: "/v1/approvals/" + h.asked("apr_2", id) + "/deny", body: `{"comment":"seen"}`, other: `{"comment":"heard"}`},
		{route: "POST /v1/approvals/{id}/cancel", path: "/v1/approvals/" + h.asked("apr_3", id) + "/cancel", other: `{}`},
		{route: "POST /v1/points", body: `{"name":"gate"}`, other: `{"name":"door"}`, shown: true},
		{route: "PATCH /v1/points/{id}", path: "/v1/points/edge", body: `{"percent":10}`, other: `{"percent":20}`},
		{route: "POST /v1/points/{id}/break-glass", path: "/v1/points/edge/break-glass", by: h.browsing("mara"), other: `{}`, shown: true},
		{route: "DELETE /v1/points/{id}/break-glass/{serial}", path: "/v1/points/edge/break-glass/" + h.glassHalf("edge"), other: `{}`},
		{route: "POST /v1/sources", body: `{"name":"mail","format":"text"}`, other: `{"name":"wiki","format":"text"}`, shown: true},
		{route: "PUT /v1/documents/{name}", path: "/v1/documents/resources.yaml", kind: "text/plain", body: testResources + "# once\n", other: testResources + "# two\n"},
		{
			route: "POST /v1/inventory/imports/aws", kind: "multipart/form-data; boundary=one", body: form("one", details("settlement", "mailer")),
			again: form("another", details("settlement", "mailer")), other: form("one", details("mailer")),
		},
		{route: "PUT /v1/policies/shadow", body: `{"files":{"x.cedar":""}}`, other: `{"files":{}}`},
		{route: "DELETE /v1/policies/shadow", other: `{}`},
		{route: "POST /v1/policies/promotion/{step}", path: h.promoting("/v1/policies/promotion/pause"), body: `{"reason":"look"}`, other: `{"reason":"wait"}`},
		{route: "POST /v1/policies/promotion/acknowledgements", body: `{"policy":"promoted","reason":"meant"}`, other: `{"policy":"promoted","reason":"also meant"}`},
		{route: "POST /v1/links", other: `{}`, shown: true},
		{route: "DELETE /v1/sessions/{id}", path: "/v1/sessions/" + session, by: h.ada, other: `{}`},
		{route: "PUT /v1/people/{id}", path: "/v1/people/" + other, body: `{"roles":[{"role":"viewer"}]}`, other: `{"roles":[]}`},
		{route: "POST /v1/tokens", body: `{"name":"robot"}`, other: `{"name":"android"}`, shown: true},
		{route: "DELETE /v1/tokens/{id}", path: "/v1/tokens/" + token.ID, other: `{}`},
		{route: "POST /v1/snapshots/{digest}/withdraw", path: "/v1/snapshots/" + h.waits("slip") + "/withdraw", body: `{"reason":"a slip"}`, other: `{"reason":"another"}`},
		{route: "POST /v1/snapshots/{digest}/confirm", path: "/v1/snapshots/" + h.waitingSnapshot() + "/confirm", by: h.browsing("mara"), other: `{}`},
		{route: "POST /v1/snapshots/{digest}/activate", path: "/v1/snapshots/" + past + "/activate", body: `{"reason":"back"}`, other: `{"reason":"again"}`},
		{route: "POST /v1/snapshots", body: `{"files":[{"name":"policies/once.cedar","text":"@id(\"once\") forbid (principal, action, resource == Resource::\"nowhere\");"}]}`, other: `{"files":[]}`},
		{route: "POST /v1/channels/{name}/test", path: "/v1/channels/room/test", other: `{}`},
		{route: "POST /v1/audit/checkpoint", other: `{}`, answer: true},
		{
			route: "POST /v1/sightings", by: h.count, effect: reported,
			body:  `{"rule":"aws-access-key-id","provider":"aws","public_id":"AKIAQ3EGRZ4KZZZZZZZ9","place":{"kind":"file","name":"x"}}`,
			other: `{"rule":"aws-access-key-id","provider":"aws","public_id":"AKIAQ3EGRZ4KZZZZZZZ9","place":{"kind":"file","name":"y"}}`,
		},
		{route: "POST /receive/text", by: h.chat, kind: "text/plain", body: "see " + forge(h.t, h.key.Key), other: "nothing", effect: reported},
		{
			route: "POST /receive/logs/{format}", path: "/receive/logs/cloudtrail", by: h.trail, kind: "application/octet-stream", effect: reported,
			body: all(trail(event{id: "once", user: "settlement"})), other: all(trail(event{id: "two", user: "settlement"})),
		},
	}
}

func all(r io.Reader) string {
	b, err := io.ReadAll(r)
	if err != nil {
		panic(err) // memory does not fail
	}
	return string(b)
}

// done are the acts of people and programs, which are on record before they are
// answered.
func (h *household) done() string {
	var page client.Page[client.Entry]
	h.get("/v1/audit?limit=500", &page)
	n := 0
	for _, e := range page.Items {
		if strings.HasPrefix(e.Actor, "operator:") || strings.HasPrefix(e.Actor, "person:") || strings.HasPrefix(e.Actor, "source:") {
			n++
		}
	}
	return fmt.Sprint(n)
}

// repeat sends a write with a key.
func (h *household) repeat(w writing, body string) (got int, replayed bool, text string) {
	h.t.Helper()
	by, kind := w.by, w.kind
	if by == nil {
		by = h.api
	}
	if kind == "" && body != "" {
		kind = "application/json"
	}
	if body == w.again {
		kind = strings.Replace(kind, "boundary=one", "boundary=another", 1)
	}
	method, path, _ := strings.Cut(w.route, " ")
	if w.path != "" {
		path = w.path
	}
	var raw json.RawMessage
	err := by.Do(h.t.Context(), method, path, kind, strings.NewReader(body), &raw, client.IdempotencyKey("key-of-"+strings.ReplaceAll(w.route, " ", "-")), client.Replayed(&replayed))
	if err != nil {
		return status(err), replayed, err.Error()
	}
	return http.StatusOK, replayed, string(raw)
}

// TestEveryWriteHappensOnceForOneKey sends a request to every route of the
// table of rights that writes, sends it again, and sends another one with the
// same key. A new route that writes fails here until it is in the table.
func TestEveryWriteHappensOnceForOneKey(t *testing.T) {
	h := newHousehold(t)
	routes := frame.Writes()
	for _, w := range h.writes() {
		if at := slices.Index(routes, w.route); at >= 0 {
			routes = slices.Delete(routes, at, at+1)
		} else {
			t.Errorf("%s is in the table twice, or does not write", w.route)
		}
		effect := w.effect
		if effect == nil {
			effect = h.done
		}
		before := effect()
		first, replayed, made := h.repeat(w, w.body)
		after := effect()
		if first != http.StatusOK || replayed || before == after && !w.answer {
			t.Errorf("%s: %d, replayed %v, changed %v: %s", w.route, first, replayed, before != after, made)
			continue
		}
		body := w.body
		if w.again != "" {
			body = w.again
		}
		again, replayed, told := h.repeat(w, body)
		switch {
		case w.shown && (again != http.StatusConflict || strings.Contains(told, secretOf(made))):
			t.Errorf("%s again: %d %s", w.route, again, told)
		case !w.shown && (again != http.StatusOK || told != made || !replayed):
			t.Errorf("%s again: %d, replayed %v: %s; first %s", w.route, again, replayed, told, made)
		}
		if other, _, told := h.repeat(w, w.other); other != http.StatusUnprocessableEntity || !strings.Contains(told, "another request") {
			t.Errorf("%s, another request with the same key: %d %s", w.route, other, told)
		}
		if now := effect(); now != after {
			t.Errorf("%s had an effect when it was sent again: %.300s, before %.300s", w.route, now, after)
		}
	}
	for _, route := range routes {
		t.Errorf("%s writes, and is not in the table: show that it happens once for one key", route)
	}
}

// TestLogsThatAreTooMuchForAKeyAreRefusedBeforeTheyCount shows the bound on
// what waits in a file.
func TestLogsThatAreTooMuchForAKeyAreRefusedBeforeTheyCount(t *testing.T) {
	r := start(t, t.TempDir())
	logs := r.source("trail", "cloudtrail", account)
	large := strings.Repeat(" ", frame.MaxBody) + all(trail(event{id: "large", user: "u"}))
	for range 2 {
		got, err := logs.ReceiveLogs(t.Context(), "cloudtrail", strings.NewReader(large), client.IdempotencyKey("large"))
		if err != nil || got.Events != 1 || got.Duplicate {
			t.Errorf("over what is kept in memory: %+v, %v", got, err)
		}
	}
	_, err := logs.ReceiveLogs(t.Context(), "cloudtrail", strings.NewReader(large[:len(large)-1]+" }"), client.IdempotencyKey("large"))
	if status(err) != http.StatusUnprocessableEntity {
		t.Errorf("other logs with the same key: %v", err)
	}
	_, err = logs.ReceiveLogs(t.Context(), "cloudtrail", io.LimitReader(zero{}, frame.MaxKeyedLogs+1), client.IdempotencyKey("too-much"))
	if status(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("more than %d bytes: %v", frame.MaxKeyedLogs, err)
	}
}

// zero is blank for ever.
type zero struct{}

func (zero) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
