package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A stream of the whole database is JSON Lines that belong to no engine: one
// line of [Header], then for each table one line that names it and its
// columns and one line for each row, an array in the order of the columns, and
// at the end a line with the number of rows and the SHA-256 of all lines before
// it. Bytes are base64, an absent value is null.
const (
	transferVersion = 1
	// maxLine bounds one line, and so one row, of a stream that is read.
	maxLine = 64 << 20
)

// A Header is the first line of a stream, and what Export and Import tell of
// it.
type Header struct {
	Version    int            `json:"muster_store"` // of the format
	Program    string         `json:"program"`      // version of the muster that wrote it
	Schema     int            `json:"schema"`       // newest migration that it contains
	Generation nhi.Generation `json:"generation"`   // number of the last change in it
	At         time.Time      `json:"at"`           // when it was read
	Rows       int            `json:"-"`            // known at the end
	Sum        string         `json:"-"`            // SHA-256 of the stream before its last line, hex
}

type tableLine struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

type endLine struct {
	End  bool   `json:"end"`
	Rows int    `json:"rows"`
	Sum  string `json:"sha256"`
}

// Export writes the whole database to w as it is at one moment, while others
// go on reading and writing, and returns what it wrote. What the stream holds
// is as confidential as the database: verifiers of keys and sealed secrets,
// but no secret in clear. w is not closed.
func (db *DB) Export(ctx context.Context, w io.Writer) (Header, error) {
	var head Header
	out := &writer{to: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	err := db.ReadAll(ctx, func(tx *Tx) error {
		head = Header{
			Version: transferVersion, Program: db.program, Schema: shipped[len(shipped)-1].number,
			Generation: tx.Generation(), At: time.Now().UTC().Truncate(time.Microsecond),
		}
		if err := out.line(head); err != nil {
			return err
		}
		for i := range schema {
			if err := out.table(ctx, tx, &schema[i]); err != nil {
				return fmt.Errorf("table %s: %w", schema[i].name, err)
			}
		}
		return nil
	})
	if err != nil {
		return head, fmt.Errorf("export the store: %w", err)
	}
	head.Rows, head.Sum = out.rows, hex.EncodeToString(out.sum.Sum(nil))
	err = out.line(endLine{End: true, Rows: head.Rows, Sum: head.Sum})
	if err = errors.Join(err, out.to.Flush()); err != nil {
		return head, fmt.Errorf("export the store: %w", err)
	}
	return head, nil
}

// A writer writes lines and sums them up.
type writer struct {
	to   *bufio.Writer
	sum  hash.Hash
	rows int
}

func (w *writer) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.raw(append(b, '\n'))
}

func (w *writer) raw(b []byte) error {
	w.sum.Write(b)
	_, err := w.to.Write(b)
	return err
}

func (w *writer) table(ctx context.Context, tx *Tx, t *table) error {
	columns := t.copied()
	head := tableLine{Table: t.name}
	for _, c := range columns {
		head.Columns = append(head.Columns, c.name)
	}
	if err := w.line(head); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, t.query())
	if err != nil {
		return err
	}
	defer rows.Close()
	cells := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	var line []byte
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		line = append(line[:0], '[')
		for i, c := range columns {
			if i > 0 {
				line = append(line, ',')
			}
			if line, err = appendCell(line, c.kind, cells[i]); err != nil {
				return fmt.Errorf("column %s: %w", c.name, err)
			}
		}
		if err := w.raw(append(line, ']', '\n')); err != nil {
			return err
		}
		w.rows++
	}
	return rows.Err()
}

// appendCell writes a value as its driver gave it.
func appendCell(line []byte, kind string, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(line, "null"...), nil
	case int64:
		if kind == "DOUBLE PRECISION" {
			return strconv.AppendFloat(line, float64(v), 'g', -1, 64), nil
		}
		return strconv.AppendInt(line, v, 10), nil
	case float64:
		return strconv.AppendFloat(line, v, 'g', -1, 64), nil
	case string:
		b, err := json.Marshal(legible([]any{v})[0])
		return append(line, b...), err
	case []byte:
		if kind == "TEXT" {
			b, err := json.Marshal(legible([]any{string(v)})[0])
			return append(line, b...), err
		}
		line = append(line, '"')
		line = base64.StdEncoding.AppendEncode(line, v)
		return append(line, '"'), nil
	default:
		return nil, fmt.Errorf("a value of type %T", v)
	}
}

