package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/desk"
	"github.com/muster-id/muster/internal/store/enginetest"
)

// enroller enrols points by writing to the store.
type enroller struct {
	frame.Access
	db    *store.DB
	calls atomic.Int32
	fail  error         // after the write
	wait  chan struct{} // before the write; may be nil
}

const shownKey = "the-secret-that-is-shown-once"

func (e *enroller) EnrollPoint(ctx context.Context, _ string, p client.EnrollPoint) (client.Enrolled, error) {
	if e.wait != nil {
		<-e.wait
	}
	_, err := e.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.PutDocument(ctx, p.Name, []byte("x"))
		return err
	})
	if err != nil {
		return client.Enrolled{}, err
	}
	e.calls.Add(1)
	return client.Enrolled{ID: "nhi_made", Key: shownKey}, e.fail
}

func keyedServer(t *testing.T, edit ...func(*frame.Deps)) (http.Handler, *enroller) {
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
	e := &enroller{db: db}
	deps := frame.Deps{Gate: door{administrator()}, Clean: same, Access: e, Desk: desk.New(db)}
	for _, f := range edit {
		f(&deps)
	}
	h, _, err := New(deps)
	if err != nil {
		t.Fatal(err)
	}
	return h, e
}

func enroll(h http.Handler, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/points", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestARepeatedRequestHappensOnceAndNeverShowsTheSecretAgain(t *testing.T) {
	h, e := keyedServer(t)
	if w := enroll(h, "k1", `{"name":"edge"}`); w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), shownKey) {
		t.Fatalf("first: %d %s", w.Code, w.Body)
	}
	again := enroll(h, "k1", `{"name":"edge"}`)
	if again.Code != http.StatusConflict || strings.Contains(again.Body.String(), shownKey) || !strings.Contains(again.Body.String(), "nhi_made") {
		t.Errorf("again: %d %s", again.Code, again.Body)
	}
	if w := enroll(h, "k1", `{"name":"other"}`); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("another request with the same key: %d %s", w.Code, w.Body)
	}
	if w := enroll(h, "a key", `{"name":"edge"}`); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a key with a blank: %d", w.Code)
	}
	if n := e.calls.Load(); n != 1 {
		t.Errorf("%d points were made", n)
	}
	err := e.db.Read(t.Context(), func(tx *store.Tx) error {
		var all string
		if err := tx.QueryRow(t.Context(), `SELECT key || digest || body || shown FROM reply`).Scan(&all); err != nil {
			return err
		}
		if strings.Contains(all, shownKey) || strings.Contains(all, "edge") {
			t.Errorf("the store keeps %s", all)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Whoever sends ever new keys fills the database of everybody.
func TestAFloodOfKeysIsRefusedAndForgetsNothing(t *testing.T) {
	caller := administrator()
	h, e := keyedServer(t, func(d *frame.Deps) { d.MaxReplies, d.Gate = 3, nowAs{&caller} })
	for _, k := range []string{"k1", "k2", "k3"} {
		if w := enroll(h, k, `{"name":"edge"}`); w.Code != http.StatusCreated {
			t.Fatalf("%s: %d %s", k, w.Code, w.Body)
		}
	}
	w := enroll(h, "k4", `{"name":"edge"}`)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "without a key") {
		t.Errorf("one more: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if n := e.calls.Load(); n != 3 {
		t.Errorf("%d requests were carried out, want 3: what is refused does nothing", n)
	}
	// What was promised is kept, and the others go on.
	if w := enroll(h, "k1", `{"name":"edge"}`); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "nhi_made") {
		t.Errorf("the first one again: %d %s", w.Code, w.Body)
	}
	caller.Name, caller.Identity = "another", "nhi_another"
	if w := enroll(h, "k4", `{"name":"edge"}`); w.Code != http.StatusCreated {
		t.Errorf("another caller: %d %s", w.Code, w.Body)
	}
	caller = administrator()
	_, err := e.db.Write(t.Context(), func(tx *store.Tx) error { // a day goes by
		_, err := tx.Exec(t.Context(), `UPDATE reply SET started = started - $1`, (desk.Keep + time.Minute).Microseconds())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := enroll(h, "k5", `{"name":"edge"}`); w.Code != http.StatusCreated {
		t.Errorf("a day later: %d %s", w.Code, w.Body)
	}
}

// nowAs lets in whoever the caller is at the moment.
type nowAs struct{ caller *frame.Caller }

func (n nowAs) Authenticate(*http.Request) (frame.Caller, error) { return *n.caller, nil }

func TestARequestThatIsRefusedMayBeTriedAgain(t *testing.T) {
	h, e := keyedServer(t)
	if w := enroll(h, "k", `{"name":""}`); w.Code != http.StatusUnprocessableEntity {
		t.Fatalf("got %d", w.Code)
	}
	if w := enroll(h, "k", `{"name":"edge"}`); w.Code != http.StatusCreated || e.calls.Load() != 1 {
		t.Errorf("corrected: %d %s", w.Code, w.Body)
	}
}

func TestARequestThatFailedAfterItsWriteIsNotRepeated(t *testing.T) {
	h, e := keyedServer(t)
	e.fail = nhi.ErrUnavailable
	if w := enroll(h, "k", `{"name":"edge"}`); w.Code != http.StatusServiceUnavailable {
		t.Fatalf("got %d", w.Code)
	}
	e.fail = nil
	if w := enroll(h, "k", `{"name":"edge"}`); w.Code != http.StatusServiceUnavailable || w.Header().Get("Idempotency-Replayed") != "true" || e.calls.Load() != 1 {
		t.Errorf("again: %d after %d calls", w.Code, e.calls.Load())
	}
}

func TestTheSameKeyAtTheSameTimeHappensOnce(t *testing.T) {
	h, e := keyedServer(t)
	e.wait = make(chan struct{})
	var wg sync.WaitGroup
	codes := make(chan int, 8)
	for range 8 {
		wg.Go(func() { codes <- enroll(h, "k", `{"name":"edge"}`).Code })
	}
	for range 7 {
		if c := <-codes; c != http.StatusConflict {
			t.Errorf("meanwhile: %d", c)
		}
	}
	close(e.wait)
	wg.Wait()
	if c := <-codes; c != http.StatusCreated || e.calls.Load() != 1 {
		t.Errorf("the one: %d, %d calls", c, e.calls.Load())
	}
}

// TestAKillBetweenCommitAndReply plays the crash by what it leaves behind: the
// row of a process that is gone.
func TestAKillBetweenCommitAndReply(t *testing.T) {
	h, e := keyedServer(t)
	for _, committed := range []int{0, 1} {
		key := "killed" + string(rune('0'+committed))
		if w := enroll(h, key, `{"name":"edge"}`); w.Code != http.StatusCreated {
			t.Fatal(w.Code)
		}
		_, err := e.db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE reply SET status = 0, shown = '', process = 'gone', committed = $1 WHERE process <> 'gone' AND status <> 0`, committed)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		before := e.calls.Load()
		w := enroll(h, key, `{"name":"edge"}`)
		done := e.calls.Load() - before
		if committed == 1 && (w.Code != http.StatusConflict || done != 0) {
			t.Errorf("after the commit: %d, done %d times more", w.Code, done)
		}
		if committed == 0 && (w.Code != http.StatusCreated || done != 1) {
			t.Errorf("before the commit: %d, done %d times", w.Code, done)
		}
	}
}

func TestAViewIsChangedOnlyByWhoReadIt(t *testing.T) {
	h, _ := keyedServer(t)
	put := func(match, name string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPut, "/v1/views/mine", strings.NewReader(`{"name":"`+name+`","page":"identities","query":"filter=-owner:*"}`))
		r.Header.Set("Content-Type", "application/json")
		if match != "" {
			r.Header.Set("If-Match", match)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	first := put("", "one")
	if first.Code != http.StatusOK || first.Header().Get("ETag") == "" {
		t.Fatalf("%d %s", first.Code, first.Body)
	}
	if w := put(first.Header().Get("ETag"), "two"); w.Code != http.StatusOK {
		t.Errorf("with the tag that was read: %d %s", w.Code, w.Body)
	}
	if w := put(first.Header().Get("ETag"), "three"); w.Code != http.StatusPreconditionFailed || !strings.Contains(w.Body.String(), "read it again") {
		t.Errorf("with an old tag: %d %s", w.Code, w.Body)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/views", nil))
	var page client.Page[client.View]
	b, _ := io.ReadAll(w.Body)
	if err := json.Unmarshal(b, &page); err != nil || len(page.Items) != 1 || page.Items[0].Name != "two" {
		t.Errorf("views = %s, %v", b, err)
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "/v1/views/mine", nil))
	if w.Code != http.StatusNoContent {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
}
