package filter

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

// Columns say how a list's fields are written in SQL. The texts are constants
// of the program that both engines understand: the columns of the list's
// table, or scalar subqueries. Numbers, times (microseconds, 0 for absent) and
// flags (0 or 1) are whole numbers.
type Columns map[string]string

// A Searcher writes the predicate for a bare word. It calls arg for each value
// and gets back what to write in its place.
type Searcher func(word string, arg func(any) string) string

// SQL returns a predicate, in parentheses or the constant 1 = 1, and its
// arguments, which are numbered from first on ($first). No value is ever part
// of the text. A field without a column is a mistake of the program.
func (e Expr) SQL(columns Columns, search Searcher, first int) (string, []any, error) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(first+len(args)-1)
	}
	var b strings.Builder
	for _, t := range e.Terms {
		if b.Len() > 0 {
			b.WriteString("\n\t\tAND ")
		}
		if t.Not {
			b.WriteString("NOT ")
		}
		if t.Op == Bare {
			b.WriteString("(" + search(t.Values[0].Text, arg) + ")")
			continue
		}
		column, ok := columns[t.Field.Name]
		if !ok {
			return "", nil, fmt.Errorf("filter: no column for %s", t.Field.Name)
		}
		b.WriteString("(" + t.sql(column, arg) + ")")
	}
	if b.Len() == 0 {
		return "1 = 1", nil, nil
	}
	return b.String(), args, nil
}

func (t *Term) sql(column string, arg func(any) string) string {
	if t.Op == Present {
		if t.Field.Kind == Text || t.Field.Kind == Enum {
			return column + " <> ''"
		}
		return column + " <> 0"
	}
	if sign, compares := compare[t.Op]; compares {
		out := column + sign + arg(t.Values[0].Number)
		if t.Field.Kind == Time { // what never happened is neither before nor after
			out += " AND " + column + " <> 0"
		}
		return out
	}
	var parts, same []string
	for _, v := range t.Values {
		switch {
		case t.Field.Kind == Time && t.day(v):
			parts = append(parts, column+" >= "+arg(v.Number)+" AND "+column+" < "+arg(v.Number+dayMicros))
		case t.Field.Kind != Text && t.Field.Kind != Enum:
			same = append(same, arg(v.Number))
		case v.Prefix:
			parts = append(parts, column+" >= "+arg(v.Text)+" AND "+column+" < "+arg(After(v.Text)))
		default:
			same = append(same, arg(v.Text))
		}
	}
	switch {
	case len(same) == 1:
		parts = append(parts, column+" = "+same[0])
	case len(same) > 1:
		parts = append(parts, column+" IN ("+strings.Join(same, ", ")+")")
	}
	return strings.Join(parts, " OR ")
}

var compare = map[Op]string{Less: " < ", LessEqual: " <= ", Greater: " > ", GreaterEqual: " >= "}

const dayMicros = 24 * 60 * 60 * 1_000_000

// day reports whether a time is a whole day, so that equality means that day.
func (t *Term) day(v Value) bool { return v.Number%dayMicros == 0 }

// After returns the text that follows every text beginning with prefix, in
// the order of bytes.
func After(prefix string) string { return prefix + "\U0010FFFF" }

// Within returns the predicate of what lies in scopes, given the columns of
// owner and environment, and its arguments, numbered from first on.
func Within(scopes nhi.Scopes, owner, environment string, first int) (string, []any) {
	if scopes == nil {
		return "1 = 1", nil
	}
	var args []any
	arg := func(v string) string {
		args = append(args, v)
		return "$" + strconv.Itoa(first+len(args)-1)
	}
	parts := []string{}
	for _, s := range scopes {
		var both []string
		if s.Team != "" {
			both = append(both, owner+" = "+arg("team:"+s.Team))
		}
		if s.Environment != "" {
			both = append(both, environment+" = "+arg(s.Environment))
		}
		if len(both) == 0 {
			return "1 = 1", nil
		}
		parts = append(parts, strings.Join(both, " AND "))
	}
	if len(parts) == 0 {
		return "1 = 0", nil
	}
	return "((" + strings.Join(parts, ") OR (") + "))", args
}

// A Get returns what an object has in a field: the text, and for numbers,
// times (microseconds, 0 for absent) and flags the number.
type Get func(field string) (text string, number int64)

// Match reports whether an object in memory passes the filter. search says
// whether a bare word finds it.
func (e Expr) Match(get Get, search func(word string) bool) bool {
	return e.Holds(func(t *Term) bool {
		if t.Op == Bare {
			return search(t.Values[0].Text)
		}
		return t.Fits(get(t.Field.Name))
	})
}

// Holds reports whether every term fits, or does not when it is negated.
func (e Expr) Holds(fits func(*Term) bool) bool {
	for i := range e.Terms {
		if t := &e.Terms[i]; fits(t) == t.Not {
			return false
		}
	}
	return true
}

// Fits reports whether what an object has in the term's field is what the term
// asks for, apart from its negation.
func (t *Term) Fits(text string, number int64) bool {
	words := t.Field.Kind == Text || t.Field.Kind == Enum
	if t.Op == Present {
		return (words && text != "") || (!words && number != 0)
	}
	if t.Op != Is && t.Field.Kind == Time && number == 0 {
		return false
	}
	for _, v := range t.Values {
		var ok bool
		switch {
		case t.Op == Less:
			ok = number < v.Number
		case t.Op == LessEqual:
			ok = number <= v.Number
		case t.Op == Greater:
			ok = number > v.Number
		case t.Op == GreaterEqual:
			ok = number >= v.Number
		case t.Field.Kind == Time && t.day(v):
			ok = number >= v.Number && number < v.Number+dayMicros
		case !words:
			ok = number == v.Number
		case v.Prefix:
			ok = text >= v.Text && text < After(v.Text)
		default:
			ok = text == v.Text
		}
		if ok {
			return true
		}
	}
	return false
}
