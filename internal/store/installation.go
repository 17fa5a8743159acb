package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// Installation returns the name of this database: 26 random characters that it
// keeps for life. What lies outside the database and belongs to it, such as an
// image of its facts, carries the name, so that it is never taken for that of
// another database. The first call gives the name.
func (db *DB) Installation(ctx context.Context) (string, error) {
	var name string
	_, err := db.Write(ctx, func(tx *Tx) error {
		const give = `
			INSERT INTO installation (id, name, made)
			VALUES (1, $1, $2)
			ON CONFLICT (id) DO NOTHING`
		if _, err := tx.Exec(ctx, give, rand.Text(), Micros(time.Now())); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT name FROM installation WHERE id = 1").Scan(&name)
	})
	if err != nil {
		return "", fmt.Errorf("read the name of the installation: %w", err)
	}
	return name, nil
}
