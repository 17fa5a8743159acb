package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// A hub is a server that feeds one point.
type hub struct {
	*httptest.Server
	t    *testing.T
	sign ed25519.PrivateKey

	mu      sync.Mutex // guards what follows
	facts   *facts.Facts
	point   nhi.Point
	change  func(*feed.Message) // what goes wrong
	changes []nhi.Change
}

var pointKey = key.Mint(key.Point)

func newHub(t *testing.T, seed byte) *hub {
	h := &hub{t: t, sign: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)), facts: facts.New()}
	verifier := key.VerifierOf(pointKey.Reveal())
	h.point = nhi.Point{ID: "nhi_p", Name: "branch", KeyID: pointKey.ID, Verifier: verifier[:], Mode: nhi.Enforce, Percent: 100}
	if err := h.facts.Load(10, facts.State{Points: []nhi.Point{h.point}}); err != nil {
		t.Fatal(err)
	}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hub) basis() *feed.Basis {
	signer := jose.NewES256Signer(jose.GenerateES256(), "JWT")
	set, err := jose.NewKeySet(signer.Key())
	if err != nil {
		h.t.Error(err)
	}
	keys, err := set.Marshal()
	if err != nil {
		h.t.Error(err)
	}
	guards, _ := json.Marshal(policy.DefaultSettings())
	settings, _ := json.Marshal(decision.Settings{}.WithDefaults())
	return &feed.Basis{Issuer: "https://muster.example", Keys: keys, Guards: guards, Settings: settings}
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.URL.Path == feed.DecisionsPath {
		_ = json.NewEncoder(w).Encode(feed.Taken{Next: 1})
		return
	}
	var q feed.Request
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Check() != nil || r.Header.Get("Authorization") != "Bearer "+pointKey.Reveal() {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	m := &feed.Message{Version: feed.Version, Nonce: q.Nonce, Point: h.point.ID, Prev: q.Mark.Hash, Issued: time.Now(), Expires: time.Now().Add(time.Minute), Mark: q.Mark, From: q.Mark.Generation, Lease: true, Current: true}
	m.Mark.Hash = feed.Hash{}
	var image []byte
	if q.Whole {
		image = h.image()
		_, sum, _ := feed.SumOf(bytes.NewReader(image))
		m.Basis, m.Image, m.From = h.basis(), &feed.Image{Size: int64(len(image)), Sum: sum}, 0
		m.Mark = feed.Mark{Installation: "here", Sequence: q.Mark.Sequence + 1, Generation: h.facts.Generation(), Basis: m.Basis.Digest()}
	} else if len(h.changes) > 0 && h.changes[0].Seq == q.Mark.Generation+1 {
		m.Changes = h.changes
		m.Mark.Sequence++
		m.Mark.Generation = h.changes[len(h.changes)-1].Seq
	}
	if h.change != nil {
		h.change(m)
	}
	f, err := feed.Sign(h.sign, m)
	if err != nil {
		h.t.Error(err)
		return
	}
	_, _ = w.Write(append(f.Bytes, image...))
}

func (h *hub) image() []byte {
	path := filepath.Join(h.t.TempDir(), "image")
	s := h.facts.Snapshot().For(&h.point)
	if err := s.Save(path, []byte(imageKey), facts.Mark{Installation: "here", Generation: s.Generation()}); err != nil {
		h.t.Error(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		h.t.Error(err)
	}
	return image
}

// open makes a point that is not running.
func open(t *testing.T, server, name, data string) *Agent {
	t.Helper()
	a, err := New(t.Context(), Settings{Name: name, Server: server, Key: pointKey.Reveal(), Data: data, Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Reserve: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// tell has the point ask once.
func tell(t *testing.T, a *Agent) {
	t.Helper()
	if _, err := a.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func revocation(seq nhi.Generation) nhi.Change {
	return nhi.Change{Seq: seq, Subject: nhi.SubjectRevocation, Version: 1, Payload: json.RawMessage(`{"token":"stolen","at":"2026-01-01T00:00:00Z","expires":"2226-01-01T00:00:00Z"}`)}
}

var stolen = nhi.Attested{Identity: "nhi_x", KeyID: "stolen"}

func TestAStateIsThereAfterARestart(t *testing.T) {
	h, data := newHub(t, 1), t.TempDir()
	a := open(t, h.URL, "branch", data)
	if a.facts.Revoked(stolen) || a.lease.left(time.Now()) > 0 {
		t.Fatal("a new point knows something")
	}
	tell(t, a)
	h.changes = []nhi.Change{revocation(11)}
	tell(t, a)
	tell(t, a)
	want := a.state
	if !a.facts.Revoked(stolen) || want.Generation != 11 || want.Sequence != 2 || a.lease.left(time.Now()) <= 0 {
		t.Fatalf("the point did not follow: %+v", want)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	tail := filepath.Join(data, "state", "00000000000000000001.tail")
	whole, err := os.ReadFile(tail)
	if err != nil {
		t.Fatal(err)
	}
	for _, torn := range [][]byte{whole[:10], whole[:len(whole)-1]} {
		if err := os.WriteFile(tail, append(bytes.Clone(whole), torn...), 0o600); err != nil {
			t.Fatal(err)
		}
		a = open(t, h.URL, "branch", data)
		if !a.facts.Revoked(stolen) || a.state != want || a.lease.left(time.Now()) > 0 || a.stateOf().Why != "" {
			t.Errorf("after a restart: %+v, want %+v, and no lease; %s", a.state, want, a.stateOf())
		}
		if got, err := os.ReadFile(tail); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("what was torn is still there: %d bytes, want %d, %v", len(got), len(whole), err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "state", "state/pin", "state/00000000000000000001.head", "state/00000000000000000001.image", "state/00000000000000000001.tail"} {
		info, err := os.Stat(filepath.Join(data, name))
		if err != nil || name != "" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v: others can read it", name, info.Mode(), err)
		}
	}
}

// TestAStateThatSomebodyChangedIsNotUsed changes every file of a state. A point
// then knows nothing, which denies, and is told anew.
func TestAStateThatSomebodyChangedIsNotUsed(t *testing.T) {
	h, data := newHub(t, 1), t.TempDir()
	a := open(t, h.URL, "branch", data)
	tell(t, a)
	h.changes = []nhi.Change{revocation(11)}
	tell(t, a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"head", "image", "tail"} {
		path := filepath.Join(data, "state", "00000000000000000001."+kind)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(whole)
		bad[len(bad)/2] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		a := open(t, "http://127.0.0.1:1", "branch", data)
		if a.state.Sequence != 0 || a.brain.mind.Load() != nil || !strings.Contains(a.stateOf().Why, "is not used") {
			t.Errorf("a changed %s is used: %+v, %s", kind, a.state, a.stateOf())
		}
		if r := a.brain.Evaluate(&nhi.Question{}); r.Outcome != nhi.Deny {
			t.Errorf("a point that knows nothing answers %s", r.Outcome)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(data, "state", "pin"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Settings{Name: "branch", Server: h.URL, Key: pointKey.Reveal(), Data: data}); err == nil || !strings.Contains(err.Error(), "pin") {
		t.Errorf("a point whose pin is damaged starts: %v", err)
	}
}

// TestAttacksOfAServer are answers that a point must not take, from whoever stands
// in the way.
func TestAttacksOfAServer(t *testing.T) {
	h, data := newHub(t, 1), t.TempDir()
	a := open(t, h.URL, "branch", data)
	tell(t, a)
	before := a.state
	refused := func(what string, want error) {
		t.Helper()
		granted := a.lease.asked.Load()
		if _, err := a.ask(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if a.state != before || a.lease.asked.Load() != granted {
			t.Errorf("%s: the point went on to %+v", what, a.state)
		}
		a.whole = false
	}
	for what, tt := range map[string]struct {
		change func(*feed.Message)
		want   error
	}{
		"replay":   {func(m *feed.Message) { m.Nonce = strings.Repeat("A", 52) }, feed.ErrReplay},
		"rollback": {func(m *feed.Message) { m.Mark.Generation = 9 }, feed.ErrRollback},
		"freeze":   {func(m *feed.Message) { m.Expires = time.Now().Add(-time.Second) }, feed.ErrExpired},
		"gap":      {func(m *feed.Message) { m.Prev = feed.Hash{1} }, feed.ErrGap},
		"gap: what another message would bring": {func(m *feed.Message) {
			m.Changes, m.From, m.Mark.Generation = []nhi.Change{revocation(13)}, 12, 13
			m.Mark.Sequence++
		}, feed.ErrGap},
	} {
		h.mu.Lock()
		h.change = tt.change
		h.mu.Unlock()
		refused(what, tt.want)
	}
	h.mu.Lock()
	h.change = nil
	h.sign = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	h.mu.Unlock()
	refused("another key", feed.ErrKey)
	a.whole = true
	refused("a snapshot signed by another key", feed.ErrKey)
}

func TestAPointWithTheWrongNameEnds(t *testing.T) {
	h, data := newHub(t, 1), t.TempDir()
	a := open(t, h.URL, "other", data)
	if err := a.Run(t.Context()); !errors.Is(err, errName) || !strings.Contains(err.Error(), "branch") {
		t.Errorf("ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(data, "state", "pin")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it believes that server: %v", err)
	}
}

func TestALeaseIsOverWhenEitherClockSaysSo(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		asked time.Time
		want  bool
	}{
		"just asked":                       {now, true},
		"asked four seconds ago":           {now.Add(-4 * time.Second), true},
		"asked five seconds ago":           {now.Add(-feed.Lease), false},
		"the machine slept: the wall only": {now.Add(-time.Hour).Round(0), false},
	} {
		var l lease
		l.grant(tt.asked)
		if got := l.left(now) > 0; got != tt.want {
			t.Errorf("%s: alive %v, want %v", name, got, tt.want)
		}
	}
	if (&lease{}).left(now) > 0 {
		t.Error("a lease that was never granted is alive")
	}
}

func TestOnlyAnHTTPSServerIsAskedElsewhere(t *testing.T) {
	for where, good := range map[string]bool{
		"http://127.0.0.1:8700": true, "https://muster.example.com": true, "http://localhost:1": true,
		"http://muster.example.com": false, "http://127.0.0.1.example.com": false, "ftp://127.0.0.1": false, "muster": false, "": false,
	} {
		if _, err := address(where); (err == nil) != good {
			t.Errorf("%q: %v", where, err)
		}
	}
	if _, err := New(context.Background(), Settings{Server: "http://127.0.0.1:1", Key: "muster_tok_x", Data: t.TempDir()}); err == nil || strings.Contains(err.Error(), "muster_tok_x") {
		t.Errorf("a token instead of a point's key: %v", err)
	}
}
