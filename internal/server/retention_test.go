package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/seal/agefile"
	"github.com/muster-id/muster/internal/server/archive"
)

// decided leaves a record of n decisions in a data folder, each in a segment of
// its own.
func decided(t *testing.T, data string, n int) {
	t.Helper()
	j, err := journal.Open(filepath.Join(data, "decisions"), journal.Settings{SegmentSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		d := nhi.Decision{
			ID: fmt.Sprintf("01900000-0000-7000-8000-%012d", i), At: time.Now(), Outcome: nhi.Allow, Point: "nhi_p", Identity: nhi.IdentityID("test", "", "settler"),
			Resource: "payments/api", Action: nhi.Read, Reasons: []nhi.Reason{{Policy: "p", Effect: "permit"}},
		}
		if _, err := j.Append(logbook.Append(nil, &d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOldDecisionsAreForgottenOnceLearnedAndTheRestStaysProvable(t *testing.T) {
	data := t.TempDir()
	const n = 40
	decided(t, data, n)
	r := start(t, data)
	allowed := func() uint64 {
		var u client.Usage
		r.get("/v1/usage?by=outcome&bucket=day", &u)
		sum := uint64(0)
		for _, row := range u.Rows {
			sum += row.Count
		}
		return sum
	}
	r.until("the decisions are learned", func() bool { _, d := r.learner.Positions(); return d == n && allowed() == n })
	later := time.Now().Add(r.settings.Config.Retention.DecisionsAge + 48*time.Hour)
	// Learned, and not saved: a crash now must find them in the journal again.
	r.forgetDecisions(t.Context(), later)
	if got := r.journal.First(); got != 1 {
		t.Fatalf("the oldest decision is %d before what was learned is saved, want 1", got)
	}
	r.halt()
	r = start(t, data)
	if saved := r.learner.Saved(); saved != n {
		t.Fatalf("a stop saved up to %d, want %d", saved, n)
	}
	r.forgetDecisions(t.Context(), time.Now())
	if got := r.journal.First(); got != 1 {
		t.Fatalf("the oldest decision is %d although all are young, want 1", got)
	}
	r.backups.busy.Lock() // a backup is being written
	r.forgetDecisions(t.Context(), later)
	r.backups.busy.Unlock()
	if got := r.journal.First(); got != 1 {
		t.Fatalf("the oldest decision is %d after a backup began, want 1", got)
	}
	r.forgetDecisions(t.Context(), later)
	r.forgetDecisions(t.Context(), later) // nothing is left to forget
	if got := r.journal.First(); got != n {
		t.Fatalf("the oldest decision is %d, want %d: the segment in use stays", got, n)
	}
	if got := r.acts()["decisions.forget"]; got != 1 {
		t.Errorf("decisions.forget is %d times in the audit log, want once", got)
	}
	first := true
	for rec, err := range r.journal.Read(0) {
		if err != nil {
			t.Fatal(err)
		}
		if gap := forgotten(t, r); first && (gap.First != rec.Seq || gap.Before != fmt.Sprintf("%x", rec.Prev)) {
			t.Errorf("the audit log says %+v, the first record is %d after %x", gap, rec.Seq, rec.Prev)
		}
		first = false
	}

	// What is left is a journal, before and after a restart and in a backup.
	id, err := agefile.Temporary()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := r.api.MakeBackup(t.Context(), client.BackupRequest{Recipients: id.Recipients()}, &file); err != nil {
		t.Fatal(err)
	}
	r.halt()
	if rep, err := journal.Verify(t.Context(), filepath.Join(data, "decisions")); err != nil || rep.First != n {
		t.Errorf("the journal: %+v, %v", rep, err)
	}
	keys, err := audit.ReadKeys(filepath.Join(data, "audit", audit.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(t.Context(), filepath.Join(data, "audit"), keys, nil); err != nil {
		t.Errorf("the audit log: %v", err)
	}
	if back, err := archive.Restore(t.Context(), &file, agefile.Key{Identity: id}, archive.Target{Data: filepath.Join(t.TempDir(), "back"), Open: openStore}); err != nil || back.Decisions != 1 {
		t.Errorf("restored %+v, %v", back, err)
	}
	r = start(t, data)
	r.until("learning", func() bool { _, d := r.learner.Positions(); return d == n && r.learner.Err() == nil })
	if got := allowed(); got != n {
		t.Errorf("%d decisions are counted after all that, want %d", got, n)
	}
}

// forgotten is what the audit log says of the last cut.
func forgotten(t *testing.T, r *running) (c cut) {
	t.Helper()
	var page client.Page[client.Entry]
	r.get("/v1/audit?limit=500", &page)
	for _, e := range page.Items {
		if e.Act == "decisions.forget" {
			if err := json.Unmarshal(e.Detail, &c); err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	return c
}
