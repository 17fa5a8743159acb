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

// Begin remembers that the request called key begins, and reports true; or
// returns what is known of the request of that key. One that another process
// began and wrote nothing for is begun anew: at once when stale is 0, else
// once it is older than that.
func (s *Store) Begin(ctx context.Context, key, digest string, stale time.Duration) (fresh bool, r Reply, err error) {
	_, err = s.db.Write(ctx, func(tx *store.Tx) error {
		now := time.Now()
		if _, err := tx.Exec(ctx, `DELETE FROM reply WHERE started < $1`, store.Micros(now.Add(-Keep))); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `
			INSERT INTO reply (key, digest, process, started, committed, status, kind, etag, body, shown)
			VALUES      ($1, $2, $3, $4, 0, 0, '', '', '', '')
			ON CONFLICT (key) DO UPDATE
			SET         process = excluded.process,
			            started = excluded.started
			WHERE       reply.digest = excluded.digest
			AND         reply.committed = 0
			AND         reply.status = 0
			AND         reply.process <> excluded.process
			AND         reply.started <= $5`, key, digest, process(), store.Micros(now), store.Micros(now.Add(-stale)))
		if err != nil || n > 0 {
			fresh = n > 0
			return err
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
