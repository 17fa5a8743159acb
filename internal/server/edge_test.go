package server

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/agent"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision/logbook"
)

// An outpost is a point that decides away from the server.
type outpost struct {
	*agent.Agent
	t     *testing.T
	stop  context.CancelFunc
	ended chan error
}

func pointAt(t *testing.T, server, name, key, data string) *outpost {
	t.Helper()
	a, err := agent.New(t.Context(), agent.Settings{
		Name: name, Server: server, Key: key, Data: data, Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Reserve: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e := &outpost{Agent: a, t: t, stop: cancel, ended: make(chan error, 1)}
	go func() { e.ended <- a.Run(ctx) }()
	t.Cleanup(e.halt)
	return e
}

func (e *outpost) halt() {
	e.t.Helper()
	e.stop()
	if e.ended == nil {
		return
	}
	select {
	case err := <-e.ended:
		if err != nil {
			e.t.Errorf("stop the point: %v", err)
		}
	case <-time.After(time.Minute):
		e.t.Error("the point did not stop")
	}
	e.ended = nil
}

// report is what the point says about itself.
func (e *outpost) report() string {
	e.t.Helper()
	res, err := http.Get(e.OpsURL() + "/readyz?verbose")
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(text)
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ask is one forward-auth question in nginx's dialect. It returns 0 when nobody
// answers.
func (e *outpost) ask(point, key, uri string) (int, string) {
	return askAt(e.t, e.URL(), point, key, uri)
}

func askAt(t *testing.T, url, point, key, uri string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url+"/enforce/forward-auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Original-Method": "GET", "X-Original-URI": uri, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com", "X-Forwarded-For": "203.0.113.7",
		"Muster-Point-Authorization": "Bearer " + point, "Authorization": "Bearer " + key,
	} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// must fails unless the point answers so.
func (e *outpost) must(what, point, key, uri string, status int, reason string) {
	e.t.Helper()
	if got, body := e.ask(point, key, uri); got != status || !strings.Contains(body, reason) {
		e.t.Errorf("%s: %d %s, want %d because of %q\n%s", what, got, body, status, reason, e.report())
	}
}

// finally waits until the point answers so: it is told by and by.
func (e *outpost) finally(what, point, key, uri string, status int, reason string) {
	e.t.Helper()
	eventually(e.t, what, func() bool {
		got, body := e.ask(point, key, uri)
		return got == status && strings.Contains(body, reason)
	})
}

// never fails if the point allows it.
func (e *outpost) never(what, point, key, uri string) {
	e.t.Helper()
	if got, body := e.ask(point, key, uri); got == http.StatusOK {
		e.t.Errorf("%s is allowed: %s\n%s", what, body, e.report())
	}
}

// leased waits until the point may allow what is sensitive.
func (e *outpost) leased(point, key string) {
	e.t.Helper()
	eventually(e.t, "a lease", func() bool {
		got, _ := e.ask(point, key, "/secrets/1")
		return got == http.StatusOK
	})
}

const (
	edgeResources = testResources + "- {id: secrets/api, environment: production, sensitivity: 2, region: eu-west-1}\n"
	edgeRoutes    = testRoutes + "- {host: api.example.com, path: \"/secrets/{id}\", methods: {GET: read}, resource: secrets/api}\n"
)

// outfit is furnish with a resource that needs a lease.
func (r *running) outfit() (point string, key client.NewCredential) {
	r.t.Helper()
	point, key = r.furnish()
	r.put("resources.yaml", edgeResources)
	r.put("routes.yaml", edgeRoutes)
	return point, key
}

// another returns one more key of the identity that furnish made.
func (r *running) another(like client.NewCredential) (out client.NewCredential) {
	r.t.Helper()
	r.send(http.MethodPost, "/v1/identities/"+like.Identity+"/credentials", client.CreateCredential{}, &out)
	return out
}

// suspend has a key suspended, and returns when that is acknowledged.
func (r *running) suspend(door *client.Client, key client.NewCredential) {
	r.t.Helper()
	for _, reply := range r.post(door, "oops: "+key.Key) {
		if reply.Action != nil && reply.Action.Credential == key.ID {
			return
		}
	}
	r.t.Errorf("key %s is not suspended", key.ID)
}

func TestAPointAwayFromTheServerDecidesAsItDoes(t *testing.T) {
	data, folder := t.TempDir(), t.TempDir()
	r := start(t, data)
	point, key := r.outfit()
	gone, door := r.another(key), r.source("chat", "text")
	address := strings.TrimPrefix(r.URL(), "http://")
	e := pointAt(t, r.URL(), "edge", point, folder)
	e.leased(point, key.Key)
	e.must("what is not sensitive", point, key.Key, "/payments/1", http.StatusOK, "")
	e.must("no route", point, key.Key, "/elsewhere", http.StatusForbidden, "route-none")
	e.must("a key that nobody has", point, key.Key[:len(key.Key)-7]+"000000", "/payments/1", http.StatusUnauthorized, "caller-unauthenticated")
	e.must("another point's key", "muster_pnt_x", key.Key, "/payments/1", http.StatusUnauthorized, "point-unauthenticated")

	t.Run("what is acknowledged bites at once", func(t *testing.T) {
		for range 20 {
			k := r.another(key)
			e.finally("a key that was just made", point, k.Key, "/secrets/1", http.StatusOK, "")
			r.suspend(door, k)
			e.never("a key that was just suspended", point, k.Key, "/secrets/1")
		}
		r.suspend(door, gone)
		e.finally("a suspended key", point, gone.Key, "/secrets/1", http.StatusForbidden, "credential")
		r.put("policies.cedar", "@id(\"no-payments\")\nforbid (principal, action, resource == Resource::\"payments/api\");\n")
		e.finally("what a new policy forbids", point, key.Key, "/payments/1", http.StatusForbidden, "no-payments")
		r.put("policies.cedar", "@id(\"a-person\") @stepup(\"approve\")\nforbid (principal, action, resource) unless { context has approval };\n")
		e.finally("what people would have to approve", point, key.Key, "/payments/1", http.StatusForbidden, "approval-unreachable")
		r.put("policies.cedar", "")
		observe, enforce := "observe", "enforce"
		r.send(http.MethodPatch, "/v1/points/edge", client.SetPoint{Mode: &observe}, nil)
		e.finally("what an observing point would refuse", point, key.Key, "/elsewhere", http.StatusOK, "")
		e.must("what is suspended, at an observing point", point, gone.Key, "/payments/1", http.StatusForbidden, "")
		r.send(http.MethodPatch, "/v1/points/edge", client.SetPoint{Mode: &enforce}, nil)
		e.finally("what an enforcing point refuses", point, key.Key, "/elsewhere", http.StatusForbidden, "")
		e.finally("what no policy forbids any more", point, key.Key, "/payments/1", http.StatusOK, "")
	})

	before := r.reported()
	eventually(t, "what the point decided", func() bool { return r.reported() >= 40 })
	r.halt()
	eventually(t, "the end of the lease", func() bool {
		got, _ := e.ask(point, key.Key, "/secrets/1")
		return got == http.StatusForbidden
	})
	e.must("without a lease, what is sensitive", point, key.Key, "/secrets/1", http.StatusForbidden, "lease-none")
	e.must("without a lease, what is not", point, key.Key, "/payments/1", http.StatusOK, "")
	e.must("without a lease, what is suspended", point, gone.Key, "/payments/1", http.StatusForbidden, "credential")
	e.halt()

	e = pointAt(t, "http://"+address, "edge", point, folder)
	e.must("from disk, what is sensitive", point, key.Key, "/secrets/1", http.StatusForbidden, "lease-none")
	e.must("from disk, what is not", point, key.Key, "/payments/1", http.StatusOK, "")
	e.must("from disk, what is suspended", point, gone.Key, "/payments/1", http.StatusForbidden, "credential")
	if text := e.report(); !strings.Contains(text, "there is no lease") || !strings.Contains(text, "ready") {
		t.Errorf("a point without its server says\n%s", text)
	}

	r = start(t, data, func(c *config.Config) { c.Listen = address })
	e.leased(point, key.Key)
	eventually(t, "the decisions of the time without a server", func() bool { return r.reasons("lease-none") >= 2 })
	if n, at := e.Decisions(); n == 0 || n < uint64(before) {
		t.Errorf("%d decisions at %v", n, at)
	}
	r.once(e)
}

// reported is how many decisions the server has that its points made.
func (r *running) reported() int {
	n := 0
	for _, d := range r.log.Recent(logbook.Filter{}, 1<<20) {
		if d.Reported {
			n++
		}
	}
	return n
}

// reasons is how many of these have a reason.
func (r *running) reasons(id string) int {
	n := 0
	for _, d := range r.log.Recent(logbook.Filter{}, 1<<20) {
		for i := range d.Reasons {
			if d.Reported && d.Reasons[i].Policy == id {
				n++
			}
		}
	}
	return n
}

// once waits until all decisions of a point are on record here, and looks that
// each is there once.
func (r *running) once(e *outpost) {
	r.t.Helper()
	seen := map[string]int{}
	eventually(r.t, "every decision of the point", func() bool {
		clear(seen)
		for rec, err := range r.journal.Read(r.journal.First()) {
			if err != nil {
				r.t.Fatal(err)
			}
			d, err := logbook.Decode(rec.Payload)
			if err != nil {
				r.t.Fatal(err)
			}
			if d.Reported {
				seen[d.ID]++
			}
		}
		n, _ := e.Decisions()
		return uint64(len(seen)) >= n
	})
	for id, n := range seen {
		if n != 1 {
			r.t.Errorf("decision %s is on record %d times", id, n)
		}
	}
}

// A cutter is a network between a point and its server that fails.
type cutter struct {
	listener net.Listener
	to       string
	mu       sync.Mutex // guards what follows
	open     map[net.Conn]bool
	dark     bool
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, to: to, open: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { c.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		c.cut(true)
		serving.Wait()
	})
	return c
}

func (c *cutter) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer out.Close()
	c.mu.Lock()
	if c.dark {
		c.mu.Unlock()
		return
	}
	c.open[in], c.open[out] = true, true
	c.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
	both.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
	both.Wait()
	c.mu.Lock()
	delete(c.open, in)
	delete(c.open, out)
	c.mu.Unlock()
}

// cut ends every connection, and with dark the next ones too.
func (c *cutter) cut(dark bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dark = dark
	for conn := range c.open {
		_ = conn.Close()
	}
}

// TestNoAllowFollowsAnAcknowledgedRevocationAtAnyPoint suspends key after key while
// two points are asked for all of them without a pause, over a network that is cut
// at random. Whoever asks after a suspension was acknowledged is refused.
func TestNoAllowFollowsAnAcknowledgedRevocationAtAnyPoint(t *testing.T) {
	r := start(t, t.TempDir())
	point, first := r.outfit()
	door := r.source("chat", "text")
	var edges []*outpost
	var cutters []*cutter
	for range 2 {
		c := newCutter(t, strings.TrimPrefix(r.URL(), "http://"))
		e := pointAt(t, "http://"+c.listener.Addr().String(), "edge", point, t.TempDir())
		e.leased(point, first.Key)
		edges, cutters = append(edges, e), append(cutters, c)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithCancel(t.Context())
	var network, rounds sync.WaitGroup
	defer network.Wait()
	defer cancel()
	for i, c := range cutters {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		network.Go(func() {
			for ctx.Err() == nil {
				c.cut(rnd.IntN(3) == 0)
				after(ctx, time.Duration(rnd.IntN(400))*time.Millisecond)
				c.cut(false)
				after(ctx, time.Duration(rnd.IntN(600))*time.Millisecond)
			}
		})
	}
	var allowed, denied, late atomic.Int64
	for range 3 {
		rounds.Go(func() {
			for range 3 {
				key := r.another(first)
				var acknowledged atomic.Bool
				var refused atomic.Int64
				var asking sync.WaitGroup
				for _, e := range edges {
					asking.Go(func() {
						for refused.Load() < 60 {
							after := acknowledged.Load()
							got, body := e.ask(point, key.Key, "/secrets/1")
							switch {
							case got == http.StatusOK && after:
								late.Add(1)
								t.Errorf("allowed after the suspension was acknowledged: %s\n%s", body, e.report())
								return
							case got == http.StatusOK:
								allowed.Add(1)
							case after:
								refused.Add(1)
								denied.Add(1)
							}
						}
					})
				}
				r.suspend(door, key)
				acknowledged.Store(true)
				asking.Wait()
			}
		})
	}
	rounds.Wait()
	t.Logf("%d allowed before, %d denied after, %d late", allowed.Load(), denied.Load(), late.Load())
	if denied.Load() == 0 {
		t.Error("nobody asked after a suspension")
	}
}

func after(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
