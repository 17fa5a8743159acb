// Package usage keeps how much each identity did, by hour and, beyond 90 days,
// by day, and every refusal. What is added is added in the transaction that
// also moves on the position of the one who counts, so that nothing is counted
// twice or not at all, whatever happens.
package usage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/usage"
)

// How long what is kept.
const (
	Hours    = 90 * 24 * time.Hour  // then by day
	Days     = 800 * 24 * time.Hour // then not at all
	Refusals = 90 * 24 * time.Hour
)

const day = 24 * time.Hour

// kept is how many refusals are kept; a test lowers it.
var kept = usage.Kept

// Add adds counts to what is there.
func Add(ctx context.Context, tx *store.Tx, counts map[usage.Key]uint64) error {
	const add = `
		INSERT INTO usage_hour (start, identity, environment, service, region, jurisdiction, basis, outcome, n)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (start, identity, service, region, outcome, environment, jurisdiction, basis) DO UPDATE
		SET         n = usage_hour.n + excluded.n`
	open := opened{}
	for _, k := range sorted(counts) {
		n := counts[k]
		if err := open.bound(ctx, tx, &k); err != nil {
			return fmt.Errorf("count usage: %w", err)
		}
		_, err := tx.Exec(ctx, add, store.Micros(k.Start), k.Identity, k.Environment, k.Service, k.Region, k.Jurisdiction, k.Basis, k.Outcome, int64(n))
		if err != nil {
			return fmt.Errorf("count usage: %w", err)
		}
	}
	return nil
}

// sorted is in the order of the key, so that writers do not wait for each other
// in a circle and pages of the database are touched once.
func sorted(counts map[usage.Key]uint64) []usage.Key {
	keys := make([]usage.Key, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b usage.Key) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Region, b.Region),
			cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Jurisdiction, b.Jurisdiction), cmp.Compare(a.Basis, b.Basis))
	})
	return keys
}

// opened is which services and regions an identity has in an hour.
type opened map[person]map[place]bool

type person struct {
	start    int64
	identity nhi.ID
}

type place struct{ service, region string }

// bound puts a heading that would be one too many under usage.Other.
func (o opened) bound(ctx context.Context, tx *store.Tx, k *usage.Key) error {
	p := person{store.Micros(k.Start), k.Identity}
	known, ok := o[p]
	if !ok {
		var err error
		if known, err = places(ctx, tx, p); err != nil {
			return err
		}
		o[p] = known
	}
	here := place{k.Service, k.Region}
	if !known[here] && len(known) >= usage.Most {
		k.Service, k.Region, k.Jurisdiction, k.Basis = usage.Other, usage.Other, "", ""
		return nil
	}
	known[here] = true
	return nil
}

func places(ctx context.Context, tx *store.Tx, p person) (map[place]bool, error) {
	const query = `
		SELECT DISTINCT service, region
		FROM   usage_hour
		WHERE  start = $1
		AND    identity = $2`
	rows, err := tx.Query(ctx, query, p.start, p.identity)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[place]bool{}
	for rows.Next() {
		var at place
		if err := rows.Scan(&at.service, &at.region); err != nil {
			return nil, err
		}
		out[at] = true
	}
	return out, rows.Err()
}

// rowsQuery has one row for each bucket and each value of what was asked by.
const rowsQuery = `
		SELECT   bucket, by_identity, by_environment, by_service, by_region, by_jurisdiction, by_basis, by_outcome, by_team, counted, refused
		FROM     (
		SELECT   start - start % $1 AS bucket,
		         CASE WHEN $4 = 1 THEN identity ELSE '' END AS by_identity,
		         CASE WHEN $5 = 1 THEN both_.environment ELSE '' END AS by_environment,
		         CASE WHEN $6 = 1 THEN service ELSE '' END AS by_service,
		         CASE WHEN $7 = 1 THEN region ELSE '' END AS by_region,
		         CASE WHEN $8 = 1 THEN jurisdiction ELSE '' END AS by_jurisdiction,
		         CASE WHEN $8 = 1 THEN basis ELSE '' END AS by_basis,
		         CASE WHEN $9 = 1 THEN outcome ELSE '' END AS by_outcome,
		         CASE WHEN $27 = 1 AND SUBSTR(held.owner, 1, 5) = 'team:' THEN SUBSTR(held.owner, 6) ELSE '' END AS by_team,
		         CAST(SUM(n) AS BIGINT) AS counted,
		         CAST(SUM(CASE WHEN outcome IN ('deny', 'step-up', 'failure') THEN n ELSE 0 END) AS BIGINT) AS refused
		FROM     (
			SELECT start, identity, environment, service, region, jurisdiction, basis, outcome, n
			FROM   usage_hour
			WHERE  start >= $2
			AND    start < $3
			AND    ($10 = '' OR identity = $10)
			UNION  ALL
			SELECT start, identity, environment, service, region, jurisdiction, basis, outcome, n
			FROM   usage_day
			WHERE  start >= $2
			AND    start < $3
			AND    ($10 = '' OR identity = $10)) AS both_
		LEFT     JOIN identity held ON ($27 = 1 OR $28 <> '') AND held.id = both_.identity
		WHERE    ($11 = '' OR both_.environment = $11)
		AND      ($12 = '' OR service = $12)
		AND      ($13 = '' OR region = $13)
		AND      ($14 = '' OR jurisdiction = $14)
		AND      ($15 = '' OR basis = $15)
		AND      ($16 = '' OR outcome = $16)
		AND      ($28 = '' OR held.owner = 'team:' || $28)
		AND      ($17 = '' OR identity IN (
			SELECT id
			FROM   identity
			WHERE  REPLACE($17, '[' || owner || '|]', '') <> $17
			OR     REPLACE($17, '[|' || environment || ']', '') <> $17
			OR     REPLACE($17, '[' || owner || '|' || environment || ']', '') <> $17))
		GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9) AS row_
		WHERE    (bucket, by_identity, by_environment, by_service, by_region, by_jurisdiction, by_basis, by_outcome, by_team) > ($19, $20, $21, $22, $23, $24, $25, $26, $29)
		ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9
		LIMIT    $18`

