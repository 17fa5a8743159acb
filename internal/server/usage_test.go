package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
)

func TestWhatHappensIsCountedAndWhoWasRefusedIsListed(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	point, key := r.furnish()
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Fatalf("the rightful key gets %d", got)
	}
	r.ask(point, "Bearer nonsense", "GET", "/payments/1", "203.0.113.8")
	r.ask(point, "", "GET", "/nowhere", "203.0.113.8")
	thief := "nobody-knows-this-secret"
	if err := r.as(thief).Get(t.Context(), "/v1/overview", nil, nil); err == nil {
		t.Fatal("a made-up token was let in")
	}
	count := func() map[string]uint64 {
		var u client.Usage
		r.get("/v1/usage?by=outcome,service,jurisdiction&bucket=day", &u)
		out := map[string]uint64{}
		for _, row := range u.Rows {
			out[row.Outcome] += row.Count
			if row.Outcome == "allow" && (row.Service != "payments/api" || row.Jurisdiction != "GDPR" || row.Basis != "region") {
				t.Errorf("counted as %+v", row)
			}
		}
		return out
	}
	list := func(filter string) []client.Refusal {
		var page client.Page[client.Refusal]
		r.get("/v1/refusals?filter="+filter, &page)
		for _, f := range page.Items {
			if strings.Contains(f.Claimed+f.Operation+f.Reason, thief) || strings.Contains(f.Claimed, "nonsense") {
				t.Errorf("a secret is listed: %+v", f)
			}
		}
		return page.Items
	}
	r.until("the counts", func() bool { c := count(); return c["allow"] == 1 && c["deny"] == 2 })
	r.until("the refusals", func() bool { return len(list("kind:failed_authentication")) == 3 })
	if got := list("kind:failed_authentication%20address:203.0.113.8"); len(got) != 2 {
		t.Errorf("from the address %d are listed, want 2", len(got))
	}
	r.halt()
	r = start(t, data)
	r.until("learning", func() bool { return r.learner.Err() == nil })
	if c := count(); c["allow"] != 1 || c["deny"] != 2 || len(list("")) != 3 {
		t.Errorf("after a restart %v", c)
	}
}
