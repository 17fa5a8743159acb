// Package store is where state lives: one database, written by one writer,
// with every change that a decision must know of numbered in one sequence.
//
// # Writing
//
// [DB.Write] runs a function in a transaction. Writes that wait at the same
// moment share one transaction, because what costs is the sync to disk and not
// the rows: one that fails is undone alone and the others commit. A write of
// very many rows has a transaction of its own ([DB.WriteAlone]). Write returns
// when the rows are on disk and the hooks have seen them. No goroutine runs in
// the background: whoever finds nobody writing leads, and writes for all that
// wait.
//
// # The sequence
//
// A function that changes a row which decisions depend on says so with
// [Tx.Change], in the same transaction. The changes are numbered without gaps
// in commit order; the number of the last one is the generation. After the
// commit they are handed, in order, to the hooks registered with
// [DB.OnCommit], and only then does Write return. So whoever was told that a
// credential is suspended can rely on it that the decisions of this process
// know. Nothing is lost between the commit and the hook either: at the next
// start the changes are read from the table with [DB.Changes].
//
// # Reading
//
// [DB.Read] runs a function over one consistent snapshot, on its own
// connection; readers never wait for the writer.
//
// # Errors while writing
//
// An error from the database itself (a full disk, an I/O error) can end the
// whole transaction, and then every write that shared it gets that error and
// none of them is on disk. The next write starts afresh.
//
// A commit whose answer was lost on the way may have happened or not. Each
// transaction leaves a mark in the database, so the store opens the database
// again, reads the mark and tells the writers the truth. If the database does
// not come back in time they get an error wrapping [ErrUncertain]; that is the
// one error after which a caller must look before it repeats.
//
// # One server
//
// One server at a time writes a database. The engine claims it with the
// connection that writes, and each claim has a number, its tenure, that every
// transaction compares. A server that finds another's tenure stops writing for
// good: its memory is no longer the database's.
//
// # Tables
//
// Each domain's tables live in a folder of their own below this one, which
// implements the small store interface that the domain declares. Migrations
// are the numbered files in migrations. One query text serves every engine;
// what differs is in the engine's folder, such as store/sqlite.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// An Engine is an opened database and the few things that differ between
// databases. The engine's folder fills it in.
type Engine struct {
	Name      string       // sqlite
	Place     string       // folder or address, for messages; never a password
	Writer    *sql.DB      // where writes go
	Reader    *sql.DB      // where reads go; its connections cannot write
	Begin     string       // starts a transaction that will write
	BeginRead string       // starts a transaction that sees one snapshot
	Release   func() error // gives the place free after closing; may be nil

	// Claim makes a new connection of the writer the only one that writes
	// this database, for as long as it lives. It returns an error wrapping
	// nhi.ErrConflict when another server has it, and a warning about the
	// database when there is one. Nil: the place itself is locked.
	Claim func(context.Context, *sql.Conn) (warning string, err error)
	// Schema puts the text of a migration into the engine's words. Nil: they
	// are the same.
	Schema func(string) string
	// Patient is a statement that lifts the limit on how long a statement of
	// this transaction may take. Empty: there is none.
	Patient string
	// Lost reports whether an error means that the connection or the whole
	// database went away, and may come back. Nil: that cannot happen.
	Lost func(error) bool
	// Full reports whether an error means that the disk of the database is
	// full. Nil: nobody can tell.
	Full func(error) bool
}

// Settings are what a store can be told.
type Settings struct {
	// Program is this program's version in the record of migrations, so
	// that an older program can say what it met. Empty: "development".
	Program string `yaml:"-"`
	// Readers is how many reads run at the same time; more wait. 0: twice the
	// number of processors, at least 4.
	Readers int `yaml:"readers"`
	// Patience is how long a write or a read waits for a database that went
	// away, before it fails. While the database stays away later ones fail at
	// once. 0: 10 s.
	Patience time.Duration `yaml:"patience"`
}

var (
	// ErrClosed is returned by everything after Close.
	ErrClosed = errors.New("store is closed")
	// ErrTooOld is returned by Changes for a cursor before the first change
	// that is still kept: the caller must read the present state instead.
	ErrTooOld = errors.New("the changes after that are no longer kept")
	// ErrUncertain is returned by Write when the database went away during
	// the commit and did not come back in time to say whether it happened. It
	// comes with nhi.ErrUnavailable.
	ErrUncertain = errors.New("whether it was written shows when the database is back")
)

// A DB is an open store. It is safe for concurrent use.
type DB struct {
	engine     Engine
	program    string // version, for the header of an export
	patience   time.Duration
	generation atomic.Uint64 // of the last change that the hooks have seen
	pruned     atomic.Uint64 // the last change that is no longer kept
	lead       chan struct{} // its one place belongs to whoever writes
	readers    chan *conn    // one entry for each reader, nil until opened

	// The leader's own.
	writer *conn // nil after a failure
	tenure int64 // number of this server's claim
	at     state // within the transaction under way
	from   int64 // number of the last change before it

	mu      sync.Mutex // guards what follows
	queue   []*write
	hooks   []func([]nhi.Change)
	closed  bool
	watched bool   // Watch is running, and opens again what went away
	down    error  // why nothing can be written; nil when it can
	dead    error  // like down, and it stays so until a restart
	warning string // what the engine said about the database
}

