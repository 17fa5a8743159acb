package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// How long to wait between attempts to reach a database that is away, and how
// often Watch looks at it.
const (
	retryEvery = 50 * time.Millisecond
	watchEvery = time.Second
)

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
		if err == nil || !db.lost(err) || db.isDown() || !time.Now().Before(until) || !pause(ctx) {
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
		case !db.lost(err) || !time.Now().Before(until) || !pause(ctx):
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

// note keeps why the database cannot be written, for Health, and returns the
// error for the writer. An error that is the database's own answer, such as a
// full disk, passes.
func (db *DB) note(err error) error {
	away := db.lost(err)
	if away {
		err = db.explain(err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.down = nil
	if away {
		db.down = err
	}
	return err
}

// explain marks an error that means that the database is away, or full.
func (db *DB) explain(err error) error {
	err = db.full(err)
	if !db.lost(err) || errors.Is(err, nhi.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%s cannot be reached: %w: %w", db.engine.Place, err, nhi.ErrUnavailable)
}

// full marks an error that means that the disk of the database is full, and
// says what to do.
func (db *DB) full(err error) error {
	if err == nil || db.engine.Full == nil || !db.engine.Full(err) || errors.Is(err, nhi.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("the disk of the database (%s) is full; make room there, nothing needs a restart: %w: %w", db.engine.Place, err, nhi.ErrUnavailable)
}

func (db *DB) lost(err error) bool {
	return err != nil && db.engine.Lost != nil && db.engine.Lost(err)
}

func (db *DB) isDown() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.down != nil || db.dead != nil
}

// pause waits a moment and reports whether ctx is still alive.
func pause(ctx context.Context) bool {
	t := time.NewTimer(retryEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Health is how the store is doing. The zero value is well.
type Health struct {
	// Err says why nothing can be written, and what to do. It wraps
	// nhi.ErrConflict when only a restart helps.
	Err error
	// Warning says what is not as it should be although writes go through.
	Warning string
}

// Health returns how the store is doing, as last seen. It does not block.
func (db *DB) Health() Health {
	db.mu.Lock()
	defer db.mu.Unlock()
	switch {
	case db.dead != nil:
		return Health{Err: db.dead}
	case db.down != nil:
		return Health{Err: fmt.Errorf("%w; decisions go on, and it is tried again every second", db.down)}
	}
	return Health{Warning: db.warning}
}

// Watch looks at the database every second while nobody writes, so that
// Health is true and a database that went away is opened again as soon as it
// is back. It blocks until ctx ends. While it runs, writes to a database that
// is away fail at once.
func (db *DB) Watch(ctx context.Context) error {
	db.setWatched(true)
	defer db.setWatched(false)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		select {
		case db.lead <- struct{}{}:
			db.look(ctx)
			<-db.lead
		default: // a write is looking
		}
	}
}

func (db *DB) setWatched(on bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.watched = on
}

// look checks that the writer still has the database. Only the leader calls
// it.
func (db *DB) look(ctx context.Context) {
	db.mu.Lock()
	over := db.closed || db.dead != nil
	db.mu.Unlock()
	if over {
		return
	}
	for {
		fresh := db.writer == nil
		var err error
		if fresh {
			_, err = db.resume(ctx)
		} else if now, failed := db.writer.state(ctx); failed != nil {
			err = failed
		} else {
			err = db.verify(now)
		}
		if err != nil {
			db.dropWriter()
		}
		if err == nil || fresh || ctx.Err() != nil {
			if ctx.Err() == nil {
				_ = db.note(err) // Health tells
			}
			return
		}
	}
}
