package store

import (
	"context"
	"fmt"

	"github.com/muster-id/muster/internal/nhi"
)

// gap is how far a restored database's sequence is moved on. What the database
// went through after its backup was made, and others may have seen, lies behind
// it: no installation makes as many changes between two backups.
const gap = 1 << 32

// MoveOn makes a database that was just imported from a backup safe to use: its
// sequence goes on where no generation was ever given out, so that a point or a
// reader that has seen the lost future never takes an older state for a newer
// one; whoever follows the changes begins anew; and nobody stays signed in who
// may have signed out since. It returns the generation from which on it is new.
func (db *DB) MoveOn(ctx context.Context) (nhi.Generation, error) {
	var next int64
	_, err := db.Write(ctx, func(tx *Tx) error {
		for _, query := range []string{`DELETE FROM change`, `DELETE FROM session`, `DELETE FROM link`} {
			if _, err := tx.Exec(ctx, query); err != nil {
				return err
			}
		}
		next = tx.generation + gap
		if _, err := tx.Exec(ctx, `UPDATE generation SET seq = $1, pruned = $2 WHERE id = 1`, next, next); err != nil {
			return err
		}
		tx.jump, tx.forgot = next, next
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("move the restored sequence on: %w", err)
	}
	return nhi.Generation(next), nil
}
