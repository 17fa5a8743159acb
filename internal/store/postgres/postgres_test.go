package postgres_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/postgres"
	"github.com/muster-id/muster/internal/store/postgres/pgtest"
	"github.com/muster-id/muster/internal/store/sqlite"
	"github.com/muster-id/muster/internal/store/storetest"
)

// urlFile, in a folder of the kit, holds the address of its database.
const urlFile = "url"

func openIn(ctx context.Context, dir string) (*store.DB, error) {
	at, err := os.ReadFile(filepath.Join(dir, urlFile))
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Settings{URL: string(at)})
}

func TestPostgreSQLIsAStore(t *testing.T) {
	var cluster *pgtest.Cluster
	if os.Getenv(storetest.ChildDir) == "" {
		cluster = pgtest.New(t, false)
	}
	place := func(dir string) error {
		file := filepath.Join(dir, urlFile)
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		sum := fnv.New64a()
		sum.Write([]byte(dir))
		name := fmt.Sprintf("kit%x", sum.Sum64())
		cluster.Create(t, name)
		return os.WriteFile(file, []byte(cluster.URL(name)), 0o600)
	}
	storetest.Run(t, storetest.Kit{
		Open: func(ctx context.Context, dir string) (*store.DB, error) {
			if cluster != nil {
				cluster.Room(t, 0)
				if err := place(dir); err != nil {
					return nil, err
				}
			}
			return openIn(ctx, dir)
		},
		Small: func(ctx context.Context, dir string) (*store.DB, error) {
			if err := place(dir); err != nil {
				return nil, err
			}
			cluster.Room(t, 5<<20) // a segment of the log must fit
			return openIn(ctx, dir)
		},
	})
}

