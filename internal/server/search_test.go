package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/decision/logbook"
)

// found asks one of AuthZEN's searches as a point and returns the ids or names.
func (r *running) found(point, what, body string) (names []string) {
	r.t.Helper()
	res, text := r.raw(http.MethodPost, "/access/v1/search/"+what, body, "Authorization", "Bearer "+point)
	var got struct {
		Results []struct{ ID, Name string }
		Page    struct {
			Next string `json:"next_token"`
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || res.StatusCode != http.StatusOK || got.Page.Next != "" {
		r.t.Fatalf("%s: %d %s", what, res.StatusCode, text)
	}
	for _, result := range got.Results {
		names = append(names, result.ID+result.Name)
	}
	return names
}

func TestSearchesFindWhatEvaluationsAllowAndLeaveOneActEach(t *testing.T) {
	r := start(t, t.TempDir())
	point, key := r.furnish()
	r.put("resources.yaml", testResources+"- {id: vault/keys, environment: production, sensitivity: 4, service: vault}\n- {id: test/api, environment: test, sensitivity: 1}\n")
	other, _ := r.identity("worker")
	subject := `"subject":{"type":"identity","id":"` + key.Identity + `"}`
	action := `"action":{"name":"read"}`
	resource := `"resource":{"type":"api","id":"payments/api"}`

	for _, kind := range []string{"identity", "service-account"} {
		got := r.found(point, "subject", `{"subject":{"type":"`+kind+`"},`+action+`,`+resource+`}`)
		if !slices.Contains(got, key.Identity) || !slices.Contains(got, other.ID) {
			t.Errorf("subjects of type %s: %q, want those of %s and %s among them", kind, got, key.Identity, other.ID)
		}
	}
	for _, kind := range []string{"user", "iam-role"} {
		if got := r.found(point, "subject", `{"subject":{"type":"`+kind+`"},`+action+`,`+resource+`}`); len(got) != 0 {
			t.Errorf("subjects of type %s: %q", kind, got)
		}
	}
	// A point only asserts who it is, which is not enough for sensitivity 4.
	if got := r.found(point, "resource", `{`+subject+`,`+action+`,"resource":{"type":"resource"}}`); !slices.Equal(got, []string{"payments/api"}) {
		t.Errorf("resources: %q, want payments/api", got)
	}
	if got := r.found(point, "action", `{`+subject+`,`+resource+`}`); !slices.Contains(got, "read") || !slices.Contains(got, "write") {
		t.Errorf("actions: %q", got)
	}
	if n := len(r.log.Recent(logbook.Filter{}, 10)); n != 0 {
		t.Errorf("%d decisions are on record for searches", n)
	}
	if n := r.acts()["access.search"]; n != 6 {
		t.Errorf("%d searches are in the audit log, want 6", n)
	}
	// An act carries who searched and for what.
	var page client.Page[client.Entry]
	r.get("/v1/audit?limit=500", &page)
	for _, a := range page.Items {
		if a.Act == "access.search" && (a.Target == "" || !strings.Contains(a.Actor, "nhi_")) {
			t.Errorf("the act is %+v", a)
		}
	}
}

func TestABatchIsOneDecisionOnRecordForEachItem(t *testing.T) {
	r := start(t, t.TempDir())
	point, key := r.furnish()
	var items []string
	for i := range 20 {
		items = append(items, fmt.Sprintf(`{"action":{"name":%q}}`, []string{"read", "fly"}[i%2]))
	}
	body := `{"subject":{"type":"identity","id":"` + key.Identity + `"},"resource":{"type":"api","id":"payments/api"},"evaluations":[` + strings.Join(items, ",") + `]}`
	res, text := r.raw(http.MethodPost, "/access/v1/evaluations", body, "Authorization", "Bearer "+point)
	var got struct {
		Evaluations []struct {
			Decision bool
			Context  struct {
				ID string `json:"evaluation_id"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || res.StatusCode != http.StatusOK || len(got.Evaluations) != 20 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	generations := map[any]bool{}
	for i, e := range got.Evaluations {
		kept, ok := r.log.Get(e.Context.ID)
		if !ok || e.Decision != (i%2 == 0) || kept.Allowed() != e.Decision {
			t.Errorf("item %d: decision %v, on record %v as %s", i, e.Decision, ok, kept.Outcome)
		}
		generations[kept.Generation] = true
	}
	if len(generations) != 1 {
		t.Errorf("one batch was decided at %d generations", len(generations))
	}
	if n := len(r.log.Recent(logbook.Filter{}, 100)); n != 20 {
		t.Errorf("%d decisions on record, want 20", n)
	}
}
