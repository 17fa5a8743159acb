package store

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/muster-id/muster/internal/store/postgres/pgtest"
)

// engines are plain connections to an empty database of each engine.
func engines(t *testing.T) map[string]*Engine {
	t.Helper()
	lite, err := sql.Open("sqlite", t.TempDir()+"/db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lite.Close() })
	out := map[string]*Engine{"sqlite": {Writer: lite, Begin: "BEGIN IMMEDIATE"}}
	if pgtest.Bin() != "" {
		pg, err := sql.Open("pgx", pgtest.Database(t)+"&default_query_exec_mode=simple_protocol")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pg.Close() })
		out["postgres"] = &Engine{Writer: pg, Begin: "BEGIN"}
	}
	return out
}

func TestABrokenMigrationLeavesTheDatabaseAsItWas(t *testing.T) {
	good := []migration{{1, "base", "CREATE TABLE a (id TEXT PRIMARY KEY); INSERT INTO a (id) VALUES ('x')", "s1"}}
	broken := append(good[:1:1],
		migration{2, "more", "CREATE TABLE b (id TEXT PRIMARY KEY); INSERT INTO a (id) VALUES ('y')", "s2"},
		migration{3, "broken", "CREATE TABLE c (id TEXT PRIMARY KEY); INSERT INTO nowhere (id) VALUES ('z')", "s3"})
	for name, engine := range engines(t) {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			c, err := open(ctx, engine.Writer)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			if err := migrate(ctx, c, engine, "1.0", good); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				err = migrate(ctx, c, engine, "2.0", broken)
				if err == nil || !strings.Contains(err.Error(), "0003_broken") || !strings.Contains(err.Error(), "nothing was changed") {
					t.Errorf("err = %v, want one that names the step and says that nothing was changed", err)
				}
			}
			if err := migrate(ctx, c, engine, "1.0", good); err != nil {
				t.Errorf("the older program afterwards: %v", err)
			}
			done, err := applied(ctx, c)
			if diff := cmp.Diff(1, len(done)); err != nil || diff != "" {
				t.Errorf("steps on record (-want +got):\n%s%v", diff, err)
			}
			var n int
			if err := c.c.QueryRowContext(ctx, `SELECT COUNT(*) FROM a`).Scan(&n); err != nil || n != 1 {
				t.Errorf("%d rows (%v), want the one", n, err)
			}
			if _, err := c.c.ExecContext(ctx, `SELECT 1 FROM b`); err == nil {
				t.Error("half of it was applied")
			}
		})
	}
}
