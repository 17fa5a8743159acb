package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/nhi"
)

// A Tx is a transaction that [DB.Write] or [DB.Read] lends to a function. It
// belongs to one goroutine and is dead when the function returns.
type Tx struct {
	conn       *conn
	writes     bool
	done       bool
	generation int64
	pruned     int64
	pending    []nhi.Change // without numbers until the function has returned
	forgot     int64        // changes up to here were removed; 0: none
	jump       int64        // the sequence goes on after this number; 0: as it was
	late       map[any]Late
}

// Late is work of a write that is done once, when its function has returned:
// what the function did to many rows is gathered and written together.
type Late interface {
	// Finish does the work, within the transaction. Its error undoes the write.
	Finish(ctx context.Context) error
}

// Late returns the work that key stands for within this write. The first call
// makes it; it is finished before the write's changes are numbered.
func (tx *Tx) Late(key any, make func() Late) Late {
	if l, ok := tx.late[key]; ok {
		return l
	}
	if tx.late == nil {
		tx.late = map[any]Late{}
	}
	l := make()
	tx.late[key] = l
	return l
}

// finish does the late work.
func (tx *Tx) finish(ctx context.Context) error {
	for _, l := range tx.late {
		if err := l.Finish(ctx); err != nil {
			return err
		}
	}
	return nil
}

// payloadVersion is the version of the payloads' format. It grows when the
// JSON of a row changes in a way that an older reader would misread.
const payloadVersion = 1

var errDead = errors.New("transaction used after its function returned")

// context returns the context a statement runs under. A write is never cut
// off half-way, because an engine may then drop the whole transaction, and
// with it the writes of others; it only checks before each statement.
func (tx *Tx) context(ctx context.Context) (context.Context, error) {
	if tx.done {
		return nil, errDead
	}
	if !tx.writes {
		return ctx, nil
	}
	return context.WithoutCancel(ctx), ctx.Err()
}

// Generation returns the generation of the snapshot: the number of the last
// change that it contains. The transaction's own changes do not count.
func (tx *Tx) Generation() nhi.Generation { return nhi.Generation(tx.generation) }

// Reached returns the number that the transaction's latest change will have
// once it is committed, or the snapshot's generation if it made none so far.
// In a write it is exact: nobody else numbers changes until the commit.
func (tx *Tx) Reached() nhi.Generation {
	return nhi.Generation(tx.generation) + nhi.Generation(len(tx.pending))
}

// Exec runs one statement and returns how many rows it touched.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, err := tx.context(ctx)
	if err != nil {
		return 0, err
	}
	s, err := tx.conn.prepare(ctx, query)
	if err != nil {
		return 0, err
	}
	defer tx.conn.done(query, s)
	r, err := s.ExecContext(ctx, legible(args)...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Query runs a statement that returns rows. Close the rows; reading them to
// their end closes them too.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	ctx, err := tx.context(ctx)
	if err != nil {
		return nil, err
	}
	s, err := tx.conn.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, legible(args)...)
	if err != nil {
		tx.conn.done(query, s)
		return nil, err
	}
	s.busy = true
	return &Rows{rows: rows, end: func() { tx.conn.done(query, s) }}, nil
}

// QueryOnce is Query for a text that was put together for one question, such as
// a filter: the statement is not kept for the next time, because their number
// has no bound. Values are arguments all the same.
func (tx *Tx) QueryOnce(ctx context.Context, query string, args ...any) (*Rows, error) {
	ctx, err := tx.context(ctx)
	if err != nil {
		return nil, err
	}
	s, err := tx.conn.c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Rows{rows: rows, end: func() { s.Close() }}, nil // a spare: nothing depends on how its closing goes
}

// QueryRow runs a statement that returns one row, or with RETURNING changes
// one. Scan tells every error.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *Row {
	rows, err := tx.Query(ctx, query, args...)
	return &Row{rows: rows, err: err}
}

