// Package filter is the one language in which lists are narrowed: identities,
// credentials, findings, decisions, actions and audit entries.
//
// A filter is a line of terms that must all hold:
//
//	kind:iam-user environment:prod,stage -owner:* risk>=50 last_used<30d worker
//
// A term is field, sign and value. With ":" (or "=") the field has the value,
// or one of several values parted by commas; a value that ends in "*" is the
// beginning of the field's text, and "*" alone says that the field has a value
// at all. With "<", "<=", ">" and ">=" numbers and times are compared. A "-"
// before a term negates it. A word without a sign is searched for. Quotes take
// blanks, commas, colons and stars as they are; in them a backslash comes
// before a quote or a backslash.
//
// A time is a date (2026-03-01), an instant (RFC 3339), or an age: 30d is the
// instant thirty days ago, +30d the one thirty days ahead. So last_used<30d
// means last used longer ago than thirty days. What never happened is neither
// before nor after anything: -last_used>30d also finds what was never used.
//
// The languages of the lists that the store narrows are in fields.go. [Language.Parse] reads a
// filter, [Expr.SQL] makes a predicate of it for either engine, in which every
// value is a bound parameter, and [Expr.Match] holds it against a value in
// memory. Both agree; a test insists.
package filter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/nhi"
)

// The limits of a filter.
const (
	MaxLength = 2048 // bytes
	MaxTerms  = 32
	MaxValues = 64 // of all terms together
)

// A Kind says what a field holds and so what it can be compared with.
type Kind int

// The kinds of field.
const (
	Text   Kind = iota // exact text, or its beginning
	Enum               // one of a few words
	Number             // a whole number
	Time               // an instant, or absent
	Flag               // true or false
)

// A Field is something that can be filtered by.
type Field struct {
	Name  string
	Kind  Kind
	Doc   string   // what it means, for people
	Words []string // of an Enum
	Order bool     // lists can be put in its order
}

// A Language is what one list understands.
type Language struct {
	List   string // identities
	Fields []Field
	Bare   string // what a bare word is searched in, for people
	Order  string // of a list that asks for none; "-" first means descending
}

