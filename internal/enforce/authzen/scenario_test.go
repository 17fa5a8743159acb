package authzen

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// certification is the policy that the certification scenario of the AuthZEN
// working group prescribes (Authorization API 1.0, section c-1-4).
const certification = `
permit (principal, action == Action::"read", resource is record)
when { principal == user::"alice" || principal == user::"bob" };
permit (principal == user::"alice", action == Action::"write", resource is record)
unless { resource.status == "archived" };
permit (principal is user, action == Action::"write", resource is record)
when { principal has role && principal.role == "admin" && resource.status == "archived" };
permit (principal == user::"alice", action == Action::"delete", resource == record::"record-1")
when { context has soft && context.soft };
`

func certificationDesk(t testing.TB) *desk {
	b := newBeliever(t, certification,
		entityOf("user", "alice"), entityOf("user", "bob", "role", "admin"),
		entityOf("record", "record-1", "status", "active"), entityOf("record", "record-2", "status", "archived"),
	)
	return newDesk(b, b, true)
}

// A scene is one case of the scenario: its section, where and what is asked,
// and what must come back. Nothing wanted but a status means that the answer is
// an error, one string.
type scene struct {
	section, path, body string
	status              int
	decision            string   // true, false, or "any" of both
	evaluations         []string // likewise
	includes            []string // ids or names that are found
	only                bool     // and nothing else
	of                  string   // the type of all that is found
}

const (
	aliceReads    = `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`
	findSubjects  = `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`
	findResources = `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record"}}`
	findActions   = `{"subject":{"type":"user","id":"alice"},"resource":{"type":"record","id":"record-1"}}`
	without       = `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record"}}`
)

// in returns body with a context, as the scenario gives it.
func in(body string) string {
	return strings.TrimSuffix(body, "}") + `,"context":{"time":"2025-06-27T18:03-07:00","ip":"192.168.1.1"}}`
}

func decides(section, path, body, decision string) scene {
	return scene{section: section, path: path, body: body, status: 200, decision: decision}
}

func decidesAll(section, body string, decisions ...string) scene {
	return scene{section: section, path: EvaluationsPath, body: body, status: 200, evaluations: decisions}
}

func fails(section, path, body string) scene {
	return scene{section: section, path: path, body: body, status: 400}
}

func finds(section, path, body, of string, names ...string) scene {
	return scene{section: section, path: path, body: body, status: 200, of: of, includes: append([]string{}, names...), only: true}
}

func findsAmong(section, path, body, of string, names ...string) scene {
	return scene{section: section, path: path, body: body, status: 200, of: of, includes: names}
}

