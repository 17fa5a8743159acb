package store

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Changes returns up to limit changes after the given generation, the oldest
// first. It is the cursor of live streams and what a start replays. For a
// cursor before [DB.First] it returns an error wrapping ErrTooOld.
func (db *DB) Changes(ctx context.Context, after nhi.Generation, limit int) ([]nhi.Change, error) {
	var out []nhi.Change
	err := db.Read(ctx, func(tx *Tx) error {
		if int64(after) < tx.pruned {
			return ErrTooOld
		}
		var err error
		out, err = tx.changes(ctx, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read changes after %d: %w", after, err)
	}
	return out, nil
}

// First returns the number of the first change that is still kept, or would
// be: the oldest cursor that [DB.Changes] takes is the one before it.
func (db *DB) First() nhi.Generation { return nhi.Generation(db.pruned.Load() + 1) }

// forgetAtOnce bounds how many changes one transaction forgets, so that it
// holds up nobody for long.
const forgetAtOnce = 5000

// Forget removes changes that are older than before and not after through,
// the oldest first, and returns how many. Changes are the cursor of whoever
// follows the store: keep all that a follower may still ask for, such as
// those after the position of an image of Facts. The sequence goes on where it
// was. It blocks for as many transactions as it takes.
func (db *DB) Forget(ctx context.Context, before time.Time, through nhi.Generation) (int, error) {
	total := 0
	for {
		n, err := db.forgetSome(ctx, before, through)
		total += n
		if err != nil {
			return total, fmt.Errorf("forget old changes: %w", err)
		}
		if n == 0 {
			return total, nil
		}
	}
}

func (db *DB) forgetSome(ctx context.Context, before time.Time, through nhi.Generation) (int, error) {
	var n int64
	_, err := db.Write(ctx, func(tx *Tx) error {
		last, err := tx.old(ctx, before, through)
		if err != nil || last == 0 {
			return err
		}
		if n, err = tx.Exec(ctx, `DELETE FROM change WHERE seq <= $1`, last); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE generation SET pruned = $1 WHERE id = 1`, last)
		tx.forgot = last
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(n), nil
}

// old returns the number of the last of the oldest changes that may all go, 0
// when there is none.
func (tx *Tx) old(ctx context.Context, before time.Time, through nhi.Generation) (last int64, err error) {
	const oldest = `
		SELECT   seq, at
		FROM     change
		WHERE    seq <= $1
		ORDER BY seq
		LIMIT    $2`
	rows, err := tx.Query(ctx, oldest, int64(through), forgetAtOnce)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq, at int64
		if err := rows.Scan(&seq, &at); err != nil {
			return 0, err
		}
		if at >= Micros(before) {
			break
		}
		last = seq
	}
	return last, rows.Err()
}
