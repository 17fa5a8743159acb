package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

var routes = enforcetest.Routes{
	{Host: "kubernetes", Path: "/resources/kittensandponies/unicorn.example.org/pods/{name}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read, "LIST": nhi.List}, Resource: "cluster/ponies"},
	{Host: "kubernetes", Path: "/resources/my-namespace/apps/deployments/{name}/scale", Methods: map[string]nhi.ActionClass{"UPDATE": nhi.Write}, Resource: "cluster/apps"},
	{Host: "kubernetes", Path: "/resources/payments/core/secrets/{name}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read, "LIST": nhi.List, "CREATE": nhi.Write, "DELETE": nhi.Delete}, Resource: "cluster/secrets"},
	{Host: "kubernetes", Path: "/resources/payments/core/secrets/root", Methods: map[string]nhi.ActionClass{"GET": nhi.Admin}, Resource: "cluster/root"},
	{Host: "kubernetes", Path: "/resources/payments/core/{resource}/{name}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "cluster/payments"},
	{Host: "kubernetes", Path: "/resources/{namespace}/core/pods/{name}", Methods: map[string]nhi.ActionClass{"LIST": nhi.List, "WATCH": nhi.List, "DELETECOLLECTION": nhi.Delete}, Resource: "cluster/pods"},
	{Host: "kubernetes", Path: "/resources/{namespace}/core/services/{name}", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "cluster/services"},
	{Host: "kubernetes", Path: "/resources/-/core/services/{name}", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "cluster/services"},
	{Host: "kubernetes", Path: "/resources/-/core/nodes/{name}", Methods: map[string]nhi.ActionClass{"LIST": nhi.List}, Resource: "cluster/nodes"},
	{Host: "kubernetes", Path: "/paths/debug", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "cluster/debug"},
}

// robot is a service account that is known, jane nobody.
const robot = "system:serviceaccount:payments:robot"

// subjects know the robot.
type subjects struct{}

func (subjects) Subject(cluster string, user *User) nhi.ID {
	if namespace, name, ok := user.ServiceAccount(); ok && cluster == "kubernetes" && namespace == "payments" && name == "robot" {
		return enforcetest.Robot
	}
	return ""
}

// knowing is a decider that finds known subjects in the inventory, as facts do.
type knowing struct {
	enforcetest.Decider
	state nhi.State
}

func (k *knowing) Decide(ctx context.Context, q *nhi.Question) nhi.Decision {
	if q.Subject.Identity != "" {
		q.Known = nhi.Known{Identity: true, IdentityState: k.state}
	}
	return k.Decider.Decide(ctx, q)
}

// A bench is a handler with one enrolled point.
type bench struct {
	*Handler
	decider *knowing
	key     string
}

func newBench(answer nhi.Decision, edit func(*nhi.Point)) *bench {
	points := enforcetest.Points{}
	b := &bench{decider: &knowing{Decider: enforcetest.Decider{Answer: answer}, state: nhi.Active}}
	b.key = points.Enroll(nhi.DialectKubernetes, edit)
	b.Handler = New(Config{
		Points: enforce.NewPoints(points), Routes: enforce.NewRoutes(routes), Subjects: subjects{}, Decider: b.decider, BasePermit: "base-permit",
	})
	return b
}

func (b *bench) request(path, body string) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:5000"
	r.Header.Set("Authorization", "Bearer "+b.key)
	r.Header.Set("Content-Type", "application/json")
	return r
}

func (b *bench) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

// ask authorizes and demands an answer of the right shape.
func (b *bench) ask(t *testing.T, path, body string) status {
	t.Helper()
	w := b.do(b.request(path, body))
	var got verdict
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.Version != reviewVersion || got.Kind != reviewKind || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s: %v", w.Code, w.Header(), w.Body, err)
	}
	if got.Status.Allowed && got.Status.Denied {
		t.Fatalf("allowed and denied: %s", w.Body)
	}
	return got.Status
}

func (b *bench) admission(t *testing.T, body string) response {
	t.Helper()
	w := b.do(b.request(AdmitPath, body))
	var got admitted
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.Version != admissionVersion || got.Kind != admissionKind {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return got.Response
}

// sar is a review about a resource.
func sar(user, verb, namespace, group, resource, name string) string {
	return fmt.Sprintf(`{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","metadata":{"creationTimestamp":null},
"spec":{"user":%q,"uid":"u-1","groups":["system:authenticated"],"extra":{"authentication.kubernetes.io/pod-name":["p"]},
"resourceAttributes":{"verb":%q,"namespace":%q,"group":%q,"version":"v1","resource":%q,"name":%q}},"status":{"allowed":false}}`, user, verb, namespace, group, resource, name)
}

func getSecret(user string) string { return sar(user, "get", "payments", "", "secrets", "db") }

var (
	written = nhi.Decision{ID: "dec-1", Outcome: nhi.Allow, Reasons: []nhi.Reason{{Policy: "base-permit", Effect: "permit"}, {Policy: "robot-reads", Effect: "permit"}}}
	base    = nhi.Decision{ID: "dec-1", Outcome: nhi.Allow, Reasons: []nhi.Reason{{Policy: "base-permit", Effect: "permit"}}}
	forbid  = nhi.Decision{ID: "dec-1", Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "risk-too-high", Text: "The risk is above 80.", Position: "guards.cedar:7", Effect: "forbid"}}}
	observe = nhi.Decision{ID: "dec-1", Outcome: nhi.Allow, WouldRefuse: true, Reasons: forbid.Reasons}
)

