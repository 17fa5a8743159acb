package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
)

// routes says what each route needs, as the documentation promises it and
// apart from how internal/api decides it: a wrong rule there fails here. The
// first word is the right, or
//
//	open  nobody needs to sign in
//	own   whoever may do anything at all
//	from  only a source
//
// and the second where it must be held: anywhere, whole (without a scope), or
// on the identity of the thing that the path names.
var routes = map[string]string{
	"GET /openapi.json": "open", "GET /openapi.yaml": "open", "GET /openapi-3.0.json": "open", "GET /openapi-3.0.yaml": "open", "GET /v1/signin": "open",

	"GET /v1/me": "own", "GET /v1/sessions": "own", "DELETE /v1/sessions/{id}": "own",

	"GET /v1/overview": "read anywhere", "GET /v1/stream": "read anywhere", "GET /v1/identities": "read anywhere", "GET /v1/identities/facets": "read anywhere",
	"GET /v1/credentials": "read anywhere", "GET /v1/findings": "read anywhere", "GET /v1/actions": "read anywhere", "GET /v1/decisions": "read anywhere", "GET /v1/decisions/export": "read anywhere",
	"GET /v1/points": "read anywhere", "GET /v1/usage": "read anywhere", "GET /v1/refusals": "read anywhere", "GET /v1/views": "read anywhere",
	"POST /v1/search": "read anywhere", "POST /v1/links": "read anywhere",

	"GET /v1/sources": "read whole", "GET /v1/health": "read whole", "GET /v1/channels": "read whole", "GET /v1/signals/streams": "read whole", "GET /v1/signals/peers": "read whole", "GET /v1/documents/{name}": "read whole",

	"GET /v1/snapshots": "read whole", "GET /v1/snapshots/{digest}": "read whole", "GET /v1/snapshots/{digest}/bundle": "read whole",
	"GET /v1/policies": "read whole", "GET /v1/policies/key": "read whole", "POST /v1/snapshots": "administer whole",
	"POST /v1/snapshots/{digest}/activate": "administer whole", "POST /v1/snapshots/{digest}/confirm": "administer whole",
	"POST /v1/snapshots/{digest}/withdraw": "administer whole",

	"GET /v1/identities/{id}": "read identity", "GET /v1/identities/{id}/normal": "read identity", "GET /v1/identities/{id}/risk": "read identity",
	"GET /v1/identities/{id}/lineage": "read identity", "GET /v1/identities/{id}/changes": "read identity", "GET /v1/credentials/{id}": "read credential",
	"GET /v1/findings/{id}": "read finding", "GET /v1/decisions/{id}": "read decision", "GET /v1/decisions/{id}/explanation": "read decision",
	"GET /v1/approvals": "read anywhere", "GET /v1/approvals/{id}": "read approval",

	"PUT /v1/views/{id}": "triage anywhere", "DELETE /v1/views/{id}": "triage anywhere", "PUT /v1/identities/{id}/owner": "triage identity",
	"PATCH /v1/findings/{id}": "triage finding",

	"PUT /v1/credentials/{id}/pin": "respond credential", "POST /v1/actions/{id}/undo": "respond action", "POST /v1/actions/{id}/approve": "respond action",
	"POST /v1/approvals/{id}/approve": "respond approval", "POST /v1/approvals/{id}/deny": "respond approval", "POST /v1/approvals/{id}/cancel": "respond approval",

	"POST /v1/identities": "administer anywhere", "POST /v1/identities/{id}/credentials": "administer identity",
	"POST /v1/identities/{id}/credentials/register": "administer identity",

	"GET /v1/people": "administer whole", "PUT /v1/people/{id}": "administer whole", "GET /v1/tokens": "administer whole", "POST /v1/tokens": "administer whole",
	"DELETE /v1/tokens/{id}": "administer whole", "POST /v1/points": "administer whole", "GET /v1/points/{id}/break-glass": "read whole", "POST /v1/points/{id}/break-glass": "administer whole",
	"DELETE /v1/points/{id}/break-glass/{serial}": "administer whole", "PATCH /v1/points/{id}": "administer whole", "POST /v1/points/{id}/probe": "administer whole",
	"POST /v1/sources": "administer whole", "PUT /v1/documents/{name}": "administer whole", "POST /v1/inventory/imports/aws": "administer whole",
	"POST /v1/inventory/imports/aws/preview": "administer whole",
	"POST /v1/backup":                        "administer whole",
	"POST /v1/channels/{name}/test":          "administer whole",
	"POST /v1/policies/learn":                "administer whole",
	"POST /v1/policies/simulate":             "administer whole", "GET /v1/policies/shadow": "read whole",
	"GET /v1/policies/promotion": "read whole", "POST /v1/policies/promotion/{step}": "administer whole", "POST /v1/policies/promotion/acknowledgements": "administer whole",
	"PUT /v1/policies/shadow": "administer whole", "DELETE /v1/policies/shadow": "administer whole",

	"GET /v1/audit": "audit whole", "POST /v1/audit/checkpoint": "audit whole",

	"POST /v1/sightings": "report whole", "POST /v1/fingerprints/evaluate": "report whole",
	"POST /receive/logs/{format}": "from", "POST /receive/text": "from",
}

