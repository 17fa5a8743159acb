package recall

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/sqlite"
)

func open(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func put(t *testing.T, db *store.DB, names ...string) {
	t.Helper()
	_, err := db.Write(t.Context(), func(tx *store.Tx) error {
		for _, name := range names {
			if err := tx.Change(nhi.SubjectResource, name, nhi.Resource{Name: name, Sensitivity: 4}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// keeper is one start: its tables are the whole sequence of changes.
func keeper(t *testing.T, db *store.DB, path string) *Keeper {
	t.Helper()
	k := &Keeper{DB: db, Facts: facts.New(), Path: path, Key: []byte("key"), Basis: func() [32]byte { return [32]byte{} }}
	k.Tables = func(ctx context.Context) error {
		changes, err := db.Changes(ctx, 0, 1000)
		if err != nil {
			return err
		}
		l := k.Facts.Begin()
		defer l.Abandon()
		for _, c := range changes {
			l.Resource(&nhi.Resource{Name: c.Key, Sensitivity: 4})
		}
		return l.Commit(db.Generation())
	}
	return k
}

func load(t *testing.T, k *Keeper, want string, resources ...string) {
	t.Helper()
	how, err := k.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(how, want) {
		t.Errorf("the facts come from %q, want %q", how, want)
	}
	if k.Facts.Counts().Resources != len(resources) || k.Facts.Generation() != k.DB.Generation() || k.Facts.Stale() != "" {
		t.Errorf("%d resources at generation %d of %d, stale %q", k.Facts.Counts().Resources, k.Facts.Generation(), k.DB.Generation(), k.Facts.Stale())
	}
	for _, name := range resources {
		if _, ok := k.Facts.Resource(name); !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestAStartIsTheImageAndTheTail(t *testing.T) {
	db, path := open(t, t.TempDir()), filepath.Join(t.TempDir(), "image")
	put(t, db, "a", "b")
	k := keeper(t, db, path)
	load(t, k, "no image", "a", "b")
	if err := k.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	load(t, keeper(t, db, path), "image", "a", "b")
	put(t, db, "c")
	load(t, keeper(t, db, path), "image", "a", "b", "c")
}

func TestAnImageThatDoesNotFitIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	db, path := open(t, dir), filepath.Join(t.TempDir(), "image")
	put(t, db, "a")
	k := keeper(t, db, path)
	load(t, k, "no image", "a")
	if err := k.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := open(t, t.TempDir())
	put(t, other, "x")
	load(t, keeper(t, other, path), "another database", "x")

	relabelled := keeper(t, db, path)
	relabelled.Basis = func() [32]byte { return [32]byte{1} }
	load(t, relabelled, "other settings", "a")

	// The database is put back to before the image, and goes another way.
	back := open(t, t.TempDir())
	name, err := db.Installation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := back.Installation(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := back.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE installation SET name = $1", name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	load(t, keeper(t, back, path), "newer than the database")
	put(t, back, "another a")
	load(t, keeper(t, back, path), "another history", "another a")

	if _, err := db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "DELETE FROM change WHERE seq = 1")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	gone := keeper(t, db, path)
	if how, err := gone.Load(t.Context()); err != nil || how == "image" {
		t.Errorf("with the change pruned: %q, %v", how, err)
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	load(t, keeper(t, back, path), "not an image", "another a")
}

func TestAnImageIsWrittenAtTheStopAndItsFailureIsNoFailureOfTheStop(t *testing.T) {
	db, path := open(t, t.TempDir()), filepath.Join(t.TempDir(), "image")
	put(t, db, "a")
	k := keeper(t, db, path)
	load(t, k, "no image", "a")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := k.Run(ctx); err != nil {
		t.Fatal(err)
	}
	load(t, keeper(t, db, path), "image", "a")
	lost := keeper(t, db, filepath.Join(t.TempDir(), "no folder", "image"))
	load(t, lost, "no image", "a")
	if err := lost.Run(ctx); err != nil {
		t.Errorf("a stop fails with %v", err)
	}
	if lost.State(t.Context()).Why == "" {
		t.Error("nothing tells that the image cannot be written")
	}
}
