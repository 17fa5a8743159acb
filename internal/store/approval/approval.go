// Package approval keeps what people were asked to approve. It implements the
// store that the domain decision/approval declares, and the list of approvals.
//
// Every write is one change of nhi.SubjectApproval in the same transaction, so
// every process sees a vote with the next change that it follows, and two that
// spend the same approval meet in the database: one of them finds it used. The
// notice that asks people is queued with the question, so that none is asked in
// silence, and what the audit log has to say with the vote.
package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/inventory"
	"github.com/muster-id/muster/internal/store/notify"
	"github.com/muster-id/muster/internal/store/respond"
)

// Keep is how long an approval is kept after it was asked for. It is longer than
// any can be open.
const Keep = 90 * 24 * time.Hour

// maxOpen is more than a desk keeps open.
const maxOpen = 20_000

// Hooks say what else is written with an approval, in the same transaction. They
// must not block. What is nil writes nothing.
type Hooks struct {
	// Tells returns what people are told when somebody asks; who asks is empty
	// when the inventory no longer has it.
	Tells func(a nhi.Approval, who nhi.Identity) []nhi.Notice
	// Acts returns what a change is in the audit log.
	Acts func(before, after *nhi.Approval) []nhi.Act
}

// Store implements approval.Store over db. It is safe for concurrent use.
type Store struct {
	db    *store.DB
	hooks Hooks
}

// New returns a Store over db.
func New(db *store.DB, hooks Hooks) *Store { return &Store{db: db, hooks: hooks} }

// Put implements approval.Store.
func (s *Store) Put(ctx context.Context, a nhi.Approval) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		if err := own(ctx, tx, &a); err != nil {
			return err
		}
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `
			INSERT INTO approval (id, state, identity, point, action, resource, sensitivity, asked, expires, body)
			VALUES      ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (id) DO NOTHING`,
			a.ID, a.State, a.Identity, a.Point, a.Action, a.Resource, a.Sensitivity, store.Micros(a.Asked), store.Micros(a.Expires), string(body))
		if err != nil || n == 0 {
			return err
		}
		if err := s.tell(ctx, tx, a); err != nil {
			return err
		}
		return tx.Change(nhi.SubjectApproval, a.ID, a)
	})
	if err != nil {
		return fmt.Errorf("keep approval %s: %w", a.ID, err)
	}
	return nil
}

// own notes who answers for those that a question is for. Whoever gives them to
// somebody else afterwards must not approve it either.
func own(ctx context.Context, tx *store.Tx, a *nhi.Approval) error {
	a.Owners = nil
	for _, id := range append([]nhi.ID{a.Identity}, a.Behind...) {
		who, err := inventory.GetIdentity(ctx, tx, id)
		if err != nil && !errors.Is(err, nhi.ErrNotFound) {
			return err
		}
		if who.Owner.Ref != "" && !slices.Contains(a.Owners, who.Owner.Ref) {
			a.Owners = append(a.Owners, who.Owner.Ref)
		}
	}
	return nil
}

func (s *Store) tell(ctx context.Context, tx *store.Tx, a nhi.Approval) error {
	if s.hooks.Tells == nil {
		return nil
	}
	who, err := inventory.GetIdentity(ctx, tx, a.Identity)
	if err != nil && !errors.Is(err, nhi.ErrNotFound) {
		return err
	}
	return notify.Queue(ctx, tx, s.hooks.Tells(a, who))
}

// Change implements approval.Store. What it returns is durable.
func (s *Store) Change(ctx context.Context, id string, change func(*nhi.Approval) error) (nhi.Approval, error) {
	var a nhi.Approval
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var err error
		if a, err = get(ctx, tx, id); err != nil {
			return err
		}
		before := a
		before.Votes = slices.Clone(a.Votes)
		if err := change(&a); err != nil {
			return err
		}
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			UPDATE approval
			SET    state   = $2,
			       expires = $3,
			       body    = $4
			WHERE  id = $1`, a.ID, a.State, store.Micros(a.Expires), string(body))
		if err != nil {
			return err
		}
		if s.hooks.Acts != nil {
			for _, act := range s.hooks.Acts(&before, &a) {
				if err := respond.DueAct(ctx, tx, act); err != nil {
					return err
				}
			}
		}
		return tx.Change(nhi.SubjectApproval, a.ID, a)
	})
	return a, err
}

// Get returns one approval. The error wraps nhi.ErrNotFound when there is none.
func (s *Store) Get(ctx context.Context, id string) (a nhi.Approval, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		a, err = get(ctx, tx, id)
		return err
	})
	return a, err
}

func get(ctx context.Context, tx *store.Tx, id string) (a nhi.Approval, err error) {
	var body string
	if err := tx.QueryRow(ctx, `SELECT body FROM approval WHERE id = $1`, id).Scan(&body); err != nil {
		return a, fmt.Errorf("approval %.80q: %w", id, err)
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return a, fmt.Errorf("read approval %.80q: %w", id, err)
	}
	return a, nil
}

// OfDecision returns the approval that a decision asked for first. The error
// wraps nhi.ErrNotFound when it asked for none.
func (s *Store) OfDecision(ctx context.Context, identity nhi.ID, decision string) (nhi.Approval, error) {
	var found []nhi.Approval
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT   body
			FROM     approval
			WHERE    identity = $1
			ORDER BY asked DESC, id
			LIMIT    1000`, identity)
		found, err = bodies(rows, err)
		return err
	})
	if err != nil {
		return nhi.Approval{}, fmt.Errorf("find the approval that decision %.80q asked for: %w", decision, err)
	}
	for i := range found {
		if found[i].Decision == decision {
			return found[i], nil
		}
	}
	return nhi.Approval{}, fmt.Errorf("decision %.80q asked for no approval: %w", decision, nhi.ErrNotFound)
}

