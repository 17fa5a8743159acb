package signals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
	"github.com/muster-id/muster/internal/store"
)

// Due returns up to limit events of a stream, the oldest first.
func (s *Store) Due(ctx context.Context, stream string, limit int) ([]signals.Waiting, error) {
	const query = `
		SELECT   id, at, claims
		FROM     signal_outbox
		WHERE    stream = $1
		ORDER BY seq
		LIMIT    $2`
	var out []signals.Waiting
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, query, stream, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var w signals.Waiting
			var at int64
			var claims string
			if err := rows.Scan(&w.ID, &at, &claims); err != nil {
				return err
			}
			w.At, w.Claims = store.Time(at), []byte(claims)
			out = append(out, w)
		}
		return rows.Err()
	})
	return out, err
}

// Queue adds an event at the end of a stream; one for a stream that is gone, or
// that holds nothing, is dropped.
func (s *Store) Queue(ctx context.Context, stream string, w signals.Waiting) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error { return queue(ctx, tx, stream, w) })
	return err
}

func queue(ctx context.Context, tx *store.Tx, stream string, w signals.Waiting) error {
	v, err := get(ctx, tx, stream)
	if errors.Is(err, nhi.ErrNotFound) || err == nil && !v.Holds() {
		return nil
	}
	if err != nil {
		return err
	}
	last := int64(0)
	if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(seq), 0) FROM signal_outbox WHERE stream = $1`, stream).Scan(&last); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO signal_outbox (stream, seq, id, at, claims)
		VALUES      ($1, $2, $3, $4, $5)
		ON CONFLICT (stream, id) DO NOTHING`, stream, last+1, w.ID, store.Micros(w.At), string(w.Claims))
	if err != nil {
		return fmt.Errorf("queue signal %s: %w", w.ID, err)
	}
	return nil
}

// Settle forgets events of a stream and returns how many were there.
func (s *Store) Settle(ctx context.Context, stream string, ids []string) (int, error) {
	settled := int64(0)
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		settled = 0 // the transaction may be tried again
		for _, id := range ids {
			n, err := tx.Exec(ctx, `DELETE FROM signal_outbox WHERE stream = $1 AND id = $2`, stream, id)
			if err != nil {
				return err
			}
			settled += n
		}
		return nil
	})
	return int(settled), err
}

// Expire forgets events from before a time, adds their number to what their streams
// lost, and returns it by the id of the stream.
func (s *Store) Expire(ctx context.Context, before time.Time) (map[string]int64, error) {
	const old = `
		SELECT   stream, COUNT(*)
		FROM     signal_outbox
		WHERE    at < $1
		GROUP BY stream
		ORDER BY stream`
	var lost map[string]int64
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		lost = map[string]int64{} // the transaction may be tried again
		rows, err := tx.Query(ctx, old, store.Micros(before))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var stream string
			var n int64
			if err := rows.Scan(&stream, &n); err != nil {
				return err
			}
			lost[stream] = n
		}
		if err := rows.Err(); err != nil || len(lost) == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM signal_outbox WHERE at < $1`, store.Micros(before)); err != nil {
			return err
		}
		return addLost(ctx, tx, lost)
	})
	if err != nil {
		return nil, err
	}
	return lost, nil
}

func addLost(ctx context.Context, tx *store.Tx, lost map[string]int64) error {
	for _, id := range slices.Sorted(maps.Keys(lost)) {
		v, err := get(ctx, tx, id)
		if errors.Is(err, nhi.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		v.Lost += lost[id]
		if err := put(ctx, tx, v); err != nil {
			return err
		}
	}
	return nil
}

// Position returns the last change that was told, and what is known since. ok is
// false when nobody listens.
func (s *Store) Position(ctx context.Context) (at nhi.Generation, known map[string]signals.Known, ok bool, err error) {
	known = map[string]signals.Known{}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		var seq int64
		switch err := tx.QueryRow(ctx, `SELECT seq FROM signal_position WHERE id = 1`).Scan(&seq); {
		case errors.Is(err, nhi.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		at, ok = nhi.Generation(seq), true
		rows, err := tx.Query(ctx, `SELECT id, body FROM signal_known ORDER BY id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, body string
			var k signals.Known
			if err := rows.Scan(&id, &body); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(body), &k); err != nil {
				return fmt.Errorf("read what was told of %s: %w", id, err)
			}
			known[id] = k
		}
		return rows.Err()
	})
	return at, known, ok, err
}

// Tell writes what follows from a piece of the sequence: events, knowledge and
// the position after it.
func (s *Store) Tell(ctx context.Context, t signals.Telling) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO signal_position (id, seq)
			VALUES      (1, $1)
			ON CONFLICT (id) DO UPDATE
			SET         seq = excluded.seq`, int64(t.Through))
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(t.Known)) {
			if err := learn(ctx, tx, id, t.Known[id]); err != nil {
				return err
			}
		}
		for _, e := range t.Events {
			if err := queue(ctx, tx, e.Stream, e.Waiting); err != nil {
				return err
			}
		}
		return addLost(ctx, tx, t.Lost)
	})
	return err
}

func learn(ctx context.Context, tx *store.Tx, id string, k signals.Known) error {
	if k == (signals.Known{}) {
		_, err := tx.Exec(ctx, `DELETE FROM signal_known WHERE id = $1`, id)
		return err
	}
	body, err := json.Marshal(k)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO signal_known (id, body)
		VALUES      ($1, $2)
		ON CONFLICT (id) DO UPDATE
		SET         body = excluded.body`, id, string(body))
	return err
}

// Rest forgets position and knowledge, unless there is a stream.
func (s *Store) Rest(ctx context.Context) error {
	told := false
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		n := 0
		err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM signal_position`).Scan(&n)
		told = n > 0
		return err
	})
	if err != nil || !told {
		return err
	}
	_, err = s.db.Write(ctx, func(tx *store.Tx) error {
		for _, query := range []string{
			`DELETE FROM signal_known WHERE NOT EXISTS (SELECT 1 FROM signal_stream)`,
			`DELETE FROM signal_position WHERE NOT EXISTS (SELECT 1 FROM signal_stream)`,
		} {
			if _, err := tx.Exec(ctx, query); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Changes returns changes after a position. The error wraps nhi.ErrNotFound when
// they are not kept any more.
func (s *Store) Changes(ctx context.Context, after nhi.Generation, limit int) ([]nhi.Change, error) {
	changes, err := s.db.Changes(ctx, after, limit)
	if errors.Is(err, store.ErrTooOld) {
		err = fmt.Errorf("%w: %w", nhi.ErrNotFound, err)
	}
	return changes, err
}

// Generation is the number of the last change.
func (s *Store) Generation() nhi.Generation { return s.db.Generation() }
