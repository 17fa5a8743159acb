package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// memory is a Store in a map that tells its desk of every change.
type memory struct {
	mu   sync.Mutex
	rows map[string]nhi.Approval
	fail error
}

func (m *memory) Put(_ context.Context, a nhi.Approval) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if _, there := m.rows[a.ID]; !there {
		m.rows[a.ID] = a
	}
	return nil
}

func (m *memory) Change(_ context.Context, id string, change func(*nhi.Approval) error) (nhi.Approval, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.rows[id]
	if !ok {
		return a, fmt.Errorf("approval %s: %w", id, nhi.ErrNotFound)
	}
	if m.fail != nil {
		return a, m.fail
	}
	a.Votes = append([]nhi.Vote(nil), a.Votes...)
	if err := change(&a); err != nil {
		return a, err
	}
	m.rows[id] = a
	return a, nil
}

func (m *memory) Open(_ context.Context, now time.Time) ([]nhi.Approval, error) {
	var out []nhi.Approval
	for _, a := range m.rows {
		if s := a.At(now); s == nhi.ApprovalPending || s == nhi.ApprovalApproved {
			out = append(out, a)
		}
	}
	return out, m.fail
}

// bench is a desk whose questions are stored.
type bench struct {
	*Desk
	store *memory
}

func newBench(t *testing.T, s Settings) *bench {
	t.Helper()
	b := &bench{store: &memory{rows: map[string]nhi.Approval{}}}
	var err error
	if b.Desk, err = New(t.Context(), b.store, s, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return b
}

// follow has the desk read what is stored, as the sequence of changes would.
func (b *bench) follow(t *testing.T) {
	t.Helper()
	if err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) ask(t *testing.T, q *nhi.Question) string {
	t.Helper()
	id, ok := b.Ask(q, decided())
	if !ok {
		t.Fatal("nobody is asked")
	}
	synctest.Wait() // it is stored
	return id
}

func decided() *nhi.Decision { return &nhi.Decision{ID: "dec-1", At: time.Now()} }

func question(change func(*nhi.Question)) *nhi.Question {
	q := &nhi.Question{
		Point: "nhi_point", Subject: nhi.Attested{Identity: "nhi_a", Credential: "crd_a", Method: "api-key"},
		Action: nhi.Delete, Operation: "DELETE /x", Resource: "x", Address: netip.MustParseAddr("192.0.2.7"),
		Known: nhi.Known{Identity: true, Sensitivity: 3},
	}
	if change != nil {
		change(q)
	}
	return q
}

func voter(name string) Voter {
	return Voter{Person: "person-" + name, Name: name, Owns: func(owner string) bool { return owner == name+"@example.com" || owner == "team:"+name }}
}

// in runs a test with a clock of its own.
func in(t *testing.T, s Settings, f func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) { f(t, newBench(t, s)) })
}

func TestOneYesLetsOneRequestPass(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *bench) {
		q := question(nil)
		id := b.ask(t, q)
		if again := b.ask(t, q); again != id {
			t.Errorf("asked again it is %s, first %s", again, id)
		}
		if b.Approved(q, time.Now()) != nil {
			t.Fatal("nobody has said yes")
		}
		if _, err := b.Vote(t.Context(), id, voter("ada"), nil, true, "fine"); err != nil {
			t.Fatal(err)
		}
		b.follow(t)
		if a := b.Approved(q, time.Now()); a == nil || a.ID != id {
			t.Fatalf("approved is %+v", a)
		}
		if err := b.Spend(t.Context(), id, "dec-2"); err != nil {
			t.Fatal(err)
		}
		if b.Approved(q, time.Now()) != nil {
			t.Error("it lets a second request pass")
		}
		if err := b.Spend(t.Context(), id, "dec-3"); !errors.Is(err, nhi.ErrConflict) {
			t.Errorf("spent twice: %v", err)
		}
		if next := b.ask(t, q); next == id {
			t.Error("a used approval is asked for again")
		}
	})
}

func TestAnApprovalIsSpentOnceHoweverManyAskAtOnce(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *bench) {
		id := b.ask(t, question(nil))
		if _, err := b.Vote(t.Context(), id, voter("ada"), nil, true, ""); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		spent := 0
		for i := range 50 {
			wg.Go(func() {
				if b.Spend(context.Background(), id, fmt.Sprint("dec-", i)) == nil {
					mu.Lock()
					spent++
					mu.Unlock()
				}
			})
		}
		if wg.Wait(); spent != 1 {
			t.Errorf("spent %d times", spent)
		}
	})
}

