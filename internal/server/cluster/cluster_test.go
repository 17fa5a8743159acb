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
	inventory := map[nhi.ID]nhi.State{id("u-1"): nhi.Active, id("u-2"): nhi.Quarantined, id("u-3"): nhi.Active, id("u-5"): nhi.Active}
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
		{"by two rules", user("two", "u-3", "n1"), ""},
		{"by no rule", user("free", "u-5", "n2"), id("u-5")},
		{"by no rule and unknown", user("free", "u-6", "n2"), ""},
	} {
		if got := s.Subject("c1", tt.user); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