// Open implements approval.Store.
func (s *Store) Open(ctx context.Context, now time.Time) ([]nhi.Approval, error) {
	var out []nhi.Approval
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `
			-- What waits for people, and what they approved and nobody has used.
			SELECT   body
			FROM     approval
			WHERE    state IN ('pending', 'approved')
			AND      expires > $1
			ORDER BY asked, id
			LIMIT    $2`, store.Micros(now), maxOpen)
		out, err = bodies(rows, err)
		return err
	})
	return out, err
}

func bodies(rows *store.Rows, err error) ([]nhi.Approval, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []nhi.Approval
	for rows.Next() {
		var body string
		var a nhi.Approval
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			return nil, fmt.Errorf("read approval: %w", err)
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

// Forget removes approvals that were asked for before a time, and what points
// sent about them. They are closed since long, so nobody follows that change.
func Forget(ctx context.Context, db *store.DB, before time.Time) error {
	_, err := db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `
			DELETE FROM access_request
			WHERE  approval IN (SELECT id FROM approval WHERE asked < $1)`, store.Micros(before))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM approval WHERE asked < $1`, store.Micros(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("forget old approvals: %w", err)
	}
	return nil
}

// columns are the fields of filter.Approvals in SQL; $2 is the time.
var columns = filter.Columns{
	"id": "id", "identity": "identity", "point": "point", "action": "action", "resource": "resource", "sensitivity": "sensitivity", "at": "asked", "expires": "expires",
	"state":       "(CASE WHEN state IN ('pending', 'approved') AND expires <= $2 THEN 'expired' ELSE state END)",
	"environment": "COALESCE((SELECT i.environment FROM identity i WHERE i.id = approval.identity), '')",
	"owner":       "COALESCE((SELECT i.owner FROM identity i WHERE i.id = approval.identity), '')",
}

// word finds approvals by id, by resource, and by the name of the identity.
func word(w string, arg func(any) string) string {
	return "id = " + arg(w) + " OR resource = " + arg(w) + " OR EXISTS (SELECT 1 FROM identity i WHERE i.id = approval.identity AND i.name = " + arg(w) + ")"
}

// List returns a part of the approvals as they stand at a time. The number of a
// position is when it was asked for.
func (s *Store) List(ctx context.Context, p filter.Part, now time.Time) (filter.Slice[nhi.Approval], error) {
	var out filter.Slice[nhi.Approval]
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		direction, sign := "", ">"
		if p.Order.Descending {
			direction, sign = " DESC", "<"
		}
		where, args, err := narrowed(p, 5)
		if err != nil {
			return err
		}
		rows, err := tx.QueryOnce(ctx, `
			-- One page of the approvals that a filter describes.
			SELECT   body
			FROM     approval
			WHERE    ($4 = '' OR (asked, id) `+sign+` ($3, $4))
			AND      CAST($2 AS BIGINT) IS NOT NULL
			AND      `+where+`
			ORDER BY asked`+direction+`, id`+direction+`
			LIMIT    $1`, append([]any{p.Limit + 1, store.Micros(now), p.After.Number, p.After.ID}, args...)...)
		if out.Rows, err = bodies(rows, err); err != nil {
			return err
		}
		if out.More = len(out.Rows) > p.Limit; out.More {
			out.Rows = out.Rows[:p.Limit]
		}
		if p.Count {
			out.Total, out.AtLeast, err = count(ctx, tx, p, now)
		}
		return err
	})
	if err != nil {
		return out, fmt.Errorf("list approvals: %w", err)
	}
	return out, nil
}

// narrowed is the predicate of filter and scopes.
func narrowed(p filter.Part, first int) (string, []any, error) {
	where, args, err := p.Expr.SQL(columns, word, first)
	if err != nil {
		return "", nil, err
	}
	within, scopes := filter.Within(p.Within, columns["owner"], columns["environment"], first+len(args))
	return where + " AND " + within, append(args, scopes...), nil
}

func count(ctx context.Context, tx *store.Tx, p filter.Part, now time.Time) (int, bool, error) {
	where, args, err := narrowed(p, 3)
	if err != nil {
		return 0, false, err
	}
	n := 0
	rows, err := tx.QueryOnce(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM approval WHERE CAST($2 AS BIGINT) IS NOT NULL AND "+where+" LIMIT $1) AS found", append([]any{filter.MaxCount + 1, store.Micros(now)}, args...)...)
	if err != nil {
		return 0, false, err
	}
	defer rows.Close()
	if rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, false, err
		}
	}
	return min(n, filter.MaxCount), n > filter.MaxCount, rows.Err()
}
