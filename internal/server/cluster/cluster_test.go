package cluster

import (
	"testing"

	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/enforce/kubernetes"
	"github.com/muster-id/muster/internal/nhi"
)

// The attack: a service account's token, used on another node than the rule pins.
// That the inventory knows the account by its uid must not lead around the pin.
func TestAnAccountThatMissesItsPinIsNotFoundByLess(t *testing.T) {
	id := func(uid string) nhi.ID { return nhi.IdentityID(Provider, "c1", uid) }
	rule := func(name string, who nhi.ID, account, node string) oidc.Rule {
		claims := map[string]oidc.Values{"sub": {"system:serviceaccount:payments:" + account}}
		if node != "" {
			claims["kubernetes.io.node.name"] = oidc.Values{node}
		}
		return oidc.Rule{Name: name, Issuer: "https://c1.example", Audience: "muster", Claims: claims, Identity: who, Location: nhi.Location{Cluster: "c1"}}
	}
	trust, err := oidc.New([]oidc.Rule{
		rule("pinned", id("u-1"), "pinned", "n1"), rule("dead", id("u-2"), "dead", "n1"), rule("one", id("u-3"), "two", ""), rule("another", id("u-4"), "two", ""),
	}, oidc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inventory := map[nhi.ID]nhi.State{id("u-7"): nhi.Dormant, id("u-8"): nhi.Deprecated, id("u-9"): "", id("u-10"): nhi.Retired, id("u-1"): nhi.Active, id("u-2"): nhi.Quarantined, id("u-3"): nhi.Active, id("u-5"): nhi.Active}
	s := Subjects{Trust: trust, Identity: func(id nhi.ID) (nhi.Identity, bool) {
		state, known := inventory[id]
		return nhi.Identity{ID: id, Kind: nhi.KindServiceAccount, State: state}, known
	}}
	user := func(account, uid, node string) *kubernetes.User {
		return &kubernetes.User{Name: "system:serviceaccount:payments:" + account, UID: uid, Extra: map[string][]string{saidNode: {node}}}
	}
	for _, tt := range []struct {
		name string
		user *kubernetes.User
		want nhi.ID
	}{
		{"on its node", user("pinned", "u-1", "n1"), id("u-1")},
		{"on another node", user("pinned", "u-1", "n2"), ""},
		{"on another node and dead", user("dead", "u-2", "n2"), id("u-2")},
		{"on another node and dormant", user("pinned", "u-7", "n2"), ""},
		{"on another node and deprecated", user("pinned", "u-8", "n2"), ""},
		{"on another node and in no state", user("pinned", "u-9", "n2"), ""},
		{"on another node and retired", user("pinned", "u-10", "n2"), id("u-10")},
		{"by two rules", user("two", "u-3", "n1"), ""},
		{"by no rule", user("free", "u-5", "n2"), id("u-5")},
		{"by no rule and unknown", user("free", "u-6", "n2"), ""},
	} {
		if got := s.Subject("c1", tt.user); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAUserIsWhomARuleNamesElseWhomTheInventoryKnows(t *testing.T) {
	ruled := nhi.IdentityID("muster", "test", "ruled")
	trust, err := oidc.New([]oidc.Rule{{
		Name: "settler", Issuer: "https://c1.example", Audience: "muster", Identity: ruled, Location: nhi.Location{Cluster: "c1"},
		Claims: map[string]oidc.Values{"sub": {"system:serviceaccount:payments:settler"}, "kubernetes.io.pod.name": {"settler-0"}},
	}}, oidc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const uid = "0b1f8a52-5b0c-4a3e-9d6e-1f2a3b4c5d6e"
	known := map[nhi.ID]nhi.Identity{
		nhi.IdentityID(Provider, "c1", "u-1"):                                  {},
		nhi.IdentityID(Provider, "c1", uid):                                    {Kind: nhi.KindServiceAccount},
		nhi.IdentityID(Provider, "c1", "7f0f8a52-5b0c-4a3e-9d6e-1f2a3b4c5d6e"): {Kind: nhi.KindWorkload},
		nhi.IdentityID(Provider, "c1", "robot"):                                {},
		nhi.IdentityID(Provider, "c1", "system:serviceaccount:payments:made"):  {},
	}
	s := Subjects{Trust: trust, Identity: func(id nhi.ID) (nhi.Identity, bool) { i, ok := known[id]; return i, ok }}
	pod := func(names ...string) map[string][]string { return map[string][]string{saidPod: names} }
	for _, tt := range []struct {
		name, cluster string
		user          kubernetes.User
		want          nhi.ID
	}{
		{"a rule", "c1", kubernetes.User{Name: "system:serviceaccount:payments:settler", UID: "u-1", Extra: pod("settler-0")}, ruled},
		{"a rule for another pod", "c1", kubernetes.User{Name: "system:serviceaccount:payments:settler", UID: "u-9", Extra: pod("settler-1")}, ""},
		{"a rule, and two pods are said", "c1", kubernetes.User{Name: "system:serviceaccount:payments:settler", UID: "u-9", Extra: pod("settler-0", "settler-1")}, ""},
		{"the inventory", "c1", kubernetes.User{Name: "system:serviceaccount:payments:report", UID: "u-1"}, nhi.IdentityID(Provider, "c1", "u-1")},
		{"the inventory of another cluster", "c2", kubernetes.User{Name: "system:serviceaccount:payments:report", UID: "u-1"}, ""},
		{"a service account without a uid", "c1", kubernetes.User{Name: "system:serviceaccount:payments:made"}, ""},
		{"a user with a certificate", "c1", kubernetes.User{Name: "robot"}, nhi.IdentityID(Provider, "c1", "robot")},
		{"a user with a uid that is not known", "c1", kubernetes.User{Name: "robot", UID: "u-9"}, ""},
		{"a service account whose kind is known", "c1", kubernetes.User{Name: "system:serviceaccount:payments:report", UID: uid}, nhi.IdentityID(Provider, "c1", uid)},
		{"a user with the uid of a service account", "c1", kubernetes.User{Name: "mallory", UID: uid}, ""},
		{"a user named by the uid of a service account", "c1", kubernetes.User{Name: uid}, ""},
		{"a user named by the uid of an object", "c1", kubernetes.User{Name: "7f0f8a52-5b0c-4a3e-9d6e-1f2a3b4c5d6e"}, ""},
		{"a service account by half", "c1", kubernetes.User{Name: "system:serviceaccount:payments", UID: uid}, ""},
		{"nobody", "c1", kubernetes.User{}, ""},
	} {
		if got := s.Subject(tt.cluster, &tt.user); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
