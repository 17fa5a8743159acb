// Package shadow keeps the policies that are tried on live decisions, what they
// counted, and the decisions that they would have made otherwise. It implements
// the store that decision/simulate declares.
//
// There is one shadow at a time. Starting another forgets the differences of the
// one before, in the same transaction; what is added for one that is no longer
// there is dropped. Only the newest [Kept] differences stay.
package shadow

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// Kept is how many differences are kept.
const Kept = 10_000

// Store is over a database. It is safe for concurrent use.
type Store struct {
	db   *store.DB
	kept int
}

// New returns a Store over db.
func New(db *store.DB) *Store { return &Store{db, Kept} }

// Shadow returns the one that was started last, the zero Shadow when none ever
// was.
func (s *Store) Shadow(ctx context.Context) (out nhi.Shadow, err error) {
	var files string
	var started, stopped int64
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		c := &out.ShadowCounts
		return tx.QueryRow(ctx, `
			SELECT id, digest, files, author, started, stopped, judged, unanswered, denied, step_up, allowed, dropped, unkept, errors
			FROM   shadow
			WHERE  place = 1`).Scan(&out.ID, &out.Digest, &files, &out.Author, &started, &stopped,
			&c.Judged, &c.Unanswered, &c.Denied, &c.StepUp, &c.Allowed, &c.Dropped, &c.Unkept, &c.Errors)
	})
	if errors.Is(err, sql.ErrNoRows) || errors.Is(err, nhi.ErrNotFound) {
		return nhi.Shadow{}, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(files), &out.Files)
	}
	if err != nil {
		return nhi.Shadow{}, fmt.Errorf("read the shadow: %w", err)
	}
	out.Started = store.Time(started)
	if stopped != 0 {
		out.Stopped = store.Time(stopped)
	}
	return out, nil
}

// Begin puts shadow in the place of any other, with nothing counted, and forgets
// the differences of that.
func (s *Store) Begin(ctx context.Context, shadow *nhi.Shadow) error {
	files, err := json.Marshal(shadow.Files)
	if err == nil {
		_, err = s.db.Write(ctx, func(tx *store.Tx) error {
			if _, err := tx.Exec(ctx, `DELETE FROM shadow_difference`); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `
				INSERT INTO shadow (place, id, digest, files, author, started, stopped, judged, unanswered, denied, step_up, allowed, dropped, unkept, errors)
				VALUES      (1, $1, $2, $3, $4, $5, 0, 0, 0, 0, 0, 0, 0, 0, 0)
				ON CONFLICT (place) DO UPDATE
				SET         id = excluded.id, digest = excluded.digest, files = excluded.files, author = excluded.author, started = excluded.started,
				            stopped = 0, judged = 0, unanswered = 0, denied = 0, step_up = 0, allowed = 0, dropped = 0, unkept = 0, errors = 0`,
				shadow.ID, shadow.Digest, string(files), shadow.Author, store.Micros(shadow.Started))
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("start the shadow: %w", err)
	}
	return nil
}

// End stops the shadow with this id, and does nothing when it is not there.
func (s *Store) End(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE shadow SET stopped = $1 WHERE id = $2 AND stopped = 0`, store.Micros(at), id)
		return err
	})
	if err != nil {
		return fmt.Errorf("stop the shadow: %w", err)
	}
	return nil
}

// Add adds to what the shadow with this id counted and keeps differences. It
// does nothing when another was started since.
func (s *Store) Add(ctx context.Context, id string, c nhi.ShadowCounts, differences []nhi.ShadowDifference) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(ctx, `
			UPDATE shadow
			SET    judged = judged + $1, unanswered = unanswered + $2, denied = denied + $3, step_up = step_up + $4, allowed = allowed + $5,
			       dropped = dropped + $6, unkept = unkept + $7, errors = errors + $8
			WHERE  id = $9`, c.Judged, c.Unanswered, c.Denied, c.StepUp, c.Allowed, c.Dropped, c.Unkept, c.Errors, id)
		if err != nil || n == 0 || len(differences) == 0 {
			return err
		}
		for i := range differences {
			if err := add(ctx, tx, &differences[i]); err != nil {
				return err
			}
		}
		// The newest stay.
		_, err = tx.Exec(ctx, `
			DELETE FROM shadow_difference
			WHERE decision IN (SELECT decision FROM shadow_difference ORDER BY at DESC, decision DESC LIMIT $1 OFFSET $2)`, int64(math.MaxInt32), s.kept)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep what the shadow counted: %w", err)
	}
	return nil
}

func add(ctx context.Context, tx *store.Tx, d *nhi.ShadowDifference) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO shadow_difference (decision, at, kind, identity, resource, body)
		VALUES      ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (decision) DO NOTHING`, d.Decision, store.Micros(d.At), d.Kind, d.Identity, d.Resource, string(body))
	return err
}

// Differences returns those that f chooses, the newest first.
func (s *Store) Differences(ctx context.Context, f nhi.ShadowFilter) ([]nhi.ShadowDifference, error) {
	out := []nhi.ShadowDifference{}
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT   body
			FROM     shadow_difference
			WHERE    ($1 = '' OR identity = $1)
			AND      ($2 = '' OR resource = $2)
			AND      ($3 = '' OR kind = $3)
			ORDER BY at DESC, decision DESC
			LIMIT    $4`, string(f.Identity), f.Resource, f.Kind, f.Limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var body string
			if err := rows.Scan(&body); err != nil {
				return err
			}
			var d nhi.ShadowDifference
			if err := json.Unmarshal([]byte(body), &d); err != nil {
				return err
			}
			out = append(out, d)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list what the shadow would change: %w", err)
	}
	return out, nil
}
