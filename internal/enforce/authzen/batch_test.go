package authzen

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

// batchOf is a batch with items that name resources; an item that begins with
// "{" is itself.
func batchOf(semantic string, resources ...string) string {
	var items []string
	for _, r := range resources {
		if !strings.HasPrefix(r, "{") {
			r = `{"resource":{"type":"api","id":"` + r + `"}}`
		}
		items = append(items, r)
	}
	return `{"subject":{"type":"identity","id":"` + string(robot) + `"},"action":{"name":"read"},"options":{"evaluations_semantic":"` + semantic +
		`"},"evaluations":[` + strings.Join(items, ",") + `]}`
}

// byName decides by the resource's name.
type byName struct{ enforcetest.Decider }

func (d *byName) decide(q *nhi.Question) nhi.Decision {
	if strings.HasPrefix(q.Resource, "allowed") {
		return nhi.Decision{ID: "d", Outcome: nhi.Allow}
	}
	return nhi.Decision{ID: "d", Outcome: nhi.Outcome(strings.Split(q.Resource, "/")[0])}
}

func (d *byName) Decide(ctx context.Context, q *nhi.Question) nhi.Decision {
	d.Decider.Decide(ctx, q)
	return d.decide(q)
}

func (d *byName) DecideAll(ctx context.Context, questions []nhi.Question, enough func(*nhi.Decision) bool) (out []nhi.Decision) {
	for i := range questions {
		out = append(out, d.Decide(ctx, &questions[i]))
		if enough != nil && enough(&out[i]) {
			break
		}
	}
	return out
}

func (d *byName) Try(questions []nhi.Question) (out []nhi.Decision) {
	for i := range questions {
		out = append(out, d.decide(&questions[i]))
	}
	return out
}

