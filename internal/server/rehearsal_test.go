package server

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
)

const noReads = "@id(\"no-reads\")\n@text(\"Nobody reads.\")\nforbid (principal, action == Action::\"read\", resource);\n"

// shadowed waits until the shadow says what is wanted.
func (r *running) shadowed(what string, want func(client.Shadow) bool) client.Shadow {
	r.t.Helper()
	var last client.Shadow
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var err error
		if last, err = r.api.GetShadow(r.t.Context(), client.ShadowQuery{}); err != nil {
			r.t.Fatal(err)
		}
		if want(last) {
			return last
		}
	}
	r.t.Fatalf("%s: the shadow never came to that: %+v", what, last)
	return last
}

func TestAShadowChangesNoAnswerAndSurvivesARestart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	r := start(t, data)
	point, key := r.furnish()
	ask := func(r *running) int { return r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7") }
	before := ask(r)
	started, err := r.api.StartShadow(t.Context(), client.StartShadow{Files: map[string]string{"x.cedar": noReads}})
	if err != nil || !started.Running || len(started.Files) != 1 || started.Author == "" {
		t.Fatalf("%+v, %v", started, err)
	}
	if got := ask(r); got != before {
		t.Fatalf("with a shadow the answer is %d, without %d", got, before)
	}
	s := r.shadowed("one decision", func(s client.Shadow) bool { return s.Judged >= 1 && len(s.Differences) >= 1 })
	d := s.Differences[0]
	if d.Kind != "newly-denied" || d.Identity != key.Identity || d.After != "deny" || d.Reason != "Nobody reads." || d.Name == "" || s.Changed != s.Denied || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	if none, err := r.api.GetShadow(t.Context(), client.ShadowQuery{Identity: "nhi_other"}); err != nil || len(none.Differences) != 0 || none.Judged == 0 {
		t.Errorf("of another identity: %+v, %v", none, err)
	}
	r.halt()
	again := start(t, data)
	if got := ask(again); got != before {
		t.Errorf("after a restart the answer is %d", got)
	}
	// The shadow is taken up beside the start, so some requests may come before.
	again.shadowed("after a restart", func(now client.Shadow) bool {
		ask(again)
		return now.Running && now.Digest == started.Digest && now.Judged > s.Judged
	})
	if stopped, err := again.api.StopShadow(t.Context()); err != nil || stopped.Running {
		t.Errorf("%+v, %v", stopped, err)
	}
	if _, err := again.api.StartShadow(t.Context(), client.StartShadow{Files: map[string]string{"x.cedar": "permit (principal, action, resource);"}}); status(err) != http.StatusUnprocessableEntity && status(err) != http.StatusBadRequest || !strings.Contains(err.Error(), "x.cedar:1:1") {
		t.Errorf("a wrong candidate: %v", err)
	}
}

