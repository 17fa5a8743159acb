package server

import (
	"net/http"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/learning"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/view"
)

func TestWhatWasLearnedIsShown(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	var before client.Learned
	r.get("/v1/identities/"+cred.Identity+"/normal", &before)
	if before.Events != 0 || before.Established || before.Hours == nil || before.Features == nil {
		t.Errorf("before any call: %+v, want empty lists and nothing learned", before)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Fatalf("the key gets %d", got)
	}
	r.until("the call to be learned", func() bool { return r.mind().Page(nhi.ID(cred.Identity)) != nil })
	var got client.Learned
	r.get("/v1/identities/"+cred.Identity+"/normal", &got)
	if got.Events != 1 || got.Established || len(got.Hours) != 1 || got.FirstSeen == nil {
		t.Errorf("after one call: %+v, want one call in one hour, not established", got)
	}
	network := client.LearnedFeature{}
	for _, f := range got.Features {
		if f.Feature == "network" {
			network = f
		}
	}
	if len(network.Values) != 1 || network.Values[0].Share != 1 {
		t.Errorf("networks: %+v, want the one it came from", network)
	}
}

func TestARiskIsTheSumOfItsTerms(t *testing.T) {
	at := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	open := []nhi.Finding{
		{ID: "a", Rule: "DET-02", Title: "new network", Severity: nhi.High, Score: 60, Identity: "nhi_x", LastSeen: at},
		{ID: "b", Rule: "DET-05", Title: "many refusals", Severity: nhi.Medium, Score: 60, Identity: "nhi_x", LastSeen: at.Add(-24 * time.Hour)},
		{ID: "c", Rule: "DET-02", Title: "of the key", Severity: nhi.High, Score: 60, Identity: "nhi_x", Credential: "crd_y", LastSeen: at},
		{ID: "d", Rule: "LEAK-01", Title: "what somebody claims", Severity: nhi.Critical, Score: 100, Identity: "nhi_x", LastSeen: at},
	}
	e := view.Explanation{Ledger: learning.Risk(open), At: at, Findings: map[string]*nhi.Finding{"a": &open[0], "b": &open[1]}}
	risk, held := e.Ledger.Identity("nhi_x", at)
	terms := e.Terms(held)
	if len(terms) != 2 || terms[0].Finding != "a" || terms[0].Title != "new network" || terms[1].Severity != "medium" {
		t.Fatalf("terms %+v, want a then b: neither the key's nor a claim", terms)
	}
	if terms[1].Sum != risk {
		t.Errorf("the last sum is %d, the risk %d", terms[1].Sum, risk)
	}
	if terms[0].Now != terms[0].Weight || terms[1].Now >= terms[1].Weight {
		t.Errorf("a fresh term must not have faded, an old one must: %+v", terms)
	}
}

func TestTheRiskOfAnIdentityWithoutFindingsHasNoTerms(t *testing.T) {
	r := start(t, t.TempDir())
	_, cred := r.furnish()
	var got client.Risk
	r.get("/v1/identities/"+cred.Identity+"/risk", &got)
	if got.Risk != 0 || got.Terms == nil || len(got.Terms) != 0 || got.Credentials == nil || got.HalfLife <= 0 {
		t.Errorf("risk %+v, want none, with empty lists", got)
	}
}
