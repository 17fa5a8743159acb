package approval

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
	"github.com/muster-id/muster/internal/store/respond"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

func open(t *testing.T) (*store.DB, *Store) {
	t.Helper()
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, New(db, Hooks{
		Tells: func(a nhi.Approval, _ nhi.Identity) []nhi.Notice {
			return []nhi.Notice{{ID: a.ID, Severity: nhi.High, At: a.Asked, Data: []byte(`{}`)}}
		},
		Acts: func(before, after *nhi.Approval) []nhi.Act {
			return []nhi.Act{{Key: string(before.State) + " to " + string(after.State), At: after.Asked, Target: after.ID}}
		},
	})
}

func asked(id string, change func(*nhi.Approval)) nhi.Approval {
	now := time.Now().UTC().Truncate(time.Microsecond)
	a := nhi.Approval{
		ID: id, Binding: "b-" + id, State: nhi.ApprovalPending, Decision: "dec-" + id, Identity: "nhi_a", Point: "nhi_p", Action: nhi.Delete,
		Operation: "DELETE /'; DROP TABLE approval; --", Resource: "payroll", Sensitivity: 3, Reasons: []nhi.Reason{{Policy: "ask"}}, Needed: 1,
		Votes: []nhi.Vote{}, Asked: now, Expires: now.Add(time.Hour),
	}
	if change != nil {
		change(&a)
	}
	return a
}

