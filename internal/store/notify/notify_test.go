package notify

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

var at = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func open(t *testing.T) (*store.DB, *Outbox) {
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

func queue(t *testing.T, db *store.DB, notices ...nhi.Notice) {
	t.Helper()
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return Queue(t.Context(), tx, notices) }); err != nil {
		t.Fatal(err)
	}
}

func due(t *testing.T, o *Outbox, channel string, when time.Time) []string {
	t.Helper()
	list, err := o.Due(t.Context(), channel, when, 100)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, w := range list {
		ids = append(ids, w.Notice.ID)
	}
	return ids
}

func TestANoticeGoesOnceToEachChannelThatWantsIt(t *testing.T) {
	db, o := open(t)
	queue(t, db, nhi.Notice{ID: "low", Severity: nhi.Low, At: at, Data: []byte(`{}`)}, nhi.Notice{ID: "high", Severity: nhi.High, At: at.Add(time.Millisecond), Data: []byte(`{}`)})
	if got := due(t, o, "all", at); len(got) != 0 {
		t.Errorf("due before it is routed: %v", got)
	}
	wants := []notify.Want{{Channel: "all", Severities: []nhi.Severity{nhi.Low, nhi.High}}, {Channel: "grave", Severities: []nhi.Severity{nhi.High}}}
	for range 2 {
		if err := o.Route(t.Context(), wants); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"low", "high"}, due(t, o, "all", at)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"high"}, due(t, o, "grave", at)); diff != "" {
		t.Errorf("grave (-want +got):\n%s", diff)
	}
	later := at.Add(time.Hour)
	for _, s := range []notify.Settled{{Notice: "low", Status: notify.StatusDone, Attempts: 1}, {Notice: "high", Status: notify.StatusWaiting, Attempts: 1, Due: later, Error: "no answer"}} {
		if err := o.Settle(t.Context(), "all", s); err != nil {
			t.Fatal(err)
		}
	}
	queue(t, db, nhi.Notice{ID: "high", Severity: nhi.High, At: at, Data: []byte(`{}`)}) // the same id is the same notice
	if err := o.Route(t.Context(), wants); err != nil {
		t.Fatal(err)
	}
	if got := due(t, o, "all", at); len(got) != 0 {
		t.Errorf("due at once: %v", got)
	}
	if diff := cmp.Diff([]string{"high"}, due(t, o, "all", later)); diff != "" {
		t.Errorf("due later (-want +got):\n%s", diff)
	}
}

func TestANewChannelDoesNotBeginWithOldNews(t *testing.T) {
	db, o := open(t)
	queue(t, db, nhi.Notice{ID: "old", Severity: nhi.High, At: at, Data: []byte(`{}`)})
	if err := o.Route(t.Context(), nil); err != nil { // nobody is configured
		t.Fatal(err)
	}
	queue(t, db, nhi.Notice{ID: "new", Severity: nhi.High, At: at.Add(time.Second), Data: []byte(`{}`)})
	if err := o.Route(t.Context(), []notify.Want{{Channel: "late", Severities: []nhi.Severity{nhi.High}}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"new"}, due(t, o, "late", at)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOldNoticesAreForgottenWithTheirDeliveries(t *testing.T) {
	db, o := open(t)
	queue(t, db, nhi.Notice{ID: "old", Severity: nhi.High, At: at, Data: []byte(`{}`)}, nhi.Notice{ID: "new", Severity: nhi.High, At: at.Add(48 * time.Hour), Data: []byte(`{}`)})
	if err := o.Route(t.Context(), []notify.Want{{Channel: "ops", Severities: []nhi.Severity{nhi.High}}}); err != nil {
		t.Fatal(err)
	}
	if err := o.Forget(t.Context(), at.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"new"}, due(t, o, "ops", at.Add(72*time.Hour))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var n int
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT COUNT(*) FROM delivery`).Scan(&n)
	})
	if err != nil || n != 1 {
		t.Errorf("%d deliveries are left (%v), want 1", n, err)
	}
}

func BenchmarkDueAmongManyThatAreDone(b *testing.B) {
	db, err := enginetest.Open(b, b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	o := New(db)
	_, err = db.Write(b.Context(), func(tx *store.Tx) error {
		for i := range 20_000 {
			id := time.Unix(int64(i), 0).String()
			if err := Queue(b.Context(), tx, []nhi.Notice{{ID: id, Severity: nhi.High, At: at, Data: []byte(`{}`)}}); err != nil {
				return err
			}
			if _, err := tx.Exec(b.Context(), `INSERT INTO delivery (notice, channel, status, attempts, due, error) VALUES ($1, 'ops', 'done', 1, 0, '')`, id); err != nil {
				return err
			}
		}
		_, err := tx.Exec(b.Context(), `UPDATE notice SET routed = 1`)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := o.Route(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
		if list, err := o.Due(b.Context(), "ops", at, 50); err != nil || len(list) != 0 {
			b.Fatal(list, err)
		}
	}
}