func TestTheExamplesOfKubernetesAreRead(t *testing.T) {
	// The request payloads of "Webhook Mode" and "Dynamic Admission Control" in
	// the documentation of Kubernetes, in version v1.
	for _, tt := range []struct {
		name, path, body string
		want             nhi.Question
	}{
		{"a resource", AuthorizePath, `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"resourceAttributes":{"namespace":"kittensandponies","verb":"get","group":"unicorn.example.org","resource":"pods","name":"spot"},"user":"jane","groups":["group1","group2"]}}`,
			nhi.Question{Action: nhi.Read, Resource: "cluster/ponies", Operation: "GET /resources/kittensandponies/unicorn.example.org/pods/{name}", Target: "/resources/kittensandponies/unicorn.example.org/pods/spot"}},
		{"all of a resource", AuthorizePath, `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"resourceAttributes":{"namespace":"kittensandponies","verb":"list","group":"unicorn.example.org","resource":"pods","fieldSelector":{"requirements":[{"key":"spec.nodeName","operator":"In","values":["n1"]}]},"labelSelector":{"rawSelector":"a=b"}},"user":"jane"}}`,
			nhi.Question{Action: nhi.List, Resource: "cluster/ponies", Operation: "LIST /resources/kittensandponies/unicorn.example.org/pods/{name}", Target: "/resources/kittensandponies/unicorn.example.org/pods/-"}},
		{"no resource", AuthorizePath, `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"nonResourceAttributes":{"path":"/debug","verb":"get"},"user":"jane","groups":["group1"]}}`,
			nhi.Question{Action: nhi.Read, Resource: "cluster/debug", Operation: "GET /paths/debug", Target: "/paths/debug"}},
		{"an admission", AdmitPath, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","kind":{"group":"autoscaling","version":"v1","kind":"Scale"},"resource":{"group":"apps","version":"v1","resource":"deployments"},"subResource":"scale","requestKind":{"group":"autoscaling","version":"v1","kind":"Scale"},"requestResource":{"group":"apps","version":"v1","resource":"deployments"},"requestSubResource":"scale","name":"my-deployment","namespace":"my-namespace","operation":"UPDATE","userInfo":{"username":"admin","uid":"014fbff9a07c","groups":["system:authenticated","my-admin-group"],"extra":{"some-key":["some-value1","some-value2"]}},"object":{"apiVersion":"autoscaling/v1","kind":"Scale"},"oldObject":{"apiVersion":"autoscaling/v1","kind":"Scale"},"options":{"apiVersion":"meta.k8s.io/v1","kind":"UpdateOptions"},"dryRun":false}}`,
			nhi.Question{Action: nhi.Write, Resource: "cluster/apps", Operation: "UPDATE /resources/my-namespace/apps/deployments/{name}/scale", ID: "705ab4f5-6393-11e8-b7cc-42010a800002",
				Target: "/resources/my-namespace/apps/deployments/my-deployment/scale?sha256=" + digestOf([]byte(`{"apiVersion":"autoscaling/v1","kind":"Scale"}`), []byte(`{"apiVersion":"meta.k8s.io/v1","kind":"UpdateOptions"}`))}},
	} {
		b := newBench(base, nil)
		if w := b.do(b.request(tt.path, tt.body)); w.Code != 200 {
			t.Fatalf("%s: %d %s", tt.name, w.Code, w.Body)
		}
		got := b.decider.Asked()[0]
		tt.want.Point, tt.want.At, tt.want.Host = got.Point, got.At, "kubernetes"
		tt.want.Subject = nhi.Attested{Method: "kubernetes", Asserted: true} // jane is nobody to us, and a person
		if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b interface{ IsValid() bool }) bool { return a.IsValid() == b.IsValid() })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestOnlyAPermitThatSomebodyWroteAuthorizes(t *testing.T) {
	share := func(mode nhi.Mode, percent int) func(*nhi.Point) {
		return func(p *nhi.Point) { p.Mode, p.Percent = mode, percent }
	}
	for _, tt := range []struct {
		name   string
		answer nhi.Decision
		edit   func(*nhi.Point)
		want   bool
	}{
		{"a permit of somebody's", written, nil, true},
		{"the built-in permit", base, nil, false},
		{"a permit that is not said", nhi.Decision{ID: "d", Outcome: nhi.Allow}, nil, false},
		{"at a point that observes", written, share(nhi.Observe, 100), false},
		{"at a point that enforces for half", written, share(nhi.Enforce, 50), false},
		{"at a point that guards something else", written, func(p *nhi.Point) { p.Resources = []string{"other"} }, false},
	} {
		got := newBench(tt.answer, tt.edit).ask(t, AuthorizePath, getSecret(robot))
		if got.Allowed != tt.want || got.Denied {
			t.Errorf("%s: %+v, want allowed %v and no denial", tt.name, got, tt.want)
		}
	}
}

