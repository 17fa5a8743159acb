// Package notify keeps messages to people until their channels have taken
// them. A notice is queued in the transaction of the act it tells of, so no
// act is without its message and no message without its act. It implements
// the outbox that the domain notify declares.
package notify

import (
	"context"
	"encoding/json"
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

// Due implements notify.Outbox.
func (o *Outbox) Due(ctx context.Context, channel string, at time.Time, limit int) ([]notify.Waiting, error) {
	var out []notify.Waiting
	err := o.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT    n.body, COALESCE(d.attempts, 0)
			FROM      notice n
			LEFT JOIN delivery d ON d.notice = n.id AND d.channel = $1
			WHERE     COALESCE(d.status, 'waiting') = 'waiting'
			AND       COALESCE(d.due, 0) <= $2
			ORDER BY  n.at, n.id
			LIMIT     $3`, channel, store.Micros(at), limit)
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
