package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Route is one operation of the company's own interfaces.
type Route struct {
	Method, Host, Path string // path as routes.yaml writes it
	Action             nhi.ActionClass
	Resource           string
}

// Operation names the route as logs do.
func (r Route) Operation() string { return r.Method + " " + r.Path }

// Target returns a path that the route matches.
func (r Route) Target(rnd *rand.Rand) string {
	return strings.ReplaceAll(r.Path, "{id}", fmt.Sprintf("%08d", rnd.IntN(100_000_000)))
}

// A resource is what routes lead to.
type resource struct {
	name, environment, service, region, jurisdiction string
	sensitivity                                      int
}

var resources = []resource{
	{"payments/api", "production", "payments", "eu-west-1", "GDPR", 2},
	{"payments/refunds", "production", "payments", "eu-west-1", "GDPR", 2},
	{"ledger/entries", "production", "ledger", "eu-central-1", "GDPR", 2},
	{"ledger/exports", "production", "ledger", "eu-central-1", "GDPR", 2},
	{"customers/profiles", "production", "customers", "eu-west-1", "GDPR", 2},
	{"customers/us-profiles", "production", "customers", "us-east-1", "CCPA", 2},
	{"risk/scores", "production", "risk", "eu-west-1", "GDPR", 1},
	{"platform/keys", "production", "platform", "eu-west-1", "GDPR", 4},
	{"platform/status", "production", "platform", "us-east-1", "", 0},
	{"staging/payments", "staging", "payments", "eu-west-1", "", 1},
}

// routes are the company's own interfaces behind its edge.
var routes = []Route{
	{"GET", "payments.harborpine.example", "/payments/{id}", nhi.Read, "payments/api"},
	{"GET", "payments.harborpine.example", "/payments", nhi.Read, "payments/api"},
	{"POST", "payments.harborpine.example", "/payments", nhi.Write, "payments/api"},
	{"GET", "payments.harborpine.example", "/refunds/{id}", nhi.Read, "payments/refunds"},
	{"POST", "payments.harborpine.example", "/refunds", nhi.Write, "payments/refunds"},
	{"DELETE", "payments.harborpine.example", "/payments/{id}", nhi.Delete, "payments/api"},
	{"GET", "ledger.harborpine.example", "/entries/{id}", nhi.Read, "ledger/entries"},
	{"POST", "ledger.harborpine.example", "/entries", nhi.Write, "ledger/entries"},
	{"GET", "ledger.harborpine.example", "/entries", nhi.Read, "ledger/entries"},
	{"GET", "ledger.harborpine.example", "/exports/{id}", nhi.Read, "ledger/exports"},
	{"POST", "ledger.harborpine.example", "/exports", nhi.Write, "ledger/exports"},
	{"GET", "customers.harborpine.example", "/profiles/{id}", nhi.Read, "customers/profiles"},
	{"GET", "customers.harborpine.example", "/profiles", nhi.Read, "customers/profiles"},
	{"GET", "customers.harborpine.example", "/us/profiles/{id}", nhi.Read, "customers/us-profiles"},
	{"GET", "risk.harborpine.example", "/scores/{id}", nhi.Read, "risk/scores"},
	{"POST", "risk.harborpine.example", "/scores", nhi.Write, "risk/scores"},
	{"GET", "platform.harborpine.example", "/status", nhi.Read, "platform/status"},
	{"POST", "platform.harborpine.example", "/keys", nhi.Admin, "platform/keys"},
	{"DELETE", "platform.harborpine.example", "/keys/{id}", nhi.Admin, "platform/keys"},
}

// Routes is the company's routes.yaml.
func (w *World) Routes() []byte {
	type key struct{ host, path, resource string }
	var order []key
	methods := map[key][]string{}
	for _, r := range routes {
		k := key{r.Host, r.Path, r.Resource}
		if methods[k] == nil {
			order = append(order, k)
		}
		methods[k] = append(methods[k], r.Method+": "+string(r.Action))
	}
	var b []byte
	for _, k := range order {
		b = fmt.Appendf(b, "- {host: %s, path: \"%s\", methods: {%s}, resource: %s}\n", k.host, k.path, strings.Join(methods[k], ", "), k.resource)
	}
	return b
}

