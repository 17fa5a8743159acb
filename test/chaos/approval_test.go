package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// A chamber is a server where people have to say yes to every request, and that
// keeps dying around their votes and around the requests that use them.
type chamber struct {
	*child
	point   string
	callers []string // keys
	voters  []*client.Client
	http    *http.Client
	rnd     *rand.Rand

	left  atomic.Int64 // moments of the phase that is waited for, until the server dies
	phase string
	now   chan struct{}

	mu    sync.Mutex // guards what follows
	asked int        // requests that nobody asked before
	all   []*asking
}

// An asking is what is known from outside about one approval.
type asking struct {
	id, path, caller string
	needed           int
	voted            int      // yeses that were acknowledged
	allowed          []string // ids of decisions that let pass by it, as they were answered
	settled          bool     // no request passes by it any more
}

// The phases of an approval in which the server may die.
const (
	voting = "a vote was sent"
	voted  = "a vote was acknowledged"
	using  = "a request that uses it was sent"
	used   = "a request was let pass"
)

var phases = []string{voting, voted, using, used}

func newChamber(t *testing.T) *chamber {
	t.Helper()
	p := newProvider(t)
	c := newChild(t)
	c.settings = "guards: {sensitivity_bound: 5}\napprovals: {open: 1000, hourly: 10000}\n" + p.settings(t)
	c.start(t)
	h := &chamber{child: c, http: &http.Client{Timeout: 30 * time.Second}}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h.rnd = rand.New(rand.NewPCG(seed, 0))
	api := c.operator(t)
	for name, body := range map[string]string{
		"resources.yaml": "- {id: vault, environment: production, sensitivity: 3}\n- {id: safe, environment: production, sensitivity: 4}\n",
		"routes.yaml": "- {host: api.example.com, path: \"/vault/{id}\", methods: {GET: read}, resource: vault}\n" +
			"- {host: api.example.com, path: \"/safe/{id}\", methods: {GET: read}, resource: safe}\n",
		"policies.cedar": "@id(\"a-person\") @stepup(\"approve\")\nforbid (principal, action, resource) unless { context has approval };\n",
	} {
		if err := api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader(body), nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	send := func(method, path string, in, out any) {
		t.Helper()
		if err := api.Send(t.Context(), method, path, in, out); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var point client.Enrolled
	send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "edge"}, &point)
	send(http.MethodPatch, "/v1/points/edge", client.SetPoint{Mode: new("enforce")}, nil)
	h.point = point.Key
	for i := range 4 {
		var who client.Identity
		var key client.NewCredential
		send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: fmt.Sprint("settler-", i), Environment: "production", Owner: "team:payments"}, &who)
		send(http.MethodPost, "/v1/identities/"+who.ID+"/credentials", client.CreateCredential{}, &key)
		h.callers = append(h.callers, key.Key)
	}
	for _, name := range []string{"mara", "nils"} {
		h.voters = append(h.voters, p.person(t, c, name))
	}
	return h
}

// knock asks as nginx does. task is the approval that a caller who is refused can
// wait for.
func (h *chamber) knock(ctx context.Context, caller, path string) (status int, decision, task string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/enforce/forward-auth", nil)
	if err != nil {
		return 0, "", "", err
	}
	for name, value := range map[string]string{
		"Muster-Point-Authorization": "Bearer " + h.point, "Authorization": "Bearer " + caller, "X-Original-Method": "GET", "X-Original-URI": path,
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com", "X-Forwarded-For": "203.0.113.7", "User-Agent": "curl/8.5.0",
	} {
		req.Header.Set(name, value)
	}
	res, err := h.http.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, "", "", err
	}
	var body struct{ Task struct{ ID string } }
	_ = json.Unmarshal(text, &body) // who is let pass is told nothing
	return res.StatusCode, res.Header.Get("Muster-Decision"), body.Task.ID, nil
}

// reach says that a phase was reached; the server may die of it.
func (h *chamber) reach(phase string) {
	if phase == h.phase && h.left.Add(-1) == 0 {
		close(h.now)
	}
}

