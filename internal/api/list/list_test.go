package list

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/store/desk"
	"github.com/muster-id/muster/internal/usage"
)

func TestADecisionIsFilteredInMemory(t *testing.T) {
	d := &nhi.Decision{ID: "d1", At: time.Now(), Resource: "payments", Country: "NL", ASN: 9009, Surprise: 123, Reasons: []nhi.Reason{{Policy: "prod-geo", Text: "a new country"}}}
	for text, want := range map[string]bool{
		"": true, "outcome:deny": true, "outcome:allow": false, "country:NL,DE surprise>=12": true, "surprise>12": false, "asn:9009": true,
		"policy:prod-*": true, "-resource:payments": false, "PAYM": true, "nothing": false, "at>1h": true, "at<1h": false, "would_refuse:false": true,
	} {
		check(t, Decisions, d, text, want)
	}
}

func TestARefusalIsFoundByEveryPolicyThatForbidsItAndNotByAPermitBesideThem(t *testing.T) {
	d := &nhi.Decision{ID: "d1", Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "base-permit", Effect: "permit"}, {Policy: "fresh", Effect: "forbid"}, {Policy: "lease-none", Effect: "forbid"}}}
	for text, want := range map[string]bool{"policy:fresh": true, "policy:lease-none": true, "policy:base-permit": false, "-policy:fresh": false} {
		check(t, Decisions, d, text, want)
	}
	d.Outcome = nhi.Allow
	check(t, Decisions, d, "policy:base-permit", true)
	d.WouldRefuse = true
	check(t, Decisions, d, "policy:base-permit", false)
	of := func(d client.Decision) string {
		return DecisionColumns[slices.IndexFunc(DecisionColumns, func(c output.Column[client.Decision]) bool { return c.Head == "POLICY" })].Of(d)
	}
	reasons := []client.Reason{{Policy: "base-permit", Effect: "permit"}, {Policy: "lease-none", Effect: "forbid"}}
	if got := of(client.Decision{Outcome: "deny", Reasons: reasons}); got != "lease-none" {
		t.Errorf("the table names %s", got)
	}
	if got := of(client.Decision{Outcome: "deny", Reasons: reasons[:1]}); got != "base-permit" {
		t.Errorf("a denial without a forbid: %s", got)
	}
}

// TestARowMayHaveSeveralOfAField shows that one of them must fit, and that a
// negation wants none to.
func TestARowMayHaveSeveralOfAField(t *testing.T) {
	p := &client.Person{ID: "per_a", Name: "Ada", Roles: []client.Role{{Role: "viewer"}, {Role: "analyst", Team: "payments"}}}
	for text, want := range map[string]bool{
		"role:viewer": true, "role:analyst,admin": true, "role:admin": false, "-role:viewer": false, "-role:admin": true, "role:ana*": true, "role:*": true,
		"group:*": false, "-group:*": true, "team:payments role:viewer": true, "ad": true, "disabled:false": true,
	} {
		check(t, People, p, text, want)
	}
}

func check[R any](t *testing.T, table *frame.Table[R], row *R, text string, want bool) {
	t.Helper()
	e, err := table.Parse(text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got := table.Match(e, row); got != want {
		t.Errorf("%q = %v, want %v", text, got, want)
	}
}

// every checks that each field of a table is read from a row that has
// everything, and not from one that has nothing.
func every[R any](t *testing.T, table *frame.Table[R], full, empty R) {
	t.Helper()
	for _, f := range table.Fields {
		term := filter.Term{Field: f, Op: filter.Present}
		if n := len(f.Words); n > 0 { // a word may stand for nothing: the zero decision denies, the zero mode observes
			term = filter.Term{Field: f, Op: filter.Is, Values: []filter.Value{{Text: f.Words[n-1]}}}
		}
		e := filter.Expr{Terms: []filter.Term{term}}
		if !table.Match(e, &full) || table.Match(e, &empty) {
			t.Errorf("%s of %s: there %v, and not there %v", f.Name, table.List, table.Match(e, &full), table.Match(e, &empty))
		}
	}
	if table.ID(&full) == "" || len(table.Words(&full)) == 0 {
		t.Errorf("%s: a row has id %q and words %q", table.List, table.ID(&full), table.Words(&full))
	}
	if _, err := table.ParseOrder(""); err != nil {
		t.Errorf("%s: %v", table.List, err)
	}
}

func TestEveryFieldOfEveryListIsRead(t *testing.T) {
	now, roles := time.Now(), []client.Role{{Role: "viewer", Team: "payments"}}
	every(t, Decisions, nhi.Decision{
		ID: "a", At: now, Outcome: nhi.StepUp, WouldRefuse: true, Glass: "n", Reasons: []nhi.Reason{{Policy: "b"}}, Point: "c", Identity: "d", Credential: "e",
		KeyID: "f", Method: "g", Assurance: 1, Action: "h", Operation: "i", Resource: "j", Sensitivity: 2, Address: netip.MustParseAddr("192.0.2.1"),
		Country: "k", ASN: 3, Network: "l", Agent: "m", Risk: 4, Surprise: 50, Policy: "o", Reported: true,
	}, nhi.Decision{})
	every(t, Actions, nhi.Action{ID: "a", Measure: nhi.MeasureRevoke, Status: nhi.ActionRefused, Identity: "d", Credential: "e", Finding: "f", Actor: "g", At: now}, nhi.Action{})
	every(t, Audit, client.Entry{Seq: 1, At: now, Actor: "a", Act: "b", Target: "c", Outcome: "d"}, client.Entry{})
	every(t, Refusals, usage.Refusal{ID: "a", At: now, Kind: usage.SteppedUp, Identity: "c", Claimed: "d", Point: "e", Address: "f", Operation: "g", Resource: "h", Reason: "i", Count: 1}, usage.Refusal{})
	every(t, Points, nhi.Point{ID: "a", Name: "b", Dialect: "c", Mode: nhi.Enforce, Percent: 1, Resources: []string{"d"}, Sources: []string{"e"}, Disabled: true, Created: now}, nhi.Point{})
	every(t, Sources, nhi.Source{ID: "a", Name: "b", Format: "c", Accounts: []string{"d"}, Disabled: true, Created: now}, nhi.Source{})
	every(t, People, client.Person{ID: "a", Name: "b", Email: "c", Issuer: "d", Groups: []string{"e"}, Roles: roles, Disabled: true, Created: now, SignedIn: now}, client.Person{})
	every(t, Tokens, client.Token{
		ID: "a", Name: "b", Identity: "c", Person: "d", Parent: "e", Roles: roles, Rights: []string{"read"}, Loopback: true, Created: now, Expires: now, Used: &now, Revoked: &now,
	}, client.Token{})
	every(t, Sessions, client.Session{ID: "a", Address: "b", Created: now, Used: now}, client.Session{})
	every(t, Channels, client.Channel{Name: "a", Kind: "slack", FailingSince: &now, LastSent: &now}, client.Channel{})
	every(t, SignalStreams, client.SignalStream{ID: "a", Name: "b", Receiver: "c", Status: "disabled", Delivery: "poll", Waiting: 1, Created: now}, client.SignalStream{})
	every(t, SignalPeers, client.SignalPeer{Name: "a", Issuer: "b", Delivery: "poll", FailingSince: &now, LastHeard: &now}, client.SignalPeer{})
	every(t, Views, desk.View{ID: "a", Name: "b", Page: "c", Updated: now}, desk.View{})
	if want := len(filter.Languages) + 13; len(Languages) != want {
		t.Errorf("%d lists, and this test knows %d", len(Languages), want)
	}
}
