package approval

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// maxKeys is how many idempotency keys one task may have.
const maxKeys = 32

// A Request is that a point asked for an approval in so many words. One point has
// one task for one approval, however often it asks.
type Request struct {
	Task     string // its id
	Point    nhi.ID
	Key      string // digest of what tells this request from others
	Digest   string // of what was sent
	Approval string // id
	Decision string // the denial that it refers to
	Asked    time.Time
}

// Submit keeps a request, whose Task is the id that a new task would have, and
// returns the one that counts: that of the same point with the same key if there
// is one, else r, with the task that the point has for the approval already. The
// error wraps nhi.ErrConflict when the key was sent with something else, and
// nhi.ErrInvalid when the task has too many keys.
func (s *Store) Submit(ctx context.Context, r Request) (Request, error) {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		had, err := submitted(ctx, tx, r.Point, r.Key)
		switch {
		case err == nil && had.Digest != r.Digest:
			return fmt.Errorf("this key was sent with another request: %w", nhi.ErrConflict)
		case err == nil:
			r = had
			return nil
		case !errors.Is(err, nhi.ErrNotFound):
			return err
		}
		n := 0
		err = tx.QueryRow(ctx, `
			SELECT COUNT(*), COALESCE(MIN(task), $3)
			FROM   access_request
			WHERE  approval = $1
			AND    point = $2`, r.Approval, r.Point, r.Task).Scan(&n, &r.Task)
		if err != nil {
			return err
		}
		if n >= maxKeys {
			return nhi.Invalidf("one task has at most %d idempotency keys: send the one that it began with", maxKeys)
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO access_request (point, key, digest, task, approval, decision, asked)
			VALUES      ($1, $2, $3, $4, $5, $6, $7)`,
			r.Point, r.Key, r.Digest, r.Task, r.Approval, r.Decision, store.Micros(r.Asked))
		return err
	})
	if err != nil {
		return Request{}, fmt.Errorf("keep a request for approval %.80q: %w", r.Approval, err)
	}
	return r, nil
}

// Submitted returns what a point sent with a key. The error wraps
// nhi.ErrNotFound when it sent nothing with it.
func (s *Store) Submitted(ctx context.Context, point nhi.ID, key string) (r Request, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		r, err = submitted(ctx, tx, point, key)
		return err
	})
	return r, err
}

func submitted(ctx context.Context, tx *store.Tx, point nhi.ID, key string) (Request, error) {
	return request(tx.QueryRow(ctx, `
		SELECT point, key, digest, task, approval, decision, asked
		FROM   access_request
		WHERE  point = $1
		AND    key = $2`, point, key))
}

// Task returns the request that a task began with. The error wraps
// nhi.ErrNotFound when the point has no such task.
func (s *Store) Task(ctx context.Context, point nhi.ID, task string) (r Request, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		r, err = request(tx.QueryRow(ctx, `
			SELECT   point, key, digest, task, approval, decision, asked
			FROM     access_request
			WHERE    task = $1
			AND      point = $2
			ORDER BY asked, key
			LIMIT    1`, task, point))
		return err
	})
	return r, err
}

func request(row interface{ Scan(...any) error }) (r Request, err error) {
	var asked int64
	if err := row.Scan(&r.Point, &r.Key, &r.Digest, &r.Task, &r.Approval, &r.Decision, &asked); err != nil {
		return Request{}, fmt.Errorf("request for an approval: %w", err)
	}
	r.Asked = store.Time(asked)
	return r, nil
}
