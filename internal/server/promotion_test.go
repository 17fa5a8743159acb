package server

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// promotion is the one under way, or the last one.
func (r *running) promotion() client.Promotion {
	r.t.Helper()
	p, err := r.api.GetPromotion(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// stage sends a policy through the gates that denies reading payments.
func (r *running) stage() client.Snapshot {
	r.t.Helper()
	n, err := r.api.PutSnapshot(r.t.Context(), client.PutSnapshot{Staged: true, Files: files("policies/a.cedar", noPayments)})
	if err != nil || n.State != "staged" {
		r.t.Fatalf("%+v, %v", n, err)
	}
	return n
}

// decides puts a decision on record about an attested workload that does its work.
func (r *running) decides(n int, who, resource, by string) { r.log.Add(worked(n, who, resource, by)) }

func worked(n int, who, resource, by string) *nhi.Decision {
	return &nhi.Decision{
		ID: fmt.Sprintf("01900000-0000-7000-8000-%012x", n), At: time.Now(), Outcome: nhi.Allow, Policy: by, Identity: nhi.ID(who), Method: "token", Assurance: nhi.AssuranceShort,
		Action: nhi.Read, Resource: resource, Reasons: []nhi.Reason{{Policy: "base-permit", Effect: "permit"}},
		Inputs: &nhi.Inputs{
			Known: true, Kind: nhi.KindWorkload, State: nhi.Active, Owned: true, Labelled: true,
			Attestation: &nhi.Attestation{Method: "kubernetes", At: time.Now()},
		},
	}
}

// tried has the shadow see enough decisions.
func (r *running) tried() {
	r.t.Helper()
	for n := range 100 {
		r.decides(n, "nhi_busy", "elsewhere", "")
	}
	r.until("decisions that were tried", func() bool { return r.promotion().Judged >= 100 })
}

// beat has the promotion go on as if it were later, to a gate.
func (r *running) beat(later time.Duration, gate string, percent int) {
	r.t.Helper()
	if err := r.library.Beat(r.t.Context(), time.Now().Add(later)); err != nil {
		r.t.Fatal(err)
	}
	if p := r.promotion(); p.Gate != gate || p.Percent != percent {
		r.t.Fatalf("after %v: %s at %d percent, want %s at %d; it waits: %v", later, p.Gate, p.Percent, gate, percent, p.Waits)
	}
}

const day = 24 * time.Hour

func TestPoliciesComeIntoForceThroughTheirGates(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	r := start(t, data)
	point, key := r.furnish()
	ask := func() int { return r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7") }
	next := r.stage()
	if got := ask(); got != http.StatusOK {
		t.Errorf("in the shadow: %d", got)
	}
	if n := r.library.Numbers(); n.Gate != nhi.PromotionShadow || n.Percent != 0 || n.Opened != 0 {
		t.Errorf("metrics in the shadow: %+v", n)
	}
	r.until("the denial in the shadow", func() bool { return r.promotion().Unexplained == 1 })
	r.tried()
	r.beat(2*day, "shadow", 0) // somebody is denied something
	r.beat(3*day, "shadow", 0)
	if _, err := r.api.StepPromotion(t.Context(), "advance", client.ActOn{}); status(err) != http.StatusConflict {
		t.Errorf("past what nobody explained: %v", err)
	}
	if d := r.promotion().Denials; len(d) != 1 || d[0].Resource != "payments/api" || d[0].Policies[0] != "no-payments" || d[0].Name != "settler" || d[0].Decided {
		t.Errorf("who is newly denied what: %+v", d)
	}
	if _, err := r.api.AcknowledgePromotion(t.Context(), client.Acknowledge{Policy: "no-payments", Reason: "payments moved"}); err != nil {
		t.Fatal(err)
	}
	r.beat(2*day, "staged", 1)
	r.beat(4*day, "staged", 10)
	if _, err := r.api.StepPromotion(t.Context(), "pause", client.ActOn{}); err != nil {
		t.Fatal(err)
	}
	if p, err := r.api.GetPromotion(t.Context()); err != nil || len(p.Holds) != 1 || p.Holds[0].Why != "paused" || !strings.Contains(p.Holds[0].Waits, "resume") {
		t.Errorf("what holds it up: %+v, %v", p.Holds, err)
	}
	r.beat(90*day, "staged", 10)
	r.beat(91*day, "staged", 10)
	r.beat(92*day, "staged", 10)
	if told := r.notices("policy.held"); len(told) != 2 || !strings.Contains(strings.Join(told, ""), "newly denied") || !strings.Contains(strings.Join(told, ""), "is paused") {
		t.Errorf("people are told of what waits for them: %q", told)
	}
	if n := r.library.Numbers(); len(n.Holds) != 1 || n.Holds[0] != nhi.HoldPaused {
		t.Errorf("metrics while it is paused: %+v", n)
	}
	if _, err := r.api.StepPromotion(t.Context(), "resume", client.ActOn{}); err != nil {
		t.Fatal(err)
	}
	r.beat(2*day, "staged", 50)
	share := r.library.Holder().Pair().Share
	r.halt()
	r = start(t, data)
	if p := r.promotion(); p.Gate != "staged" || p.Percent != 50 || p.Unexplained != 0 || len(p.Denials) != 1 || r.library.Holder().Pair().Share != share {
		t.Fatalf("after a restart in the middle: %+v", p)
	}
	want := http.StatusOK
	if share.Has(nhi.ID(r.promotion().Denials[0].Identity)) {
		want = http.StatusForbidden
	}
	if got := ask(); got != want {
		t.Errorf("at 50 percent: %d, want %d", got, want)
	}
	r.beat(6*day, "watching", 100)
	if n := r.library.Numbers(); n.Gate != nhi.PromotionWatching || n.Percent != 100 || n.Opened != 1 || n.RolledBack != 0 {
		t.Errorf("metrics while it is watched: %+v", n)
	}
	if got := ask(); got != http.StatusForbidden || r.inForce().Digest != next.Digest {
		t.Errorf("for everybody: %d", got)
	}
	r.beat(8*day, "promoted", 100)
	if got := ask(); got != http.StatusForbidden || r.library.Holder().Pair().Rival.Set != nil {
		t.Errorf("promoted: %d", got)
	}
	acts := r.acts()
	if acts["policy.promote"] != 1 || acts["policy.promotion.acknowledge"] != 1 || acts["policy.promotion.advance"] != 5 || acts["policy.promotion.pause"] != 1 {
		t.Errorf("acts: %v", acts)
	}
}

func TestAPromotionIsRolledBackByItself(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	point, key := r.furnish()
	former := r.push("policies/b.cedar", narrow("b"))
	next := r.stage()
	r.tried()
	r.beat(2*day, "staged", 1)
	for n := range 50 { // a thief with one attested identity that he stole
		r.decides(1000+n, "nhi_stolen", "payments/api", next.Effective)
	}
	r.until("one witness", func() bool { p := r.promotion(); return len(p.Witnesses) == 1 && p.Judged >= 150 })
	if p := r.promotion(); p.Gate != "staged" {
		t.Fatalf("one identity took it back: %+v", p)
	}
	r.decides(2000, "nhi_b", "payments/api", next.Effective)
	r.decides(2001, "nhi_c", "payments/api", next.Effective)
	r.until("the roll-back", func() bool { return r.promotion().Gate == "rolled-back" })
	p := r.promotion()
	if p.Running || !strings.Contains(p.Why, "3 attested identities") || !strings.Contains(p.Why, "0000000007d1") || len(p.Witnesses) != 3 || p.Ended == nil {
		t.Errorf("%+v", p)
	}
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK || r.inForce().Digest != former.Digest {
		t.Errorf("after the roll-back: %d", got)
	}
	if n, err := r.api.GetSnapshot(t.Context(), next.Digest); err != nil || n.State != "withdrawn" {
		t.Errorf("%+v, %v", n.Snapshot, err)
	}
	if got := r.notices("policy.rolled-back"); len(got) != 1 {
		t.Errorf("notices: %v", got)
	}
	r.until("the roll-back in the audit log", func() bool { return r.acts()["policy.promotion.rollback"] == 1 })
}

// TestACrashDoesNotBringBackWhatWasRolledBack ends a server after the decisions that
// took its promotion back were on record, and before anything else was.
func TestACrashDoesNotBringBackWhatWasRolledBack(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	r := start(t, data)
	point, key := r.furnish()
	former := r.push("policies/b.cedar", narrow("b"))
	next := r.stage()
	r.tried()
	r.beat(2*day, "staged", 1)
	lives := 0
	dies := func(who ...string) {
		t.Helper()
		r.halt()
		lives++
		j, err := journal.Open(filepath.Join(data, "decisions"), journal.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		for n, who := range who {
			if err := j.AppendAsync(logbook.Append(nil, worked(5000+100*lives+n, who, "payments/api", next.Effective))); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		r = start(t, data)
	}
	dies("nhi_a", "nhi_b", "nhi_b", "nhi_b")
	if p := r.promotion(); p.Gate != "staged" || len(p.Witnesses) != 2 {
		t.Fatalf("two identities are not enough: %+v", p)
	}
	dies("nhi_a", "nhi_b", "nhi_c")
	if pair := r.library.Holder().Pair(); pair.Rival.Set != nil || pair.Set.Digest() != former.Effective {
		t.Error("the new policies decide again")
	}
	r.until("the roll-back", func() bool { return r.promotion().Gate == "rolled-back" })
	if p := r.promotion(); !strings.Contains(p.Why, "3 attested identities") || len(p.Witnesses) != 3 || r.library.Numbers().RolledBack != 1 {
		t.Errorf("%+v", p)
	}
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Errorf("after the roll-back: %d", got)
	}
	if n, err := r.api.GetSnapshot(t.Context(), next.Digest); err != nil || n.State != "withdrawn" || len(r.notices("policy.rolled-back")) != 1 {
		t.Errorf("%+v, %v", n.Snapshot, err)
	}
}

func TestAPromotionIsRolledBackWhileItIsWatched(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	former := r.push("policies/b.cedar", narrow("b"))
	next := r.stage()
	r.tried()
	for i, percent := range []int{1, 10, 50} {
		r.beat(time.Duration(2+2*i)*day, "staged", percent)
	}
	r.beat(8*day, "watching", 100)
	for n, who := range []string{"nhi_a", "nhi_b", "nhi_c"} {
		r.decides(3000+n, who, "payments/api", next.Effective)
	}
	r.until("the roll-back", func() bool { return r.promotion().Gate == "rolled-back" })
	now := r.inForce()
	if now.Digest != former.Digest || now.Parent != next.Digest || now.Sequence != next.Sequence+1 || now.Author != "server" {
		t.Errorf("in force: %+v", now)
	}
	if set := r.library.Holder().Set(); set.Digest() != former.Effective {
		t.Errorf("decisions are by %s, want %s", set.Digest(), former.Effective)
	}
}

func TestTwoAdministratorsAtOnceStartOnePromotion(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	var working sync.WaitGroup
	codes := make([]int, 4)
	for i := range codes {
		working.Go(func() {
			n, err := r.api.PutSnapshot(t.Context(), client.PutSnapshot{Staged: true, Files: files("policies/a.cedar", narrow(fmt.Sprint("a", i)))})
			if codes[i] = status(err); err == nil && n.State == "staged" {
				codes[i] = http.StatusOK
			}
		})
	}
	working.Wait()
	staged := 0
	for _, code := range codes {
		switch code {
		case http.StatusOK:
			staged++
		case http.StatusConflict:
		default:
			t.Errorf("codes %v", codes)
		}
	}
	if staged != 1 {
		t.Errorf("%d promotions began: %v", staged, codes)
	}
	r.push("policies/b.cedar", narrow("b"))
	if p := r.promotion(); p.Gate != "outdated" || p.Running || r.library.Holder().Pair().Rival.Set != nil {
		t.Errorf("something else was put into force: %+v", p)
	}
	if _, err := r.api.StepPromotion(t.Context(), "abort", client.ActOn{}); status(err) != http.StatusConflict {
		t.Errorf("abort of none: %v", err)
	}
}

func TestWhereGatesAreRequiredNobodyGoesAround(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), func(c *config.Config) { c.Promotion.Required = true; c.Promotion.Decisions = 1 })
	if _, err := r.api.PutSnapshot(t.Context(), client.PutSnapshot{Files: files("policies/a.cedar", narrow("a"))}); status(err) != http.StatusConflict {
		t.Errorf("a plain push: %v", err)
	}
	if err := r.api.Do(t.Context(), http.MethodPut, "/v1/documents/policies.cedar", "text/plain", strings.NewReader(narrow("a")), nil); status(err) != http.StatusConflict {
		t.Errorf("a document: %v", err)
	}
	_, ada := r.administrator("ada")
	_, mara := r.administrator("mara")
	if _, err := ada.PutSnapshot(t.Context(), client.PutSnapshot{Staged: true, Files: files("policies/a.cedar", narrow("a"))}); err != nil {
		t.Fatal(err)
	}
	for name, by := range map[string]*client.Client{"the author": ada, "a token that several may hold": r.api} {
		if _, err := by.StepPromotion(t.Context(), "advance", client.ActOn{}); status(err) != http.StatusForbidden {
			t.Errorf("%s opens a gate before its time: %v", name, err)
		}
	}
	if p, err := mara.StepPromotion(t.Context(), "advance", client.ActOn{Reason: "seen"}); err != nil || p.Percent != 1 {
		t.Errorf("another administrator: %+v, %v", p, err)
	}
}

func TestAnAbortThatCannotBeStoredEndsAPromotionAllTheSame(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	r.stage()
	r.tried()
	if _, err := r.api.AcknowledgePromotion(t.Context(), client.Acknowledge{Policy: "no-payments", Reason: "meant"}); err != nil {
		t.Fatal(err)
	}
	r.beat(2*day, "staged", 1)
	gone, cancel := context.WithCancel(t.Context()) // of who aborts, and does not wait for the answer
	cancel()
	if err := r.library.Promote(gone, frame.Caller{Kind: "operator", Name: "ada"}, "abort", "the till stopped"); err == nil {
		t.Fatal("an abort that could not be stored succeeded")
	}
	for _, step := range []string{"advance", "resume", "pause"} {
		if _, err := r.api.StepPromotion(t.Context(), step, client.ActOn{}); status(err) != http.StatusConflict {
			t.Errorf("%s of what was aborted: %v", step, err)
		}
	}
	r.beat(4*day, "aborted", 0)
	if p := r.promotion(); p.Running || !strings.Contains(p.Why, "the till stopped") || r.library.Holder().Pair().Rival.Set != nil {
		t.Errorf("%+v", p)
	}
	if acts := r.acts(); acts["policy.promotion.abort"] != 1 {
		t.Errorf("acts: %v", acts)
	}
}

func TestWhatWasTakenBackComesIntoForceOnlyThroughItsGates(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), func(c *config.Config) { c.Promotion.Required = true; c.Promotion.Decisions = 1 })
	before := r.inForce()
	next := r.stage()
	r.tried()
	for i, percent := range []int{1, 10, 50} {
		r.beat(time.Duration(2+2*i)*day, "staged", percent)
	}
	r.beat(8*day, "watching", 100)
	for n, who := range []string{"nhi_a", "nhi_b", "nhi_c"} {
		r.decides(4000+n, who, "payments/api", next.Effective)
	}
	r.until("the roll-back", func() bool { return r.promotion().Gate == "rolled-back" })
	if n, err := r.api.ActivateSnapshot(t.Context(), next.Digest, client.ActOn{Reason: "once more"}); status(err) != http.StatusConflict {
		t.Errorf("what was rolled back is in force again without a gate: %s, %v", n.State, err)
	}
	if now := r.inForce(); now.Digest != before.Digest {
		t.Errorf("in force: %s, want %s", now.Digest, before.Digest)
	}
}

