package authzen

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

var robot = nhi.IdentityID("muster", "test", "robot")

var question = `{"subject":{"type":"identity","id":"` + string(robot) + `","properties":{"risk":0}},
"action":{"name":"read"},"resource":{"type":"api","id":"payments/api"},
"context":{"ip":"198.51.100.9","user_agent":"robot/1.0","now":"1999-01-01T00:00:00Z","future":[1,{"x":2}]},"options":{}}`

type bench struct {
	*Handler
	decider *enforcetest.Decider
	key     string
}

func newBench(edit func(*nhi.Point)) *bench {
	points := enforcetest.Points{}
	b := &bench{decider: &enforcetest.Decider{Answer: nhi.Decision{ID: "dec-1", Outcome: nhi.Allow}}}
	b.key = points.Enroll(nhi.DialectAuthZEN, edit)
	b.Handler = New(Config{Points: enforce.NewPoints(points), Decider: b.decider, PublicURL: "https://muster.example/"})
	return b
}

func (b *bench) request(body string) *http.Request {
	r := httptest.NewRequest("POST", EvaluationPath, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:5000"
	r.Header.Set("Authorization", "Bearer "+b.key)
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("X-Request-Id", "req-1")
	return r
}

func (b *bench) do(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w.Result()
}

func decoded(t *testing.T, res *http.Response) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAQuestionIsAnsweredFromWhatIsOursToKnow(t *testing.T) {
	b := newBench(nil)
	res := b.do(b.request(question))
	if res.StatusCode != 200 || res.Header.Get("X-Request-Id") != "req-1" || decoded(t, res)["decision"] != true {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	got := b.decider.Asked()[0]
	want := nhi.Question{
		ID: "req-1", Point: got.Point, Subject: nhi.Attested{Identity: robot, Method: "asserted", Asserted: true},
		Action: nhi.Read, Operation: "read", Target: "read", Resource: "payments/api", Address: netip.MustParseAddr("198.51.100.9"), Agent: "robot/1.0", At: got.At,
		Said: nhi.Wording{ResourceType: "api"},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.At.Year() < 2020 {
		t.Error("the point decided what time it is")
	}
}

// TestWhatIsSaidOfActionAndResourceIsPassedOn as it was written, for approvals.
func TestWhatIsSaidOfActionAndResourceIsPassedOn(t *testing.T) {
	b := newBench(nil)
	res := b.do(b.request(`{"subject":{"type":"identity","id":"x","properties":{"a":1}},"action":{"name":"read","properties":{"amount": 5}},
		"resource":{"type":"account","id":"r","properties":{"owner":"b"}},"context":{"ip":"198.51.100.9","more":2}}`))
	want := nhi.Wording{ResourceType: "account", Action: []byte(`{"amount": 5}`), Resource: []byte(`{"owner":"b"}`)}
	if asked := b.decider.Asked(); res.StatusCode != 200 || len(asked) != 1 || !cmp.Equal(want, asked[0].Said) {
		t.Fatalf("%d %+v", res.StatusCode, asked)
	}
}

func TestDecisionsKeepTheirMeaning(t *testing.T) {
	enforcetest.Drive(t, func(t *testing.T, answer nhi.Decision, _ enforcetest.Caller) nhi.Outcome {
		b := newBench(nil)
		b.decider.Answer = answer
		res := b.do(b.request(question))
		got := decoded(t, res)
		outcome := nhi.Outcome(got["context"].(map[string]any)["outcome"].(string))
		if res.StatusCode != 200 || got["decision"] != (outcome == nhi.Allow) {
			t.Errorf("%d, decision %v beside outcome %s", res.StatusCode, got["decision"], outcome)
		}
		return outcome
	}, enforcetest.Known)
}

func TestAStepUpSaysWhatWouldUnlockIt(t *testing.T) {
	b := newBench(nil)
	b.decider.Answer = nhi.Decision{
		ID: "dec-2", Outcome: nhi.StepUp,
		Obligations: []nhi.Obligation{{Kind: nhi.StepBind}, {Kind: nhi.StepApprove, Value: "team:pay"}},
		Reasons:     []nhi.Reason{{Policy: "guard-new-network", Effect: "forbid", Text: "a network never seen before"}},
	}
	got := decoded(t, b.do(b.request(question)))
	want := map[string]any{"decision": false, "context": map[string]any{
		"evaluation_id": "dec-2", "outcome": "step-up",
		"reason_admin": map[string]any{"en": "a network never seen before"},
		"reason_user":  map[string]any{"en": "Muster refused this request. Its administrators can see why under dec-2."},
		"reasons":      []any{map[string]any{"policy": "guard-new-network", "effect": "forbid", "text": "a network never seen before"}},
		"obligations": []any{
			map[string]any{"id": "step-up-bind", "type": "step-up", "properties": map[string]any{"kind": "bind", "acr_value": "urn:muster:acr:bound"}},
			map[string]any{"id": "step-up-approve", "type": "custom", "properties": map[string]any{"kind": "approve", "value": "team:pay"}},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARequestWithoutAPointIsNotAnswered(t *testing.T) {
	b := newBench(nil)
	for name, edit := range map[string]func(*http.Request){
		"no key":               func(r *http.Request) { r.Header.Del("Authorization") },
		"two keys":             func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+b.key) },
		"from elsewhere":       func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" },
		"the key in the query": func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "access_token=" + b.key },
	} {
		t.Run(name, func(t *testing.T) {
			r := b.request(question)
			edit(r)
			if res := b.do(r); res.StatusCode != 401 {
				t.Errorf("status %d, want 401", res.StatusCode)
			}
		})
	}
	if asked := b.decider.Asked(); len(asked) != 0 {
		t.Errorf("the decider was asked %d times", len(asked))
	}
}

func TestBadQuestionsGetOneStringAndTheRightStatus(t *testing.T) {
	long := strings.Repeat("x", maxName+1)
	for _, tt := range []struct {
		name, body string
		status     int
		edit       func(*http.Request)
	}{
		{"empty", ``, 400, nil},
		{"not JSON", `{"subject"`, 400, nil},
		{"an array", `[]`, 400, nil},
		{"two values", question + question, 400, nil},
		{"no subject", `{"action":{"name":"read"},"resource":{"type":"a","id":"b"}}`, 400, nil},
		{"no subject id", strings.Replace(question, `"id":"`+string(robot)+`",`, "", 1), 400, nil},
		{"null subject", `{"subject":null,"action":{"name":"read"},"resource":{"type":"a","id":"b"}}`, 400, nil},
		{"no action", strings.Replace(question, `"action":{"name":"read"},`, "", 1), 400, nil},
		{"no action name", strings.Replace(question, `"name":"read"`, "", 1), 400, nil},
		{"no resource type", strings.Replace(question, `"type":"api",`, "", 1), 400, nil},
		{"action is a string", strings.Replace(question, `{"name":"read"}`, `"read"`, 1), 400, nil},
		{"repeated name", strings.Replace(question, `"action"`, `"action":{"name":"list"},"action"`, 1), 400, nil},
		{"other case smuggled in", strings.Replace(question, `"action"`, `"Action"`, 1), 400, nil},
		{"invalid UTF-8", strings.Replace(question, "robot/1.0", "\xff", 1), 400, nil},
		{"address that is none", strings.Replace(question, "198.51.100.9", "home", 1), 400, nil},
		{"overlong id", strings.Replace(question, "payments/api", long, 1), 400, nil},
		{"nested without end", `{"context":` + strings.Repeat("[", 10000), 400, nil},
		{"too large", `{"x":"` + strings.Repeat("x", maxBody) + `"}`, 413, nil},
		{"too large, length hidden", `{"x":"` + strings.Repeat("x", maxBody) + `"}`, 413, func(r *http.Request) { r.ContentLength = -1 }},
		{"a form", question, 400, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }},
		{"no type", question, 400, func(r *http.Request) { r.Header.Del("Content-Type") }},
		{"GET", "", 405, func(r *http.Request) { r.Method = "GET" }},
		{"elsewhere", question, 404, func(r *http.Request) { r.URL.Path += "x" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(nil)
			r := b.request(tt.body)
			if tt.edit != nil {
				tt.edit(r)
			}
			res := b.do(r)
			var message string
			if err := json.NewDecoder(res.Body).Decode(&message); err != nil || message == "" || res.StatusCode != tt.status {
				t.Errorf("%d %q %v, want %d and a string", res.StatusCode, message, err, tt.status)
			}
			if res.Header.Get("X-Request-Id") != "req-1" {
				t.Error("X-Request-ID is not echoed")
			}
			if len(b.decider.Asked()) != 0 {
				t.Error("the decider was asked")
			}
		})
	}
}

func TestAPointAsksOnlyAboutWhatItGuards(t *testing.T) {
	b := newBench(func(p *nhi.Point) { p.Resources = []string{"orders/api"} })
	if res := b.do(b.request(question)); res.StatusCode != 403 {
		t.Errorf("status %d, want 403", res.StatusCode)
	}
}

func TestAPanicDenies(t *testing.T) {
	b := newBench(nil)
	b.decider.Panic = true
	res := b.do(b.request(question))
	if got := decoded(t, res)["decision"]; res.StatusCode != 200 || got != false {
		t.Errorf("%d, decision %v", res.StatusCode, got)
	}
}

func TestSubjectsAndActionsAreUnderstood(t *testing.T) {
	spiffe := "spiffe://muster.example/nhi/" + string(robot)
	for id, want := range map[string]nhi.ID{string(robot): robot, spiffe: robot, "alice": "", "spiffe://x/y": "", "nhi_short": "", spiffe + "/x": "",
		"spiffe://evil.example/nhi/" + string(robot): "", "spiffe://muster.example/x/nhi/" + string(robot): "", "spiffe:///nhi/" + string(robot): ""} {
		if got := identity(id, "muster.example"); got != want {
			t.Errorf("identity(%q) = %q, want %q", id, got, want)
		}
	}
	for _, tt := range []struct {
		name string
		said nhi.ActionClass
		want nhi.ActionClass
	}{
		{"admin", "", nhi.Admin}, {"admin", nhi.Read, nhi.Admin}, {"s3:GetObject", "", nhi.Read}, {"s3:GetObject", "look", nhi.Read},
		{"s3:PutObject", nhi.Read, nhi.Write}, {"iam:CreateAccessKey", nhi.Read, nhi.Admin}, {"x:UnheardOf", nhi.Read, nhi.Read}, {"x:UnheardOf", "", nhi.Write},
		{"s3:Get*", "", ""}, {"s3:getObject", "", ""}, {"look", nhi.Read, nhi.Read}, {"look", "glance", ""},
		{"POST", "", nhi.Write}, {"POST", nhi.Read, nhi.Read}, {"DELETE", "", nhi.Delete}, {"look", "", ""},
	} {
		a := action{Name: tt.name}
		if tt.said != "" {
			a.Properties = jsontext.Value(`{"class":"` + tt.said + `"}`)
		}
		if got, err := a.class(); err != nil || got != tt.want {
			t.Errorf("class of %q, %q = %q, %v, want %q", tt.name, tt.said, got, err, tt.want)
		}
	}
}

func TestMetadataNamesOnlyWhatExists(t *testing.T) {
	b := newBench(nil)
	res := b.do(httptest.NewRequest("GET", MetadataPath, nil))
	want := map[string]any{
		"policy_decision_point":       "https://muster.example",
		"access_evaluation_endpoint":  "https://muster.example/access/v1/evaluation",
		"access_evaluations_endpoint": "https://muster.example/access/v1/evaluations",
		"search_subject_endpoint":     "https://muster.example/access/v1/search/subject",
		"search_resource_endpoint":    "https://muster.example/access/v1/search/resource",
		"search_action_endpoint":      "https://muster.example/access/v1/search/action",
		"supported_obligations":       []any{"step-up", "custom"},
	}
	if diff := cmp.Diff(want, decoded(t, res)); diff != "" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v (-want +got):\n%s", res.Header, diff)
	}
	if res := b.do(httptest.NewRequest("POST", MetadataPath, nil)); res.StatusCode != 405 {
		t.Errorf("POST: %d, want 405", res.StatusCode)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(question))
	f.Add([]byte(`{"subject":{"type":"a","id":"b"},"action":{"name":"\u0000"},"resource":{"type":"a","id":"\\"}}`))
	f.Add([]byte(`[[[[[[[[[[[[[[[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var asked tuple
		if parse(body, &asked) != nil || asked.complete() != nil {
			return
		}
		var q nhi.Question
		err := asked.question(&q, time.Now(), reading{})
		if err == nil && (q.Resource == "" || q.Operation == "" || !q.Subject.Asserted || q.At.IsZero()) {
			t.Errorf("half a question was accepted: %+v", q)
		}
	})
}

type allow struct{ enforcetest.Decider }

func (*allow) Decide(context.Context, *nhi.Question) nhi.Decision {
	return nhi.Decision{ID: "d", Outcome: nhi.Allow}
}

func (*allow) DecideAll(_ context.Context, questions []nhi.Question, _ func(*nhi.Decision) bool) []nhi.Decision {
	return slices.Repeat([]nhi.Decision{{ID: "d", Outcome: nhi.Allow}}, len(questions))
}

func BenchmarkEvaluate(b *testing.B) {
	bench := newBench(nil)
	bench.c.Decider = &allow{}
	r := bench.request(question)
	b.ReportAllocs()
	for b.Loop() {
		r.Body = readCloser{strings.NewReader(question)}
		w := reply{header: http.Header{}}
		if bench.ServeHTTP(&w, r); w.code != http.StatusOK {
			b.Fatal(w.code)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// reply is the least that can be answered into.
type reply struct {
	header http.Header
	code   int
}

func (w *reply) Header() http.Header { return w.header }

func (w *reply) WriteHeader(code int) { w.code = code }

func (w *reply) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return len(b), nil
}
