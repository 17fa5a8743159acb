package scale

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/offline"
)

const (
	loadBatch     = 100 // questions in one AuthZEN call
	loadResources = 8
	batchCallers  = 4
	proxyCallers  = 4
	envoyCallers  = 2
)

// A target is a server under load: the real program in a process of its own, or
// in the small share a server in this one.
type target struct {
	url, ops, envoy, data string
	pid                   int
	api                   *client.Client
	stop                  func()
}

// A holder is an identity and its one key.
type holder struct{ identity, credential, key string }

// An answer is what one question got.
type answer struct {
	began   time.Time // the request
	ended   time.Time
	call    int // answers of one batch have the same
	holder  int // whose key or name it was
	way     string
	allowed bool
	flipped bool // it asked about the resource that every second set of policies forbids
}

// A load is one run: what was asked, what was changed meanwhile, and when it
// was acknowledged.
type load struct {
	*target
	holders           []holder
	nginx, zen, gates string // keys of the points
	scanner           *client.Client

	calls    atomic.Int64
	hot      atomic.Int64          // the holder that is just being contained, or -1
	sick     atomic.Pointer[[]int] // those that were
	answers  [][]answered          // by caller
	applied  []change              // policies; the number is the set's
	contains []change              // containments; the number is the holder's
}

type answered struct {
	id string
	answer
}

// A change is something that the server acknowledged.
type change struct {
	number       int
	began, acked time.Time
	generation   uint64
}

// policies is set number k. Each of its ids says so. The odd ones forbid what
// the even ones allow, so that a decision shows by which it was made.
func policies(k int) string {
	var b strings.Builder
	for i := range loadPolicies {
		fmt.Fprintf(&b, "@id(\"k%d-grant-%d\") permit (principal, action, resource == Resource::\"service-%d/api\") when { context.country != \"XX\" };\n", k, i, i)
	}
	effect := [...]string{"permit", "forbid"}[k%2]
	fmt.Fprintf(&b, "@id(\"k%d-flip\") %s (principal, action, resource == Resource::\"flip/api\");\n", k, effect)
	return b.String()
}