// live has everybody ask, vote and use until the server is killed in a phase.
func (h *chamber) live(t *testing.T, phase string) {
	t.Helper()
	h.phase, h.now = phase, make(chan struct{})
	h.left.Store(int64(1 + h.rnd.IntN(12)))
	later := time.Duration(h.rnd.IntN(1500)) * time.Microsecond
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for lane, caller := range h.callers {
		wg.Go(func() {
			for ctx.Err() == nil && h.pass(ctx, t, lane, caller) == nil {
			}
		})
	}
	select {
	case <-h.now:
	case <-time.After(90 * time.Second):
		t.Errorf("nobody came as far as: %s", h.phase)
	}
	<-time.After(later)
	h.kill(t)
	cancel()
	wg.Wait()
}

// pass brings one request from the question to its use. It returns an error when
// the server is gone.
func (h *chamber) pass(ctx context.Context, t *testing.T, lane int, caller string) error {
	h.mu.Lock()
	h.asked++
	a := &asking{path: "/vault/" + strconv.Itoa(h.asked), caller: caller, needed: 1}
	if lane%2 == 1 {
		a.path, a.needed = "/safe/"+strconv.Itoa(h.asked), 2
	}
	h.mu.Unlock()
	status, decision, task, err := h.knock(ctx, caller, a.path)
	if err != nil {
		return err
	}
	if status != http.StatusForbidden || task == "" {
		t.Errorf("%s, which nobody was asked about, is answered %d (decision %s, task %q)", a.path, status, decision, task)
		return io.EOF
	}
	a.id = task
	h.mu.Lock()
	h.all = append(h.all, a)
	h.mu.Unlock()
	for _, voter := range h.voters[:a.needed] {
		if err := h.vote(ctx, voter, a); err != nil {
			return err
		}
	}
	return h.use(ctx, a)
}

