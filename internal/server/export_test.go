package server

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
)

// exported returns the decisions of an export as JSON Lines.
func (r *running) exported(c *client.Client, q client.DecisionQuery) (out []client.Decision, next string) {
	r.t.Helper()
	var b bytes.Buffer
	next, err := c.ExportDecisions(r.t.Context(), "jsonl", q, &b)
	if err != nil {
		r.t.Fatal(err)
	}
	for d := json.NewDecoder(&b); ; {
		var one client.Decision
		if err := d.Decode(&one); err == io.EOF {
			return out, next
		} else if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, one)
	}
}

func TestDecisionsAreExportedAndThatIsOnRecord(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	point, key := r.furnish()
	for range 5 {
		r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7")
	}
	all, next := r.exported(r.api, client.DecisionQuery{})
	if len(all) != 5 || next != "" || all[0].Name == "" || all[0].PointName == "" {
		t.Fatalf("%d decisions, next %q: %+v", len(all), next, all)
	}
	// What the limit leaves out follows behind the trailer, once each.
	since := client.DecisionQuery{Since: time.Now().Add(-time.Hour), Before: time.Now().Add(time.Hour)}
	seen, token := map[string]bool{}, ""
	for range 3 {
		q := client.DecisionQuery{ListQuery: client.ListQuery{Limit: 2, PageToken: token}, Since: since.Since, Before: since.Before}
		var some []client.Decision
		if some, token = r.exported(r.api, q); len(some) > 2 {
			t.Errorf("%d decisions, want two at most", len(some))
		}
		for _, d := range some {
			if seen[d.ID] {
				t.Errorf("decision %s twice", d.ID)
			}
			seen[d.ID] = true
		}
	}
	if len(seen) != 5 || token != "" {
		t.Errorf("%d decisions in three files, next %q", len(seen), token)
	}
	var table bytes.Buffer
	if _, err := r.api.ExportDecisions(t.Context(), "csv", client.DecisionQuery{Outcome: "allow"}, &table); err != nil {
		t.Fatal(err)
	}
	if rows, err := csv.NewReader(&table).ReadAll(); err != nil || len(rows) != 6 || rows[0][0] != "at" {
		t.Errorf("CSV: %q, %v", rows, err)
	}
	table.Reset()
	if _, err := r.api.ExportDecisions(t.Context(), "csv", client.DecisionQuery{Outcome: "deny"}, &table); err != nil || !strings.HasPrefix(table.String(), "at,outcome") || strings.Count(table.String(), "\n") != 1 {
		t.Errorf("CSV of none: %q, %v", table.String(), err)
	}
	if acts := r.acts(); acts["decisions.export"] != 6 {
		t.Errorf("acts: %v", acts)
	}
	for path, want := range map[string]int{
		"/v1/decisions/export?filter=nope:1": http.StatusUnprocessableEntity, "/v1/decisions/export?format=xml": http.StatusUnprocessableEntity,
		"/v1/decisions/export?limit=1000001": http.StatusUnprocessableEntity, "/v1/decisions/export?page_token=x": http.StatusUnprocessableEntity,
	} {
		if got, text := r.raw(http.MethodGet, path, ""); got.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", path, got.StatusCode, want, text)
		}
	}
	if acts := r.acts(); acts["decisions.export"] != 6 {
		t.Errorf("what was refused is on record as done: %v", acts)
	}
}

func TestAnExportShowsOnlyWhatItsCallerSees(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	for _, who := range c.scoped {
		if got, text := c.call(who, http.MethodGet, "/v1/decisions/export", ""); got == http.StatusOK {
			for _, name := range c.names {
				if strings.Contains(text, name) {
					t.Errorf("the export of %s has %q", who, name)
				}
			}
			if !strings.Contains(text, c.inside["decision"]) {
				t.Errorf("the export of %s lacks what it sees", who)
			}
		} else if got != http.StatusForbidden {
			t.Errorf("%s: %d", who, got)
		}
	}
}
