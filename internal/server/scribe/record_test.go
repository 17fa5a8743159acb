package scribe

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/view"
)

func newRecorder(t *testing.T) (*Recorder, func() []audit.Entry) {
	t.Helper()
	scanner, err := leak.NewScanner()
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(filepath.Join(t.TempDir(), "audit"), jose.GenerateES256(), audit.Settings{Clean: Cleaner(scanner.RedactString)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return &Recorder{log}, func() []audit.Entry {
		t.Helper()
		page, err := log.Page(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
}

func TestWhoActedIsOnRecordByKind(t *testing.T) {
	r, page := newRecorder(t)
	who := nhi.IdentityID("muster", "test", "robot")
	for _, by := range []string{"operator:admin", "session:ana", "rule:LEAK-01", "source:ci", "system"} {
		if err := r.Record(t.Context(), nhi.Act{Actor: by, Act: "x.y", Outcome: "done"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, by := range []string{string(who), "operator:admin"} {
		if err := (Issuer{r, &health.Clock{}}).Append(t.Context(), issuer.Act{Name: "token.revoke", Actor: by}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range page() {
		got = append(got, view.ActorText(e.Actor))
	}
	want := []string{"person:admin", "identity:" + string(who), "system:system", "identity:ci", "rule:LEAK-01", "person:ana", "person:admin"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("newest first (-want +got):\n%s", diff)
	}
}

func TestAnOutcomeThatIsNotKnownIsNoSuccess(t *testing.T) {
	r, page := newRecorder(t)
	for _, outcome := range []string{"done", "refused", "error", "failed", "", "proposed"} {
		if err := r.Record(t.Context(), nhi.Act{Actor: "system", Act: "x.y", Outcome: outcome}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range page() {
		got = append(got, e.Act+" "+string(e.Outcome))
	}
	if diff := cmp.Diff([]string{"x.y.propose done", "x.y failed", "x.y failed", "x.y failed", "x.y refused", "x.y done"}, got); diff != "" {
		t.Errorf("newest first (-want +got):\n%s", diff)
	}
}

func TestTheAuditLogHoldsNoSecret(t *testing.T) {
	r, page := newRecorder(t)
	secret := key.Mint(key.API).Reveal()
	detail, err := json.Marshal(map[string]string{"a": secret, "b": "stays"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Record(t.Context(), nhi.Act{Actor: "operator:" + secret, Act: "x.y", Target: secret, Reason: "see " + secret, Outcome: "done", Detail: detail}); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(page())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), secret) || !strings.Contains(string(b), "stays") {
		t.Errorf("on record: %s", b)
	}
}

// TestNoTokenIsIssuedWhileTheClockLiesBeforeTheRecord sets the clock back: the
// log is written today, and the time in a bubble begins in the year 2000.
func TestNoTokenIsIssuedWhileTheClockLiesBeforeTheRecord(t *testing.T) {
	dir, signer := filepath.Join(t.TempDir(), "audit"), jose.GenerateES256()
	log, err := audit.Open(dir, signer, audit.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	today := time.Now()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		log, err := audit.Open(dir, signer, audit.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		var clock health.Clock
		clock.Watch(log.Latest)
		acts := Issuer{&Recorder{log}, &clock}
		issue := func() error {
			return acts.Append(t.Context(), issuer.Act{Name: issuer.ActIssue, Actor: "operator:admin"})
		}
		if err := issue(); err == nil || !strings.Contains(err.Error(), "before what is on record") {
			t.Fatalf("issued with the clock at %v: %v", time.Now(), err)
		}
		if err := acts.Append(t.Context(), issuer.Act{Name: "token.revoke", Actor: "operator:admin"}); err != nil {
			t.Fatalf("revoking must always work: %v", err)
		}
		if err := issue(); err == nil {
			t.Fatal("another act's time made the clock trusted")
		}
		time.Sleep(time.Until(today) - 30*time.Second)
		if err := issue(); err != nil {
			t.Fatalf("the clock is right again: %v", err)
		}
	})
}
