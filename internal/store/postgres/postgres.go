// Package postgres opens a store in PostgreSQL: the choice for whoever already
// runs one with backups and replicas. The queries are those of every engine;
// what is PostgreSQL's own is here.
//
// # One server
//
// The connection that writes holds an advisory lock of its session, so one
// server at a time writes a database. Lock and writes share the connection on
// purpose: when the lock is lost, so is every transaction that was under way,
// and whoever has the lock knows that nobody's commit is still to come. That is
// also what makes the outcome of a commit whose answer was lost readable. A
// pooler between Muster and PostgreSQL must therefore keep sessions whole.
//
// # When PostgreSQL goes away
//
// Connections are opened again by themselves. A write or a read waits for a
// while (store.Settings.Patience) and then fails with nhi.ErrUnavailable; the
// state says why. Limits on time keep one statement, a forgotten lock or a
// server that hangs from holding up everybody: statement_timeout, lock_timeout
// and idle_in_transaction_session_timeout on the server, and a little more than
// the first on this side.
//
// # Differences from SQLite
//
// A column TEXT is made with the collation "C", so that texts compare by their
// bytes, whatever the database's locale. A session that writes turns
// synchronous_commit on if the server has it off: what was acknowledged is on
// disk. Reads are repeatable read and read only.
//
// # Passwords
//
// The address holds no password: it is printed and logged. A password comes
// from a file of its own, or from the password file that PGPASSFILE names.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// Settings say where the database is and how it is used.
type Settings struct {
	// URL is postgres://user@host:port/database with the options of libpq as
	// parameters, without a password.
	URL string `yaml:"url"`
	// PasswordFile holds the password on its first line. Only its owner may
	// read it. Empty: the password file of libpq, or none.
	PasswordFile string `yaml:"password_file"`
	// StatementTimeout bounds one statement. 0: 1 minute.
	StatementTimeout time.Duration `yaml:"statement_timeout"`
	// Release is called when the store is closed, but not when Open fails. It
	// may be nil.
	Release func() error `yaml:"-"`

	store.Settings `yaml:",inline"`
}

const (
	connectTime      = 5 * time.Second
	lockTime         = 10 * time.Second // for a row or table that somebody else holds
	defaultStatement = time.Minute
	oldest           = 130000 // server_version_num: what is older has no support
)

// claim is the number of the advisory lock: "muster" in ASCII.
const claim = 0x6d7573746572

// Open opens the store in the database at s.URL and brings it to this
// program's schema. A database that another server uses, or that a newer
// program has written, is refused with an error wrapping nhi.ErrConflict, and
// settings that cannot be with nhi.ErrInvalid.
func Open(ctx context.Context, s Settings) (*store.DB, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	if s.StatementTimeout <= 0 {
		s.StatementTimeout = defaultStatement
	}
	if s.Readers <= 0 {
		s.Readers = 8
	}
	limit := strconv.FormatInt(s.StatementTimeout.Milliseconds(), 10)
	set := func(name, value string) { config.RuntimeParams[name] = value }
	set("application_name", instance())
	set("statement_timeout", limit)
	set("lock_timeout", strconv.FormatInt(lockTime.Milliseconds(), 10))
	set("client_encoding", "UTF8")
	set("tcp_keepalives_idle", "5") // so that the server notices when we are gone
	set("tcp_keepalives_interval", "2")
	set("tcp_keepalives_count", "3")
	reading := config.Copy()
	reading.RuntimeParams["default_transaction_read_only"] = "on"
	set("idle_in_transaction_session_timeout", limit)
	me := config.RuntimeParams["application_name"]

	writer := sql.OpenDB(newConnector(config, s.StatementTimeout+5*time.Second))
	writer.SetMaxOpenConns(1)
	reader := sql.OpenDB(newConnector(reading, 0))
	reader.SetMaxOpenConns(s.Readers)
	engine := store.Engine{
		Name:      "postgres",
		Place:     place(config),
		Writer:    writer,
		Reader:    reader,
		Begin:     "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
		BeginRead: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		Claim:     func(ctx context.Context, c *sql.Conn) (string, error) { return take(ctx, c, me) },
		Schema:    words,
		Patient:   "SET LOCAL statement_timeout = 0",
		Lost:      lost,
		Full:      full,
	}
	opened := false
	engine.Release = func() error {
		if !opened || s.Release == nil {
			return nil
		}
		return s.Release()
	}
	db, err := store.Open(ctx, engine, s.Settings)
	opened = err == nil
	return db, err
}

var text = regexp.MustCompile(`\bTEXT\b`)

// words gives the columns of a migration the order of bytes.
func words(migration string) string { return text.ReplaceAllString(migration, `TEXT COLLATE "C"`) }