// personal are the routes that refuse every token, which all of the cast have: a
// non-human identity must not approve another.
var personal = []string{"POST /v1/approvals/{id}/approve", "POST /v1/approvals/{id}/deny", "POST /v1/snapshots/{digest}/confirm", "POST /v1/points/{id}/break-glass"}

// A cast is everybody who may call, and what lies inside and outside of what
// the scoped ones see: identities of the teams payments and zebra.
type cast struct {
	*running
	keys            map[string]string   // of each caller; nobody has none
	rights          map[string][]string // of each caller
	scoped          []string            // callers that see team payments only
	inside, outside map[string]string   // id of an identity, credential, finding, action and decision
	secret          string              // the key outside
	names           []string            // what only somebody who sees the outside may read
}

func newCast(t *testing.T) *cast {
	r := start(t, t.TempDir())
	point, key := r.furnish()
	var who client.Identity
	var other client.NewCredential
	r.send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "zebracrossing", Environment: "production", Owner: "team:zebra"}, &who)
	r.send(http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &other)
	c := &cast{running: r, secret: other.Key, names: []string{"zebra"}, rights: map[string][]string{
		"nobody": nil, "point": nil, "source": {"report"},
		"viewer": {"read"}, "analyst": {"read", "triage"}, "responder": {"read", "triage", "respond"}, "auditor": {"read", "audit"},
		"admin": {"read", "triage", "respond", "administer", "audit", "report"},
	}}
	for _, key := range []string{key.Key, other.Key} {
		if got := r.ask(point, "Bearer "+key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
			t.Fatalf("a good key: %d", got)
		}
	}
	door := r.source("forum", "text")
	c.inside, c.outside = c.things(door, key), c.things(door, other)
	for _, id := range c.outside {
		c.names = append(c.names, id)
	}
	if got := r.ask(point, "Bearer "+other.Key, "GET", "/payments/1", "203.0.113.7"); got == http.StatusOK {
		t.Fatal("a contained key passes")
	}
	c.keys = map[string]string{"nobody": "", "point": point}
	var e client.Enrolled
	r.send(http.MethodPost, "/v1/sources", client.AddSource{Name: "another", Format: "text"}, &e)
	c.keys["source"] = e.Key
	for _, role := range []string{"viewer", "analyst", "responder", "auditor", "admin"} {
		c.keys[role] = c.token(role, client.Role{Role: role})
		scoped := role + " of payments"
		c.keys[scoped] = c.token("scoped-"+role, client.Role{Role: role, Team: "payments"})
		c.rights[scoped] = c.rights[role]
		c.scoped = append(c.scoped, scoped)
	}
	return c
}

