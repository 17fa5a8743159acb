package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// retryEvery is how long to wait between attempts to reach a database that is
// away.
const retryEvery = 50 * time.Millisecond

// connect opens the writer's connection and claims the database with it. Only
// the leader calls it.
func (db *DB) connect(ctx context.Context) error {
	c, err := open(ctx, db.engine.Writer)
	if err != nil {
		return err
	}
	if db.engine.Claim != nil {
		warning, err := db.engine.Claim(ctx, c.c)
		if err != nil {
			c.drop()
			return err
		}
		db.mu.Lock()
		db.warning = warning
		db.mu.Unlock()
	}
	db.writer = c
	return nil
}

// take begins this server's tenure: whoever wrote the database before and
// still lives finds that it is no longer his.
func (db *DB) take(ctx context.Context) error {
	const query = `
		UPDATE generation
		SET    tenure = tenure + 1
		WHERE  id = 1
		RETURNING seq, pruned, mark, tenure`
	now, err := db.writer.row(ctx, query)
	if err != nil {
		return fmt.Errorf("begin the tenure: %w", err)
	}
	db.tenure = now.tenure
	db.generation.Store(uint64(now.seq))
	db.pruned.Store(uint64(now.pruned))
	return nil
}

// resume opens the writer again after a failure, makes sure that the database
// is still ours and where we left it, and tells the hooks what they have not
// seen of it.
func (db *DB) resume(ctx context.Context) (state, error) {
	if err := db.connect(ctx); err != nil {
		return state{}, err
	}
	now, err := db.writer.state(ctx)
	if err == nil {
		err = db.verify(now)
	}
	if err == nil {
		err = db.catchUp(ctx, now)
	}
	if err != nil {
		db.dropWriter()
	}
	return now, err
}

// verify compares the database with what this server knows of it.
func (db *DB) verify(now state) error {
	switch {
	case now.tenure != db.tenure:
		return db.die(fmt.Errorf("another muster server has used %s since: restart this one, or stop it if the other is meant to run: %w",
			db.engine.Place, nhi.ErrConflict))
	case now.seq < int64(db.Generation()):
		return db.die(fmt.Errorf("%s went back from change %d to %d, as after a restore or a failover that lost its newest data: restart muster, so that decisions follow it again: %w",
			db.engine.Place, db.Generation(), now.seq, nhi.ErrConflict))
	}
	return nil
}

// die refuses every write from now on.
func (db *DB) die(why error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.dead == nil {
		db.dead = why
	}
	return db.dead
}

func (db *DB) catchUp(ctx context.Context, now state) error {
	for int64(db.Generation()) < now.seq {
		tx := &Tx{conn: db.writer}
		missed, err := tx.changes(ctx, db.Generation(), 1000)
		if err != nil {
			return fmt.Errorf("read the missed changes: %w", err)
		}
		if len(missed) == 0 {
			return db.die(fmt.Errorf("changes %d to %d of %s are missing: restart muster: %w", db.Generation()+1, now.seq, db.engine.Place, nhi.ErrConflict))
		}
		db.tell(missed)
	}
	return nil
}

// begin starts a transaction. It opens the writer again if the last group
// broke it, and waits for a while when the database is away.
func (db *DB) begin(ctx context.Context) error {
	db.mu.Lock()
	refused := db.dead
	if refused == nil && db.watched {
		refused = db.down // Watch says when it is back
	}
	db.mu.Unlock()
	if refused != nil {
		return refused
	}
	until := time.Now().Add(db.patience)
	for {
		err := db.tryBegin(ctx)
		if err == nil || !db.lost(err) || db.isDown() || !again(ctx, until) {
			return db.note(err)
		}
	}
}

func (db *DB) tryBegin(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			db.dropWriter()
		}
	}()
	if db.writer == nil {
		if _, err := db.resume(ctx); err != nil {
			return err
		}
	}
	if err := db.writer.exec(ctx, db.engine.Begin); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if db.at, err = db.writer.mark(ctx); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	db.from = db.at.seq
	return db.verify(db.at)
}

// settle finds out what became of a commit that failed with cause. It returns
// nil when the transaction is in the database after all.
func (db *DB) settle(ctx context.Context, cause error) error {
	db.dropWriter()
	tried := db.at
	until := time.Now().Add(db.patience)
	for {
		now, err := db.resume(ctx)
		switch {
		case err == nil && now.mark >= tried.mark:
			return nil // only this transaction moved it there
		case err == nil:
			return cause
		case !db.lost(err) || !again(ctx, until):
			return errors.Join(cause, db.note(err), ErrUncertain, nhi.ErrUnavailable)
		}
	}
}

func (db *DB) dropWriter() {
	if db.writer != nil {
		db.writer.drop()
		db.writer = nil
	}
}

// again waits a moment before another attempt. It reports false when there is to
// be none: at until, or when ctx has ended.
func again(ctx context.Context, until time.Time) bool {
	if !time.Now().Before(until) {
		return false
	}
	t := time.NewTimer(retryEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