// Open brings the engine's database to the newest schema and returns a store
// over it. It owns the engine from then on, also when it fails. A database
// that a newer program wrote is refused.
func Open(ctx context.Context, engine Engine, s Settings) (*DB, error) {
	if s.Program == "" {
		s.Program = "development"
	}
	if s.Readers <= 0 {
		s.Readers = max(4, 2*runtime.NumCPU())
	}
	if s.Patience <= 0 {
		s.Patience = 10 * time.Second
	}
	db := &DB{engine: engine, program: s.Program, patience: s.Patience, lead: make(chan struct{}, 1), readers: make(chan *conn, s.Readers)}
	for range s.Readers {
		db.readers <- nil
	}
	if err := db.start(ctx, s.Program); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", engine.Place, err), db.Close())
	}
	return db, nil
}

func (db *DB) start(ctx context.Context, program string) error {
	if err := db.connect(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, db.writer, &db.engine, program, shipped); err != nil {
		return err
	}
	return db.take(ctx)
}

// OnCommit registers a hook that gets the changes of each commit, in commit
// order, before the writes that made them return. Register hooks before the
// first write. Hooks run one at a time, must be quick, and must not write:
// they hold up every writer.
func (db *DB) OnCommit(hook func([]nhi.Change)) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.hooks = append(db.hooks, hook)
}

// Generation returns the number of the last change that is committed and that
// every hook has seen.
func (db *DB) Generation() nhi.Generation { return nhi.Generation(db.generation.Load()) }

// Read runs fn over one consistent snapshot of everything committed before
// Read was called, or later. It blocks while all readers are busy, and for a
// while when the database is away. The Tx is dead once fn has returned.
func (db *DB) Read(ctx context.Context, fn func(*Tx) error) error { return db.read(ctx, "", fn) }

// ReadAll is Read for a function that reads much of the database and may take
// longer than a statement may otherwise.
func (db *DB) ReadAll(ctx context.Context, fn func(*Tx) error) error {
	return db.read(ctx, db.engine.Patient, fn)
}

func (db *DB) read(ctx context.Context, first string, fn func(*Tx) error) error {
	c, err := db.beginRead(ctx)
	if err != nil {
		return err
	}
	good := false
	defer func() { db.giveBack(c, good) }()
	if first != "" {
		if err := c.exec(ctx, first); err != nil {
			return fmt.Errorf("begin read: %w", err)
		}
	}
	tx := &Tx{conn: c}
	// The snapshot begins with the first read, so read at once.
	now, err := c.state(ctx)
	tx.generation, tx.pruned = now.seq, now.pruned
	if err == nil {
		err = fn(tx)
	}
	tx.done = true
	if good = c.exec(context.WithoutCancel(ctx), "ROLLBACK") == nil; !good && ctx.Err() == nil && db.lost(err) {
		err = fmt.Errorf("read from the database: %w: %w", err, nhi.ErrUnavailable)
	}
	return err
}

// beginRead returns a connection in a new read transaction. A connection that
// the database has closed meanwhile is replaced; nothing ran on it yet.
func (db *DB) beginRead(ctx context.Context) (*conn, error) {
	until := time.Now().Add(db.patience)
	for {
		c, fresh, err := db.reader(ctx)
		if err == nil {
			if err = c.exec(ctx, db.engine.BeginRead); err == nil {
				return c, nil
			}
			db.giveBack(c, false)
			err = fmt.Errorf("begin read: %w", err)
		}
		if ctx.Err() != nil || !db.lost(err) {
			return nil, err
		}
		if c != nil && !fresh {
			continue // it died while it waited, which says nothing about the database now
		}
		if db.isDown() || !again(ctx, until) {
			return nil, fmt.Errorf("%w: %w", err, nhi.ErrUnavailable)
		}
	}
}

// reader takes a connection out of the pool, or opens a fresh one in its place.
func (db *DB) reader(ctx context.Context) (c *conn, fresh bool, err error) {
	select {
	case c = <-db.readers:
	case <-ctx.Done():
		return nil, false, fmt.Errorf("wait for a reader: %w", ctx.Err())
	}
	if db.isClosed() {
		db.readers <- c
		return nil, false, ErrClosed
	}
	if c != nil {
		return c, false, nil
	}
	if c, err = open(ctx, db.engine.Reader); err != nil {
		db.readers <- nil
		return nil, false, fmt.Errorf("open a reader: %w", db.explain(err))
	}
	return c, true, nil
}

// giveBack keeps a reader for the next read, or drops it when its transaction
// did not end cleanly.
func (db *DB) giveBack(c *conn, good bool) {
	if !good {
		c.drop()
		c = nil
	}
	db.readers <- c
}

func (db *DB) isClosed() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.closed
}

// Close waits for the reads and the write that are under way, refuses those
// that wait, and closes the database. Closing twice is harmless.
func (db *DB) Close() error {
	db.lead <- struct{}{}
	defer func() { <-db.lead }()
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	waiting := db.queue
	db.queue = nil
	db.mu.Unlock()
	for _, w := range waiting {
		w.err = ErrClosed
		close(w.done)
	}
	for range cap(db.readers) {
		if c := <-db.readers; c != nil {
			c.close()
		}
	}
	for range cap(db.readers) {
		db.readers <- nil
	}
	if db.writer != nil {
		db.writer.close()
	}
	err := errors.Join(db.engine.Reader.Close(), db.engine.Writer.Close())
	if db.engine.Release != nil {
		err = errors.Join(err, db.engine.Release())
	}
	return err
}

// Micros is how a time is kept in a column: microseconds since 1970, 0 for
// the zero time, which means never or not known.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the inverse of [Micros], in UTC.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
