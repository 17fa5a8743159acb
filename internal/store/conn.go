package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// A conn is one connection with the statements prepared on it. The texts are
// constants of this program, so their number is bounded.
type conn struct {
	c          *sql.Conn
	statements map[string]*statement
}

// A statement is prepared once. busy is true while rows of it are open: the
// same text used again meanwhile is prepared for that one use.
type statement struct {
	*sql.Stmt
	busy bool
}

func open(ctx context.Context, from *sql.DB) (*conn, error) {
	c, err := from.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, statements: make(map[string]*statement)}, nil
}

// prepare returns the statement that is kept of a text, or one that its user
// closes with done.
func (c *conn) prepare(ctx context.Context, query string) (*statement, error) {
	kept, ok := c.statements[query]
	if ok && !kept.busy {
		return kept, nil
	}
	st, err := c.c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s := &statement{Stmt: st}
	if !ok {
		c.statements[query] = s
	}
	return s, nil
}

// done ends a use of s: a spare copy is closed, the kept one is free again.
func (c *conn) done(query string, s *statement) {
	if c.statements[query] == s {
		s.busy = false
		return
	}
	s.Close() // a spare: nothing depends on how its closing goes
}

// A Deferrer is a driver's connection that can hold a statement back until the
// next one and send both in one trip. When one that was held back fails, the
// connection must refuse everything after it: nobody waited for its answer.
type Deferrer interface {
	// Defer holds a statement back, or sends it with those before it.
	Defer(ctx context.Context, query string, args []any) error
}

// queue runs a statement whose result nobody needs, at the latest with the next
// one. Its error may be that one's, and ends the transaction.
func (c *conn) queue(ctx context.Context, query string, args ...any) error {
	deferred := false
	err := c.c.Raw(func(driver any) error {
		d, ok := driver.(Deferrer)
		if deferred = ok; !ok {
			return nil
		}
		return d.Defer(ctx, query, args)
	})
	if err != nil || deferred {
		return err
	}
	return c.exec(ctx, query, args...)
}

func (c *conn) exec(ctx context.Context, query string, args ...any) error {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return err
	}
	defer c.done(query, s)
	_, err = s.ExecContext(ctx, args...)
	return err
}

// A state is the one row of the sequence: the number of the last change, the
// last one that is no longer kept, a mark that each transaction moves, and the
// number of the claim under which the database is written.
type state struct{ seq, pruned, mark, tenure int64 }

func (c *conn) state(ctx context.Context) (now state, err error) {
	const query = `
		SELECT seq, pruned, mark, tenure
		FROM   generation
		WHERE  id = 1`
	return c.row(ctx, query)
}

// mark moves the mark and thereby locks the row until the commit.
func (c *conn) mark(ctx context.Context) (now state, err error) {
	const query = `
		UPDATE generation
		SET    mark = mark + 1
		WHERE  id = 1
		RETURNING seq, pruned, mark, tenure`
	return c.row(ctx, query)
}

func (c *conn) row(ctx context.Context, query string) (now state, err error) {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return now, err
	}
	defer c.done(query, s)
	return now, s.QueryRowContext(ctx).Scan(&now.seq, &now.pruned, &now.mark, &now.tenure)
}

// close gives the connection back in an orderly way.
func (c *conn) close() {
	c.forget()
	c.c.Close() // the pool below reports what matters when it is closed
}

// drop throws the connection away: its transaction is in an unknown state.
// The statements go first; a driver need not bear them outliving it.
func (c *conn) drop() {
	c.forget()
	_ = c.c.Raw(func(any) error { return driver.ErrBadConn })
	c.c.Close()
}

func (c *conn) forget() {
	for _, s := range c.statements {
		s.Close()
	}
	clear(c.statements)
}