// Field returns the field called name.
func (l *Language) Field(name string) (Field, bool) {
	for _, f := range l.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// An Op is how a term compares.
type Op int

// The comparisons.
const (
	Is Op = iota
	Less
	LessEqual
	Greater
	GreaterEqual
	Present // the field has a value
	Bare    // a word without a field
)

// A Value is what a term compares with. Which field counts is up to the kind
// of the term's field.
type Value struct {
	Text   string
	Prefix bool  // Text is the beginning
	Number int64 // of Number; of Time in microseconds; of Flag 0 or 1
}

// A Term is one condition.
type Term struct {
	Field  Field // zero for a bare word
	Op     Op
	Not    bool
	Values []Value // one of them must fit; none for Present
}

// An Expr is a parsed filter: all of its terms must hold. The zero Expr lets
// everything pass.
type Expr struct{ Terms []Term }

// Without returns the filter without its terms on a field: what a count of the
// field's other values is taken over.
func (e Expr) Without(field string) Expr {
	return Expr{slices.DeleteFunc(slices.Clone(e.Terms), func(t Term) bool { return t.Op != Bare && t.Field.Name == field })}
}

// And returns the filter that both hold.
func (e Expr) And(other Expr) Expr { return Expr{slices.Concat(e.Terms, other.Terms)} }

// Parse reads a filter. Ages count from now. An error wraps nhi.ErrInvalid and
// names the column, the first being 1.
func (l *Language) Parse(text string, now time.Time) (Expr, error) {
	switch {
	case len(text) > MaxLength:
		return Expr{}, nhi.Invalidf("filter: it is longer than %d bytes", MaxLength)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return Expr{}, nhi.Invalidf("filter: it is not text in UTF-8")
	}
	p := &parser{language: l, text: text, now: now}
	var e Expr
	for {
		p.blanks()
		if p.at == len(p.text) {
			return e, nil
		}
		start := p.at
		if len(e.Terms) == MaxTerms {
			return Expr{}, p.fail(start, "more than %d terms", MaxTerms)
		}
		t, err := p.term()
		if err != nil {
			return Expr{}, err
		}
		e.Terms = append(e.Terms, t)
	}
}

// A parser reads one filter from left to right.
type parser struct {
	language *Language
	text     string
	at       int
	values   int
	now      time.Time
}

func (p *parser) fail(at int, format string, args ...any) error {
	column := utf8.RuneCountInString(p.text[:at]) + 1
	return nhi.Invalidf("filter, column %d: %s", column, fmt.Sprintf(format, args...))
}

func (p *parser) blanks() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// term reads one term.
func (p *parser) term() (Term, error) {
	var t Term
	start := p.at
	if p.text[p.at] == '-' {
		t.Not = true
		p.at++
	}
	name, op, ok := p.head()
	if !ok {
		word, quoted, err := p.value("")
		if err != nil {
			return Term{}, err
		}
		if word == "" || (word == "*" && !quoted) {
			return Term{}, p.fail(start, "a term without a word")
		}
		t.Op, t.Values = Bare, []Value{{Text: word}}
		return t, p.count(start, 1)
	}
	f, known := p.language.Field(name)
	if !known {
		return Term{}, p.unknown(start, name)
	}
	t.Field, t.Op = f, op
	if op != Is && f.Kind != Number && f.Kind != Time {
		return Term{}, p.fail(start, "%s cannot be compared with < or >; write %s:VALUE", f.Name, f.Name)
	}
	return t, p.list(&t)
}

// head reads the field and the sign of a term, if it has them. What looks like
// an ARN or a URL is a word.
func (p *parser) head() (string, Op, bool) {
	end := p.at
	for end < len(p.text) && (p.text[end] == '_' || (p.text[end]|0x20 >= 'a' && p.text[end]|0x20 <= 'z')) {
		end++
	}
	name, rest := p.text[p.at:end], p.text[end:]
	if name == "" || (strings.EqualFold(name, "arn") && strings.HasPrefix(rest, ":")) || strings.HasPrefix(rest, "://") {
		return "", 0, false
	}
	for _, s := range signs {
		if strings.HasPrefix(rest, s.text) {
			p.at = end + len(s.text)
			return strings.ToLower(name), s.op, true
		}
	}
	return "", 0, false
}

// signs are in the order in which they are tried.
var signs = []struct {
	text string
	op   Op
}{{"<=", LessEqual}, {">=", GreaterEqual}, {"<", Less}, {">", Greater}, {":", Is}, {"=", Is}}

// list reads the values of a term, parted by commas.
func (p *parser) list(t *Term) error {
	for {
		start := p.at
		text, quoted, err := p.value(",")
		if err != nil {
			return err
		}
		if err := p.count(start, 1); err != nil {
			return err
		}
		if text == "*" && !quoted {
			if t.Op != Is || len(t.Values) > 0 {
				return p.fail(start, "* stands alone, as in %s:*", t.Field.Name)
			}
			t.Op = Present
		} else {
			v, err := p.read(t.Field, text, quoted)
			if err != nil {
				return p.fail(start, "%s: %v", t.Field.Name, err)
			}
			t.Values = append(t.Values, v)
		}
		if p.at == len(p.text) || p.text[p.at] != ',' {
			return nil
		}
		if t.Op != Is {
			return p.fail(p.at, "only one value can be compared with")
		}
		p.at++
	}
}

func (p *parser) count(at, n int) error {
	if p.values += n; p.values > MaxValues {
		return p.fail(at, "more than %d values", MaxValues)
	}
	return nil
}

// value reads up to a blank or one of the stops, or a quoted text.
func (p *parser) value(stops string) (text string, quoted bool, err error) {
	if p.at < len(p.text) && p.text[p.at] == '"' {
		return p.quoted(stops)
	}
	start := p.at
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n"+stops, p.text[p.at]) < 0 {
		if p.text[p.at] == '"' {
			return "", false, p.fail(p.at, "a quote inside a word; quote the whole word")
		}
		p.at++
	}
	return p.text[start:p.at], false, nil
}

func (p *parser) quoted(stops string) (string, bool, error) {
	start := p.at
	p.at++
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case c == '\\' && p.at+1 < len(p.text) && (p.text[p.at+1] == '"' || p.text[p.at+1] == '\\'):
			p.at++
			b.WriteByte(p.text[p.at])
		case c == '"':
			p.at++
			if p.at < len(p.text) && strings.IndexByte(" \t\r\n"+stops, p.text[p.at]) < 0 {
				return "", true, p.fail(p.at, "a blank is missing after the quote")
			}
			return b.String(), true, nil
		default:
			b.WriteByte(c)
		}
		p.at++
	}
	return "", true, p.fail(start, "the quote does not end")
}

