package cluster

import (
	"testing"

	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/enforce/kubernetes"
	"github.com/muster-id/muster/internal/nhi"
)

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
