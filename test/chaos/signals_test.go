package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/signals"
)

// How an ear hears.
const (
	deaf   = "it is down"                         // answers 503
	moody  = "it takes most"                      // answers 503 to every sixteenth
	silent = "it takes one and answers after all" // when the server is dead
	well   = "it is up"
)

// An ear is a receiver of shared signals that signals are pushed to.
type ear struct {
	url  string
	keys *jose.KeySet
	want signals.Want

	mu     sync.Mutex // guards what follows
	how    string
	dead   chan struct{}            // closed when the server is dead
	shown  map[string]signals.Token // every SET that came, by jti
	texts  map[string]string        // its claims
	took   []string                 // jtis in the order in which they were taken, each once
	has    map[string]bool          // those in took
	pushes int
	faults []error
	each   func() // called for each push
}

func newEar(t *testing.T) *ear {
	t.Helper()
	e := &ear{how: deaf, shown: map[string]signals.Token{}, texts: map[string]string{}, has: map[string]bool{}, each: func() {}}
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	e.url = srv.URL
	return e
}

// ServeHTTP implements http.Handler.
func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	set, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the server died while it spoke
	}
	e.mu.Lock()
	e.pushes++
	how, dead, n := e.how, e.dead, e.pushes
	want := e.want
	want.Now = time.Now()
	token, err := signals.Open(string(set), e.keys, want)
	if err != nil {
		e.faults = append(e.faults, fmt.Errorf("a signal cannot be read: %w", err))
	} else {
		e.hear(token, string(set), how == well || how == silent || how == moody && n%16 > 0)
	}
	each := e.each
	e.mu.Unlock()
	each()
	switch {
	case how == silent:
		select {
		case <-dead:
		case <-r.Context().Done():
		}
	case how == deaf || how == moody && n%16 == 0:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// hear needs e.mu.
func (e *ear) hear(token signals.Token, set string, takes bool) {
	text := strings.Split(set, ".")[1] // the claims; the signature is another each time
	if before, there := e.texts[token.ID]; there && before != text {
		e.faults = append(e.faults, fmt.Errorf("the jti %s was given to two signals", token.ID))
	}
	e.texts[token.ID], e.shown[token.ID] = text, token
	if takes && !e.has[token.ID] {
		e.has[token.ID] = true
		e.took = append(e.took, token.ID)
	}
}

func (e *ear) listens(how string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.how, e.dead = how, make(chan struct{})
}

// A tower is a server that tells an ear what happens, and keeps dying.
type tower struct {
	*child
	*ear
	api   *client.Client
	forum *client.Client
	rnd   *rand.Rand
	who   []string // identities

	lanes [][]string        // by identity: what was acknowledged, in order
	names map[string]string // of keys, by the ids of their credentials; guarded by the ear
}

const lanes = 3

func newTower(t *testing.T) *tower {
	t.Helper()
	s := &tower{child: newChild(t), ear: newEar(t), lanes: make([][]string, lanes), names: map[string]string{}}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s.rnd = rand.New(rand.NewPCG(seed, 0))
	s.start(t)
	s.api = s.operator(t)
	send := func(path string, in, out any) {
		t.Helper()
		if err := s.api.Send(t.Context(), http.MethodPost, path, in, out); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var source, receiver client.Enrolled
	send("/v1/sources", client.AddSource{Name: "forum", Format: "text"}, &source)
	send("/v1/sources", client.AddSource{Name: "siem", Format: "receiver", Accounts: []string{"environment:production"}}, &receiver)
	s.forum = s.as(t, source.Key)
	for i := range lanes {
		var who client.Identity
		send("/v1/identities", client.CreateIdentity{Name: fmt.Sprint("settler-", i), Environment: "production", Owner: "team:payments"}, &who)
		s.who = append(s.who, who.ID)
	}
	s.want = signals.Want{Issuer: s.child.url, Audience: receiver.ID}
	res, err := http.Get(s.child.url + "/oauth2/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil {
		s.keys, err = jose.ParseJWKS(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	body := `{"delivery":{"method":"` + signals.Push + `","endpoint_url":"` + s.ear.url + `","authorization_header":"Bearer what-the-two-of-us-agreed-on"}}`
	if err := s.as(t, receiver.Key).Do(t.Context(), http.MethodPost, "/ssf/stream", "application/json", strings.NewReader(body), nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// A fuse burns with what happens, and then the server dies.
type fuse struct {
	left atomic.Int64
	out  chan struct{} // closed then
}

func (f *fuse) burn() {
	if f.left.Add(-1) == 0 {
		close(f.out)
	}
}

// change makes a key and has it found in a forum, which is a finding and suspends
// it. What is acknowledged is what has to be told.
func (s *tower) change(ctx context.Context, lane int, f *fuse) error {
	var made client.NewCredential
	if err := s.api.Send(ctx, http.MethodPost, "/v1/identities/"+s.who[lane]+"/credentials", client.CreateCredential{}, &made); err != nil {
		return err
	}
	name := strings.Split(made.Key, "_")[2]
	s.lanes[lane] = append(s.lanes[lane], "create "+name)
	s.ear.mu.Lock()
	s.names[made.ID] = name
	s.ear.mu.Unlock()
	f.burn()
	told, err := s.forum.ReceiveText(ctx, "text/plain", strings.NewReader("look what I found: "+made.Key))
	if err != nil {
		return err
	}
	if len(told.Items) != 1 || told.Items[0].Action == nil {
		return fmt.Errorf("the leak of %s is answered %+v", made.ID, told.Items)
	}
	s.lanes[lane] = append(s.lanes[lane], "revoke "+name, "end "+name)
	f.burn()
	return nil
}

// live has keys made and leaked until the server is killed.
func (s *tower) live(t *testing.T, how string) {
	t.Helper()
	f := &fuse{out: make(chan struct{})}
	f.left.Store(int64(10 + s.rnd.IntN(60)))
	later := time.Duration(s.rnd.IntN(2000)) * time.Microsecond
	s.listens(how)
	s.ear.mu.Lock()
	s.each = f.burn
	s.ear.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var faults [lanes]error
	for lane := range lanes {
		wg.Go(func() {
			for ctx.Err() == nil && faults[lane] == nil {
				faults[lane] = s.change(ctx, lane, f)
			}
		})
	}
	select {
	case <-f.out:
	case <-time.After(90 * time.Second):
		t.Errorf("nothing happens: %v", errors.Join(faults[:]...))
	}
	<-time.After(later)
	s.kill(t)
	s.ear.mu.Lock()
	s.each = func() {}
	close(s.dead)
	s.ear.mu.Unlock()
	cancel()
	wg.Wait()
}

// heard are the changes of credentials that the ear took, by identity, in the
// order in which it took them, and how many signals tell the same.
func (s *tower) heard() (lists [][]string, twice map[string]int) {
	s.ear.mu.Lock()
	defer s.ear.mu.Unlock()
	of := map[string]int{} // lanes by the names of their keys
	for lane := range s.lanes {
		for _, what := range s.lanes[lane] {
			_, name, _ := strings.Cut(what, " ")
			of[name] = lane
		}
	}
	lists, twice = make([][]string, lanes), map[string]int{}
	for _, jti := range s.took {
		e, name := s.shown[jti].Event, s.names[s.shown[jti].Subject.Members["session"].ID]
		what := "end " + name
		switch {
		case e.Type == signals.CredentialChange:
			name = e.Name
			what = e.Change + " " + name
		case e.Type != signals.SessionRevoked || name == "":
			continue // the risk of the identity, or what was not acknowledged
		}
		if twice[what]++; twice[what] > 1 {
			continue
		}
		if lane, known := of[name]; known { // else its making was not acknowledged
			lists[lane] = append(lists[lane], what)
		}
	}
	return lists, twice
}

// lacks is what of a list another does not have, in its order.
func lacks(got, want []string) (missing []string) {
	for _, w := range want {
		if len(got) > 0 && got[0] == w {
			got = got[1:]
			continue
		}
		// What was not acknowledged may stand between.
		i := 0
		for i < len(got) && got[i] != w {
			i++
		}
		if i == len(got) {
			missing = append(missing, w)
			continue
		}
		got = got[i+1:]
	}
	return missing
}

// TestEverySignalReachesItsReceiverHoweverOftenItsServerIsKilled kills a server
// whose receiver is down, takes some, or takes one and cannot say so, while keys
// are made and leak. Once the receiver is up, every event of a change that was
// acknowledged has come, at least once with one jti, and those of one identity in
// their order.
func TestEverySignalReachesItsReceiverHoweverOftenItsServerIsKilled(t *testing.T) {
	t.Parallel()
	s := newTower(t)
	began := time.Now()
	for round := range signalRounds {
		s.live(t, []string{moody, well, silent, deaf}[round%4])
		if t.Failed() {
			t.Fatalf("round %d; the server said:\n%.4000s", round, s.out)
		}
		s.start(t)
	}
	limit, tick := time.After(90*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	waited := 0
	for waited == 0 {
		select {
		case <-tick.C:
			waited = s.waiting(t)
		case <-limit:
			t.Fatal("nothing waits although the receiver is down")
		}
	}
	s.listens(well)
	// It had failed before, so the transmitter waits; the next start does not.
	s.kill(t)
	s.start(t)
	var missing []string
	for done := false; !done; {
		lists, _ := s.heard()
		missing = nil
		for lane := range s.lanes {
			missing = append(missing, lacks(lists[lane], s.lanes[lane])...)
		}
		done = len(missing) == 0 && s.waiting(t) == 0
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d events were never told, such as %q; %d wait; heard are %.1000q and faults %v", len(missing), missing[0], s.waiting(t), lists, s.faults)
		}
	}
	s.stop(t)
	lists, twice := s.heard()
	acknowledged := 0
	for lane := range s.lanes {
		acknowledged += len(s.lanes[lane])
		if left := lacks(lists[lane], s.lanes[lane]); len(left) > 0 {
			t.Errorf("identity %d: of its order %v are missing (-acknowledged +heard):\n%s", lane, left, cmp.Diff(s.lanes[lane], lists[lane]))
		}
	}
	for what, n := range twice {
		if n > 1 {
			t.Errorf("%q was told under %d jtis", what, n)
		}
	}
	for jti := range s.shown {
		if !s.has[jti] {
			t.Errorf("the signal %s was shown and never came again", jti)
		}
	}
	for _, err := range s.faults {
		t.Error(err)
	}
	figures := fmt.Sprintf("%d kills in %s: %d changes acknowledged, %d signals, %d pushes; %d waited when the receiver came up", signalRounds+1, time.Since(began).Round(time.Millisecond), acknowledged, len(s.took), s.pushes, waited)
	t.Log(figures)
	if acknowledged == 0 {
		t.Error("nothing happened; the test proves nothing")
	}
	record(t, "kill-signals.md", "Killing the server with signals under way", "The server is killed (SIGKILL) while keys are made and leak, and while its receiver is down, takes some, takes all, or takes one and cannot say so. Every event of a change that was acknowledged must come, with one jti, and those of one identity in their order.", figures)
}

// waiting is how many events wait for the receiver.
func (s *tower) waiting(t *testing.T) int {
	t.Helper()
	page, err := s.api.ListSignalStreams(t.Context(), client.ListQuery{})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("streams: %+v, %v", page, err)
	}
	return page.Items[0].Waiting
}
