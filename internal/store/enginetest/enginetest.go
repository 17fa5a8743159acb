// Package enginetest runs the tests of a domain's tables on every engine: a
// package says so once, with
//
//	func TestMain(m *testing.M) { enginetest.Main(m) }
//
// and opens its stores with [Open]. Its tests then run once on SQLite and once
// on PostgreSQL. Where PostgreSQL is not installed the second run is left out,
// and said so, but never in CI.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/postgres"
	"github.com/muster-id/muster/internal/store/postgres/pgtest"
	"github.com/muster-id/muster/internal/store/sqlite"
)

// onPostgres is set between the runs of the tests, never during one.
var onPostgres bool

// databases are the addresses that stand for folders.
var databases sync.Map

// Main runs the tests of the package on each engine and ends the process.
func Main(m *testing.M) {
	code := m.Run()
	switch {
	case code != 0:
	case pgtest.Bin() == "" && os.Getenv("CI") == "" && os.Getenv("MUSTER_NEED_POSTGRES") == "":
		fmt.Println("not run on PostgreSQL, which is not installed; on Debian: apt-get install postgresql")
	default:
		onPostgres = true
		if code = m.Run(); code != 0 {
			fmt.Println("the above failed on PostgreSQL")
		}
	}
	os.Exit(code)
}

// Open opens the store that dir stands for on the engine under test. The same
// dir is the same store.
func Open(t testing.TB, dir string) (*store.DB, error) {
	t.Helper()
	if !onPostgres {
		Fill(t, dir)
		return sqlite.Open(t.Context(), sqlite.Settings{Dir: dir})
	}
	at, ok := databases.Load(dir)
	if !ok {
		from, err := migratedDatabase(t)
		if err != nil {
			return nil, err
		}
		at, _ = databases.LoadOrStore(dir, pgtest.Copy(t, from))
	}
	return postgres.Open(t.Context(), postgres.Settings{URL: at.(string)})
}

// Fill puts an empty SQLite database of the newest schema into dir, unless one
// is there. All of a process are copies of one: to migrate each of them anew
// takes a third of a second under the race detector, which is most of what a
// small test costs.
func Fill(t testing.TB, dir string) {
	t.Helper()
	file := filepath.Join(dir, sqlite.File)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	content, err := migratedFile()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		t.Fatalf("fill %s: %v", dir, err)
	}
}

var migratedFile = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "muster-migrated-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(context.Background(), sqlite.Settings{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // which puts everything into the one file
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, sqlite.File))
})

// migrated is the address of the PostgreSQL database that others are copies of.
var migrated struct {
	once sync.Once
	at   string
	err  error
}

func migratedDatabase(t testing.TB) (string, error) {
	t.Helper()
	migrated.once.Do(func() {
		migrated.at = pgtest.Database(t)
		var db *store.DB
		if db, migrated.err = postgres.Open(context.Background(), postgres.Settings{URL: migrated.at}); migrated.err == nil {
			migrated.err = db.Close() // nobody may be connected to what is copied
		}
	})
	return migrated.at, migrated.err
}

// Postgres reports whether the tests run on PostgreSQL.
func Postgres() bool { return onPostgres }

// CPU is the processor time that this process and its PostgreSQL have used.
func CPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano()+u.Stime.Nano()) + pgtest.CPU()
}