func TestADenialIsOnlyWhatSomebodyForbade(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer nhi.Decision
		state  nhi.State
		body   string
		denied bool // otherwise no opinion
		strict bool // denied where the cluster asks for it
	}{
		{"a forbid", forbid, nhi.Active, getSecret(robot), true, true},
		{"a step-up", nhi.Decision{ID: "d", Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: nhi.StepApprove, Value: "apr_1"}}, Reasons: forbid.Reasons}, nhi.Active, getSecret(robot), true, true},
		{"no permit", nhi.Decision{ID: "d", Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "no-permit", Effect: "forbid"}}}, nhi.Active, getSecret(robot), false, true},
		{"an error inside", nhi.Decision{ID: "d", Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "internal-error", Effect: "forbid"}}}, nhi.Active, getSecret(robot), true, true},
		{"the zero decision", nhi.Decision{}, nhi.Active, getSecret(robot), true, true},
		{"an outcome from the future", nhi.Decision{ID: "d", Outcome: "permit"}, nhi.Active, getSecret(robot), true, true},
		{"nobody known", forbid, nhi.Active, getSecret("system:kube-scheduler"), false, true},
		{"no route", forbid, nhi.Active, sar(robot, "get", "elsewhere", "", "secrets", "db"), false, true},
		{"no route of a quarantined identity", forbid, nhi.Quarantined, sar(robot, "get", "elsewhere", "", "secrets", "db"), true, true},
		{"what passes by the built-in permit", base, nhi.Active, getSecret(robot), false, false},
		{"what would be refused", observe, nhi.Active, getSecret(robot), false, false},
	} {
		for path, want := range map[string]bool{AuthorizePath: tt.denied, StrictPath: tt.strict} {
			b := newBench(tt.answer, nil)
			b.decider.state = tt.state
			if got := b.ask(t, path, tt.body); got.Denied != want || got.Allowed {
				t.Errorf("%s at %s: %+v, want denied %v", tt.name, path, got, want)
			}
		}
	}
}

func TestReasonsNameIdsAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		answer nhi.Decision
		want   string
	}{
		{forbid, "muster: denied by risk-too-high; decision dec-1"},
		{observe, "muster: observes and would deny by risk-too-high; decision dec-1"},
		{nhi.Decision{ID: "dec-2", Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: nhi.StepApprove, Value: "apr_1"}}, Reasons: []nhi.Reason{{Policy: "ask", Text: "secret text"}}},
			"muster: denied by ask; needs approve apr_1; decision dec-2"},
	} {
		if got := newBench(tt.answer, nil).ask(t, AuthorizePath, getSecret(robot)).Reason; got != tt.want {
			t.Errorf("reason %q, want %q", got, tt.want)
		}
	}
}

func TestAQuestionAboutManyThingsOrWithTwoReadingsIsNeverAllowed(t *testing.T) {
	for name, body := range map[string]string{
		"every verb":                   sar(robot, "*", "payments", "", "secrets", "db"),
		"every resource":               sar(robot, "get", "payments", "", "*", "db"),
		"every object":                 sar(robot, "get", "payments", "", "configmaps", "*"),
		"every namespace":              sar(robot, "get", "*", "", "secrets", "db"),
		"one object without a name":    sar(robot, "get", "payments", "", "secrets", ""),
		"a namespace that is a path":   sar(robot, "get", "payments/core", "secrets", "db", ""),
		"a name that is a path":        sar(robot, "get", "payments", "", "secrets", "db/../root"),
		"a name with a query":          sar(robot, "get", "payments", "", "secrets", "root?x"),
		"a name with an escape":        sar(robot, "get", "payments", "", "secrets", "%72oot"),
		"a name with a fragment":       sar(robot, "get", "payments", "", "secrets", "root#"),
		"a name that stands for none":  sar(robot, "list", "payments", "", "secrets", "-"),
		"a group that stands for core": sar(robot, "get", "payments", "core", "secrets", "db"),
		"a namespace that is none":     sar(robot, "get", "-", "", "secrets", "db"),
		"a name of dots":               sar(robot, "get", "payments", "", "secrets", ".."),
		"a verb in capitals":           sar(robot, "GET", "payments", "", "secrets", "db"),
		"a verb of other letters":      sar(robot, "l\u0131\u017ft", "payments", "", "secrets", ""),
		"no verb":                      sar(robot, "", "payments", "", "secrets", "db"),
		"no resource":                  sar(robot, "get", "payments", "", "", "db"),
		"a path with two readings":     `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"system:serviceaccount:payments:robot","nonResourceAttributes":{"path":"//debug","verb":"get"}}}`,
		"a path with an escape":        `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"system:serviceaccount:payments:robot","nonResourceAttributes":{"path":"/%64ebug","verb":"get"}}}`,
		"a path that starts nowhere":   `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"system:serviceaccount:payments:robot","nonResourceAttributes":{"path":"debug","verb":"get"}}}`,
		"a path like a resource's":     `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"system:serviceaccount:payments:robot","nonResourceAttributes":{"path":"/resources/payments/core/secrets/db","verb":"get"}}}`,
	} {
		b := newBench(written, nil)
		if got := b.ask(t, AuthorizePath, body); got.Allowed || got.Denied {
			t.Errorf("%s: %+v, want no opinion", name, got)
		}
		if got := b.ask(t, StrictPath, body); !got.Denied {
			t.Errorf("%s: %+v, want denied where the cluster asks for it", name, got)
		}
		for _, q := range b.decider.Asked() {
			if q.Resource != "" {
				t.Errorf("%s: asked about %s", name, q.Resource)
			}
		}
	}
}

