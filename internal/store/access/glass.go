package access

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// maxGlasses bounds the codes of one point that are looked at: few are alive at
// a time, and who uses them up by the hundred has other troubles.
const maxGlasses = 1000

const glasses = `
			SELECT   body, first, second
			FROM     glass`

func scanGlass(s scanner) (g access.Glass, err error) {
	var body string
	var first, second []byte
	if err := s.Scan(&body, &first, &second); err != nil {
		return g, err
	}
	err = json.Unmarshal([]byte(body), &g)
	g.First, g.Second = first, second
	return g, err
}

// Glasses implements access.Glasses.
func (s *Store) Glasses(ctx context.Context, point nhi.ID) ([]access.Glass, error) {
	const query = glasses + `
			WHERE    point = $2
			OR       $2 = ''
			ORDER BY created DESC, id DESC
			LIMIT    $1`
	var out []access.Glass
	err := s.db.Read(ctx, func(tx *store.Tx) (err error) {
		out, err = glassesOf(ctx, tx, query, maxListed, string(point))
		return err
	})
	return out, err
}

func glassesOf(ctx context.Context, tx *store.Tx, query string, args ...any) ([]access.Glass, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read codes of points: %w", err)
	}
	defer rows.Close()
	var out []access.Glass
	for rows.Next() {
		g, err := scanGlass(rows)
		if err != nil {
			return nil, fmt.Errorf("read codes of points: %w", err)
		}
		out = append(out, g)
	}
	return out, rows.Err()
}

// ChangeGlass implements access.Glasses.
func (s *Store) ChangeGlass(ctx context.Context, point string, change func(*nhi.Point, []access.Glass) (*access.Glass, error)) (access.Glass, error) {
	var changed access.Glass
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const named = points + `
			WHERE     name = $1`
		p, err := scanPoint(tx.QueryRow(ctx, named, point))
		if err != nil {
			return err
		}
		const query = glasses + `
			WHERE    point = $2
			ORDER BY created DESC, id DESC
			LIMIT    $1`
		codes, err := glassesOf(ctx, tx, query, maxGlasses, string(p.ID))
		if err != nil {
			return err
		}
		g, err := change(&p, codes)
		if err != nil {
			return err
		}
		if err := putGlass(ctx, tx, g); err != nil {
			return err
		}
		changed = *g
		if codes, err = glassesOf(ctx, tx, query, maxGlasses, string(p.ID)); err != nil {
			return err
		}
		p.Glass = nil
		for i := range codes {
			if c := &codes[i]; c.StateAt(time.Now()) == access.GlassReady {
				p.Glass = append(p.Glass, nhi.GlassCode{Serial: c.Serial, First: c.First, Second: c.Second, Expires: c.Expires})
			}
		}
		return putPoint(ctx, tx, p)
	})
	return changed, err
}

func putGlass(ctx context.Context, tx *store.Tx, g *access.Glass) error {
	kept := *g
	kept.First, kept.Second = nil, nil // they have columns of their own
	body, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO glass (id, point, state, created, first, second, body)
		VALUES      ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE
		SET         state = excluded.state, second = excluded.second, body = excluded.body`,
		g.Serial, string(g.Point), string(g.State), store.Micros(g.Created), g.First, g.Second, string(body))
	if err != nil {
		return fmt.Errorf("store code %s: %w", g.Serial, err)
	}
	return nil
}
