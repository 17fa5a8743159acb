package postgres

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
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
	limit time.Duration
	open  *rows // whose rest is still with the server
}

// settle makes the connection free for the next statement.
func (c *connection) settle() error {
	if c.open == nil {
		return nil
	}
	return c.open.keep()
}

func (c *connection) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.limit)
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *connection) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.settle(); err != nil {
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
	if err := c.settle(); err != nil {
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
	if err := c.settle(); err != nil {
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
	if err := s.c.settle(); err != nil {
		return err
	}
	return s.inner.Close()
}

func (s *statement) NumInput() int { return s.inner.NumInput() }

var errNoContext = errors.New("a statement is run with a context")

func (s *statement) Exec([]driver.Value) (driver.Result, error) { return nil, errNoContext }

func (s *statement) Query([]driver.Value) (driver.Rows, error) { return nil, errNoContext }

func (s *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.c.settle(); err != nil {
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