// read turns the text of a value into what the field is compared with.
func (p *parser) read(f Field, text string, quoted bool) (Value, error) {
	if text == "" && (!quoted || f.Kind != Text) {
		return Value{}, errors.New("the value is missing")
	}
	switch f.Kind {
	case Number:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return Value{}, errors.New("want a whole number, such as 50")
		}
		return Value{Number: n}, nil
	case Time:
		at, err := instant(text, p.now)
		return Value{Number: at.UnixMicro()}, err
	case Flag:
		switch strings.ToLower(text) {
		case "true", "yes":
			return Value{Number: 1}, nil
		case "false", "no":
			return Value{}, nil
		}
		return Value{}, errors.New("want true or false")
	case Enum:
		if word := strings.ToLower(text); slices.Contains(f.Words, word) {
			return Value{Text: word}, nil
		}
		return Value{}, fmt.Errorf("want one of %s", strings.Join(f.Words, ", "))
	}
	prefix, cut := strings.CutSuffix(text, "*")
	if quoted || !cut {
		return Value{Text: text}, nil
	}
	if strings.Contains(prefix, "*") {
		return Value{}, errors.New("a star stands at the end only")
	}
	return Value{Text: prefix, Prefix: true}, nil
}

// maxAge bounds ages to what a clock can hold.
const maxAge = 200 * 365 * 24 * time.Hour

// instant reads a date, an instant or an age.
func instant(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil && at.Year() >= 1800 && at.Year() < 2200 {
		return at, nil
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil && at.Year() >= 1800 && at.Year() < 2200 {
		return at, nil
	}
	bad := errors.New("want an age such as 30d, 12h or +7d, a date such as 2026-03-01, or an instant (RFC 3339)")
	digits, ahead := strings.CutPrefix(text, "+")
	if len(digits) < 2 {
		return time.Time{}, bad
	}
	unit, ok := units[digits[len(digits)-1]]
	n, err := strconv.ParseUint(digits[:len(digits)-1], 10, 32)
	if !ok || err != nil || n > uint64(maxAge/unit) {
		return time.Time{}, bad
	}
	age := time.Duration(n) * unit
	if ahead {
		age = -age
	}
	return now.Add(-age), nil
}

var units = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour, 'y': 365 * 24 * time.Hour,
}

// An Order is a field by which a list is sorted.
type Order struct {
	Field      Field
	Descending bool
}

// String is the order as it is asked for.
func (o Order) String() string {
	if o.Descending {
		return "-" + o.Field.Name
	}
	return o.Field.Name
}

// ParseOrder reads the name of a field, after a "-" for the descending order.
// Empty means the language's own order. An error wraps nhi.ErrInvalid.
func (l *Language) ParseOrder(text string) (Order, error) {
	if text == "" {
		text = l.Order
	}
	name, descending := strings.CutPrefix(text, "-")
	var can []string
	for _, f := range l.Fields {
		if f.Order && f.Name == name {
			return Order{f, descending}, nil
		}
		if f.Order {
			can = append(can, f.Name)
		}
	}
	if len(name) > 40 {
		name = name[:40] + "…"
	}
	return Order{}, nhi.Invalidf("order: %s cannot be ordered by %q, only by %s, each with - before it for the largest or newest first", l.List, name, strings.Join(can, ", "))
}

// nearest returns the field that name may have meant.
func (l *Language) nearest(name string) string {
	best, distance := "", 6
	for _, f := range l.Fields {
		d := 2 * edits(name, f.Name)
		if name[0] == f.Name[0] { // people rarely miss the first letter
			d--
		}
		if d < distance {
			best, distance = f.Name, d
		}
	}
	return best
}

// unknown says which field was not known, and which may have been meant.
func (p *parser) unknown(at int, name string) error {
	best := p.language.nearest(name)
	if len(name) > 40 {
		name = name[:40] + "…"
	}
	if best != "" {
		return p.fail(at, "%s have no field %q; did you mean %s?", p.language.List, name, best)
	}
	return p.fail(at, "%s have no field %q; there are %s (quote a word that holds a colon)", p.language.List, name, strings.Join(p.language.names(), ", "))
}

func (l *Language) names() []string {
	var out []string
	for _, f := range l.Fields {
		out = append(out, f.Name)
	}
	return out
}

// edits is the number of letters that part two names (Levenshtein's distance).
func edits(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before, row[j+1] = row[j+1], min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
