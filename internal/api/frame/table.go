package frame

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
)

// A Column is a field of a list that is narrowed in memory, with how it is read
// from a row: one of Text, Texts and Number, as the field's kind says.
type Column[R any] struct {
	filter.Field
	Text   func(*R) string   // of a text or word
	Texts  func(*R) []string // of a text that a row has several of; one must fit
	Number func(*R) int64    // of a number; of a time in microseconds, 0 for absent; of a flag 0 or 1
}

// Text is a column of texts.
func Text[R any](name, doc string, of func(*R) string) Column[R] {
	return Column[R]{Field: filter.Field{Name: name, Kind: filter.Text, Doc: doc}, Text: of}
}

// Texts is a column of which a row has several.
func Texts[R any](name, doc string, of func(*R) []string) Column[R] {
	return Column[R]{Field: filter.Field{Name: name, Kind: filter.Text, Doc: doc}, Texts: of}
}

// Word is a column of a few words.
func Word[R any](name, doc string, words []string, of func(*R) string) Column[R] {
	return Column[R]{Field: filter.Field{Name: name, Kind: filter.Enum, Words: words, Doc: doc}, Text: of}
}

// Number is a column of whole numbers.
func Number[R any](name, doc string, of func(*R) int64) Column[R] {
	return Column[R]{Field: filter.Field{Name: name, Kind: filter.Number, Doc: doc}, Number: of}
}

// Flag is a column of what is so or not.
func Flag[R any](name, doc string, of func(*R) bool) Column[R] {
	return Column[R]{Field: filter.Field{Name: name, Kind: filter.Flag, Doc: doc}, Number: func(r *R) int64 {
		if of(r) {
			return 1
		}
		return 0
	}}
}

// Time is a column of instants; the zero time is absent.
func Time[R any](name, doc string, of func(*R) time.Time) Column[R] {
	return Column[R]{Field: filter.Field{Name: name, Kind: filter.Time, Doc: doc}, Number: func(r *R) int64 { return Micros(of(r)) }}
}

// Ordered is the column as one that its list can be ordered by.
func (c Column[R]) Ordered() Column[R] {
	c.Order = true
	return c
}

// Micros is an instant in microseconds since 1970; 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// A Table is a list whose rows are narrowed in memory: its language, and how
// rows are read.
type Table[R any] struct {
	*filter.Language
	ID    func(*R) string   // breaks ties of the order; never empty
	Words func(*R) []string // what a bare word is a part of
	About func(*R) nhi.ID   // whom a row is about: only who may see them sees it; nil: nobody
	fits  func(*R) bool     // which rows there are; nil: all
	read  map[string]Column[R]
}

// NewTable returns a table of columns. order is the order of who asks for none,
// bare says what a bare word is searched in.
func NewTable[R any](name, order, bare string, id func(*R) string, words func(*R) []string, columns ...Column[R]) *Table[R] {
	t := &Table[R]{Language: &filter.Language{List: name, Order: order, Bare: bare}, ID: id, Words: words, read: map[string]Column[R]{}}
	for _, c := range columns {
		t.Fields = append(t.Fields, c.Field)
		t.read[c.Name] = c
	}
	return t
}

// Concerning is the table as one whose rows are about identities.
func (t *Table[R]) Concerning(about func(*R) nhi.ID) *Table[R] {
	t.About = about
	return t
}

// Narrowed is the table with only those rows that fit; nil fits all.
func (t *Table[R]) Narrowed(fits func(*R) bool) *Table[R] {
	out := *t
	out.fits = fits
	return &out
}

// Match reports whether a row passes a filter of the table's language.
func (t *Table[R]) Match(e filter.Expr, row *R) bool {
	return (t.fits == nil || t.fits(row)) && e.Holds(func(term *filter.Term) bool {
		if term.Op == filter.Bare {
			word := strings.ToLower(term.Values[0].Text)
			return slices.ContainsFunc(t.Words(row), func(text string) bool { return strings.Contains(strings.ToLower(text), word) })
		}
		c := t.read[term.Field.Name]
		if c.Texts != nil {
			return slices.ContainsFunc(c.Texts(row), func(text string) bool { return term.Fits(text, 0) })
		}
		return term.Fits(c.of(row))
	})
}

func (c *Column[R]) of(row *R) (string, int64) {
	switch {
	case c.Text != nil:
		return c.Text(row), 0
	case c.Number != nil:
		return "", c.Number(row)
	}
	return "", 0
}

// position is the place of a row in an order.
func (t *Table[R]) position(o filter.Order, row *R) filter.Position {
	c := t.read[o.Field.Name]
	text, n := c.of(row)
	return filter.Position{Text: text, Number: n, ID: t.ID(row)}
}

// compare puts positions into an order.
func compare(o filter.Order, a, b filter.Position) int {
	c := cmp.Or(cmp.Compare(a.Text, b.Text), cmp.Compare(a.Number, b.Number), cmp.Compare(a.ID, b.ID))
	if o.Descending {
		return -c
	}
	return c
}
