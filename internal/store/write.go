package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// How much one transaction may gather before it commits. The time keeps a
// large import from holding up, for longer than itself, those behind it.
const (
	groupWrites = 256
	groupTime   = 20 * time.Millisecond
)

var errUnfinished = errors.New("the transaction was never committed")

// A write waits in the queue until a leader runs it. Before done is closed its
// results belong to the leader.
type write struct {
	ctx        context.Context
	fn         func(*Tx) error
	alone      bool
	done       chan struct{}
	changes    []nhi.Change
	generation nhi.Generation
	err        error
	panicked   any
}

// Write runs fn in a transaction and returns when its rows are on disk and
// the hooks have seen its changes. The generation is that of fn's last change,
// or the current one if it made none. When fn fails, or panics, nothing of it
// remains and Write returns its error, or panics.
//
// fn may run on another caller's goroutine, shares its transaction with other
// writes, and runs at most once. Ending ctx takes a waiting write out of the queue; a
// write that has begun goes on to its next statement, and one that has passed
// its last statement is committed and reported as such. So an error that wraps
// ctx's means that nothing was written, and so does every other error but
// ErrUncertain. A database that is away gives an error wrapping
// nhi.ErrUnavailable.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) (nhi.Generation, error) {
	return db.enqueue(&write{ctx: ctx, fn: beside(ctx, fn), done: make(chan struct{})})
}

// WriteAlone is Write for very many rows, such as an import: the transaction is
// fn's own and needs no savepoint, which in SQLite costs more with every row.
func (db *DB) WriteAlone(ctx context.Context, fn func(*Tx) error) (nhi.Generation, error) {
	return db.enqueue(&write{ctx: ctx, fn: beside(ctx, fn), alone: true, done: make(chan struct{})})
}

func (db *DB) enqueue(w *write) (nhi.Generation, error) {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return 0, ErrClosed
	}
	db.queue = append(db.queue, w)
	db.mu.Unlock()

	select {
	case <-w.done:
	case db.lead <- struct{}{}:
		db.leadUntil(w)
	case <-w.ctx.Done():
		if db.withdraw(w) {
			return 0, fmt.Errorf("wait to write: %w", w.ctx.Err())
		}
		<-w.done
	}
	if w.panicked != nil {
		panic(w.panicked)
	}
	return w.generation, w.err
}

type besideKey struct{}

// Beside returns a context whose writes also run what is given, in the same
// transaction and after their own function: what must be on disk exactly when
// their effect is. An error of it undoes the write.
func Beside(ctx context.Context, also func(*Tx) error) context.Context {
	return context.WithValue(ctx, besideKey{}, also)
}

func beside(ctx context.Context, fn func(*Tx) error) func(*Tx) error {
	also, ok := ctx.Value(besideKey{}).(func(*Tx) error)
	if !ok {
		return fn
	}
	return func(tx *Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return also(tx)
	}
}

// leadUntil writes groups until w is done. Those that queue up meanwhile find
// the lead free afterwards.
func (db *DB) leadUntil(w *write) {
	defer func() { <-db.lead }()
	ctx := context.WithoutCancel(w.ctx)
	for {
		select {
		case <-w.done:
			return
		default:
			db.group(ctx)
		}
	}
}

// withdraw takes w out of the queue and reports whether it was still there.
func (db *DB) withdraw(w *write) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	n := len(db.queue)
	db.queue = slices.DeleteFunc(db.queue, func(other *write) bool { return other == w })
	return len(db.queue) < n
}

// next takes the first write out of the queue, nil when there is none or it must
// not share the transaction of those before it.
func (db *DB) next(before []*write) *write {
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(db.queue) == 0 {
		return nil
	}
	w := db.queue[0]
	if len(before) > 0 && (w.alone || before[0].alone) {
		return nil
	}
	db.queue[0] = nil
	db.queue = db.queue[1:]
	return w
}

