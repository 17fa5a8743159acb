package request_test

import (
	"net/netip"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

func shape(t *testing.T, policy string) *request.Shape {
	t.Helper()
	list, err := cedar.NewPolicyListFromBytes("x.cedar", []byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	var sights []*request.Sight
	for _, p := range list {
		s := request.SightOf((*ast.Policy)(p.AST()))
		sights = append(sights, &s)
	}
	return request.NewShape(sights, nil)
}

func question() *nhi.Question {
	q := &nhi.Question{Action: nhi.Read, Resource: "r1", Address: netip.MustParseAddr("192.0.2.1")}
	q.Subject.Identity, q.Subject.Credential = "nhi_1", "crd_1"
	q.Known = nhi.Known{Kind: nhi.KindWorkload, Risk: 3, Country: "DE", IdentityEnvironment: nhi.Environment{Name: "prod"}}
	return q
}

func key(s *request.Shape, edit func(*nhi.Question)) request.Key {
	q := question()
	if edit != nil {
		edit(q)
	}
	action, _ := request.ActionIndex(q.Action)
	var r request.Request
	r.Ask(s, q, action)
	return *r.Key()
}

func TestAKeyHoldsWhatPoliciesCanNotice(t *testing.T) {
	other := func(q *nhi.Question) { q.Subject.Identity = "nhi_2" }
	elsewhere := func(q *nhi.Question) { q.Resource = "r2" }
	for _, tt := range []struct {
		name, policy string
		edit         func(*nhi.Question)
		same         bool
	}{
		{"an identity that nobody mentions", `permit (principal, action, resource);`, other, true},
		{"an identity that the head names", `permit (principal in Identity::"nhi_1", action, resource);`, other, false},
		{"an identity that a condition names", `permit (principal, action, resource) when { principal in [Identity::"nhi_2", Identity::"nhi_3"] };`, other, false},
		{"an identity where others are named", `permit (principal in Identity::"nhi_9", action, resource);`, other, true},
		{"an identity where the other side is computed", `permit (principal, action, resource) when { principal in (if context.newAction then principal else resource) };`, other, false},
		{"a resource that nobody mentions", `permit (principal, action, resource);`, elsewhere, true},
		{"a resource that a condition names", `permit (principal, action, resource) when { [Resource::"r2"].contains(resource) };`, elsewhere, false},
		{"a credential that nobody mentions", `permit (principal, action, resource) when { context.credential.state == "active" };`, func(q *nhi.Question) { q.Subject.Credential = "crd_2" }, true},
		{"a credential that is named", `permit (principal, action, resource) when { context.credential == Credential::"crd_2" };`, func(q *nhi.Question) { q.Subject.Credential = "crd_2" }, false},
		{"an environment that is named", `permit (principal in Environment::"prod", action, resource);`, func(q *nhi.Question) { q.Known.IdentityEnvironment.Name = "test" }, false},
		{"another kind", `permit (principal, action, resource);`, func(q *nhi.Question) { q.Known.Kind = nhi.KindRole }, false},
		{"another action", `permit (principal, action, resource);`, func(q *nhi.Question) { q.Action = nhi.Write }, false},
		{"an attribute that nobody reads", `permit (principal, action, resource);`, func(q *nhi.Question) { q.Known.Risk = 4 }, true},
		{"an attribute that is read", `permit (principal, action, resource) when { principal.owned };`, func(q *nhi.Question) { q.Known.Owned = true }, false},
		{"a number on the same side of every limit", `permit (principal, action, resource) when { principal.risk < 9 || 90 <= principal.risk };`, func(q *nhi.Question) { q.Known.Risk = 8 }, true},
		{"a number on its limit", `permit (principal, action, resource) when { principal.risk < 9 };`, func(q *nhi.Question) { q.Known.Risk = 9 }, false},
		{"a number that is asked for", `permit (principal, action, resource) when { principal.risk == 4 };`, func(q *nhi.Question) { q.Known.Risk = 4 }, false},
		{"a number beyond the other limit", `permit (principal, action, resource) when { 90 <= principal.risk || principal.risk < 9 };`, func(q *nhi.Question) { q.Known.Risk = 91 }, false},
		{"a number that is reckoned with", `permit (principal, action, resource) when { principal.risk < 9 && principal.risk + 1 < 20 };`, func(q *nhi.Question) { q.Known.Risk = 4 }, false},
		{"a number that is compared with another", `permit (principal, action, resource) when { context.surprise < 9 && principal.risk < context.surprise };`, func(q *nhi.Question) { q.Known.Surprise = 4 }, false},
		{"a number that is taken by another way", `permit (principal, action, resource) when { context.rate < 9 && [1, 2].contains(context.rate) };`, func(q *nhi.Question) { q.Known.RateHundreds = 4 }, false},
		{"a number in a whole context", `permit (principal, action, resource) when { context.rate < 9 && [context].contains(context) };`, func(q *nhi.Question) { q.Known.RateHundreds = 4 }, false},
		{"an attribute of a whole context", `permit (principal, action, resource) when { [context].contains(context) };`, func(q *nhi.Question) { q.Known.Country = "US" }, false},
		{"an address", `permit (principal, action, resource) when { context has address };`, func(q *nhi.Question) { q.Address = netip.MustParseAddr("192.0.2.2") }, false},
		{"no address", `permit (principal, action, resource) when { context has address };`, func(q *nhi.Question) { q.Address = netip.Addr{} }, false},
		{"the same address in IPv6", `permit (principal, action, resource) when { context has address };`, func(q *nhi.Question) { q.Address = netip.MustParseAddr("::ffff:192.0.2.1") }, true},
	} {
		s := shape(t, tt.policy)
		if same := key(s, nil) == key(s, tt.edit); same != tt.same {
			t.Errorf("%s: the same key: %v, want %v", tt.name, same, tt.same)
		}
	}
}

// TestAnEmptyNameIsNotNone: an identity without a name that a policy mentions
// is not one that nobody mentions.
func TestAnEmptyNameIsNotNone(t *testing.T) {
	s := shape(t, `forbid (principal in Identity::"", action, resource == Resource::"");`)
	for _, edit := range []func(*nhi.Question){func(q *nhi.Question) { q.Subject.Identity = "" }, func(q *nhi.Question) { q.Resource = "" }} {
		if key(s, nil) == key(s, edit) {
			t.Error("they share a key")
		}
	}
}

func TestOnlyWhatWasPresentedIsKnown(t *testing.T) {
	var r request.Request
	r.Ask(shape(t, `permit (principal, action, resource) when { context.credential == Credential::"crd_1" };`), question(), 0)
	if _, ok := r.Get(r.Credential); !ok || r.Credential.ID != "crd_1" {
		t.Errorf("%s, known: %v", r.Credential, ok)
	}
	for _, uid := range []types.EntityUID{types.NewEntityUID(request.TypeCredential, "crd_2"), types.NewEntityUID(request.TypeIdentity, "nhi_1"), {}} {
		if _, ok := r.Get(uid); ok {
			t.Errorf("%s is known", uid)
		}
	}
}

func TestAMemoGivesWhatWasKept(t *testing.T) {
	m := request.NewMemo[int, string](2)
	for k := range 8 {
		m.Keep(&k, "of "+string(rune('a'+k)))
		if got, ok := m.Look(&k); !ok || got != "of "+string(rune('a'+k)) {
			t.Errorf("%d: %q %v", k, got, ok)
		}
	}
	found := 0
	for k := range 8 {
		if got, ok := m.Look(&k); ok {
			found++
			if got != "of "+string(rune('a'+k)) {
				t.Errorf("%d: %q", k, got)
			}
		}
	}
	if found == 0 || found > 2 {
		t.Errorf("%d of 8 are remembered in 2 slots", found)
	}
}