// A route for any one namespace is not for all of them together: what other routes
// say of one of them would be passed by.
func TestAllNamespacesAreNotOneOfThem(t *testing.T) {
	for name, tt := range map[string]struct {
		body    string
		allowed bool
	}{
		"a list of one namespace":          {sar(robot, "list", "shop", "", "pods", ""), true},
		"a list of all namespaces":         {sar(robot, "list", "", "", "pods", ""), false},
		"a watch of all namespaces":        {sar(robot, "watch", "", "", "pods", ""), false},
		"a deletion of all there are":      {sar(robot, "deletecollection", "", "", "pods", ""), false},
		"where a route says all":           {sar(robot, "list", "", "", "services", ""), true},
		"where one says all and one any":   {sar(robot, "list", "shop", "", "services", ""), true},
		"what has no namespace, by a dash": {sar(robot, "list", "", "", "nodes", ""), true},
	} {
		b := newBench(written, nil)
		if got := b.ask(t, AuthorizePath, tt.body); got.Allowed != tt.allowed || got.Denied {
			t.Errorf("%s: %+v, want allowed %v", name, got, tt.allowed)
		}
		if got := b.ask(t, StrictPath, tt.body); got.Denied == tt.allowed {
			t.Errorf("%s: %+v, want denied %v where the cluster asks for it", name, got, !tt.allowed)
		}
	}
}

func TestTheMostSpecificNameWins(t *testing.T) {
	for name, want := range map[string]string{"db": "cluster/secrets", "root": "cluster/root"} {
		b := newBench(base, nil)
		b.ask(t, AuthorizePath, sar(robot, "get", "payments", "", "secrets", name))
		if got := b.decider.Asked()[0].Resource; got != want {
			t.Errorf("secret %s is %s, want %s", name, got, want)
		}
	}
}

