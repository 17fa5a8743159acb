package respond

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/respond"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// A ledger is an audit log that may be out of order, and what people were
// heard to decide.
type ledger struct {
	broken bool
	acts   []nhi.Act
	lifted []nhi.CredentialID
}

func (l *ledger) Record(_ context.Context, a nhi.Act) error {
	if l.broken {
		return errors.New("the disk is full")
	}
	l.acts = append(l.acts, a)
	return nil
}

func (l *ledger) Judged(context.Context, nhi.Finding) error { return nil }

func (l *ledger) Lifted(_ context.Context, id nhi.CredentialID) error {
	l.lifted = append(l.lifted, id)
	return nil
}

func (l *ledger) names() []string {
	var out []string
	for _, a := range l.acts {
		out = append(out, a.Act+" "+a.Outcome)
	}
	return out
}

type bench struct {
	t    *testing.T
	db   *store.DB
	inv  *inventory.Service
	log  *ledger
	kept *Store
	*respond.Service
	cred nhi.Credential
}

func newBench(t *testing.T) *bench {
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
	oprf, err := fingerprint.NewEvaluator(make([]byte, 32), 1)
	if err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.New(storeinventory.New(db), oprf, inventory.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db, inv: inv, log: &ledger{}, kept: New(db)}
	b.Service = respond.New(b.kept, inv, b.log, b.log, nil)
	who, err := inv.CreateIdentity(t.Context(), "settler", nhi.KindServiceAccount, "production", "team:payments")
	if err != nil {
		t.Fatal(err)
	}
	if b.cred, _, err = inv.CreateCredential(t.Context(), who.ID, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// seen is a sighting of the credential in a place.
func (b *bench) seen(verdict nhi.SightingVerdict, place string) nhi.Sighting {
	return nhi.Sighting{
		ID: nhi.DerivedID("sgt_", place, string(verdict)), Rule: "muster-key", Place: nhi.Place{Kind: "file", Name: place}, At: time.Now(),
		Verdict: verdict, Credential: b.cred.ID, Identity: b.cred.Identity,
	}
}

func (b *bench) sighted(s nhi.Sighting) respond.Outcome {
	b.t.Helper()
	out, err := b.Sighted(b.t.Context(), s)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) state() nhi.CredentialState {
	b.t.Helper()
	c, err := b.inv.Credential(b.t.Context(), b.cred.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return c.State
}

func (b *bench) finding(id string) nhi.Finding {
	b.t.Helper()
	f, err := b.kept.Finding(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

func TestAnActThatTheAuditLogMissedIsRecordedAtTheNextStartAndOnce(t *testing.T) {
	b := newBench(t)
	proposed := b.sighted(b.seen(nhi.Unproven, "a"))
	b.log.broken = true
	if _, err := b.Approve(t.Context(), proposed.Action.ID, "operator:x"); err == nil {
		t.Error("an act that is not on record is reported as fine")
	}
	if got := b.state(); got != nhi.CredentialSuspended {
		t.Errorf("the credential is %s", got)
	}
	if _, err := b.Undo(t.Context(), proposed.Action.ID, "operator:x", "why"); err == nil {
		t.Error("an undo that is not on record is reported as fine")
	}
	b.log.broken = false
	for range 3 { // starts
		if err := b.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"credential.suspend proposed", "action.approve done", "action.undo done"}
	if diff := cmp.Diff(want, b.log.names()); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if got := b.log.acts[2]; got.Reason != "why" || got.Actor != "operator:x" {
		t.Errorf("the undo is on record as %+v", got)
	}
}

func TestTheEndOfTheCallersRequestDoesNotStopTheRecord(t *testing.T) {
	b := newBench(t)
	b.sighted(b.seen(nhi.Confirmed, "a"))
	if len(b.log.acts) != 1 || b.log.acts[0].Key == "" {
		t.Fatalf("acts %+v", b.log.acts)
	}
	due, err := b.kept.DueActs(t.Context(), 10)
	if err != nil || len(due) != 0 {
		t.Errorf("still due: %v, %v", due, err)
	}
}

func TestLiftingOneContainmentDoesNotLiftAnothers(t *testing.T) {
	b := newBench(t)
	if err := b.inv.MarkAttestable(t.Context(), []nhi.ID{b.cred.Identity}); err != nil {
		t.Fatal(err)
	}
	claim := b.sighted(b.seen(nhi.Unproven, "claimed before")) // its action is older than the next
	leak := b.sighted(b.seen(nhi.Confirmed, "proven"))
	if b.state() != nhi.CredentialNarrowed {
		t.Fatalf("the credential is %s", b.state())
	}
	if _, err := b.Approve(t.Context(), claim.Action.ID, "operator:x"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Undo(t.Context(), leak.Action.ID, "operator:x", ""); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("undo under a newer containment: %v, want a conflict", err)
	}
	if _, err := b.Undo(t.Context(), claim.Action.ID, "operator:x", ""); err != nil {
		t.Fatal(err)
	}
	if got := b.state(); got != nhi.CredentialNarrowed {
		t.Errorf("the suspension lifted, and the credential is %s, want narrowed", got)
	}
	if f := b.finding(leak.Finding); f.Status != nhi.Open {
		t.Errorf("the leak is %s although its containment stands", f.Status)
	}
	if len(b.log.lifted) != 0 {
		t.Error("the leak is forgiven although its containment stands")
	}
	if _, err := b.Undo(t.Context(), leak.Action.ID, "operator:x", ""); err != nil {
		t.Fatal(err)
	}
	if b.state() != nhi.CredentialActive || b.finding(leak.Finding).Status != nhi.Resolved || len(b.log.lifted) != 1 {
		t.Errorf("lifted: %s, %s, %v", b.state(), b.finding(leak.Finding).Status, b.log.lifted)
	}
	if leaked, err := b.kept.Leaked(t.Context()); err != nil || len(leaked) != 0 {
		t.Errorf("still leaked: %v, %v", leaked, err)
	}
}

func TestUndoNeverRevivesWhatSomebodyElseKilled(t *testing.T) {
	b := newBench(t)
	leak := b.sighted(b.seen(nhi.Confirmed, "a"))
	_, err := b.db.Write(t.Context(), func(tx *store.Tx) error {
		c, err := storeinventory.GetCredential(t.Context(), tx, b.cred.ID)
		if err != nil {
			return err
		}
		c.State = nhi.CredentialRevoked
		return storeinventory.PutCredential(t.Context(), tx, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Undo(t.Context(), leak.Action.ID, "operator:x", ""); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("undo of a revoked credential: %v, want a conflict", err)
	}
	if got := b.state(); got != nhi.CredentialRevoked {
		t.Errorf("the credential is %s", got)
	}
	if _, err := b.Undo(t.Context(), "no such action", "operator:x", ""); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("undo of nothing: %v", err)
	}
}

func TestAFloodOfClaimsIsOneFindingADay(t *testing.T) {
	b := newBench(t)
	for i := range 30 {
		b.sighted(b.seen(nhi.Unproven, fmt.Sprint("place ", i)))
		b.sighted(b.seen(nhi.Forged, fmt.Sprint("place ", i)))
	}
	all, total, err := b.kept.Findings(t.Context(), "", "", b.cred.ID, nil, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if total != 2 || all[0].Count != 30 || all[1].Count != 30 || len(all[0].Events) > maxCited {
		t.Errorf("findings %+v", all)
	}
	if actions, err := b.kept.Recent(t.Context(), nil, 100); err != nil || len(actions) != 1 {
		t.Errorf("%d proposals, %v", len(actions), err)
	}
	if b.state() != nhi.CredentialActive {
		t.Errorf("the credential is %s", b.state())
	}
}

func TestAClaimAboutADeadCredentialProposesNothing(t *testing.T) {
	b := newBench(t)
	b.sighted(b.seen(nhi.Confirmed, "a"))
	if out := b.sighted(b.seen(nhi.Unproven, "b")); out.Action.ID != "" || out.Finding == "" {
		t.Errorf("outcome %+v", out)
	}
}

func TestAProvenSightingIsLeakedWhateverWasBelievedOfItBefore(t *testing.T) {
	b := newBench(t)
	s := b.seen(nhi.Unknown, "a")
	s.Credential, s.Identity = "", ""
	b.sighted(s) // before the key was registered
	s.Verdict, s.Credential, s.Identity = nhi.Confirmed, b.cred.ID, b.cred.Identity
	if out := b.sighted(s); out.Action.Status != nhi.ActionDone {
		t.Errorf("outcome %+v", out)
	}
	if leaked, err := b.kept.Leaked(t.Context()); err != nil || len(leaked) != 1 {
		t.Errorf("leaked %v, %v", leaked, err)
	}
	if err := Forget(t.Context(), b.db, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if leaked, _ := b.kept.Leaked(t.Context()); len(leaked) != 1 {
		t.Error("a leak of ours is forgotten with other people's")
	}
}

func TestFindingsMerge(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		old   nhi.Finding
		seen  nhi.Finding
		want  nhi.FindingStatus
		count int
	}{
		{"an open one grows", nhi.Finding{Status: nhi.Open, Count: 1}, nhi.Finding{Count: 3}, nhi.Open, 3},
		{"an older view does not shrink it", nhi.Finding{Status: nhi.Open, Count: 5}, nhi.Finding{Count: 3}, nhi.Open, 5},
		{"acknowledged stays so", nhi.Finding{Status: nhi.Acknowledged, Count: 1}, nhi.Finding{Count: 3, LastSeen: at}, nhi.Acknowledged, 3},
		{"dismissed is never opened again", nhi.Finding{Status: nhi.Dismissed, Settled: at, Count: 1}, nhi.Finding{Count: 3, LastSeen: at.Add(time.Hour)}, nhi.Dismissed, 3},
		{"resolved opens again when it goes on", nhi.Finding{Status: nhi.Resolved, Settled: at, Count: 1}, nhi.Finding{Count: 3, LastSeen: at.Add(time.Second)}, nhi.Open, 3},
		{"resolved stays so for what happened before", nhi.Finding{Status: nhi.Resolved, Settled: at, Count: 1}, nhi.Finding{Count: 3, LastSeen: at}, nhi.Resolved, 3},
		{"a repeated view opens nothing", nhi.Finding{Status: nhi.Resolved, Settled: at, Count: 3}, nhi.Finding{Count: 3, LastSeen: at.Add(time.Second)}, nhi.Resolved, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.old.Action, tt.old.DetectedAt, tt.old.FirstSeen = "act", at, at.Add(-time.Hour)
			tt.seen.Status, tt.seen.DetectedAt, tt.seen.FirstSeen = nhi.Open, at.Add(time.Hour), at
			got := merge(tt.old, tt.seen)
			if got.Status != tt.want || got.Count != tt.count || got.Action != "act" || !got.DetectedAt.Equal(at) || !got.FirstSeen.Equal(at.Add(-time.Hour)) {
				t.Errorf("merge = %+v, want %s and %d", got, tt.want, tt.count)
			}
		})
	}
}

func TestWhatHappenedBeforeALiftIsNoNewsAfterwards(t *testing.T) {
	b := newBench(t)
	leak := b.sighted(b.seen(nhi.Confirmed, "a"))
	before := time.Now()
	if _, err := b.Undo(t.Context(), leak.Action.ID, "operator:x", ""); err != nil {
		t.Fatal(err)
	}
	told := 0
	save := func(id string, at time.Time) nhi.FindingStatus {
		f := nhi.Finding{ID: id, Rule: "DET-02", Severity: nhi.Critical, Status: nhi.Open, Identity: b.cred.Identity, Credential: b.cred.ID, LastSeen: at, DetectedAt: time.Now()}
		err := b.kept.SaveFindings(t.Context(), []nhi.Finding{f}, func(nhi.Finding) []nhi.Notice { told++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return b.finding(id).Status
	}
	if got := save("before", before); got != nhi.Resolved || told != 0 {
		t.Errorf("what was done before: %s, told %d times", got, told)
	}
	if got := save("after", time.Now().Add(time.Second)); got != nhi.Open || told != 1 {
		t.Errorf("what is done afterwards: %s, told %d times", got, told)
	}
}