func TestAnApprovalLetsNoOtherRequestPass(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *bench) {
		id := b.ask(t, question(nil))
		if _, err := b.Vote(t.Context(), id, voter("ada"), nil, true, ""); err != nil {
			t.Fatal(err)
		}
		b.follow(t)
		for name, change := range map[string]func(*nhi.Question){
			"of another identity":            func(q *nhi.Question) { q.Subject.Identity = "nhi_b" },
			"with another credential":        func(q *nhi.Question) { q.Subject.Credential = "crd_b" },
			"with another key":               func(q *nhi.Question) { q.Subject.Thumbprint = "t" },
			"beside another consumer":        func(q *nhi.Question) { q.Subject.Consumer = "nhi_c" },
			"at another point":               func(q *nhi.Question) { q.Point = "nhi_other" },
			"to do something else":           func(q *nhi.Question) { q.Action = nhi.Write },
			"by another operation":           func(q *nhi.Question) { q.Operation = "DELETE /y" },
			"on something else":              func(q *nhi.Question) { q.Resource = "y" },
			"of another sensitivity":         func(q *nhi.Question) { q.Known.Sensitivity = 4 },
			"for something else":             func(q *nhi.Question) { q.Known.Purpose = "payroll" },
			"from another network":           func(q *nhi.Question) { q.Address = netip.MustParseAddr("192.0.3.7") },
			"from a network that has a name": func(q *nhi.Question) { q.Known.ASN = 7 },
			"of somebody who is nobody":      func(q *nhi.Question) { q.Known.Identity = false },
			"with its parts shifted":         func(q *nhi.Question) { q.Operation, q.Resource = "DELETE /xx", "" },
		} {
			if b.Approved(question(change), time.Now()) != nil {
				t.Errorf("it lets a request pass %s", name)
			}
		}
		if b.Approved(question(func(q *nhi.Question) { q.Address = netip.MustParseAddr("192.0.2.200") }), time.Now()) == nil {
			t.Error("a neighbour's address in the same network is refused")
		}
	})
}

func TestTwoPeopleAtTheHighestSensitivity(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *bench) {
		q := question(func(q *nhi.Question) { q.Known.Sensitivity = 4 })
		id := b.ask(t, q)
		shared := voter("anybody")
		shared.Shared = true
		if _, err := b.Vote(t.Context(), id, shared, nil, true, ""); !errors.Is(err, nhi.ErrDenied) {
			t.Errorf("a token that two may share: %v", err)
		}
		first, err := b.Vote(t.Context(), id, voter("ada"), nil, true, "")
		if err != nil || first.State != nhi.ApprovalPending || first.Needed != 2 {
			t.Fatalf("after one yes: %+v, %v", first, err)
		}
		if _, err := b.Vote(t.Context(), id, voter("ada"), nil, true, ""); !errors.Is(err, nhi.ErrConflict) {
			t.Errorf("the same person again: %v", err)
		}
		second, err := b.Vote(t.Context(), id, voter("bob"), nil, true, "")
		if err != nil || second.State != nhi.ApprovalApproved || second.Yeses() != 2 {
			t.Errorf("after two: %+v, %v", second, err)
		}
	})
}

func TestOneNoIsEnough(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *bench) {
		id := b.ask(t, question(func(q *nhi.Question) { q.Known.Sensitivity = 4 }))
		if _, err := b.Vote(t.Context(), id, voter("ada"), nil, true, ""); err != nil {
			t.Fatal(err)
		}
		if a, err := b.Vote(t.Context(), id, voter("bob"), nil, false, "not now"); err != nil || a.State != nhi.ApprovalDenied {
			t.Fatalf("%+v, %v", a, err)
		}
		if _, err := b.Vote(t.Context(), id, voter("eve"), nil, true, ""); !errors.Is(err, nhi.ErrConflict) {
			t.Errorf("a yes after the no: %v", err)
		}
	})
}

