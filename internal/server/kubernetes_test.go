package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

const clusterRoutes = `
- {host: cluster-1, path: "/resources/payments/core/configmaps/{name}", methods: {GET: read, CREATE: write}, resource: cluster/payments}
- {host: cluster-1, path: "/resources/payments/core/secrets/{name}", methods: {GET: read}, resource: cluster/secrets}
`

const clusterPolicies = `
@id("settler-reads") permit (principal, action == Action::"read", resource == Resource::"cluster/payments");
@id("no-secrets") forbid (principal, action, resource == Resource::"cluster/secrets");
@id("writes-are-approved") @stepup("approve")
forbid (principal, action == Action::"write", resource) unless { context has approval };
`

// review asks as an API server does and returns the reply's status or response.
func (r *running) review(point, path, body string) (reply struct {
	Status struct {
		Allowed, Denied bool
		Reason          string
	}
	Response struct {
		UID      string
		Allowed  bool
		Status   struct{ Message string }
		Warnings []string
		Audit    map[string]string `json:"auditAnnotations"`
	}
}) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.URL()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+point)
	req.Header.Set("Content-Type", "application/json")
	status, text := do(r.t, req)
	if err := json.Unmarshal([]byte(text), &reply); err != nil || status != http.StatusOK {
		r.t.Fatalf("%s: %d %s", path, status, text)
	}
	return reply
}

// guarding is a server that guards a cluster, with a service account in it that
// is an identity.
func guarding(t *testing.T) (r *running, point, identity string) {
	r = start(t, t.TempDir())
	p := newPlatform(t)
	var who client.Identity
	r.send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "settler", Environment: "production", Owner: "team:payments"}, &who)
	r.put("resources.yaml", "- {id: cluster/payments, environment: production, sensitivity: 1}\n- {id: cluster/secrets, environment: production, sensitivity: 1}\n")
	r.put("routes.yaml", clusterRoutes)
	r.put("trust.yaml", strings.Replace(p.trust(who.ID), "identity:", "location: {cluster: cluster-1}, identity:", 1))
	r.put("policies.cedar", clusterPolicies)
	var enrolled client.Enrolled
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "cluster-1", Dialect: "kubernetes"}, &enrolled)
	return r, enrolled.Key, who.ID
}

func (r *running) enforces(point string) {
	enforce := "enforce"
	r.send(http.MethodPatch, "/v1/points/"+point, client.SetPoint{Mode: &enforce}, nil)
}

func authorization(user, verb, resource, name string) string {
	return `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"` + user + `","resourceAttributes":{"namespace":"payments","verb":"` + verb + `","version":"v1","resource":"` + resource + `","name":"` + name + `"}}}`
}

const accountSettler = "system:serviceaccount:pay:settler"

func TestAClusterIsAnsweredByTheSameRulesAsEverybody(t *testing.T) {
	t.Parallel()
	r, point, identity := guarding(t)
	const path = "/enforce/kubernetes/authorize"
	reads, secrets := authorization(accountSettler, "get", "configmaps", "a"), authorization(accountSettler, "get", "secrets", "a")
	if got := r.review(point, path, reads).Status; got.Allowed || got.Denied {
		t.Errorf("while the point observes, a permit says %+v", got)
	}
	if got := r.review(point, path, secrets).Status; got.Allowed || got.Denied || !strings.Contains(got.Reason, "would deny by no-secrets") {
		t.Errorf("while the point observes, a forbid says %+v", got)
	}
	r.enforces("cluster-1")
	for _, tt := range []struct {
		name, body      string
		allowed, denied bool
	}{
		{"what a policy permits", reads, true, false},
		{"what a policy forbids", secrets, false, true},
		{"what has no route", authorization(accountSettler, "get", "pods", "a"), false, false},
		{"another account of the cluster", authorization("system:serviceaccount:pay:other", "get", "secrets", "a"), false, false},
		{"a person", authorization("jane", "get", "configmaps", "a"), false, false},
	} {
		if got := r.review(point, path, tt.body).Status; got.Allowed != tt.allowed || got.Denied != tt.denied {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	if got := r.review(point, path+"/strict", authorization("jane", "get", "configmaps", "a")).Status; !got.Denied {
		t.Errorf("a person, where the cluster is strict: %+v", got)
	}
	var page client.Page[client.Decision]
	r.until("the decisions on record", func() bool {
		r.get("/v1/decisions?filter=identity:"+identity, &page)
		return len(page.Items) >= 5
	})
	for _, d := range page.Items {
		if d.Method != "kubernetes" || d.Assurance != 0 {
			t.Errorf("on record is %s with assurance %d", d.Method, d.Assurance)
		}
	}
	if stats := r.mind().Stats(); stats.Learned != 0 {
		t.Errorf("a baseline learned %d events from what a point asserts", stats.Learned)
	}
}

func TestADryRunAsksNobodyAndARealRequestIsApprovedForItsObject(t *testing.T) {
	t.Parallel()
	r, point, _ := guarding(t)
	r.enforces("cluster-1")
	admission := func(value string, dry bool) string {
		more := ""
		if dry {
			more = `,"dryRun":true`
		}
		return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","operation":"CREATE","namespace":"payments","name":"a","resource":{"group":"","version":"v1","resource":"configmaps"},"userInfo":{"username":"` + accountSettler + `"},"object":{"metadata":{"name":"a"},"data":{"k":"` + value + `"}}` + more + `}}`
	}
	const path = "/enforce/kubernetes/admit"
	if got := r.review(point, path, admission("x", true)).Response; got.Allowed || strings.Contains(got.Status.Message, "apr_") {
		t.Fatalf("the dry run: %+v", got)
	}
	refused := r.review(point, path, admission("x", false)).Response
	if refused.Allowed || !strings.Contains(refused.Status.Message, "needs approve apr_") || refused.UID != "u-1" {
		t.Fatalf("before anybody approves: %+v", refused)
	}
	asked := r.pending()
	if asked.Decision != refused.Audit["decision"] {
		t.Errorf("people were asked by decision %s, want %s", asked.Decision, refused.Audit["decision"])
	}
	if _, err := r.api.Approve(t.Context(), asked.ID, client.Answer{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, body string
		want       bool
	}{
		{"another object", admission("y", false), false},
		{"a dry run of it", admission("x", true), false},
		{"the object that was approved", admission("x", false), true},
		{"the same once more", admission("x", false), false},
	} {
		if got := r.review(point, path, tt.body).Response; got.Allowed != tt.want {
			t.Errorf("%s: %+v, want allowed %v", tt.name, got, tt.want)
		}
	}
}

func TestAQuarantinedServiceAccountIsDeniedWhereThePointObserves(t *testing.T) {
	t.Parallel()
	r, point, identity := guarding(t)
	i, ok := r.facts.Identity(nhi.ID(identity))
	if !ok {
		t.Fatal("the identity is not in the facts")
	}
	i.State = nhi.Quarantined
	if _, err := r.db.Write(t.Context(), func(tx *store.Tx) error { return tx.Change(nhi.SubjectIdentity, identity, i) }); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{authorization(accountSettler, "get", "configmaps", "a"), authorization(accountSettler, "get", "pods", "a")} {
		if got := r.review(point, "/enforce/kubernetes/authorize", body).Status; !got.Denied {
			t.Errorf("%+v, want denied", got)
		}
	}
}
