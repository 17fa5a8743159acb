package desk

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// Keep is how long a request with an idempotency key is remembered.
const Keep = 24 * time.Hour

// MaxReplies is how many requests with an idempotency key are remembered of one
// caller. Whoever sends more within a day is refused, before anything is done.
// To forget the oldest instead would be kinder and wrong: a key is a promise
// that what is sent again happens once, and of a request that is forgotten
// early the repetition, perhaps of somebody's key being made, would happen
// twice. Who is refused has lost nothing and can go on without a key.
const MaxReplies = 20_000

// A Reply is what was answered to a request with an idempotency key.
type Reply struct {
	Digest    string // of the request; a keyed hash
	Committed bool   // the request's first write is on disk
	Ours      bool   // this process began it
	Status    int    // 0: not answered yet
	Kind      string // content type
	ETag      string
	Body      string
	Shown     string // id of what was shown once; Body is empty then
}

// process tells this run of the program from others.
var process = sync.OnceValue(rand.Text)

// Begin remembers that the request called key of a caller begins, and reports
// true; or returns what is known of the request of that key. A new request of
// a caller of whom most are remembered is an error wrapping nhi.ErrBusy. One that another process
// began and wrote nothing for is begun anew: at once when stale is 0, else
// once it is older than that.
func (s *Store) Begin(ctx context.Context, caller, key, digest string, stale time.Duration, most int) (fresh bool, r Reply, err error) {
	_, err = s.db.Write(ctx, func(tx *store.Tx) error {
		now := time.Now()
		if _, err := tx.Exec(ctx, `DELETE FROM reply WHERE started < $1`, store.Micros(now.Add(-Keep))); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `
			INSERT INTO reply (key, digest, process, started, committed, status, kind, etag, body, shown, caller)
			VALUES      ($1, $2, $3, $4, 0, 0, '', '', '', '', $6)
			ON CONFLICT (key) DO UPDATE
			SET         process = excluded.process,
			            started = excluded.started
			WHERE       reply.digest = excluded.digest
			AND         reply.committed = 0
			AND         reply.status = 0
			AND         reply.process <> excluded.process
			AND         reply.started <= $5`, key, digest, process(), store.Micros(now), store.Micros(now.Add(-stale)), caller)
		if err != nil {
			return err
		}
		if fresh = n > 0; fresh {
			return room(ctx, tx, caller, now, most)
		}
		var by string
		err = tx.QueryRow(ctx, `
			SELECT digest, process, committed, status, kind, etag, body, shown
			FROM   reply
			WHERE  key = $1`, key).Scan(&r.Digest, &by, &r.Committed, &r.Status, &r.Kind, &r.ETag, &r.Body, &r.Shown)
		r.Ours = by == process()
		return err
	})
	if err != nil {
		return false, Reply{}, fmt.Errorf("remember a request: %w", err)
	}
	return fresh, r, nil
}

// room refuses a request, which is counted already, beyond the most of its
// caller. What is too old counts no more even where it was not deleted yet.
func room(ctx context.Context, tx *store.Tx, caller string, now time.Time, most int) error {
	const query = `
		SELECT COUNT(*)
		FROM   (SELECT 1
		        FROM   reply
		        WHERE  caller = $1
		        AND    started >= $2
		        LIMIT  $3) AS remembered`
	var n int
	if err := tx.QueryRow(ctx, query, caller, store.Micros(now.Add(-Keep)), most+1).Scan(&n); err != nil {
		return err
	}
	if n > most {
		return fmt.Errorf("%d requests of yours with an Idempotency-Key are remembered, which is the most in %d hours; send this one without a key, or wait until the oldest is that old: %w",
			most, int(Keep.Hours()), nhi.ErrBusy)
	}
	return nil
}

// Beside returns a context whose writes are marked, in their own transaction,
// as those of the request called key. They fail when the request was taken
// over by another process.
func (s *Store) Beside(ctx context.Context, key string) context.Context {
	return store.Beside(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(context.WithoutCancel(ctx), `
			UPDATE reply
			SET    committed = 1
			WHERE  key = $1
			AND    process = $2`, key, process())
		if err == nil && n == 0 {
			err = fmt.Errorf("another process took this request over: %w", nhi.ErrConflict)
		}
		return err
	})
}

// Finish remembers what was answered.
func (s *Store) Finish(ctx context.Context, key string, r Reply) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE reply
			SET    status = $3, kind = $4, etag = $5, body = $6, shown = $7
			WHERE  key = $1
			AND    process = $2`, key, process(), r.Status, r.Kind, r.ETag, r.Body, r.Shown)
		return err
	})
	if err != nil {
		return fmt.Errorf("remember a reply: %w", err)
	}
	return nil
}

// Drop forgets a request that wrote nothing, and reports whether that is so.
func (s *Store) Drop(ctx context.Context, key string) (bool, error) {
	var n int64
	_, err := s.db.Write(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.Exec(ctx, `
			DELETE FROM reply
			WHERE       key = $1
			AND         process = $2
			AND         committed = 0`, key, process())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("forget a request: %w", err)
	}
	return n > 0, nil
}