func TestGatesHoldForWhatWaitedWhenTheyWereMadeCompulsory(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	r := start(t, data)
	_, ada := r.administrator("ada")
	r.administrator("mara")
	n, err := ada.PutSnapshot(t.Context(), client.PutSnapshot{Files: files("policies/a.cedar", open("a"))})
	if err != nil || n.State != "waiting" {
		t.Fatalf("%+v, %v", n, err)
	}
	r.halt()
	r = start(t, data, func(c *config.Config) { c.Promotion.Required = true })
	if n, err = r.browsing("mara").ConfirmSnapshot(t.Context(), n.Digest); err != nil || n.State != "staged" || r.promotion().Gate != "shadow" {
		t.Errorf("%s, %v", n.State, err)
	}
}

func TestARollbackAtTheLastMomentIsNotTakenForDone(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	former := r.inForce()
	r.stage()
	r.tried()
	for i, percent := range []int{1, 10, 50} {
		r.beat(time.Duration(2+2*i)*day, "staged", percent)
	}
	r.beat(8*day, "watching", 100)
	// The decision that takes it back has done so, and the next beat comes first.
	if !r.library.Holder().Revert(r.library.Holder().Pair().Share.Key) {
		t.Fatal("nothing was taken back")
	}
	r.beat(10*day, "watching", 100)
	if _, err := r.api.StepPromotion(t.Context(), "abort", client.ActOn{}); err != nil {
		t.Fatal(err)
	}
	if now := r.inForce(); now.Digest != former.Digest || r.library.Holder().Set().Digest() != former.Effective {
		t.Errorf("in force: %s, and decisions are by %s", now.Digest, r.library.Holder().Set().Digest())
	}
}
