package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// watchEvery is how often Watch looks at the database.
const watchEvery = time.Second

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
	fresh := db.writer == nil
	_, err := db.present(ctx)
	if err != nil && !fresh { // it died while nobody used it, which says nothing about the database now
		_, err = db.resume(ctx)
	}
	if ctx.Err() == nil {
		_ = db.note(err) // Health tells
	}
}

// present returns where the database stands, if it is still this server's.
func (db *DB) present(ctx context.Context) (state, error) {
	if db.writer == nil {
		return db.resume(ctx)
	}
	now, err := db.writer.state(ctx)
	if err == nil {
		err = db.verify(now)
	}
	if err != nil {
		db.dropWriter()
	}
	return now, err
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