func TestNobodyApprovesWhatIsTheirs(t *testing.T) {
	for _, owner := range []string{"ada@example.com", "team:ada"} {
		in(t, Settings{}, func(t *testing.T, b *bench) {
			id := b.ask(t, question(nil))
			if _, err := b.Vote(t.Context(), id, voter("ada"), []string{owner}, true, ""); !errors.Is(err, nhi.ErrDenied) {
				t.Errorf("owner %s: %v", owner, err)
			}
			if _, err := b.Vote(t.Context(), id, Voter{}, nil, true, ""); !errors.Is(err, nhi.ErrDenied) {
				t.Errorf("nobody: %v", err)
			}
			if a, err := b.Vote(t.Context(), id, voter("ada"), []string{owner}, false, ""); err != nil || a.State != nhi.ApprovalDenied {
				t.Errorf("an owner may always say no: %v", err)
			}
		})
	}
	in(t, Settings{OwnersMayApprove: true}, func(t *testing.T, b *bench) {
		id := b.ask(t, question(nil))
		if _, err := b.Vote(t.Context(), id, voter("ada"), []string{"ada@example.com"}, true, ""); err != nil {
			t.Errorf("where duties are not separated: %v", err)
		}
	})
}

func TestApprovalsExpire(t *testing.T) {
	in(t, Settings{Wait: time.Hour, Life: time.Minute}, func(t *testing.T, b *bench) {
		q := question(nil)
		late := b.ask(t, q)
		time.Sleep(time.Hour)
		if _, err := b.Vote(t.Context(), late, voter("ada"), nil, true, ""); !errors.Is(err, nhi.ErrConflict) {
			t.Errorf("a yes too late: %v", err)
		}
		id := b.ask(t, q)
		if id == late {
			t.Fatal("what has expired is asked for again")
		}
		if _, err := b.Vote(t.Context(), id, voter("ada"), nil, true, ""); err != nil {
			t.Fatal(err)
		}
		b.follow(t)
		time.Sleep(time.Minute)
		if b.Approved(q, time.Now()) != nil {
			t.Error("it outlives its life")
		}
		if err := b.Spend(t.Context(), id, "dec"); !errors.Is(err, nhi.ErrConflict) {
			t.Errorf("spent after its end: %v", err)
		}
	})
}

func TestAFloodOfQuestionsReachesNobody(t *testing.T) {
	in(t, Settings{Open: 3, Hourly: 5}, func(t *testing.T, b *bench) {
		nth := func(n int) *nhi.Question {
			return question(func(q *nhi.Question) { q.Operation = fmt.Sprint("DELETE /", n) })
		}
		var ids []string
		for n := range 3 {
			ids = append(ids, b.ask(t, nth(n)))
		}
		if _, ok := b.Ask(nth(3), decided()); ok {
			t.Error("a fourth is open")
		}
		if id := b.ask(t, nth(0)); id != ids[0] {
			t.Error("what is open is asked again")
		}
		b.ask(t, question(func(q *nhi.Question) { q.Subject.Identity = "nhi_b" })) // somebody else may
		for n := range 2 {
			if _, err := b.Cancel(t.Context(), ids[n], "person:eve"); err != nil {
				t.Fatal(err)
			}
			b.Apply([]nhi.Change{{Subject: nhi.SubjectApproval, Key: ids[n]}})
			b.ask(t, nth(10+n))
		}
		if _, err := b.Cancel(t.Context(), ids[2], "person:eve"); err != nil {
			t.Fatal(err)
		}
		b.Apply([]nhi.Change{{Subject: nhi.SubjectApproval, Key: ids[2]}})
		if _, ok := b.Ask(nth(20), decided()); ok {
			t.Error("a sixth within the hour")
		}
		time.Sleep(2 * time.Hour)
		b.ask(t, nth(20))
	})
}

func TestWhatCannotBeKeptIsAskedAgain(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *bench) {
		b.store.mu.Lock()
		b.store.fail = errors.New("the disk is full")
		b.store.mu.Unlock()
		lost := b.ask(t, question(nil))
		if err := b.Spend(t.Context(), lost, "dec"); err == nil {
			t.Error("spent although nothing could be written")
		}
		b.store.mu.Lock()
		b.store.fail = nil
		b.store.mu.Unlock()
		kept := b.ask(t, question(nil))
		if _, there := b.store.rows[kept]; !there || kept == lost {
			t.Errorf("%s was lost, %s is kept: %v", lost, kept, there)
		}
	})
}

