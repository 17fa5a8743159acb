package snapshot

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/notify"
	"github.com/muster-id/muster/internal/store/respond"
)

// PromotionKey is that of the change which says that a promotion went on.
const PromotionKey = "promotion"

// A Promoted is the payload of that change.
type Promoted struct {
	ID      string            `json:"id"`
	Gate    nhi.PromotionGate `json:"gate"`
	Percent int               `json:"percent"`
}

// A Promotion is what is stored of one, with what is written beside it.
type Promotion struct {
	nhi.Promotion
	Found   nhi.PromotionFound
	Acts    []nhi.Act
	Notices []nhi.Notice
	// Moved says that other decisions follow from it than before.
	Moved bool
}

// Promotion returns the promotion that began last, the zero Promotion when none
// ever did.
func (s *Store) Promotion(ctx context.Context) (p nhi.Promotion, f nhi.PromotionFound, err error) {
	var body, found string
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `
			SELECT   body, found
			FROM     promotion
			ORDER BY started DESC, id DESC
			LIMIT    1`).Scan(&body, &found)
	})
	if errors.Is(err, sql.ErrNoRows) || errors.Is(err, nhi.ErrNotFound) {
		return p, f, nil
	}
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(body), &p), json.Unmarshal([]byte(found), &f))
	}
	if err != nil {
		return p, f, fmt.Errorf("read the promotion: %w", err)
	}
	return p, f, nil
}

// SavePromotion stores a promotion that goes on.
func (s *Store) SavePromotion(ctx context.Context, p *Promotion) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error { return promote(ctx, tx, p) })
	if err != nil {
		return fmt.Errorf("keep the promotion: %w", err)
	}
	return nil
}

// promote writes a promotion and what is beside it.
func promote(ctx context.Context, tx *store.Tx, p *Promotion) error {
	body, err := json.Marshal(&p.Promotion)
	if err != nil {
		return err
	}
	found, err := json.Marshal(&p.Found)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO promotion (id, sequence, started, body, found)
		VALUES      ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE
		SET    sequence = excluded.sequence, body = excluded.body, found = excluded.found`, p.ID, int64(p.Sequence), store.Micros(p.Started), string(body), string(found))
	if err != nil {
		return err
	}
	for _, act := range p.Acts {
		if err := respond.DueAct(ctx, tx, act); err != nil {
			return err
		}
	}
	if err := notify.Queue(ctx, tx, p.Notices); err != nil {
		return err
	}
	if !p.Moved {
		return nil
	}
	return tx.Change(nhi.SubjectPolicy, PromotionKey, Promoted{p.ID, p.Gate, p.Percent})
}
