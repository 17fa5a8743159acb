// Package notify keeps messages to people until their channels have taken
// them. A notice is queued in the transaction of the act it tells of, so no
// act is without its message and no message without its act. It implements
// the outbox that the domain notify declares.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/store"
)

// Queue adds notices in tx. The same id twice is one notice.
func Queue(ctx context.Context, tx *store.Tx, notices []nhi.Notice) error {
	for _, n := range notices {
		body, err := json.Marshal(n)
		if err != nil {
			return fmt.Errorf("encode notice %s: %w", n.ID, err)
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO notice (id, severity, at, body)
			VALUES      ($1, $2, $3, $4)
			ON CONFLICT (id) DO NOTHING`, n.ID, n.Severity, store.Micros(n.At), string(body))
		if err != nil {
			return fmt.Errorf("queue notice %s: %w", n.ID, err)
		}
	}
	return nil
}

// Outbox implements notify.Outbox over db.
type Outbox struct{ db *store.DB }

// New returns an Outbox over db.
func New(db *store.DB) *Outbox { return &Outbox{db: db} }

// Route implements notify.Outbox.
func (o *Outbox) Route(ctx context.Context, wants []notify.Want) error {
	waiting := false
	err := o.db.Read(ctx, func(tx *store.Tx) error {
		var id string
		err := tx.QueryRow(ctx, `SELECT id FROM notice WHERE routed = 0 LIMIT 1`).Scan(&id)
		if waiting = err == nil; errors.Is(err, nhi.ErrNotFound) {
			return nil
		}
		return err
	})
	if err == nil && waiting {
		_, err = o.db.Write(ctx, func(tx *store.Tx) error { return route(ctx, tx, wants) })
	}
	if err != nil {
		return fmt.Errorf("route notices: %w", err)
	}
	return nil
}

func route(ctx context.Context, tx *store.Tx, wants []notify.Want) error {
	for _, w := range wants {
		for _, severity := range w.Severities {
			_, err := tx.Exec(ctx, `
				INSERT INTO delivery (notice, channel, status, attempts, due, error)
				SELECT      id, $1, $2, 0, 0, ''
				FROM        notice
				WHERE       routed = 0
				AND         severity = $3
				ON CONFLICT (notice, channel) DO NOTHING`, w.Channel, notify.StatusWaiting, severity)
			if err != nil {
				return err
			}
		}
	}
	_, err := tx.Exec(ctx, `UPDATE notice SET routed = 1 WHERE routed = 0`)
	return err
}

// Due implements notify.Outbox.
func (o *Outbox) Due(ctx context.Context, channel string, at time.Time, limit int) ([]notify.Waiting, error) {
	var out []notify.Waiting
	err := o.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT   n.body, d.attempts
			FROM     delivery d
			JOIN     notice n ON n.id = d.notice
			WHERE    d.channel = $1
			AND      d.status = 'waiting'
			AND      d.due <= $2
			ORDER BY d.due, n.at, n.id
			LIMIT    $3`, channel, store.Micros(at), limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var body string
			var w notify.Waiting
			if err := rows.Scan(&body, &w.Attempts); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(body), &w.Notice); err != nil {
				return fmt.Errorf("read notice: %w", err)
			}
			out = append(out, w)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read the outbox of %s: %w", channel, err)
	}
	return out, nil
}

// Settle implements notify.Outbox.
func (o *Outbox) Settle(ctx context.Context, channel string, s notify.Settled) error {
	_, err := o.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO delivery (notice, channel, status, attempts, due, error)
			VALUES      ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (notice, channel) DO UPDATE
			SET         status   = excluded.status,
			            attempts = excluded.attempts,
			            due      = excluded.due,
			            error    = excluded.error`,
			s.Notice, channel, s.Status, s.Attempts, store.Micros(s.Due), s.Error)
		return err
	})
	if err != nil {
		return fmt.Errorf("settle notice %s for %s: %w", s.Notice, channel, err)
	}
	return nil
}

// Forget implements notify.Outbox.
func (o *Outbox) Forget(ctx context.Context, before time.Time) error {
	_, err := o.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `
			DELETE FROM delivery
			WHERE       notice IN (SELECT id FROM notice WHERE at < $1)`, store.Micros(before))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM notice WHERE at < $1`, store.Micros(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("forget old notices: %w", err)
	}
	return nil
}