func TestASimulationSaysWhatWouldHaveChanged(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	point, key := r.furnish()
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Fatalf("a good key: %d", got)
	}
	var got client.Simulation
	for deadline := time.Now().Add(90 * time.Second); got.Changed == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // the record is written a moment later
		var err error
		if got, err = r.api.SimulatePolicies(t.Context(), client.SimulateRequest{Files: map[string]string{"x.cedar": noReads}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got.Denied != 1 || got.Judged == 0 || len(got.Identities) != 1 || got.Identities[0].Name != key.Identity || got.Identities[0].Title == "" || len(got.Owners) != 1 || len(got.Policies) != 1 || got.Policies[0].Name != "no-reads" {
		t.Errorf("%+v", got)
	}
	if none, err := r.api.SimulatePolicies(t.Context(), client.SimulateRequest{Files: map[string]string{}}, nil); err != nil || none.Changed != 0 || none.Judged != got.Judged {
		t.Errorf("what is in force: %+v, %v", none, err)
	}
	if late, err := r.api.SimulatePolicies(t.Context(), client.SimulateRequest{Since: time.Now().Add(time.Hour)}, nil); err != nil || late.Decisions != 0 {
		t.Errorf("decisions of the future: %+v, %v", late, err)
	}
	if _, err := r.api.SimulatePolicies(t.Context(), client.SimulateRequest{Files: map[string]string{"x.cedar": "permit ("}}, nil); err == nil || !strings.Contains(err.Error(), "x.cedar:1") {
		t.Errorf("a wrong candidate: %v", err)
	}
}

func TestGrantsAreLearnedFromTheServersOwnRecord(t *testing.T) {
	r := start(t, t.TempDir())
	point, key := r.furnish()
	for range 3 {
		if got := r.knock(point, key); got != http.StatusOK {
			t.Fatalf("knocked: %d", got)
		}
	}
	var p client.Proposal
	r.until("decisions that teach", func() bool {
		var err error
		if p, err = r.api.LearnPolicies(t.Context(), client.LearnRequest{}, nil); err != nil {
			t.Fatal(err)
		}
		return p.Taught == 3
	})
	if len(p.Grants) != 1 || p.Grants[0].Identity != key.Identity || p.Grants[0].Name != "settler" || p.Grants[0].Resource != "payments/api" || !slices.Equal(p.Grants[0].Actions, []string{"read"}) || p.Grants[0].Granted {
		t.Errorf("proposed %+v", p.Grants)
	}
	for name, request := range map[string]client.LearnRequest{
		"another's": {Identity: "nhi_another"}, "another owner's": {Owner: "team:another"}, "of tomorrow": {Since: time.Now().Add(24 * time.Hour)},
	} {
		if p, err := r.api.LearnPolicies(t.Context(), request, nil); err != nil || len(p.Grants) != 0 {
			t.Errorf("%s: %+v, %v", name, p.Grants, err)
		}
	}
}

// TestGrantsAreTriedAsTheyWouldBePushed sends a library as it lies in git, over the
// API, in place of policies that allow more.
func TestGrantsAreTriedAsTheyWouldBePushed(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	r := start(t, data)
	grants := "grants:\n  - id: ledger-readers\n    template: grant\n    with: {principal: 'environment:production', resource: ledger, until: 2027-01-31}\n"
	library := map[string]string{"policies/x.cedar": noReads, "grants/team/a.yaml": grants, "tests/a.yaml": "tests: []\n"}
	if _, err := r.api.SimulatePolicies(t.Context(), client.SimulateRequest{Files: library}, nil); err != nil {
		t.Fatal(err)
	}
	got, err := r.api.StartShadow(t.Context(), client.StartShadow{Files: library})
	if err != nil || !slices.Equal(got.Files, []string{"generated/team/a.cedar", "policies/x.cedar"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	r.halt()
	r = start(t, data)
	n := 0
	r.shadowed("after a restart", func(s client.Shadow) bool {
		r.decides(n, "nhi_busy", "elsewhere", "")
		n++
		return s.Running && s.Digest == got.Digest && s.Judged > 0
	})
	for _, tt := range []struct {
		name, file, text, want string
	}{
		{"a grant that is wrong", "grants/team/a.yaml", strings.Replace(grants, "template: grant", "template: nope", 1), "grants/team/a.yaml:2"},
		{"a name that climbs", "../grants/a.yaml", grants, "../grants/a.yaml"},
		{"YAML where none belongs", "a.yaml", grants, "grants/**/*.yaml"},
		{"what the grants do not amount to", "generated/team/a.cedar", noReads, "generated/team/a.cedar"},
	} {
		files := maps.Clone(library)
		files[tt.file] = tt.text
		for call, err := range map[string]error{
			"simulate": only(r.api.SimulatePolicies(t.Context(), client.SimulateRequest{Files: files}, nil)),
			"shadow":   only(r.api.StartShadow(t.Context(), client.StartShadow{Files: files})),
		} {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: %v, want a word of %s", call, tt.name, err, tt.want)
			}
		}
	}
}
