package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
)

// proven is an attestation with everything in it.
func proven() *nhi.Attestation {
	return &nhi.Attestation{
		Method: "oidc", At: usual().At.Add(-90*time.Second - time.Millisecond), Level: nhi.EvidenceMachine, Selectors: []string{"sub:a", "team:b"},
		Location: nhi.Location{Provider: "aws", Cluster: "prod-1"},
		Device:   nhi.Device{ID: "d-1", Attested: true, Image: "sha256:00"},
	}
}

func TestWhatPoliciesCanAskAboutARequest(t *testing.T) {
	for _, tt := range []struct {
		condition string
		edit      func(*nhi.Question)
		want      bool
	}{
		{`context has attestation`, nil, true},
		{`context has attestation`, func(q *nhi.Question) { q.Known.Attestation = nil }, false},
		{`context has attestation && context.attestation.age <= 90`, nil, false}, // a begun second counts
		{`context has attestation && context.attestation.age <= 91`, nil, true},
		{`context has attestation && context.attestation.age == 0`, func(q *nhi.Question) { q.At = q.At.Add(-time.Hour) }, true},
		// Older than a Duration can tell, which once came out as younger than anything.
		{`context has attestation && context.attestation.age <= 86400`, func(q *nhi.Question) { q.Known.Attestation.At = time.Time{} }, false},
		{`context has attestation && context.attestation.age > 9223372036`, func(q *nhi.Question) { q.Known.Attestation.At = time.Time{} }, true},
		{`context has attestation && context.attestation.method == "oidc" && context.attestation.level == 2`, nil, true},
		{`context has attestation && context.attestation.selectors.containsAll(["team:b"])`, nil, true},
		{`context has attestation && context.attestation.selectors.contains("team:c")`, nil, false},
		{`context.location has cluster && context.location.cluster == "prod-1"`, nil, true},
		{`context.location has region`, nil, false},
		{`context.location has cluster`, func(q *nhi.Question) { q.Known.Attestation = nil }, false},
		{`context has device && context.device.attested && !context.device.secureBoot`, nil, true},
		{`context has device`, func(q *nhi.Question) { q.Known.Attestation.Device = nhi.Device{} }, false},
		{`context has purpose`, nil, false},
		{`context has purpose && context.purpose == "billing"`, func(q *nhi.Question) { q.Known.Purpose = "billing" }, true},
		{`context.delegation.depth == 0`, nil, true},
		{`context.delegation.depth == 2 && context.delegation.actors.contains(Identity::"nhi_b")`, func(q *nhi.Question) { q.Subject.Actors = []nhi.ID{"nhi_a", "nhi_b"} }, true},
		{`principal in context.delegation.actors`, itself, true},
		{`principal is Workload in context.delegation.actors`, itself, true},
		{`principal in context.delegation.actors`, func(q *nhi.Question) { q.Subject.Actors = []nhi.ID{"nhi_b"} }, false},
		// 1 January 2026, 00:30 in Berlin, is still Wednesday in Chicago.
		{`context.zones["Europe/Berlin"] == {minute: 30, weekday: 4, date: "2026-01-01"}`, newYear, true},
		{`context.zones["America/Chicago"].minute == 1050 && context.zones["America/Chicago"].weekday == 3`, newYear, true},
		{`context.zones["UTC"].date == "2025-12-31" && context.zones["Europe/Berlin"].date == "2026-01-01"`, newYear, true},
		{`context.zones["Europe/Berlin"].weekday == 7`, func(q *nhi.Question) { q.At = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC) }, true},
		// The hour that summer time leaves out.
		{`context.zones["Europe/Berlin"].minute == 180`, func(q *nhi.Question) { q.At = time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC) }, true},
	} {
		set := mustLoad(t, Settings{RequireGrant: true, RiskDeny: 100, SurpriseStepUp: 1000}, map[string]string{
			"x.cedar": `@id("x") permit (principal, action, resource) when { ` + tt.condition + ` };`})
		q := usual()
		q.Subject.Assurance, q.Subject.SenderBound = nhi.AssuranceAttested, true
		q.Known.Attestation = proven()
		if tt.edit != nil {
			tt.edit(q)
		}
		if got := set.Evaluate(q); (got.Outcome == nhi.Allow) != tt.want || got.Errors > 0 {
			t.Errorf("%s: %s, %d errors, want %v: %v", tt.condition, got.Outcome, got.Errors, tt.want, policies(got))
		}
		if got := set.Evaluate(q); (got.Outcome == nhi.Allow) != tt.want {
			t.Errorf("%s: asked again it is %s", tt.condition, got.Outcome)
		}
	}
}

func itself(q *nhi.Question) { q.Subject.Actors = []nhi.ID{q.Subject.Identity} }

func newYear(q *nhi.Question) { q.At = time.Date(2025, 12, 31, 23, 30, 0, 0, time.UTC) }

func TestWhatIsNotProvenMustBeAskedForFirst(t *testing.T) {
	for _, condition := range []string{
		`context.attestation.age < 60`, `context.device.attested`, `context.purpose == "billing"`, `context.location.region == "eu-west-1"`,
	} {
		_, err := Load(DefaultSettings(), map[string]string{"x.cedar": `@id("x") permit (principal, action, resource) when { ` + condition + ` };`})
		if err == nil || !strings.Contains(err.Error(), "first") || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s: %v", condition, err)
		}
	}
}

func TestZonesAreNamedOneAtATimeAndExist(t *testing.T) {
	many := make([]string, 0, clause.MaxZones+1)
	for i := range clause.MaxZones + 1 {
		many = append(many, fmt.Sprintf(`context.zones["Etc/GMT%+d"].minute > 1`, i-11))
	}
	for condition, why := range map[string]string{
		`context.zones["Europe/Berlyn"].minute > 5`:                  "no time zone",
		`context.zones["Local"].minute > 5`:                          "no time zone",
		`context.zones["../etc/passwd"].minute > 5`:                  "no time zone",
		`context.zones[""].minute > 5`:                               "no time zone",
		`context.zones["Europe/Berlin\", x: Local, \"a"].minute > 5`: "no time zone",
		`context.zones == context.zones`:                             "one zone at a time",
		`context.zones has UTC`:                                      "one zone at a time",
		`context.zones["Europe/Berlin"].hour > 5`:                    "hour",
		strings.Join(many, " && "):                                   "more than 16",
	} {
		_, err := Load(DefaultSettings(), map[string]string{"x.cedar": `@id("x") permit (principal, action, resource) when { ` + condition + ` };`})
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", condition, err, why)
		}
	}
}