// group runs the writes that wait in one transaction, commits, tells the hooks
// and then the writers. Only the leader calls it.
func (db *DB) group(ctx context.Context) {
	var writes []*write
	err := errUnfinished // stays if a function ends the goroutine under our feet
	defer func() {
		if errors.Is(err, errUnfinished) {
			db.dropWriter() // and with it the transaction
		}
		for _, w := range writes {
			if err != nil {
				w.changes, w.err = nil, errors.Join(w.err, err)
			}
			close(w.done)
		}
	}()
	failed := db.begin(ctx)
	began := time.Now()
	fresh := true // nothing was written in this transaction
	for len(writes) < groupWrites && (len(writes) == 0 || time.Since(began) < groupTime) {
		w := db.next(writes)
		if w == nil {
			break
		}
		writes = append(writes, w)
		if failed == nil {
			failed = db.run(ctx, w, fresh)
			fresh = fresh && (w.err != nil || w.panicked != nil)
		}
	}
	if failed == nil {
		failed = db.commit(ctx)
	}
	if err = failed; err != nil {
		db.dropWriter()
		return
	}
	db.publish(writes)
}

// run runs one write, in a savepoint unless the transaction is fresh: then to
// undo it is to begin again. Its own failure is put into w; the error that run
// returns is one that ends the whole transaction.
func (db *DB) run(ctx context.Context, w *write, fresh bool) error {
	if w.err = w.ctx.Err(); w.err != nil {
		return nil
	}
	if !fresh {
		if err := db.writer.queue(ctx, "SAVEPOINT one"); err != nil {
			return fmt.Errorf("savepoint: %w", db.explain(err))
		}
	}
	tx := &Tx{conn: db.writer, writes: true, generation: db.at.seq, pruned: db.at.pruned}
	w.err = db.full(db.call(w, tx))
	if w.err != nil || w.panicked != nil {
		w.changes = nil
		if err := db.undo(ctx, fresh); err != nil {
			return fmt.Errorf("the transaction is lost: %w", db.explain(err))
		}
	}
	if !fresh {
		if err := db.writer.queue(ctx, "RELEASE SAVEPOINT one"); err != nil {
			return fmt.Errorf("release: %w", db.explain(err))
		}
	}
	if w.err == nil && w.panicked == nil {
		db.at.seq = max(tx.jump, db.at.seq+int64(len(w.changes)))
		db.at.pruned = max(db.at.pruned, tx.forgot)
		w.generation = nhi.Generation(db.at.seq)
	}
	return nil
}

// undo takes back what one write did.
func (db *DB) undo(ctx context.Context, fresh bool) error {
	if !fresh {
		return db.writer.exec(ctx, "ROLLBACK TO SAVEPOINT one")
	}
	if err := db.writer.exec(ctx, "ROLLBACK"); err != nil {
		return err
	}
	return db.begin(ctx)
}

func (db *DB) call(w *write, tx *Tx) error {
	defer func() { w.panicked = recover() }()
	defer func() { tx.done = true }()
	if err := w.fn(tx); err != nil {
		return err
	}
	if err := tx.finish(w.ctx); err != nil {
		return err
	}
	if err := tx.number(w.ctx); err != nil {
		return err
	}
	w.changes = tx.pending
	return nil
}

// commit writes how far the sequence has come and commits.
func (db *DB) commit(ctx context.Context) error {
	if db.at.seq != db.from {
		if err := db.writer.queue(ctx, `UPDATE generation SET seq = $1 WHERE id = 1`, db.at.seq); err != nil {
			return fmt.Errorf("write the sequence: %w", db.explain(err))
		}
	}
	if err := db.writer.exec(ctx, "COMMIT"); err != nil {
		return db.settle(ctx, fmt.Errorf("commit: %w", db.explain(err)))
	}
	return nil
}

// publish hands the changes of a committed group to the hooks, in order.
func (db *DB) publish(writes []*write) {
	var all []nhi.Change
	for _, w := range writes {
		all = append(all, w.changes...)
	}
	db.tell(all)
	db.generation.Store(uint64(db.at.seq))
	db.pruned.Store(uint64(db.at.pruned))
}

// tell hands changes to the hooks that they have not seen.
func (db *DB) tell(changes []nhi.Change) {
	for len(changes) > 0 && changes[0].Seq <= db.Generation() {
		changes = changes[1:]
	}
	if len(changes) == 0 {
		return
	}
	db.mu.Lock()
	hooks := db.hooks
	db.mu.Unlock()
	for _, hook := range hooks {
		hook(changes)
	}
	db.generation.Store(uint64(changes[len(changes)-1].Seq))
}