// take claims the database for the session of c, whose name is me.
func take(ctx context.Context, c *sql.Conn, me string) (warning string, err error) {
	if err := suitable(ctx, c); err != nil {
		return "", err
	}
	until := time.Now().Add(2 * time.Second)
	for {
		var got bool
		if err := c.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(claim)).Scan(&got); err != nil {
			return "", fmt.Errorf("claim the database: %w", err)
		}
		if got {
			return durable(ctx, c)
		}
		// A session of ours that the server has not missed yet.
		const end = `
			SELECT COUNT(pg_terminate_backend(a.pid))
			FROM   pg_locks l
			JOIN   pg_stat_activity a ON a.pid = l.pid
			WHERE  l.locktype = 'advisory'
			AND    l.granted
			AND    a.datname = current_database()
			AND    a.application_name = $1
			AND    a.pid <> pg_backend_pid()`
		if _, err := c.ExecContext(ctx, end, me); err != nil {
			return "", fmt.Errorf("end a lost session: %w", err)
		}
		wait := time.NewTimer(20 * time.Millisecond)
		select {
		case <-wait.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if time.Now().After(until) {
			return "", inUse(ctx, c)
		}
	}
}

// inUse says who has the database.
func inUse(ctx context.Context, c *sql.Conn) error {
	const query = `
		SELECT a.application_name, COALESCE(host(a.client_addr), 'this machine'), a.pid, a.backend_start
		FROM   pg_locks l
		JOIN   pg_stat_activity a ON a.pid = l.pid
		WHERE  l.locktype = 'advisory'
		AND    l.granted
		AND    ((l.classid::BIGINT << 32) | l.objid::BIGINT) = $1
		AND    a.datname = current_database()
		LIMIT  1`
	var name, from string
	var pid int64
	var since time.Time
	if err := c.QueryRowContext(ctx, query, int64(claim)).Scan(&name, &from, &pid, &since); err != nil {
		return fmt.Errorf("the database is in use by another muster server: stop it first: %w", nhi.ErrConflict)
	}
	return fmt.Errorf("the database is in use by another muster server (%s on %s, session %d, since %s): stop it first or choose another database: %w",
		strconv.QuoteToASCII(name), from, pid, since.UTC().Format(time.RFC3339), nhi.ErrConflict)
}

// suitable refuses a server that cannot keep what Muster writes.
func suitable(ctx context.Context, c *sql.Conn) error {
	const query = `
		SELECT current_setting('server_version_num')::INTEGER, current_setting('server_version'),
		       current_setting('server_encoding'), pg_is_in_recovery()`
	var number int
	var version, encoding string
	var standby bool
	if err := c.QueryRowContext(ctx, query).Scan(&number, &version, &encoding, &standby); err != nil {
		return fmt.Errorf("ask for the server's version: %w", err)
	}
	switch {
	case number < oldest:
		return nhi.Invalidf("PostgreSQL %s is too old: use 13 or newer", version)
	case encoding != "UTF8":
		return nhi.Invalidf("the database has the encoding %s: create it with ENCODING 'UTF8'", encoding)
	case standby:
		return fmt.Errorf("the server is a standby and takes no writes: use the address of the primary, or promote it: %w", errStandby)
	}
	return nil
}

// errStandby may pass: a standby is promoted.
var errStandby = errors.New("read only")

// durable makes a commit wait for the disk, and warns when it cannot.
func durable(ctx context.Context, c *sql.Conn) (warning string, err error) {
	var sync, fsync string
	if err := c.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit'), current_setting('fsync')`).Scan(&sync, &fsync); err != nil {
		return "", fmt.Errorf("ask how commits are written: %w", err)
	}
	if sync == "off" {
		if _, err := c.ExecContext(ctx, `SET synchronous_commit = on`); err != nil {
			return "", fmt.Errorf("turn synchronous_commit on: %w", err)
		}
	}
	if fsync == "off" {
		return "PostgreSQL runs with fsync off: a crash of its machine loses or corrupts data; set fsync = on and restart it", nil
	}
	return "", nil
}

// lost reports whether an error says that the connection, or the whole server,
// went away. What the server itself answered to one statement does not.
func lost(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		switch answer.Code {
		case "57P01", "57P02", "57P03", "57P05", "25P03", "25006", "53300": // shutdown, crash, starting, idle too long, a standby, too many sessions
			return true
		}
		return answer.Severity == "FATAL" && !forbidden[answer.Code] || answer.Severity == "PANIC" || len(answer.Code) == 5 && answer.Code[:2] == "08"
	}
	var dial *pgconn.ConnectError
	var network net.Error
	return errors.Is(err, errStandby) || errors.As(err, &dial) || errors.As(err, &network) || pgconn.Timeout(err) || isClosed(err)
}

// full reports whether the database said disk_full.
func full(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == "53100"
}

// forbidden are answers to a new session that waiting does not change.
var forbidden = map[string]bool{"28000": true, "28P01": true, "3D000": true, "42501": true}

func isClosed(err error) bool {
	for _, kind := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, sql.ErrConnDone, errBadConn} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return err.Error() == "conn closed" // pgconn keeps this one to itself
}
