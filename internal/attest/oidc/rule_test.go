package oidc

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

const sample = `# who may prove what
- name: payments-ci
  issuer: https://token.actions.githubusercontent.com
  audience: https://muster.example
  claims:
    repository_id: 4711
    ref: refs/heads/main
    environment: [staging, "production"]
  identity: nhi_v6w2kopezgzwfpmsgulnrizwq4
  ttl: 10m
- name: payments-api
  issuer: https://kubernetes.default.svc
  jwks_uri: https://10.0.0.1/openid/v1/jwks
  audience: muster
  claims:
    kubernetes.io.namespace: pay
    kubernetes.io.serviceaccount.name: api
  identity: nhi_v6w2kopezgzwfpmsgulnrizwq4
  audiences: [https://db.example]
  scopes: [read]
  bearer: true
`

func TestTrustFileIsRead(t *testing.T) {
	got, err := Parse("trust.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	const id = nhi.ID("nhi_v6w2kopezgzwfpmsgulnrizwq4")
	want := []Rule{
		{Name: "payments-ci", Issuer: github, Audience: "https://muster.example", Identity: id, TTL: 10 * time.Minute,
			Claims: map[string]Values{"repository_id": {"4711"}, "ref": {"refs/heads/main"}, "environment": {"staging", "production"}}},
		{Name: "payments-api", Issuer: "https://kubernetes.default.svc", JWKSURI: "https://10.0.0.1/openid/v1/jwks", Audience: "muster", Identity: id,
			Claims: map[string]Values{"kubernetes.io.namespace": {"pay"}, "kubernetes.io.serviceaccount.name": {"api"}}, Audiences: []string{"https://db.example"}, Scopes: []string{"read"}, Bearer: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := Parse("trust.yaml", nil); err != nil || len(got) != 0 {
		t.Errorf("an empty file: %v, %v", got, err)
	}
}

func TestUnsoundRulesAreRefusedWithTheirLine(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
		line           string
		reason         string
	}{
		{"trusts everybody at the issuer", "    kubernetes.io.namespace: pay\n    kubernetes.io.serviceaccount.name: api\n", "    {}\n", "trust.yaml:11", "name no workload"},
		{"half a workload", "    kubernetes.io.serviceaccount.name: api\n", "", "trust.yaml:11", "name no workload"},
		{"GitHub by name alone", "repository_id: 4711", "sub: repo:acme/pay:ref:refs/heads/main", "trust.yaml:2", "repository_id"},
		{"wildcard", "refs/heads/main", "refs/heads/*", "trust.yaml:7", "pattern"},
		{"prefix", "refs/heads/main", "refs/heads/", "trust.yaml:7", "prefix"},
		{"empty value", "refs/heads/main", `""`, "trust.yaml:7", "empty"},
		{"empty list", "[staging, \"production\"]", "[]", "trust.yaml:8", "no value"},
		{"a claim that is checked anyway", "ref: refs/heads/main", "aud: x", "trust.yaml:7", "by itself"},
		{"no audience", "  audience: muster\n", "", "trust.yaml:11", "audience is missing"},
		{"plain http", "https://kubernetes.default.svc", "http://kubernetes.default.svc", "trust.yaml:12", "https"},
		{"keys over plain http", "https://10.0.0.1/openid", "http://10.0.0.1/openid", "trust.yaml:13", "https"},
		{"issuer with a query", "https://kubernetes.default.svc", "https://kubernetes.default.svc?x=y", "trust.yaml:12", "query"},
		{"identity by name", "identity: nhi_v6w2kopezgzwfpmsgulnrizwq4\n  ttl", "identity: payments\n  ttl", "trust.yaml:9", "nhi_"},
		{"long life", "ttl: 10m", "ttl: 1h", "trust.yaml:2", "ttl"},
		{"audience pattern", "https://db.example", "\"*\"", "trust.yaml:19", "patterns"},
		{"the same name", "payments-api", "payments-ci", "trust.yaml:11", "already on line 2"},
		{"misspelt", "jwks_uri", "jwks_url", "trust.yaml:13", "did you mean"},
		{"nested claim", "    ref: refs/heads/main", "    ref: {a: b}", "trust.yaml", "must be text"},
		{"fraction", "4711", "47.11", "trust.yaml", "must be text"},
		{"not YAML", "- name: payments-ci", "- name: [", "trust.yaml", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(sample, tt.old) {
				t.Fatalf("the sample has no %q", tt.old)
			}
			_, err := Parse("trust.yaml", []byte(strings.Replace(sample, tt.old, tt.new, 1)))
			if !errors.Is(err, nhi.ErrInvalid) || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "invalid: "), tt.line) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("Parse: %v, want %s: … %s", err, tt.line, tt.reason)
			}
		})
	}
}

func TestSubjectsLoseOnlyNumericIDs(t *testing.T) {
	for sub, want := range map[string]string{
		"repo:a@1/b@2:ref:refs/heads/x@3": "repo:a/b:ref:refs/heads/x@3",
		"repo:a/b:environment:prod":       "repo:a/b:environment:prod",
		"repo:a@x/b:ref:y":                "repo:a@x/b:ref:y",
		"repo:a@1":                        "repo:a@1",
		"system:serviceaccount:a@1/b@2:c": "system:serviceaccount:a@1/b@2:c",
		"repo:a@1/b@2":                    "repo:a/b",
		"repo:a@/b@2:x":                   "repo:a@/b:x",
	} {
		if got := withoutIDs(sub); got != want {
			t.Errorf("withoutIDs(%q) = %q, want %q", sub, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("- claims: {a: !!binary x}\n"))
	f.Add([]byte("- name: |\n    x\n  claims:\n    a: 'b'\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := Parse("trust.yaml", data)
		if err != nil && !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("Parse: %v does not wrap ErrInvalid", err)
		}
		for i := range rules {
			if err := rules[i].Check(); err != nil {
				t.Errorf("Parse let an unsound rule pass: %v", err)
			}
		}
	})
}

func FuzzLookup(f *testing.F) {
	f.Add([]byte(`{"kubernetes.io":{"namespace":"x"}}`), "kubernetes.io.namespace")
	f.Fuzz(func(t *testing.T, raw []byte, path string) {
		claims, err := parseClaims(raw)
		if err != nil || len(path) > 256 {
			return
		}
		if value, ok := lookup(claims, path); ok {
			_, _ = plain(value)
		}
	})
}
