package oidc

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

func TestWhatATokenProvesAboutItsWorkload(t *testing.T) {
	issued := time.Unix(1_790_000_000, 0)
	cluster := Rule{
		Issuer: "https://cluster.example", Claims: map[string]Values{"sub": {"system:serviceaccount:pay:api"}, "tier": {"a", "b"}},
		Location: nhi.Location{Provider: "aws", Cluster: "prod-1", Node: "declared"},
	}
	instance := Rule{Issuer: google, Claims: map[string]Values{"sub": {"117"}}}
	elsewhere := Rule{Issuer: "https://sso.example", Claims: map[string]Values{"sub": {"117"}}}
	kubernetes := `{"sub":"system:serviceaccount:pay:api","tier":["a","x"],"kubernetes.io":{"namespace":"pay","node":{"name":"node-7"}}}`
	machine := `{"sub":"117","google":{"compute_engine":{"project_id":"acme","zone":"europe-west3-a","instance_id":"4711"}}}`
	for _, tt := range []struct {
		name   string
		rule   Rule
		claims string
		want   *nhi.Attestation
	}{
		{"a pod says its namespace, its rule the rest", cluster, kubernetes, &nhi.Attestation{
			Selectors: []string{"sub:system:serviceaccount:pay:api"},
			Location:  nhi.Location{Provider: "aws", Cluster: "prod-1", Namespace: "pay", Node: "declared"}}},
		{"an instance of Google Cloud", instance, machine, &nhi.Attestation{
			Selectors: []string{"sub:117"}, Location: nhi.Location{Provider: "gcp", Account: "acme", Region: "europe-west3", Node: "4711"}}},
		{"somebody else's word for it", elsewhere, machine, &nhi.Attestation{Selectors: []string{"sub:117"}}},
		{"a namespace that no cluster vouches for", elsewhere, kubernetes, &nhi.Attestation{Selectors: []string{"sub:system:serviceaccount:pay:api"}}},
		{"a zone without a region", instance, `{"sub":"117","google":{"compute_engine":{"zone":"x","instance_id":"1"}}}`, &nhi.Attestation{
			Selectors: []string{"sub:117"}, Location: nhi.Location{Provider: "gcp", Node: "1"}}},
		{"a name that is no name", instance, `{"sub":"117","google":{"compute_engine":{"project_id":"a\nb","instance_id":"1"}}}`, &nhi.Attestation{
			Selectors: []string{"sub:117"}, Location: nhi.Location{Provider: "gcp", Node: "1"}}},
		{"more than fits", elsewhere, `{"sub":"` + strings.Repeat("x", maxSelectors) + `"}`, &nhi.Attestation{}},
	} {
		claims, err := parseClaims([]byte(tt.claims))
		if err != nil {
			t.Fatal(err)
		}
		tt.want.Method, tt.want.At, tt.want.Level = "oidc", issued, nhi.EvidencePlatform
		if tt.want.Selectors == nil {
			tt.want.Selectors = []string{}
		}
		if diff := cmp.Diff(tt.want, tt.rule.attestation(issued, claims)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if got := cluster.attestation(time.Time{}, nil); got != nil {
		t.Errorf("a token of no known age attests %+v", got)
	}
}

func TestARuleSaysWhereAndForWhat(t *testing.T) {
	rules, err := Parse("trust.yaml", []byte(sample+`  purposes: [billing, "billing/refunds"]
  location: {provider: aws, account: "111122223333", cluster: prod-1}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := rules[1]
	if diff := cmp.Diff([]string{"billing", "billing/refunds"}, got.Purposes); diff != "" || got.Location != (nhi.Location{Provider: "aws", Account: "111122223333", Cluster: "prod-1"}) {
		t.Errorf("%+v\n%s", got.Location, diff)
	}
	for bad, why := range map[string]string{
		"  purposes: [Billing]\n": "purpose", "  purposes: ['']\n": "purpose", "  location: {cluster: \"a b\"}\n": "location",
		"  location: {custer: a}\n": "did you mean", "  location: {node: " + strings.Repeat("n", 300) + "}\n": "location",
	} {
		if _, err := Parse("trust.yaml", []byte(sample+bad)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