func put(t *testing.T, s *Store, all ...nhi.Approval) {
	t.Helper()
	for _, a := range all {
		if err := s.Put(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnApprovalIsKeptWithItsChangeAndItsNotice(t *testing.T) {
	db, s := open(t)
	want := asked("apr_1", nil)
	put(t, s, want, want) // the same again is the same
	got, err := s.Get(t.Context(), "apr_1")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	changes, err := db.Changes(t.Context(), 0, 100)
	if err != nil || len(changes) != 1 || changes[0].Subject != nhi.SubjectApproval || changes[0].Key != "apr_1" {
		t.Fatalf("changes are %+v, %v", changes, err)
	}
	var told nhi.Approval
	if err := json.Unmarshal(changes[0].Payload, &told); err != nil || !cmp.Equal(told, want) {
		t.Errorf("the change tells %+v, %v", told, err)
	}
	var notices int
	err = db.Read(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT COUNT(*) FROM notice`).Scan(&notices)
	})
	if err != nil || notices != 1 {
		t.Errorf("%d notices, %v", notices, err)
	}
	if _, err := s.Get(t.Context(), "apr_none"); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestWhatIsAskedAgainKeepsItsVotesAndTheAuditLogHearsOfThem(t *testing.T) {
	db, s := open(t)
	a := asked("apr_1", nil)
	put(t, s, a)
	if _, err := s.Change(t.Context(), a.ID, func(a *nhi.Approval) error { a.State = nhi.ApprovalDenied; return nil }); err != nil {
		t.Fatal(err)
	}
	put(t, s, a)
	if got, err := s.Get(t.Context(), a.ID); err != nil || got.State != nhi.ApprovalDenied {
		t.Errorf("it is %s, %v", got.State, err)
	}
	acts, err := respond.New(db).DueActs(t.Context(), 10)
	if err != nil || len(acts) != 1 || acts[0].Key != "pending to denied" {
		t.Errorf("the audit log is told %+v, %v", acts, err)
	}
}

func TestAChangeThatFailsChangesNothing(t *testing.T) {
	db, s := open(t)
	put(t, s, asked("apr_1", nil))
	refused := errors.New("no")
	if _, err := s.Change(t.Context(), "apr_1", func(a *nhi.Approval) error { a.State = nhi.ApprovalUsed; return refused }); !errors.Is(err, refused) {
		t.Errorf("the error is %v", err)
	}
	if got, err := s.Get(t.Context(), "apr_1"); err != nil || got.State != nhi.ApprovalPending {
		t.Errorf("it is %s, %v", got.State, err)
	}
	if changes, err := db.Changes(t.Context(), 0, 100); err != nil || len(changes) != 1 {
		t.Errorf("%d changes, %v", len(changes), err)
	}
	if _, err := s.Change(t.Context(), "apr_2", func(*nhi.Approval) error { return nil }); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestOneOfManySpendersGetsAnApproval(t *testing.T) {
	db, s := open(t)
	put(t, s, asked("apr_1", func(a *nhi.Approval) { a.State = nhi.ApprovalApproved }))
	stores := [2]*Store{New(db, Hooks{}), New(db, Hooks{})}
	var spent atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := stores[i%2].Change(t.Context(), "apr_1", func(a *nhi.Approval) error {
				if a.State != nhi.ApprovalApproved {
					return nhi.ErrConflict
				}
				a.State, a.Used = nhi.ApprovalUsed, fmt.Sprint("dec-", i)
				return nil
			})
			switch {
			case err == nil:
				spent.Add(1)
			case !errors.Is(err, nhi.ErrConflict):
				t.Error(err)
			}
		})
	}
	if wg.Wait(); spent.Load() != 1 {
		t.Errorf("spent %d times", spent.Load())
	}
	if got, err := s.Get(t.Context(), "apr_1"); err != nil || got.State != nhi.ApprovalUsed || got.Used == "" {
		t.Errorf("it is %+v, %v", got, err)
	}
}

func TestOpenAreThoseThatCanStillCount(t *testing.T) {
	_, s := open(t)
	now := time.Now()
	put(t, s,
		asked("apr_1", func(a *nhi.Approval) { a.Asked = now.Add(-time.Minute) }),
		asked("apr_2", func(a *nhi.Approval) { a.State = nhi.ApprovalApproved }),
		asked("apr_3", func(a *nhi.Approval) { a.State = nhi.ApprovalUsed }),
		asked("apr_4", func(a *nhi.Approval) { a.Expires = now.Add(-time.Second) }))
	got, err := s.Open(t.Context(), now)
	if diff := cmp.Diff([]string{"apr_1", "apr_2"}, ids(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func ids(all []nhi.Approval) []string {
	out := []string{}
	for _, a := range all {
		out = append(out, a.ID)
	}
	return out
}

func TestAListIsNarrowedOrderedAndPaged(t *testing.T) {
	_, s := open(t)
	now := time.Now().Truncate(time.Microsecond)
	for i := range 5 {
		put(t, s, asked(fmt.Sprint("apr_", i), func(a *nhi.Approval) {
			a.Asked = now.Add(time.Duration(i) * time.Second)
			if i == 4 {
				a.Expires = now // has run out
			}
			if i == 3 {
				a.State, a.Resource, a.Sensitivity = nhi.ApprovalUsed, "ledger", 4
			}
		}))
	}
	read := func(text, order string, change func(*filter.Part)) filter.Slice[nhi.Approval] {
		t.Helper()
		p := filter.Part{Limit: 100, Count: true}
		var err error
		if p.Expr, err = filter.Approvals.Parse(text, now); err != nil {
			t.Fatal(err)
		}
		if p.Order, err = filter.Approvals.ParseOrder(order); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(&p)
		}
		out, err := s.List(t.Context(), p, now)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for text, want := range map[string][]string{
		"":                             {"apr_4", "apr_3", "apr_2", "apr_1", "apr_0"},
		"state:pending":                {"apr_2", "apr_1", "apr_0"},
		"state:expired":                {"apr_4"},
		"state:used,expired":           {"apr_4", "apr_3"},
		"sensitivity>=4":               {"apr_3"},
		"ledger":                       {"apr_3"},
		"apr_2":                        {"apr_2"},
		"identity:nhi_b":               {},
		"-state:pending action:delete": {"apr_4", "apr_3"},
		"owner:x":                      {},
	} {
		got := read(text, "", nil)
		if diff := cmp.Diff(want, ids(got.Rows)); diff != "" || got.Total != len(want) {
			t.Errorf("%q: %d in all (-want +got):\n%s", text, got.Total, diff)
		}
	}
	first := read("", "at", func(p *filter.Part) { p.Limit = 2 })
	if diff := cmp.Diff([]string{"apr_0", "apr_1"}, ids(first.Rows)); diff != "" || !first.More {
		t.Errorf("the first page, more %v:\n%s", first.More, diff)
	}
	last := first.Rows[1]
	next := read("", "at", func(p *filter.Part) {
		p.Limit, p.After = 3, filter.Position{Number: store.Micros(last.Asked), ID: last.ID}
	})
	if diff := cmp.Diff([]string{"apr_2", "apr_3", "apr_4"}, ids(next.Rows)); diff != "" || next.More {
		t.Errorf("the second page, more %v:\n%s", next.More, diff)
	}
	if got := read("", "", func(p *filter.Part) { p.Within = nhi.Scopes{{Team: "a"}} }); len(got.Rows) != 0 {
		t.Errorf("outside of the scope: %v", ids(got.Rows))
	}
}

func TestADecisionLeadsToWhatItAskedFor(t *testing.T) {
	_, s := open(t)
	put(t, s, asked("apr_1", nil), asked("apr_2", nil))
	if a, err := s.OfDecision(t.Context(), "nhi_a", "dec-apr_2"); err != nil || a.ID != "apr_2" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, of := range [][2]string{{"nhi_a", "dec-none"}, {"nhi_b", "dec-apr_2"}} {
		if _, err := s.OfDecision(t.Context(), nhi.ID(of[0]), of[1]); !errors.Is(err, nhi.ErrNotFound) {
			t.Errorf("%v: %v", of, err)
		}
	}
}

func TestOldApprovalsAreForgotten(t *testing.T) {
	db, s := open(t)
	now := time.Now()
	put(t, s, asked("apr_old", func(a *nhi.Approval) { a.Asked = now.Add(-Keep - time.Hour) }), asked("apr_new", nil))
	if err := Forget(t.Context(), db, now.Add(-Keep)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "apr_old"); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := s.Get(t.Context(), "apr_new"); err != nil {
		t.Errorf("the new one: %v", err)
	}
}

func TestAPointHasOneTaskForOneApproval(t *testing.T) {
	db, s := open(t)
	put(t, s, asked("apr_1", func(a *nhi.Approval) { a.Asked = time.Now().Add(-Keep - time.Hour) }))
	one := Request{Task: "arq_1", Point: "nhi_p", Key: "k1", Digest: "d1", Approval: "apr_1", Decision: "dec", Asked: time.Now()}
	submit := func(change func(*Request)) (Request, error) {
		r := one
		change(&r)
		return s.Submit(t.Context(), r)
	}
	for _, tt := range []struct {
		name, want string
		change     func(*Request)
		err        error
	}{
		{"the first", "arq_1", func(*Request) {}, nil},
		{"the same again", "arq_1", func(r *Request) { r.Task = "arq_2" }, nil},
		{"with another key", "arq_1", func(r *Request) { r.Task, r.Key = "arq_3", "k2" }, nil},
		{"by another point", "arq_4", func(r *Request) { r.Task, r.Point = "arq_4", "nhi_q" }, nil},
		{"something else with the key", "", func(r *Request) { r.Digest = "d2" }, nhi.ErrConflict},
	} {
		if got, err := submit(tt.change); got.Task != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	var last error
	for i := range maxKeys {
		_, last = submit(func(r *Request) { r.Key = fmt.Sprint("more", i) })
	}
	if !errors.Is(last, nhi.ErrInvalid) {
		t.Errorf("keys without end: %v", last)
	}
	if r, err := s.Task(t.Context(), "nhi_p", "arq_1"); err != nil || r.Approval != "apr_1" || r.Key != "k1" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.Task(t.Context(), "nhi_q", "arq_1"); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("the task of another point: %v", err)
	}
	if err := Forget(t.Context(), db, time.Now().Add(-Keep)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Submitted(t.Context(), "nhi_p", "k1"); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("its approval is forgotten, it is not: %v", err)
	}
}