// things leaks a key and returns what came of it.
func (c *cast) things(door *client.Client, key client.NewCredential) map[string]string {
	c.t.Helper()
	reply := c.post(door, "oops "+key.Key)
	if len(reply) != 1 || reply[0].Action == nil || reply[0].Finding == "" {
		c.t.Fatalf("the leak: %+v", reply)
	}
	var decisions client.Page[client.Decision]
	c.get("/v1/decisions?identity="+key.Identity, &decisions)
	if len(decisions.Items) == 0 {
		c.t.Fatal("no decision")
	}
	return map[string]string{
		"approval": c.asked("apr_of_"+key.Identity, key.Identity), "identity": key.Identity, "credential": key.ID, "finding": reply[0].Finding, "action": reply[0].Action.ID, "decision": decisions.Items[0].ID,
	}
}

func (c *cast) token(name string, role client.Role) string {
	c.t.Helper()
	var n client.NewToken
	c.send(http.MethodPost, "/v1/tokens", client.CreateToken{Name: name, Roles: []client.Role{role}}, &n)
	return n.Key
}

// call sends a request as a caller; of a live stream it reads the status only.
func (c *cast) call(as, method, path, body string, headers ...string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.URL()+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if key := c.keys[as]; key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if path == "/v1/stream" {
		return res.StatusCode, ""
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Idempotency-Replayed") + string(text)
}

// want is the status that a caller gets, 0 for one of somebody who is let in.
func (c *cast) want(as, need string, inside bool) int {
	right, where, _ := strings.Cut(need, " ")
	rights, scoped := c.rights[as], slices.Contains(c.scoped, as)
	switch {
	case right == "open":
		return 0
	case as == "nobody":
		return http.StatusUnauthorized
	case right == "own" && len(rights) > 0, right == "from" && as == "source":
		return 0
	case !slices.Contains(rights, right), scoped && where == "whole":
		return http.StatusForbidden
	case !scoped || where == "anywhere" || inside:
		return 0
	}
	return http.StatusNotFound
}

// names without an identity behind them, by their place in a path.
var others = map[string]string{
	"/v1/sessions/": "ses_none", "/v1/people/": "per_none", "/v1/tokens/": "none", "/v1/points/": "edge", "/v1/views/": "mine",
}

// path is a route's path about one of some things.
func (c *cast) path(route, need string, things map[string]string) string {
	path := route[strings.Index(route, "/"):]
	_, where, _ := strings.Cut(need, " ")
	id := things[where]
	for prefix, name := range others {
		if strings.HasPrefix(path, prefix) {
			id = name
		}
	}
	return strings.NewReplacer("{id}", id, "{name}", "routes.yaml", "{digest}", "00000000", "{serial}", "none", "{format}", "cloudtrail").Replace(path)
}

func TestEveryRouteIsOpenToWhomItIsMeantFor(t *testing.T) {
	c := newCast(t)
	for route, need := range routes {
		method, _, _ := strings.Cut(route, " ")
		for as := range c.rights {
			for _, inside := range []bool{true, false} {
				things := c.outside
				if inside {
					things = c.inside
				}
				got, body := c.call(as, method, c.path(route, need, things), "{}")
				want := c.want(as, need, inside)
				if want == 0 && slices.Contains(personal, route) {
					want = http.StatusForbidden
				}
				// Whoever is let in may still have sent nonsense.
				if want == 0 && (got == http.StatusUnauthorized || got == http.StatusForbidden) || want != 0 && got != want {
					t.Errorf("%s as %s, inside %v: %d, want %d: %.200s", route, as, inside, got, want, body)
				}
				if _, where, _ := strings.Cut(need, " "); want == 0 && c.inside[where] != "" && got == http.StatusNotFound {
					t.Errorf("%s as %s, inside %v: %d for what is there", route, as, inside, got)
				}
			}
		}
	}
}

func TestTheTableOfRoutesIsWhole(t *testing.T) {
	c := newCast(t)
	_, body := c.call("nobody", http.MethodGet, "/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{"POST /v1/backup": true}
	for _, format := range []string{"", "-3.0"} {
		described["GET /openapi"+format+".json"], described["GET /openapi"+format+".yaml"] = true, true
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	for route := range described {
		if routes[route] == "" {
			t.Errorf("%s is not in the table: say who may use it", route)
		}
	}
	for route := range routes {
		if !described[route] {
			t.Errorf("%s is in the table and not served", route)
		}
	}
}

func TestGuessingAnIDOutsideOfTheScopeSaysNothing(t *testing.T) {
	c := newCast(t)
	const guess = "nhi_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	for route, need := range routes {
		method, _, _ := strings.Cut(route, " ")
		_, where, _ := strings.Cut(need, " ")
		if c.outside[where] == "" {
			continue
		}
		for _, as := range c.scoped {
			missing := map[string]string{where: guess}
			status, body := c.call(as, method, c.path(route, need, c.outside), "{}")
			status2, body2 := c.call(as, method, c.path(route, need, missing), "{}")
			if status != status2 || strings.ReplaceAll(body, c.outside[where], "ID") != strings.ReplaceAll(body2, guess, "ID") {
				t.Errorf("%s as %s: outside %d %s; missing %d %s", route, as, status, body, status2, body2)
			}
		}
	}
}

func TestNothingOutsideOfTheScopeLeaksIntoAList(t *testing.T) {
	c := newCast(t)
	id := func(what string) string { return url.QueryEscape(c.outside[what]) }
	for _, path := range []string{
		"/v1/identities", "/v1/identities?filter=name:zebracrossing", "/v1/identities?q=zebracrossing", "/v1/identities?order=-risk", "/v1/identities?limit=1&order=-name",
		"/v1/identities?filter=" + url.QueryEscape("-owner:team:payments"), "/v1/identities/facets", "/v1/identities/facets?filter=name:zebracrossing",
		"/v1/credentials", "/v1/findings", "/v1/findings?order=-at", "/v1/findings?identity=" + id("identity"), "/v1/findings?credential=" + id("credential"),
		"/v1/actions", "/v1/approvals", "/v1/decisions", "/v1/decisions?identity=" + id("identity"), "/v1/overview", "/v1/refusals", "/v1/usage?by=identity",
		"/v1/usage?by=identity&identity=" + id("identity"),
	} {
		shown := c.showing("admin", http.MethodGet, path, "")
		for deadline := time.Now().Add(time.Minute); len(shown) == 0 && path == "/v1/refusals" && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // they are gathered a while before they are kept
			shown = c.showing("admin", http.MethodGet, path, "")
		}
		if len(shown) == 0 && !strings.Contains(path, "usage") { // counted at the end of the hour
			t.Errorf("%s shows an administrator nothing either", path)
		}
		for _, as := range c.scoped {
			if shown := c.showing(as, http.MethodGet, path, ""); len(shown) > 0 {
				t.Errorf("%s shows %s %v", path, as, shown)
			}
		}
	}
	for _, as := range c.scoped {
		for _, what := range []string{"", "/normal", "/risk", "/lineage", "/changes"} {
			if shown := c.showing(as, http.MethodGet, "/v1/identities/"+c.inside["identity"]+what, ""); len(shown) > 0 {
				t.Errorf("the identity inside shows %s in %q %v", as, what, shown)
			}
		}
	}
}

// showing returns what of the outside a reply shows. What the request itself
// said does not count.
func (c *cast) showing(as, method, path, body string) (shown []string) {
	c.t.Helper()
	status, text := c.call(as, method, path, body)
	if status != http.StatusOK {
		c.t.Fatalf("%s %s as %s: %d %.300s", method, path, as, status, text)
	}
	for _, name := range c.names {
		if strings.Contains(text, name) {
			shown = append(shown, name)
		}
	}
	return shown
}

func TestASearchFindsNothingOutsideOfTheScope(t *testing.T) {
	c := newCast(t)
	texts := []string{"zebracrossing", c.secret}
	for what, id := range c.outside {
		if what == "approval" {
			continue // they have a list, and are in no search
		}
		texts = append(texts, id)
	}
	for _, text := range texts {
		body := fmt.Sprintf(`{"text":%q}`, text)
		find := func(as string) int {
			_, reply := c.call(as, http.MethodPost, "/v1/search", body)
			var found client.SearchResult
			if err := json.Unmarshal([]byte(reply), &found); err != nil {
				t.Fatalf("%s: %v", reply, err)
			}
			return len(found.Results)
		}
		if find("admin") == 0 {
			t.Errorf("an administrator does not find %.20s", text)
		}
		for _, as := range c.scoped {
			if n := find(as); n > 0 {
				t.Errorf("%s finds %d for %.20s", as, n, text)
			}
		}
	}
}

func TestTotalsCountOnlyWhatLiesInTheScope(t *testing.T) {
	c := newCast(t)
	mine := "/v1/identities?filter=owner:team:payments"
	for path, tt := range map[string]struct{ field, narrow string }{ // what an administrator counts who narrows by hand
		"/v1/identities": {"total", mine}, "/v1/identities/facets": {"total", mine}, "/v1/overview": {"identities", mine},
		"/v1/identities?filter=name:*": {"total", mine}, "/v1/findings": {"total", "/v1/findings?identity=" + c.inside["identity"]},
	} {
		total := func(as, path string) int {
			status, body := c.call(as, http.MethodGet, path, "")
			var reply map[string]json.RawMessage
			var n int
			err := json.Unmarshal([]byte(body), &reply)
			of := reply[tt.field]
			if of == nil {
				of = reply["total"]
			}
			if err != nil || status != http.StatusOK || json.Unmarshal(of, &n) != nil {
				t.Fatalf("%s as %s: %d %.300s", path, as, status, body)
			}
			return n
		}
		want := total("admin", tt.narrow)
		if all := total("admin", path); want == 0 || all <= want {
			t.Errorf("%s counts %d for an administrator, and %d inside", path, all, want)
		}
		for _, as := range c.scoped {
			if got := total(as, path); got != want {
				t.Errorf("%s counts %d for %s, want the %d inside", path, got, as, want)
			}
		}
	}
}

func TestAReplyIsNeverReplayedToAnotherCaller(t *testing.T) {
	c := newCast(t)
	send := func(as string) (int, string) {
		return c.call(as, http.MethodPost, "/v1/audit/checkpoint", "", "Idempotency-Key", "the-same")
	}
	if status, body := send("admin"); status != http.StatusOK || strings.HasPrefix(body, "true") {
		t.Fatalf("the first: %d %s", status, body)
	}
	if _, body := send("admin"); !strings.HasPrefix(body, "true") {
		t.Fatalf("the same caller: %s", body)
	}
	if status, body := send("auditor"); status != http.StatusOK || strings.HasPrefix(body, "true") {
		t.Errorf("another who may: %d %s", status, body)
	}
	for _, as := range []string{"nobody", "viewer", "auditor of payments", "source", "point"} {
		if status, body := send(as); status != http.StatusUnauthorized && status != http.StatusForbidden {
			t.Errorf("%s, who may not: %d %s", as, status, body)
		}
	}
}

func TestViewsAreTheCallersOwn(t *testing.T) {
	c := newCast(t)
	if status, body := c.call("analyst", http.MethodPut, "/v1/views/mine", `{"name":"Mine","page":"identities","query":"kind:agent"}`); status != http.StatusOK {
		t.Fatalf("save: %d %s", status, body)
	}
	if _, body := c.call("responder", http.MethodGet, "/v1/views", ""); strings.Contains(body, "Mine") {
		t.Errorf("somebody else sees %s", body)
	}
	c.call("responder", http.MethodDelete, "/v1/views/mine", "")
	if _, body := c.call("analyst", http.MethodGet, "/v1/views", ""); !strings.Contains(body, "Mine") {
		t.Errorf("somebody else removed it: %s", body)
	}
}
