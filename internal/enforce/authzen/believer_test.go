package authzen

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"golang.org/x/time/rate"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

// A believer is a decision point as the working group's scenarios want one: it
// believes what is asserted, and knows people and records by any id. It stands
// behind the same handler as Muster's and rules by the scenario's own Cedar
// policies. It is also the catalogue of searches.
type believer struct {
	policies *cedar.PolicySet
	stored   cedar.EntityMap
}

func newBeliever(t testing.TB, policies string, stored ...cedar.Entity) *believer {
	t.Helper()
	set, err := cedar.NewPolicySetFromBytes("scenario.cedar", []byte(policies))
	if err != nil {
		t.Fatal(err)
	}
	b := &believer{set, cedar.EntityMap{}}
	for _, e := range stored {
		b.stored[e.UID] = e
	}
	return b
}

// entity makes an entity from pairs of names and values.
func entityOf(kind, id string, attributes ...string) cedar.Entity {
	m := cedar.RecordMap{}
	for i := 0; i < len(attributes); i += 2 {
		m[cedar.String(attributes[i])] = cedar.String(attributes[i+1])
	}
	return cedar.Entity{UID: cedar.NewEntityUID(cedar.EntityType(kind), cedar.String(id)), Attributes: cedar.NewRecord(m)}
}

// believe adds what is said of an entity to what is stored.
func (b *believer) believe(kind, id string, said []byte) cedar.Entity {
	e := cedar.Entity{UID: cedar.NewEntityUID(cedar.EntityType(kind), cedar.String(id))}
	m := cedar.RecordMap{}
	for name, v := range b.stored[e.UID].Attributes.All() {
		m[name] = v
	}
	for name, v := range properties(said) {
		m[name] = v
	}
	e.Attributes = cedar.NewRecord(m)
	return e
}

func properties(said []byte) cedar.RecordMap {
	m := cedar.RecordMap{}
	var of map[string]any
	if len(said) > 0 && json.Unmarshal(said, &of) != nil {
		return m
	}
	for name, v := range of {
		switch v := v.(type) {
		case string:
			m[cedar.String(name)] = cedar.String(v)
		case bool:
			m[cedar.String(name)] = cedar.Boolean(v)
		}
	}
	return m
}

func (b *believer) Decide(_ context.Context, q *nhi.Question) nhi.Decision {
	said := q.Hearsay
	if said == nil {
		return nhi.Decision{Outcome: nhi.Deny}
	}
	subject, resource := b.believe(said.SubjectType, said.Subject, said.SubjectProperties), b.believe(said.ResourceType, said.Resource, said.ResourceProperties)
	decision, _ := cedar.Authorize(b.policies, cedar.EntityMap{subject.UID: subject, resource.UID: resource}, cedar.Request{
		Principal: subject.UID, Action: cedar.NewEntityUID("Action", cedar.String(said.Action)), Resource: resource.UID,
		Context: cedar.NewRecord(properties(said.ActionProperties)),
	})
	if decision == cedar.Allow {
		return nhi.Decision{ID: "d", Outcome: nhi.Allow}
	}
	return nhi.Decision{ID: "d", Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "none", Effect: "forbid"}}}
}

func (b *believer) DecideAll(ctx context.Context, questions []nhi.Question, enough func(*nhi.Decision) bool) (out []nhi.Decision) {
	for i := range questions {
		out = append(out, b.Decide(ctx, &questions[i]))
		if enough != nil && enough(&out[i]) {
			break
		}
	}
	return out
}

func (b *believer) Try(questions []nhi.Question) []nhi.Decision {
	return b.DecideAll(context.Background(), questions, nil)
}

func (b *believer) Subjects(kind, after string, n int) ([]string, bool) { return b.of(kind, after, n) }

func (b *believer) Resources(kind, after string, n int, guarded func(string) bool) ([]string, bool) {
	names, more := b.of(kind, after, n)
	return slices.DeleteFunc(names, func(name string) bool { return !guarded(name) }), more
}

func (b *believer) of(kind, after string, n int) (ids []string, more bool) {
	for uid := range b.stored {
		if string(uid.Type) == kind && string(uid.ID) > after {
			ids = append(ids, string(uid.ID))
		}
	}
	slices.Sort(ids)
	return ids[:min(n, len(ids))], len(ids) > n
}

// acts is an Auditor that remembers, and fails when it is told.
type acts struct {
	mu   sync.Mutex // guards of
	of   []nhi.Act
	fail bool
}

func (a *acts) Record(_ context.Context, act nhi.Act) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail {
		return errors.New("the disk is full")
	}
	a.of = append(a.of, act)
	return nil
}

// A desk is a handler, a point that may ask it, and what it put on record.
type desk struct {
	*Handler
	points enforcetest.Points
	key    string
	acts   *acts
}

// newDesk returns a desk whose handler asks decider and looks through
// catalogue. The properties that points send reach the decider if hearsay.
func newDesk(decider Decider, catalogue Catalogue, hearsay bool) *desk {
	d := &desk{points: enforcetest.Points{}, acts: &acts{}}
	d.key = d.points.Enroll(nhi.DialectAuthZEN, nil)
	c := Config{Points: enforce.NewPoints(d.points), Decider: decider, Catalogue: catalogue, Audit: d.acts, PublicURL: "https://muster.example"}
	if hearsay {
		c.Hearsay = func(*nhi.Point) bool { return true }
	}
	d.Handler = New(c)
	d.paces.every = rate.Inf
	return d
}

// ask posts body and returns the status and the answer.
func (d *desk) ask(t testing.TB, path, body string, edit ...func(*http.Request)) (int, []byte) {
	t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:5000"
	r.Header.Set("Authorization", "Bearer "+d.key)
	r.Header.Set("Content-Type", "application/json")
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: the answer is %q", path, got)
	}
	return w.Code, w.Body.Bytes()
}

// asPoint asks as the point with another key.
func asPoint(key string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key) }
}
