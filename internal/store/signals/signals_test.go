package signals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
	"github.com/muster-id/muster/internal/signals/transmit"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
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
	return db, New(db)
}

var began = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func stream(id string, change func(*signals.Stream)) signals.Stream {
	s := signals.Stream{
		ID: id, Receiver: "nhi_siem", Method: signals.Push, Endpoint: "https://siem.example.com/'; DROP TABLE signal_stream; --", Status: signals.Enabled,
		Created: began, Sealed: []byte{0, 1, 255},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func create(t *testing.T, s *Store, all ...signals.Stream) {
	t.Helper()
	for _, v := range all {
		if err := s.CreateStream(t.Context(), v, 10); err != nil {
			t.Fatal(err)
		}
	}
}

func waiting(id string) signals.Waiting {
	return signals.Waiting{ID: id, At: began, Claims: []byte(`{"jti":"` + id + `"}`)}
}

// due are the ids of what waits.
func due(t *testing.T, s *Store, id string, limit int) (out []string) {
	t.Helper()
	all, err := s.Due(t.Context(), id, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if string(w.Claims) != `{"jti":"`+w.ID+`"}` || !w.At.Equal(began) {
			t.Errorf("%s is kept as %s of %v", w.ID, w.Claims, w.At)
		}
		out = append(out, w.ID)
	}
	return out
}

func streams(t *testing.T, s *Store) []signals.Stream {
	t.Helper()
	all, err := s.Streams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAStreamIsKeptAndItsReceiverHasOnlySoMany(t *testing.T) {
	_, s := open(t)
	one, two := stream("one", nil), stream("two", func(s *signals.Stream) { s.Created, s.Sealed = began.Add(time.Second), nil })
	create(t, s, two, one)
	if err := s.CreateStream(t.Context(), stream("three", nil), 2); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("a third of two: %v", err)
	}
	if err := s.CreateStream(t.Context(), stream("three", func(s *signals.Stream) { s.Receiver = "nhi_other" }), 1); err != nil {
		t.Errorf("another receiver's first: %v", err)
	}
	if err := s.DeleteStream(t.Context(), "three"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]signals.Stream{one, two}, streams(t, s), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	failed := errors.New("no")
	if _, err := s.UpdateStream(t.Context(), "one", func(s *signals.Stream) error { s.Lost = 7; return failed }); !errors.Is(err, failed) {
		t.Errorf("a change that fails: %v", err)
	}
	if _, err := s.UpdateStream(t.Context(), "none", func(*signals.Stream) error { return nil }); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if all := streams(t, s); all[0].Lost != 0 {
		t.Errorf("a change that failed was kept: %+v", all[0])
	}
}

func TestEventsWaitInOrderUntilTheyAreSettled(t *testing.T) {
	_, s := open(t)
	create(t, s, stream("one", nil), stream("two", nil))
	for i := range 5 {
		if err := s.Queue(t.Context(), "one", waiting(fmt.Sprint("e", 4-i))); err != nil { // ids say nothing about the order
			t.Fatal(err)
		}
	}
	if err := s.Queue(t.Context(), "one", waiting("e4")); err != nil { // the same again
		t.Fatal(err)
	}
	if err := s.Queue(t.Context(), "gone", waiting("e9")); err != nil {
		t.Errorf("for a stream that is gone: %v", err)
	}
	if diff := cmp.Diff([]string{"e4", "e3", "e2"}, due(t, s, "one", 3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, ack := range []struct {
		stream string
		ids    []string
		want   int
	}{{"two", []string{"e4"}, 0}, {"one", []string{"e4", "e2", "e0", "none"}, 3}, {"one", []string{"e4"}, 0}} {
		if got, err := s.Settle(t.Context(), ack.stream, ack.ids); err != nil || got != ack.want {
			t.Errorf("%s, %v: %d are settled, %v", ack.stream, ack.ids, got, err)
		}
	}
	if err := s.Queue(t.Context(), "one", waiting("e5")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"e3", "e1", "e5"}, due(t, s, "one", 10)); diff != "" {
		t.Errorf("after some were settled (-want +got):\n%s", diff)
	}
	if all := streams(t, s); all[0].Waiting != 3 || all[1].Waiting != 0 {
		t.Errorf("waiting: %d and %d", all[0].Waiting, all[1].Waiting)
	}
	if _, err := s.UpdateStream(t.Context(), "one", func(s *signals.Stream) error { s.Status = signals.Disabled; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Queue(t.Context(), "one", waiting("e6")); err != nil {
		t.Fatal(err)
	}
	if got := due(t, s, "one", 10); len(got) != 0 {
		t.Errorf("a disabled stream holds %v", got)
	}
}

// A telling is whole: who reads the position finds the events before it.
func TestWhatIsToldIsWrittenWithThePosition(t *testing.T) {
	_, s := open(t)
	if _, _, ok, err := s.Position(t.Context()); err != nil || ok {
		t.Fatalf("before anybody listens: %v, %v", ok, err)
	}
	create(t, s, stream("one", nil), stream("two", nil))
	known := map[string]signals.Known{"nhi_a": {State: "quarantined", NotBefore: began}, "crd_b": {Created: true, At: began}}
	err := s.Tell(t.Context(), signals.Telling{
		Through: 7, Known: known, Lost: map[string]int64{"two": 3, "gone": 1},
		Events: []signals.Told{{Stream: "one", Waiting: waiting("b")}, {Stream: "one", Waiting: waiting("a")}, {Stream: "gone", Waiting: waiting("c")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	at, got, ok, err := s.Position(t.Context())
	if diff := cmp.Diff(known, got); err != nil || !ok || at != 7 || diff != "" {
		t.Errorf("at %d, %v, %v (-want +got):\n%s", at, ok, err, diff)
	}
	if diff := cmp.Diff([]string{"b", "a"}, due(t, s, "one", 10)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := s.Tell(t.Context(), signals.Telling{Through: 9, Known: map[string]signals.Known{"nhi_a": {}, "crd_b": {State: "revoked"}}, Lost: map[string]int64{"two": 2}}); err != nil {
		t.Fatal(err)
	}
	at, got, _, err = s.Position(t.Context())
	if diff := cmp.Diff(map[string]signals.Known{"crd_b": {State: "revoked"}}, got); err != nil || at != 9 || diff != "" {
		t.Errorf("at %d, %v (-want +got):\n%s", at, err, diff)
	}
	if all := streams(t, s); all[0].Lost != 0 || all[1].Lost != 5 {
		t.Errorf("lost: %d and %d", all[0].Lost, all[1].Lost)
	}
	if err := s.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at, _, ok, err := s.Position(t.Context()); err != nil || !ok || at != 9 {
		t.Errorf("the position is forgotten while somebody listens: %d, %v, %v", at, ok, err)
	}
	for _, id := range []string{"one", "two"} {
		if err := s.DeleteStream(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, got, ok, err := s.Position(t.Context()); err != nil || ok || len(got) != 0 {
		t.Errorf("nobody listens, and there is %v, %v, %v", got, ok, err)
	}
	if got := due(t, s, "one", 10); len(got) != 0 {
		t.Errorf("a stream that is gone holds %v", got)
	}
}

func TestWhatWaitedForTooLongIsCountedAsLost(t *testing.T) {
	_, s := open(t)
	create(t, s, stream("one", nil), stream("two", nil))
	for i, id := range []string{"one", "one", "two"} {
		w := waiting(fmt.Sprint("e", i))
		w.At = began.Add(time.Duration(i) * time.Hour)
		if err := s.Queue(t.Context(), id, w); err != nil {
			t.Fatal(err)
		}
	}
	if lost, err := s.Expire(t.Context(), began); err != nil || len(lost) != 0 {
		t.Fatal(lost, err)
	}
	if all := streams(t, s); all[0].Lost != 0 || all[0].Waiting != 2 {
		t.Errorf("too early: %+v", all[0])
	}
	if lost, err := s.Expire(t.Context(), began.Add(2*time.Hour)); err != nil || len(lost) != 1 || lost["one"] != 2 {
		t.Fatal(lost, err)
	}
	if all := streams(t, s); all[0].Lost != 2 || all[0].Waiting != 0 || all[1].Lost != 0 || all[1].Waiting != 1 {
		t.Errorf("there are %+v", all)
	}
}

func TestARemovedSubjectIsRemovedFromOneStream(t *testing.T) {
	_, s := open(t)
	create(t, s, stream("one", nil), stream("two", nil))
	for _, subject := range []string{"a", "b", "b"} {
		if err := s.Exclude(t.Context(), "one", subject, true, 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Exclude(t.Context(), "one", "c", true, 2); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("a third of two: %v", err)
	}
	if err := s.Exclude(t.Context(), "one", "a", false, 2); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		stream   string
		subjects []string
		want     bool
	}{{"one", []string{"x", "b"}, true}, {"one", []string{"a"}, false}, {"one", nil, false}, {"two", []string{"b"}, false}} {
		if got, err := s.Excluded(t.Context(), tt.stream, tt.subjects); err != nil || got != tt.want {
			t.Errorf("%s, %v: %v, %v", tt.stream, tt.subjects, got, err)
		}
	}
}

func TestAJTIIsRememberedOfItsPeerForSoLong(t *testing.T) {
	_, s := open(t)
	for range 2 {
		if err := s.Remember(t.Context(), "idp", "j1", began.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	heard := func(peer, jti string) bool {
		got, err := s.Heard(t.Context(), peer, jti)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if !heard("idp", "j1") || heard("idp", "j2") || heard("other", "j1") {
		t.Error("another one is remembered")
	}
	if err := s.Forget(t.Context(), began.Add(time.Hour-time.Microsecond)); err != nil || !heard("idp", "j1") {
		t.Errorf("within the hour: %v", err)
	}
	if err := s.Forget(t.Context(), began.Add(time.Hour)); err != nil || heard("idp", "j1") {
		t.Errorf("after an hour: %v", err)
	}
}

func TestTheSequenceIsReadFromAPosition(t *testing.T) {
	db, s := open(t)
	for i := range 3 {
		if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.Change(nhi.SubjectIdentity, fmt.Sprint("nhi_", i), i) }); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Changes(t.Context(), 1, 10)
	if err != nil || len(all) != 2 || all[0].Key != "nhi_1" || s.Generation() != 3 {
		t.Errorf("%+v, %v, generation %d", all, err, s.Generation())
	}
	var payload int
	if err := json.Unmarshal(all[1].Payload, &payload); err != nil || payload != 2 {
		t.Errorf("the last tells %d, %v", payload, err)
	}
}

// ours is the id of a stream as receivers know it.
const ours = "01900000-0000-7000-8000-000000000001"

// A fragile outbox breaks once, as if the process had been killed.
type fragile struct {
	*Store
	broken bool
}

func (f *fragile) Queue(ctx context.Context, stream string, w signals.Waiting) error {
	if !f.broken {
		f.broken = true
		return errors.New("killed")
	}
	return f.Store.Queue(ctx, stream, w)
}

func TestWhatWasLostIsConfessedHoweverOftenSomebodyIsKilledMeanwhile(t *testing.T) {
	_, s := open(t)
	create(t, s, stream(ours, func(s *signals.Stream) { s.Status, s.Ours, s.Lost = signals.Paused, true, 7 }))
	h := transmit.New(transmit.Config{
		Streams: s, Outbox: &fragile{Store: s}, Ledger: s, Log: slog.New(slog.DiscardHandler),
		Authenticate: func(*http.Request) (transmit.Receiver, error) { return transmit.Receiver{ID: "nhi_siem"}, nil },
	}).Handler()
	enable := func() int {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodPost, "/ssf/status", strings.NewReader(`{"stream_id":"`+ours+`","status":"enabled"}`))
		req.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(rec, req)
		return rec.Code
	}
	if got := enable(); got < 500 {
		t.Fatalf("while it breaks: %d", got)
	}
	if got := enable(); got != http.StatusOK {
		t.Fatalf("afterwards: %d", got)
	}
	all, err := s.Due(t.Context(), ours, 10)
	if err != nil || len(all) != 1 || !strings.Contains(string(all[0].Claims), "7 events were lost") {
		t.Errorf("it is told %s, %v", all, err)
	}
	if got := streams(t, s)[0]; got.Lost != 0 || got.Status != signals.Enabled {
		t.Errorf("then the stream is %+v", got)
	}
}

// A transmitter over a store whose receiver polls.
type told struct {
	*Store
	db    *store.DB
	stuck chan signals.Stream
}

func (told) Identity(context.Context, nhi.ID) (nhi.Identity, error) {
	return nhi.Identity{ID: "nhi_a", Kind: nhi.KindWorkload}, nil
}

func (told) FromPeer(context.Context, nhi.ID) (bool, error) { return false, nil }

// revoke is n credentials that are revoked.
func (o *told) revoke(t *testing.T, n int) {
	t.Helper()
	_, err := o.db.Write(t.Context(), func(tx *store.Tx) error {
		for i := range n {
			c := nhi.Credential{ID: nhi.CredentialID(fmt.Sprint("crd_", i)), Identity: "nhi_a", PublicID: fmt.Sprint("key-", i), State: nhi.CredentialRevoked, Created: began}
			if err := tx.Change(nhi.SubjectCredential, string(c.ID), c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// transmits runs a transmitter until the test says that it is killed.
func (o *told) transmits(t *testing.T) (h http.Handler, kill func()) {
	t.Helper()
	everybody := transmit.Receiver{ID: "nhi_siem", Accounts: []string{transmit.Everything}}
	x := transmit.New(transmit.Config{
		Issuer: "https://muster.example.com", Streams: o, Outbox: o, Ledger: o, Inventory: o, Log: slog.New(slog.DiscardHandler),
		Authenticate: func(*http.Request) (transmit.Receiver, error) { return everybody, nil },
		Receivers:    func(context.Context) ([]transmit.Receiver, error) { return []transmit.Receiver{everybody}, nil },
		Sign:         func(claims []byte) (string, error) { return string(claims), nil },
		Name: func(i *nhi.Identity, _ string) signals.Subject {
			return signals.Subject{Format: signals.FormatOpaque, ID: string(i.ID)}
		},
		Stuck: func(_ context.Context, s signals.Stream) error { o.stuck <- s; return nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = x.Run(ctx) }) // ends with ctx
	kill = func() { cancel(); running.Wait() }
	t.Cleanup(kill)
	x.Wake()
	return x.Handler(), kill
}

// ask sends a receiver's request.
func ask(t *testing.T, h http.Handler, path, body string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	if h.ServeHTTP(rec, req); rec.Code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", path, body, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// fill has an outbox hold n events.
func (o *told) fill(t *testing.T, n int) {
	t.Helper()
	_, err := o.db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `
			WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1)
			INSERT INTO signal_outbox (stream, seq, id, at, claims)
			SELECT $3, n, 'old-' || n, $2, '{}'
			FROM   counted`, n, store.Micros(time.Now()), ours)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (o *told) isStuck(t *testing.T) signals.Stream {
	t.Helper()
	select {
	case s := <-o.stuck:
		return s
	case <-time.After(90 * time.Second):
		t.Fatal("nobody is told that the receiver takes nothing")
		return signals.Stream{}
	}
}

func TestAFullOutboxDropsCountsAndConfessesAlsoWhenSomebodyIsKilled(t *testing.T) {
	const held = 10_000
	db, s := open(t)
	o := &told{Store: s, db: db, stuck: make(chan signals.Stream, 10)}
	create(t, s, stream(ours, func(s *signals.Stream) { s.Method, s.Endpoint = signals.Poll, "" }))
	o.fill(t, held-3)
	o.revoke(t, 4) // two events each: the credential and what it began
	_, kill := o.transmits(t)
	if got := o.isStuck(t); got.Status != signals.Paused || !got.Ours {
		t.Errorf("people are told of %+v", got)
	}
	if got := streams(t, s)[0]; got.Waiting != held || got.Lost != 5 {
		t.Errorf("%d wait and %d are lost, want %d and 5", got.Waiting, got.Lost, held)
	}
	kill()

	// Killed after the loss was counted, and before the stream was paused.
	if _, err := s.UpdateStream(t.Context(), ours, func(s *signals.Stream) error { s.Status, s.Ours = signals.Enabled, false; return nil }); err != nil {
		t.Fatal(err)
	}
	h, _ := o.transmits(t)
	if got := o.isStuck(t); got.Status != signals.Paused || got.Lost != 5 {
		t.Errorf("after a start people are told of %+v", got)
	}
	if got := streams(t, s)[0]; got.Waiting != held || got.Lost != 5 {
		t.Errorf("after a start %d wait and %d are lost, want %d and 5: what was told is told again", got.Waiting, got.Lost, held)
	}
	ask(t, h, "/ssf/status", `{"stream_id":"`+ours+`","status":"enabled"}`)
	last, err := s.Due(t.Context(), ours, held+10)
	if err != nil || len(last) != held+1 {
		t.Fatalf("%d wait, %v", len(last), err)
	}
	for i, want := range []string{"key-0", "session-revoked", "key-1", "5 events were lost"} {
		if got := string(last[held-3+i].Claims); !strings.Contains(got, want) {
			t.Errorf("event %d is %s, want one that says %s", held-3+i, got, want)
		}
	}
	if got := ask(t, h, "/ssf/poll/"+ours, `{"maxEvents":1,"returnImmediately":true}`); !strings.Contains(got, `"old-1"`) {
		t.Errorf("the first that is handed out: %s", got)
	}
}