// Rows answers a question, the oldest bucket first. more says that rows follow
// behind the limit.
func Rows(ctx context.Context, db *store.DB, q usage.Query) (out []usage.Row, more bool, err error) {
	if err := q.Check(); err != nil {
		return nil, false, err
	}
	flag := func(d usage.Dimension) int64 {
		if q.Wants(d) {
			return 1
		}
		return 0
	}
	from, to := q.From.UTC().Truncate(q.Bucket), q.To.UTC()
	after, behind := usage.Key{}, int64(-1) // in front of all
	if q.After != nil {
		after, behind = *q.After, store.Micros(q.After.Start)
		if after.Start.After(from) {
			from = after.Start.UTC()
		}
	}
	err = db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, rowsQuery, q.Bucket.Microseconds(), store.Micros(from), store.Micros(to),
			flag(usage.Identity), flag(usage.Environment), flag(usage.Service), flag(usage.Region), flag(usage.Jurisdiction), flag(usage.Outcome),
			q.Only.Identity, q.Only.Environment, q.Only.Service, q.Only.Region, q.Only.Jurisdiction, q.Only.Basis, q.Only.Outcome, q.Within.Text(),
			q.Limit+1, behind, after.Identity, after.Environment, after.Service, after.Region, after.Jurisdiction, after.Basis, after.Outcome,
			flag(usage.Team), q.Only.Team, after.Team)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r usage.Row
			var start, n, refused int64
			if err := rows.Scan(&start, &r.Identity, &r.Environment, &r.Service, &r.Region, &r.Jurisdiction, &r.Basis, &r.Outcome, &r.Team, &n, &refused); err != nil {
				return err
			}
			r.Start, r.Count, r.Refused = store.Time(start), uint64(n), uint64(refused)
			out = append(out, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, false, fmt.Errorf("read usage: %w", err)
	}
	if len(out) > q.Limit {
		return out[:q.Limit], true, nil
	}
	return out, false, nil
}

// Compact turns hours that are older than Hours into days, one day at a time,
// and forgets what is older than Days, and refusals older than Refusals. A crash
// in between loses and doubles nothing.
func Compact(ctx context.Context, db *store.DB, now time.Time) error {
	limit := store.Micros(now.Add(-Hours).UTC().Truncate(day))
	for {
		done, err := compactDay(ctx, db, limit)
		if err != nil {
			return fmt.Errorf("compact usage: %w", err)
		}
		if done {
			break
		}
	}
	_, err := db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM usage_day WHERE start < $1`, store.Micros(now.Add(-Days).UTC().Truncate(day))); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM refusal WHERE at < $1`, store.Micros(now.Add(-Refusals))); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			-- The oldest beyond $1.
			DELETE FROM refusal
			WHERE  at < (SELECT at FROM refusal ORDER BY at DESC, id DESC LIMIT 1 OFFSET $1)`, kept)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget old usage: %w", err)
	}
	return nil
}

// compactDay moves the oldest day that begins before limit.
func compactDay(ctx context.Context, db *store.DB, limit int64) (done bool, err error) {
	const move = `
		INSERT INTO usage_day (start, identity, environment, service, region, jurisdiction, basis, outcome, n)
		SELECT      CAST($1 AS BIGINT), identity, environment, service, region, jurisdiction, basis, outcome, CAST(SUM(n) AS BIGINT)
		FROM        usage_hour
		WHERE       start >= $1
		AND         start < $2
		GROUP BY    identity, environment, service, region, jurisdiction, basis, outcome
		ON CONFLICT (start, identity, service, region, outcome, environment, jurisdiction, basis) DO UPDATE
		SET         n = usage_day.n + excluded.n`
	_, err = db.Write(ctx, func(tx *store.Tx) error {
		var oldest int64
		if err := tx.QueryRow(ctx, `SELECT COALESCE(MIN(start), $1) FROM usage_hour`, limit).Scan(&oldest); err != nil {
			return err
		}
		if done = oldest >= limit; done {
			return nil
		}
		begin := oldest - oldest%day.Microseconds()
		if _, err := tx.Exec(ctx, move, begin, begin+day.Microseconds()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM usage_hour WHERE start >= $1 AND start < $2`, begin, begin+day.Microseconds())
		return err
	})
	return done, err
}
