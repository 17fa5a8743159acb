package snapshot

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/respond"
)

// promotion is one that began a while ago.
func promotion(id string, started time.Time) *Promotion {
	return &Promotion{
		Promotion: nhi.Promotion{
			ID: id, Sequence: 1, Digest: digest("b"), Former: digest("a"), Author: "person:'; DROP TABLE promotion; --", Started: started, Since: started, Beat: started,
			Plan: nhi.PromotionPlan{Shadow: time.Hour, Stages: []int{1, 50}, Threshold: 3}, Key: []byte{0, 1, 255}, Gate: nhi.PromotionShadow,
		},
		Found: nhi.PromotionFound{Denials: []nhi.PromotionDenial{}, Witnesses: []nhi.PromotionWitness{}},
	}
}

// moved are the promotions that the sequence of changes tells of.
func moved(t *testing.T, db *store.DB) (out []Promoted) {
	t.Helper()
	changes, err := db.Changes(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if c.Subject == nhi.SubjectPolicy && c.Key == PromotionKey {
			var p Promoted
			if err := json.Unmarshal(c.Payload, &p); err != nil {
				t.Fatal(err)
			}
			out = append(out, p)
		}
	}
	return out
}

func TestAPromotionGoesOnWhereItWas(t *testing.T) {
	db, s := open(t)
	began := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	if p, _, err := s.Promotion(t.Context()); err != nil || p.ID != "" {
		t.Fatalf("before any: %+v, %v", p, err)
	}
	add(t, s, entry("a", "", nhi.SnapshotActive))
	staged := entry("b", digest("a"), nhi.SnapshotWaiting)
	staged.Promotion = promotion("prm_1", began)
	add(t, s, staged)
	next := promotion("prm_1", began)
	next.Gate, next.Stage, next.Percent, next.Moved = nhi.PromotionStaged, 1, 50, true
	next.Acts = []nhi.Act{{Key: "prm_1:50", At: began, Act: "policy.advance", Target: digest("b")}}
	next.Notices = []nhi.Notice{{ID: "prm_1:50", Severity: nhi.High, At: began, Data: []byte(`{}`)}}
	if err := s.SavePromotion(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	got, found, err := s.Promotion(t.Context())
	if diff := cmp.Diff(next.Promotion, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(next.Found, found); diff != "" {
		t.Errorf("what it found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Promoted{{ID: "prm_1", Gate: nhi.PromotionStaged, Percent: 50}}, moved(t, db)); diff != "" {
		t.Errorf("the sequence tells (-want +got):\n%s", diff)
	}
	acts, err := respond.New(db).DueActs(t.Context(), 100)
	if err != nil || len(acts) != 3 || acts[2].Act != "policy.advance" {
		t.Errorf("due for the audit log: %+v, %v", acts, err)
	}
	// One that came after it is the one that counts, and the first stays.
	later := promotion("prm_0", began.Add(time.Second))
	if err := s.SavePromotion(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Promotion(t.Context()); err != nil || got.ID != "prm_0" {
		t.Errorf("the last is %+v, %v", got, err)
	}
}

// Somebody else was faster: what is in force is no longer what was looked at.
func TestAPromotionBeginsWithItsSnapshotOrNotAtAll(t *testing.T) {
	db, s := open(t)
	add(t, s, entry("a", "", nhi.SnapshotActive))
	staged := entry("b", digest("c"), nhi.SnapshotWaiting)
	staged.Promotion = promotion("prm_1", time.Now())
	staged.Promotion.Moved = true
	if _, err := s.Add(t.Context(), staged, nil); !errors.Is(err, nhi.ErrConflict) {
		t.Fatalf("the error is %v", err)
	}
	if p, _, err := s.Promotion(t.Context()); err != nil || p.ID != "" || len(moved(t, db)) > 0 {
		t.Errorf("there is %+v, %v", p, err)
	}
}
