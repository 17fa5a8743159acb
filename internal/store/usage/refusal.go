package usage

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/usage"
)

// A crowd are the refusals of a kind in one minute, from one address or from
// everywhere. Those whose address nobody knows are a crowd of their own: what
// others do must not hide them.
type crowd struct {
	minute     int64
	address    string
	everywhere bool // address is empty
	kind       usage.Kind
}

// AddRefusals lists refusals, one row each up to usage.PerMinute of a crowd and
// usage.PerMinuteInAll of a kind; the rest is counted in one more row of the
// crowd or of the kind, so a flood cannot fill the disk.
func AddRefusals(ctx context.Context, tx *store.Tx, refusals []usage.Refusal) error {
	listed := map[crowd]int{}
	for i := range refusals {
		r := refusals[i]
		alone := crowd{minute: store.Micros(r.At.UTC().Truncate(time.Minute)), address: r.Address, kind: r.Kind}
		all := crowd{minute: alone.minute, everywhere: true, kind: r.Kind}
		for _, c := range []crowd{alone, all} {
			if _, ok := listed[c]; ok {
				continue
			}
			n, err := c.listed(ctx, tx)
			if err != nil {
				return fmt.Errorf("count refusals: %w", err)
			}
			listed[c] = n
		}
		switch {
		case listed[alone] >= usage.PerMinute:
			r = alone.rest(r, usage.PerMinute, "one address")
		case listed[all] >= usage.PerMinuteInAll:
			r = all.rest(r, usage.PerMinuteInAll, "all addresses")
		default:
			listed[alone]++
			listed[all]++
		}
		if err := addRefusal(ctx, tx, &r, alone.minute); err != nil {
			return err
		}
	}
	return nil
}

// The rows of a crowd. That of one address is asked for each address that a
// flood comes from, so the index must lead to it.
const (
	listedAlone = `
		SELECT COUNT(*)
		FROM   refusal
		WHERE  minute = $1
		AND    kind = $2
		AND    address = $3`
	listedEverywhere = `
		SELECT COUNT(*)
		FROM   refusal
		WHERE  minute = $1
		AND    kind = $2`
)

// listed counts the rows of a crowd.
func (c crowd) listed(ctx context.Context, tx *store.Tx) (n int, err error) {
	if c.everywhere {
		err = tx.QueryRow(ctx, listedEverywhere, c.minute, c.kind).Scan(&n)
	} else {
		err = tx.QueryRow(ctx, listedAlone, c.minute, c.kind, c.address).Scan(&n)
	}
	return n, err
}

// rest is the row in which what goes beyond the bound of a crowd is counted.
func (c crowd) rest(r usage.Refusal, bound int, of string) usage.Refusal {
	return usage.Refusal{
		ID: nhi.DerivedID("rfs_", fmt.Sprint(c.minute), c.address, string(c.kind), of), At: r.At, Kind: c.kind, Address: c.address, Count: r.Count,
		Reason: fmt.Sprintf("more than %d in a minute from %s; the rest is counted here", bound, of),
	}
}

func addRefusal(ctx context.Context, tx *store.Tx, r *usage.Refusal, minute int64) error {
	const add = `
		INSERT INTO refusal (id, at, minute, kind, identity, claimed, point, address, operation, resource, reason, n)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE
		SET         n = refusal.n + excluded.n`
	_, err := tx.Exec(ctx, add, r.ID, store.Micros(r.At), minute, r.Kind, r.Identity, r.Claimed, r.Point, r.Address, r.Operation, r.Resource, r.Reason, int64(r.Count))
	if err != nil {
		return fmt.Errorf("list a refusal: %w", err)
	}
	return nil
}

// refusalsBefore is the refusals behind a row, the newest first. The comparison
// is one of rows so that the index leads to the place: a page far behind costs
// what the first one does.
const refusalsBefore = `
	SELECT   id, at, kind, identity, claimed, point, address, operation, resource, reason, n
	FROM     refusal
	WHERE    (at, id) < ($1, $2)
	ORDER BY at DESC, id DESC
	LIMIT    $3`

// RefusalsBefore returns up to limit refusals behind a row, the newest first.
// A row without an id is in front of all.
func RefusalsBefore(ctx context.Context, db *store.DB, at int64, id string, limit int) ([]usage.Refusal, error) {
	if id == "" {
		at = math.MaxInt64
	}
	var out []usage.Refusal
	err := db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, refusalsBefore, at, id, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r usage.Refusal
			var when, n int64
			if err := rows.Scan(&r.ID, &when, &r.Kind, &r.Identity, &r.Claimed, &r.Point, &r.Address, &r.Operation, &r.Resource, &r.Reason, &n); err != nil {
				return err
			}
			r.At, r.Count = store.Time(when), uint64(n)
			out = append(out, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list refusals: %w", err)
	}
	return out, nil
}