func TestAReviewThatCannotBeReadIsRefused(t *testing.T) {
	good := getSecret(robot)
	for name, edit := range map[string]func(*http.Request) *http.Request{
		"nothing":     func(r *http.Request) *http.Request { return with(r, "") },
		"no JSON":     func(r *http.Request) *http.Request { return with(r, "a=b") },
		"a list":      func(r *http.Request) *http.Request { return with(r, "["+good+"]") },
		"two reviews": func(r *http.Request) *http.Request { return with(r, good+good) },
		"two users": func(r *http.Request) *http.Request {
			return with(r, strings.Replace(good, `"user"`, `"user":"system:admin","user"`, 1))
		},
		"invalid UTF-8": func(r *http.Request) *http.Request { return with(r, strings.Replace(good, "robot", "robot\xff", 1)) },
		"a deep one": func(r *http.Request) *http.Request {
			return with(r, strings.Replace(good, `"metadata":{`, `"metadata":{"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`,`, 1))
		},
		"a huge one": func(r *http.Request) *http.Request { return with(r, good+strings.Repeat(" ", maxBody)) },
		"a huge one, stream": func(r *http.Request) *http.Request {
			r = with(r, good+strings.Repeat(" ", maxBody))
			r.ContentLength = -1
			return r
		},
		"the old version": func(r *http.Request) *http.Request {
			return with(r, strings.Replace(good, "k8s.io/v1", "k8s.io/v1beta1", 1))
		},
		"another kind": func(r *http.Request) *http.Request {
			return with(r, strings.Replace(good, "SubjectAccessReview", "TokenReview", 1))
		},
		"no user": func(r *http.Request) *http.Request { return with(r, strings.Replace(good, robot, "", 1)) },
		"no attributes": func(r *http.Request) *http.Request {
			return with(r, strings.Replace(good, "resourceAttributes", "other", 1))
		},
		"both attributes": func(r *http.Request) *http.Request {
			return with(r, strings.Replace(good, `"user"`, `"nonResourceAttributes":{"path":"/healthz","verb":"get"},"user"`, 1))
		},
		"names in capitals":  func(r *http.Request) *http.Request { return with(r, strings.Replace(good, `"user"`, `"USER"`, 1)) },
		"another media type": func(r *http.Request) *http.Request { r.Header.Set("Content-Type", "text/plain"); return r },
		"a compressed one":   func(r *http.Request) *http.Request { r.Header.Set("Content-Encoding", "gzip"); return r },
		"with GET":           func(r *http.Request) *http.Request { r.Method = "GET"; return r },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(written, nil)
			w := b.do(edit(b.request(AuthorizePath, good)))
			var got verdict
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || !got.Status.Denied || got.Status.Allowed {
				t.Errorf("authorize: %d %s", w.Code, w.Body)
			}
			r := edit(b.request(AdmitPath, good)) // no admission either
			r.URL.Path = AdmitPath
			var admission admitted
			w = b.do(r)
			if err := json.Unmarshal(w.Body.Bytes(), &admission); err != nil || w.Code != 200 || admission.Response.Allowed || admission.Response.Status.Code != 403 {
				t.Errorf("admit: %d %s", w.Code, w.Body)
			}
			if asked := b.decider.Asked(); len(asked) != 0 {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

// with returns r with another body.
func with(r *http.Request, body string) *http.Request {
	next := httptest.NewRequest(r.Method, r.URL.Path, strings.NewReader(body))
	next.Header, next.RemoteAddr = r.Header, r.RemoteAddr
	return next
}

func TestWhoIsNoPointIsNotAnswered(t *testing.T) {
	for name, edit := range map[string]func(*http.Request){
		"no key":          func(r *http.Request) { r.Header.Del("Authorization") },
		"a wrong key":     func(r *http.Request) { r.Header.Set("Authorization", "Bearer muster_pnt_x_y_z") },
		"two keys":        func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
		"another address": func(r *http.Request) { r.RemoteAddr = "203.0.113.9:1" },
		"the key elsewhere": func(r *http.Request) {
			r.Header.Set("Muster-Point-Authorization", r.Header.Get("Authorization"))
			r.Header.Del("Authorization")
		},
	} {
		for _, path := range []string{AuthorizePath, StrictPath, AdmitPath} {
			b := newBench(written, nil)
			r := b.request(path, getSecret(robot))
			edit(r)
			if w := b.do(r); w.Code != 401 || strings.Contains(w.Body.String(), "allowed") || len(b.decider.Asked()) != 0 {
				t.Errorf("%s at %s: %d %s", name, path, w.Code, w.Body)
			}
		}
	}
	b := newBench(written, func(p *nhi.Point) { p.Dialect = nhi.DialectAuthZEN })
	if got := b.ask(t, AuthorizePath, getSecret(robot)); !got.Denied || !strings.Contains(got.Reason, "dialect") {
		t.Errorf("a point of another dialect: %+v", got)
	}
}

func TestAPanicDenies(t *testing.T) {
	b := newBench(written, nil)
	b.decider.Panic = true
	if got := b.ask(t, AuthorizePath, getSecret(robot)); !got.Denied {
		t.Errorf("authorize: %+v", got)
	}
	if got := b.admission(t, createSecret("")); got.Allowed || got.UID != "uid-1" {
		t.Errorf("admit: %+v", got)
	}
}

func TestTheNameOfAPersonIsNotRecorded(t *testing.T) {
	for user, want := range map[string]string{robot: robot, "system:node:n1": "system:node:n1", "jane@corp.example": "", "system:" + strings.Repeat("x", 300): ""} {
		b := newBench(base, nil)
		b.ask(t, AuthorizePath, getSecret(user))
		if got := b.decider.Asked()[0].Subject; got.KeyID != want || !got.Asserted || got.Assurance != 0 {
			t.Errorf("%.40s is recorded as %+v", user, got)
		}
	}
}

func TestOnlyAServiceAccountsNameIsOne(t *testing.T) {
	for name, want := range map[string]bool{
		robot: true, "system:serviceaccount:a:b.c-d": true,
		"system:serviceaccount:payments": false, "system:serviceaccount::robot": false, "system:serviceaccount:payments:": false,
		"system:serviceaccount:a:b:c": false, "system:serviceaccount:A:b": false, "system:serviceaccount:a:b\n": false, "jane": false, "System:serviceaccount:a:b": false,
	} {
		if _, _, got := (&User{Name: name}).ServiceAccount(); got != want {
			t.Errorf("ServiceAccount(%q) = %v, want %v", name, got, want)
		}
	}
}

func FuzzReviews(f *testing.F) {
	f.Add(getSecret(robot), 0)
	f.Add(createSecret(""), 2)
	f.Add(`{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"nonResourceAttributes":{"path":"/debug","verb":"get"},"user":"jane"}}`, 1)
	b := newBench(forbid, nil)
	f.Fuzz(func(t *testing.T, body string, which int) {
		w := b.do(b.request([]string{AuthorizePath, StrictPath, AdmitPath}[uint(which)%3], body))
		if w.Code != 200 || strings.Contains(w.Body.String(), `"allowed":true`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
