package activity

import (
	"testing"
	"time"

	"github.com/muster-id/muster/internal/store/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

func TestAPieceIsKeptOnceUntilItIsOld(t *testing.T) {
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	count := func(want uint64) {
		t.Helper()
		if n, err := Count(t.Context(), db); err != nil || n != want {
			t.Errorf("%d pieces (%v), want %d", n, err, want)
		}
	}
	for range 2 {
		err := Keep(t.Context(), db, []Piece{
			{ID: "old", Source: "src", At: at, Reason: "no record", Line: 1, Size: 3, Sealed: []byte{0, 1, 2}}, {ID: "new", Source: "src", At: at.Add(time.Hour), Sealed: []byte{3}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count(2)
	if err := Forget(t.Context(), db, at.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	count(1)
	if err := Keep(t.Context(), db, nil); err != nil {
		t.Error(err)
	}
}
