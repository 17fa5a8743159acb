package postgres

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// A connector opens connections for one of the two pools. limit is how long a
// statement may go unanswered before the connection is given up: it guards
// against a server that hangs, which the server's own limit cannot. 0: none.
type connector struct {
	driver.Connector
	limit time.Duration
}

func newConnector(config *pgx.ConnConfig, limit time.Duration) connector {
	return connector{stdlib.GetConnector(*config), limit}
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, plain(err)
	}
	return &connection{Conn: inner.(*stdlib.Conn), limit: c.limit}, nil
}

// A connection does one thing at a time, as PostgreSQL does. The store reads
// the rows of one query while it runs another, so when a statement comes while
// rows are open, the rest of them is read into memory first.
type connection struct {
	*stdlib.Conn
	limit  time.Duration
	open   *rows      // whose rest is still with the server
	held   *pgx.Batch // statements for the next trip; nil: none
	failed error      // of a statement that was held back
}

// mostHeld is how many statements are held back.
const mostHeld = 500

// settle makes the connection free for the next statement.
func (c *connection) settle(ctx context.Context) error {
	if err := c.ready(); err != nil {
		return err
	}
	if c.held == nil {
		return nil
	}
	_, err := c.send(ctx)
	return err
}

// ready is settle for a statement that goes with those held back.
func (c *connection) ready() error {
	switch {
	case c.failed != nil:
		return c.failed
	case c.open != nil:
		return c.open.keep()
	}
	return nil
}

// Defer implements store.Deferrer. A statement that was held back and fails
// ends the connection's use: what came after it was never run.
func (c *connection) Defer(ctx context.Context, query string, args []any) error {
	if err := c.ready(); err != nil {
		return err
	}
	if c.held == nil {
		c.held = &pgx.Batch{}
	}
	c.held.Queue(query, args...)
	if c.held.Len() < mostHeld {
		return nil
	}
	return c.settle(ctx)
}

// send sends what is held back and then the given statements, in one trip, and
// returns how many rows the last of all touched.
func (c *connection) send(ctx context.Context, last ...*pgx.QueuedQuery) (touched int64, err error) {
	batch := c.held
	c.held = nil
	before := batch.Len()
	for _, q := range last {
		batch.Queue(q.SQL, q.Arguments...)
	}
	ctx, cancel := c.context(ctx)
	defer cancel()
	results := c.Conn.Conn().SendBatch(ctx, batch)
	for i := range batch.Len() {
		tag, failed := results.Exec()
		if failed != nil {
			if i < before {
				c.failed = fmt.Errorf("a statement before it: %w", failed)
				failed = c.failed
			}
			_ = results.Close() // it has nothing to add
			return 0, failed
		}
		touched = tag.RowsAffected()
	}
	return touched, results.Close()
}

func (c *connection) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.limit)
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *connection) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	ctx, cancel := c.context(ctx)
	defer cancel()
	s, err := c.Conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &statement{inner: s.(*stdlib.Stmt), c: c, query: query}, nil
}

// ExecContext implements driver.ExecerContext. Without arguments the text may
// hold many statements, as migrations do, and may take its time.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.settle(ctx); err != nil {
		return nil, err
	}
	if len(args) > 0 {
		ctx, cancel := c.context(ctx)
		defer cancel()
		return c.Conn.ExecContext(ctx, query, args)
	}
	if c.Conn.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	_, err := c.Conn.Conn().PgConn().Exec(ctx, query).ReadAll()
	return driver.RowsAffected(0), err
}

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.settle(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := c.context(ctx)
	inner, err := c.Conn.QueryContext(ctx, query, args)
	if err != nil {
		cancel()
		return nil, err
	}
	c.open = &rows{Rows: inner, c: c, columns: inner.Columns(), cancel: cancel}
	return c.open, nil
}

// A statement is prepared on the server.
type statement struct {
	inner *stdlib.Stmt
	c     *connection
	query string
}

func (s *statement) Close() error {
	if err := s.c.ready(); err != nil {
		return err
	}
	return s.inner.Close()
}

func (s *statement) NumInput() int { return s.inner.NumInput() }

var errNoContext = errors.New("a statement is run with a context")

func (s *statement) Exec([]driver.Value) (driver.Result, error) { return nil, errNoContext }

func (s *statement) Query([]driver.Value) (driver.Rows, error) { return nil, errNoContext }

func (s *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.c.settle(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.c.context(ctx)
	defer cancel()
	return s.inner.ExecContext(ctx, args)
}

func (s *statement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.QueryContext(ctx, s.query, args)
}

// CheckNamedValue implements driver.NamedValueChecker.
func (s *statement) CheckNamedValue(v *driver.NamedValue) error { return s.c.CheckNamedValue(v) }

// rows come from the server until they are kept.
type rows struct {
	driver.Rows
	c       *connection
	columns []string
	kept    [][]driver.Value
	err     error // that ended keeping
	local   bool  // the rest is in kept
	cancel  context.CancelFunc
}

func (r *rows) Columns() []string { return r.columns }

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if !r.local {
		return r.Rows.Next(dest)
	}
	if len(r.kept) == 0 {
		if r.err != nil {
			return r.err
		}
		return io.EOF
	}
	copy(dest, r.kept[0])
	r.kept = r.kept[1:]
	return nil
}

// keep reads the rest into memory.
func (r *rows) keep() error {
	r.local = true
	for {
		row := make([]driver.Value, len(r.columns))
		if err := r.Rows.Next(row); err != nil {
			if !errors.Is(err, io.EOF) {
				r.err = err
			}
			break
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = bytes.Clone(b)
			}
		}
		r.kept = append(r.kept, row)
	}
	r.end()
	return r.err
}

func (r *rows) end() {
	if r.c.open != r {
		return
	}
	r.c.open = nil
	if err := r.Rows.Close(); r.err == nil {
		r.err = err
	}
	r.cancel()
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	r.end()
	r.local, r.kept = true, nil
	return r.err
}