// Import reads a stream that [DB.Export] wrote into a database that holds
// nothing yet, all of it or, with an error, nothing. The sequence goes on where
// it was. A stream of an older program is brought to this one's schema; one of
// a newer program, a damaged or cut one, is refused with an error wrapping
// nhi.ErrInvalid, and a database that is not empty with nhi.ErrConflict. Hooks
// are not told: import before anything else uses the store. It blocks other
// writers.
func (db *DB) Import(ctx context.Context, r io.Reader) (Header, error) {
	in := &reader{from: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	var head Header
	_, err := db.Write(ctx, func(tx *Tx) error {
		if err := empty(ctx, tx); err != nil {
			return err
		}
		var err error
		if head, err = in.header(); err != nil {
			return err
		}
		if err := in.tables(ctx, tx); err != nil {
			return err
		}
		if err := tx.follow(ctx, head.Schema); err != nil {
			return err
		}
		return tx.goOn(ctx, &head)
	})
	if err != nil {
		return head, fmt.Errorf("import into %s: %w", db.engine.Place, err)
	}
	head.Rows, head.Sum = in.rows, hex.EncodeToString(in.sum.Sum(nil))
	return head, nil
}

// empty returns an error unless the database is as its first migration left it.
func empty(ctx context.Context, tx *Tx) error {
	for _, t := range schema {
		query := "SELECT COUNT(*) FROM " + t.name
		if t.name == "generation" {
			query = "SELECT seq FROM generation WHERE id = 1"
		}
		var n int64
		if err := tx.QueryRow(ctx, query).Scan(&n); err != nil {
			return fmt.Errorf("look into table %s: %w", t.name, err)
		}
		if n != 0 {
			return fmt.Errorf("the database is not empty (table %s has rows): choose an empty one, nothing was changed: %w", t.name, nhi.ErrConflict)
		}
	}
	return nil
}

// changesRows finds what a migration does to rows. The schema itself is this
// program's already.
var changesRows = regexp.MustCompile(`^(UPDATE|INSERT|DELETE)\b`)

// follow does to rows of an older program what the migrations since then did to
// the rows that they met.
func (tx *Tx) follow(ctx context.Context, schema int) error {
	for _, m := range shipped {
		for _, s := range statements(m.text) {
			if m.number <= schema || !changesRows.MatchString(s) {
				continue
			}
			if _, err := tx.Exec(ctx, s); err != nil {
				return fmt.Errorf("bring the rows to migration %04d_%s: %w", m.number, m.name, err)
			}
		}
	}
	return nil
}

// goOn compares what was read with the header and moves the sequence.
func (tx *Tx) goOn(ctx context.Context, head *Header) error {
	now, err := tx.conn.state(ctx)
	if err != nil {
		return err
	}
	var count, first, last int64
	const ends = `SELECT COUNT(*), COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM change`
	if err := tx.QueryRow(ctx, ends).Scan(&count, &first, &last); err != nil {
		return err
	}
	if count == 0 {
		first, last = now.pruned+1, now.pruned
	}
	if now.seq != int64(head.Generation) || now.seq != last || now.pruned != first-1 || count != now.seq-now.pruned {
		return nhi.Invalidf("the stream says generation %d and holds changes %d to %d, %d of them, after %d forgotten ones", head.Generation, first, last, count, now.pruned)
	}
	tx.jump, tx.forgot = now.seq, now.pruned
	return nil
}

// A reader reads lines and sums them up.
type reader struct {
	from *bufio.Reader
	sum  hash.Hash
	rows int
	line int
}

// next returns the next line. The bytes are good until the next call. sum is
// of the lines before it.
func (r *reader) next() (line []byte, err error) {
	r.line++
	for {
		part, err := r.from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, r.invalid("is longer than %d bytes", maxLine)
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, r.invalid("is where it ends too early: the stream was cut")
		default:
			return nil, err
		}
	}
}

func (r *reader) invalid(format string, args ...any) error {
	return nhi.Invalidf("line %d %s", r.line, fmt.Sprintf(format, args...))
}

func (r *reader) header() (head Header, err error) {
	line, err := r.next()
	if err != nil {
		return head, err
	}
	r.sum.Write(line)
	if err := strict(line, &head); err != nil || head.Version == 0 {
		return head, r.invalid("is not the beginning of a muster store")
	}
	newest := shipped[len(shipped)-1].number
	if head.Version != transferVersion || head.Schema > newest {
		return head, nhi.Invalidf("the stream was written by muster %s in format %d with schema version %d; this program reads format %d and schema versions up to %d: use the newer program",
			head.Program, head.Version, head.Schema, transferVersion, newest)
	}
	return head, nil
}

