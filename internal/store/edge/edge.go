// Package edge keeps what a server must remember about points that decide away
// from it: which of them may hold a lease although this process has granted
// none, and how far each has reported the decisions that it made itself.
package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// A Store keeps it in a database. It is safe for concurrent use.
type Store struct{ db *store.DB }

// New returns a Store over db.
func New(db *store.DB) *Store { return &Store{db: db} }

// A Lease is one process of a point that may hold a lease until a time.
type Lease struct {
	Point    nhi.ID
	Instance string
	Until    time.Time
}

// Leases returns those that may hold a lease after now, at most 10,000.
func (s *Store) Leases(ctx context.Context, now time.Time) (out []Lease, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT   point, instance, until
			FROM     edge_lease
			WHERE    until > $1
			ORDER BY until DESC, point, instance
			LIMIT    10000`, store.Micros(now))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var l Lease
			var until int64
			if err := rows.Scan(&l.Point, &l.Instance, &until); err != nil {
				return err
			}
			l.Until = store.Time(until)
			out = append(out, l)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read the leases of points: %w", err)
	}
	return out, nil
}

// Keep remembers that an instance may hold a lease until a time, and forgets
// those whose time is over at now. It returns when that is durable.
func (s *Store) Keep(ctx context.Context, l Lease, now time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM edge_lease WHERE until <= $1`, store.Micros(now)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO edge_lease (point, instance, until)
			VALUES      ($1, $2, $3)
			ON CONFLICT (point, instance) DO UPDATE SET until = excluded.until`, l.Point, l.Instance, store.Micros(l.Until))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the lease of point %s: %w", l.Point, err)
	}
	return nil
}

// Journals is how many data folders one point may have reported from. The oldest
// are forgotten.
const Journals = 100

// A Journal is how far the journal of a point has come.
type Journal struct {
	Point   nhi.ID
	ID      string // of the point's journal
	Shipped uint64 // its last record that is on record here
	Place   uint64 // the last record of our own journal at that time
}

// Journal returns how far a journal has come; nothing of one that is not known.
func (s *Store) Journal(ctx context.Context, point nhi.ID, id string) (Journal, error) {
	j := Journal{Point: point, ID: id}
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var shipped, place int64
		err := tx.QueryRow(ctx, `SELECT shipped, place FROM edge_journal WHERE point = $1 AND journal = $2`, point, id).Scan(&shipped, &place)
		if errors.Is(err, nhi.ErrNotFound) {
			return nil
		}
		j.Shipped, j.Place = uint64(shipped), uint64(place)
		return err
	})
	if err != nil {
		return j, fmt.Errorf("read how far point %s has reported: %w", point, err)
	}
	return j, nil
}

// Advance writes how far a journal has come. It returns when that is durable.
func (s *Store) Advance(ctx context.Context, j Journal, now time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `
			INSERT INTO edge_journal (point, journal, shipped, place, at)
			VALUES      ($1, $2, $3, $4, $5)
			ON CONFLICT (point, journal) DO UPDATE SET shipped = excluded.shipped, place = excluded.place, at = excluded.at`,
			j.Point, j.ID, int64(j.Shipped), int64(j.Place), store.Micros(now)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			DELETE FROM edge_journal
			WHERE  point = $1
			AND    journal NOT IN (SELECT journal FROM edge_journal WHERE point = $2 ORDER BY at DESC, journal LIMIT $3)`, j.Point, j.Point, Journals)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep how far point %s has reported: %w", j.Point, err)
	}
	return nil
}
