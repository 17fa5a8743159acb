package server

import (
	"net/http"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	storeusage "github.com/muster-id/muster/internal/store/usage"
	"github.com/muster-id/muster/internal/usage"
)

// TestARefusalNamesWhoAndWhere wants the names of who was refused, proven or
// asserted, and of the point; what is in no inventory has none.
func TestARefusalNamesWhoAndWhere(t *testing.T) {
	r := start(t, t.TempDir())
	var who client.Identity
	r.send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "settler", Environment: "production"}, &who)
	var edge client.Enrolled
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "edge"}, &edge)
	var points client.Page[client.Point]
	r.get("/v1/points", &points)
	if len(points.Items) != 1 {
		t.Fatalf("%d points, want 1", len(points.Items))
	}
	at, point := time.Now(), nhi.ID(points.Items[0].ID)
	refusals := []usage.Refusal{
		{ID: "proven", Kind: usage.Denied, Identity: nhi.ID(who.ID), Point: point},
		{ID: "asserted", Kind: usage.Denied, Claimed: who.ID, Point: point},
		{ID: "proven by another's key", Kind: usage.Denied, Identity: "nhi_nobody", Claimed: who.ID},
		{ID: "of nobody", Kind: usage.UnknownPrincipal, Claimed: "nhi_nobody", Point: "nhi_nowhere"},
		{ID: "by the name", Kind: usage.FailedAuthentication, Claimed: "settler"},
	}
	for i := range refusals {
		refusals[i].At, refusals[i].Count = at, 1
	}
	if _, err := r.db.Write(t.Context(), func(tx *store.Tx) error { return storeusage.AddRefusals(t.Context(), tx, refusals) }); err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"proven": {"settler", "edge"}, "asserted": {"settler", "edge"}, "proven by another's key": {}, "of nobody": {}, "by the name": {},
	}
	var page client.Page[client.Refusal]
	r.get("/v1/refusals", &page)
	if len(page.Items) != len(want) {
		t.Errorf("%d refusals are listed, want %d", len(page.Items), len(want))
	}
	for _, f := range page.Items {
		if got := [2]string{f.Name, f.PointName}; got != want[f.ID] {
			t.Errorf("%s: named %q, want %q", f.ID, got, want[f.ID])
		}
	}
}