func open(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := postgres.Open(context.Background(), postgres.Settings{URL: url, Settings: store.Settings{Patience: 10 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestAnExportGoesThroughBothEnginesAndComesBackEqual(t *testing.T) {
	for seed := range uint64(2) {
		dir := t.TempDir()
		first, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		storetest.Fill(t, first, seed)
		whole, want := storetest.Dump(t, first)
		second := open(t, pgtest.Database(t))
		if _, err := second.Import(t.Context(), strings.NewReader(whole)); err != nil {
			t.Fatal(err)
		}
		through, got := storetest.Dump(t, second)
		if got != want {
			t.Fatalf("seed %d: SQLite to PostgreSQL (-want +got):\n%s", seed, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
		}
		third, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer third.Close()
		if _, err := third.Import(t.Context(), strings.NewReader(through)); err != nil {
			t.Fatal(err)
		}
		if _, got := storetest.Dump(t, third); got != want {
			t.Errorf("seed %d: back to SQLite: not equal", seed)
		}
	}
}

func TestASecondServerOnTheDatabaseIsRefusedByName(t *testing.T) {
	at := pgtest.Database(t)
	first := open(t, at)
	_, err := postgres.Open(t.Context(), postgres.Settings{URL: at})
	if !errors.Is(err, nhi.ErrConflict) || !strings.Contains(err.Error(), "in use by another muster server") || !strings.Contains(err.Error(), "this machine") {
		t.Errorf("err = %v, want a conflict that names the other", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, at)
}

func put(ctx context.Context, db *store.DB, name string, n uint64) error {
	_, err := db.Write(ctx, func(tx *store.Tx) error {
		if err := tx.SetPosition(ctx, name, n); err != nil {
			return err
		}
		return tx.Change("test", name, n)
	})
	return err
}

// TestARestartOfPostgreSQLIsWaitedFor restarts the server while one writes.
func TestARestartOfPostgreSQLIsWaitedFor(t *testing.T) {
	cluster := pgtest.New(t, false)
	cluster.Create(t, "m")
	db := open(t, cluster.URL("m"))
	if err := put(t.Context(), db, "a", 1); err != nil {
		t.Fatal(err)
	}
	cluster.Stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := put(t.Context(), db, "a", 2); err != nil {
			t.Errorf("a write during a restart: %v", err)
		}
	})
	wg.Go(func() {
		if _, err := db.Changes(t.Context(), 0, 10); err != nil {
			t.Errorf("a read during a restart: %v", err)
		}
	})
	cluster.Start(t)
	wg.Wait()
	if err := db.Health().Err; err != nil {
		t.Errorf("health: %v", err)
	}
}

// TestTheStateSaysWhatIsWrongUntilPostgreSQLIsBack looks at what /readyz shows.
func TestTheStateSaysWhatIsWrongUntilPostgreSQLIsBack(t *testing.T) {
	cluster := pgtest.New(t, false)
	cluster.Create(t, "m")
	db, err := postgres.Open(t.Context(), postgres.Settings{URL: cluster.URL("m"), Settings: store.Settings{Patience: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.Watch(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer stop()
	cluster.Stop()
	wait(t, "the state to fail", func() bool { return db.Health().Err != nil })
	if text := db.Health().Err.Error(); !strings.Contains(text, "cannot be reached") || !strings.Contains(text, "tried again every second") {
		t.Errorf("state: %s", text)
	}
	if err := put(ctx, db, "a", 1); !errors.Is(err, nhi.ErrUnavailable) {
		t.Errorf("a write while it is down: %v", err)
	}
	if _, err := db.Changes(ctx, 0, 1); !errors.Is(err, nhi.ErrUnavailable) {
		t.Errorf("a read while it is down: %v", err)
	}
	cluster.Start(t)
	wait(t, "the state to be well", func() bool { return db.Health().Err == nil })
	if err := put(ctx, db, "a", 2); err != nil {
		t.Errorf("a write after it is back: %v", err)
	}
}

// wait waits for what happens in another process.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	until := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
		runtime.Gosched()
		<-time.After(10 * time.Millisecond)
	}
}

// TestAServerThatLostTheDatabaseToAnotherWritesNoMore is the split brain: the
// session that holds the lock is ended, another server takes the database.
func TestAServerThatLostTheDatabaseToAnotherWritesNoMore(t *testing.T) {
	cluster := pgtest.New(t, false)
	cluster.Create(t, "m")
	first := open(t, cluster.URL("m"))
	if err := put(t.Context(), first, "a", 1); err != nil {
		t.Fatal(err)
	}
	cluster.Exec(t, "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'm'`)
	second := open(t, cluster.URL("m"))
	if err := put(t.Context(), second, "a", 7); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), first, "a", 2); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("the first still writes, while the second has the lock: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := put(t.Context(), first, "a", 3)
		if !errors.Is(err, nhi.ErrConflict) || !strings.Contains(err.Error(), "restart") {
			t.Errorf("the first writes over the second's rows: %v", err)
		}
	}
	if err := first.Health().Err; !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("health: %v", err)
	}
}

// TestNothingIsLostOrDoubledWhenPostgreSQLIsKilled kills the server and all its
// sessions at random moments under load, with fsync on. Each writer counts up
// from what it was told, so that a commit done and reported as failed shows as
// a step of two, and one reported and lost as a step back.
func TestNothingIsLostOrDoubledWhenPostgreSQLIsKilled(t *testing.T) {
	cluster := pgtest.New(t, true)
	cluster.Create(t, "m")
	db := open(t, cluster.URL("m"))
	var mu sync.Mutex
	var heard []nhi.Generation
	db.OnCommit(func(cs []nhi.Change) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range cs {
			heard = append(heard, c.Seq)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var done atomic.Uint64
	acked := make([]uint64, 6)
	var wg sync.WaitGroup
	for w := range acked {
		wg.Go(func() {
			name := fmt.Sprint("w", w)
			for ctx.Err() == nil {
				if count(t, db, name, acked[w]) {
					acked[w]++
					done.Add(1)
				}
			}
		})
	}
	for range 6 {
		next := done.Load() + 20 + uint64(rand.IntN(100))
		wait(t, "some writes", func() bool { return done.Load() >= next })
		cluster.Kill()
		cluster.Start(t)
	}
	next := done.Load() + 20
	wait(t, "writes after the last kill", func() bool { return done.Load() >= next })
	stop()
	wg.Wait()
	changes, err := db.Changes(t.Context(), 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]uint64{}
	for i, c := range changes {
		var n uint64
		if err := json.Unmarshal(c.Payload, &n); err != nil || n != last[c.Key]+1 || c.Seq != nhi.Generation(i+1) {
			t.Fatalf("change %d of %s counts %d after %d (%v)", c.Seq, c.Key, n, last[c.Key], err)
		}
		last[c.Key] = n
	}
	for w, n := range acked {
		if got := last[fmt.Sprint("w", w)]; got != n {
			t.Errorf("w%d was told %d, the database has %d", w, n, got)
		}
	}
	if len(heard) != len(changes) || !slices.IsSorted(heard) {
		t.Errorf("hooks heard %d changes, sorted %v; want %d", len(heard), slices.IsSorted(heard), len(changes))
	}
	t.Logf("%d writes, 6 kills", len(changes))
}

// count writes one number more than was acknowledged and reports whether it
// was acknowledged.
func count(t *testing.T, db *store.DB, name string, acked uint64) bool {
	ctx := context.WithoutCancel(t.Context())
	_, err := db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Position(ctx, name)
		if err != nil {
			return err
		}
		if n != acked {
			t.Errorf("%s is at %d after %d was acknowledged", name, n, acked)
		}
		if err := tx.SetPosition(ctx, name, n+1); err != nil {
			return err
		}
		return tx.Change("test", name, n+1)
	})
	if errors.Is(err, store.ErrUncertain) || err != nil && !errors.Is(err, nhi.ErrUnavailable) {
		t.Errorf("write %s: %v", name, err)
	}
	return err == nil
}

func TestNoPasswordIsTakenFromTheAddressOrShown(t *testing.T) {
	const secret = "hunter2-very-secret"
	for _, at := range []string{
		"postgres://muster:" + secret + "@db/muster",
		"postgres://db/muster?password=" + secret,
		"postgres://muster:" + secret + "@db:port/muster",
		"postgres://muster:" + secret + "@[db/%zz",
		"host=db password=" + secret,
		"mysql://muster:" + secret + "@db/muster",
		"postgres://db/muster?options=-c%20password%3D" + secret,
		"postgres://db/muster?sslmode=" + secret,
		"postgres://db/muster?sslmode=disable",
		"postgres://db/muster?sslmode=require",
		"postgres://db/muster?sslmode=prefer",
		"postgres://10.0.0.1/muster?sslmode=disable",
		"postgres://localhost/muster?host=db.example.com&sslmode=disable",
		"postgres://db/muster?passfile=/etc/shadow",
	} {
		s := postgres.Settings{URL: at}
		err := s.Check()
		if !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: err = %v, want invalid", at, err)
		} else if strings.Contains(at, ":"+secret) && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the password: %v", err)
		}
		if _, opened := postgres.Open(t.Context(), s); opened == nil || strings.Contains(at, ":"+secret) && strings.Contains(opened.Error(), secret) {
			t.Errorf("%s: opened, or shown: %v", at, opened)
		}
	}
	for _, at := range []string{"postgres://muster@db.example.com/muster", "postgres:///muster?host=/run/postgresql", "postgres://muster@127.0.0.1:5433/muster"} {
		s := postgres.Settings{URL: at}
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestAPasswordFileThatOthersCanReadIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := postgres.Open(t.Context(), postgres.Settings{URL: pgtest.Database(t), PasswordFile: file})
	if !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("err = %v", err)
	}
}

// TestAChangeThatCannotBeWrittenTakesNobodyElsesWriteForDone has PostgreSQL
// refuse some changes, whose statements travel with those of the next write:
// whoever is told that it is done finds it there, and nobody else.
func TestAChangeThatCannotBeWrittenTakesNobodyElsesWriteForDone(t *testing.T) {
	at := pgtest.Database(t)
	db := open(t, at)
	raw, err := sql.Open("pgx", at)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.ExecContext(t.Context(), `ALTER TABLE change ADD CONSTRAINT no_bad CHECK (key <> 'bad')`); err != nil {
		t.Fatal(err)
	}
	const writers = 60
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			_, errs[i] = db.Write(t.Context(), func(tx *store.Tx) error {
				if err := tx.SetPosition(t.Context(), fmt.Sprint("p", i), 7); err != nil {
					return err
				}
				if i%7 == 3 {
					return tx.Change("test", "bad", i)
				}
				return tx.Change("test", fmt.Sprint("k", i), i)
			})
		})
	}
	wg.Wait()
	for i, failed := range errs {
		if i%7 == 3 && failed == nil {
			t.Errorf("write %d, whose change was refused, is told that it is done", i)
		}
		var there int
		if err := raw.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM position WHERE consumer = $1`, fmt.Sprint("p", i)).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if (failed == nil) != (there == 1) {
			t.Errorf("write %d was told %v, and %d of its rows are there", i, failed, there)
		}
	}
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.Change("test", "good", 1) }); err != nil {
		t.Errorf("the next write: %v", err)
	}
	changes, err := db.Changes(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range changes {
		if c.Seq != nhi.Generation(i+1) {
			t.Fatalf("change %d has the number %d", i+1, c.Seq)
		}
	}
}
