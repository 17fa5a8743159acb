package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/sqlite"
	"github.com/muster-id/muster/internal/store/storetest"
)

func TestSQLiteIsAStore(t *testing.T) {
	storetest.Run(t, storetest.Kit{
		Open: func(ctx context.Context, dir string) (*store.DB, error) {
			return sqlite.Open(ctx, sqlite.Settings{Dir: dir})
		},
		Small: func(ctx context.Context, dir string) (*store.DB, error) {
			return sqlite.Open(ctx, sqlite.Settings{Dir: dir, MaxBytes: 1 << 20})
		},
		Says: true,
	})
}

func open(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestASecondServerOnTheFolderIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	_, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: dir})
	if !errors.Is(err, nhi.ErrConflict) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use by another") {
		t.Errorf("err = %v, want a conflict that names %s", err, dir)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestAFolderOfANewerVersionIsRefusedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", filepath.Join(dir, sqlite.File))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(`INSERT INTO migration (number, name, sum, program, applied) VALUES (9000, 'future', 'x', '9.9', 1)`); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the refusal frees the folder each time
		_, err = sqlite.Open(t.Context(), sqlite.Settings{Dir: dir, Settings: store.Settings{Program: "1.2"}})
		if !errors.Is(err, nhi.ErrConflict) || !strings.Contains(err.Error(), "muster 9.9") || !strings.Contains(err.Error(), "muster 1.2") || !strings.Contains(err.Error(), dir) {
			t.Errorf("err = %v, want a conflict that names the folder and both versions", err)
		}
	}
}

func TestOnlyTheOwnerCanReadTheFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20c?d#e", "data") // also: no sign of a name is taken for syntax
	db := open(t, dir)
	_, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.Change("test", "k", 1) })
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, sqlite.File)); err != nil {
		t.Errorf("the database is elsewhere: %v", err)
	}
}

func TestAFileThatIsNoDatabaseIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, sqlite.File), []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if db, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("err = %v, want one that names the folder", err)
		db.Close()
	}
}

// BenchmarkWrite writes one row and its change from several goroutines: the
// sync to disk is shared.
func BenchmarkWrite(b *testing.B) {
	db, err := sqlite.Open(b.Context(), sqlite.Settings{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := db.Write(b.Context(), func(tx *store.Tx) error {
				if err := tx.SetPosition(b.Context(), "c", 1); err != nil {
					return err
				}
				return tx.Change("test", "k", 1)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	db, err := sqlite.Open(b.Context(), sqlite.Settings{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	b.ReportAllocs()
	for b.Loop() {
		err := db.Read(b.Context(), func(tx *store.Tx) error {
			_, err := tx.Position(b.Context(), "c")
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