var scenes = []scene{
	// Basic Core and Properties (section c-2).
	decides("c-2-2-1", EvaluationPath, aliceReads, "true"),
	decides("c-2-2-2", EvaluationPath, `{"subject":{"type":"user","id":"bob"},"action":{"name":"write"},"resource":{"type":"record","id":"record-1"}}`, "false"),
	decides("c-2-2-3", EvaluationPath, in(aliceReads), "true"),
	decides("c-2-2-4", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"write"},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}`, "false"),
	decides("c-2-2-5", EvaluationPath, `{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}},"action":{"name":"write"},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}`, "true"),
	decides("c-2-2-6", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"delete","properties":{"soft":true}},"resource":{"type":"record","id":"record-1"}}`, "true"),
	decides("c-2-2-7", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"delete","properties":{"soft":false}},"resource":{"type":"record","id":"record-1"}}`, "false"),
	decides("c-2-2-8", EvaluationPath, `{"subject":{"type":"user","id":"alice","properties":{"department":"Sales","role":"manager"}},"action":{"name":"read","properties":{"method":"GET"}},"resource":{"type":"record","id":"record-1","properties":{"status":"active","owner":"bob"}}}`, "true"),
	decides("c-2-2-9", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"},"foo":"bar","futureField":{"nested":true}}`, "true"),
	decides("c-1-4 rule 2", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"write"},"resource":{"type":"record","id":"record-1"}}`, "true"),
	decides("c-1-4 rule 3", EvaluationPath, `{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`, "true"),
	fails("c-2-4-1 subject", EvaluationPath, `{"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`),
	fails("c-2-4-1 action", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"resource":{"type":"record","id":"record-1"}}`),
	fails("c-2-4-1 resource", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"}}`),
	fails("c-2-4-2 subject type", EvaluationPath, `{"subject":{"id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`),
	fails("c-2-4-2 subject id", EvaluationPath, `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`),
	fails("c-2-4-2 action name", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{},"resource":{"type":"record","id":"record-1"}}`),
	fails("c-2-4-2 resource type", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"id":"record-1"}}`),
	fails("c-2-4-2 resource id", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record"}}`),
	fails("c-2-4-4", EvaluationPath, `{"subject":{"type":"user"`),
	fails("c-2-4-5", EvaluationPath, ``),
	fails("c-2-4-6 subject", EvaluationPath, `{"subject":"alice","action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`),
	fails("c-2-4-6 action", EvaluationPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":123},"resource":{"type":"record","id":"record-1"}}`),

	// Batch Core and Properties (section c-3).
	decidesAll("c-3-2-1", `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"evaluations":[{"resource":{"type":"record","id":"record-1"}},{"resource":{"type":"record","id":"record-2"}}]}`, "any", "any"),
	decidesAll("c-3-2-2", `{"subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"record-1"},"evaluations":[{"action":{"name":"read"}},{"action":{"name":"write"}}]}`, "true", "false"),
	decidesAll("c-3-2-3", `{"subject":{"type":"user","id":"alice"},"action":{"name":"write"},"evaluations":[{"resource":{"type":"record","id":"record-1","properties":{"status":"active"}}},{"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}]}`, "true", "false"),
	decidesAll("c-3-2-4", `{"action":{"name":"write"},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}},"evaluations":[{"subject":{"type":"user","id":"alice"}},{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}}}]}`, "false", "true"),
	decidesAll("c-3-2-5", `{"evaluations":[{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}},{"subject":{"type":"user","id":"bob"},"action":{"name":"write"},"resource":{"type":"record","id":"record-1"}}]}`, "true", "false"),
	decidesAll("c-3-2-6", `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"context":{"time":"2025-06-27T18:03-07:00"},"evaluations":[{"resource":{"type":"record","id":"record-1"}},{"resource":{"type":"record","id":"record-2"},"context":{"time":"2025-06-27T19:00-07:00","source":"batch-override"}}]}`, "any", "any"),
	decidesAll("c-3-2-7", `{"subject":{"type":"user","id":"alice"},"action":{"name":"write"},"resource":{"type":"record","id":"record-1","properties":{"status":"active"}},"evaluations":[{},{"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}]}`, "true", "false"),
	decidesAll("c-3-4-1", `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"options":{"evaluations_semantic":"execute_all"},"evaluations":[{"resource":{"type":"record","id":"record-1"}},{}]}`, "true", "false"),
	decides("c-3-4-2", EvaluationsPath, aliceReads, "true"),
	decides("c-3-4-3", EvaluationsPath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"},"evaluations":[]}`, "true"),
	fails("c-3 malformed", EvaluationsPath, `{"evaluations":[{]}`),
	fails("c-3 incomplete without items", EvaluationsPath, `{"subject":{"type":"user","id":"alice"},"evaluations":[]}`),

	// Search Core and Properties (section c-4).
	finds("c-4-2-1", SearchSubjectPath, findSubjects, "user", "alice", "bob"),
	finds("c-4-2-2", SearchSubjectPath, in(findSubjects), "user", "alice", "bob"),
	finds("c-4-2-3", SearchSubjectPath, aliceReads, "user", "alice", "bob"),
	finds("c-4-2-4", SearchSubjectPath, `{"subject":{"type":"user"},"action":{"name":"write"},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}`, "user", "bob"),
	findsAmong("c-4-3-1", SearchResourcePath, findResources, "record", "record-1"),
	findsAmong("c-4-3-2", SearchResourcePath, in(findResources), "record", "record-1"),
	findsAmong("c-4-3-3", SearchResourcePath, aliceReads, "record", "record-1"),
	finds("c-4-3-4", SearchResourcePath, `{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}},"action":{"name":"write"},"resource":{"type":"record"}}`, "record", "record-2"),
	finds("c-4-4-1", SearchActionPath, findActions, "", "read", "write"),
	finds("c-4-4-2", SearchActionPath, in(findActions), "", "read", "write"),
	findsAmong("c-4-4-3", SearchActionPath, `{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}`, "", "write"),
	finds("c-4-6-1 subject", SearchActionPath, `{"subject":{"type":"user","id":"nonexistent-user"},"resource":{"type":"record","id":"record-1"}}`, ""),
	finds("c-4-6-1 on the resource search", SearchResourcePath, `{"subject":{"type":"user","id":"nonexistent-user"},"action":{"name":"read"},"resource":{"type":"record"}}`, ""),
	finds("c-4-6-1 on the subject search", SearchSubjectPath, `{"subject":{"type":"user"},"action":{"name":"fly"},"resource":{"type":"record","id":"record-1"}}`, ""),
	finds("c-4-6-2", SearchSubjectPath, `{"subject":{"type":"spaceship"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`, ""),
	finds("c-4-6-2 on the resource search", SearchResourcePath, `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"spaceship"}}`, ""),
	finds("c-4-6-2 on the action search", SearchActionPath, `{"subject":{"type":"spaceship","id":"alice"},"resource":{"type":"record","id":"record-1"}}`, ""),
	fails("c-4-7-1 subject", SearchSubjectPath, `{"subject":{"type":"user"},"resource":{"type":"record","id":"record-1"}}`),
	fails("c-4-7-1 resource", SearchResourcePath, `{"action":{"name":"read"},"resource":{"type":"record"}}`),
	fails("c-4-7-1 action", SearchActionPath, `{"subject":{"type":"user","id":"alice"}}`),
	fails("c-4-7-2 subject", SearchSubjectPath, without),
	fails("c-4-7-2 resource", SearchResourcePath, without),
	fails("c-4-7-2 action", SearchActionPath, `{"subject":{"type":"user"},"resource":{"type":"record","id":"record-1"}}`),
	finds("c-4-5-1", SearchSubjectPath, `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"},"page":{"limit":1}}`, "user", "alice"),
}

// replied is what any of the APIs answers.
type replied struct {
	Decision    json.RawMessage   `json:"decision"`
	Context     map[string]any    `json:"context"`
	Evaluations []json.RawMessage `json:"evaluations"`
	Results     []struct {
		Type string `json:"type"`
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"results"`
	Page map[string]any `json:"page"`
}

func TestCertificationScenario(t *testing.T) {
	d := certificationDesk(t)
	for _, c := range scenes {
		t.Run(c.section, func(t *testing.T) {
			status, body := d.ask(t, c.path, c.body, func(r *http.Request) { r.Header.Set("X-Request-ID", "bfe9eb29") })
			if status != c.status {
				t.Fatalf("status %d, want %d: %s", status, c.status, body)
			}
			if err := c.check(body); err != nil {
				t.Errorf("%v: %s", err, body)
			}
		})
	}
}

func (c *scene) check(body []byte) error {
	if c.status != http.StatusOK {
		var message string
		if json.Unmarshal(body, &message) != nil || message == "" {
			return fmt.Errorf("the error is not one string")
		}
		return nil
	}
	var got replied
	if err := json.Unmarshal(body, &got); err != nil {
		return err
	}
	switch {
	case c.includes != nil:
		return c.found(&got)
	case c.evaluations != nil:
		if got.Decision != nil || len(got.Evaluations) != len(c.evaluations) {
			return fmt.Errorf("%d evaluations, decision %s", len(got.Evaluations), got.Decision)
		}
		for i, text := range got.Evaluations {
			var one replied
			if err := json.Unmarshal(text, &one); err != nil || !agrees(one.Decision, c.evaluations[i]) {
				return fmt.Errorf("evaluation %d is %s, want %s", i, text, c.evaluations[i])
			}
		}
		return nil
	}
	if !agrees(got.Decision, c.decision) {
		return fmt.Errorf("decision %s, want %s", got.Decision, c.decision)
	}
	return nil
}

func agrees(got json.RawMessage, want string) bool {
	return string(got) == want || want == "any" && (string(got) == "true" || string(got) == "false")
}

func (c *scene) found(got *replied) error {
	var names []string
	for _, r := range got.Results {
		if r.Type != c.of || (r.ID == "") == (r.Name == "") {
			return fmt.Errorf("result %+v", r)
		}
		names = append(names, r.ID+r.Name)
	}
	for _, want := range c.includes {
		if !slices.Contains(names, want) {
			return fmt.Errorf("%q is not found", want)
		}
	}
	if got.Results == nil || c.only && len(names) != len(c.includes) {
		return fmt.Errorf("found %q, want %q", names, c.includes)
	}
	if _, ok := got.Page["next_token"].(string); !ok {
		return fmt.Errorf("page %v", got.Page)
	}
	return nil
}

// The cases of the scenario that are about more than one request or its body.
func TestCertificationScenarioHeadersAndPages(t *testing.T) {
	d := certificationDesk(t)
	t.Run("c-2-4-3", func(t *testing.T) {
		for _, path := range []string{EvaluationPath, EvaluationsPath, SearchSubjectPath, SearchResourcePath, SearchActionPath} {
			if status, _ := d.ask(t, path, aliceReads, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }); status != 400 {
				t.Errorf("%s: status %d", path, status)
			}
		}
	})
	t.Run("c-2-5", func(t *testing.T) {
		for _, id := range []string{"bfe9eb29-ab87-4ca3-be83-a1d5d8305716", ""} {
			for _, path := range []string{EvaluationPath, EvaluationsPath, SearchActionPath} {
				r := httptest.NewRequest("POST", path, strings.NewReader(aliceReads))
				r.RemoteAddr = "127.0.0.1:5000"
				r.Header = http.Header{"Authorization": {"Bearer " + d.key}, "Content-Type": {"application/json"}}
				if id != "" {
					r.Header.Set("X-Request-ID", id)
				}
				w := httptest.NewRecorder()
				if d.ServeHTTP(w, r); w.Code != 200 || w.Header().Get("X-Request-ID") != id {
					t.Errorf("%s: %d with id %q, want 200 with %q", path, w.Code, w.Header().Get("X-Request-ID"), id)
				}
			}
		}
	})
	t.Run("c-2-6", func(t *testing.T) {
		for range 5 {
			if status, body := d.ask(t, EvaluationPath, aliceReads); status != 200 || !strings.HasPrefix(string(body), `{"decision":true`) {
				t.Errorf("%d %s", status, body)
			}
		}
	})
	t.Run("c-4-5", func(t *testing.T) {
		var seen []string
		page := `{"limit":1}`
		for range 3 {
			status, body := d.ask(t, SearchSubjectPath, strings.TrimSuffix(findSubjects, "}")+`,"page":`+page+`}`)
			var got replied
			if err := json.Unmarshal(body, &got); err != nil || status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			for _, r := range got.Results {
				seen = append(seen, r.ID)
			}
			next := got.Page["next_token"].(string)
			if next == "" {
				break
			}
			page = `{"token":"` + next + `"}`
		}
		if !slices.Equal(seen, []string{"alice", "bob"}) {
			t.Errorf("the pages hold %q", seen)
		}
	})
	t.Run("c-6", func(t *testing.T) {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest("GET", MetadataPath, nil))
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		if got["policy_decision_point"] != "https://muster.example" {
			t.Errorf("policy_decision_point is %v", got["policy_decision_point"])
		}
		for _, name := range []string{"access_evaluation_endpoint", "access_evaluations_endpoint", "search_subject_endpoint", "search_resource_endpoint", "search_action_endpoint"} {
			if url, _ := got[name].(string); !strings.HasPrefix(url, "https://muster.example/access/v1/") {
				t.Errorf("%s is %v", name, got[name])
			}
		}
	})
}
