package store

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A table is what the migrations say about one table: enough to copy it row by
// row on any engine.
type table struct {
	name    string
	columns []column
	key     []string // the primary key, in order
}

// A column is one of a table. kind is the word of the migrations: TEXT,
// BIGINT, INTEGER, BYTEA or DOUBLE PRECISION.
type column struct {
	name, kind string
	optional   bool // may be left out of a row: NULL or a default is written
}

// local are the columns that belong to one database and not to the data in it.
var local = map[string][]string{"generation": {"mark", "tenure"}}

var (
	comment     = regexp.MustCompile(`--[^\n]*`)
	createTable = regexp.MustCompile(`(?s)^CREATE TABLE (\w+) \((.*)\)$`)
	addColumn   = regexp.MustCompile(`(?s)^ALTER TABLE (\w+) ADD COLUMN (.*)$`)
	columnText  = regexp.MustCompile(`(?s)^(\w+)\s+(TEXT|BIGINT|INTEGER|BYTEA|DOUBLE PRECISION)\b(.*)$`)
	primaryKey  = regexp.MustCompile(`(?s)^PRIMARY KEY \(([\w, ]+)\)$`)
	constraint  = regexp.MustCompile(`^(UNIQUE|CHECK|FOREIGN KEY|CONSTRAINT)\b`)
)

// statements splits the text of a migration.
func statements(text string) []string {
	var out []string
	for s := range strings.SplitSeq(comment.ReplaceAllString(text, ""), ";") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// tables reads the schema out of the migrations, in the order of creation: a
// table comes after those that it refers to.
func tables(ms []migration) ([]table, error) {
	var out []table
	for _, m := range ms {
		for _, s := range statements(m.text) {
			var err error
			if out, err = define(out, s); err != nil {
				return nil, fmt.Errorf("migration %04d_%s: %w", m.number, m.name, err)
			}
		}
	}
	return out, nil
}

func define(known []table, statement string) ([]table, error) {
	if m := createTable.FindStringSubmatch(statement); m != nil {
		t := table{name: m[1]}
		for _, part := range parts(m[2]) {
			if err := t.part(part); err != nil {
				return nil, err
			}
		}
		if len(t.key) == 0 {
			return nil, fmt.Errorf("table %s has no primary key", t.name)
		}
		return append(known, t), nil
	}
	if m := addColumn.FindStringSubmatch(statement); m != nil {
		i := slices.IndexFunc(known, func(t table) bool { return t.name == m[1] })
		if i < 0 {
			return nil, fmt.Errorf("column added to %s, which does not exist", m[1])
		}
		return known, known[i].part(strings.TrimSpace(m[2]))
	}
	return known, nil
}

// part takes one line of a table's definition.
func (t *table) part(text string) error {
	if m := primaryKey.FindStringSubmatch(text); m != nil {
		t.key = strings.Split(strings.ReplaceAll(m[1], " ", ""), ",")
		return nil
	}
	if constraint.MatchString(text) {
		return nil
	}
	m := columnText.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("table %s: %q is no column of a type that every engine has", t.name, text)
	}
	if strings.Contains(m[3], "PRIMARY KEY") {
		t.key = []string{m[1]}
	}
	t.columns = append(t.columns, column{name: m[1], kind: m[2], optional: !strings.Contains(m[3], "NOT NULL") || strings.Contains(m[3], "DEFAULT")})
	return nil
}

// parts splits at the commas that are not in parentheses.
func parts(text string) []string {
	var out []string
	depth, from := 0, 0
	for i, r := range text {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(text[from:i]))
				from = i + 1
			}
		}
	}
	return append(out, strings.TrimSpace(text[from:]))
}

// copied are the columns that a copy of the data holds.
func (t *table) copied() []column {
	var out []column
	for _, c := range t.columns {
		if !slices.Contains(local[t.name], c.name) {
			out = append(out, c)
		}
	}
	return out
}

// query reads every row in the order of the key.
func (t *table) query() string {
	return "SELECT " + list(t.copied()) + " FROM " + t.name + " ORDER BY " + strings.Join(t.key, ", ")
}

// insert adds one row of the given columns.
func (t *table) insert(columns []column) string {
	places := make([]string, len(columns))
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+1)
	}
	return "INSERT INTO " + t.name + " (" + list(columns) + ") VALUES (" + strings.Join(places, ", ") + ")"
}

// list names columns. The names are constants of this program, like every
// text of SQL here.
func list(columns []column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}