// Rows are the rows of a query, used like sql.Rows.
type Rows struct {
	rows *sql.Rows
	end  func()
}

// Next moves to the next row and reports whether there is one; if not, see
// Err.
func (r *Rows) Next() bool {
	if r.rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Scan copies the row's columns to where dest points.
func (r *Rows) Scan(dest ...any) error { return r.rows.Scan(dest...) }

// Err returns the error that ended Next early, if one did.
func (r *Rows) Err() error { return r.rows.Err() }

// Close ends the query. Closing again is harmless.
func (r *Rows) Close() error {
	err := r.rows.Close()
	if r.end != nil {
		r.end()
		r.end = nil
	}
	return err
}

// A Row is the one row of a query.
type Row struct {
	rows *Rows
	err  error
}

// Scan copies the row's columns to where dest points. It returns an error
// wrapping nhi.ErrNotFound when there is no row.
func (r *Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return nhi.ErrNotFound
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	return r.rows.Close()
}

// Change adds a change to the sequence: key's new state is value, or key is
// gone when value is nil. It gets its number when the function has returned,
// and is undone with the rest when the function fails.
func (tx *Tx) Change(subject nhi.Subject, key string, value any) error {
	if !tx.writes {
		return errors.New("change written in a read")
	}
	if tx.done {
		return errDead
	}
	c := nhi.Change{Subject: subject, Key: key, Version: payloadVersion, At: time.Now().UTC().Truncate(time.Microsecond)}
	if value != nil {
		body, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("change of %s %s: %w", subject, key, err)
		}
		c.Payload = body
	}
	tx.pending = append(tx.pending, c)
	return nil
}

// number gives the collected changes their places in the sequence. The row of
// the sequence is locked since the transaction began, which is what makes the
// numbers gapless and in commit order on any engine; its new value is written
// once, before the commit.
func (tx *Tx) number(ctx context.Context) error {
	const insert = `
		INSERT INTO change (seq, subject, key, version, at, payload)
		VALUES ($1, $2, $3, $4, $5, $6)`
	for i := range tx.pending {
		c := &tx.pending[i]
		c.Seq = nhi.Generation(tx.generation + int64(i) + 1)
		if err := ctx.Err(); err != nil {
			return err
		}
		args := []any{int64(c.Seq), string(c.Subject), c.Key, int64(c.Version), c.At.UnixMicro(), string(c.Payload)}
		if err := tx.conn.queue(context.WithoutCancel(ctx), insert, legible(args)...); err != nil {
			return fmt.Errorf("write change %d: %w", c.Seq, err)
		}
	}
	return nil
}

func (tx *Tx) changes(ctx context.Context, after nhi.Generation, limit int) ([]nhi.Change, error) {
	const query = `
		-- Changes after $1, the oldest first.
		SELECT   seq, subject, key, version, at, payload
		FROM     change
		WHERE    seq > $1
		ORDER BY seq
		LIMIT    $2`
	rows, err := tx.Query(ctx, query, int64(after), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []nhi.Change
	for rows.Next() {
		var c nhi.Change
		var at int64
		var payload string
		if err := rows.Scan(&c.Seq, &c.Subject, &c.Key, &c.Version, &at, &payload); err != nil {
			return nil, err
		}
		c.At = Time(at)
		if payload != "" {
			c.Payload = json.RawMessage(payload)
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// legible replaces, in texts, what not every engine can keep: bytes that are
// no UTF-8, and the zero byte. Both become U+FFFD, in what is written and in
// what is searched for alike. Most arguments are returned as they are.
func legible(args []any) []any {
	out := args
	for i, a := range args {
		text, ok := a.(string)
		if !ok {
			v := reflect.ValueOf(a)
			if v.Kind() != reflect.String {
				continue
			}
			text = v.String()
		}
		if utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
			continue
		}
		if &out[0] == &args[0] {
			out = slices.Clone(args)
		}
		out[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	}
	return out
}