// Resources is the company's resources.yaml.
func (w *World) Resources() []byte {
	var b []byte
	for _, r := range slices.Concat(resources, cloudServices) {
		b = fmt.Appendf(b, "- {id: %s, environment: %s, sensitivity: %d, service: %s, region: %s, jurisdiction: \"%s\"}\n", r.name, r.environment, r.sensitivity, r.service, r.region, r.jurisdiction)
	}
	return b
}

// A Workload calls the company's own interfaces through the edge. It holds a
// static key, and its cluster attests it.
type Workload struct {
	Name     string
	Identity nhi.ID
	Subject  string // the cluster's name for it
	Home     Network
	Agent    string
	Team     string
	owner    *actor
	calls    []Route // the most frequent first
	weekly   Route   // of a job that runs once a week
}

// Trust is the company's trust.yaml: its cluster, which is an OIDC issuer at a
// URL and publishes its keys at jwks, vouches for every workload.
func (w *World) Trust(issuer, jwks string) []byte {
	var b []byte
	for _, wl := range w.Workloads {
		namespace, name, _ := strings.Cut(strings.TrimPrefix(wl.Subject, "system:serviceaccount:"), ":")
		b = fmt.Appendf(b, `- name: %s
  issuer: %s
  jwks_uri: %s
  audience: muster
  claims:
    sub: %s
    kubernetes.io.namespace: %s
    kubernetes.io.serviceaccount.name: %s
  identity: %s
`, wl.Name, issuer, jwks, wl.Subject, namespace, name, wl.Identity)
	}
	return b
}

// Claims is what the cluster at issuer says of a workload in its token.
func (w *World) Claims(wl *Workload, issuer string, now time.Time) map[string]any {
	namespace, name, _ := strings.Cut(strings.TrimPrefix(wl.Subject, "system:serviceaccount:"), ":")
	return map[string]any{
		"iss": issuer, "aud": []string{"muster"}, "sub": wl.Subject,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": name, "uid": string(wl.Identity)}},
	}
}

func (w *World) drawWorkloads(r *rand.Rand) {
	runtimes := []string{"python-requests/2.31.%d", "Go-http-client/2.0 settler/1.%d", "okhttp/4.%d.0", "axios/1.%d.0", "Java-http-client/21.0.%d"}
	for i := range w.Settings.Workloads {
		team := pick(r, teams)
		a := &actor{
			account: w.Accounts[i%3], kind: nhi.KindUser, name: fmt.Sprintf("svc-%s-%02d", team, i), native: native(r, "AIDA"),
			created: w.Start.Add(-400 * 24 * time.Hour), tags: map[string]string{"team": team}, policy: policyWrite,
		}
		a.keys = []string{accessKeyID(r, a.account.ID)}
		w.actors = append(w.actors, a)
		wl := &Workload{
			Name: a.name, Identity: a.id(), Subject: fmt.Sprintf("system:serviceaccount:%s:%s", team, a.name),
			Home: pick(r, w.networks), Agent: fmt.Sprintf(pick(r, runtimes), r.IntN(40)), Team: team, owner: a,
		}
		wl.Home.Address = neighbour(r, wl.Home.Address)
		ordinary := make([]Route, 0, len(routes))
		for _, k := range r.Perm(len(routes)) {
			if route := routes[k]; route.Action != nhi.Admin && route.Action != nhi.Delete {
				ordinary = append(ordinary, route)
			}
		}
		wl.weekly, wl.calls = ordinary[0], ordinary[1:3+r.IntN(4)]
		w.Workloads = append(w.Workloads, wl)
	}
}

// usual draws an operation the workload makes every day.
func (wl *Workload) usual(r *rand.Rand) Route {
	// The first operations are the most frequent.
	i := min(r.IntN(len(wl.calls)), r.IntN(len(wl.calls)))
	return wl.calls[i]
}

// Weekly returns a request of the workload's weekly job.
func (wl *Workload) Weekly(r *rand.Rand) (Route, string) { return wl.weekly, wl.weekly.Target(r) }

// Usual returns a request the workload makes every day.
func (wl *Workload) Usual(r *rand.Rand) (Route, string) {
	route := wl.usual(r)
	return route, route.Target(r)
}

// unusual draws an operation that the workload never makes.
func (wl *Workload) unusual(r *rand.Rand, admin bool) Route {
	for {
		route := pick(r, routes)
		if strong := route.Action == nhi.Admin || route.Action == nhi.Delete; strong == admin && route != wl.weekly && !slices.Contains(wl.calls, route) {
			return route
		}
	}
}