// tables reads everything behind the header.
func (r *reader) tables(ctx context.Context, tx *Tx) error {
	var t *table
	var columns []column
	seen := make(map[string]bool)
	for {
		line, err := r.next()
		if err != nil {
			return err
		}
		if line[0] == '[' {
			if t == nil {
				return r.invalid("is a row of no table")
			}
			if err := r.row(ctx, tx, t, columns, line); err != nil {
				return err
			}
			r.sum.Write(line)
			continue
		}
		var end endLine
		if strict(line, &end) == nil && end.End {
			return r.end(end)
		}
		if t, columns, err = r.begin(line); err != nil {
			return err
		}
		if seen[t.name] {
			return r.invalid("is table %s once more", t.name)
		}
		seen[t.name] = true
		r.sum.Write(line)
	}
}

func (r *reader) end(end endLine) error {
	if end.Rows != r.rows || end.Sum != hex.EncodeToString(r.sum.Sum(nil)) {
		return r.invalid("does not fit what came before: the stream was damaged or changed")
	}
	if _, err := r.from.ReadByte(); !errors.Is(err, io.EOF) {
		return r.invalid("is the end, and more follows")
	}
	return nil
}

func (r *reader) begin(line []byte) (*table, []column, error) {
	var head tableLine
	if err := strict(line, &head); err != nil {
		return nil, nil, r.invalid("is neither a table nor a row nor the end")
	}
	i := slices.IndexFunc(schema, func(t table) bool { return t.name == head.Table })
	if i < 0 {
		return nil, nil, r.invalid("is a table %q that this program does not know", head.Table)
	}
	var columns []column
	for _, c := range schema[i].copied() {
		switch {
		case slices.Contains(head.Columns, c.name):
		case !c.optional:
			return nil, nil, r.invalid("is table %s without column %s", head.Table, c.name)
		}
	}
	for _, name := range head.Columns {
		n := slices.IndexFunc(schema[i].copied(), func(c column) bool { return c.name == name })
		if n < 0 || slices.ContainsFunc(columns, func(c column) bool { return c.name == name }) {
			return nil, nil, r.invalid("is table %s with a column %q that this program does not know, or twice", head.Table, name)
		}
		columns = append(columns, schema[i].copied()[n])
	}
	return &schema[i], columns, nil
}

func (r *reader) row(ctx context.Context, tx *Tx, t *table, columns []column, line []byte) error {
	var cells []json.RawMessage
	if err := json.Unmarshal(line, &cells); err != nil || len(cells) != len(columns) {
		return r.invalid("is no row of the %d columns of table %s", len(columns), t.name)
	}
	args := make([]any, len(columns))
	for i, c := range columns {
		var err error
		if args[i], err = cell(c.kind, cells[i]); err != nil {
			return r.invalid("has no %s in column %s of table %s", c.kind, c.name, t.name)
		}
	}
	query := t.insert(columns)
	if t.name == "generation" { // its one row is there from the beginning
		if len(columns) != 3 || columns[0].name != "id" || columns[1].name != "seq" || columns[2].name != "pruned" || args[0] != int64(1) {
			return r.invalid("is no row of the sequence")
		}
		query = "UPDATE generation SET seq = $2, pruned = $3 WHERE id = $1"
	}
	r.rows++
	if _, err := tx.Exec(ctx, query, args...); err != nil {
		return fmt.Errorf("line %d: write a row of table %s: %w", r.line, t.name, err)
	}
	return nil
}

// cell reads a value for a column.
func cell(kind string, raw json.RawMessage) (any, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	switch kind {
	case "TEXT":
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case "BYTEA":
		var b []byte
		err := json.Unmarshal(raw, &b)
		return b, err
	case "DOUBLE PRECISION":
		f, err := strconv.ParseFloat(string(raw), 64)
		if err == nil && (math.IsInf(f, 0) || math.IsNaN(f)) {
			err = strconv.ErrRange
		}
		return f, err
	case "INTEGER":
		n, err := strconv.ParseInt(string(raw), 10, 32)
		return n, err
	default:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		return n, err
	}
}

// strict reads one object that must have no key but those of v.
func strict(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}
