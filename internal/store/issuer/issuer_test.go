package issuer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store/enginetest"
	tables "github.com/muster-id/muster/internal/store/issuer"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

var (
	_ issuer.KeyStore    = (*tables.Store)(nil)
	_ issuer.Revocations = (*tables.Store)(nil)
)

func TestRevocationsAreKeptUntilTheyAreMoot(t *testing.T) {
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var changes []nhi.Change
	db.OnCommit(func(c []nhi.Change) { changes = append(changes, c...) })
	s := tables.New(db)
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	who := nhi.IdentityID("a", "b", "c")
	token := nhi.Revocation{Token: "jti", At: at, Expires: at.Add(time.Hour), Reason: "first"}
	for _, r := range []nhi.Revocation{
		token,
		{Token: "jti", At: at.Add(-time.Minute), Expires: at.Add(time.Minute), Reason: "weaker"},
		{Key: "jkt", At: at, Expires: at.Add(-time.Second), Reason: "moot"},
		{Identity: who, At: at, Reason: "for ever"},
	} {
		if err := s.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	token.Reason = "weaker"
	want := []nhi.Revocation{{Identity: who, At: at, Reason: "for ever"}, token}
	for range 2 {
		got, err := s.Revocations(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := s.Prune(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	if len(changes) != 4 || changes[0].Subject != nhi.SubjectRevocation || changes[0].Key != "jti" {
		t.Errorf("changes %+v", changes)
	}
	for _, bad := range []nhi.Revocation{{}, {Token: "a", Key: "b"}} {
		if err := s.Revoke(t.Context(), bad); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestSealedKeysAreKept(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		db, err := enginetest.Open(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		s := tables.New(db)
		got, err := s.LoadKeys(t.Context())
		if i == 0 {
			if !errors.Is(err, nhi.ErrNotFound) {
				t.Errorf("before any: %v", err)
			}
			err = s.SaveKeys(t.Context(), []byte("sealed"))
		} else if string(got) != "sealed" {
			t.Errorf("after reopening: %q, %v", got, err)
		}
		if err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
