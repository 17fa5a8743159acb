package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

//go:embed migrations/*.sql
var files embed.FS

// shipped are the migrations of this program.
var shipped = must(load(files))

// schema is what they add up to.
var schema = must(tables(shipped))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // a file that a test sees at the first run
	}
	return v
}

// A migration is one numbered step forward. It runs once in the life of a
// database.
type migration struct {
	number int
	name   string
	text   string
	sum    string
}

// load reads the files in the order of their numbers. Numbers may be absent,
// so that packages can be built apart; two files of one number may not.
func load(from fs.FS) ([]migration, error) {
	names, err := fs.Glob(from, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var out []migration
	for _, file := range names {
		base := strings.TrimSuffix(path.Base(file), ".sql")
		digits, name, ok := strings.Cut(base, "_")
		number, err := strconv.Atoi(digits)
		if !ok || err != nil || len(digits) != 4 || number < 1 {
			return nil, fmt.Errorf("migration %s is not called NNNN_name.sql", file)
		}
		if len(out) > 0 && out[len(out)-1].number == number {
			return nil, fmt.Errorf("migration %s has the number of %s", file, out[len(out)-1].name)
		}
		text, err := fs.ReadFile(from, file)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		out = append(out, migration{number, name, string(text), hex.EncodeToString(sum[:])})
	}
	return out, nil
}

// migrate applies those of ms that the database has not seen, and refuses a
// database that has seen one that is not in ms, or another text of one.
func migrate(ctx context.Context, c *conn, engine *Engine, program string, ms []migration) error {
	const table = `
		CREATE TABLE IF NOT EXISTS migration (
			number  INTEGER PRIMARY KEY,
			name    TEXT    NOT NULL,
			sum     TEXT    NOT NULL,
			program TEXT    NOT NULL,
			applied BIGINT  NOT NULL
		)`
	if _, err := c.c.ExecContext(ctx, engine.words(table)); err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	done, err := applied(ctx, c)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if err := compare(done, ms, program); err != nil {
		return err
	}
	var due []migration
	for _, m := range ms {
		if _, ok := done[m.number]; !ok {
			due = append(due, m)
		}
	}
	if len(due) == 0 {
		return nil
	}
	return applyAll(ctx, c, engine, program, due)
}

// applyAll applies migrations in one transaction: a step that fails leaves the
// database as it was, and the program that wrote it can still use it.
func applyAll(ctx context.Context, c *conn, engine *Engine, program string, due []migration) error {
	_, err := c.c.ExecContext(ctx, engine.Begin)
	if err != nil {
		return fmt.Errorf("begin to migrate: %w", err)
	}
	if engine.Patient != "" {
		_, err = c.c.ExecContext(ctx, engine.Patient)
	}
	for _, m := range due {
		if err == nil {
			err = m.apply(ctx, c, engine, program)
		}
	}
	if err == nil {
		_, err = c.c.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = c.c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // the connection is closed next, which does it too
		return fmt.Errorf("bring the schema from version %d to %d: %w; nothing was changed: the program that wrote the data can still use it",
			due[0].number-1, due[len(due)-1].number, err)
	}
	return nil
}

// A record is a migration that a database has seen.
type record struct{ name, sum, program string }

func applied(ctx context.Context, c *conn) (map[int]record, error) {
	const query = `
		SELECT   number, name, sum, program
		FROM     migration
		ORDER BY number`
	rows, err := c.c.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[int]record)
	for rows.Next() {
		var n int
		var r record
		if err := rows.Scan(&n, &r.name, &r.sum, &r.program); err != nil {
			return nil, err
		}
		out[n] = r
	}
	return out, rows.Err()
}

func compare(done map[int]record, ms []migration, program string) error {
	known := make(map[int]migration)
	newest := 0
	for _, m := range ms {
		known[m.number] = m
		newest = max(newest, m.number)
	}
	top := 0
	for n := range done {
		top = max(top, n)
	}
	for n, r := range done {
		m, ok := known[n]
		switch {
		case !ok && top > newest:
			return fmt.Errorf("the data has schema version %d, written by muster %s; this is muster %s, which knows schema versions up to %d: use the newer program: %w",
				top, done[top].program, program, newest, nhi.ErrConflict)
		case !ok:
			return fmt.Errorf("the data has a schema step %04d_%s, written by muster %s, that this program (muster %s, schema version %d) does not know: %w",
				n, r.name, r.program, program, newest, nhi.ErrConflict)
		case m.sum != r.sum:
			return fmt.Errorf("schema step %04d_%s was applied by muster %s with another text than muster %s holds: %w",
				n, r.name, r.program, program, nhi.ErrConflict)
		}
	}
	return nil
}

// words puts the text of a migration into the engine's words.
func (e *Engine) words(text string) string {
	if e.Schema == nil {
		return text
	}
	return e.Schema(text)
}

func (m migration) apply(ctx context.Context, c *conn, engine *Engine, program string) error {
	_, err := c.c.ExecContext(ctx, engine.words(m.text))
	if err == nil {
		_, err = c.c.ExecContext(ctx, `
			INSERT INTO migration (number, name, sum, program, applied)
			VALUES ($1, $2, $3, $4, $5)`, m.number, m.name, m.sum, program, Micros(time.Now()))
	}
	if err != nil {
		return fmt.Errorf("migration %04d_%s: %w", m.number, m.name, err)
	}
	return nil
}