func (l *load) send(t *testing.T, method, path string, request, reply any) {
	t.Helper()
	if err := l.api.Send(t.Context(), method, path, request, reply); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// furnish makes identities with their keys, resources, routes and points.
func (l *load) furnish(t *testing.T) {
	t.Helper()
	l.holders = make([]holder, loadCredentials)
	var making sync.WaitGroup
	for w := range 8 {
		making.Go(func() {
			for i := w; i < len(l.holders); i += 8 {
				var who client.Identity
				var key client.NewCredential
				err := l.api.Send(t.Context(), http.MethodPost, "/v1/identities", client.CreateIdentity{Name: fmt.Sprintf("holder-%d", i), Environment: "production", Owner: "team:load"}, &who)
				if err == nil {
					err = l.api.Send(t.Context(), http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &key)
				}
				if err != nil {
					t.Error(err)
					return
				}
				l.holders[i] = holder{who.ID, key.ID, key.Key}
			}
		})
	}
	making.Wait()
	if t.Failed() {
		t.FailNow()
	}
	resources, routes := strings.Builder{}, strings.Builder{}
	resources.WriteString("- {id: flip/api, environment: production, sensitivity: 1}\n")
	for i := range loadResources {
		fmt.Fprintf(&resources, "- {id: service-%d/api, environment: production, sensitivity: %d}\n", i, i%3)
		fmt.Fprintf(&routes, "- {host: api.example.com, path: \"/s%d/{id}\", methods: {GET: read}, resource: service-%d/api}\n", i, i)
	}
	for name, text := range map[string]string{"resources.yaml": resources.String(), "routes.yaml": routes.String(), "policies.cedar": policies(0)} {
		if err := l.api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	enforce := "enforce"
	for dialect, key := range map[string]*string{"nginx": &l.nginx, "authzen": &l.zen, "envoy": &l.gates} {
		var enrolled client.Enrolled
		l.send(t, http.MethodPost, "/v1/points", client.EnrollPoint{Name: dialect, Dialect: dialect}, &enrolled)
		l.send(t, http.MethodPatch, "/v1/points/"+dialect, client.SetPoint{Mode: &enforce}, nil)
		*key = enrolled.Key
	}
	var source client.Enrolled
	l.send(t, http.MethodPost, "/v1/sources", client.AddSource{Name: "scanner", Format: "scanner"}, &source)
	var err error
	if l.scanner, err = client.New(l.url, source.Key); err != nil {
		t.Fatal(err)
	}
	l.hot.Store(-1)
}

// single chooses whose key a request carries: one that is just being contained
// if there is one, one that was contained, or the next.
func (l *load) single(n int) int {
	if hot := l.hot.Load(); hot >= 0 && n%3 == 0 {
		return int(hot)
	}
	if sick := l.sick.Load(); sick != nil && n%5 == 0 {
		return (*sick)[n/5%len(*sick)]
	}
	return n % len(l.holders)
}

// evaluations asks one batch over AuthZEN.
func (l *load) evaluations(ctx context.Context, c *http.Client, n int) ([]answered, error) {
	body := []byte(`{"action":{"name":"read"},"context":{"ip":"203.0.113.7","user_agent":"settler/1.4"},"evaluations":[`)
	out := make([]answered, loadBatch)
	call := int(l.calls.Add(1))
	for i := range out {
		a := &out[i]
		a.call, a.holder, a.way, a.flipped = call, (n*loadBatch+i)%len(l.holders), "AuthZEN", i%10 == 0
		name := fmt.Sprintf("service-%d/api", i%loadResources)
		if a.flipped {
			name = "flip/api"
		}
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"subject":{"type":"identity","id":%q},"resource":{"type":"api","id":%q}}`, l.holders[a.holder].identity, name)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/access/v1/evaluations", bytes.NewReader(append(body, `]}`...)))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+l.zen)
	r.Header.Set("Content-Type", "application/json")
	began := time.Now()
	text, _, err := exchange(c, r)
	ended := time.Now()
	if err != nil {
		return nil, err
	}
	var reply struct {
		Evaluations []struct {
			Decision bool `json:"decision"`
			Context  struct {
				ID string `json:"evaluation_id"`
			} `json:"context"`
		} `json:"evaluations"`
	}
	if err := json.Unmarshal(text, &reply); err != nil || len(reply.Evaluations) != len(out) {
		return nil, fmt.Errorf("%d answers to %d questions: %w", len(reply.Evaluations), len(out), err)
	}
	for i, e := range reply.Evaluations {
		out[i].id, out[i].allowed, out[i].began, out[i].ended = e.Context.ID, e.Decision, began, ended
	}
	return out, nil
}

// exchange sends r and reads the answer. A refusal is one.
func exchange(c *http.Client, r *http.Request) (text []byte, header http.Header, err error) {
	res, err := c.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if text, err = io.ReadAll(res.Body); err != nil {
		return nil, nil, err
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusForbidden, http.StatusUnauthorized:
		header = res.Header.Clone()
		header.Set("Status", strconv.Itoa(res.StatusCode))
		return text, header, nil
	}
	return nil, nil, fmt.Errorf("%s: %d %.200s", r.URL, res.StatusCode, text)
}

// forward asks as nginx does about one request with the key of a holder.
func (l *load) forward(ctx context.Context, c *http.Client, holder, n int) ([]answered, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"/enforce/forward-auth", http.NoBody)
	if err != nil {
		return nil, err
	}
	out := answered{answer: answer{call: int(l.calls.Add(1)), holder: holder, way: "forward-auth"}}
	for name, value := range map[string]string{
		"Muster-Point-Authorization": "Bearer " + l.nginx, "Authorization": "Bearer " + l.holders[out.holder].key, "User-Agent": "settler/1.4", "X-Original-Method": "GET",
		"X-Original-Uri": fmt.Sprintf("/s%d/17", n%loadResources), "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com", "X-Forwarded-For": "203.0.113.7",
	} {
		r.Header[name] = []string{value}
	}
	out.began = time.Now()
	_, header, err := exchange(c, r)
	out.ended = time.Now()
	if err != nil {
		return nil, err
	}
	out.id, out.allowed = header.Get("Muster-Decision"), header.Get("Status") == "200"
	return []answered{out}, nil
}

// check asks as Envoy does about one request.
func (l *load) check(ctx context.Context, envoy auth.AuthorizationClient, n int) ([]answered, error) {
	out := answered{answer: answer{call: int(l.calls.Add(1)), holder: l.single(n), way: "ext_authz"}}
	path := fmt.Sprintf("/s%d/17", n%loadResources)
	request := &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: "203.0.113.7", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 40000}}}}},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Method: "GET", Scheme: "https", Host: "api.example.com", Path: path, Protocol: "HTTP/2",
			Headers: map[string]string{
				":authority": "api.example.com", ":method": "GET", ":path": path, ":scheme": "https", "authorization": "Bearer " + l.holders[out.holder].key,
				"user-agent": "settler/1.4", "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https",
			},
		}},
	}}
	ctx = metadata.AppendToOutgoingContext(ctx, "muster-point-authorization", "Bearer "+l.gates)
	out.began = time.Now()
	response, err := envoy.Check(ctx, request)
	out.ended = time.Now()
	if err != nil {
		return nil, err
	}
	headers := response.GetDeniedResponse().GetHeaders()
	if ok := response.GetOkResponse(); ok != nil {
		out.allowed, headers = true, ok.GetHeaders()
	}
	for _, h := range headers {
		if h.GetHeader().GetKey() == "muster-decision" {
			out.id = h.GetHeader().GetValue()
		}
	}
	return []answered{out}, nil
}

// drive has callers ask, each at its own even pace, until the time is over and
// nothing is being changed any more. A caller that falls behind does not make
// up for it: the rate reached is reported.
func (l *load) drive(t *testing.T, over <-chan struct{}, perSecond float64, ask []caller, into [][]answered) *sync.WaitGroup {
	var driving sync.WaitGroup
	every := time.Duration(float64(time.Second) * float64(len(ask)) / perSecond)
	for i, one := range ask {
		driving.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for n := i; ; n += len(ask) {
				got, err := one(n)
				if err != nil {
					t.Error(err)
					return
				}
				into[i] = append(into[i], got...)
				select {
				case <-over:
					return
				case <-tick.C:
				}
			}
		})
	}
	return &driving
}

// reload applies the next set of policies again and again until end.
func (l *load) reload(t *testing.T, end time.Time) {
	tick := time.NewTicker(loadReload)
	defer tick.Stop()
	for k := 1; k <= 2 || time.Now().Before(end); k++ {
		c := change{number: k, began: time.Now()}
		if err := l.api.Do(t.Context(), http.MethodPut, "/v1/documents/policies.cedar", "text/plain", strings.NewReader(policies(k)), nil); err != nil {
			t.Errorf("policies %d: %v", k, err)
			return
		}
		c.acked = time.Now()
		l.applied = append(l.applied, c)
		<-tick.C
	}
}

// contain reports the keys of one in a hundred holders as leaked, one after the
// other over the whole time, while they are being used.
func (l *load) contain(t *testing.T, end time.Time) {
	n := max(loadCredentials/100, 3)
	tick := time.NewTicker(time.Until(end) / time.Duration(n+1))
	defer tick.Stop()
	var sick []int
	for i := range n {
		<-tick.C
		victim := i * len(l.holders) / n
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "settings.yaml"), []byte("key: "+l.holders[victim].key+"\n"), 0o600); err != nil {
			t.Error(err)
			return
		}
		l.hot.Store(int64(victim))
		c := change{number: victim, began: time.Now()}
		_, err := offline.Scan(t.Context(), offline.ScanSettings{Path: dir, Reporter: &offline.Reporter{
			Client: l.scanner, Replied: func(_ leak.Record, r client.SightingReply) {
				if r.Credential == l.holders[victim].credential && r.Action != nil && r.Action.Status == "done" {
					c.generation = r.Action.Generation
				}
			},
		}})
		c.acked = time.Now()
		if err != nil || c.generation == 0 {
			t.Errorf("the leaked key of %s was not contained: %v", l.holders[victim].identity, err)
			return
		}
		l.hot.Store(-1)
		l.contains = append(l.contains, c)
		sick = append(slices.Clone(sick), victim)
		l.sick.Store(&sick)
	}
}

// A caller asks for the nth time.
type caller func(n int) ([]answered, error)

// callers are all that ask, each over a connection of its own.
func (l *load) callers(t *testing.T) (batches, proxies, envoys []caller) {
	t.Helper()
	for range batchCallers {
		c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}
		batches = append(batches, func(n int) ([]answered, error) { return l.evaluations(t.Context(), c, n) })
	}
	for range proxyCallers {
		c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}
		proxies = append(proxies, func(n int) ([]answered, error) { return l.forward(t.Context(), c, l.single(n), n) })
	}
	for range envoyCallers {
		conn, err := grpc.NewClient("passthrough:///"+l.envoy, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		envoy := auth.NewAuthorizationClient(conn)
		envoys = append(envoys, func(n int) ([]answered, error) { return l.check(t.Context(), envoy, n) })
	}
	return batches, proxies, envoys
}

// run puts the load on the server and returns how long it lasted. However slow
// the machine is, something is asked before the first change, during the
// changes, and after the last.
func (l *load) run(t *testing.T) time.Duration {
	t.Helper()
	batches, proxies, envoys := l.callers(t)
	l.answers = make([][]answered, 1+batchCallers+proxyCallers+envoyCallers) // the first: before and after
	ask := func(one caller) {
		got, err := one(0)
		if err != nil {
			t.Fatal(err)
		}
		l.answers[0] = append(l.answers[0], got...)
	}
	ask(batches[0])
	began := time.Now()
	end := began.Add(loadTime)
	over := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() { l.reload(t, end) })
	changing.Go(func() { l.contain(t, end) })
	driving := []*sync.WaitGroup{
		l.drive(t, over, loadBatches, batches, l.answers[1:1+batchCallers]),
		l.drive(t, over, loadForward, proxies, l.answers[1+batchCallers:1+batchCallers+proxyCallers]),
		l.drive(t, over, loadEnvoy, envoys, l.answers[1+batchCallers+proxyCallers:]),
	}
	changing.Wait()
	close(over)
	for _, d := range driving {
		d.Wait()
	}
	lasted := time.Since(began)
	ask(batches[0])
	c := &http.Client{}
	for _, contained := range l.contains {
		ask(func(n int) ([]answered, error) { return l.forward(t.Context(), c, contained.number, n) })
	}
	if t.Failed() {
		t.FailNow()
	}
	return lasted
}

// metric is a value of the server's own metrics.
func (l *load) metric(t *testing.T, name string) float64 {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.ops+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := exchange(http.DefaultClient, r)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// A verdict counts what was checked.
type verdict struct {
	records, allowed, refused, underFire, afterwards, digests int
}

// verify reads the journal of the stopped server and holds every answer that a
// caller got against it.
func (l *load) verify(t *testing.T) verdict {
	t.Helper()
	asked := map[string]*answer{}
	for _, of := range l.answers {
		for i := range of {
			if _, twice := asked[of[i].id]; twice || of[i].id == "" {
				t.Fatalf("two answers, or none, have the id %q", of[i].id)
			}
			asked[of[i].id] = &of[i].answer
		}
	}
	dead := map[int]*change{}
	for i := range l.contains {
		dead[l.contains[i].number] = &l.contains[i]
	}
	v := verdict{}
	type snapshot struct {
		digest     string
		generation nhi.Generation
	}
	calls, sets, digests := map[int]snapshot{}, map[string]int{}, map[int]string{}
	for rec, err := range journal.Read(filepath.Join(l.data, "decisions"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		d, err := logbook.Decode(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		a := asked[d.ID]
		if a == nil {
			continue
		}
		delete(asked, d.ID)
		v.records++
		if (d.Outcome == nhi.Allow) != a.allowed {
			t.Errorf("%s %s: on record is %s, the caller was told %t", a.way, d.ID, d.Outcome, a.allowed)
		}
		// One set of policies, and the reasons are its own.
		k := l.set(t, &d, a)
		if of, seen := sets[d.Policy]; seen && k >= 0 && of != k {
			t.Errorf("decision %s by policies %s has reasons of set %d, others by them of set %d", d.ID, d.Policy, k, of)
		}
		if k >= 0 {
			if other, seen := digests[k]; seen && other != d.Policy {
				t.Errorf("set %d of the policies has the digests %s and %s", k, other, d.Policy)
			}
			sets[d.Policy], digests[k] = k, d.Policy
		}
		// One snapshot for all that was asked together.
		now := snapshot{d.Policy, d.Generation}
		if was, seen := calls[a.call]; seen && was != now {
			t.Errorf("call %d was answered from %+v and from %+v", a.call, was, now)
		}
		calls[a.call] = now
		l.current(t, &d, a, &v, dead[a.holder])
		if t.Failed() {
			t.FailNow()
		}
	}
	for id := range asked {
		t.Errorf("%d answers are not on record, %s for one", len(asked), id)
		break
	}
	v.digests = len(digests)
	return v
}

// set returns the number of the set of policies that the reasons of d belong
// to, -1 when only guards decided, and checks that it was in force: not older
// than the one acknowledged before the request, not newer than the one sent
// before the answer.
func (l *load) set(t *testing.T, d *nhi.Decision, a *answer) int {
	t.Helper()
	k := -1
	for _, r := range d.Reasons {
		rest, ours := strings.CutPrefix(r.Policy, "k")
		number, name, ok := strings.Cut(rest, "-")
		n, err := strconv.Atoi(number)
		if !ours || !ok || err != nil {
			continue
		}
		if k >= 0 && k != n {
			t.Errorf("decision %s has reasons of the sets %d and %d", d.ID, k, n)
		}
		if k = n; name == "flip" && (n%2 == 0) != (d.Outcome == nhi.Allow) {
			t.Errorf("decision %s: %s for %s", d.ID, d.Outcome, r.Policy)
		}
	}
	if k < 0 {
		return k
	}
	oldest, newest := 0, 0
	for _, c := range l.applied {
		if c.acked.Before(a.began) {
			oldest = c.number
		}
		if c.began.Before(a.ended) {
			newest = c.number
		}
	}
	if k < oldest || k > newest {
		t.Errorf("decision %s is by set %d of the policies; %d to %d were in force while it was made", d.ID, k, oldest, newest)
	}
	return k
}

// current checks that d knew every containment that was acknowledged before it
// was asked, and that it obeyed the one of its own key.
func (l *load) current(t *testing.T, d *nhi.Decision, a *answer, v *verdict, contained *change) {
	t.Helper()
	for _, c := range l.contains {
		if c.acked.Before(a.began) && uint64(d.Generation) < c.generation {
			t.Errorf("%s %s was asked %v after change %d was acknowledged and made at generation %d", a.way, d.ID, a.began.Sub(c.acked), c.generation, d.Generation)
		}
	}
	if a.allowed {
		v.allowed++
	} else {
		v.refused++
	}
	switch {
	case a.flipped:
	case contained == nil:
		if !a.allowed {
			t.Errorf("%s %s of a holder whom nothing happened to: %s, %+v", a.way, d.ID, d.Outcome, d.Reasons)
		}
	case a.way == "AuthZEN": // it names the identity and carries no key
	case a.began.After(contained.acked):
		if v.afterwards++; a.allowed {
			t.Errorf("%s %s allowed a key %v after its containment was acknowledged", a.way, d.ID, a.began.Sub(contained.acked))
		}
	case a.allowed && uint64(d.Generation) >= contained.generation:
		t.Errorf("%s %s allowed a key at generation %d, contained at %d", a.way, d.ID, d.Generation, contained.generation)
	case a.ended.After(contained.began):
		v.underFire++
	}
}

// TestUnderLoadNothingIsMixedAndNothingRevokedPasses asks thousands of
// questions a second in three ways while policies are replaced and keys are
// contained. Every answer is held against the journal afterwards.
func TestUnderLoadNothingIsMixedAndNothingRevokedPasses(t *testing.T) {
	l := &load{target: newTarget(t)}
	l.furnish(t)
	before := l.measure(t)
	lasted := l.run(t)
	after := l.measure(t)
	for _, name := range []string{"muster_decisions_unlogged_total", "muster_decisions_panics_total", "muster_policy_errors_total"} {
		if n := l.metric(t, name); n != 0 {
			t.Errorf("%s is %v, want 0", name, n)
		}
	}
	behind := l.metric(t, "muster_learning_decisions_behind")
	l.stop()
	v := l.verify(t)
	if len(l.applied) < 2 || len(l.contains) < 3 || v.afterwards == 0 || v.digests < 2 {
		t.Errorf("the run shows too little: %d sets of policies applied, %d keys contained, %d requests after that, decisions by %d sets", len(l.applied), len(l.contains), v.afterwards, v.digests)
	}
	if !t.Failed() {
		l.report(t, lasted, before, after, behind, &v)
	}
}

// A measurement is how the server is at one moment.
type measurement struct {
	cpu            time.Duration
	resident, heap float64 // MB
}
