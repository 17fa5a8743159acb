package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/api/frame"
)

// An operation is what the test reads of one in the description.
type operation struct {
	ID          string                     `json:"operationId"`
	Summary     string                     `json:"summary"`
	Description string                     `json:"description"`
	Tags        []string                   `json:"tags"`
	Right       string                     `json:"x-right"`
	Security    *[]map[string][]string     `json:"security"`
	Responses   map[string]json.RawMessage `json:"responses"`
	Body        *struct {
		Content map[string]struct {
			Schema  json.RawMessage `json:"schema"`
			Example any             `json:"example"`
		} `json:"content"`
	} `json:"requestBody"`
}

// described returns the description as it is served.
func described(t *testing.T) (text string, paths map[string]map[string]operation) {
	t.Helper()
	h, _, err := New(frame.Deps{Gate: door{}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]operation `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || len(doc.Paths) == 0 {
		t.Fatalf("openapi.json: %d, %v", w.Code, err)
	}
	return w.Body.String(), doc.Paths
}

func TestEveryOperationIsDescribedInFull(t *testing.T) {
	_, paths := described(t)
	seen := map[string]string{}
	for path, methods := range paths {
		for method, o := range methods {
			name := strings.ToUpper(method) + " " + path
			open := o.Security != nil && len(*o.Security) == 1 && len((*o.Security)[0]) == 0
			own := strings.Contains(o.Description, "any role will do")
			switch {
			case o.ID == "" || seen[o.ID] != "":
				t.Errorf("%s: its id %q is that of %q", name, o.ID, seen[o.ID])
			case o.Summary == "" || strings.HasSuffix(o.Summary, ".") || len(o.Tags) != 1:
				t.Errorf("%s: summary %q, tags %v; want a phrase and one tag", name, o.Summary, o.Tags)
			case o.Security != nil && !open:
				t.Errorf("%s: it neither needs a sign-in like the others nor is it open: %v", name, *o.Security)
			case open == (o.Right != "" || own):
				t.Errorf("%s: open %v, right %q", name, open, o.Right)
			}
			seen[o.ID] = name
			o.answers(t, name, method, path, open)
			o.asks(t, name)
		}
	}
}

// answers checks that an operation says which errors it may answer.
func (o operation) answers(t *testing.T, name, method, path string, open bool) {
	t.Helper()
	want := []string{"422", "429", "500", "503"}
	if !open {
		want = append(want, "401", "403")
	}
	if strings.Contains(path, "{") {
		want = append(want, "404")
	}
	if method != "get" {
		want = append(want, "409", "413", "415")
	}
	for _, status := range want {
		if !strings.Contains(string(o.Responses[status]), "application/problem+json") {
			t.Errorf("%s: %s is not described as a problem", name, status)
		}
	}
	good := 0
	for status := range o.Responses {
		if status[0] == '2' {
			good++
		}
	}
	if _, vague := o.Responses["default"]; good == 0 || vague {
		t.Errorf("%s: %d good answers, a default %v", name, good, vague)
	}
}

// asks checks that a request has an example.
func (o operation) asks(t *testing.T, name string) {
	t.Helper()
	if o.Body == nil {
		return
	}
	for kind, c := range o.Body.Content {
		if c.Example == nil {
			t.Errorf("%s: no example of %s", name, kind)
		}
		if strings.Contains(string(c.Schema), "Body\"") {
			t.Errorf("%s: the request is called %s, a name of the framework", name, c.Schema)
		}
	}
}

func TestTheDescriptionHasNothingOfTheFramework(t *testing.T) {
	text, _ := described(t)
	for _, no := range []string{"$schema", `"array","null"`, `"null","array"`, `"nullable"`, "/schemas/InputBody"} {
		if strings.Contains(text, no) {
			t.Errorf("openapi.json holds %s", no)
		}
	}
}

func TestEveryServedRouteIsDescribed(t *testing.T) {
	_, paths := described(t)
	for _, route := range frame.Routes() {
		method, path, _ := strings.Cut(route, " ")
		if strings.HasPrefix(path, "/openapi") {
			continue // the description itself
		}
		if _, ok := paths[path][strings.ToLower(method)]; !ok {
			t.Errorf("%s is served and not described", route)
		}
	}
}
