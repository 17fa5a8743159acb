package oidc

import (
	"testing"

	"github.com/muster-id/muster/internal/nhi"
)

func TestAnAccountOfAClusterIsWhomTheRulesName(t *testing.T) {
	id := func(name string) nhi.ID { return nhi.IdentityID("muster", "test", name) }
	rule := func(name, who, cluster string, claims map[string]Values) Rule {
		return Rule{Name: name, Issuer: "https://" + cluster + ".example", Audience: "muster", Claims: claims, Identity: id(who), Location: nhi.Location{Cluster: cluster}}
	}
	sub := func(s string) map[string]Values { return map[string]Values{"sub": {"system:serviceaccount:" + s}} }
	trust, err := New([]Rule{
		rule("by sub", "settler", "c1", sub("payments:settler")),
		rule("by names", "report", "c1", map[string]Values{"kubernetes.io.namespace": {"finance", "audit"}, "kubernetes.io.serviceaccount.name": {"report"}}),
		rule("by uid", "pinned", "c1", map[string]Values{"kubernetes.io.serviceaccount.uid": {"u-7"}}),
		rule("by sub and uid", "exact", "c1", map[string]Values{"sub": {"system:serviceaccount:payments:exact"}, "kubernetes.io.serviceaccount.uid": {"u-8"}}),
		rule("by node", "noded", "c1", map[string]Values{"sub": {"system:serviceaccount:payments:noded"}, "kubernetes.io.node.name": {"n1"}}),
		rule("by more", "more", "c1", map[string]Values{"sub": {"system:serviceaccount:payments:more"}, "team": {"x"}}),
		rule("one", "one", "c1", sub("payments:two")),
		rule("another", "another", "c1", sub("payments:two")),
		rule("elsewhere", "elsewhere", "c2", sub("payments:settler")),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, cluster string
		account       Account
		want          string
		about         bool // a rule is for it, met or not
	}{
		{"by its subject", "c1", Account{Namespace: "payments", Name: "settler", UID: "u-1"}, "settler", true},
		{"of another cluster", "c2", Account{Namespace: "payments", Name: "settler", UID: "u-1"}, "elsewhere", true},
		{"of no cluster", "", Account{Namespace: "payments", Name: "settler"}, "", false},
		{"of a cluster that no rule names", "c3", Account{Namespace: "payments", Name: "settler"}, "", false},
		{"by its names", "c1", Account{Namespace: "audit", Name: "report"}, "report", true},
		{"by half of its names", "c1", Account{Namespace: "payments", Name: "report"}, "", false},
		{"by its uid", "c1", Account{Namespace: "any", Name: "thing", UID: "u-7"}, "pinned", true},
		{"made anew under the same name", "c1", Account{Namespace: "payments", Name: "exact", UID: "u-9"}, "", true},
		{"with the uid that is pinned", "c1", Account{Namespace: "payments", Name: "exact", UID: "u-8"}, "exact", true},
		{"on the node that is pinned", "c1", Account{Namespace: "payments", Name: "noded", Node: "n1"}, "noded", true},
		{"on no known node", "c1", Account{Namespace: "payments", Name: "noded"}, "", true},
		{"with a claim that no server says", "c1", Account{Namespace: "payments", Name: "more"}, "", true},
		{"of two identities", "c1", Account{Namespace: "payments", Name: "two"}, "", true},
	} {
		want := nhi.ID("")
		if tt.want != "" {
			want = id(tt.want)
		}
		if got, about := trust.Account(tt.cluster, tt.account); got != want || about != tt.about {
			t.Errorf("%s: %q, %v, want %q, %v", tt.name, got, about, want, tt.about)
		}
	}
}
