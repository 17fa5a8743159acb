package operate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/client"
)

func TestAnExplanationIsATreeOfConditionsAndWhatWouldUnlockIt(t *testing.T) {
	minute := []client.Input{{Name: `context.zones.Europe/Berlin.minute`, Value: "1281", From: "clock"}}
	got := reasoned(&client.Explanation{
		Decision: client.Decision{
			Outcome: "deny", Name: "reporting", Action: "read", Operation: "GET /payments/{id}", Resource: "payments/api", PointName: "edge",
			At: time.Date(2026, 11, 22, 20, 21, 50, 0, time.UTC), Reasons: []client.Reason{{Policy: "hours", Position: "a.cedar:3"}, {Policy: "lease-none", Effect: "forbid", Text: "No lease."}},
		},
		Recorded: true, Note: "Judged by the policies that decided.",
		Policies: []client.ExplainedPolicy{{
			ID: "hours", Effect: "forbid", Position: "a.cedar:3", Text: "It is late.", Matched: true, Cut: true,
			Parts: []client.PolicyPart{
				{Clause: "scope", Text: `action == Action::"read"`, Truth: "true", Values: []client.Input{{Name: "action", Value: `Action::"read"`, From: "point"}}},
				{Clause: "unless", Text: "a && (b || c)", Truth: "false", Join: "and"},
				{Clause: "unless", Depth: 1, Text: "a", Truth: "false", Values: minute},
				{Clause: "unless", Depth: 1, Text: "b || c", Truth: "not reached", Join: "or"},
				{Clause: "unless", Depth: 2, Text: "b", Truth: "not reached"},
				{Clause: "when", Text: strings.Repeat("long", 60), Truth: "true"},
			},
		}},
		Unlock: []client.Unlock{
			{Policy: "hours", Words: "come earlier", Ways: [][]client.UnlockChange{{{Text: "a", Want: true}, {Text: "b"}}, {{Text: "c", Want: true}}}},
			{Policy: "lease-none", Words: "bring the server back"},
		},
	})
	want := `deny  reporting, read payments/api, GET /payments/{id}, at edge, 2026-11-22T20:21:50Z
Judged by the policies that decided.

forbid lease-none
  No lease.

forbid hours  a.cedar:3
  It is late.
  true         action == Action::"read"
  false        unless all of
  false          a
                     context.zones.Europe/Berlin.minute = 1281 (21:21), says the clock
  not reached    b || c
  true         when ` + strings.Repeat("long", 60)[:102] + `...
  and more

To unlock it, all of these:
  hours: come earlier
    a, and not: b
    or c
  lease-none: bring the server back
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARefusalThatNoPolicyGaveIsToldWithItsReasons(t *testing.T) {
	got := reasoned(&client.Explanation{
		Decision: client.Decision{Outcome: "deny", Operation: "PUT", Reasons: []client.Reason{{Policy: "route-none", Effect: "forbid", Text: "No route."}}},
		Note:     "It was decided before any policy was asked.", Unlock: []client.Unlock{{Policy: "route-none", Words: "add a route"}},
	})
	for _, want := range []string{"deny  nobody known, PUT", "forbid route-none\n  No route.\n", "To unlock it:\n  route-none: add a route\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestHostileTextInAnExplanationIsVisible(t *testing.T) {
	got := reasoned(&client.Explanation{
		Decision: client.Decision{Outcome: "deny", Name: "a\x1b[2Jb", Operation: "GET /\u202e"}, Note: "n\n",
		Policies: []client.ExplainedPolicy{{ID: "p", Effect: "forbid", Text: "t\x1b", Parts: []client.PolicyPart{{Clause: "when", Text: "x\ny", Truth: "true"}}}},
		Unlock:   []client.Unlock{{Policy: "p", Words: "w\x1b", Ways: [][]client.UnlockChange{{{Text: "c\x1b"}}}}},
	})
	if strings.ContainsAny(got, "\x1b\u202e") || strings.Contains(got, "x\ny") {
		t.Errorf("%q", got)
	}
}

func TestPermitsThatCameNearAreOneOfThemEnough(t *testing.T) {
	got := strings.Join(unlocking(&client.Explanation{
		Policies: []client.ExplainedPolicy{{ID: "a", Effect: "permit"}, {ID: "b", Effect: "permit"}},
		Unlock:   []client.Unlock{{Policy: "a", Words: "this"}, {Policy: "b", Words: "that"}},
	}), "\n")
	if got != "\nNo policy permits it. One of these, the nearest, would do:\n  a: this\n  b: that" {
		t.Errorf("%q", got)
	}
}
