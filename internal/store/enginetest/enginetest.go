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
	"fmt"
	"os"
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
		return sqlite.Open(t.Context(), sqlite.Settings{Dir: dir})
	}
	at, ok := databases.Load(dir)
	if !ok {
		at, _ = databases.LoadOrStore(dir, pgtest.Database(t))
	}
	return postgres.Open(t.Context(), postgres.Settings{URL: at.(string)})
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
