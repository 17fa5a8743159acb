package store

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-id/muster/internal/nhi"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestMigrationsLoadInTheOrderOfTheirNumbersAndMayHaveGaps(t *testing.T) {
	ms, err := load(fstest.MapFS{
		"migrations/0010_later.sql": file("c"), "migrations/0001_base.sql": file("a"), "migrations/0004_next.sql": file("b"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range ms {
		got = append(got, m.name)
	}
	if strings.Join(got, " ") != "base next later" {
		t.Errorf("order = %v", got)
	}
	for _, bad := range []fstest.MapFS{
		{"migrations/1_short.sql": file("")},
		{"migrations/0001.sql": file("")},
		{"migrations/0000_zero.sql": file("")},
		{"migrations/000x_word.sql": file("")},
		{"migrations/0001_a.sql": file(""), "migrations/0001_b.sql": file("")},
	} {
		if _, err := load(bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func TestASchemaThatIsNotOursIsRefused(t *testing.T) {
	ms := []migration{{number: 1, name: "base", sum: "s1"}, {number: 2, name: "more", sum: "s2"}}
	for _, tt := range []struct {
		name string
		done map[int]record
		want string // empty: accepted
	}{
		{"a fresh database", nil, ""},
		{"an older one", map[int]record{1: {"base", "s1", "1.0"}}, ""},
		{"one with a gap to fill", map[int]record{2: {"more", "s2", "1.0"}}, ""},
		{"a newer one", map[int]record{1: {"base", "s1", "1.0"}, 9: {"new", "s9", "3.1"}}, "schema version 9, written by muster 3.1; this is muster 2.0, which knows schema versions up to 2"},
		{"an edited step", map[int]record{1: {"base", "other", "1.0"}}, "0001_base was applied by muster 1.0 with another text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := compare(tt.done, ms, "2.0")
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("err = %v", err)
			case tt.want != "" && (!errors.Is(err, nhi.ErrConflict) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("err = %v, want a conflict that says %q", err, tt.want)
			}
		})
	}
}

// forbidden are the changes that the previous release, which may still run or
// be needed again, does not survive, or that not every engine understands.
var forbidden = []string{
	"DROP TABLE", "DROP COLUMN", "RENAME", "ALTER COLUMN", "ALTER TYPE", "TRUNCATE", "AUTOINCREMENT", "SERIAL", "JSONB",
	"TIMESTAMP", "BOOLEAN", "BLOB", "LIKE ", "INSERT OR", "PRAGMA", "COLLATE", "CREATE TYPE", "CREATE EXTENSION", "NOW()", "WITHOUT ROWID",
}

func unsafe(statement string) string {
	upper := strings.ToUpper(statement)
	for _, word := range forbidden {
		if strings.Contains(upper, word) {
			return "holds " + word
		}
	}
	if strings.Contains(upper, "ADD COLUMN") && strings.Contains(upper, "NOT NULL") && !strings.Contains(upper, "DEFAULT") {
		return "adds a column that the previous release does not fill"
	}
	for _, ok := range []string{"CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX ", "ALTER TABLE ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "DROP INDEX "} {
		if strings.HasPrefix(upper, ok) {
			return ""
		}
	}
	return "begins with a word that no migration needs"
}

func TestMigrationsOnlyAddAndSpeakEveryEnginesSQL(t *testing.T) {
	for _, m := range shipped {
		for _, s := range statements(m.text) {
			if why := unsafe(s); why != "" {
				t.Errorf("%04d_%s: %s: %s", m.number, m.name, why, s)
			}
		}
	}
	for _, bad := range []string{
		"DROP TABLE identity", "ALTER TABLE identity RENAME TO other", "ALTER TABLE identity ADD COLUMN x TEXT NOT NULL",
		"ALTER TABLE identity DROP COLUMN name", "CREATE TABLE x (id SERIAL PRIMARY KEY)", "VACUUM", "CREATE TABLE x (at TIMESTAMP PRIMARY KEY)",
	} {
		if unsafe(bad) == "" {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestAColumnThatNoEngineSharesIsAnError(t *testing.T) {
	for _, bad := range []string{"CREATE TABLE x (id UUID PRIMARY KEY)", "CREATE TABLE x (id TEXT NOT NULL)", "ALTER TABLE nowhere ADD COLUMN x TEXT"} {
		if _, err := tables([]migration{{number: 1, name: "m", text: bad}}); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
