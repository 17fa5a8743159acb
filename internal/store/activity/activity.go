// Package activity keeps the pieces of logs that are no records, encrypted,
// until they can be looked at or are too old. Events themselves are not rows:
// they live in the stream.
package activity

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// A Piece is something a source sent that is no record. Sealed is its content,
// encrypted by the caller.
type Piece struct {
	ID     string
	Source nhi.ID
	At     time.Time
	Reason string
	Line   int
	Size   int64
	Sealed []byte
}

// Keep stores pieces in one transaction; one that is known is left alone.
func Keep(ctx context.Context, db *store.DB, pieces []Piece) error {
	if len(pieces) == 0 {
		return nil
	}
	_, err := db.Write(ctx, func(tx *store.Tx) error {
		for _, p := range pieces {
			_, err := tx.Exec(ctx, `
				INSERT INTO unparsable (id, source, at, reason, line, size, sealed)
				VALUES      ($1, $2, $3, $4, $5, $6, $7)
				ON CONFLICT (id) DO NOTHING`,
				p.ID, p.Source, store.Micros(p.At), p.Reason, p.Line, p.Size, p.Sealed)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep %d pieces that are no records: %w", len(pieces), err)
	}
	return nil
}

// Count returns how many pieces are kept.
func Count(ctx context.Context, db *store.DB) (n uint64, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM unparsable`).Scan(&n)
	})
	return n, err
}

// Forget removes pieces older than before.
func Forget(ctx context.Context, db *store.DB, before time.Time) error {
	_, err := db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM unparsable WHERE at < $1`, store.Micros(before))
		return err
	})
	return err
}
