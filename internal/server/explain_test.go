package server

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
)

func TestADecisionIsFoundAndExplainedAfterARestart(t *testing.T) {
	data := t.TempDir()
	r, point, key := asking(t, data)
	if got := r.knock(point, key); got == http.StatusOK {
		t.Fatal("it passed")
	}
	var before client.Page[client.Decision]
	r.get("/v1/decisions?outcome=step-up", &before)
	if len(before.Items) != 1 {
		t.Fatalf("%d decisions", len(before.Items))
	}
	id := before.Items[0].ID
	r.halt()
	again := start(t, data)
	got, err := again.api.GetDecision(t.Context(), id)
	if err != nil || got.Outcome != "step-up" || got.Resource != before.Items[0].Resource {
		t.Fatalf("after a restart: %+v, %v", got, err)
	}
	old, err := again.api.ListDecisions(t.Context(), client.DecisionQuery{Outcome: "step-up", Since: time.Now().Add(-time.Hour)})
	if err != nil || !slices.ContainsFunc(old.Items, func(d client.Decision) bool { return d.ID == id }) {
		t.Errorf("the list does not have it: %+v, %v", old, err)
	}
	if late, err := again.api.ListDecisions(t.Context(), client.DecisionQuery{Since: time.Now().Add(time.Hour)}); err != nil || len(late.Items) != 0 {
		t.Errorf("decisions of the future: %+v, %v", late, err)
	}
	e, err := again.api.ExplainDecision(t.Context(), id)
	if err != nil || !e.Recorded || !e.SamePolicies || e.Outcome != "step-up" || e.Decision.ID != id || len(e.Policies) == 0 || len(e.Unlock) == 0 || len(e.Inputs) < 30 {
		t.Fatalf("%+v, %v", e, err)
	}
	if p := e.Policies[0]; !p.Matched || len(p.Parts) == 0 || p.ID != got.Reasons[0].Policy {
		t.Errorf("%+v", p)
	}
}
