// Package signals keeps shared signals: the streams of receivers, the events
// that they have not acknowledged, how far the sequence was told, and what peers
// said. It implements the interfaces that signals/transmit and signals/receive
// declare.
//
// What is told of a piece of the sequence is written together with the position
// after it, so a crash neither loses an event nor tells it twice.
package signals

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
	"github.com/muster-id/muster/internal/store"
)

// Store is over a database and safe for concurrent use.
type Store struct{ db *store.DB }

// New returns a Store over db.
func New(db *store.DB) *Store { return &Store{db} }

// maxStreams is more than all receivers together should have.
const maxStreams = 10_000

// Streams returns all streams, the oldest first, with what waits in each.
func (s *Store) Streams(ctx context.Context) ([]signals.Stream, error) {
	const query = `
		SELECT   s.body, s.sealed, (SELECT COUNT(*) FROM signal_outbox o WHERE o.stream = s.id)
		FROM     signal_stream s
		ORDER BY s.created, s.id
		LIMIT    $1`
	var out []signals.Stream
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, query, maxStreams)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var body string
			var sealed []byte
			var waiting int
			if err := rows.Scan(&body, &sealed, &waiting); err != nil {
				return err
			}
			v, err := decode(body, sealed)
			if err != nil {
				return err
			}
			v.Waiting = waiting
			out = append(out, v)
		}
		return rows.Err()
	})
	return out, err
}

// Stream returns one stream, without what waits in it. The error wraps
// nhi.ErrNotFound.
func (s *Store) Stream(ctx context.Context, id string) (v signals.Stream, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		v, err = get(ctx, tx, id)
		return err
	})
	return v, err
}

func decode(body string, sealed []byte) (v signals.Stream, err error) {
	if err = json.Unmarshal([]byte(body), &v); err != nil {
		return v, fmt.Errorf("read a stream of signals: %w", err)
	}
	v.Sealed = sealed
	return v, nil
}

func put(ctx context.Context, tx *store.Tx, v signals.Stream) error {
	sealed := v.Sealed
	if sealed == nil {
		sealed = []byte{}
	}
	v.Sealed, v.Waiting = nil, 0
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode stream %s: %w", v.ID, err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO signal_stream (id, receiver, created, body, sealed)
		VALUES      ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE
		SET         body = excluded.body, sealed = excluded.sealed`, v.ID, string(v.Receiver), store.Micros(v.Created), string(body), sealed)
	if err != nil {
		return fmt.Errorf("store stream %s: %w", v.ID, err)
	}
	return nil
}

// CreateStream stores a new stream. It returns an error wrapping nhi.ErrConflict
// when its receiver has most already. From the first stream on the sequence is
// told.
func (s *Store) CreateStream(ctx context.Context, v signals.Stream, most int) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		n := 0
		if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM signal_stream WHERE receiver = $1`, string(v.Receiver)).Scan(&n); err != nil {
			return err
		}
		if n >= most {
			return fmt.Errorf("%d streams: %w", n, nhi.ErrConflict)
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO signal_position (id, seq)
			VALUES      (1, $1)
			ON CONFLICT (id) DO NOTHING`, int64(tx.Generation()))
		if err != nil {
			return err
		}
		return put(ctx, tx, v)
	})
	return err
}

// UpdateStream changes a stream in a transaction. One that is disabled afterwards
// holds no events any more. The error wraps nhi.ErrNotFound, or is that of
// change.
func (s *Store) UpdateStream(ctx context.Context, id string, change func(*signals.Stream) error) (signals.Stream, error) {
	var v signals.Stream
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var err error
		if v, err = get(ctx, tx, id); err != nil {
			return err
		}
		if err := change(&v); err != nil {
			return err
		}
		if !v.Holds() {
			if _, err := tx.Exec(ctx, `DELETE FROM signal_outbox WHERE stream = $1`, id); err != nil {
				return err
			}
		}
		return put(ctx, tx, v)
	})
	return v, err
}

func get(ctx context.Context, tx *store.Tx, id string) (signals.Stream, error) {
	var body string
	var sealed []byte
	if err := tx.QueryRow(ctx, `SELECT body, sealed FROM signal_stream WHERE id = $1`, id).Scan(&body, &sealed); err != nil {
		return signals.Stream{}, fmt.Errorf("stream: %w", err)
	}
	return decode(body, sealed)
}

// DeleteStream forgets a stream with its events; one that is not there is no
// error.
func (s *Store) DeleteStream(ctx context.Context, id string) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		for _, query := range []string{
			`DELETE FROM signal_outbox WHERE stream = $1`, `DELETE FROM signal_exclusion WHERE stream = $1`, `DELETE FROM signal_stream WHERE id = $1`,
		} {
			if _, err := tx.Exec(ctx, query, id); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Exclude removes a subject from a stream, or adds it again. It returns an error
// wrapping nhi.ErrConflict when most are removed already.
func (s *Store) Exclude(ctx context.Context, id, subject string, out bool, most int) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		if !out {
			_, err := tx.Exec(ctx, `DELETE FROM signal_exclusion WHERE stream = $1 AND subject = $2`, id, subject)
			return err
		}
		n := 0
		if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM signal_exclusion WHERE stream = $1`, id).Scan(&n); err != nil {
			return err
		}
		if n >= most {
			return fmt.Errorf("%d subjects: %w", n, nhi.ErrConflict)
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO signal_exclusion (stream, subject)
			VALUES      ($1, $2)
			ON CONFLICT (stream, subject) DO NOTHING`, id, subject)
		return err
	})
	return err
}

// Excluded reports whether one of the subjects was removed from a stream.
func (s *Store) Excluded(ctx context.Context, id string, subjects []string) (bool, error) {
	found := false
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		for _, subject := range subjects {
			n := 0
			if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM signal_exclusion WHERE stream = $1 AND subject = $2`, id, subject).Scan(&n); err != nil {
				return err
			}
			found = found || n > 0
		}
		return nil
	})
	return found, err
}

// Heard reports whether a jti of a peer is remembered.
func (s *Store) Heard(ctx context.Context, peer, jti string) (bool, error) {
	n := 0
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM signal_heard WHERE peer = $1 AND jti = $2`, peer, jti).Scan(&n)
	})
	return n > 0, err
}

// Remember keeps a jti of a peer until a time.
func (s *Store) Remember(ctx context.Context, peer, jti string, until time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO signal_heard (peer, jti, until)
			VALUES      ($1, $2, $3)
			ON CONFLICT (peer, jti) DO NOTHING`, peer, jti, store.Micros(until))
		return err
	})
	return err
}

// Forget forgets what needs to be remembered no longer.
func (s *Store) Forget(ctx context.Context, now time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM signal_heard WHERE until <= $1`, store.Micros(now))
		return err
	})
	return err
}
