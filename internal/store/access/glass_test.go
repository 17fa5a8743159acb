package access_test

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	storeaccess "github.com/muster-id/muster/internal/store/access"
	"github.com/muster-id/muster/internal/store/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

type nobody struct{}

func (nobody) PointByKeyID(string) (nhi.Point, bool)           { return nhi.Point{}, false }
func (nobody) SourceByKeyID(string) (nhi.Source, bool)         { return nhi.Source{}, false }
func (nobody) CredentialByKeyID(string) (nhi.Credential, bool) { return nhi.Credential{}, false }

// guarded is a service over a database with the point "edge".
func guarded(t *testing.T) (*store.DB, *access.Service, nhi.Point) {
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
	kept := storeaccess.New(db)
	s, err := access.New(access.Config{PublicURL: "http://127.0.0.1:8700", Directory: nobody{}, Enrollments: kept, Glasses: kept, Tokens: kept, Sessions: kept, People: kept})
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := s.EnrollPoint(t.Context(), access.NewPoint{Name: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	return db, s, p
}

// known is what decisions would know of the point: the last change about it.
func known(t *testing.T, db *store.DB) (p nhi.Point) {
	t.Helper()
	changes, err := db.Changes(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if c.Subject == nhi.SubjectPoint {
			p = nhi.Point{}
			if err := json.Unmarshal(c.Payload, &p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

func TestTwoPeopleMakeACodeThatOpensItsPoint(t *testing.T) {
	db, s, p := guarded(t)
	first, g, err := s.TakeHalf(t.Context(), "edge", "per_1", "Ada")
	if err != nil || g.State != access.GlassHalf || len(known(t, db).Glass) != 0 {
		t.Fatalf("%+v, %v", g, err)
	}
	if _, _, err := s.TakeHalf(t.Context(), "edge", "per_1", "Ada"); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("one person took both halves: %v", err)
	}
	second, g, err := s.TakeHalf(t.Context(), "edge", "per_2", "Bob")
	if err != nil || g.State != access.GlassReady || len(g.Holders) != 2 || g.Holders[0].Name != "Ada" || g.Holders[1].Person != "per_2" {
		t.Fatalf("%+v, %v", g, err)
	}
	box, err := breakglass.Load(t.TempDir() + "/glass")
	if err != nil {
		t.Fatal(err)
	}
	told := known(t, db)
	o, err := box.Open(told.Glass, [2]string{second, first}, time.Hour, "the server burns")
	if err != nil || o.Serial != g.Serial || told.ID != p.ID {
		t.Fatalf("%+v, %v", o, err)
	}
	// A change of the point leaves its codes alone.
	mode := nhi.Enforce
	if changed, err := s.SetPoint(t.Context(), "edge", access.PointChange{Mode: &mode}); err != nil || len(changed.Glass) != 1 {
		t.Errorf("%+v, %v", changed, err)
	}
	for i, want := range []bool{true, false} {
		g, news, err := s.GlassUsed(t.Context(), "edge", o)
		if err != nil || news != want || g.State != access.GlassUsed || g.Reason != o.Reason || !g.Until.Equal(o.Until()) || len(known(t, db).Glass) != 0 {
			t.Errorf("report %d: news %v, %+v, %v", i+1, news, g, err)
		}
	}
	all, err := s.Glasses(t.Context(), p.ID)
	if err != nil || len(all) != 1 || all[0].Serial != g.Serial {
		t.Errorf("%+v, %v", all, err)
	}
	if other, err := s.Glasses(t.Context(), "nhi_other"); err != nil || len(other) != 0 {
		t.Errorf("%+v, %v", other, err)
	}
}

func TestAWithdrawnCodeIsGoneAndItsUseIsStillHeardOf(t *testing.T) {
	db, s, _ := guarded(t)
	if _, _, err := s.TakeHalf(t.Context(), "edge", "per_1", "Ada"); err != nil {
		t.Fatal(err)
	}
	_, g, err := s.TakeHalf(t.Context(), "edge", "per_2", "Bob")
	if err != nil {
		t.Fatal(err)
	}
	if g, err = s.WithdrawGlass(t.Context(), "edge", g.Serial); err != nil || g.State != access.GlassWithdrawn || len(known(t, db).Glass) != 0 {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := s.WithdrawGlass(t.Context(), "edge", g.Serial); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("withdrawn twice: %v", err)
	}
	for _, c := range [][2]string{{"edge", "none"}, {"none", g.Serial}} {
		if _, err := s.WithdrawGlass(t.Context(), c[0], c[1]); !errors.Is(err, nhi.ErrNotFound) {
			t.Errorf("%v: %v", c, err)
		}
	}
	// A point that was away when it was withdrawn may have used it.
	if _, news, err := s.GlassUsed(t.Context(), "edge", breakglass.Opening{Serial: g.Serial, Opened: time.Now(), For: time.Minute, Reason: "r"}); err != nil || !news {
		t.Errorf("news %v, %v", news, err)
	}
}

func TestTwoWhoTakeAHalfAtOnceGetTwoOfOneCode(t *testing.T) {
	db, s, _ := guarded(t)
	var taking sync.WaitGroup
	for _, person := range []string{"per_1", "per_2"} {
		taking.Go(func() {
			if _, _, err := s.TakeHalf(t.Context(), "edge", person, person); err != nil {
				t.Error(err)
			}
		})
	}
	taking.Wait()
	if codes := known(t, db).Glass; len(codes) != 1 {
		t.Errorf("%d codes are ready", len(codes))
	}
}

func TestAPointHasSoManyCodes(t *testing.T) {
	_, s, _ := guarded(t)
	for range 10 {
		for _, person := range []string{"per_1", "per_2"} {
			if _, _, err := s.TakeHalf(t.Context(), "edge", person, person); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, _, err := s.TakeHalf(t.Context(), "edge", "per_1", "Ada"); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("an eleventh: %v", err)
	}
}