// vote says yes once the question is kept, which is soon after it was asked.
func (h *chamber) vote(ctx context.Context, voter *client.Client, a *asking) error {
	tick := time.NewTicker(5 * time.Millisecond) // leave the processor to others
	defer tick.Stop()
	for {
		h.reach(voting)
		_, err := voter.Approve(ctx, a.id, client.Answer{})
		switch {
		case err == nil:
			h.mu.Lock()
			a.voted++
			h.mu.Unlock()
			h.reach(voted)
			return nil
		case !client.IsNotFound(err):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// use asks what was approved, three times at once.
func (h *chamber) use(ctx context.Context, a *asking) error {
	var wg sync.WaitGroup
	var gone atomic.Bool
	for range 3 {
		wg.Go(func() {
			h.reach(using)
			status, decision, _, err := h.knock(ctx, a.caller, a.path)
			if err != nil {
				gone.Store(true)
				return
			}
			if status == http.StatusOK {
				h.mu.Lock()
				a.allowed = append(a.allowed, decision)
				h.mu.Unlock()
				h.reach(used)
			}
		})
	}
	wg.Wait()
	if gone.Load() {
		return io.EOF
	}
	return nil
}

// check looks, after a restart, at every approval that is not settled: what was
// acknowledged is there, and what was used passes no more.
func (h *chamber) check(t *testing.T, round int) {
	t.Helper()
	for _, a := range h.all {
		if a.settled {
			continue
		}
		a.settled = true
		got, err := h.voters[0].GetApproval(t.Context(), a.id)
		if client.IsNotFound(err) && a.voted == 0 && len(a.allowed) == 0 {
			continue // the question itself was not kept yet; it is asked again
		}
		if err != nil {
			t.Errorf("round %d: the approval %s with %d acknowledged votes: %v", round, a.id, a.voted, err)
			continue
		}
		yeses := 0
		for _, v := range got.Votes {
			if v.Yes {
				yeses++
			}
		}
		if yeses < a.voted {
			t.Errorf("round %d: %s has %d votes, %d were acknowledged", round, a.id, yeses, a.voted)
		}
		h.again(t, round, a, got)
	}
}

// again asks twice more what was approved: at most one request passes in all.
func (h *chamber) again(t *testing.T, round int, a *asking, got client.Approval) {
	t.Helper()
	want := map[string]int{"pending": 0, "approved": 1, "used": 0}
	passes, known := want[got.State]
	if !known || got.State == "pending" && a.voted >= a.needed || len(a.allowed) > 0 && (got.State != "used" || got.Used != a.allowed[0]) {
		t.Errorf("round %d: %s is %s, used by %q; %d of %d votes were acknowledged and %v answered", round, a.id, got.State, got.Used, a.voted, a.needed, a.allowed)
	}
	for range 2 {
		status, decision, _, err := h.knock(t.Context(), a.caller, a.path)
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusOK {
			passes--
			a.allowed = append(a.allowed, decision)
		} else if status != http.StatusForbidden {
			t.Errorf("round %d: %s is answered %d", round, a.path, status)
		}
	}
	if passes != 0 || len(a.allowed) > 1 {
		t.Errorf("round %d: %s was %s after the restart; %v let pass", round, a.id, got.State, a.allowed)
	}
}

// votesAreProven waits until the audit log has every vote that counts, once.
func (h *chamber) votesAreProven(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		said := map[string]int{}
		query := url.Values{"limit": {"500"}}
		for {
			var page client.Page[client.Entry]
			if err := h.voters[0].Get(ctx, "/v1/audit", query, &page); err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Items {
				if e.Act == "approval.approve" {
					said[e.Target]++
				}
			}
			if len(page.Items) == 0 {
				break
			}
			query.Set("before", strconv.FormatUint(page.Items[len(page.Items)-1].Seq, 10))
		}
		missing := 0
		for _, a := range h.all {
			got, err := h.voters[0].GetApproval(ctx, a.id)
			if err != nil && !client.IsNotFound(err) {
				t.Fatal(err)
			}
			if said[a.id] > len(got.Votes) {
				t.Fatalf("%s has %d votes, the audit log %d", a.id, len(got.Votes), said[a.id])
			}
			missing += len(got.Votes) - said[a.id]
		}
		if missing == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d votes never came into the audit log", missing)
		case <-tick.C:
		}
	}
}

// onRecord looks into the journal of the stopped server: each allow that was
// answered is there, and no approval let a second one pass.
func (h *chamber) onRecord(t *testing.T) {
	t.Helper()
	by := map[string][]string{} // decisions that let pass, by approval
	for rec, err := range journal.Read(filepath.Join(h.data, "decisions"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		d, err := logbook.Decode(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if d.Outcome == nhi.Allow {
			by[d.Approval] = append(by[d.Approval], d.ID)
		}
	}
	if n := len(by[""]); n > 0 {
		t.Errorf("%d requests were let pass without an approval: %v", n, by[""])
	}
	for id, decisions := range by {
		if len(decisions) > 1 {
			t.Errorf("the approval %s let pass %v", id, decisions)
		}
	}
	for _, a := range h.all {
		if len(a.allowed) > 0 && (len(by[a.id]) != 1 || by[a.id][0] != a.allowed[0]) {
			t.Errorf("%s: answered %v, on record %v", a.id, a.allowed, by[a.id])
		}
	}
}

// TestAnApprovalIsUsedAtMostOnceHoweverOftenTheServerIsKilled kills the server
// around votes and around the requests that use them. A vote that was
// acknowledged is there after the restart. What was let pass is on record, and
// nothing passes by the same approval again; what was not answered may have used
// it up, or not.
func TestAnApprovalIsUsedAtMostOnceHoweverOftenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	h := newChamber(t)
	began := time.Now()
	kills := map[string]int{}
	for round := range approvalRounds {
		h.live(t, phases[round%len(phases)])
		kills[h.phase]++
		h.start(t)
		h.check(t, round)
		if t.Failed() {
			t.Fatalf("round %d, killed when %s; the server said:\n%.4000s", round, h.phase, h.out)
		}
	}
	h.votesAreProven(t)
	h.stop(t)
	h.onRecord(t)
	votes, passed, lost := 0, 0, 0
	for _, a := range h.all {
		votes += a.voted
		passed += len(a.allowed)
		if a.voted >= a.needed && len(a.allowed) == 0 {
			lost++
		}
	}
	var when []string
	for _, phase := range phases {
		when = append(when, fmt.Sprintf("%d when %s", kills[phase], phase))
	}
	figures := fmt.Sprintf("%d kills in %s (%s): %d questions, %d votes acknowledged and all there, %d requests let pass, each by an approval of its own; %d approvals were used up by requests that nobody got an answer to",
		approvalRounds, time.Since(began).Round(time.Millisecond), strings.Join(when, ", "), len(h.all), votes, passed, lost)
	t.Log(figures)
	if votes == 0 || passed == 0 {
		t.Error("nobody got anything done; the test proves nothing")
	}
	record(t, "kill-approvals.md", "Killing the server between a vote and its use", "The server is killed (SIGKILL) while people vote and while what they approved is asked for, three times at once. After each restart every vote that was acknowledged must be there, and no approval may let a second request pass.", figures)
}
