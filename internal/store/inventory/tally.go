package inventory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// A sort is what the identities of one row of identity_tally have in common:
// the fields with facets. There are some thousands of sorts where there are
// hundreds of thousands of identities, so whoever counts counts sorts.
type sort struct {
	provider, account                 string
	kind                              nhi.Kind
	environment                       string
	class                             nhi.Class
	owner                             string
	state                             nhi.State
	shadow, static, admin, attestable int
	band                              int
}

// sortColumns are the columns of a sort but the band, as identity and
// identity_tally both have them.
const sortColumns = "provider, account, kind, environment, class, owner, state, shadow, static, admin, attestable"

// columns is where the columns of sortColumns are scanned to.
func (s *sort) columns() []any {
	return []any{&s.provider, &s.account, &s.kind, &s.environment, &s.class, &s.owner, &s.state, &s.shadow, &s.static, &s.admin, &s.attestable}
}

func (s *sort) values() []any {
	return []any{s.provider, s.account, s.kind, s.environment, s.class, s.owner, s.state, s.shadow, s.static, s.admin, s.attestable, s.band}
}

// sortOf is the sort of an identity that holds nothing yet.
func sortOf(i *nhi.Identity) sort {
	return sort{
		provider: i.Provider, account: i.Account, kind: i.Kind, environment: i.Environment.Name, class: i.Environment.Class, owner: i.Owner.Ref,
		state: i.State, shadow: flag(i.Shadow), attestable: flag(i.Attestable), band: band(i.Risk),
	}
}

func (s sort) compare(o sort) int {
	return cmp.Or(cmp.Compare(s.provider, o.provider), cmp.Compare(s.account, o.account), cmp.Compare(s.kind, o.kind),
		cmp.Compare(s.environment, o.environment), cmp.Compare(s.class, o.class), cmp.Compare(s.owner, o.owner), cmp.Compare(s.state, o.state),
		cmp.Compare(s.shadow, o.shadow), cmp.Compare(s.static, o.static), cmp.Compare(s.admin, o.admin), cmp.Compare(s.attestable, o.attestable),
		cmp.Compare(s.band, o.band))
}

// bands are the lower ends of the bands of risk.
var bands = []int{75, 50, 25, 1, 0}

// band is the lower end of the band that a risk lies in.
func band(risk int) int {
	for _, b := range bands {
		if risk >= b {
			return b
		}
	}
	return 0
}

// A tally gathers what one write does to the counts of sorts, and which
// identities' credentials or grants it touched. It is written at the end of the
// write: an import of thousands moves some dozens of counts.
type tally struct {
	tx      *store.Tx
	moved   map[sort]int
	touched map[nhi.ID]bool
}

type tallyKey struct{}

// tally returns the tally of this write.
func (t Tx) tally() *tally {
	return t.tx.Late(tallyKey{}, func() store.Late {
		return &tally{t.tx, map[sort]int{}, map[nhi.ID]bool{}}
	}).(*tally)
}

// move takes an identity out of a sort, if it was in one, and puts it into
// another.
func (l *tally) move(from *sort, to sort) {
	if from != nil {
		if *from == to {
			return
		}
		l.moved[*from]--
	}
	l.moved[to]++
}

// touch says that an identity's credentials or grants may have changed.
func (l *tally) touch(id nhi.ID) { l.touched[id] = true }

// Finish implements [store.Late].
func (l *tally) Finish(ctx context.Context) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(l.touched)), atOnce) {
		if err := l.look(ctx, ids); err != nil {
			return fmt.Errorf("see what identities hold: %w", err)
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(l.moved), sort.compare) {
		if err := l.count(ctx, s, l.moved[s]); err != nil {
			return fmt.Errorf("count identities: %w", err)
		}
	}
	return nil
}

// atOnce is how many identities one query asks for. The text is one, so that it
// is prepared once: fewer are asked for with the last one repeated.
const atOnce = 8

// look brings static and admin of identities up to date.
func (l *tally) look(ctx context.Context, ids []nhi.ID) error {
	const query = `
		SELECT ` + sortColumns + `, risk, id,
		       CASE WHEN EXISTS (
		           SELECT 1
		           FROM   credential c
		           WHERE  c.identity_id = identity.id
		           AND    c.expires = 0
		           AND    c.state IN ('active', 'narrowed')) THEN 1 ELSE 0 END,
		       CASE WHEN EXISTS (
		           SELECT 1
		           FROM   grant_ g
		           WHERE  g.identity_id = identity.id
		           AND    g.admin = 1) THEN 1 ELSE 0 END
		FROM   identity
		WHERE  id IN ($1, $2, $3, $4, $5, $6, $7, $8)`
	args := make([]any, atOnce)
	for i := range args {
		args[i] = string(ids[min(i, len(ids)-1)])
	}
	type change struct {
		id            string
		before, after sort
	}
	found, err := collect(ctx, l.tx, query, func(s scanner) (c change, err error) {
		var static, admin int
		err = s.Scan(append(c.before.columns(), &c.before.band, &c.id, &static, &admin)...)
		c.before.band = band(c.before.band)
		c.after = c.before
		c.after.static, c.after.admin = static, admin
		return c, err
	}, args...)
	if err != nil {
		return err
	}
	for _, c := range found {
		if c.before == c.after {
			continue
		}
		const update = `
			UPDATE identity
			SET    static = $2, admin = $3
			WHERE  id = $1`
		if _, err := l.tx.Exec(ctx, update, c.id, c.after.static, c.after.admin); err != nil {
			return err
		}
		l.move(&c.before, c.after)
	}
	return nil
}

// count adds n to the count of a sort. A sort without identities has no row.
func (l *tally) count(ctx context.Context, s sort, n int) error {
	if n == 0 {
		return nil
	}
	const add = `
		INSERT INTO identity_tally (` + sortColumns + `, band, n)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (` + sortColumns + `, band) DO UPDATE
		SET         n = identity_tally.n + excluded.n`
	if _, err := l.tx.Exec(ctx, add, append(s.values(), n)...); err != nil || n > 0 {
		return err
	}
	const remove = `
		DELETE FROM identity_tally
		WHERE  provider = $1
		AND    account = $2
		AND    kind = $3
		AND    environment = $4
		AND    class = $5
		AND    owner = $6
		AND    state = $7
		AND    shadow = $8
		AND    static = $9
		AND    admin = $10
		AND    attestable = $11
		AND    band = $12
		AND    n = 0`
	_, err := l.tx.Exec(ctx, remove, s.values()...)
	return err
}