func TestADeskFollowsChangesAndClosesWhatItCannotRead(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *bench) {
		q := question(nil)
		id := b.ask(t, q)
		if _, err := b.Vote(t.Context(), id, voter("ada"), nil, true, ""); err != nil {
			t.Fatal(err)
		}
		b.follow(t)
		b.Apply([]nhi.Change{{Subject: nhi.SubjectIdentity, Key: id}})
		if b.Approved(q, time.Now()) == nil {
			t.Fatal("another subject's change closed it")
		}
		b.Apply([]nhi.Change{{Subject: nhi.SubjectApproval, Key: id, Payload: []byte("{")}})
		if b.Approved(q, time.Now()) != nil {
			t.Error("what cannot be read still lets pass")
		}
	})
}

func TestSettingsOutOfRangeAreRefused(t *testing.T) {
	for _, s := range []Settings{{Wait: -1}, {Wait: 200 * time.Hour}, {Life: 25 * time.Hour}, {TwoFrom: 6}, {Open: -1}, {Hourly: 20_000}} {
		if _, err := New(t.Context(), &memory{}, s, nil); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	in(t, Settings{}, func(t *testing.T, b *bench) {
		if _, err := b.Vote(t.Context(), "apr_x", voter("ada"), nil, true, strings.Repeat("x", 501)); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("a long comment: %v", err)
		}
		if _, err := b.Vote(t.Context(), "apr_x", voter("ada"), nil, true, ""); !errors.Is(err, nhi.ErrNotFound) {
			t.Errorf("no such approval: %v", err)
		}
	})
}

// Between its end and the next sweep an approval nobody used is still kept.
func TestANewApprovalIsNotLostBehindOneThatExpired(t *testing.T) {
	in(t, Settings{Life: time.Second}, func(t *testing.T, b *bench) {
		q := question(nil)
		yes := func() string {
			id := b.ask(t, q)
			a, err := b.Vote(t.Context(), id, voter("ada"), nil, true, "")
			if err != nil {
				t.Fatal(err)
			}
			payload, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			b.Apply([]nhi.Change{{Subject: nhi.SubjectApproval, Key: id, Payload: payload}})
			return id
		}
		yes()
		time.Sleep(2 * time.Second) // it expires unused
		next := yes()
		if a := b.Approved(q, time.Now()); a == nil || a.ID != next {
			t.Errorf("what people approved lets nothing pass: %+v", a)
		}
	})
}

func TestAnApprovalOfOneRecordLetsNoOtherOfTheSameRoutePass(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *bench) {
		one := func(q *nhi.Question) {
			q.Operation, q.Host, q.Target = "DELETE /payments/{id}", "shop.example", "/payments/17?force=no"
			q.Said = nhi.Wording{ResourceType: "payment", Action: []byte(`{"amount":5}`)}
		}
		id := b.ask(t, question(one))
		if _, err := b.Vote(t.Context(), id, voter("ada"), nil, true, ""); err != nil {
			t.Fatal(err)
		}
		b.follow(t)
		for name, change := range map[string]func(*nhi.Question){
			"record": func(q *nhi.Question) { q.Target = "/payments/18?force=no" },
			"query":  func(q *nhi.Question) { q.Target = "/payments/17?force=yes" },
			"host":   func(q *nhi.Question) { q.Host = "bank.example" },
			"actors": func(q *nhi.Question) { q.Subject.Actors = []nhi.ID{"nhi_b"} },
			"amount": func(q *nhi.Question) { q.Said.Action = []byte(`{"amount":1000000}`) },
			"owner":  func(q *nhi.Question) { q.Said.Resource = []byte(`{"owner":"b"}`) },
			"type":   func(q *nhi.Question) { q.Said.ResourceType = "account" },
			"place":  func(q *nhi.Question) { q.Said.Action, q.Said.Resource = nil, q.Said.Action },
			"less":   func(q *nhi.Question) { q.Said = nhi.Wording{} },
		} {
			if b.Approved(question(func(q *nhi.Question) { one(q); change(q) }), time.Now()) != nil {
				t.Errorf("it lets a request of another %s pass", name)
			}
		}
		if b.Approved(question(one), time.Now()) == nil {
			t.Error("it does not let its own request pass")
		}
	})
}
