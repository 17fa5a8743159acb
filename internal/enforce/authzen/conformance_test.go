//go:build conformance

package authzen

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// todo is the policy of the working group's todo scenario: everybody reads, who
// may write writes, an editor changes what is his own, an evil genius changes
// everything and an administrator deletes everything.
const todo = `
permit (principal is user, action in [Action::"can_read_user", Action::"can_read_todos"], resource) when { principal has name };
permit (principal is user, action in [Action::"can_create_todo", Action::"can_update_todo", Action::"can_delete_todo"], resource is todo)
when { principal has role && principal.role == "editor" }
unless { action != Action::"can_create_todo" && !(resource has ownerID && resource.ownerID == principal.name) };
permit (principal == user::"RICK", action in [Action::"can_create_todo", Action::"can_update_todo", Action::"can_delete_todo"], resource is todo);
`

const (
	rick   = "CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"
	morty  = "CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"
	summer = "CiRmZDI2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"
	beth   = "CiRmZDM2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"
	jerry  = "CiRmZDQ2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"
)

func reference(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(os.Getenv("MUSTER_DATA"), "authzen", name))
	if err != nil {
		t.Fatalf("the reference data is needed: %v", err)
	}
	return text
}

func TestConformanceTodoInterop(t *testing.T) {
	b := newBeliever(t, strings.ReplaceAll(todo, "RICK", rick),
		entityOf("user", rick, "name", "rick@the-citadel.com"), entityOf("user", morty, "name", "morty@the-citadel.com", "role", "editor"),
		entityOf("user", summer, "name", "summer@the-smiths.com", "role", "editor"),
		entityOf("user", beth, "name", "beth@the-smiths.com"), entityOf("user", jerry, "name", "jerry@the-smiths.com"),
	)
	d := newDesk(b, b, true)
	var cases struct {
		Evaluation []struct {
			Request  json.RawMessage
			Expected bool
		}
		Evaluations []struct {
			Request  json.RawMessage
			Expected []struct{ Decision bool }
		}
	}
	if err := json.Unmarshal(reference(t, "todo-decisions.json"), &cases); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases.Evaluation {
		status, body := d.ask(t, EvaluationPath, string(c.Request))
		var got struct{ Decision bool }
		if err := json.Unmarshal(body, &got); err != nil || status != 200 || got.Decision != c.Expected {
			t.Errorf("evaluation %d: %d %v, want %v: %s", i, status, got.Decision, c.Expected, c.Request)
		}
	}
	for i, c := range cases.Evaluations {
		status, body := d.ask(t, EvaluationsPath, string(c.Request))
		var got struct{ Evaluations []struct{ Decision bool } }
		if err := json.Unmarshal(body, &got); err != nil || status != 200 || !reflect.DeepEqual(got.Evaluations, c.Expected) {
			t.Errorf("evaluations %d: %d %v, want %v: %s", i, status, got.Evaluations, c.Expected, c.Request)
		}
	}
	t.Logf("todo interop: %d evaluation and %d evaluations", len(cases.Evaluation), len(cases.Evaluations))
	if len(cases.Evaluation) < 40 || len(cases.Evaluations) < 3 {
		t.Error("cases are missing")
	}
}

// Every request that the scenario's text shows is one that the table plays.
func TestConformanceCertificationScenarioIsPlayedWhole(t *testing.T) {
	normal := func(text string) any {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			return nil
		}
		return v
	}
	var played []any
	for _, c := range scenes {
		played = append(played, normal(c.body))
	}
	shown := 0
	for _, block := range regexp.MustCompile(`(?s)~~~ json\n(.*?)~~~`).FindAllStringSubmatch(string(reference(t, "authorization-api-1_0-scenario.md")), -1) {
		v, _ := normal(block[1]).(map[string]any)
		if v == nil || v["subject"] == nil && v["action"] == nil && v["resource"] == nil && (v["evaluations"] == nil || !strings.Contains(block[1], "subject")) {
			continue // an answer, or no request
		}
		if strings.Contains(block[1], "<next_token") {
			continue // what is asked next is played by c-4-5
		}
		shown++
		found := false
		for _, p := range played {
			found = found || reflect.DeepEqual(p, any(v))
		}
		if !found {
			t.Errorf("nobody plays %s", block[1])
		}
	}
	t.Logf("certification scenario: %d requests shown, %d cases played", shown, len(scenes))
	if shown < 40 {
		t.Errorf("the text shows %d requests only", shown)
	}
}
