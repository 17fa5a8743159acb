// Package desk keeps what belongs to the people who use the interface and to
// their requests: saved views, and the replies to requests that carry an
// idempotency key. Nothing here is read by a decision, so nothing emits a
// change.
package desk

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// A View is a page of the console with its filter, under a name.
type View struct {
	ID      string
	Name    string
	Page    string
	Query   string
	Updated time.Time
}

// MaxViews is how many views one person may keep.
const MaxViews = 200

// Store is the desk's part of a database.
type Store struct{ db *store.DB }

// New returns the desk kept in db.
func New(db *store.DB) *Store { return &Store{db: db} }

// Views returns a person's views in the order of their names.
func (s *Store) Views(ctx context.Context, person string) ([]View, error) {
	const query = `
		SELECT   id, name, page, query, updated
		FROM     view_
		WHERE    person = $1
		ORDER BY name, id
		LIMIT    $2`
	var out []View
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, query, person, MaxViews)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var v View
			var updated int64
			if err := rows.Scan(&v.ID, &v.Name, &v.Page, &v.Query, &updated); err != nil {
				return err
			}
			v.Updated = store.Time(updated)
			out = append(out, v)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list views: %w", err)
	}
	return out, nil
}

// View returns one of a person's views, or an error wrapping nhi.ErrNotFound.
func (s *Store) View(ctx context.Context, person, id string) (View, error) {
	v := View{ID: id}
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var updated int64
		err := tx.QueryRow(ctx, `
			SELECT name, page, query, updated
			FROM   view_
			WHERE  person = $1
			AND    id = $2`, person, id).Scan(&v.Name, &v.Page, &v.Query, &updated)
		v.Updated = store.Time(updated)
		return err
	})
	if err != nil {
		return View{}, fmt.Errorf("view %s: %w", id, err)
	}
	return v, nil
}

// PutView writes a view. One view too many is an error wrapping nhi.ErrConflict.
func (s *Store) PutView(ctx context.Context, person string, v View) (View, error) {
	v.Updated = time.Now().UTC().Truncate(time.Microsecond)
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var others int
		err := tx.QueryRow(ctx, `
			SELECT COUNT(*)
			FROM   view_
			WHERE  person = $1
			AND    id <> $2`, person, v.ID).Scan(&others)
		if err != nil {
			return err
		}
		if others >= MaxViews {
			return fmt.Errorf("%d views are kept already; remove one first: %w", others, nhi.ErrConflict)
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO view_ (person, id, name, page, query, updated)
			VALUES      ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (person, id) DO UPDATE
			SET         name    = excluded.name,
			            page    = excluded.page,
			            query   = excluded.query,
			            updated = excluded.updated`, person, v.ID, v.Name, v.Page, v.Query, store.Micros(v.Updated))
		return err
	})
	if err != nil {
		return View{}, fmt.Errorf("save view %s: %w", v.ID, err)
	}
	return v, nil
}

// RemoveView removes one of a person's views, or returns an error wrapping
// nhi.ErrNotFound.
func (s *Store) RemoveView(ctx context.Context, person, id string) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(ctx, `DELETE FROM view_ WHERE person = $1 AND id = $2`, person, id)
		if err == nil && n == 0 {
			err = nhi.ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove view %s: %w", id, err)
	}
	return nil
}