// decisions reads the answer to a batch: true, false or the status of an error.
func decisions(t testing.TB, body []byte) (out []string) {
	t.Helper()
	var got struct {
		Evaluations []struct {
			Decision *bool
			Context  struct{ Error *failure }
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, e := range got.Evaluations {
		switch {
		case e.Decision == nil:
			out = append(out, "nothing")
		case e.Context.Error != nil && !*e.Decision && e.Context.Error.Message != "":
			out = append(out, fmt.Sprint(e.Context.Error.Status))
		default:
			out = append(out, fmt.Sprint(*e.Decision))
		}
	}
	return out
}

func TestSemanticsOfABatch(t *testing.T) {
	for _, tt := range []struct {
		semantic string
		ask      []string
		want     []string
		asked    int
	}{
		{"execute_all", []string{"allowed/1", "deny/2", "step-up/3", "allowed/4"}, []string{"true", "false", "false", "true"}, 4},
		{"", []string{"deny/1", "allowed/2"}, []string{"false", "true"}, 2},
		{"execute_all", []string{"allowed/1", `{"resource":{"type":"api"}}`, "allowed/3"}, []string{"true", "400", "true"}, 2},
		{"deny_on_first_deny", []string{"allowed/1", "deny/2", "allowed/3"}, []string{"true", "false"}, 2},
		{"deny_on_first_deny", []string{"allowed/1", "step-up/2", "allowed/3"}, []string{"true", "false"}, 2},
		{"deny_on_first_deny", []string{"allowed/1", `{"resource":{"type":"api"}}`, "allowed/3"}, []string{"true", "400"}, 1},
		{"deny_on_first_deny", []string{"deny/1", `{"resource":{"type":"api"}}`}, []string{"false"}, 1},
		{"deny_on_first_deny", []string{"allowed/1", "allowed/2"}, []string{"true", "true"}, 2},
		{"permit_on_first_permit", []string{"deny/1", "allowed/2", "allowed/3"}, []string{"false", "true"}, 2},
		{"permit_on_first_permit", []string{`{"resource":{"type":"api"}}`, "step-up/2", "allowed/3", "allowed/4"}, []string{"400", "false", "true"}, 2},
		{"permit_on_first_permit", []string{"deny/1", "deny/2"}, []string{"false", "false"}, 2},
	} {
		t.Run(tt.semantic+" "+strings.Join(tt.ask, " "), func(t *testing.T) {
			decider := &byName{}
			d := newDesk(decider, nil, false)
			status, body := d.ask(t, EvaluationsPath, batchOf(tt.semantic, tt.ask...))
			if status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			if diff := cmp.Diff(tt.want, decisions(t, body)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := len(decider.Asked()); got != tt.asked {
				t.Errorf("%d questions were asked, want %d", got, tt.asked)
			}
		})
	}
}

func TestAnItemReplacesADefaultAsAWhole(t *testing.T) {
	decider := &byName{}
	d := newDesk(decider, nil, false)
	body := `{"subject":{"type":"identity","id":"` + string(robot) + `"},"action":{"name":"look","properties":{"class":"read"}},"context":{"ip":"192.0.2.1","user_agent":"a"},
	"resource":{"type":"api","id":"allowed/1"},"evaluations":[{},{"action":{"name":"poke"},"context":{"user_agent":"b"}},{"subject":null,"resource":{"type":"api","id":"deny/2"}}]}`
	if status, answer := d.ask(t, EvaluationsPath, body); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	type seen struct{ operation, class, resource, address, agent string }
	var got []seen
	for _, q := range decider.Asked() {
		if q.Subject.Identity != robot || !q.Subject.Asserted || q.Point == "" {
			t.Errorf("asked as %+v", q.Subject)
		}
		got = append(got, seen{q.Operation, string(q.Action), q.Resource, fmt.Sprint(q.Address), q.Agent})
	}
	want := []seen{
		{"look", "read", "allowed/1", "192.0.2.1", "a"},
		{"poke", "", "allowed/1", "invalid IP", "b"}, // neither the class nor the address of the default stays
		{"look", "read", "deny/2", "192.0.2.1", "a"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHostileBatchesAreRefusedWhole(t *testing.T) {
	many := batchOf("execute_all", strings.Split(strings.Repeat("allowed/1 ", maxItems+1), " ")[:maxItems+1]...)
	for name, tt := range map[string]struct {
		body   string
		status int
	}{
		"one more item than allowed":      {many, 400},
		"a huge array of nothing":         {`{"evaluations":[` + strings.Repeat("{},", 300_000) + `{}]}`, 400},
		"too large":                       {`{"x":"` + strings.Repeat("x", maxBatch) + `"}`, 413},
		"nested without end":              {`{"evaluations":[{"context":` + strings.Repeat("[", 100_000), 400},
		"deep in an item":                 {batchOf("", `{"context":{"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`}}`), 400},
		"a repeated name":                 {strings.Replace(batchOf("", "allowed/1"), `"action"`, `"action":{"name":"list"},"action"`, 1), 400},
		"a repeated name in an item":      {batchOf("", `{"resource":{"type":"api","id":"allowed/1"},"resource":{"type":"api","id":"deny/2"}}`), 400},
		"a repeated name in properties":   {batchOf("", `{"resource":{"type":"api","id":"allowed/1","properties":{"a":1,"a":2}}}`), 400},
		"two lists of items":              {`{"evaluations":[],"evaluations":[{}]}`, 400},
		"items that are an object":        {`{"evaluations":{"0":{}}}`, 400},
		"an item that is a list":          {`{"evaluations":[[]]}`, 400},
		"something behind the batch":      {batchOf("", `{}`, `{}`) + `[`, 400},
		"an item that is null":            {`{"evaluations":[null]}`, 400},
		"an item that is a string":        {`{"evaluations":["{}"]}`, 400},
		"a semantic nobody knows":         {batchOf("allow_all", "deny/1"), 400},
		"a semantic that is a number":     {`{"options":{"evaluations_semantic":1},"evaluations":[{}]}`, 400},
		"a semantic in another case":      {batchOf("Permit_On_First_Permit", "deny/1"), 400},
		"text that is no UTF-8":           {batchOf("", "allowed/\xff"), 400},
		"a name for the items in capital": {strings.Replace(batchOf("", "allowed/1"), `"evaluations"`, `"Evaluations"`, 1), 400},
	} {
		t.Run(name, func(t *testing.T) {
			decider := &byName{}
			d := newDesk(decider, nil, false)
			status, body := d.ask(t, EvaluationsPath, tt.body)
			var message string
			if err := json.Unmarshal(body, &message); err != nil || message == "" || status != tt.status {
				t.Errorf("%d %.100s, want %d and a string", status, body, tt.status)
			}
			if n := len(decider.Asked()); n != 0 {
				t.Errorf("%d questions were asked", n)
			}
		})
	}
	decider := &byName{}
	if status, _ := newDesk(decider, nil, false).ask(t, EvaluationsPath, batchOf("", strings.Fields(strings.Repeat("allowed/1 ", maxItems))...)); status != 200 || len(decider.Asked()) != maxItems {
		t.Errorf("a batch as large as allowed: %d, %d asked", status, len(decider.Asked()))
	}
}

func TestAnItemCannotNameAnotherPointOrAskWhatAnotherPointGuards(t *testing.T) {
	decider := &byName{}
	d := newDesk(decider, nil, false)
	key := d.points.Enroll(nhi.DialectAuthZEN, func(p *nhi.Point) { p.Resources = []string{"allowed/mine"} })
	body := batchOf("", "allowed/mine", "allowed/theirs",
		`{"point":"nhi_other","Point":"nhi_other","id":"x","resource":{"type":"api","id":"allowed/mine","point":"nhi_other"},"context":{"point":"nhi_other"}}`)
	status, answer := d.ask(t, EvaluationsPath, body, asPoint(key))
	if diff := cmp.Diff([]string{"true", "403", "true"}, decisions(t, answer)); diff != "" || status != 200 {
		t.Errorf("%d (-want +got):\n%s", status, diff)
	}
	asked := decider.Asked()
	if len(asked) != 2 {
		t.Fatalf("%d questions were asked, want 2", len(asked))
	}
	for _, q := range asked {
		if q.Resource != "allowed/mine" || q.Point != asked[0].Point || q.Point == "nhi_other" {
			t.Errorf("asked about %s as %s", q.Resource, q.Point)
		}
	}
}

func TestPropertiesAreHeardOnlyFromAPointThatIsLet(t *testing.T) {
	body := `{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}},"action":{"name":"write"},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}`
	for _, path := range []string{EvaluationPath, EvaluationsPath} {
		decider := &byName{}
		newDesk(decider, nil, false).ask(t, path, body)
		newDesk(decider, nil, true).ask(t, path, body)
		asked := decider.Asked()
		if len(asked) != 2 || asked[0].Hearsay != nil {
			t.Fatalf("%s: a point that is not let asserts %+v", path, asked)
		}
		want := &nhi.Hearsay{
			SubjectType: "user", Subject: "bob", SubjectProperties: []byte(`{"role":"admin"}`), Action: "write",
			ResourceType: "record", Resource: "record-2", ResourceProperties: []byte(`{"status":"archived"}`),
		}
		if diff := cmp.Diff(want, asked[1].Hearsay); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	d := certificationDesk(t)
	d.c.Hearsay = nil
	if _, answer := d.ask(t, EvaluationPath, body); !strings.HasPrefix(string(answer), `{"decision":false`) {
		t.Errorf("a lie opened the door: %s", answer)
	}
}

func TestAPanicInABatchAllowsNothing(t *testing.T) {
	d := newDesk(&enforcetest.Decider{Panic: true}, nil, false)
	if status, body := d.ask(t, EvaluationsPath, batchOf("", "allowed/1")); status != http.StatusInternalServerError || strings.Contains(string(body), "true") {
		t.Errorf("%d %s", status, body)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(batchOf("deny_on_first_deny", "allowed/1", "deny/2", `{}`, `{"subject":null}`)))
	f.Add([]byte(`{"evaluations":[{"resource":{"type":"a","id":"b","properties":[]}}],"options":{}}`))
	f.Add([]byte(`{"evaluations":[[[[`))
	d := newDesk(&byName{}, nil, false)
	f.Fuzz(func(t *testing.T, body []byte) {
		var b batch
		if parse(body, &b) != nil {
			return
		}
		if len(b.Evaluations) > maxItems {
			t.Fatalf("%d items", len(b.Evaluations))
		}
		asked := len(b.Evaluations)
		status, answer := d.ask(t, EvaluationsPath, string(body))
		if status != 200 {
			return
		}
		var got struct {
			Decision    *bool
			Evaluations []struct{ Decision *bool }
		}
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatalf("the answer is no JSON: %v: %s", err, answer)
		}
		if len(got.Evaluations) > asked || asked == 0 && got.Decision == nil || asked > 0 && len(got.Evaluations) == 0 {
			t.Errorf("%d answers to %d items: %s", len(got.Evaluations), asked, answer)
		}
		for _, e := range got.Evaluations {
			if e.Decision == nil {
				t.Errorf("an answer without a decision: %s", answer)
			}
		}
	})
}

// BenchmarkEvaluations is a batch of 100, JSON in and out, without the decisions.
func BenchmarkEvaluations(b *testing.B) {
	bench := newBench(nil)
	bench.c.Decider = &allow{}
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprint("payments/api-", i))
	}
	body := batchOf("execute_all", names...)
	r := bench.request(body)
	r.URL.Path = EvaluationsPath
	b.ReportAllocs()
	for b.Loop() {
		r.Body = readCloser{strings.NewReader(body)}
		w := reply{header: http.Header{}}
		if bench.ServeHTTP(&w, r); w.code != http.StatusOK {
			b.Fatal(w.code)
		}
	}
}
